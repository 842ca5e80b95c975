/** What `pool` of `contender.ts` is for promises: so many fibers, each one call after the other. */
import * as Effect from "effect/Effect"

export const lanes = <A, E, R>(
  items: ReadonlyArray<A>,
  inFlight: number,
  f: (item: A) => Effect.Effect<unknown, E, R>
): Effect.Effect<void, E, R> =>
  Effect.suspend(() => {
    let next = 0
    const lane = Effect.whileLoop({ while: () => next < items.length, body: () => f(items[next++]!), step: () => {} })
    const count = Math.min(inFlight, items.length)
    return count === 1 ? lane : Effect.all(
      Array.from({ length: count }, () => lane),
      { concurrency: "unbounded", discard: true }
    )
  })
