/**
 * What a test does to the plan and reads from the record.
 *
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Delivery } from "../../Backend.ts"
import type { Call, Faults, Operations, Planned, Submitted, Target } from "../Faults.ts"
import type { Answers, Calls, Operation } from "./calls.ts"
import type { Deliveries } from "./deliveries.ts"
import type { Fault, Plan, Rule } from "./plan.ts"

export const controls = (
  calls: Calls,
  plan: Plan,
  deliveries: Deliveries,
  setOffset: (millis: number) => void
): Faults["Service"] => {
  const add = <O extends Operation>(operations: Operations<O>, target: Target<O> | undefined, fault: Fault) =>
    Effect.sync((): Planned => {
      const rule: Rule = {
        operations: new Set<Operation>(typeof operations === "string" ? [operations] : operations),
        where: target?.where,
        fault,
        hit: Deferred.makeUnsafe<void>(),
        skip: (target?.nth ?? 1) - 1,
        times: target?.times ?? 1
      }
      plan.add(rule)
      return { hit: Deferred.await(rule.hit), cancel: Effect.sync(() => plan.remove(rule)) }
    })

  const failNext: Faults["Service"]["failNext"] = (operations, options) =>
    add(operations, options, {
      _tag: "Fail",
      applied: options?.applied ?? false,
      retryable: options?.retryable ?? true,
      message: options?.message ?? "a fault that a test planned"
    })

  const list = (): ReadonlyArray<Call> => calls.list()

  return {
    failNext,
    dropAnswer: (operations, options) => failNext(operations, { ...options, applied: true }),
    delayNext: (operations, duration, options) =>
      add(operations, options, { _tag: "Delay", duration, applied: options?.applied ?? false }),
    hangNext: (operations, options) =>
      Effect.suspend(() => {
        const released = Deferred.makeUnsafe<void>()
        return Effect.map(
          add(operations, options, { _tag: "Hang", applied: options?.applied ?? false, released }),
          (planned) => ({ ...planned, release: Effect.asVoid(Deferred.succeed(released, undefined)) })
        )
      }),
    duplicateNext: (options) =>
      add(["take", "exchange"], options, { _tag: "Duplicate", when: options?.when ?? "next" }),
    loseLease: (id) => deliveries.lose(id),
    skewClock: (input) => Effect.sync(() => setOffset(Duration.toMillis(input))),
    heal: Effect.sync(() => {
      plan.clear()
      setOffset(0)
    }),
    count: (operation) => Effect.sync(() => calls.count(operation)),
    called: (operation, count) => calls.reached(operation, count),
    calls: <O extends Operation = Operation>(...operations: ReadonlyArray<O>) =>
      Effect.sync(() => {
        const wanted: ReadonlyArray<Operation> = operations
        const found = list().filter(({ operation }) => wanted.length === 0 || wanted.includes(operation))
        return found as ReadonlyArray<unknown> as ReadonlyArray<Call<O>>
      }),
    settlementsOf: (id) => Effect.sync(() => list().flatMap((call) => submitted(call, id))),
    deliveriesOf: (id) =>
      Effect.sync(() => list().flatMap((call) => received(call)).filter(({ envelope }) => envelope.id === id)),
    forget: Effect.sync(() => calls.forget())
  }
}

const submitted = (call: Call, id: string): ReadonlyArray<Submitted> => {
  if (call.operation !== "settle" && call.operation !== "exchange") return []
  const answers = call.operation === "settle" ? call.engine?.answer : call.engine?.answer[0]
  return call.input.items.flatMap(([receipt, settlement], i) =>
    receipt.id === id ? [{ receipt, settlement, answer: answers?.[i], at: call.at }] : []
  )
}

const received = (call: Call): ReadonlyArray<Delivery> => {
  if (call.end?._tag !== "Answered") return []
  if (call.operation === "take") return call.end.answer as Answers["take"]
  return call.operation === "exchange" ? (call.end.answer as Answers["exchange"])[1] : []
}
