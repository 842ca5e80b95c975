/**
 * Schemas are compiled to code, as Effect offers it and `docs/production.md` advises: for all contenders that decode by
 * Effect's schemas. To be imported before any of them is.
 */
import "effect/schema/SchemaJITCompiler/enable"
