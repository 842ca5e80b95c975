/**
 * What this backend carries, and the refusal of what is above it, before anything of a batch is stored.
 *
 * @since 0.1.0
 */
import type { BackendError, Destination, Envelope, Item, Limits } from "../../Backend.ts"
import { badGroupLimit } from "../internal/groupLimit.ts"
import { refusal } from "./errors.ts"
import { isStorable } from "./params.ts"

export const priorities = { min: -32_767, max: 32_767 } as const

/** a time above this is no date, and arithmetic with it would not be exact */
const lastTime = 8_640_000_000_000_000

/** a text in an index has to fit into a third of a page */
const longestName = 2_000

const encoder = new TextEncoder()
const bytesOf = (text: string): number => encoder.encode(text).length

const envelopeBytes = (envelope: Envelope): number => {
  let bytes = bytesOf(envelope.payload)
  for (const name in envelope.headers) bytes += bytesOf(name) + bytesOf(envelope.headers[name]!)
  return bytes
}

/** the usual small one is not measured: no UTF-16 unit takes more than three bytes */
const fits = (envelope: Envelope, limit: number): boolean => {
  let units = envelope.payload.length
  for (const name in envelope.headers) units += name.length + envelope.headers[name]!.length
  return units * 3 <= limit || (units <= limit && envelopeBytes(envelope) <= limit)
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
    const { due, envelope, group, keepResult, priority, unique } = item
    const job = `job ${envelope.id} of task ${envelope.task}`
    const name = (what: string, text: string) =>
      !isStorable(text) || text.length > longestName
        ? refuse(`${job} has ${what} that PostgreSQL cannot index: up to ${longestName} characters, none of them NUL`)
        : undefined
    if (!fits(envelope, limits.payloadBytes)) {
      return refuse(
        `${job} has ${envelopeBytes(envelope)} bytes, ${backend} carries ${limits.payloadBytes}: store the payload ` +
          `elsewhere and enqueue a reference to it, or raise limits.payloadBytes`
      )
    }
    if (!isStorable(envelope.payload)) {
      return refuse(
        `${job} has a payload with a NUL character or half a surrogate pair, which PostgreSQL cannot store as text: ` +
          `encode it, with base64 for example`
      )
    }
    const wrong = name("an id", envelope.id) ?? name("a task", envelope.task) ??
      (group === undefined ? undefined : name("a group", group)) ??
      (unique === undefined ? undefined : name("a unique key", unique.key))
    if (wrong !== undefined) return wrong
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

/** why nothing can have this name, if so */
export const queueRefused = (backend: string, operation: string, queue: string): BackendError | undefined =>
  isStorable(queue) && queue.length <= longestName ? undefined : refusal(
    backend,
    operation,
    `queue ${
      JSON.stringify(queue.slice(0, 100))
    } has a name that PostgreSQL cannot index: up to ${longestName} characters, ` +
      `none of them NUL or half a surrogate pair`
  )

/** why a job cannot go on there, if so */
export const rerouteRefused = (
  backend: string,
  { group, priority, queue }: Destination
): BackendError | undefined => {
  const bad = [group, queue].find((name) =>
    typeof name === "string" && (!isStorable(name) || name.length > longestName)
  )
  if (bad !== undefined) {
    return refusal(
      backend,
      "reroute",
      `a queue or a group that PostgreSQL cannot index: up to ${longestName} characters, none of them NUL`
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

/** a whole number of milliseconds that can be added to a time */
export const whole = (millis: number): number => Math.ceil(Math.min(Math.max(millis, -lastTime), lastTime))
