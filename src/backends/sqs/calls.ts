/**
 * Everything that goes to SQS goes through here, each call with a limit of time. A call that was sent is not given up when
 * its fiber is interrupted: a claim whose answer nobody reads would keep its jobs from everybody until their lease ends. So
 * calls are uninterruptible, and bounded. The client itself signs, tries again what was throttled, and compares the MD5 sums
 * of bodies and attributes with what SQS says.
 *
 * @since 0.1.0
 */
import type * as Sqs from "@aws-sdk/client-sqs"
import * as Effect from "effect/Effect"
import type { BackendError } from "../../Backend.ts"
import { fromCause, silence } from "./errors.ts"
import { entries } from "./limits.ts"

export class Calls {
  readonly client: Sqs.SQSClient
  readonly name: string
  readonly timeout: number

  constructor(client: Sqs.SQSClient, name: string, timeout: number) {
    this.client = client
    this.name = name
    this.timeout = timeout
  }

  /** `queue`: the one that the call is about, for the error */
  call<A>(
    operation: string,
    queue: string | undefined,
    send: (client: Sqs.SQSClient, signal: AbortSignal) => Promise<A>
  ): Effect.Effect<A, BackendError> {
    return Effect.uninterruptible(Effect.callback<A, BackendError>((resume) => {
      const controller = new AbortController()
      const timer = setTimeout(() => {
        resume(Effect.fail(silence(this.name, operation, this.timeout)))
        controller.abort()
      }, this.timeout)
      send(this.client, controller.signal).then(
        (answer) => {
          clearTimeout(timer)
          resume(Effect.succeed(answer))
        },
        (cause: unknown) => {
          clearTimeout(timer)
          resume(Effect.fail(fromCause(this.name, operation, queue, cause)))
        }
      )
    }))
  }
}

/** what became of one entry of a batch */
export type Entry =
  | { readonly _tag: "Done" }
  | { readonly _tag: "Refused"; readonly entry: Sqs.BatchResultErrorEntry }
  | { readonly _tag: "Failed"; readonly error: BackendError }

const done: Entry = { _tag: "Done" }

/** parts of at most ten entries, and of so many bytes together; what is larger alone goes alone */
export const parts = <A>(
  items: ReadonlyArray<A>,
  bytes: number,
  sizeOf: (item: A) => number
): ReadonlyArray<ReadonlyArray<A>> => {
  const all: Array<Array<A>> = []
  let part: Array<A> = []
  let size = 0
  for (const item of items) {
    const own = sizeOf(item)
    if (part.length === 0 || part.length === entries || size + own > bytes) {
      all.push(part = [])
      size = 0
    }
    part.push(item)
    size += own
  }
  return all
}

/** what SQS says about each entry; the ids of entries are their places */
export const answersOf = (
  count: number,
  output: {
    readonly Successful?: ReadonlyArray<{ readonly Id?: string | undefined }> | undefined
    readonly Failed?: ReadonlyArray<Sqs.BatchResultErrorEntry> | undefined
  }
): ReadonlyArray<Entry> => {
  const answers = Array.from({ length: count }, (_, place): Entry => ({
    _tag: "Refused",
    entry: { Id: String(place), Code: "NoAnswer", Message: "SQS said nothing about this entry", SenderFault: false }
  }))
  for (const { Id } of output.Successful ?? []) answers[Number(Id)] = done
  for (const entry of output.Failed ?? []) answers[Number(entry.Id)] = { _tag: "Refused", entry }
  return answers
}

/**
 * Sends a batch in as many calls as it takes. A call that fails says so for its entries and for no others. `ordered`: one
 * call after the other.
 */
export const batched = <A>(
  items: ReadonlyArray<A>,
  options: { readonly bytes: number; readonly sizeOf: (item: A) => number; readonly ordered: boolean },
  send: (part: ReadonlyArray<A>) => Effect.Effect<ReadonlyArray<Entry>, BackendError>
): Effect.Effect<ReadonlyArray<Entry>> =>
  items.length === 0 ? Effect.succeed([]) : Effect.map(
    Effect.forEach(
      parts(items, options.bytes, options.sizeOf),
      (part) => Effect.catch(send(part), (error) => Effect.succeed(part.map((): Entry => ({ _tag: "Failed", error })))),
      { concurrency: options.ordered ? 1 : "unbounded" }
    ),
    (answers) => answers.flat()
  )
