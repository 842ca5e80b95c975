/** Middleware written in place, and before and after as one wrap. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { Decide } from "../../Decide.ts"
import type * as Job from "../../Job.ts"
import { finalize } from "../finalize.ts"
import type { Wrap } from "./wrap.ts"

/**
 * @category type ids
 * @since 0.1.0
 */
export const InlineTypeId = "~windlass/Middleware/Inline"

/**
 * A run-point middleware written in place. It provides nothing and adds no error, so it may stand in any list, the
 * worker's included.
 *
 * @category models
 * @since 0.1.0
 */
export interface Inline<out R = never> {
  readonly [InlineTypeId]: { readonly name: string; readonly requires: R }
  readonly name: string
  readonly wrap: Wrap<never, Decide, any>
}

/**
 * @category guards
 * @since 0.1.0
 */
export const isInline = (u: unknown): u is Inline<any> => typeof u === "object" && u !== null && InlineTypeId in u

/**
 * A wrapping middleware in place: `name` is what `Worker.describe` and errors call it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <R = never>(name: string, wrap: Wrap<never, Decide, R>): Inline<R> => ({
  [InlineTypeId]: { name, requires: undefined as never },
  name,
  wrap
})

/**
 * What `after` of {@link hooks} sees: the exit of everything inside, with the types hidden because it is written for
 * every task. A `Decide` is its own case: `Decide.isDecide` on the failure.
 *
 * @category models
 * @since 0.1.0
 */
export type OpaqueExit = Exit.Exit<unknown, unknown>

/**
 * Before and after as one wrap, for a `Layer` of a declared middleware or for {@link make}.
 *
 * - `before` runs uninterruptibly, outermost middleware first. What it returns is handed to `after`, and provided as the
 *   service `provides` if that is given. What it acquires is released after `after`.
 * - `after` runs exactly when its `before` completed, whatever the exit. If the run succeeded and `after` fails, the job
 *   fails with that error; if the run failed, its failure decides and the one of `after` is listed behind it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const hooks: {
  <I, B, E1 = never, R1 = never, E2 = never, R2 = never>(options: {
    readonly provides: Context.Key<I, B>
    readonly before: (job: Job.Job) => Effect.Effect<B, E1, R1>
    readonly after?: (exit: OpaqueExit, before: B, job: Job.Job) => Effect.Effect<void, E2, R2>
  }): Wrap<I, E1 | E2, Exclude<R1 | R2, Scope.Scope | Job.Current>>
  <B = void, E1 = never, R1 = never, E2 = never, R2 = never>(options: {
    readonly before?: (job: Job.Job) => Effect.Effect<B, E1, R1>
    readonly after?: (exit: OpaqueExit, before: B, job: Job.Job) => Effect.Effect<void, E2, R2>
  }): Wrap<never, E1 | E2, Exclude<R1 | R2, Scope.Scope | Job.Current>>
} = (options: Hooks): Wrap<any, any, any> => {
  const { after, before, provides } = options
  const wrap = <I, O, E0>(next: (input: I) => Effect.Effect<O, E0, any>, input: I, job: Job.Job) => {
    const inside = (run: Effect.Effect<O, E0, any>, value: unknown): Effect.Effect<O, any, any> => {
      const provided = provides === undefined ? run : Effect.provideService(run, provides, value)
      return after === undefined ? provided : finalize(provided, (exit) => after(exit, value, job))
    }
    return before === undefined
      ? inside(next(input), undefined)
      // masked as a whole, so that nothing can come between the end of `before` and the registration of `after`
      : Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(before(job), (value) => inside(restore(next(input)), value))
      )
  }
  known.set(wrap, options)
  return wrap
}

/** @internal */
export interface Hooks {
  readonly provides?: Context.Key<any, any>
  readonly before?: (job: Job.Job) => Effect.Effect<any, any, any>
  readonly after?: (exit: OpaqueExit, before: any, job: Job.Job) => Effect.Effect<void, any, any>
}

const known = new WeakMap<object, Hooks>()

/** What a wrap was made of by {@link hooks}: a chain runs it without a guard, and with fewer steps. @internal */
export const hooksOf = (wrap: object): Hooks | undefined => known.get(wrap)
