/**
 * The encoders and decoders of one task, compiled once. JSON is parsed and printed here, outside of the schema: parsing
 * within a schema costs twice as much.
 */
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import type { Envelope } from "../Backend.ts"

interface Definition {
  readonly _tag: string
  readonly version: number
  readonly payloadSchema: Schema.Top
  readonly successSchema: Schema.Top
  readonly errorSchema: Schema.Top
  readonly middleware: ReadonlyArray<object>
}

/**
 * How the payload of a task is stored when it is a message: a part of its encoded form travels in the headers.
 *
 * @internal
 */
export interface Wire {
  readonly split: (encoded: unknown) => Body
  /** throws when the headers do not say what the encoded form needs */
  readonly join: (payload: unknown, headers: Readonly<Record<string, string>>) => unknown
}

interface Body {
  readonly payload: unknown
  readonly headers: Readonly<Record<string, string>>
}

/** What is stored of a payload. @internal */
export interface Stored {
  readonly payload: string
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/** @internal */
export interface Codecs {
  /** what the caller gave, checked and encoded */
  readonly encodePayload: (payload: unknown) => string
  readonly decodePayload: (payload: string, version: number) => Exit.Exit<unknown, unknown>
  /** of a task whose payload is stored in two parts */
  readonly message?: {
    readonly encode: (payload: unknown) => Stored
    readonly decode: (envelope: Envelope) => Exit.Exit<unknown, unknown>
  } | undefined
  readonly encodeExit: (exit: Exit.Exit<unknown, unknown>) => string
  readonly decodeExit: (exit: string) => Exit.Exit<Exit.Exit<unknown, unknown>, unknown>
}

/** As an envelope carries it. Throws what `encodePayload` throws. @internal */
export const toStored = (codecs: Codecs, payload: unknown): Stored =>
  codecs.message === undefined ? { payload: codecs.encodePayload(payload) } : codecs.message.encode(payload)

/** @internal */
export const fromEnvelope = (codecs: Codecs, envelope: Envelope): Exit.Exit<unknown, unknown> =>
  codecs.message === undefined
    ? codecs.decodePayload(envelope.payload, envelope.version)
    : codecs.message.decode(envelope)

type Plain = Schema.Codec<any, any, never, never>

/** @internal */
export const makeCodecs = (
  task: Definition,
  upcast: { readonly [version: number]: (payload: any) => unknown },
  wire?: Wire
): Codecs => {
  const schema = task.payloadSchema as Plain
  const codec = Schema.toCodecJson(schema)
  const encode = Schema.encodeUnknownSync(codec)
  const decode = Schema.decodeUnknownExit(codec)
  const cast = (payload: unknown, version: number): unknown => {
    for (let v = version; v < task.version; v++) {
      const up = upcast[v]
      if (up === undefined) {
        throw new Error(
          `task ${task._tag} has version ${task.version} and no up-cast of version ${v}, which a stored job has: add upcast[${v}]`
        )
      }
      payload = up(payload)
    }
    return payload
  }
  // built when the first result is asked for: most tasks never need it
  let exits:
    | { readonly encode: (u: unknown) => unknown; readonly decode: (u: unknown) => Exit.Exit<any, unknown> }
    | undefined
  const exitCodec = () => {
    if (exits !== undefined) return exits
    const errors = [
      task.errorSchema,
      ...task.middleware.flatMap((m) => "error" in m && Schema.isSchema(m.error) ? [m.error] : [])
    ] as Array<Plain>
    const exit = Schema.toCodecJson(Schema.Exit(task.successSchema as Plain, Schema.Union(errors), Schema.Defect()))
    return exits = {
      encode: Schema.encodeUnknownSync(exit as Plain),
      decode: Schema.decodeUnknownExit(exit as Plain)
    }
  }
  const encoded = (payload: unknown): unknown => {
    try {
      return encode(schema.make(payload))
    } catch (defect) {
      // `make` throws a sentence that does not say which field it is about
      throw defect instanceof Error && SchemaIssue.isIssue(defect.cause)
        ? new Schema.SchemaError(defect.cause)
        : defect
    }
  }
  return {
    // undefined is no JSON: a task without a payload stores null
    encodePayload: (payload) => JSON.stringify(encoded(payload) ?? null),
    message: wire === undefined ? undefined : {
      encode: (payload) => {
        const body = wire.split(encoded(payload))
        return { payload: JSON.stringify(body.payload ?? null), headers: body.headers }
      },
      decode: ({ headers, payload, version }) => {
        try {
          const json: unknown = JSON.parse(payload)
          return decode(wire.join(version < task.version ? cast(json, version) : json, headers))
        } catch (defect) {
          return Exit.fail(defect)
        }
      }
    },
    decodePayload: (payload, version) => {
      try {
        const json: unknown = JSON.parse(payload)
        return decode(version < task.version ? cast(json, version) : json)
      } catch (defect) {
        return Exit.fail(defect)
      }
    },
    encodeExit: (exit) => JSON.stringify(exitCodec().encode(exit)),
    decodeExit: (exit) => {
      try {
        return exitCodec().decode(JSON.parse(exit))
      } catch (defect) {
        return Exit.fail(defect)
      }
    }
  }
}
