/**
 * What SQS, EventBridge Pipes or a test hands to the function, told apart with care: nothing that comes from outside is
 * believed to have the shape that it should have.
 */
import type { Record } from "./model.ts"

/** One element of the event. `record` is undefined when it is no object at all. @internal */
export interface Element {
  /** its place in the event */
  readonly index: number
  readonly record: Partial<Record> | undefined
  /** undefined when there is none that could be reported */
  readonly messageId: string | undefined
  /** undefined when it has none */
  readonly group: string | undefined
}

/** The elements of an event, or what is wrong with it. @internal */
export const elementsOf = (event: unknown): ReadonlyArray<Element> | string => {
  if (Array.isArray(event)) return batchOf(event)
  if (!isObject(event)) return `the event is ${event === null ? "null" : typeof event}`
  if ("Records" in event) {
    return Array.isArray(event["Records"]) ? batchOf(event["Records"]) : "Records is not a list"
  }
  // one record alone, as a state machine or a test passes it on
  return typeof event["body"] === "string" && ("messageId" in event || "receiptHandle" in event)
    ? [element(event, 0)]
    : "it has no Records"
}

/**
 * S3, SNS and the streams send Records too. S3 and SNS do not look for failed messages in the answer: to them one with
 * nothing but failures is a success.
 */
const batchOf = (records: ReadonlyArray<unknown>): ReadonlyArray<Element> | string => {
  const sources = records.map(otherSource)
  return sources.length > 0 && !sources.includes(undefined)
    ? `its records come from ${Array.from(new Set(sources)).join(", ")}`
    : records.map(element)
}

/** the service that a record comes from, if that is not SQS; one with a body is a message, whatever it says */
const otherSource = (record: unknown): string | undefined => {
  if (!isObject(record) || "body" in record) return undefined
  const source = record["eventSource"] ?? record["EventSource"]
  return typeof source === "string" && source !== "aws:sqs" ? source : undefined
}

const isObject = (u: unknown): u is { readonly [key: string]: unknown } =>
  typeof u === "object" && u !== null && !Array.isArray(u)

const element = (raw: unknown, index: number): Element => {
  if (!isObject(raw)) return { index, record: undefined, messageId: undefined, group: undefined }
  const record = raw as Partial<Record>
  const { messageId } = record
  return {
    index,
    record,
    messageId: typeof messageId === "string" && messageId.trim() !== "" ? messageId : undefined,
    group: attribute(record, "MessageGroupId")
  }
}

/**
 * A system attribute. SQS writes them in PascalCase; in an event that somebody wrote by hand `messageGroupId` would put
 * every record into one group, and nobody would know why: so case does not matter.
 *
 * @internal
 */
export const attribute = (record: Partial<Record>, name: string): string | undefined => {
  const { attributes } = record
  if (!isObject(attributes)) return undefined
  const exact = attributes[name]
  const value = exact !== undefined
    ? exact
    : Object.entries(attributes).find(([key]) => key.toLowerCase() === name.toLowerCase())?.[1]
  return typeof value === "string" && value !== "" ? value : typeof value === "number" ? String(value) : undefined
}

/** @internal */
export const isFifo = (elements: ReadonlyArray<Element>): boolean =>
  elements.some(({ record }) => typeof record?.eventSourceARN === "string" && record.eventSourceARN.endsWith(".fifo"))

/** the last part of the queue's ARN @internal */
export const queueOf = (record: Partial<Record> | undefined): string =>
  typeof record?.eventSourceARN === "string" ? record.eventSourceARN.split(":").at(-1)! : "unknown"
