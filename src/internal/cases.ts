/**
 * What `Effect.matchCauseEffect` goes on with, where it is called for every job or call. By a class, because such a pair leads
 * to all that its functions know of, and V8 might keep what comes from a literal until the next full collection (`item.ts`).
 */
import type * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"

/** @internal */
export class Cases<in A, in E, out A2, out E2 = never, out R2 = never> {
  readonly onSuccess: (value: A) => Effect.Effect<A2, E2, R2>
  readonly onFailure: (cause: Cause.Cause<E>) => Effect.Effect<A2, E2, R2>

  constructor(
    onSuccess: (value: A) => Effect.Effect<A2, E2, R2>,
    onFailure: (cause: Cause.Cause<E>) => Effect.Effect<A2, E2, R2>
  ) {
    this.onSuccess = onSuccess
    this.onFailure = onFailure
  }
}
