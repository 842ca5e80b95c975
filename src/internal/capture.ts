/** Running an implementation with the services that its layer was built with; what the caller provides wins. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** @internal */
export const capture =
  <R>(context: Context.Context<R>) => <A, E>(effect: Effect.Effect<A, E, R | Scope.Scope>): Effect.Effect<A, E> =>
    Effect.updateContext(
      Effect.scoped(effect) as Effect.Effect<A, E>,
      (inner: Context.Context<never>) => Context.merge(context, inner) as Context.Context<never>
    )
