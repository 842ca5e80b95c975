/**
 * One layer of the chain, as it is entered in the fiber that runs it. It has a scope: what a middleware acquires is
 * released when its own wrap ends, before the one outside of it sees the exit. Nothing is closed when nothing was acquired.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { afterwards, finalize } from "../finalize.ts"
import { close } from "../lean.ts"
import { whenOver } from "../over.ts"
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
  self: () => Effect.Effect<unknown, unknown, any>,
  onEnd?: () => Effect.Effect<unknown> | undefined
): Effect.Effect<unknown, unknown, any> => {
  const outer = fiber.context
  const scope = Scope.makeUnsafe()
  fiber.setContext(Context.add(outer, Scope.Scope, scope))
  // an interruption that comes while a fiber takes a step throws away what the step returns: where one can come, whatever
  // `self` does at once is done when the end of the layer is registered
  return isMasked(fiber)
    ? whenOver(begin(self), (exit) => leave(fiber, job, outer, scope, exit, onEnd))
    : finalize(Effect.suspend(self), (exit) => {
      const releases = ended(fiber, job, outer, scope, exit, onEnd)
      return releases === undefined ? undefined : Effect.onExitPrimitive(releases, () => {
        fiber.setContext(outer)
        return undefined
      })
    })
}

/** The exit of a layer, after its releases. Only where the fiber is masked. @internal */
export const leave = (
  fiber: Fiber.Fiber<unknown, unknown>,
  job: Run,
  outer: Context.Context<never>,
  scope: Scope.Closeable,
  exit: Exit.Exit<unknown, unknown>,
  onEnd?: () => Effect.Effect<unknown> | undefined
): Effect.Effect<unknown, unknown> => {
  const releases = ended(fiber, job, outer, scope, exit, onEnd)
  if (releases === undefined) return exit
  // also when one fails: a wrap around this layer may go on from there, and enter it again
  return whenOver(exit._tag === "Failure" ? afterwards(exit, releases) : releases, (ended) => {
    fiber.setContext(outer)
    return ended._tag === "Success" ? exit : ended
  })
}

/** What is left to do at the end of a layer, and which leaves a context behind that has to be replaced. */
const ended = (
  fiber: Fiber.Fiber<unknown, unknown>,
  job: Run,
  outer: Context.Context<never>,
  scope: Scope.Closeable,
  exit: Exit.Exit<unknown, unknown>,
  onEnd: (() => Effect.Effect<unknown> | undefined) | undefined
): Effect.Effect<unknown> | undefined => {
  fiber.setContext(outer)
  job.ended(exit)
  const end = onEnd?.()
  return end === undefined
    ? close(fiber, scope, exit)
    // what still runs may use the scope, and add to it, until it has ended
    : Effect.andThen(end, Effect.suspend(() => close(fiber, scope, exit) ?? Effect.void))
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

/**
 * Enters what is inside of a layer. What that throws has to be a defect in here: it is thrown before the end of any layer
 * around it is registered, and would pass all their ends by.
 *
 * @internal
 */
export const go = (
  inner: Enter,
  fiber: Fiber.Fiber<unknown, unknown>,
  input: unknown,
  job: Run
): Effect.Effect<unknown, unknown, any> => {
  try {
    return inner(fiber, input, job)
  } catch (defect) {
    return Effect.die(defect)
  }
}

/** What it throws is a defect. @internal */
export const begin = (self: () => Effect.Effect<unknown, unknown, any>): Effect.Effect<unknown, unknown, any> => {
  try {
    return self()
  } catch (defect) {
    return Effect.die(defect)
  }
}
