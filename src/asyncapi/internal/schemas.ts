/** Schemas as JSON Schema draft 07, which is what AsyncAPI 3 speaks; what several share stands in `components`. */
import * as JsonSchema from "effect/JsonSchema"
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import * as SchemaRepresentation from "effect/SchemaRepresentation"

/** @internal */
export interface Compiled {
  /** in the order in which the schemas were asked for */
  readonly schemas: ReadonlyArray<JsonSchema.JsonSchema>
  /** by their names in `components/schemas` */
  readonly definitions: Readonly<Record<string, JsonSchema.JsonSchema>>
}

/** The JSON that the schemas are encoded to. All at once, so that one name means one definition. @internal */
export const compile = (schemas: ReadonlyArray<Schema.Top>): Compiled => {
  const [first, ...others] = schemas.map((schema): SchemaAST.AST => Schema.toCodecJson(schema).ast)
  if (first === undefined) return { schemas: [], definitions: {} }
  const all = SchemaRepresentation.toJsonSchemaMultiDocument(SchemaRepresentation.toRepresentations([first, ...others]))
  const taken = new Map<string, string>()
  for (const name of Object.keys(all.definitions).sort()) {
    taken.set(name, unique(name.replace(/[^\w.-]/g, "_"), (key) => Array.from(taken.values()).includes(key)))
  }
  // one at a time, with the definitions beside it: that is what can be turned into the older dialect
  const convert = (schema: JsonSchema.JsonSchema): JsonSchema.JsonSchema =>
    relocate(
      JsonSchema.toDocumentDraft07({ dialect: "draft-2020-12", schema, definitions: all.definitions }).schema,
      (name) => `#/components/schemas/${taken.get(name) ?? name}`
    )
  return {
    schemas: all.schemas.map(convert),
    definitions: Object.fromEntries(
      Array.from(taken, ([name, key]): [string, JsonSchema.JsonSchema] => [key, convert(all.definitions[name]!)])
    )
  }
}

/** data, in which a reference is none */
const values = new Set(["const", "default", "enum", "examples"])

/** The schema with its references to definitions leading to where those stand in the document. */
const relocate = (schema: JsonSchema.JsonSchema, to: (name: string) => string): JsonSchema.JsonSchema => {
  const walk = (node: unknown): unknown => {
    if (Array.isArray(node)) return node.map(walk)
    if (typeof node !== "object" || node === null) return node
    return Object.fromEntries(
      Object.entries(node).map(([key, value]) => {
        const name = key === "$ref" && typeof value === "string" ? /^#\/definitions\/(.+)$/.exec(value)?.[1] : undefined
        return [key, name !== undefined ? to(unpoint(name)) : values.has(key) ? value : walk(value)]
      })
    )
  }
  return walk(schema) as JsonSchema.JsonSchema
}

/** a name as it stands in a JSON Pointer */
const unpoint = (name: string) => decodeURIComponent(name).replace(/~1/g, "/").replace(/~0/g, "~")

/** The name, or with a number behind it when it is taken. @internal */
export const unique = (name: string, isTaken: (candidate: string) => boolean): string => {
  if (!isTaken(name)) return name
  for (let n = 2;; n++) if (!isTaken(`${name}-${n}`)) return `${name}-${n}`
}
