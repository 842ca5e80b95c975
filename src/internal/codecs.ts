/**
 * The encoders and decoders of one task, compiled once. JSON is parsed and printed here, outside of the schema: parsing
 * within a schema costs twice as much.
 */
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"

interface Definition {
  readonly _tag: string
  readonly version: number
  readonly payloadSchema: Schema.Top
  readonly successSchema: Schema.Top
  readonly errorSchema: Schema.Top
  readonly middleware: ReadonlyArray<object>
}

/** @internal */
export interface Codecs {
  /** what the caller gave, checked and encoded */
  readonly encodePayload: (payload: unknown) => string
  readonly decodePayload: (payload: string, version: number) => Exit.Exit<unknown, unknown>
  readonly encodeExit: (exit: Exit.Exit<unknown, unknown>) => string
  readonly decodeExit: (exit: string) => Exit.Exit<Exit.Exit<unknown, unknown>, unknown>
}

type Plain = Schema.Codec<any, any, never, never>

/** @internal */
export const makeCodecs = (
  task: Definition,
  upcast: { readonly [version: number]: (payload: any) => unknown }
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
  return {
    // undefined is no JSON: a task without a payload stores null
    encodePayload: (payload) => {
      try {
        return JSON.stringify(encode(schema.make(payload)) ?? null)
      } catch (defect) {
        // `make` throws a sentence that does not say which field it is about
        throw defect instanceof Error && SchemaIssue.isIssue(defect.cause)
          ? new Schema.SchemaError(defect.cause)
          : defect
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
