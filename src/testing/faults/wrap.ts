/**
 * A backend around a backend: every call is recorded, meets the plan, and goes on to the engine beneath.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { BackendError, type Shape } from "../../Backend.ts"
import type { Answers, Calls, Inputs, Operation } from "./calls.ts"
import type { Deliveries } from "./deliveries.ts"
import type { Fault, Plan } from "./plan.ts"
import { subscription } from "./subscription.ts"

export interface Parts {
  readonly engine: Shape
  /** the clock that was in force before: it is not set wrong for the engine */
  readonly clock: Clock.Clock
  readonly calls: Calls
  readonly plan: Plan
  readonly deliveries: Deliveries
}

/** a call that is recorded and meets the plan */
export type Call = <O extends Operation, A extends Answers[O], R>(
  operation: O,
  input: Inputs[O],
  run: Effect.Effect<A, BackendError, R>
) => Effect.Effect<A, BackendError, R>

const caller = ({ calls, clock, engine, plan }: Parts): Call => (operation, input, run) =>
  Effect.suspend(() => {
    const record = calls.begin(operation, input, clock.currentTimeMillisUnsafe())
    const faults = plan.meet(operation, input)
    const engineCall = Effect.tap(Effect.provideService(run, Clock.Clock, clock), (answer) =>
      Effect.sync(() => {
        record.engine = { answer } as typeof record.engine
      }))
    const whole = suffer(engine.name, operation, faults, false).pipe(
      Effect.andThen(engineCall),
      Effect.tap(() => suffer(engine.name, operation, faults, true))
    )
    return Effect.onExit(whole, (exit) =>
      Effect.sync(() => {
        record.end =
          (Exit.isSuccess(exit) ? { _tag: "Answered", answer: exit.value } : ended(exit)) as typeof record.end
      }))
  })

export const wrap = (parts: Parts): Shape => {
  const { engine } = parts
  const call = caller(parts)
  return {
    name: engine.name,
    limits: engine.limits,
    fence: engine.fence,
    declare: (queue) => call("declare", { queue }, engine.declare(queue)),
    publish: (queue, items, options) =>
      call("publish", { queue, items, atomic: options?.atomic === true }, engine.publish(queue, items, options)),
    subscribe: (queue, options) =>
      Effect.map(
        call("subscribe", { queue, worker: options.worker }, engine.subscribe(queue, options)),
        (inner) => subscription(parts, call, queue, options.worker, inner)
      ),
    ping: call("ping", {}, engine.ping)
  }
}

/** what the plan has for the way to the engine, or (`applied`) for the way back */
const suffer = (
  backend: string,
  operation: Operation,
  faults: ReadonlyArray<Fault>,
  applied: boolean
): Effect.Effect<void, BackendError> =>
  Effect.forEach(faults, (fault): Effect.Effect<void, BackendError> => {
    if (fault._tag === "Duplicate" || fault.applied !== applied) return Effect.void
    switch (fault._tag) {
      case "Delay":
        return Effect.sleep(Duration.fromInputUnsafe(fault.duration))
      case "Hang":
        return Deferred.await(fault.released)
      case "Fail":
        return Effect.fail(
          new BackendError({
            backend,
            operation,
            message: fault.message,
            retryable: fault.retryable,
            outcome: applied ? "Unknown" : "NotApplied"
          })
        )
    }
  }, { discard: true })

const ended = (exit: Exit.Failure<unknown, BackendError>) => {
  const error = Exit.findErrorOption(exit)
  return error._tag === "Some" ? { _tag: "Failed", error: error.value } : { _tag: "Interrupted" }
}
