/**
 * A record as a delivery: its envelope if the message was enqueued by this library, else one that the routes make of it.
 * What cannot be run is a delivery too, with the outcome that it ends with: observers and delivery middleware see it.
 */
import * as Cause from "effect/Cause"
import { createHash } from "node:crypto"
import type { Delivery, Envelope } from "../../Backend.ts"
import { read as readStored, type Stored } from "../../backends/sqs/message.ts"
import type { DeadReason, Outcome } from "../../Outcome.ts"
import { jobOf, RouteNotFound, type Routes } from "../Routes.ts"
import { attribute, type Element, queueOf } from "./event.ts"
import type { Record } from "./model.ts"

/** @internal */
export interface Received {
  readonly delivery: Delivery
  /** set when it is over before it begins */
  readonly refused: Outcome | undefined
}

/** `now`: milliseconds since the epoch @internal */
export const receive = (element: Element, routes: Routes<string> | undefined, now: number): Received => {
  const { group, index, messageId, record } = element
  const id = messageId ?? `record-${index}`
  const read = record === undefined
    ? refuse("undecodable", new Error(`element ${index} of the event is no object`))
    : readBody(record, id, routes)
  const stored = "stored" in read ? read.stored : undefined
  const envelope = stored?.envelope ?? ("envelope" in read ? read.envelope : rawEnvelope(id, record))
  const sent = number(record, "SentTimestamp")
  const received = Math.max(1, Math.floor(number(record, "ApproximateReceiveCount") ?? 1))
  return {
    refused: "outcome" in read ? read.outcome : early(stored, now),
    delivery: {
      envelope,
      receipt: { id: envelope.id, fence: record?.receiptHandle },
      queue: queueOf(record),
      // what earlier messages of the job spent, and the deliveries of this one
      attempt: (stored?.spent ?? 0) + received,
      // counting deliveries that nobody settled is the business of the queue's redrive policy
      unsettled: 0,
      lostFrom: undefined,
      enqueuedAt: stored?.enqueuedAt ?? sent,
      scheduledFor: stored?.scheduledFor ??
        (stored?.delayed === undefined || sent === undefined ? undefined : sent + stored.delayed),
      firstFailedAt: stored?.firstFailedAt,
      priority: 0,
      group: stored?.group ?? group,
      abortRequested: false,
      keepsResult: false
    }
  }
}

/** A job that was delayed for longer than SQS can delay a message is not run before its time: it comes back. */
const early = (stored: Stored | undefined, now: number): Outcome | undefined => {
  const wait = (stored?.notBefore ?? 0) - now
  return wait > 0 ? { _tag: "Released", why: "released", after: wait, reason: "it is not due yet" } : undefined
}

type Read = { readonly stored: Stored } | { readonly envelope: Envelope } | { readonly outcome: Outcome }

const readBody = (record: Partial<Record>, id: string, routes: Routes<string> | undefined): Read => {
  const { body } = record
  if (typeof body !== "string") return refuse("undecodable", new Error(`message ${id} has no body`))
  const sum = typeof record.md5OfBody === "string" ? md5(body) : undefined
  if (sum !== undefined && sum !== record.md5OfBody!.toLowerCase()) {
    return refuse(
      "undecodable",
      new Error(`the body of message ${id} has the MD5 ${sum}, and its md5OfBody says ${record.md5OfBody}`)
    )
  }
  const stored = readStored(body)
  if (stored !== undefined) return { stored }
  if (routes === undefined) {
    return refuse(
      "unknown-task",
      new Error(`message ${id} was not enqueued by windlass: give the handler routes that say which task takes it`)
    )
  }
  const job = jobOf(routes, body)
  if (job instanceof RouteNotFound) return refuse("unknown-task", job)
  if (job instanceof Error) return refuse("undecodable", new Error(`message ${id}: ${job.message}`, { cause: job }))
  return { envelope: { ...rawEnvelope(id, record), ...job } }
}

const refuse = (reason: DeadReason, error: Error): { readonly outcome: Outcome } => ({
  outcome: { _tag: "Dead", reason, cause: Cause.fail(error), error: error.message, encoded: undefined }
})

/** the message as it came; its string attributes are the headers */
const rawEnvelope = (id: string, record: Partial<Record> | undefined): Envelope => ({
  id,
  task: "",
  version: 1,
  payload: typeof record?.body === "string" ? record.body : "",
  headers: headersOf(record),
  origin: "user"
})

const headersOf = (record: Partial<Record> | undefined): Readonly<{ [name: string]: string }> => {
  const attributes = record?.messageAttributes
  if (typeof attributes !== "object" || attributes === null) return {}
  return Object.fromEntries(
    Object.entries(attributes).flatMap(([name, attribute]) =>
      typeof attribute?.stringValue === "string" ? [[name, attribute.stringValue] as const] : []
    )
  )
}

const number = (record: Partial<Record> | undefined, name: string): number | undefined => {
  const text = record === undefined ? undefined : attribute(record, name)
  const value = text === undefined ? Number.NaN : Number(text)
  return Number.isFinite(value) ? value : undefined
}

/** undefined where the platform refuses MD5 (FIPS): then there is nothing to compare with */
const md5 = (body: string): string | undefined => {
  try {
    return createHash("md5").update(body, "utf8").digest("hex")
  } catch {
    return undefined
  }
}
