/**
 * A value as plain data without its secrets. Secret is what a schema's annotation says, what a `Redacted` holds, and what
 * stands under the name of a listed field; in doubt it is masked: alternatives of a union, and transformations whose
 * other side has a secret, count as a whole.
 */
import * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import { blot, type Secrets } from "./secrets.ts"

/** The annotation of a schema whose values are secret. */
export const annotation = "windlass/secret"

/** Marks the values of a schema as secret. */
export const secret = <S extends Schema.Top>(self: S): S["Rebuild"] => self.annotate({ [annotation]: true })

/** Names of fields that are masked wherever they stand, unless the caller has a list of its own. */
export const defaultFields: ReadonlyArray<string> = [
  "password",
  "passwd",
  "passphrase",
  "pin",
  "secret",
  "clientSecret",
  "token",
  "accessToken",
  "refreshToken",
  "idToken",
  "apiKey",
  "privateKey",
  "authorization",
  "proxyAuthorization",
  "cookie",
  "setCookie",
  "credentials",
  "creditCard",
  "cardNumber",
  "cvc",
  "cvv",
  "iban",
  "ssn"
]

const normal = (name: string): string => name.replace(/[-_\s.]/g, "").toLowerCase()

/** Names are compared without case, `-` and `_`. */
export const fieldSet = (fields: ReadonlyArray<string> | undefined): ReadonlySet<string> =>
  new Set((fields ?? defaultFields).map(normal))

type Candidates = ReadonlyArray<SchemaAST.AST>

const none: Candidates = []

/** more nodes than this in one value, and its texts are withheld */
const budget = 20_000
/** what is shown of large values */
const maxDepth = 12
const maxItems = 100
const maxText = 2_000

const marks = (ast: SchemaAST.AST): boolean =>
  ast.annotations?.[annotation] === true || ast.context?.annotations?.[annotation] === true
  || ast.checks?.some((check) => check.annotations?.[annotation] === true) === true

const isClass = (ast: SchemaAST.AST): boolean =>
  SchemaAST.isDeclaration(ast) && typeof ast.annotations?.["~constructor"] === "function"

const insides = (ast: SchemaAST.AST): ReadonlyArray<SchemaAST.AST> => {
  switch (ast._tag) {
    case "Declaration":
      return ast.typeParameters
    case "Arrays":
      return [...ast.elements, ...ast.rest]
    case "Objects":
      return [
        ...ast.propertySignatures.map((property) => property.type),
        ...ast.indexSignatures.flatMap((index) => [index.parameter, index.type])
      ]
    case "Union":
      return ast.types
    case "Suspend":
      return [ast.thunk()]
    default:
      return none
  }
}

const known = new WeakMap<SchemaAST.AST, boolean>()

/** Whether a value of the schema may have a secret anywhere, on any side of a transformation. */
export const hasSecret = (ast: SchemaAST.AST): boolean => {
  const seen = new Set<SchemaAST.AST>()
  const search = (ast: SchemaAST.AST): boolean => {
    if (seen.has(ast)) return false
    seen.add(ast)
    return known.get(ast) ?? (marks(ast) || insides(ast).some(search) || links(ast).some(search))
  }
  const cached = known.get(ast)
  if (cached !== undefined) return cached
  const found = search(ast)
  known.set(ast, found)
  return found
}

const links = (ast: SchemaAST.AST): Candidates => ast.encoding?.map((link) => link.to) ?? none

/** The whole value is secret: it is marked, or what it is made from or made of has a secret that cannot be told apart. */
const isWhole = (ast: SchemaAST.AST): boolean =>
  marks(ast) ||
  (!isClass(ast) &&
    (links(ast).some(hasSecret) || (SchemaAST.isDeclaration(ast) && ast.typeParameters.some(hasSecret)))) ||
  (SchemaAST.isObjects(ast) && ast.indexSignatures.some((index) => hasSecret(index.parameter)))

/** Alternatives and references resolved. */
const expand = (asts: Candidates): Candidates => {
  if (asts.every((ast) => !SchemaAST.isUnion(ast) && !SchemaAST.isSuspend(ast) && !isClass(ast))) return asts
  const all = new Set<SchemaAST.AST>()
  const visit = (ast: SchemaAST.AST): void => {
    if (all.has(ast)) return
    all.add(ast)
    if (SchemaAST.isUnion(ast)) ast.types.forEach(visit)
    else if (SchemaAST.isSuspend(ast)) visit(ast.thunk())
    else if (isClass(ast)) insides(ast).forEach(visit)
  }
  asts.forEach(visit)
  return Array.from(all)
}

