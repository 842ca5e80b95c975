/**
 * Sending messages: new jobs, and stored jobs that go back or die. SQS answers entry by entry.
 *
 * @since 0.1.0
 */
import * as Sqs from "@aws-sdk/client-sqs"
import * as Effect from "effect/Effect"
import { Buffer } from "node:buffer"
import { createHash } from "node:crypto"
import { BackendError, type Item, type Published } from "../../Backend.ts"
import { Coalesce } from "../internal/coalesce.ts"
import { answersOf, batched, type Entry } from "./calls.ts"
import type { Engine } from "./engine.ts"
import { fromEntry, isMissingQueue } from "./errors.ts"
import { bodyRefused, entries, messageBytes, publishRefused, seconds } from "./limits.ts"
import { published, type Stored, write } from "./message.ts"

/** one message to send */
export interface Outgoing {
  readonly body: string
  /** bytes of the body and of the attributes */
  readonly bytes: number
  readonly delaySeconds: number
  readonly attributes?: Readonly<Record<string, Sqs.MessageAttributeValue>> | undefined
  /** FIFO: order is kept within it */
  readonly group?: string | undefined
  /** FIFO: what is sent twice with it within five minutes is stored once */
  readonly dedup?: string | undefined
}

const hash = (text: string): string => createHash("sha256").update(text).digest("hex")

/** SQS takes up to 128 printable characters of ASCII; anything else goes by its hash */
const token = (text: string): string => /^[\x21-\x7e]{1,128}$/.test(text) ? text : hash(text)

/** a job that shares no group is a group of its own */
export const groupOf = (id: string, group: string | undefined): string =>
  group === undefined ? hash(`job ${id}`) : token(group)

export const send = (
  { calls, fifo, limits }: Engine,
  operation: string,
  queue: string,
  url: string,
  messages: ReadonlyArray<Outgoing>
): Effect.Effect<ReadonlyArray<Entry>> =>
  batched(
    messages,
    { bytes: messageBytes(limits), sizeOf: ({ bytes }) => bytes, ordered: fifo },
    (part) =>
      Effect.map(
        calls.call(operation, queue, (client, abortSignal) =>
          client.send(
            new Sqs.SendMessageBatchCommand({
              QueueUrl: url,
              Entries: part.map(({ attributes, body, dedup, delaySeconds, group }, place) => ({
                Id: String(place),
                MessageBody: body,
                ...(attributes === undefined ? {} : { MessageAttributes: attributes }),
                ...(fifo
                  ? { MessageGroupId: group, MessageDeduplicationId: dedup }
                  // also when it is 0: a queue may have a delay of its own
                  : { DelaySeconds: delaySeconds })
              }))
            }),
            { abortSignal }
          )),
        (output) => answersOf(part.length, output)
      )
  )

const outgoing = (stored: Stored, delayMillis: number): Outgoing => {
  const body = write(stored)
  const { id } = stored.envelope
  return {
    body,
    bytes: Buffer.byteLength(body),
    delaySeconds: seconds(delayMillis),
    group: groupOf(id, stored.group),
    dedup: token(id)
  }
}

const toOutgoing = ({ due, envelope, group }: Item): Outgoing => {
  if (due === undefined) {
    return outgoing(published(envelope, { group, delayed: undefined, scheduledFor: undefined }), 0)
  }
  const delay = due._tag === "After" ? due.millis : due.time - Date.now()
  return outgoing(
    published(envelope, {
      group,
      delayed: due._tag === "After" && delay > 0 ? delay : undefined,
      scheduledFor: due._tag === "At" && delay > 0 ? due.time : undefined
    }),
    Math.max(0, delay)
  )
}

/** times that an entry is sent again which SQS could not take just then */
const again = 2

type Sent =
  | { readonly _tag: "Stored" }
  /** `alone`: SQS refused this entry, and answered the call */
  | { readonly _tag: "Failed"; readonly error: BackendError; readonly alone: boolean }

const sentOf = ({ calls }: Engine, queue: string, entry: Entry): Sent => {
  switch (entry._tag) {
    case "Done":
      return { _tag: "Stored" }
    case "Failed":
      return { _tag: "Failed", error: entry.error, alone: false }
    case "Refused":
      return { _tag: "Failed", error: fromEntry(calls.name, "publish", queue, entry.entry), alone: true }
  }
}

/** on a FIFO queue nothing is sent again here: it would go behind what was sent after it */
const store = (
  engine: Engine,
  queue: string,
  messages: ReadonlyArray<Outgoing>,
  tries = engine.fifo ? 0 : again
): Effect.Effect<ReadonlyArray<Sent>, BackendError> =>
  Effect.gen(function*() {
    const url = yield* engine.queues.url(queue)
    const answers = (yield* send(engine, "publish", queue, url, messages)).map((entry) => sentOf(engine, queue, entry))
    const open = answers.flatMap((answer, place) =>
      answer._tag === "Failed" && answer.alone && answer.error.retryable ? [place] : []
    )
    if (open.length === 0 || tries === 0) return answers
    yield* Effect.sleep(50 * 2 ** (again - tries))
    const rest = yield* store(engine, queue, open.map((place) => messages[place]!), tries - 1)
    const all = answers.slice()
    open.forEach((place, i) => all[place] = rest[i]!)
    return all
  })

/** calls under way at once that carry what several callers publish */
const flights = 8

/** single enqueues share a call: SQS is paid by the call */
export const singles = (engine: Engine): Coalesce<Outgoing, Sent, BackendError> =>
  new Coalesce({
    run: (queue, messages) => store(engine, queue, messages),
    most: entries,
    flights,
    // answers are entry by entry, so a call that fails fails for all of them
    isOnes: () => false
  })

const stored: Published = { _tag: "Stored" }

export const publish = (
  engine: Engine,
  singles: Coalesce<Outgoing, Sent, BackendError>,
  queue: string,
  items: ReadonlyArray<Item>
): Effect.Effect<ReadonlyArray<Published>, BackendError> =>
  Effect.suspend(() => {
    const { calls, fifo, limits } = engine
    const refused = publishRefused(calls.name, limits, fifo, queue, items, Date.now())
    if (refused !== undefined) return Effect.fail(refused)
    if (items.length === 0) return Effect.succeed([])
    const messages = items.map(toOutgoing)
    for (let i = 0; i < items.length; i++) {
      const refused = bodyRefused(calls.name, limits, items[i]!.envelope, messages[i]!.bytes)
      if (refused !== undefined) return Effect.fail(refused)
    }
    return Effect.flatMap(singles.submit(queue, messages), (answers) => conclude(engine, queue, answers))
  })

/** the call as a whole: of a batch that is half stored nobody may think that nothing happened */
const conclude = (
  engine: Engine,
  queue: string,
  answers: ReadonlyArray<Sent>
): Effect.Effect<ReadonlyArray<Published>, BackendError> => {
  const failures = answers.flatMap((answer) => answer._tag === "Failed" ? [answer.error] : [])
  const [first] = failures
  if (first === undefined) return Effect.succeed(answers.map(() => stored))
  if (isMissingQueue(first.cause)) engine.queues.forget(queue)
  const isWhole = failures.length === answers.length
  return Effect.fail(
    isWhole && failures.every(({ outcome }) => outcome === first.outcome) ? first : new BackendError({
      backend: first.backend,
      operation: first.operation,
      message: isWhole
        ? first.message
        : `${first.message} (${answers.length - failures.length} of ${answers.length} jobs are stored)`,
      retryable: failures.every(({ retryable }) => retryable),
      outcome: "Unknown",
      cause: first.cause
    })
  )
}
