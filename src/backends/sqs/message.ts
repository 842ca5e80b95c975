/**
 * A job as the body of a message: one line of JSON with everything but the payload, then the payload. SQS takes the
 * characters of XML; a payload with others is written in base64, so that it comes back to the byte.
 *
 * @since 0.1.0
 */
import { Buffer } from "node:buffer"
import type { Envelope, Origin } from "../../Backend.ts"

/** a job as it is stored, with what its earlier attempts left */
export interface Stored {
  readonly envelope: Envelope
  readonly group: string | undefined
  /** when it was published, if this message is not the first that carried it; else the message itself says it */
  readonly enqueuedAt: number | undefined
  /** milliseconds after its publish at which it was to become claimable */
  readonly delayed: number | undefined
  /** the time at which it was to become claimable */
  readonly scheduledFor: number | undefined
  /** attempts that were spent before */
  readonly spent: number
  /** owners that were lost with messages that carried it before, while nothing of it was settled */
  readonly losses: number
  readonly firstFailedAt: number | undefined
  /** not to be handed out earlier, in milliseconds since the epoch: a pause that is longer than SQS can delay a message */
  readonly notBefore: number | undefined
}

export const published = (
  envelope: Envelope,
  rest: Pick<Stored, "group" | "delayed" | "scheduledFor">
): Stored => ({
  envelope,
  enqueuedAt: undefined,
  spent: 0,
  losses: 0,
  firstFailedAt: undefined,
  notBefore: undefined,
  ...rest
})

const mark = "{\"windlass\":1,"

/** what neither SQS nor its test servers agree on within JSON: escaped, which JSON reads as the same */
const loose = /[\ud800-\udfff\ufffe\uffff]/g

/** JSON in characters that SQS takes */
export const jsonEscaped = (json: string): string =>
  json.replace(loose, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)

/** beyond the first plane SQS takes characters that its test servers refuse */
const plain = /^[\t\n\r\x20-\ud7ff\ue000-\ufffd]*$/

type Encoding = "base64" | "base64-utf16"

const encode = (payload: string): readonly [text: string, encoding: Encoding | undefined] =>
  plain.test(payload)
    ? [payload, undefined]
    : /\p{Surrogate}/u.test(payload)
    // half a pair has no UTF-8
    ? [Buffer.from(payload, "utf16le").toString("base64"), "base64-utf16"]
    : [Buffer.from(payload, "utf8").toString("base64"), "base64"]

const decode = (text: string, encoding: Encoding | undefined): string =>
  encoding === undefined ? text : Buffer.from(text, "base64").toString(encoding === "base64" ? "utf8" : "utf16le")

interface Head {
  readonly windlass: 1
  readonly id: string
  readonly task: string
  readonly version: number
  readonly origin: Origin
  readonly headers?: Envelope["headers"] | undefined
  readonly group?: string | undefined
  readonly enqueuedAt?: number | undefined
  readonly delayed?: number | undefined
  readonly scheduledFor?: number | undefined
  readonly spent?: number | undefined
  readonly losses?: number | undefined
  readonly firstFailedAt?: number | undefined
  readonly notBefore?: number | undefined
  readonly encoding?: Encoding | undefined
}

export const write = (stored: Stored): string => {
  const { headers, id, origin, payload, task, version } = stored.envelope
  const [text, encoding] = encode(payload)
  const head: Head = {
    windlass: 1,
    id,
    task,
    version,
    origin,
    headers: Object.keys(headers).length === 0 ? undefined : headers,
    group: stored.group,
    enqueuedAt: stored.enqueuedAt,
    delayed: stored.delayed,
    scheduledFor: stored.scheduledFor,
    spent: stored.spent === 0 ? undefined : stored.spent,
    losses: stored.losses === 0 ? undefined : stored.losses,
    firstFailedAt: stored.firstFailedAt,
    notBefore: stored.notBefore,
    encoding
  }
  return `${jsonEscaped(JSON.stringify(head))}\n${text}`
}

/** undefined when the message was not written by this backend */
export const read = (body: string): Stored | undefined => {
  if (!body.startsWith(mark)) return undefined
  const end = body.indexOf("\n")
  const head = end === -1 ? undefined : headOf(body.slice(0, end))
  if (head === undefined) return undefined
  return {
    envelope: {
      id: head.id,
      task: head.task,
      version: head.version,
      payload: decode(body.slice(end + 1), head.encoding),
      headers: head.headers ?? {},
      origin: head.origin
    },
    group: head.group,
    enqueuedAt: head.enqueuedAt,
    delayed: head.delayed,
    scheduledFor: head.scheduledFor,
    spent: head.spent ?? 0,
    losses: head.losses ?? 0,
    firstFailedAt: head.firstFailedAt,
    notBefore: head.notBefore
  }
}

const headOf = (line: string): Head | undefined => {
  try {
    const head = JSON.parse(line) as Partial<Head>
    return typeof head.id === "string" && typeof head.task === "string" && typeof head.version === "number" &&
        typeof head.origin === "string"
      ? head as Head
      : undefined
  } catch {
    return undefined
  }
}

/** the text of a message attribute, which must not be empty and must fit */
export const attributeText = (text: string, bytes: number): string | undefined => {
  const safe = text.replace(/[^\t\n\r\x20-\ud7ff\ue000-\ufffd]/g, "\ufffd")
  if (Buffer.byteLength(safe) <= bytes) return safe === "" ? undefined : safe
  // a character that was cut in two is dropped
  return Buffer.from(safe).subarray(0, Math.max(0, bytes)).toString("utf8").replace(/\ufffd$/, "") || undefined
}
