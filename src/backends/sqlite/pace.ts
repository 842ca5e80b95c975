/**
 * Doing something again and again with pauses on the `Clock`. On a virtual clock no real time passes, in which another
 * process could have done anything: there the pauses grow, so that a test may move the clock by weeks.
 *
 * @since 0.1.0
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/** milliseconds: no pause is longer */
export const longest = 86_400_000

/** whether a sleep of so many milliseconds, begun at `started` (of `performance.now`), took no time in the real world */
export const isVirtual = (millis: number, started: number): boolean => performance.now() - started < millis / 2

/** pauses, then runs `step`, for ever. `pause` returns milliseconds */
export const every = (
  clock: Clock.Clock,
  pause: () => number,
  step: Effect.Effect<void>
): Effect.Effect<never> => {
  const loop = (grown: number): Effect.Effect<never> =>
    Effect.suspend(() => {
      const millis = Math.max(pause(), grown)
      const started = performance.now()
      return Effect.flatMap(clock.sleep(Duration.millis(millis)), () => {
        const grow = isVirtual(millis, started)
        return Effect.flatMap(step, () => loop(grow ? Math.min(millis * 2, longest) : 0))
      })
    })
  return loop(0)
}
