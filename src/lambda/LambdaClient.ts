/**
 * Calls a function's handler as SQS does, in the process of a test: it makes the records, and reads the answer by the rules
 * of the event source mapping (a blank or unknown identifier, or an error, fails the whole batch; no answer at all
 * acknowledges it).
 *
 * ```ts
 * const client = LambdaClient.make(handler)
 * const sent = await client.send(LambdaClient.json({ type: "order_created", order_id: "1", amount: 5 }))
 * assert.deepStrictEqual(sent.response, { batchItemFailures: [] })
 * ```
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { createHash } from "node:crypto"
import * as Backend from "../Backend.ts"
import { published, write } from "../backends/sqs/message.ts"
import type { BatchResponse, InvocationContext } from "./Lambda.ts"

/**
 * One message before it is a record. What is left out is made up; `messageId: null` and an empty one are taken as they
 * are, for tests of what comes of them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Message {
  readonly body: string
  readonly messageId?: string | null | undefined
  /** the message group of a FIFO queue */
  readonly group?: string | undefined
  /** string attributes: the headers of a job */
  readonly attributes?: { readonly [name: string]: string } | undefined
  /** deliveries of this message, this one included; 1 unless set */
  readonly receiveCount?: number | undefined
  /** milliseconds since the epoch; now unless set */
  readonly sentAt?: number | undefined
  /** that of the body unless set */
  readonly md5OfBody?: string | undefined
}

/**
 * A message with this body, whatever it is.
 *
 * @category messages
 * @since 0.1.0
 */
export const raw = (body: string, options?: Omit<Message, "body">): Message => ({ ...options, body })

/**
 * A message whose body is this value as JSON.
 *
 * @category messages
 * @since 0.1.0
 */
export const json = (payload: unknown, options?: Omit<Message, "body">): Message => ({
  ...options,
  body: JSON.stringify(payload)
})

/**
 * The messages that an enqueue would put into a queue of the SQS backend: the enqueue point is passed, options included.
 * What a standard queue lacks does not compile, and a delay is left out: the test says when a message is delivered.
 *
 * ```ts
 * const [message] = await LambdaClient.enqueued(SendEmail.enqueue({ to }).pipe(Enqueue.headers({ tenant: "acme" })))
 * ```
 *
 * @category messages
 * @since 0.1.0
 */
export const enqueued = <E>(
  enqueue: Effect.Effect<unknown, E, Backend.Backend>
): Promise<ReadonlyArray<Message>> =>
  Effect.runPromise(Effect.suspend(() => {
    const messages: Array<Message> = []
    return Effect.as(Effect.provideService(enqueue, Backend.Backend, capturing(messages)), messages)
  }))

/** A backend that stores nothing: what is published is kept as messages. */
const capturing = (messages: Array<Message>): Backend.Shape => {
  const only = (what: string) => Effect.die(new Error(`LambdaClient.enqueued ${what}: it only takes what is enqueued`))
  return {
    name: "lambda-client",
    limits: {
      payloadBytes: 1_048_576,
      delayMillis: 900_000,
      publishBatch: 10,
      takeBatch: 10,
      settleBatch: 10
    },
    fence: "weak",
    declare: () => Effect.void,
    publish: (_, items) =>
      Effect.sync(() =>
        items.map(({ envelope, group }) => {
          const body = write(published(envelope, { group, delayed: undefined, scheduledFor: undefined }))
          messages.push({ body, group })
          return { _tag: "Stored" }
        })
      ),
    subscribe: () => only("has no subscriptions"),
    ping: Effect.void
  }
}

/**
 * What came of one call, as SQS reads it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sent {
  /** as it came; undefined when the handler failed or answered nothing */
  readonly response: BatchResponse | undefined
  /** what the handler failed with */
  readonly error: unknown
  /** the messages that SQS deletes, in the order in which they were sent */
  readonly acknowledged: ReadonlyArray<string>
  /** the messages that come back */
  readonly failed: ReadonlyArray<string>
}

/**
 * What came of messages that were delivered again and again.
 *
 * @category models
 * @since 0.1.0
 */
