/**
 * Waiting for work without missing any: the check and the joining of the queue's waiters are one synchronous step, and
 * whoever changes the queue wakes those for whom the change comes before what they wait for.
 *
 * @since 0.1.0
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { JobQueue, Waiter } from "./jobQueue.ts"

/** timers of JavaScript hold 31 bits of milliseconds */
const longestSleep = 2 ** 31 - 1

export const forWork = (queue: JobQueue, clock: Clock.Clock): Effect.Effect<void> => {
  /** waits for a change that comes before `until`; who is woken has left already */
  const change = (until: number): Effect.Effect<void> =>
    Effect.callback((resume) => {
      if (queue.nextChange() < until) return resume(Effect.void)
      const waiter: Waiter = { wake: () => resume(Effect.void), until }
      queue.waiters.add(waiter)
      return Effect.sync(() => {
        queue.waiters.delete(waiter)
      })
    })
  const loop: Effect.Effect<void> = Effect.suspend(() => {
    const until = queue.nextChange()
    const millis = until - clock.currentTimeMillisUnsafe()
    if (millis <= 0) return Effect.void
    // an idle worker waits here: what it does when it is woken is all that a job waits for
    if (millis === Infinity) return Effect.andThen(change(until), loop)
    const sleep = clock.sleep(Duration.millis(Math.min(millis, longestSleep)))
    return Effect.andThen(Effect.raceFirst(change(until), sleep), loop)
  })
  return loop
}
