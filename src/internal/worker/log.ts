/**
 * Log lines of the worker: debug per job, info when a job comes back, error when one is given up for good. `action` is the
 * word that the Logging middleware has for it.
 */
import * as Effect from "effect/Effect"
import type { Outcome } from "../../Outcome.ts"
import type { Run } from "./run.ts"

/** undefined when there is nothing to say at any level that is usually on. @internal */
export const logOutcome = (run: Run, outcome: Outcome): Effect.Effect<void> | undefined => {
  const annotate = (action: string) =>
    Effect.annotateLogs({ action, job: run.id, task: run.task, attempt: run.attempt, queue: run.queue })
  switch (outcome._tag) {
    case "Dead":
      return annotate("job_error")(
        Effect.logError(
          `job dead: ${outcome.reason}`,
          ...(outcome.cause === undefined ? [outcome.error] : [outcome.cause])
        )
      )
    case "Retried":
      return annotate("job_error_retry")(
        Effect.logInfo(`attempt failed, next in ${outcome.after} ms: ${outcome.error}`)
      )
    case "Released":
      return outcome.why === "unknown"
        ? annotate("task_not_found")(Effect.logWarning(`job released: ${outcome.reason}`))
        : undefined
    default:
      return undefined
  }
}
