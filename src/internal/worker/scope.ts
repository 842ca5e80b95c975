/**
 * A scope for one layer of the chain: what a middleware acquires is released when its own wrap ends, before the one
 * outside of it sees the exit. Nothing is closed when nothing was acquired.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import { finalize } from "../finalize.ts"
import { leanOf } from "../lean.ts"
import type { Run } from "./run.ts"

/** `self` is called once, as the layer is entered; what it throws is its defect. @internal */
export const withScope = <A, E, R>(
  job: Run,
  self: () => Effect.Effect<A, E, R>,
  onEnd?: () => Effect.Effect<unknown> | undefined
): Effect.Effect<A, E, Exclude<R, Scope.Scope>> =>
  Effect.withFiber((fiber) => {
    const outer = fiber.context
    const scope = Scope.makeUnsafe()
    fiber.setContext(Context.add(outer, Scope.Scope, scope))
    return finalize(begin(self) as Effect.Effect<A, E>, (exit) => {
      fiber.setContext(outer)
      if (exit._tag === "Failure") job.failure = exit.cause.reasons.find(Cause.isFailReason) ?? job.failure
      job.ended(exit)
      const end = onEnd?.()
      const releases = Scope.closeUnsafe(scope, exit)
      if (releases === undefined) return end === undefined ? undefined : Effect.asVoid(end)
      const close = closing(releases)
      return end === undefined ? close : Effect.andThen(end, close)
    })
  })

const begin = <A, E, R>(self: () => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  try {
    return self()
  } catch (defect) {
    return Effect.die(defect)
  }
}

const closing = (releases: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    const outer = fiber.context
    fiber.setContext(leanOf(outer))
    return Effect.onExitPrimitive(releases, () => {
      fiber.setContext(outer)
      return undefined
    })
  })
