/**
 * Observers around the delivery point. Each hook runs in a fiber of its own for at most one second; whatever becomes of
 * it, the job's outcome stands (L11). A hook that ends synchronously costs no waiting.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import type { Observed, Observer } from "../../Middleware.ts"
import type { Outcome } from "../../Outcome.ts"
import type { Deliver } from "./deliver.ts"
import type { Run } from "./run.ts"

/** hooks of observers that died, were interrupted or ran out of time */
const failures = Metric.counter("windlass_observer_failures", { incremental: true })

/** @internal */
export const observed = (
  observers: ReadonlyArray<Observer<any>>,
  context: Context.Context<never>,
  worker: string,
  limit: number,
  deliver: Deliver
): Deliver => {
  if (observers.length === 0) return deliver
  const clock = Context.get(context, Clock.Clock)
  const call = caller(context, limit)
  return (fiber, run) => {
    const seen = new Seen(run, clock, worker)
    // per observer what its `before` returned; `absent` when that did not complete
    const befores: Array<unknown> = []
    const before = (from: number): Effect.Effect<void> | undefined => {
      for (let i = from; i < observers.length; i++) {
        befores[i] = undefined
        const observer = observers[i]!
        if (observer.before === undefined) continue
        befores[i] = absent
        const waiting = call(observer, "before", seen, undefined, undefined, befores, i)
        if (waiting !== undefined) return then(waiting, () => before(i + 1))
      }
      return undefined
    }
    const after = (from: number, outcome: Outcome): Effect.Effect<void> | undefined => {
      for (let i = from; i >= 0; i--) {
        const observer = observers[i]!
        if (observer.after === undefined || befores[i] === absent) continue
        const waiting = call(observer, "after", seen, outcome, befores[i], undefined, 0)
        if (waiting !== undefined) return then(waiting, () => after(i - 1, outcome))
      }
      return undefined
    }
    const waiting = before(0)
    const inner = waiting === undefined ? deliver(fiber, run) : Effect.flatMap(waiting, () => deliver(fiber, run))
    return Effect.flatMapEager(inner, (delivered) => {
      const waiting = after(observers.length - 1, delivered.outcome)
      return waiting === undefined ? Effect.succeed(delivered) : Effect.as(waiting, delivered)
    })
  }
}

const absent = Symbol("absent")

const then = (waiting: Effect.Effect<void>, rest: () => Effect.Effect<void> | undefined): Effect.Effect<void> =>
  Effect.flatMap(waiting, () => rest() ?? Effect.void)

/** A run as observers see it. */
class Seen implements Observed {
  readonly #run: Run
  readonly startedAt: number
  readonly clock: Clock.Clock
  readonly worker: string

  constructor(run: Run, clock: Clock.Clock, worker: string) {
    this.#run = run
    this.startedAt = run.startedAt
    this.clock = clock
    this.worker = worker
  }
  get delivery() {
    return this.#run.delivery
  }
  get task() {
    return this.#run.task
  }
  get payload() {
    return this.#run.payload
  }
  get definition() {
    return this.#run.resolved?.task
  }
}

/**
 * Calls one hook: undefined when it is over already, else the wait for it, which never fails. What a `before` returned is
 * written to its place in `befores`.
 */
const caller = (context: Context.Context<never>, limit: number) =>
(
  observer: Observer<any>,
  which: "before" | "after",
  seen: Observed,
  outcome: Outcome | undefined,
  begun: unknown,
  befores: Array<unknown> | undefined,
  place: number
): Effect.Effect<void> | undefined => {
  let result: unknown
  try {
    result = outcome === undefined ? observer.before!(seen) : observer.after!(outcome, begun, seen)
  } catch (defect) {
    return failed(observer, which, Effect.die(defect))
  }
  if (!Effect.isEffect(result)) {
    if (befores !== undefined) befores[place] = result
    return undefined
  }
  const fiber = Effect.runForkWith(context)(result as Effect.Effect<unknown>)
  const over = (exit: Exit.Exit<unknown>): Effect.Effect<void> | undefined => {
    if (exit._tag === "Failure") return failed(observer, which, exit)
    if (befores !== undefined) befores[place] = exit.value
    return undefined
  }
  const exit = fiber.pollUnsafe()
  if (exit !== undefined) return over(exit)
  return Effect.flatMap(
    Effect.raceFirst(Fiber.await(fiber), Effect.as(Effect.sleep(limit), undefined)),
    (exit) => {
      if (exit !== undefined) return over(exit) ?? Effect.void
      fiber.interruptUnsafe() // not waited for: it may refuse
      return failed(observer, which, Effect.die(new Error(`it ran longer than ${limit} ms and was interrupted`)))
    }
  )
}

const failed = (observer: Observer<any>, which: string, effect: Effect.Effect<unknown>): Effect.Effect<void> =>
  Effect.catchCause(effect, (cause) =>
    Effect.andThen(
      Metric.update(Metric.withAttributes(failures, { observer: observer.name, hook: which }), 1),
      Effect.logWarning(`the ${which} hook of observer ${observer.name} failed; the job goes on`, cause)
    )) as Effect.Effect<void>
