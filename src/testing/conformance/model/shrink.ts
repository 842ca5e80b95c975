/**
 * Finds a short run that still fails: first the commands up to the failure, then without every one that is not needed.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"

export const shrink = Effect.fnUntraced(function*<A, E, R>(
  commands: ReadonlyArray<A>,
  failsAt: (commands: ReadonlyArray<A>) => Effect.Effect<number | undefined, E, R>,
  budget: number
) {
  let shortest = commands
  let left = budget
  // larger pieces first: most commands of a random run do not matter
  for (let size = Math.ceil(shortest.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < shortest.length && left > 0;) {
      left--
      const without = [...shortest.slice(0, from), ...shortest.slice(from + size)]
      const at = yield* failsAt(without)
      if (at === undefined) from += size
      else shortest = without.slice(0, at + 1)
    }
  }
  return shortest
})
