/**
 * Settling. A job that is over is deleted. A job that dies is sent to the dead letters, then deleted. A job that goes back is,
 * on a standard queue, sent again with what must be known of its attempts, then deleted: in between there are two, and there is
 * never none. On a FIFO queue, where it has a place to keep, it is made visible again, and so is a message of somebody else.
 *
 * What was sent is remembered on the claim: a settlement that is tried again only deletes.
 *
 * @since 0.1.0
 */
import * as Sqs from "@aws-sdk/client-sqs"
import * as Effect from "effect/Effect"
import { Buffer } from "node:buffer"
import { BackendError, type Held, type Receipt, type Settled, type Settlement } from "../../Backend.ts"
import { answersOf, batched, type Entry } from "./calls.ts"
import type { Engine } from "./engine.ts"
import { fromEntry, isStaleHandle } from "./errors.ts"
import { longestDelay, messageBytes, seconds } from "./limits.ts"
import { attributeText, jsonEscaped, type Stored, write } from "./message.ts"
import { groupOf, type Outgoing, send } from "./publish.ts"
import { Claim, scheduledFor } from "./receive.ts"

export type Items = ReadonlyArray<readonly [Receipt, Settlement]>

/** one settlement that may take effect, and what is said about it in the end */
interface Job {
  readonly place: number
  readonly claim: Claim
  readonly settlement: Settlement
  answer: Settled | undefined
  error: BackendError | undefined
}

export const claimOf = ({ fence }: Receipt): Claim | undefined => fence instanceof Claim ? fence : undefined

/** whether it goes back as a message of its own */
const isRewritten = ({ fifo }: Engine, { foreign }: Claim): boolean => !fifo && !foreign

const jobsOf = (engine: Engine, items: Items): ReadonlyArray<Job> => {
  const seen = new Set<Claim>()
  return items.flatMap(([receipt, settlement], place) => {
    const claim = claimOf(receipt)
    if (claim === undefined || claim.over || seen.has(claim)) return []
    // the successor of a job that somebody else owns by now would be one job too many
    const sends = settlement._tag === "Dead" || (settlement._tag === "Retry" && isRewritten(engine, claim))
    if (sends && !claim.moved && claim.isExpired) {
      claim.over = true
      return []
    }
    seen.add(claim)
    return [{ place, claim, settlement, answer: undefined, error: undefined }]
  })
}

/** one answer per item; fails only when nothing at all took effect. All claims are of one queue */
export const settle = (
  engine: Engine,
  operation: string,
  items: Items
): Effect.Effect<ReadonlyArray<Settled>, BackendError> =>
  Effect.gen(function*() {
    const jobs = jobsOf(engine, items)
    if (jobs.length === 0) return items.map((): Settled => "Lost")
    const back = jobs.filter(({ settlement }) => settlement._tag === "Retry")
    const hidden = back.filter(({ claim }) => !isRewritten(engine, claim))
    const sent = back.filter(({ claim }) => isRewritten(engine, claim) && !claim.moved)
    const dead = jobs.filter(({ claim, settlement }) => settlement._tag === "Dead" && !claim.moved)
    yield* Effect.all([
      hide(engine, operation, hidden),
      store(
        engine,
        operation,
        sent,
        ({ url }) => url,
        (job) => successor(job.claim, job.settlement as Settlement.Retry)
      ),
      store(
        engine,
        operation,
        dead,
        ({ deadUrl }) => deadUrl,
        (job) => letter(engine, job.claim, job.settlement as Settlement.Dead)
      )
    ], { concurrency: "unbounded" })
    yield* remove(
      engine,
      operation,
      jobs.filter(({ claim, settlement }) => settlement._tag === "Complete" || claim.moved)
    )
    const answers = items.map((): Settled => "Lost")
    for (const { answer, claim, place } of jobs) {
      answers[place] = answer ?? "Unknown"
      if (answer !== undefined) claim.over = true
    }
    const errors = jobs.flatMap(({ answer, error }) => answer === undefined && error !== undefined ? [error] : [])
    if (errors.length < jobs.length) return answers
    const error = errors.find(({ retryable }) => !retryable) ?? errors[0]!
    // where a successor or a dead letter is stored, the settlement is half done
    return yield* jobs.some(({ claim }) => claim.moved) ? undecided(error) : error
  })

