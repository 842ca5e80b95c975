/**
 * Addresses with parameters: `orders.{region}.{id}`. What an address may look like, which concrete ones it covers, and
 * which of several that cover the same one is the more specific.
 *
 * An address is a row of segments, separated by `.` or `/`. A segment is a text, or one parameter with a text before or
 * after it. A parameter stands for one or more characters that are no separator.
 */
import * as Schema from "effect/Schema"

/**
 * A channel, a route or a set of them was defined in a way that cannot work: an address that is malformed, or two that
 * cover the same concrete address while neither is the more specific. `message` names both sides and the fix. Thrown
 * where the definition stands; layers fail with it.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidAddress extends Schema.TaggedError<InvalidAddress>()("windlass/InvalidAddress", {
  address: Schema.String,
  message: Schema.String
}) {}

const invalid = (address: string, what: string) =>
  new InvalidAddress({ address, message: `address ${JSON.stringify(address)}: ${what}` })

interface Segment {
  /** the separator before it */
  readonly separator: string
  readonly before: string
  readonly parameter: string | undefined
  readonly after: string
}

/** @internal */
export interface Address {
  readonly text: string
  readonly segments: ReadonlyArray<Segment>
  readonly parameters: ReadonlyArray<string>
}

/** Throws {@link InvalidAddress}. @internal */
export const parse = (text: string): Address => {
  if (text === "") throw invalid(text, "an address needs a name")
  const parts = text.split(/([./])(?![^{}]*\})/)
  const segments: Array<Segment> = []
  const parameters: Array<string> = []
  for (let i = 0; i < parts.length; i += 2) {
    const segment = parts[i]!
    const separator = i === 0 ? "" : parts[i - 1]!
    if (segment === "") throw invalid(text, "it has an empty segment: two separators in a row, or one at an end")
    const match = /^([^{}]*)(?:\{([^{}]*)\}([^{}]*))?$/.exec(segment)
    if (match === null) {
      throw invalid(
        text,
        `segment ${segment} is neither a text nor one parameter with a text around it: ` +
          "put a separator (. or /) between two parameters"
      )
    }
    const [, before = "", parameter, after = ""] = match
    if (parameter !== undefined) {
      if (!/^[A-Za-z0-9_-]+$/.test(parameter)) {
        throw invalid(text, `{${parameter}} is no name of a parameter: letters, digits, - and _ are`)
      }
      if (parameters.includes(parameter)) throw invalid(text, `parameter {${parameter}} stands twice: name it once`)
      parameters.push(parameter)
    }
    segments.push({ separator, before, parameter, after })
  }
  return { text, segments, parameters }
}

// separators and braces within a value, so that whatever a parameter holds is found again in the address
const escaped: Readonly<Record<string, string>> = { "%": "%25", ".": "%2E", "/": "%2F", "{": "%7B", "}": "%7D" }
const escape = (value: string) => value.replace(/[%./{}]/g, (character) => escaped[character]!)
const unescape = (value: string) =>
  value.replace(/%(25|2E|2F|7B|7D)/gi, (code) => String.fromCharCode(Number.parseInt(code.slice(1), 16)))

/** The concrete address. Throws {@link InvalidAddress} for a value that is empty or missing. @internal */
export const format = (address: Address, values: Readonly<Record<string, unknown>>): string =>
  address.segments.map(({ after, before, parameter, separator }) => {
    if (parameter === undefined) return separator + before
    const value = values[parameter]
    if (typeof value !== "string" || value === "") {
      throw invalid(address.text, `parameter {${parameter}} is empty: it takes one character or more`)
    }
    return separator + before + escape(value) + after
  }).join("")

