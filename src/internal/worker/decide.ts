/**
 * From the exit of a chain to the outcome of the job. The order of the questions is the law: a lost or cut run is never
 * a success (L13); then the last typed failure that is still in the cause decides, also when a dying release turned it
 * into a defect (L3); then defects.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { isDecide } from "../../Decide.ts"
import { Died, TimedOut } from "../../Job.ts"
import type { DeadReason, Outcome } from "../../Outcome.ts"
import type { CutShort } from "../../Task.ts"
import { describe } from "../line.ts"
import { defaultMaxAttempts, type Resolved } from "./resolve.ts"
import { nextDelay } from "./retry.ts"
import type { Run } from "./run.ts"

class Succeeded {
  readonly _tag = "Succeeded"
  readonly exit: Exit.Exit<unknown, unknown>
  readonly encoded: string | undefined

  constructor(exit: Exit.Exit<unknown, unknown>, encoded: string | undefined) {
    this.exit = exit
    this.encoded = encoded
  }
}

/** @internal */
export const decide = (job: Run, task: Resolved, exit: Exit.Exit<unknown, unknown>): Effect.Effect<Outcome> => {
  if (job.cut) return cutShort(job, task, exit)
  if (exit._tag === "Success") return Effect.succeed(new Succeeded(exit, encoded(job, task, exit)))
  const { cause } = exit
  const failure = typedFailure(job, cause)
  // asked to abort, and ended badly: whatever it failed with, it is not wanted any more
  if (job.stopping === "aborted" && !isDecide(failure?.error)) return Effect.succeed({ _tag: "Aborted", cause })
  if (failure === undefined) {
    if (job.stopping !== undefined && Cause.hasInterruptsOnly(cause)) return cutShort(job, task, exit)
    return failed(job, task, cause, new Died({ defect: Cause.squash(cause) }))
  }
  const { error } = failure
  if (!isDecide(error)) return failed(job, task, cause, error)
  const { decision } = error
  switch (decision._tag) {
    case "Discard":
      return Effect.succeed({ _tag: "Discarded", reason: decision.reason, cause })
    case "Snooze":
      return Effect.succeed({ _tag: "Snoozed", after: decision.after, reason: decision.reason })
    case "Dead":
      return Effect.succeed(dead(job, task, "decided", cause, decision.reason))
    case "Retry":
      if (decision.after === undefined) return failed(job, task, cause, error)
      return Effect.succeed(
        job.attempt >= (task.policy === undefined ? defaultMaxAttempts : task.maxAttempts)
          ? dead(job, task, "failed", cause, decision.reason)
          : { _tag: "Retried", cause, after: decision.after, error: decision.reason }
      )
  }
}

/**
 * The failure that decides: the first typed one, or the one that a boundary recorded and a release buried as a defect.
 * The release's own defect stands beside it then; a failure that is alone was made a defect on purpose (`orDie`).
 */
const typedFailure = (job: Run, cause: Cause.Cause<unknown>): Cause.Fail<unknown> | undefined => {
  const recorded = job.failure
  return cause.reasons.find(Cause.isFailReason) ??
    (recorded !== undefined && cause.reasons.length > 1 &&
        cause.reasons.some((r) => Cause.isDieReason(r) && r.defect === recorded.error)
      ? recorded
      : undefined)
}

const cutShort = (job: Run, task: Resolved, exit: Exit.Exit<unknown, unknown>): Effect.Effect<Outcome> => {
  const cause = exit._tag === "Failure" ? exit.cause : Cause.interrupt()
  switch (job.stopping) {
    case "shutdown":
      return interrupted(job, task, "shutdown", task.onInterrupted, cause)
    case "lost":
      return interrupted(job, task, "lost", task.onLost, cause)
    case "timeout":
      // the time-out of the body, whose own join was cut by a middleware at the same moment
      return failed(job, task, cause, new TimedOut({ task: job.task, limit: "timeout", millis: task.timeout ?? 0 }))
    default:
      return Effect.succeed({ _tag: "Aborted", cause })
  }
}