/** Plain data of a value, without its secrets, which are added to `secrets`. `asts`: what it may be a value of. */
export const mask = (
  value: unknown,
  asts: Candidates,
  fields: ReadonlySet<string>,
  secrets: Secrets
): unknown => {
  const open = new Set<object>()
  let nodes = 0

  /** every text within a secret value */
  const gather = (value: unknown): void => {
    if (++nodes > budget) {
      secrets.overflow = true
    } else if (typeof value === "string") {
      secrets.add(value)
    } else if (typeof value === "number" || typeof value === "bigint") {
      secrets.add(String(value))
    } else if (typeof value === "object" && value !== null && !open.has(value)) {
      open.add(value)
      if (Redacted.isRedacted(value)) gather(reveal(value))
      else if (value instanceof Date) secrets.add(textOf(value))
      else for (const inner of contents(value)) gather(inner)
      open.delete(value)
    }
  }

  const walk = (value: unknown, asts: Candidates, depth: number): unknown => {
    if (++nodes > budget) {
      secrets.overflow = true
      return "<large>"
    }
    if (value === undefined || value === null || typeof value === "boolean") return value
    const candidates = expand(asts)
    if (candidates.some(isWhole) || Redacted.isRedacted(value)) {
      gather(value)
      return blot
    }
    switch (typeof value) {
      case "string":
      case "number":
        return value
      case "object":
        break
      default:
        return String(value)
    }
    if (open.has(value)) return "<circular>"
    open.add(value)
    const masked = structure(value, candidates, depth)
    open.delete(value)
    return depth > maxDepth ? "<deep>" : masked
  }

  const structure = (value: object, asts: Candidates, depth: number): unknown => {
    if (value instanceof Date) return textOf(value)
    if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `<${value.byteLength} bytes>`
    if (Array.isArray(value)) {
      const arrays = asts.filter(SchemaAST.isArrays)
      const items = value.map((item, i) =>
        walk(item, arrays.flatMap((ast) => i < ast.elements.length ? [ast.elements[i]!] : ast.rest), depth + 1)
      )
      return items.length <= maxItems ? items : [...items.slice(0, maxItems), `<${items.length - maxItems} more>`]
    }
    const objects = asts.filter(SchemaAST.isObjects)
    const entries = objects.length > 0 ? propertiesOf(value) : entriesOf(value)
    const out: Record<string, unknown> = {}
    for (const [key, inner] of entries) {
      if (fields.has(normal(key)) && inner !== undefined && inner !== null && typeof inner !== "boolean") {
        gather(inner)
        out[key] = blot
      } else {
        out[key] = walk(inner, objects.flatMap((ast) => typesOf(ast, key)), depth + 1)
      }
    }
    return out
  }
  return walk(value, asts, 0)
}

/** The types that a schema gives to a property. */
const typesOf = (ast: SchemaAST.Objects, key: string): Candidates => {
  const own = ast.propertySignatures.filter((property) => property.name === key).map((property) => property.type)
  return own.length > 0 ? own : ast.indexSignatures.map((index) => index.type)
}

const read = (value: object, key: string): unknown => {
  try {
    return (value as Record<string, unknown>)[key]
  } catch {
    return "<unreadable>"
  }
}

const propertiesOf = (value: object): ReadonlyArray<readonly [string, unknown]> =>
  Object.keys(value).map((key) => [key, read(value, key)] as const)

/** What is worth showing of an object that no schema describes. */
const entriesOf = (value: object): ReadonlyArray<readonly [string, unknown]> => {
  if (value instanceof Map) return Array.from(value, ([key, inner]) => [String(key), inner] as const)
  if (value instanceof Set) return [["values", Array.from(value)]]
  const own = propertiesOf(value)
  if (!(value instanceof Error)) return own
  return [
    ["name", value.name],
    ["message", value.message],
    ...own,
    ...(value.cause === undefined ? [] : [["cause", value.cause] as const])
  ]
}

const contents = (value: object): ReadonlyArray<unknown> =>
  value instanceof Map
    ? Array.from(value).flat()
    : value instanceof Set
    ? Array.from(value)
    : value instanceof Error
    ? [value.message, value.cause, ...propertiesOf(value).map(([, inner]) => inner)]
    : propertiesOf(value).map(([, inner]) => inner)

const reveal = (value: Redacted.Redacted<unknown>): unknown => {
  try {
    return Redacted.value(value)
  } catch {
    return undefined // wiped: nobody can show it any more
  }
}

const textOf = (date: Date): string => Number.isNaN(date.getTime()) ? "<invalid date>" : date.toISOString()

/** Long texts cut short; to be called after the secrets were scrubbed, or the rest of one might stay. */
export const shorten = (data: unknown): unknown => {
  if (typeof data === "string") {
    return data.length <= maxText ? data : `${data.slice(0, maxText)}<${data.length - maxText} more>`
  }
  if (Array.isArray(data)) return data.map(shorten)
  if (typeof data !== "object" || data === null) return data
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, shorten(value)]))
}
