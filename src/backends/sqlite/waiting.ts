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
import * as Pace from "./pace.ts"
import type { Poll } from "./poll.ts"
import type { Wake } from "./wake.ts"

/** milliseconds: a wall clock that is set forward is noticed this late at most */
const patience = 60_000

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
    const loop = (cap: number): Effect.Effect<A, BackendError, R> =>
      Effect.flatMap(ask, (answer) => {
        if ("value" in answer) return Effect.succeed(answer.value)
        const asked = waits.connection.now()
        const millis = Math.min(answer.at - asked, cap)
        const pause = answer.at === Infinity
          ? latch.await
          : Effect.raceFirst(latch.await, waits.connection.clock.sleep(Duration.millis(millis)))
        const started = performance.now()
        return Effect.flatMap(pause, () => {
          latch.closeUnsafe()
          const slept = waits.connection.now() - asked >= millis
          return loop(slept && Pace.isVirtual(millis, started) ? Math.min(cap * 2, Pace.longest) : patience)
        })
      })
    return Effect.ensuring(
      loop(patience),
      Effect.sync(() => {
        leave()
        unwant()
      })
    )
  })
