/**
 * Typed headers: what one half of a middleware writes at the enqueue point and the other half reads when the job runs.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Item } from "./Backend.ts"
import * as Job from "./Job.ts"

/**
 * A job came without a header that something needs, or with one that does not fit its schema. Names the header, the job
 * and what is wrong.
 *
 * @category errors
 * @since 0.1.0
 */
export class HeaderError extends Schema.TaggedError<HeaderError>()("windlass/HeaderError", {
  header: Schema.String,
  reason: Schema.Literals(["Missing", "Malformed"]),
  message: Schema.String
}) {}

/**
 * A name and a schema. The encoded form is JSON, or the string itself when the schema encodes to a string.
 *
 * @category models
 * @since 0.1.0
 */
export interface Header<in out A> {
  readonly name: string
  /** the value as the entry of a headers record; a value that the schema refuses is a defect */
  readonly entry: (value: A) => Readonly<Record<string, string>>
  /** the items with the header written over; for the enqueue half of a middleware */
  readonly set: (value: A) => (item: Item) => Item
  /** the value in a record of headers; none when it is absent, a failure when it is malformed */
  readonly parse: (headers: Readonly<Record<string, string>>) => Effect.Effect<Option.Option<A>, HeaderError>
  /** the value that the running job carries, if it carries one */
  readonly option: Effect.Effect<Option.Option<A>, HeaderError, Job.Current>
  /** the value that the running job carries */
  readonly read: Effect.Effect<A, HeaderError, Job.Current>
}

/**
 * Header names are compared as they are written; use lower case, as most engines fold them.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A, E>(name: string, schema: Schema.Codec<A, E>): Header<A> => {
  const codec = Schema.toCodecJson(schema)
  const decode = Schema.decodeUnknownExit(codec)
  const encode = Schema.encodeUnknownSync(codec)
  const plain = (value: unknown) => typeof value === "string" ? value : JSON.stringify(value)
  const entry = (value: A) => ({ [name]: plain(encode(value)) })
  const attempt = (text: string): Exit.Exit<A, unknown> => {
    // a string schema reads the text as it is, everything else reads JSON
    const asText = decode(text)
    if (Exit.isSuccess(asText)) return asText
    try {
      return decode(JSON.parse(text))
    } catch {
      return asText
    }
  }
  const parse: Header<A>["parse"] = (headers) => {
    const text = headers[name]
    if (text === undefined) return Effect.succeedNone
    const exit = attempt(text)
    return Exit.isSuccess(exit)
      ? Effect.succeedSome(exit.value)
      : Effect.fail(
        new HeaderError({
          header: name,
          reason: "Malformed",
          message: `header ${name} does not fit its schema: ${text}`
        })
      )
  }
  const option = Effect.flatMap(Job.Current, (job) => parse(job.headers))
  return {
    name,
    entry,
    set: (value) => (item) => ({
      ...item,
      envelope: { ...item.envelope, headers: { ...item.envelope.headers, ...entry(value) } }
    }),
    parse,
    option,
    read: Effect.flatMap(option, (value) =>
      Option.isSome(value)
        ? Effect.succeed(value.value)
        : Effect.flatMap(Job.Current, (job) =>
          Effect.fail(
            new HeaderError({
              header: name,
              reason: "Missing",
              message: `job ${job.id} of task ${job.task} has no header ${name}: write it at the enqueue point`
            })
          )))
  }
}
