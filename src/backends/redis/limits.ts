/**
 * What this backend carries, and the refusal of what is above it, before anything of a batch is stored.
 *
 * @since 0.1.0
 */
import { Buffer } from "node:buffer"
import type { BackendError, Destination, Envelope, Item, Limits } from "../../Backend.ts"
import { badGroupLimit } from "../internal/groupLimit.ts"
import { refusal } from "./errors.ts"

export const priorities = { min: -32_768, max: 32_767 } as const

/** a time above this is no date */
export const lastTime = 8_640_000_000_000_000

const bytesOf = (envelope: Envelope): number => {
  let bytes = Buffer.byteLength(envelope.payload)
  for (const name in envelope.headers) {
    bytes += Buffer.byteLength(name) + Buffer.byteLength(envelope.headers[name]!)
  }
  return bytes
}

/** the usual small one is not measured: no UTF-16 unit takes more than three bytes */
const fits = (envelope: Envelope, limit: number): boolean => {
  let units = envelope.payload.length
  for (const name in envelope.headers) units += name.length + envelope.headers[name]!.length
  return units * 3 <= limit || (units <= limit && bytesOf(envelope) <= limit)
}

export const publishRefused = (
  backend: string,
  limits: Limits,
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
    const { due, envelope, keepResult, priority, unique } = item
    const job = `job ${envelope.id} of task ${envelope.task}`
    if (!fits(envelope, limits.payloadBytes)) {
      return refuse(
        `${job} has ${
          bytesOf(envelope)
        } bytes, ${backend} carries ${limits.payloadBytes}: store the payload elsewhere ` +
          `and enqueue a reference to it, or raise limits.payloadBytes`
      )
    }
    if (due !== undefined) {
      const delay = due._tag === "After" ? due.millis : due.time - now
      // negated, so that NaN is refused too
      if (!(delay <= limits.delayMillis)) {
        return refuse(`${job} is delayed by ${delay} ms, ${backend} delays up to ${limits.delayMillis} ms`)
      }
      if (!(delay + now <= lastTime)) return refuse(`${job} is due at ${delay + now} ms, which is no date`)
    }
    if (
      priority !== undefined &&
      !(Number.isInteger(priority) && priority >= priorities.min && priority <= priorities.max)
    ) {
      return refuse(
        `${job} has priority ${priority}, ${backend} takes whole numbers from ${priorities.min} to ${priorities.max}`
      )
    }
    const limit = badGroupLimit(item)
    if (limit !== undefined) return refuse(`${job} has ${limit}`)
    if (keepResult !== undefined && Number.isNaN(keepResult)) {
      return refuse(`${job} asks to keep its result for ${keepResult} ms, which is no duration`)
    }
    if (unique !== undefined && typeof unique.until === "object" && Number.isNaN(unique.until.millis)) {
      return refuse(`${job} has a unique key for ${unique.until.millis} ms, which is no duration`)
    }
  }
  return undefined
}

/** why a job of that queue cannot go on there, if so */
export const rerouteRefused = (
  backend: string,
  cluster: boolean,
  from: string,
  { priority, queue }: Destination
): BackendError | undefined => {
  if (cluster && queue !== undefined && queue !== from) {
    return refusal(
      backend,
      "reroute",
      `from queue "${from}" to "${queue}": their keys are on two nodes of the cluster, and no script reaches both. Change ` +
        `the priority or the group, or enqueue a job of the other queue`
    )
  }
  const fits = priority === undefined ||
    (Number.isInteger(priority) && priority >= priorities.min && priority <= priorities.max)
  return fits ? undefined : refusal(
    backend,
    "reroute",
    `priority ${priority}: ${backend} takes whole numbers from ${priorities.min} to ${priorities.max}`
  )
}

export const settleRefused = (backend: string, limits: Limits, size: number): BackendError | undefined =>
  size <= limits.settleBatch
    ? undefined
    : refusal(
      backend,
      "settle",
      `${size} settlements in one batch, ${backend} takes ${limits.settleBatch}: settle them in several batches`
    )

/** whole milliseconds that scripts can reckon with */
export const whole = (millis: number): number => Math.ceil(Math.min(Math.max(millis, -lastTime), lastTime))
