/** A call to the backend as the worker sees it: bounded in time, its failure always a `BackendError`. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { BackendError } from "../../Backend.ts"
import type { State } from "./state.ts"

/** A call that hangs counts as one whose answer was lost. @internal */
export const bounded = <A>(
  worker: State,
  operation: string,
  call: Effect.Effect<A, BackendError>
): Effect.Effect<A, BackendError> =>
  Effect.timeoutOrElse(call, {
    duration: worker.settings.callTimeout,
    orElse: () =>
      Effect.fail(
        new BackendError({
          backend: worker.backend.name,
          operation,
          message: `no answer within ${worker.settings.callTimeout} ms`,
          retryable: true,
          outcome: "Unknown"
        })
      )
  })

/** @internal */
export const errorOf = (worker: State, cause: Cause.Cause<BackendError>): BackendError => {
  const error = Cause.squash(cause)
  return error instanceof BackendError ? error : new BackendError({
    backend: worker.backend.name,
    operation: "exchange",
    message: "the backend died",
    retryable: true,
    outcome: "Unknown",
    cause: error
  })
}

/** Milliseconds to wait after so many failures in a row. @internal */
export const backOff = (failures: number): number => Math.min(10_000, 50 * 2 ** Math.min(failures, 8))
