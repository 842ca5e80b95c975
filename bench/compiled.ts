/**
 * Schemas are compiled to code, as Effect offers it and `docs/production.md` advises: for the contenders on
 * Effect 4.1 (the release that effect-mq needs has no compiler). To be imported before any of them is.
 */
import "effect/schema/SchemaJITCompiler/enable"
