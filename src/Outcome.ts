/**
 * What a run came to, and what the backend is told about it: the one table that decides whether an attempt was spent,
 * a unique key is freed, and how the job is counted.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import type * as Exit from "effect/Exit"
import type { Settlement } from "./Backend.ts"

/**
 * Why a job went to the dead letters.
 *
 * - `failed`: its attempts are used up, or its error is not one to retry
 * - `decided`: a `Decide.dead`
 * - `undecodable`: the payload is malformed or does not fit its schema; dead at once
 * - `unknown-task`: no worker knew the task (or its payload's version) for as long as `unknownFor`
 * - `poison`: too many deliveries in a row ended with no settlement at all
 * - `lost`: its worker was lost and the task's `onLost` is `fail`
 * - `interrupted`: a shutdown cut it short and the task's `onInterrupted` is `fail`
 * - `expired`: its `deadline` passed before it ran
 * - `timeout`: it ran out of time and has no attempt left
 *
 * @category models
 * @since 0.1.0
 */
export type DeadReason =
  | "failed"
  | "decided"
  | "undecodable"
  | "unknown-task"
  | "poison"
  | "lost"
  | "interrupted"
  | "expired"
  | "timeout"

/**
 * The outcome of one delivery. `after` is in milliseconds. `cause` is what the chain failed with.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome =
  | { readonly _tag: "Succeeded"; readonly exit: Exit.Exit<unknown, unknown>; readonly encoded: string | undefined }
  | { readonly _tag: "Discarded"; readonly reason: string; readonly cause: Cause.Cause<unknown> }
  | {
    readonly _tag: "Retried"
    readonly cause: Cause.Cause<unknown>
    readonly after: number
    /** one line for logs and for the history */
    readonly error: string
  }
  | { readonly _tag: "Snoozed"; readonly after: number; readonly reason: string }
  | {
    readonly _tag: "Interrupted"
    readonly by: "shutdown" | "lost"
    readonly then: "requeue" | "retry"
    readonly after: number
  }
  | { readonly _tag: "Aborted"; readonly cause: Cause.Cause<unknown> | undefined }
  | { readonly _tag: "Released"; readonly why: "released" | "unknown"; readonly after: number; readonly reason: string }
  | {
    readonly _tag: "Dead"
    readonly reason: DeadReason
    readonly cause: Cause.Cause<unknown> | undefined
    readonly error: string
    readonly encoded: string | undefined
  }

/**
 * The settlement that an outcome stands for: a new one for every outcome, so that it can be told whose it is.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toSettlement = (outcome: Outcome): Settlement => {
  switch (outcome._tag) {
    case "Succeeded":
      return new Succeeded(outcome.encoded)
    case "Discarded":
      return { _tag: "Complete", how: "discarded", exit: undefined, reason: outcome.reason }
    case "Aborted":
      return { _tag: "Complete", how: "aborted", exit: undefined, reason: "aborted on request" }
    case "Retried":
      return retry("failed", outcome.after, "spent", "back", outcome.error)
    case "Snoozed":
      return retry("snoozed", outcome.after, "kept", "back", outcome.reason)
    case "Interrupted":
      return outcome.then === "requeue"
        ? retry("interrupted", outcome.after, "kept", "front", outcome.by)
        : retry(outcome.by === "lost" ? "lost" : "interrupted", outcome.after, "spent", "back", outcome.by)
    case "Released":
      return retry(outcome.why, outcome.after, "kept", outcome.why === "released" ? "front" : "back", outcome.reason)
    case "Dead":
      return { _tag: "Dead", reason: outcome.reason, error: outcome.error, exit: outcome.encoded }
  }
}

/** mostly it is this one, and by a class it is no long-lived thing to V8: see `internal/item.ts` */
class Succeeded implements Settlement.Complete {
  readonly _tag = "Complete"
  readonly how = "succeeded"
  readonly exit: string | undefined
  readonly reason = undefined

  constructor(exit: string | undefined) {
    this.exit = exit
  }
}

const retry = (
  why: Settlement.Retry["why"],
  after: number,
  attempt: Settlement.Retry["attempt"],
  place: Settlement.Retry["place"],
  error: string
): Settlement => ({ _tag: "Retry", why, after: wholeMillis(after), attempt, place, error })

/**
 * Whole milliseconds, never early: a jittered schedule has fractions, and the engines count in integers. None keeps an
 * endless delay, and a century is the same to everybody who waits for it; what is no number is no delay.
 */
const wholeMillis = (after: number): number => after > 0 ? Math.ceil(Math.min(after, 100 * 365 * 86_400_000)) : 0
