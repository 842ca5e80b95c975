/**
 * Any `Schedule` as a durable retry policy. Nothing of a schedule survives between two attempts, so the delay is found by
 * replaying it: a fresh step, fed with the failures that the backend counted. Kept of a job: how many failures and when
 * the first one was. That replays exactly what depends on the count, on the time since the first failure, or on the
 * current error. Steps before the last one see the current error, and the time at which they would have come if every
 * attempt had failed at once: a schedule that reads when earlier attempts failed (`fixed`, `windowed`) is exact as long as
 * attempts are short beside its interval.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Pull from "effect/Pull"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"

/** @internal */
export interface Failures {
  /** this failure included */
  readonly count: number
  /** milliseconds since the epoch */
  readonly firstAt: number
  readonly now: number
}

/**
 * Milliseconds until the next attempt, or undefined when the schedule is exhausted. Jitter is drawn from the job's id:
 * the same on every replay, different between jobs.
 *
 * @internal
 */
export const nextDelay = (
  schedule: Schedule.Schedule<unknown, any, unknown>,
  failures: Failures,
  error: unknown,
  id: string
): Effect.Effect<number | undefined> =>
  Effect.gen(function*() {
    const step = yield* Schedule.toStep(schedule)
    let delay = 0
    let at = failures.firstAt
    for (let n = 1; n <= failures.count; n++) {
      const exit = yield* Effect.exit(step(n === failures.count ? failures.now : at, error))
      if (Exit.isFailure(exit)) {
        if (Pull.isDoneCause(exit.cause)) return undefined
        return yield* Effect.die(new Error("the retry schedule of a task failed", { cause: exit.cause }))
      }
      delay = Duration.toMillis(exit.value[1])
      at = Math.min(failures.now, at + delay)
    }
    // an engine cannot keep an endless delay; a century is the same to everybody who waits for it
    return Math.min(delay, 100 * 365 * 86_400_000)
  }).pipe(Random.withSeed(id)) as Effect.Effect<number | undefined>