export interface Settled {
  /** one entry a call */
  readonly rounds: ReadonlyArray<Sent>
  readonly acknowledged: ReadonlyArray<string>
  /** the messages that had been delivered `maxReceiveCount` times: what the redrive policy moves */
  readonly deadLetters: ReadonlyArray<string>
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** the queue's name: one that ends in `.fifo` makes the events those of a FIFO queue; `queue` unless set */
  readonly queue?: string | undefined
  /** what is left of the function's time at every call; 30 seconds unless set */
  readonly remaining?: Duration.Input | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Client {
  /** one message in a batch of its own */
  readonly send: (message: Message) => Promise<Sent>
  /** all of them in one batch, in this order */
  readonly sendBatch: (messages: ReadonlyArray<Message>) => Promise<Sent>
  /**
   * all of them in one batch, then what failed in another, until nothing fails or each was delivered so often; no time
   * passes between the rounds
   */
  readonly sendUntilSettled: (
    messages: ReadonlyArray<Message>,
    options: { readonly maxReceiveCount: number }
  ) => Promise<Settled>
  /** the event that {@link sendBatch} makes, for a test that wants to change it */
  readonly event: (messages: ReadonlyArray<Message>) => { readonly Records: ReadonlyArray<MadeRecord> }
  /** calls the handler with any event */
  readonly invoke: (event: unknown) => Promise<BatchResponse>
}

/**
 * A record with all the fields that SQS gives it.
 *
 * @category models
 * @since 0.1.0
 */
export interface MadeRecord {
  readonly messageId: string | null
  readonly receiptHandle: string
  readonly body: string
  readonly attributes: { readonly [name: string]: string }
  readonly messageAttributes: { readonly [name: string]: { readonly stringValue: string; readonly dataType: "String" } }
  readonly md5OfBody: string
  readonly eventSource: "aws:sqs"
  readonly eventSourceARN: string
  readonly awsRegion: string
}

/**
 * A client of any function that answers as SQS asks for it, those of `Lambda.handler` among them.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  handler: (event: unknown, context: InvocationContext) => Promise<BatchResponse>,
  options: Options = {}
): Client => {
  const queue = options.queue ?? "queue"
  const remaining = Duration.toMillis(options.remaining ?? "30 seconds")
  let made = 0

  const record = (message: Message): MadeRecord => {
    const number = ++made
    const sentAt = String(message.sentAt ?? Date.now())
    return {
      messageId: message.messageId === undefined ? `message-${number}` : message.messageId,
      receiptHandle: `receipt-${number}`,
      body: message.body,
      attributes: {
        ApproximateReceiveCount: String(message.receiveCount ?? 1),
        SentTimestamp: sentAt,
        SenderId: "AIDAEXAMPLE",
        ApproximateFirstReceiveTimestamp: sentAt,
        ...(queue.endsWith(".fifo")
          ? { SequenceNumber: String(number).padStart(20, "0"), MessageDeduplicationId: `${number}` }
          : {}),
        ...(message.group === undefined ? {} : { MessageGroupId: message.group })
      },
      messageAttributes: Object.fromEntries(
        Object.entries(message.attributes ?? {}).map(([name, stringValue]) =>
          [name, { stringValue, dataType: "String" }] as const
        )
      ),
      md5OfBody: message.md5OfBody ?? createHash("md5").update(message.body, "utf8").digest("hex"),
      eventSource: "aws:sqs",
      eventSourceARN: `arn:aws:sqs:eu-central-1:123456789012:${queue}`,
      awsRegion: "eu-central-1"
    }
  }
  const invoke = (event: unknown) => {
    const until = performance.now() + remaining
    return handler(event, {
      awsRequestId: `request-${++made}`,
      getRemainingTimeInMillis: () => Math.max(0, until - performance.now())
    })
  }
  const sendRecords = async (records: ReadonlyArray<MadeRecord>): Promise<Sent> => {
    try {
      return read(records, await invoke({ Records: records }))
    } catch (error) {
      return { response: undefined, error, acknowledged: [], failed: records.map(nameOf) }
    }
  }
  const sendBatch: Client["sendBatch"] = (messages) => sendRecords(messages.map(record))
  return {
    send: (message) => sendBatch([message]),
    sendBatch,
    sendUntilSettled: async (messages, { maxReceiveCount }) => {
      let open = messages.map((message) => ({ record: record(message), count: message.receiveCount ?? 1 }))
      const rounds: Array<Sent> = []
      const acknowledged: Array<string> = []
      const deadLetters: Array<string> = []
      while (open.length > 0) {
        const sent = await sendRecords(open.map(({ count, record }) => ({
          ...record,
          // every delivery has its own
          receiptHandle: `receipt-${++made}`,
          attributes: { ...record.attributes, ApproximateReceiveCount: String(count) }
        })))
        rounds.push(sent)
        acknowledged.push(...sent.acknowledged)
        const failed = open.filter(({ record }) => sent.failed.includes(nameOf(record)))
        deadLetters.push(...failed.filter(({ count }) => count >= maxReceiveCount).map(({ record }) => nameOf(record)))
        open = failed.filter(({ count }) => count < maxReceiveCount)
          .map(({ count, record }) => ({ record, count: count + 1 }))
      }
      return { rounds, acknowledged, deadLetters }
    },
    event: (messages) => ({ Records: messages.map(record) }),
    invoke
  }
}

const nameOf = (record: MadeRecord): string => record.messageId ?? "null"

/**
 * The rules of the event source mapping: no answer, or one without a list, is a batch that is done, and what it cannot
 * match to a message fails all of them.
 */
const read = (records: ReadonlyArray<MadeRecord>, response: Partial<BatchResponse> | null | undefined): Sent => {
  const all = records.map(nameOf)
  const list: unknown = response?.batchItemFailures ?? []
  const reported = Array.isArray(list)
    ? list.map((item: BatchResponse["batchItemFailures"][0] | null) => item?.itemIdentifier)
    : [undefined]
  const matched = reported.every((id) => typeof id === "string" && id !== "" && all.includes(id))
  const failed = matched ? all.filter((id) => reported.includes(id)) : all
  return {
    response: (response ?? undefined) as BatchResponse | undefined,
    error: undefined,
    acknowledged: all.filter((id) => !failed.includes(id)),
    failed
  }
}
