/**
 * Closing a scope of the chain without copying contexts. `Effect.acquireRelease` runs its release under the context of its
 * acquire *merged* into the one at the close. Both hold the same services, yet a merge copies them all, for every job and
 * every release. Into a context that says that it is empty nothing has to be merged.
 *
 * It says so for the first step of a release alone, which is where the merge is made. Afterwards it is a context like any
 * other: finalizers of other kinds look services up in it, add to it, keep it. One that begins by providing a context from
 * elsewhere gets the merge that it asked for.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { Current } from "../Job.ts"

/** What a context keeps to itself: what it was added to, all as one map once somebody asked for it, and its look-ups. */
interface Kept {
  readonly base: ReadonlyMap<string, unknown>
  _flat: ReadonlyMap<string, unknown> | undefined
  baseHits: number
}

const none: ReadonlyMap<string, unknown> = new Map()
const marker = "windlass/internal/Lean"
const evaluate = "~effect/Effect/evaluate"

/** Runs the first step of `release`, in which `lean` says that it is empty; returns the rest. */
const firstStep = (
  fiber: Fiber.Fiber<unknown, unknown>,
  lean: Context.Context<never>,
  release: Effect.Effect<unknown>
): Effect.Effect<unknown> => {
  const kept = lean as unknown as Kept
  kept._flat = none
  // it must not take the disguise for its services either, as it would after so many look-ups
  kept.baseHits = -1_000_000_000
  try {
    return (release as unknown as { [evaluate](fiber: unknown): Effect.Effect<unknown> })[evaluate](fiber)
  } finally {
    kept._flat = undefined
    kept.baseHits = 0
  }
}

/** Effect keeps contexts and steps to itself: where they do not work like that (another version), the copy is paid. */
const works = ((): boolean => {
  const outer = Context.addUnsafe(Context.empty(), `${marker}/outer`, true)
  const lean = Context.addUnsafe(outer, marker, true)
  const own = Context.addUnsafe(Context.empty(), `${marker}/own`, true)
  const whole = lean.mapUnsafe.size
  const seen = Effect.runSyncExit(Effect.withFiber((fiber) => {
    fiber.setContext(lean)
    return firstStep(fiber, lean, Effect.provideContext(Effect.context(), own))
  }))
  return Exit.isSuccess(seen) && seen.value === own && whole === 2 && lean.mapUnsafe.size === whole &&
    (lean as unknown as Kept).base !== undefined
})()

const lightly = (release: Effect.Effect<void>, lean: Context.Context<never>): Effect.Effect<void> =>
  Exit.isExit(release) ? release : Effect.withFiber((fiber) => {
    if (fiber.context !== lean) return release
    const rest = firstStep(fiber, lean, release) as Effect.Effect<void>
    // the context of an acquire holds all that is around the chain; one from elsewhere does not know of the job
    if (fiber.context !== lean && !isOf(fiber.context, lean)) fiber.setContext(Context.merge(lean, fiber.context))
    return rest
  })

/** whether both belong to a run of the same job; most share what they were added to, so that nothing is searched */
const isOf = (context: Context.Context<never>, lean: Context.Context<never>): boolean =>
  (context as unknown as Kept).base === (lean as unknown as Kept).base || jobOf(context) === jobOf(lean)

const jobOf = (context: Context.Context<never>) => Context.getOrUndefined(context as Context.Context<Current>, Current)

/**
 * Closes a scope: undefined when there is nothing to release. Called in `fiber`, masked, which has to run what it returns
 * at once, and gets a context for it that has to be replaced afterwards.
 *
 * @internal
 */
export const close = (
  fiber: Fiber.Fiber<unknown, unknown>,
  scope: Scope.Closeable,
  exit: Exit.Exit<unknown, unknown>
): Effect.Effect<void> | undefined => {
  const { state } = scope
  if (!works || state._tag !== "Open") return Scope.closeUnsafe(scope, exit)
  const lean = Context.addUnsafe(fiber.context, marker, true)
  const { finalizers } = state
  finalizers?.forEach((finalizer, key) => finalizers.set(key, (exit) => lightly(finalizer(exit), lean)))
  const closing = Scope.closeUnsafe(scope, exit)
  if (closing === undefined) return undefined
  fiber.setContext(lean)
  return finalizers === undefined ? lightly(closing, lean) : closing
}