/** What the task says about a run that was cut short. @internal */
export const interrupted = (
  job: Run,
  task: Resolved,
  by: "shutdown" | "lost",
  policy: CutShort,
  cause: Cause.Cause<unknown>
): Effect.Effect<Outcome> => {
  switch (policy) {
    case "requeue":
      return Effect.succeed({ _tag: "Interrupted", by, then: "requeue", after: 0 })
    case "fail":
      return Effect.succeed(dead(job, task, by === "lost" ? "lost" : "interrupted", cause, `cut short: ${by}`))
    case "retry":
      return Effect.map(
        failed(job, task, cause, new Died({ defect: new Error(`cut short: ${by}`) })),
        (outcome) =>
          outcome._tag === "Retried" ? { _tag: "Interrupted", by, then: "retry", after: outcome.after } : outcome
      )
  }
}

/** A failed attempt: another one if the policy says so, else dead. @internal */
export const failed = (
  job: Run,
  task: Resolved,
  cause: Cause.Cause<unknown>,
  error: unknown
): Effect.Effect<Outcome> => {
  const reason: DeadReason = error instanceof TimedOut ? "timeout" : "failed"
  const line = describe(error)
  const { policy } = task
  if (policy === undefined || job.attempt >= task.maxAttempts) {
    return Effect.succeed(dead(job, task, reason, cause, line))
  }
  return Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Effect.suspend(() => {
      if (policy.while !== undefined && !policy.while(error)) {
        return Effect.succeed(dead(job, task, reason, cause, line))
      }
      const failures = { count: job.attempt, firstAt: job.delivery.firstFailedAt ?? now, now }
      return Effect.map(
        nextDelay(policy.schedule, failures, error, job.id),
        (after): Outcome =>
          after === undefined ? dead(job, task, reason, cause, line) : { _tag: "Retried", cause, after, error: line }
      )
    })).pipe(
      // a policy that dies must not take the job with it: it is a failure that nobody can retry
      Effect.catchCause((policyCause) =>
        Effect.succeed(
          dead(job, task, reason, Cause.combine(cause, policyCause), `${line}; ${describe(Cause.squash(policyCause))}`)
        )
      )
    )
}

/** @internal */
export const dead = (
  job: Run,
  task: Resolved,
  reason: DeadReason,
  cause: Cause.Cause<unknown>,
  error: string
): Outcome => ({
  _tag: "Dead",
  reason,
  cause,
  error,
  // a dead letter is kept for somebody to look at, also when nobody waits for the result
  encoded: encode(task, Exit.failCause(typedFirst(job, cause)))
})

/**
 * What the waiting caller gets: the typed failure, also when a release buried it. What the runtime itself fails with is
 * in no task's schema and goes as a defect.
 */
const typedFirst = (job: Run, cause: Cause.Cause<unknown>): Cause.Cause<unknown> => {
  const failure = typedFailure(job, cause)
  if (failure === undefined) return cause
  return isDecide(failure.error) || failure.error instanceof TimedOut
    ? Cause.die(failure.error)
    : Cause.fail(failure.error)
}

/** Only when somebody waits for it: most successes are forgotten. */
const encoded = (job: Run, task: Resolved, exit: Exit.Exit<unknown, unknown>): string | undefined =>
  job.delivery.keepsResult ? encode(task, exit) : undefined

/** A result that its own schema refuses must not keep the job from ending. */
const encode = (task: Resolved, exit: Exit.Exit<unknown, unknown>): string => {
  try {
    return task.task.codecs.encodeExit(exit)
  } catch (defect) {
    return task.task.codecs.encodeExit(
      Exit.die(new Error(`the result of task ${task.task._tag} does not fit its schema`, { cause: defect }))
    )
  }
}
