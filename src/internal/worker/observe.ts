/**
 * Observers around the delivery point. Each hook runs in a fiber of its own for at most one second; whatever becomes of
 * it, the job's outcome stands (L11). A hook that ends synchronously costs no waiting.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import type { Observed, Observer } from "../../Middleware.ts"
import type { Delivered } from "./deliver.ts"
import type { Run } from "./run.ts"

/** hooks of observers that died, were interrupted or ran out of time */
const failures = Metric.counter("windlass_observer_failures", { incremental: true })

/** @internal */
export const observed = (
  observers: ReadonlyArray<Observer<any>>,
  context: Context.Context<never>,
  worker: string,
  limit: number,
  deliver: (run: Run) => Effect.Effect<Delivered, never, any>
): (run: Run) => Effect.Effect<Delivered, never, any> => {
  if (observers.length === 0) return deliver
  const clock = Context.get(context, Clock.Clock)
  return (run) =>
    Effect.suspend(() => {
      const seen: Observed = {
        get delivery() {
          return run.delivery
        },
        get task() {
          return run.task
        },
        get payload() {
          return run.payload
        },
        get definition() {
          return run.resolved?.task
        },
        startedAt: run.startedAt,
        clock,
        worker
      }
      // per observer what its `before` returned; absent when that did not complete
      const befores = new Map<Observer<any>, unknown>()
      const before = each(observers, (observer) => {
        if (observer.before === undefined) {
          befores.set(observer, undefined)
          return undefined
        }
        return hook(context, observer, "before", limit, () =>
          observer.before!(seen), (value) =>
          befores.set(observer, value))
      })
      const inner = Effect.flatMap(deliver(run), (delivered) => {
        const after = each(observers.toReversed(), (observer) =>
          observer.after === undefined || !befores.has(observer)
            ? undefined
            : hook(context, observer, "after", limit, () =>
              observer.after!(delivered.outcome, befores.get(observer), seen), () => {}))
        return after === undefined ? Effect.succeed(delivered) : Effect.as(after, delivered)
      })
      return before === undefined ? inner : Effect.andThen(before, inner)
    })
}

/** Runs the hooks in order; undefined when all of them were over at once. */
const each = <A>(
  items: ReadonlyArray<A>,
  f: (item: A) => Effect.Effect<void> | undefined
): Effect.Effect<void> | undefined => {
  for (let i = 0; i < items.length; i++) {
    const waiting = f(items[i]!)
    if (waiting !== undefined) {
      return Effect.andThen(waiting, Effect.suspend(() => each(items.slice(i + 1), f) ?? Effect.void))
    }
  }
  return undefined
}

/** One hook: undefined when it is over already, else the wait for it, which never fails. */
const hook = (
  context: Context.Context<never>,
  observer: Observer<any>,
  which: "before" | "after",
  limit: number,
  run: () => unknown,
  done: (value: unknown) => void
): Effect.Effect<void> | undefined => {
  let result: unknown
  try {
    result = run()
  } catch (defect) {
    return failed(observer, which, Effect.die(defect))
  }
  if (!Effect.isEffect(result)) {
    done(result)
    return undefined
  }
  const fiber = Effect.runForkWith(context)(result as Effect.Effect<unknown>)
  const exit = fiber.pollUnsafe()
  if (exit !== undefined) {
    if (exit._tag === "Failure") return failed(observer, which, exit)
    done(exit.value)
    return undefined
  }
  return Effect.flatMap(
    Effect.raceFirst(Fiber.await(fiber), Effect.as(Effect.sleep(limit), undefined)),
    (exit) => {
      if (exit === undefined) {
        fiber.interruptUnsafe() // not waited for: it may refuse
        return failed(observer, which, Effect.die(new Error(`it ran longer than ${limit} ms and was interrupted`)))
      }
      if (exit._tag === "Failure") return failed(observer, which, exit)
      return Effect.sync(() => done(exit.value))
    }
  )
}

const failed = (observer: Observer<any>, which: string, effect: Effect.Effect<unknown>): Effect.Effect<void> =>
  Effect.catchCause(effect, (cause) =>
    Effect.andThen(
      Metric.update(Metric.withAttributes(failures, { observer: observer.name, hook: which }), 1),
      Effect.logWarning(`the ${which} hook of observer ${observer.name} failed; the job goes on`, cause)
    )) as Effect.Effect<void>
