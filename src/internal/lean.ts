/**
 * The context in which a scope of the chain is closed. `Effect.acquireRelease` runs its release under the context of its
 * acquire *merged* into the one at the close. Both hold the same services, yet a merge copies them all, for every job and
 * every release. Into a context that says that it is empty nothing has to be merged; what a finalizer of another kind looks
 * up (clock, loggers, the job) is found all the same.
 *
 * One thing is not: a bare `Scope.addFinalizer` (`Effect.addFinalizer` is none) that provides a whole layer or context to
 * itself runs in that alone, with the default clock and loggers unless it brings its own.
 */
import * as Context from "effect/Context"

const none: ReadonlyMap<string, unknown> = new Map()
const marker = "windlass/internal/Lean"

/** says that it is empty: `_flat` is what a context keeps of its own services once somebody asked for all of them */
const disguise = (context: Context.Context<never>): Context.Context<never> => {
  const lean = Context.addUnsafe(context, marker, true)
  ;(lean as unknown as { _flat: unknown })._flat = none
  return lean
}

class Probe extends Context.Service<Probe, number>()("windlass/internal/lean/Probe") {}

/** Contexts are Effect's own: where they do not work like that (another version), the copy is paid and nothing is lost. */
const works = ((): boolean => {
  const lean = disguise(Context.make(Probe, 1) as Context.Context<never>)
  const other = Context.make(Probe, 2)
  return Context.merge(lean, other) === other && Context.getOrUndefined(lean as Context.Context<Probe>, Probe) === 1
})()

/** @internal */
export const leanOf: (context: Context.Context<never>) => Context.Context<never> = works
  ? disguise
  : (context) => context
