/**
 * Waiting for work without missing any: the check and the joining of the queue's waiters are one synchronous step, and
 * whoever changes the queue wakes those for whom the change comes before what they wait for.
 *
 * @since 0.1.0
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type { JobQueue, Waiter } from "./jobQueue.ts"

/** timers of JavaScript hold 31 bits of milliseconds */
const longestSleep = 2 ** 31 - 1

export const forWork = (queue: JobQueue, clock: Clock.Clock): Effect.Effect<void> => {
  const isThere = () => queue.nextChange() <= clock.currentTimeMillisUnsafe()
  const join = Effect.sync((): Waiter => {
    const waiter = { latch: Latch.makeUnsafe(), until: queue.nextChange() }
    queue.waiters.add(waiter)
    return waiter
  })
  const wait = (waiter: Waiter): Effect.Effect<void> => {
    const millis = waiter.until - clock.currentTimeMillisUnsafe()
    if (millis <= 0) return Effect.void
    if (millis === Infinity) return Effect.asVoid(waiter.latch.await)
    return Effect.raceFirst(waiter.latch.await, clock.sleep(Duration.millis(Math.min(millis, longestSleep)))).pipe(
      Effect.asVoid
    )
  }
  const leave = (waiter: Waiter) =>
    Effect.sync(() => {
      queue.waiters.delete(waiter)
    })
  const once = Effect.acquireUseRelease(join, wait, leave)
  const loop: Effect.Effect<void> = Effect.suspend(() => isThere() ? Effect.void : Effect.andThen(once, loop))
  return loop
}
