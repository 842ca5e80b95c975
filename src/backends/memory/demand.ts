/**
 * What the memory engine refuses: an item above its limits, before anything of the batch is stored.
 *
 * @since 0.1.0
 */
import { BackendError, type Destination, type Envelope, type Item, type Limits } from "../../Backend.ts"
import { anyGroupLimit, badGroupLimit } from "../internal/groupLimit.ts"
import type { Rules } from "./profiles.ts"

export const priorities = { min: -32_768, max: 32_767 } as const

/** bytes of a string in UTF-8 */
const utf8 = (text: string): number => {
  let bytes = text.length
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 0x80) continue
    // a surrogate pair is four bytes in two units; a lone surrogate is encoded as U+FFFD, three bytes in one
    if (code >= 0xd800 && code <= 0xdbff && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00) {
      bytes += 2
      i++
    } else {
      bytes += code < 0x800 ? 1 : 2
    }
  }
  return bytes
}

const bytesOf = (envelope: Envelope): number => {
  let bytes = utf8(envelope.payload)
  for (const name in envelope.headers) bytes += utf8(name) + utf8(envelope.headers[name]!)
  return bytes
}

/** cheap for the usual small one: no UTF-16 unit takes more than three bytes */
const fits = (envelope: Envelope, limit: number): boolean => {
  let units = envelope.payload.length
  for (const name in envelope.headers) units += name.length + envelope.headers[name]!.length
  return units * 3 <= limit || (units <= limit && bytesOf(envelope) <= limit)
}

/** what the text engines that check them cannot store: NUL, and halves of surrogate pairs */
const illFormed = /\0|\p{Surrogate}/u

const misspelt = (
  { envelope, group, unique }: Item,
  { longestName }: NonNullable<Rules["texts"]>
): string | undefined => {
  if (illFormed.test(envelope.payload)) {
    return "a payload with a NUL character or half a surrogate pair, which cannot be stored as text: encode it"
  }
  const bad = (text: string | undefined) => text !== undefined && (text.length > longestName || illFormed.test(text))
  const name = bad(envelope.id)
    ? "an id"
    : bad(envelope.task)
    ? "a task"
    : bad(group)
    ? "a group"
    : bad(unique?.key)
    ? "a unique key"
    : undefined
  return name && `${name} that cannot be indexed: up to ${longestName} characters, none of them NUL`
}

/** why a job cannot go on there, if so */
export const rerouteRefused = (
  backend: string,
  { priorities: { max, min }, texts }: Rules,
  { group, priority, queue }: Destination
): BackendError | undefined => {
  if (priority !== undefined && !(Number.isInteger(priority) && priority >= min && priority <= max)) {
    return refuse(
      backend,
      "reroute",
      `priority ${priority}: the ${backend} backend takes whole numbers from ${min} to ${max}`
    )
  }
  const bad = texts !== undefined &&
    [group, queue].some((text) => typeof text === "string" && (text.length > texts.longestName || illFormed.test(text)))
  return bad
    ? refuse(
      backend,
      "reroute",
      `a queue or a group that cannot be indexed: up to ${texts.longestName} characters, none NUL`
    )
    : undefined
}

const refuse = (backend: string, operation: string, message: string): BackendError =>
  new BackendError({ backend, operation, message, retryable: false, outcome: "NotApplied" })

export const refused = (
  backend: string,
  limits: Limits,
  { groupLimit, lastTime, priorities, texts }: Rules,
  queue: string,
  items: ReadonlyArray<Item>,
  now: number
): BackendError | undefined => {
  if (items.length > limits.publishBatch) {
    return refuse(
      backend,
      "publish",
      `${items.length} jobs for queue "${queue}" in one batch, the ${backend} backend takes ${limits.publishBatch}: ` +
        `publish them in several batches`
    )
  }
  for (const item of items) {
    const { due, envelope, keepResult, priority, unique } = item
    const job = `job ${envelope.id} of task ${envelope.task}`
    if (!fits(envelope, limits.payloadBytes)) {
      return refuse(
        backend,
        "publish",
        `${job} is ${bytesOf(envelope)} bytes encoded, the ${backend} backend carries ${limits.payloadBytes}: ` +
          `store the payload elsewhere and enqueue a reference to it, or raise limits.payloadBytes`
      )
    }
    const text = texts === undefined ? undefined : misspelt(item, texts)
    if (text !== undefined) return refuse(backend, "publish", `${job} has ${text}`)
    const delay = due === undefined ? 0 : due._tag === "After" ? due.millis : due.time - now
    // negated, so that NaN is refused as well
    if (!(delay <= limits.delayMillis)) {
      return refuse(
        backend,
        "publish",
        `${job} is delayed by ${delay} ms, the ${backend} backend delays up to ${limits.delayMillis} ms`
      )
    }
    if (due !== undefined && lastTime !== undefined && !(delay + now <= lastTime)) {
      return refuse(backend, "publish", `${job} is due at ${delay + now} ms, which is no date`)
    }
    if (
      priority !== undefined &&
      !(Number.isInteger(priority) && priority >= priorities.min && priority <= priorities.max)
    ) {
      return refuse(
        backend,
        "publish",
        `${job} has priority ${priority}, the ${backend} backend takes whole numbers from ${priorities.min} to ` +
          `${priorities.max}`
      )
    }
    const limit = groupLimit ? badGroupLimit(item) : anyGroupLimit(backend, item)
    if (limit !== undefined) return refuse(backend, "publish", `${job} has ${limit}`)
    if (keepResult !== undefined && Number.isNaN(keepResult)) {
      return refuse(backend, "publish", `${job} asks to keep its result for ${keepResult} ms, which is no duration`)
    }
    if (unique !== undefined && typeof unique.until === "object" && Number.isNaN(unique.until.millis)) {
      return refuse(backend, "publish", `${job} holds its key for ${unique.until.millis} ms, which is no duration`)
    }
  }
  return undefined
}

export const settleRefused = (backend: string, limits: Limits, size: number): BackendError | undefined =>
  size <= limits.settleBatch ? undefined : refuse(
    backend,
    "settle",
    `${size} settlements in one batch, the ${backend} backend takes ${limits.settleBatch}: settle them in several batches`
  )

export const closed = (backend: string, operation: string, queue: string): BackendError =>
  refuse(
    backend,
    operation,
    `the subscription to queue "${queue}" was given up when its scope ended: subscribe again`
  )
