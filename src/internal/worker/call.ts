/** A call to the backend as the worker sees it: bounded in time, its failure always a `BackendError`. */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { BackendError } from "../../Backend.ts"
import type { State } from "./state.ts"

/**
 * A call that hangs counts as one whose answer was lost. An engine in the process answers as it is called: then there is
 * nothing to wait for, and no time to measure.
 *
 * @internal
 */
export const bounded = <A>(
  worker: State,
  operation: string,
  call: Effect.Effect<A, BackendError>
): Effect.Effect<A, BackendError> =>
  Effect.flatMap(
    Effect.forkChild(call, { startImmediately: true }),
    (fiber) => fiber.pollUnsafe() ?? inTime(worker, operation, fiber)
  )

/** as a race against a sleep, for half of its price: it is paid for every call over a network */
const inTime = <A>(
  worker: State,
  operation: string,
  fiber: Fiber.Fiber<A, BackendError>
): Effect.Effect<A, BackendError> =>
  Effect.callback((resume) => {
    const { callTimeout } = worker.settings
    let over = false
    const sleep = Effect.runForkWith(worker.context)(
      Effect.suspend(() => worker.clock.sleep(Duration.millis(callTimeout)))
    )
    const unobserve = fiber.addObserver((exit) => {
      over = true
      sleep.interruptUnsafe()
      resume(exit)
    })
    // a clock that fails measures no time any more: the call is not left without a limit
    sleep.addObserver(() => {
      if (over) return
      unobserve()
      const ended = Effect.uninterruptible(Fiber.interrupt(fiber))
      resume(Effect.andThen(ended, Effect.fail(noAnswer(worker, operation, callTimeout))))
    })
    return Effect.suspend(() => {
      over = true
      unobserve()
      sleep.interruptUnsafe()
      return Fiber.interrupt(fiber)
    })
  })

const noAnswer = (worker: State, operation: string, millis: number): BackendError =>
  new BackendError({
    backend: worker.backend.name,
    operation,
    message: `no answer within ${millis} ms`,
    retryable: true,
    outcome: "Unknown"
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