const undecided = ({ backend, cause, message, operation, retryable }: BackendError): BackendError =>
  new BackendError({ backend, operation, message, retryable, outcome: "Unknown", cause })

const conclude = (job: Job, entry: Entry, whenStale: Settled): void => {
  if (entry._tag === "Done") job.answer = "Settled"
  else if (entry._tag === "Failed") job.error = entry.error
  else if (isStaleHandle(entry.entry.Code)) job.answer = whenStale
}

const remove = (engine: Engine, operation: string, jobs: ReadonlyArray<Job>): Effect.Effect<void> =>
  Effect.map(
    batched(
      jobs,
      plain,
      (part) =>
        Effect.map(
          engine.calls.call(operation, part[0]!.claim.known.queue, (client, abortSignal) =>
            client.send(
              new Sqs.DeleteMessageBatchCommand({
                QueueUrl: part[0]!.claim.known.url,
                Entries: part.map(({ claim }, place) => ({ Id: String(place), ReceiptHandle: claim.handle }))
              }),
              { abortSignal }
            )),
          (output) => answersOf(part.length, output)
        )
    ),
    (answers) => jobs.forEach((job, i) => conclude(job, answers[i]!, job.claim.moved ? "Settled" : "Lost"))
  )

/** entries that are small: as many as a call takes */
const plain = { bytes: Infinity, sizeOf: () => 0, ordered: false }

const hide = (engine: Engine, operation: string, jobs: ReadonlyArray<Job>): Effect.Effect<void> =>
  Effect.map(
    visibility(
      engine,
      operation,
      jobs.map(({ claim, settlement }) => [claim, settlement._tag === "Retry" ? seconds(settlement.after) : 0])
    ),
    (answers) => jobs.forEach((job, i) => conclude(job, answers[i]!, "Lost"))
  )

/** makes messages invisible for so many seconds from now on */
export const visibility = (
  engine: Engine,
  operation: string,
  claims: ReadonlyArray<readonly [Claim, seconds: number]>
): Effect.Effect<ReadonlyArray<Entry>> =>
  batched(
    claims,
    // in the order that it is told: FIFO groups care
    { ...plain, ordered: engine.fifo },
    (part) =>
      Effect.map(
        engine.calls.call(operation, part[0]![0].known.queue, (client, abortSignal) =>
          client.send(
            new Sqs.ChangeMessageVisibilityBatchCommand({
              QueueUrl: part[0]![0].known.url,
              Entries: part.map(([claim, asked], place) => ({
                Id: String(place),
                ReceiptHandle: claim.handle,
                VisibilityTimeout: claim.visibility(asked)
              }))
            }),
            { abortSignal }
          )),
        (output) => answersOf(part.length, output)
      )
  )

const store = (
  engine: Engine,
  operation: string,
  jobs: ReadonlyArray<Job>,
  urlOf: (known: Claim["known"]) => string,
  messageOf: (job: Job) => Outgoing
): Effect.Effect<void> => {
  const [first] = jobs
  if (first === undefined) return Effect.void
  const { known } = first.claim
  return Effect.map(
    send(engine, operation, known.queue, urlOf(known), jobs.map(messageOf)),
    (answers) =>
      jobs.forEach((job, i) => {
        const entry = answers[i]!
        if (entry._tag === "Done") job.claim.moved = true
        else if (entry._tag === "Failed") job.error = entry.error
      })
  )
}

