/**
 * One layer of the chain, as it is entered in the fiber that runs it. It has a scope: what a middleware acquires is
 * released when its own wrap ends, before the one outside of it sees the exit. Nothing is closed when nothing was acquired.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { restore } from "../finalize.ts"
import { close } from "../lean.ts"
import type { Run } from "./run.ts"

/**
 * The chain from here inwards. Called in `fiber`, which has to run what it returns at once, and once: entering sets the
 * fiber's context, and the layer's end puts the old one back.
 *
 * @internal
 */
export type Enter = (
  fiber: Fiber.Fiber<unknown, unknown>,
  input: unknown,
  job: Run
) => Effect.Effect<unknown, unknown, any>

/** An `Enter` as a value that may be run anywhere, and again. @internal */
export const entered = (enter: Enter, input: unknown, job: Run): Effect.Effect<unknown, unknown, any> =>
  Effect.withFiber((fiber) => enter(fiber, input, job))

/**
 * Enters a layer and runs `self` in it, which is called with the layer's scope in place; what it throws is a defect of the
 * layer. `onEnd` comes before the releases.
 *
 * @internal
 */
export const layer = (
  fiber: Fiber.Fiber<unknown, unknown>,
  job: Run,
  self: (own: Context.Context<never>) => Effect.Effect<unknown, unknown, any>,
  onEnd?: () => Effect.Effect<unknown> | undefined
): Effect.Effect<unknown, unknown, any> => {
  const outer = fiber.context
  const scope = Scope.makeUnsafe()
  const own = Context.add(outer, Scope.Scope, scope)
  fiber.setContext(own)
  let before: Cause.Cause<unknown> | undefined
  // an interruption that comes while a fiber takes a step throws away what the step returns: where one can come, whatever
  // `self` does at once is done when the end of the layer is registered
  const run = isMasked(fiber) ? begin(self, own) : Effect.suspend(() => self(own))
  return Effect.catchCause(
    Effect.onExitPrimitive(run, (exit) => {
      fiber.setContext(outer)
      if (exit._tag === "Failure") job.failure = exit.cause.reasons.find(Cause.isFailReason) ?? job.failure
      job.ended(exit)
      const end = onEnd?.()
      const releases = end === undefined
        ? close(fiber, scope, exit)
        // what still runs may use the scope, and add to it, until it has ended
        : Effect.andThen(end, Effect.suspend(() => close(fiber, scope, exit) ?? Effect.void))
      if (releases !== undefined && exit._tag === "Failure") before = exit.cause
      return releases
    }),
    (cause) => Effect.failCause(before === undefined ? cause : restore(cause, before))
  )
}

/** Whether no interruption can come between the steps of a fiber, as in the chain but under a race or a time-out. @internal */
export const isMasked = (fiber: Fiber.Fiber<unknown, unknown>): boolean =>
  (fiber as { readonly interruptible?: boolean }).interruptible === false

/** A layer as a value. @internal */
export const layered = <A, E, R>(
  job: Run,
  self: () => Effect.Effect<A, E, R>,
  onEnd?: () => Effect.Effect<unknown> | undefined
): Effect.Effect<A, E, Exclude<R, Scope.Scope>> =>
  Effect.withFiber((fiber) => layer(fiber, job, self, onEnd)) as Effect.Effect<A, E, Exclude<R, Scope.Scope>>

const begin = (
  self: (own: Context.Context<never>) => Effect.Effect<unknown, unknown, any>,
  own: Context.Context<never>
): Effect.Effect<unknown, unknown, any> => {
  try {
    return self(own)
  } catch (defect) {
    return Effect.die(defect)
  }
}