/** The values of its parameters in a concrete address; undefined when it does not cover it. @internal */
export const match = (address: Address, concrete: string): Readonly<Record<string, string>> | undefined => {
  const parts = concrete.split(/([./])/)
  if (parts.length !== address.segments.length * 2 - 1) return undefined
  const values: Record<string, string> = {}
  for (const [i, segment] of address.segments.entries()) {
    const part = parts[i * 2]!
    if (i > 0 && parts[i * 2 - 1] !== segment.separator) return undefined
    const { after, before, parameter } = segment
    if (parameter === undefined) {
      if (part !== before) return undefined
    } else {
      if (!covers(segment, part)) return undefined
      values[parameter] = unescape(part.slice(before.length, part.length - after.length))
    }
  }
  return values
}

const covers = ({ after, before }: Segment, text: string): boolean =>
  text.length > before.length + after.length && text.startsWith(before) && text.endsWith(after)

type Relation = "apart" | "same" | "inside" | "around" | "crossing"

/** How what `a` covers lies to what `b` covers. @internal */
export const relate = (a: Address, b: Address): Relation => {
  if (a.segments.length !== b.segments.length) return "apart"
  let relation: Relation = "same"
  for (const [i, segment] of a.segments.entries()) {
    const other = b.segments[i]!
    if (segment.separator !== other.separator) return "apart"
    const next = relateSegments(segment, other)
    if (next === "apart") return "apart"
    if (next !== "same") relation = relation === "same" || relation === next ? next : "crossing"
  }
  return relation
}

const relateSegments = (a: Segment, b: Segment): Relation => {
  if (a.parameter === undefined && b.parameter === undefined) return a.before === b.before ? "same" : "apart"
  if (a.parameter === undefined) return covers(b, a.before) ? "inside" : "apart"
  if (b.parameter === undefined) return covers(a, b.before) ? "around" : "apart"
  if (!a.before.startsWith(b.before) && !b.before.startsWith(a.before)) return "apart"
  if (!a.after.endsWith(b.after) && !b.after.endsWith(a.after)) return "apart"
  const inside = a.before.startsWith(b.before) && a.after.endsWith(b.after)
  const around = b.before.startsWith(a.before) && b.after.endsWith(a.after)
  return inside && around ? "same" : inside ? "inside" : around ? "around" : "crossing"
}

/** @internal */
export interface Found<A> {
  readonly value: A
  readonly parameters: Readonly<Record<string, string>>
}

/**
 * Finds what belongs to a concrete address: the exact one, else the most specific of those that cover it, whatever the
 * order in which they were given. Throws {@link InvalidAddress} when that would be undecided for any address.
 *
 * @internal
 */
export const table = <A>(
  entries: ReadonlyArray<readonly [address: Address, value: A]>
): (concrete: string) => Found<A> | undefined => {
  const exact = new Map<string, A>()
  const patterns: Array<readonly [Address, A]> = []
  for (const [i, [address, value]] of entries.entries()) {
    for (const [other] of entries.slice(0, i)) {
      const relation = relate(address, other)
      if (relation === "same" || relation === "crossing") {
        throw invalid(
          address.text,
          relation === "same"
            ? `${JSON.stringify(other.text)} covers the same addresses: keep one of them`
            : `${JSON.stringify(other.text)} covers some of the same addresses and neither is the more specific: ` +
              "make one of them more specific"
        )
      }
    }
    if (address.parameters.length === 0) exact.set(address.text, value)
    else patterns.push([address, value])
  }
  // those that cover one address lie within each other, so the innermost comes first in any such order
  patterns.sort(([a], [b]) => weight(b) - weight(a))
  return (concrete) => {
    if (exact.has(concrete)) return { value: exact.get(concrete)!, parameters: {} }
    for (const [address, value] of patterns) {
      const parameters = match(address, concrete)
      if (parameters !== undefined) return { value, parameters }
    }
    return undefined
  }
}

/** An address within another has fewer parameters, or as many and more text around them. */
const weight = ({ parameters, segments }: Address): number =>
  segments.reduce((n, { after, before }) => n + before.length + after.length, 0) - parameters.length * 1_000_000
