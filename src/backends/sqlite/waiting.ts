/**
 * Waiting for a change of the file without missing one: the listener joins before the question is asked, and both are
 * one synchronous step. Signals of this process come at once; those of other processes through the poll; the passing of
 * time through the clock.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type { BackendError } from "../../Backend.ts"
import type { Connection } from "./connection.ts"
import type { Poll } from "./poll.ts"
import type { Wake } from "./wake.ts"

/** no sleep is longer: a wall clock that is set forward is noticed this late at most */
const longest = 60_000

export interface Waits {
  readonly connection: Connection
  readonly poll: Poll
  readonly wake: Wake
}

/** asks until the answer is a value; `at` says when time alone may change the answer, `Infinity` for never */
export type Answer<A> = { readonly value: A } | { readonly at: number }

export const until = <A, R>(
  waits: Waits,
  topic: string,
  ask: Effect.Effect<Answer<A>, BackendError, R>
): Effect.Effect<A, BackendError, R> =>
  Effect.suspend(() => {
    const latch = Latch.makeUnsafe(false)
    const leave = waits.wake.on(topic, () => void latch.openUnsafe())
    const unwant = waits.poll.want()
    const loop: Effect.Effect<A, BackendError, R> = Effect.flatMap(ask, (answer) => {
      if ("value" in answer) return Effect.succeed(answer.value)
      const millis = answer.at - waits.connection.now()
      const pause = millis === Infinity
        ? latch.await
        : Effect.raceFirst(latch.await, waits.connection.clock.sleep(Duration.millis(Math.min(millis, longest))))
      return Effect.flatMap(pause, () => {
        latch.closeUnsafe()
        return loop
      })
    })
    return Effect.ensuring(
      loop,
      Effect.sync(() => {
        leave()
        unwant()
      })
    )
  })
