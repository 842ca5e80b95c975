/**
 * One hand-out that is over, and when a test should hear of it.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Settled, Settlement } from "../../Backend.ts"
import { isDecide } from "../../Decide.ts"
import type { Outcome } from "../../Outcome.ts"

/**
 * One hand-out of a job, from its claim to its settlement.
 *
 * @category models
 * @since 0.1.0
 */
export interface Ran {
  readonly id: string
  /** the task's name, with aliases resolved */
  readonly task: string
  readonly queue: string
  /** number of the attempt, from 1 */
  readonly attempt: number
  /** decoded; undefined when the hand-out ended before that */
  readonly payload: unknown
  /** what it came to. Its `cause` holds the errors themselves, not copies that went through a schema */
  readonly outcome: Outcome
  /** what the backend said to the settlement; undefined when there was none (the lease was lost, or the chain is stuck) */
  readonly settled: Settled | undefined
}

/**
 * A job was stored and could not be run now: it is due later, another job of its group is before it, its queue is paused
 * or not one of the worker's, or a middleware of the enqueue point dropped it. `message` says which.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotRun extends Schema.TaggedError<NotRun>()("windlass/testing/NotRun", {
  id: Schema.String,
  message: Schema.String
}) {}

/**
 * A job did not end well. Raised by default; `outcomes: true` hands out what ran instead.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotSucceeded extends Data.TaggedError("windlass/testing/NotSucceeded")<{
  readonly message: string
  /** the first that did not end well */
  readonly ran: Ran
  /** all that ran in this call */
  readonly all: ReadonlyArray<Ran>
  /** what it failed with */
  readonly cause?: unknown
}> {}

/** A failed attempt, a dead letter, or a task that nobody knows. A discard or a snooze was decided, so it is none. */
const isBad = ({ outcome }: Ran): boolean =>
  outcome._tag === "Retried" || outcome._tag === "Dead" || (outcome._tag === "Released" && outcome.why === "unknown")

const causeOf = (outcome: Outcome): Cause.Cause<unknown> | undefined => "cause" in outcome ? outcome.cause : undefined

const lineOf = (outcome: Outcome): string => {
  switch (outcome._tag) {
    case "Retried":
      return `failed and is retried in ${outcome.after} ms: ${outcome.error}`
    case "Dead":
      return `is dead (${outcome.reason}): ${outcome.error}`
    case "Snoozed":
      return `was snoozed for ${outcome.after} ms: ${outcome.reason}`
    case "Discarded":
    case "Released":
      return `was ${outcome._tag.toLowerCase()}: ${outcome.reason}`
    case "Interrupted":
      return `was interrupted by ${outcome.by === "lost" ? "the loss of its lease" : "a shutdown"}`
    case "Aborted":
      return "was aborted"
    case "Succeeded":
      return "succeeded"
  }
}

const notSucceeded = (ran: Ran, all: ReadonlyArray<Ran>): NotSucceeded => {
  const others = all.filter(isBad).length - (isBad(ran) ? 1 : 0)
  const cause = causeOf(ran.outcome)
  return new NotSucceeded({
    message: `job ${ran.id} of task ${ran.task}, attempt ${ran.attempt}, ${lineOf(ran.outcome)}` +
      (others > 0 ? ` (and ${others} more did not end well)` : ""),
    ran,
    all,
    ...(cause === undefined || cause.reasons.length === 0 ? {} : { cause: Cause.squash(cause) })
  })
}

/** the runs, or the first that did not end well */
export const raiseFirst = (all: ReadonlyArray<Ran>): Effect.Effect<ReadonlyArray<Ran>, NotSucceeded> => {
  const bad = all.find(isBad)
  return bad === undefined ? Effect.succeed(all) : Effect.fail(notSucceeded(bad, all))
}

/** the value, or what the handler and its middleware failed with, as they raised it */
export const raise = (ran: Ran): Effect.Effect<unknown, unknown> => {
  const { outcome } = ran
  if (outcome._tag === "Succeeded") return outcome.exit
  const failed = outcome._tag === "Retried" ||
    (outcome._tag === "Dead" && (outcome.reason === "failed" || outcome.reason === "timeout"))
  // an interruption of the handler must not become one of the test
  const reasons = failed ? causeOf(outcome)?.reasons.filter((reason) => !Cause.isInterruptReason(reason)) ?? [] : []
  return reasons.length === 0 || reasons.some((reason) => Cause.isFailReason(reason) && isDecide(reason.error))
    ? Effect.fail(notSucceeded(ran, [ran]))
    : Effect.failCause(Cause.fromReasons(reasons))
}

/** What a settlement alone tells, where no observer saw the run: a gate gave the job back, or the worker itself broke. */
export const outcomeOf = (settlement: Settlement | undefined): Outcome => {
  if (settlement === undefined) return { _tag: "Interrupted", by: "lost", then: "requeue", after: 0 }
  if (settlement._tag === "Retry") {
    const { after, attempt, error = settlement.why } = settlement
    return attempt === "kept"
      ? { _tag: "Released", why: settlement.why === "unknown" ? "unknown" : "released", after, reason: error }
      : { _tag: "Retried", cause: Cause.die(new Error(error)), after, error }
  }
  const error = settlement._tag === "Dead" ? settlement.error ?? settlement.reason : `unseen ${settlement.how}`
  return { _tag: "Dead", reason: "failed", cause: Cause.die(new Error(error)), error, encoded: undefined }
}
