import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import * as MemoryBackend from "../../src/backends/MemoryBackend.ts"
import * as Enqueue from "../../src/Enqueue.ts"
import * as Timing from "../../src/middleware/Timing.ts"
import type { Outcome } from "../../src/Outcome.ts"
import * as Task from "../../src/Task.ts"
import * as TaskGroup from "../../src/TaskGroup.ts"
import * as Worker from "../../src/Worker.ts"
import { Boom, deliveryOf, observe, retried } from "./support.ts"

class Slow extends Task.make("Slow", {
  payload: { millis: Schema.Number, failing: Schema.Boolean },
  error: Boom,
  retry: Schedule.spaced("1 hour").pipe(Schedule.upTo({ times: 1 }))
}) {}
const SlowLive = Slow.toLayer(({ failing, millis }) =>
  Effect.andThen(Effect.sleep(millis), failing ? Effect.fail(new Boom({ why: "asked to" })) : Effect.void)
)

describe("Timing", () => {
  it.effect("measures what it stands around, alone", () =>
    Effect.gen(function*() {
      const seen: Array<Timing.Timing> = []
      const timing = Timing.observer({ onTiming: (t) => void seen.push(t) })
      yield* TestClock.setTime(10_000)
      yield* observe(timing, retried(new Boom({ why: "x" })), {
        delivery: deliveryOf({ enqueuedAt: 7_000, scheduledFor: 9_500 }),
        inside: TestClock.adjust(250)
      })
      assert.deepStrictEqual(seen, [
        { id: "job-1", task: "Send", queue: "default", attempt: 1, waitMillis: 500, runMillis: 250, outcome: "Retried" }
      ])
    }))

  it.effect("an effect as hook is run, and a wait is never negative", () =>
    Effect.gen(function*() {
      const seen: Array<number | undefined> = []
      const timing = Timing.observer({ onTiming: (t) => Effect.sync(() => void seen.push(t.waitMillis)) })
      yield* observe(timing, retried(1), { delivery: deliveryOf({ enqueuedAt: 5_000 }) })
      yield* observe(timing, retried(1), { delivery: deliveryOf({ enqueuedAt: 0, attempt: 2 }) })
      yield* observe(timing, retried(1), { delivery: deliveryOf({ enqueuedAt: undefined }) })
      assert.deepStrictEqual(seen, [0, undefined, undefined])
    }))

  it.effect("with a worker, wait and run of every attempt, on the worker's clock", () =>
    Effect.gen(function*() {
      const { observer, summary } = Timing.collector()
      const seen: Array<Timing.Timing> = []
      const also = Timing.observer({ onTiming: (t) => void seen.push(t) })
      yield* Effect.gen(function*() {
        yield* Slow.enqueue({ millis: 100, failing: false })
        yield* Slow.enqueue({ millis: 40, failing: false }) // waits for the first: concurrency 1
        yield* TestClock.adjust("1 second")
        yield* Slow.enqueue({ millis: 30, failing: true }).pipe(Enqueue.delay("1 minute"))
        yield* TestClock.adjust("3 hours")
        yield* Worker.stop
      }).pipe(Effect.provide(
        Worker.layer(TaskGroup.make(Slow), { concurrency: 1, middleware: [observer, also] }).pipe(
          Layer.provide(SlowLive),
          Layer.provideMerge(MemoryBackend.layer)
        )
      ))
      assert.deepStrictEqual(
        seen.map((t) => [t.attempt, t.waitMillis, t.runMillis, t.outcome]),
        [[1, 0, 100, "Succeeded"], [1, 100, 40, "Succeeded"], [1, 0, 30, "Retried"], [2, undefined, 30, "Dead"]]
      )
      assert.deepStrictEqual(summary(), [{
        task: "Slow",
        outcomes: { Succeeded: 2, Retried: 1, Dead: 1 },
        wait: { count: 3, p50: 0, p95: 100, p99: 100, max: 100 },
        run: { count: 4, p50: 30, p95: 100, p99: 100, max: 100 }
      }])
    }))

  it.effect("percentiles are those of the last ones kept, counts and maxima those of all", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          fc.array(fc.nat(1_000), { minLength: 1, maxLength: 60 }),
          fc.integer({ min: 1, max: 20 }),
          (millis, keep) =>
            Effect.runPromise(
              Effect.gen(function*() {
                const { observer, summary } = Timing.collector({ keep })
                const outcome: Outcome = { _tag: "Snoozed", after: 0, reason: "x" }
                for (const n of millis) yield* observe(observer, outcome, { inside: TestClock.adjust(n) })
                const [{ run }] = summary() as [Timing.Summary]
                const kept = millis.slice(-keep).sort((a, b) => a - b)
                assert.strictEqual(run.count, millis.length)
                assert.strictEqual(run.max, Math.max(...millis))
                // the nearest rank: the least value that p of all are not above
                for (const [p, value] of [[0.5, run.p50], [0.95, run.p95], [0.99, run.p99]] as const) {
                  assert.include(kept, value)
                  assert.isAtLeast(kept.filter((n) => n <= value).length, kept.length * p)
                  assert.isBelow(kept.filter((n) => n < value).length, kept.length * p)
                }
              }).pipe(Effect.provide(TestClock.layer()))
            )
        ),
        { numRuns: 100 }
      )
    ))
})
