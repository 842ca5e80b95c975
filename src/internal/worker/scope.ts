/**
 * A scope for one layer of the chain: what a middleware acquires is released when its own wrap ends, before the one
 * outside of it sees the exit. Nothing is closed when nothing was acquired.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import { finalize } from "../finalize.ts"
import type { Run } from "./run.ts"

/** @internal */
export const withScope = <A, E, R>(
  job: Run,
  self: Effect.Effect<A, E, R>,
  onEnd?: () => Effect.Effect<unknown> | undefined
): Effect.Effect<A, E, Exclude<R, Scope.Scope>> =>
  Effect.suspend(() => {
    const scope = Scope.makeUnsafe()
    return finalize(Effect.provideService(self, Scope.Scope, scope), (exit) => {
      if (exit._tag === "Failure") job.failure = exit.cause.reasons.find(Cause.isFailReason) ?? job.failure
      job.ended(exit)
      const end = onEnd?.()
      const close = Scope.closeUnsafe(scope, exit)
      return end === undefined ? close : close === undefined ? Effect.asVoid(end) : Effect.andThen(end, close)
    })
  })
