/**
 * What is stored of a job when it is published, as text in five parts, each but the last ended by a line feed:
 *
 * 1. whether it is plain (`p`: nothing but the job itself goes when it succeeds; else `x`), its number, the time of the
 *    enqueue, when it becomes claimable if it was delayed (else 0), rank, milliseconds that its result is kept (or -1).
 *    The script writes this, because the server's clock decides
 * 2. group, its limit above one and unique key as JSON, for the scripts; empty when there are none
 * 3. the task as JSON
 * 4. version, origin and headers as JSON
 * 5. the payload
 *
 * @since 0.1.0
 */
import type { Envelope, Item, Origin } from "../../Backend.ts"
import { Stored } from "../internal/claimed.ts"
import { whole } from "./limits.ts"

export interface Record {
  readonly envelope: Envelope
  readonly plain: boolean
  readonly num: number
  readonly enqueued: number
  readonly scheduledFor: number | undefined
  readonly priority: number
  readonly keepsResult: boolean
  readonly group: string | undefined
  readonly uniqueKey: string | undefined
}

/** what happened to a job since */
export interface State {
  /** attempts spent */
  readonly n?: number
  /** unsettled */
  readonly u?: number
  /** from whom it was lost: worker, time of the claim */
  readonly lw?: string
  readonly lc?: number
  /** when the first failed attempt was settled */
  readonly ff?: number
  readonly err?: string
  readonly prog?: string
  readonly h?: ReadonlyArray<
    { readonly t: number; readonly e: string; readonly a: number; readonly w?: string; readonly d?: string }
  >
}

const lone = /\p{Surrogate}/u

/** half a surrogate pair is no text that a script can read */
export const readable = (text: string): string => lone.test(text) ? text.replace(/\p{Surrogate}/gu, "\ufffd") : text

export const taskLine = (task: string): string => JSON.stringify(readable(task))

const own = ({ group, groupLimit, unique }: Item): string =>
  group === undefined && unique === undefined ? "" : JSON.stringify({
    g: group === undefined ? undefined : readable(group),
    l: group === undefined || groupLimit === 1 ? undefined : groupLimit,
    k: unique === undefined ? undefined : readable(unique.key),
    u: typeof unique?.until === "object" ? Math.max(0, whole(unique.until.millis)) : unique?.until
  })

const numbersOf = ({ due, keepResult, priority }: Item): string => {
  const rank = priority === undefined || priority === 0 ? 0 : -priority
  const keep = keepResult === undefined ? -1 : Math.max(0, whole(keepResult))
  const when = due === undefined ? "+0" : due._tag === "After" ? `+${whole(due.millis)}` : `@${whole(due.time)}`
  return `${rank} ${keep} ${when}`
}

/** nothing was asked for but that it runs */
const isPlain = ({ due, group, keepResult, priority, unique }: Item): boolean =>
  due === undefined && (priority === undefined || priority === 0) && keepResult === undefined && group === undefined &&
  unique === undefined

/** parts 3 and 4 with their ends */
interface Head extends Pick<Envelope, "task" | "version" | "origin"> {
  readonly text: string
}

/** most jobs have the head of the one before: it is neither made nor parsed again */
let written: Head | undefined
let seen: Head | undefined

const headOf = ({ headers, origin, task, version }: Envelope): string => {
  for (const _ in headers) return `${taskLine(task)}\n${JSON.stringify([version, origin, headers])}\n`
  if (written === undefined || written.task !== task || written.version !== version || written.origin !== origin) {
    written = { task, version, origin, text: `${taskLine(task)}\n${JSON.stringify([version, origin])}\n` }
  }
  return written.text
}

/**
 * The items of a batch as arguments: how many there are of each, then those. Two, the id and parts 3 to 5, when nothing is to
 * be said of any item; else four: the id, the numbers, what scripts need to know, parts 3 to 5
 */
export const write = (items: ReadonlyArray<Item>, into: Array<string>): void => {
  const plain = items.every(isPlain)
  into.push(plain ? "2" : "4")
  for (const item of items) {
    const { envelope } = item
    into.push(envelope.id)
    if (!plain) into.push(numbersOf(item), own(item))
    into.push(headOf(envelope) + envelope.payload)
  }
}

/** whole numbers with a space between, from the second character on */
const numbersIn = (record: string, end: number): ReadonlyArray<number> => {
  const numbers: Array<number> = []
  let n = 0
  let sign = 1
  for (let i = 1; i <= end; i++) {
    const code = record.charCodeAt(i)
    if (code === 45) {
      sign = -1
    } else if (code >= 48) {
      n = n * 10 + code - 48
    } else {
      numbers.push(sign * n)
      n = 0
      sign = 1
    }
  }
  return numbers
}

export const read = (id: string, record: string): Record => {
  const a = record.indexOf("\n")
  const b = record.indexOf("\n", a + 1)
  const [num, enqueued, scheduled, rank, keep] = numbersIn(record, a)
  const marks = b === a + 1 ? undefined : JSON.parse(record.slice(a + 1, b)) as { g?: string; k?: string }
  let head = seen
  let headers: Envelope["headers"] | undefined
  if (head === undefined || !record.startsWith(head.text, b + 1)) {
    const c = record.indexOf("\n", b + 1)
    const d = record.indexOf("\n", c + 1)
    const [version, origin, own] = JSON.parse(record.slice(c + 1, d)) as [number, Origin, Envelope["headers"]?]
    head = { task: JSON.parse(record.slice(b + 1, c)) as string, version, origin, text: record.slice(b + 1, d + 1) }
    headers = own
    if (own === undefined) seen = head
  }
  return {
    envelope: new Stored(
      id,
      head.task,
      head.version,
      record.slice(b + 1 + head.text.length),
      headers ?? {},
      head.origin
    ),
    plain: record.charCodeAt(0) === 112,
    num: num!,
    enqueued: enqueued!,
    scheduledFor: scheduled === 0 ? undefined : scheduled,
    priority: rank === 0 ? 0 : -rank!,
    keepsResult: keep !== -1,
    group: marks?.g,
    uniqueKey: marks?.k
  }
}

export const stateOf = (json: string | null): State | undefined =>
  json === null || json === "" ? undefined : JSON.parse(json) as State
