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

/** a time above this is no date, and arithmetic with it would not be exact */
const lastTime = 8_640_000_000_000_000

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

const hasNul = (text: string | undefined): boolean => text !== undefined && text.includes("\u0000")

/** the headers are JSON in the file, where a NUL is written as an escape */
const isCut = ({ envelope, group, unique }: Item): boolean =>
  hasNul(envelope.payload) || hasNul(envelope.id) || hasNul(envelope.task) || hasNul(group) || hasNul(unique?.key)

export const publishRefused = (
  { keepsNul, name: backend }: { readonly keepsNul: boolean; readonly name: string },
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
    if (!keepsNul && isCut(item)) {
      return refuse(
        `${job} has a NUL character in its payload, id, task, group or key, and this version of Node would cut the text ` +
          `there: use a newer Node, or encode the text`
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
    if (priority !== undefined && !isWhole(priority, priorities.min, priorities.max)) {
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

/** why a job cannot go on there, if so */
export const rerouteRefused = (
  { keepsNul, name: backend }: { readonly keepsNul: boolean; readonly name: string },
  { group, priority, queue }: Destination
): BackendError | undefined => {
  const refuse = (message: string) => refusal(backend, "reroute", message)
  if (!keepsNul && (hasNul(group ?? undefined) || hasNul(queue))) {
    return refuse(
      "a queue or a group with a NUL character, and this version of Node would cut the text there: use a newer Node, or " +
        "another name"
    )
  }
  return priority === undefined || isWhole(priority, priorities.min, priorities.max)
    ? undefined
    : refuse(`priority ${priority}: ${backend} takes whole numbers from ${priorities.min} to ${priorities.max}`)
}

export const settleRefused = (backend: string, limits: Limits, size: number): BackendError | undefined =>
  size <= limits.settleBatch
    ? undefined
    : refusal(
      backend,
      "settle",
      `${size} settlements in one batch, ${backend} takes ${limits.settleBatch}: settle them in several batches`
    )

/** `now` plus a duration, as a whole millisecond that SQLite and JavaScript both hold exactly */
export const later = (now: number, millis: number): number => time(now + millis)

export const time = (value: number): number => Math.ceil(Math.min(value, lastTime))

const isWhole = (value: number, min: number, max: number): boolean =>
  Number.isInteger(value) && value >= min && value <= max
