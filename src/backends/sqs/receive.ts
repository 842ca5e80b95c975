/**
 * Messages that were received, and what a worker is told about them.
 *
 * @since 0.1.0
 */
import * as Sqs from "@aws-sdk/client-sqs"
import type { Delivery } from "../../Backend.ts"
import type { Engine } from "./engine.ts"
import type { Message } from "./foreign.ts"
import { longestDelay, longestVisibility, seconds } from "./limits.ts"
import { read, type Stored } from "./message.ts"
import type { Known } from "./queues.ts"

/** the right to settle one delivery: the fence of its receipt */
export class Claim {
  readonly known: Known
  readonly handle: string
  readonly body: string
  readonly attributes: Readonly<Record<string, Sqs.MessageAttributeValue>>
  readonly messageId: string
  readonly stored: Stored
  /** written by somebody else: the message is never rewritten, only made visible again */
  readonly foreign: boolean
  /** of the FIFO queue */
  readonly group: string | undefined
  readonly receives: number
  readonly sentAt: number | undefined
  readonly firstReceivedAt: number | undefined
  /** by `performance.now` */
  readonly receivedAt: number
  /** when SQS may hand it out again, by `performance.now`: never later than it does */
  until: number
  /** its successor or its dead letter is stored: what is left to do is to delete this one */
  moved = false
  /** it was settled, or it is known to be somebody else's */
  over = false

  constructor(engine: Engine, known: Known, message: Sqs.Message, askedAt: number) {
    const own = read(message.Body ?? "")
    const system = message.Attributes ?? {}
    const number = (name: Sqs.MessageSystemAttributeName) => {
      const value = Number(system[name])
      return Number.isFinite(value) ? value : undefined
    }
    this.known = known
    this.handle = message.ReceiptHandle!
    this.body = message.Body ?? ""
    this.attributes = message.MessageAttributes ?? {}
    this.messageId = message.MessageId!
    this.foreign = own === undefined
    this.group = system.MessageGroupId
    this.receives = Math.max(1, number("ApproximateReceiveCount") ?? 1)
    this.sentAt = number("SentTimestamp")
    this.firstReceivedAt = number("ApproximateFirstReceiveTimestamp")
    this.stored = own ?? foreignJob(engine, message, engine.fifo ? this.group : undefined)
    this.receivedAt = askedAt
    this.until = askedAt + engine.lease * 1000
  }

  /** seconds that SQS lets the message be invisible from now on: it counts from when it was received */
  visibility(asked: number): number {
    // a second for the way of the receive's answer and the rounding
    const left = longestVisibility - 1 - Math.ceil((performance.now() - this.receivedAt) / 1000)
    return Math.max(0, Math.min(asked, left))
  }

  /** owners that were lost with it in a row, where a retry is a message of its own */
  get losses(): number {
    return this.stored.losses + Math.max(0, this.receives - 1 - stops(this.stored, this.sentAt))
  }

  get isExpired(): boolean {
    return performance.now() >= this.until
  }

  /** for those that print or compare receipts: no two hand-outs have the same handle */
  toJSON(): string {
    return this.handle
  }
}

/** the job that somebody else's message asks for. Without an answer it is of no task, which no worker knows */
const foreignJob = ({ foreign }: Engine, message: Sqs.Message, group: string | undefined): Stored => {
  const attributes = textsOf(message.MessageAttributes ?? {})
  const asked = foreign?.({ id: message.MessageId!, body: message.Body ?? "", attributes } satisfies Message)
  return {
    envelope: {
      id: message.MessageId!,
      task: asked?.task ?? "",
      version: asked?.version ?? 1,
      payload: asked?.payload ?? message.Body ?? "",
      headers: asked?.headers ?? attributes,
      origin: "user"
    },
    group,
    enqueuedAt: undefined,
    delayed: undefined,
    scheduledFor: undefined,
    spent: 0,
    losses: 0,
    firstFailedAt: undefined,
    notBefore: undefined
  }
}

const textsOf = (attributes: Readonly<Record<string, Sqs.MessageAttributeValue>>): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(attributes).flatMap(([name, { StringValue }]) =>
      StringValue === undefined ? [] : [[name, StringValue]]
    )
  )

/** deliveries that a pause took which was longer than SQS delays a message: it was received and hidden again */
const stops = ({ notBefore }: Stored, sentAt: number | undefined): number =>
  notBefore === undefined || sentAt === undefined
    ? 0
    : Math.max(0, Math.ceil((seconds(notBefore - sentAt) - longestDelay) / (longestVisibility - 1)))

/**
 * Where a retry is a message of its own, a message that was received before was lost by its owner. Elsewhere every retry is
 * a delivery of the same message, so deliveries can only be counted.
 */
export const deliveryOf = (claim: Claim, fifo: boolean): Delivery => {
  const { firstReceivedAt, foreign, receives, sentAt, stored } = claim
  const counted = fifo || foreign
  const unsettled = counted ? 0 : claim.losses
  const enqueuedAt = stored.enqueuedAt ?? sentAt
  return {
    // what a middleware does to its copy is not what is stored
    envelope: { ...stored.envelope, headers: { ...stored.envelope.headers } },
    receipt: { id: stored.envelope.id, fence: claim },
    queue: claim.known.queue,
    attempt: counted ? receives : stored.spent + 1,
    unsettled,
    lostFrom: unsettled === 0 ? undefined : { worker: "unknown", claimedAt: firstReceivedAt ?? sentAt ?? 0 },
    enqueuedAt,
    scheduledFor: scheduledFor(stored, enqueuedAt),
    firstFailedAt: counted ? (receives > 1 ? firstReceivedAt : undefined) : stored.firstFailedAt,
    priority: 0,
    group: stored.group,
    abortRequested: false,
    keepsResult: false
  }
}

export const scheduledFor = ({ delayed, scheduledFor }: Stored, enqueuedAt: number | undefined): number | undefined =>
  scheduledFor ?? (delayed === undefined || enqueuedAt === undefined ? undefined : enqueuedAt + delayed)

/** milliseconds for which it must not be handed out yet */
export const early = ({ stored: { notBefore } }: Claim): number =>
  notBefore === undefined ? 0 : Math.max(0, notBefore - Date.now())

export const receiveCommand = (
  { fifo, lease }: Engine,
  url: string,
  max: number,
  wait: number
): Sqs.ReceiveMessageCommand =>
  new Sqs.ReceiveMessageCommand({
    QueueUrl: url,
    MaxNumberOfMessages: max,
    WaitTimeSeconds: wait,
    VisibilityTimeout: lease,
    MessageAttributeNames: ["All"],
    MessageSystemAttributeNames: [
      "ApproximateReceiveCount",
      "ApproximateFirstReceiveTimestamp",
      "SentTimestamp",
      ...fifo ? ["MessageGroupId", "SequenceNumber"] as const : []
    ]
  })
