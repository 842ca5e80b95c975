/**
 * What SQS carries, and the refusal of what is above it, before anything of a batch is stored.
 *
 * @since 0.1.0
 */
import { Buffer } from "node:buffer"
import type { BackendError, Envelope, Item, Limits } from "../../Backend.ts"
import { anyGroupLimit } from "../internal/groupLimit.ts"
import { refusal } from "./errors.ts"

/** messages of one receive, entries of one batch */
export const entries = 10

/** seconds that a message can be delayed when it is sent */
export const longestDelay = 900

/** seconds that a message can be invisible, counted from when it was received */
export const longestVisibility = 43_200

/**
 * Bytes of a message that are not the job's own: what the backend writes beside payload and headers, what retries add to
 * it, and why it died.
 */
export const overhead = 8 * 1024

/** of the overhead, what is kept free for retries and for the reasons of a dead letter */
const reserve = 2 * 1024

/** bytes of one message, and of one batch, that SQS takes */
export const messageBytes = (limits: Limits): number => limits.payloadBytes + overhead

const bytesOf = (envelope: Envelope): number => {
  let bytes = Buffer.byteLength(envelope.payload)
  for (const name in envelope.headers) {
    bytes += Buffer.byteLength(name) + Buffer.byteLength(envelope.headers[name]!)
  }
  return bytes
}

export const publishRefused = (
  backend: string,
  limits: Limits,
  fifo: boolean,
  queue: string,
  items: ReadonlyArray<Item>,
  now: number
): BackendError | undefined => {
  const refuse = (message: string) => refusal(backend, "publish", message)
  if (items.length > limits.publishBatch) {
    return refuse(
      `${items.length} jobs for queue "${queue}" in one batch, ${backend} takes ${limits.publishBatch}: publish them in ` +
        `several batches`
    )
  }
  for (const item of items) {
    const { due, envelope } = item
    const job = `job ${envelope.id} of task ${envelope.task}`
    const bytes = bytesOf(envelope)
    if (bytes > limits.payloadBytes) {
      return refuse(
        `${job} has ${bytes} bytes, ${backend} carries ${limits.payloadBytes}: store the payload elsewhere and enqueue a ` +
          `reference to it`
      )
    }
    const limit = anyGroupLimit(backend, item)
    if (limit !== undefined) return refuse(`${job} has ${limit}`)
    if (due !== undefined) {
      const delay = due._tag === "After" ? due.millis : due.time - now
      // negated, so that NaN is refused too
      if (!(delay <= limits.delayMillis)) {
        return refuse(
          fifo && delay > 0
            ? `${job} is delayed by ${delay} ms, and a FIFO queue of SQS delays no single message: use a standard queue`
            : `${job} is delayed by ${delay} ms, SQS delays up to ${limits.delayMillis} ms: enqueue it later`
        )
      }
    }
  }
  return undefined
}

/** escaped for SQS a job may be larger than it is */
export const bodyRefused = (
  backend: string,
  limits: Limits,
  { id, task }: Envelope,
  bytes: number
): BackendError | undefined =>
  bytes <= messageBytes(limits) - reserve ? undefined : refusal(
    backend,
    "publish",
    `job ${id} of task ${task} takes ${bytes} bytes as a message, and ${
      messageBytes(limits) - reserve
    } are free: it has ` +
      `characters that SQS takes only in a longer form, or a long id, task or group. Store the payload elsewhere and ` +
      `enqueue a reference to it`
  )

export const settleRefused = (backend: string, limits: Limits, size: number): BackendError | undefined =>
  size <= limits.settleBatch
    ? undefined
    : refusal(
      backend,
      "settle",
      `${size} settlements in one batch, ${backend} takes ${limits.settleBatch}: settle them in several batches`
    )

/** whole seconds, never earlier than asked */
export const seconds = (millis: number): number => Math.max(0, Math.ceil(millis / 1000))
