/**
 * A service for one effect: `Effect.provideService` with one closure and one frame, for what runs once per job and layer.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

/** @internal */
export const provide = <A, E, R, I, S>(
  self: Effect.Effect<A, E, R>,
  key: Context.Key<I, S>,
  service: S
): Effect.Effect<A, E, Exclude<R, I>> =>
  Effect.withFiber((fiber) => {
    const outer = fiber.context
    fiber.setContext(Context.add(outer, key, service))
    return Effect.onExitPrimitive(self as Effect.Effect<A, E>, () => {
      fiber.setContext(outer)
      return undefined
    })
  })