/** the same job once more, as the next attempt will find it */
const successor = (claim: Claim, { after, attempt, unbegun, why }: Settlement.Retry): Outgoing => {
  const { stored } = claim
  const now = Date.now()
  const enqueuedAt = stored.enqueuedAt ?? claim.sentAt
  const spent = attempt === "spent"
  const next: Stored = {
    envelope: stored.envelope,
    group: stored.group,
    enqueuedAt,
    delayed: undefined,
    scheduledFor: scheduledFor(stored, enqueuedAt),
    spent: stored.spent + (spent ? 1 : 0),
    losses: unbegun === true ? claim.losses : 0,
    firstFailedAt: stored.firstFailedAt ?? (spent && why === "failed" ? now : undefined),
    notBefore: seconds(after) > longestDelay ? now + after : undefined
  }
  const body = write(next)
  return { body, bytes: Buffer.byteLength(body), delaySeconds: Math.min(longestDelay, seconds(after)) }
}

/** attributes that SQS takes on one message */
const mostAttributes = 10

/**
 * A dead letter is the job as it was published, so that it starts anew wherever it is sent back to (SQS has a redrive of its
 * own); why it died is in attributes beside it.
 */
const letter = (engine: Engine, claim: Claim, { error, exit, reason }: Settlement.Dead): Outgoing => {
  const { stored } = claim
  const body = claim.foreign
    ? claim.body
    : write({
      ...stored,
      enqueuedAt: stored.enqueuedAt ?? claim.sentAt,
      spent: 0,
      losses: 0,
      firstFailedAt: undefined,
      notBefore: undefined
    })
  const attributes: Record<string, Sqs.MessageAttributeValue> = {}
  let bytes = Buffer.byteLength(body)
  const add = (name: string, value: Sqs.MessageAttributeValue) => {
    const size = Buffer.byteLength(name) + Buffer.byteLength(value.DataType ?? "") +
      (value.BinaryValue?.byteLength ?? Buffer.byteLength(value.StringValue ?? ""))
    // the letter is more than its reasons: what does not fit stays out
    if (bytes + size > messageBytes(engine.limits) || Object.keys(attributes).length === mostAttributes) return
    attributes[name] = value
    bytes += size
  }
  const text = (name: string, value: string | undefined, most: number) => {
    const fitting = value === undefined ? undefined : attributeText(value, most)
    if (fitting !== undefined) add(name, { DataType: "String", StringValue: fitting })
  }
  text("windlass.reason", reason, 100)
  text("windlass.queue", claim.known.queue, 100)
  text("windlass.error", error, 1_000)
  // whole, or not at all
  if (exit !== undefined) text("windlass.exit", jsonEscaped(exit), Infinity)
  for (const [name, value] of Object.entries(claim.attributes)) {
    if (!(name in attributes)) add(name, value)
  }
  return {
    body,
    bytes,
    attributes,
    delaySeconds: 0,
    group: claim.group ?? groupOf(stored.envelope.id, stored.group),
    // the same death is stored once, another death of the same job is not taken for it
    dedup: `${claim.messageId}.${claim.receives}`
  }
}

/** renews leases; an answer that SQS did not give fails the call, for nobody may think that it holds what it does not */
export const extend = (
  engine: Engine,
  claims: ReadonlyArray<Claim>
): Effect.Effect<ReadonlyArray<Held>, BackendError> =>
  Effect.gen(function*() {
    const asked = performance.now()
    const held = claims.map((): Held => "Lost")
    const open = claims.flatMap((claim, place) =>
      // what SQS would not renew in full is given up: its owner could not tell how long it has it
      claim.over || claim.moved || claim.visibility(engine.lease) < engine.lease ? [] : [{ claim, place }]
    )
    const answers = yield* visibility(engine, "extend", open.map(({ claim }) => [claim, engine.lease]))
    let failure: BackendError | undefined
    for (let i = 0; i < open.length; i++) {
      const entry = answers[i]!
      const { claim, place } = open[i]!
      if (entry._tag === "Failed") failure = entry.error
      else if (entry._tag === "Done") {
        held[place] = "Held"
        claim.until = asked + engine.lease * 1000
      } else if (isStaleHandle(entry.entry.Code)) claim.over = true
      else failure = fromEntry(engine.calls.name, "extend", claim.known.queue, entry.entry)
    }
    return failure === undefined ? held : yield* failure
  })
