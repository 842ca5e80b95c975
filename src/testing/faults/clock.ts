/**
 * A clock that is wrong: the time of day is off by an adjustable number of milliseconds. Elapsed time and sleeping are
 * those of the clock beneath, as in a machine whose date is set.
 *
 * @since 0.1.0
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

const nanosPerMilli = 1_000_000n

export const skewed = (base: Clock.Clock, offset: () => number): Clock.Clock => {
  const millis = () => base.currentTimeMillisUnsafe() + offset()
  const nanos = () => base.currentTimeNanosUnsafe() + BigInt(Math.round(offset())) * nanosPerMilli
  // the rest comes from the clock beneath, also what only a `TestClock` has: a test moves it as before
  return Object.assign(Object.create(base) as Clock.Clock, {
    currentTimeMillisUnsafe: millis,
    currentTimeMillis: Effect.sync(millis),
    currentTimeNanosUnsafe: nanos,
    currentTimeNanos: Effect.sync(nanos)
  })
}
