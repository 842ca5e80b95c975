/** The end of a worker in a test: what refuses to end is declared stuck as time passes, and the report says so. */
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"

export const ended = <A>(stop: Effect.Effect<A>): Effect.Effect<A> =>
  Effect.gen(function*() {
    const stopped = yield* Effect.forkChild(stop, { startImmediately: true })
    for (let n = 0; n < 20 && stopped.pollUnsafe() === undefined; n++) yield* Effect.yieldNow
    for (let n = 0; n < 10 && stopped.pollUnsafe() === undefined; n++) yield* TestClock.adjust("10 minutes")
    return yield* Fiber.join(stopped)
  })
