import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Layer, Metric, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Backend } from "../../src/Backend.ts"
import * as MemoryBackend from "../../src/backends/MemoryBackend.ts"
import * as Decide from "../../src/Decide.ts"
import * as Metrics from "../../src/middleware/Metrics.ts"
import * as Task from "../../src/Task.ts"
import * as TaskGroup from "../../src/TaskGroup.ts"
import * as Worker from "../../src/Worker.ts"
import { Boom, dead, deliveryOf, envelopeOf, observe, retried } from "./support.ts"

class Work extends Task.make("Work", {
  payload: { how: Schema.String },
  error: Boom,
  aliases: ["OldWork"],
  retry: Schedule.spaced("1 minute").pipe(Schedule.upTo({ times: 1 }))
}) {}

/** every series as `name{attributes}` with its count or value */
const series = Effect.map(Metric.snapshot, (all) =>
  Object.fromEntries(
    all.filter((one) => one.id.startsWith("windlass_job")).map((one) => {
      const attributes = Object.entries(one.attributes ?? {}).filter(([name]) => name !== "unit")
      const state = one.state as { readonly count?: number; readonly value?: number; readonly sum?: number }
      const name = `${one.id}{${attributes.map(([key, value]) => `${key}=${value}`).sort().join(",")}}`
      return [name, one.type === "Histogram" ? [state.count, state.sum] : state.count ?? state.value]
    })
  ))

/** a registry of its own, so that tests see nothing of each other */
const own = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => Effect.provideService(self, Metric.MetricRegistry, new Map()))

describe("Metrics", () => {
  it.effect("counts, times and the gauge, alone", () =>
    own(Effect.gen(function*() {
      const metrics = Metrics.observer({ attributes: { service: "s" }, boundaries: [0.1, 1] })
      yield* TestClock.setTime(2_000)
      const options = { delivery: deliveryOf({ enqueuedAt: 1_500, queue: "q" }), definition: Work }
      yield* observe(metrics, retried("x"), {
        ...options,
        inside: Effect.flatMap(series, (now) =>
          Effect.andThen(
            Effect.sync(() => assert.deepStrictEqual(now, { "windlass_jobs_running{queue=q,service=s}": 1 })),
            TestClock.adjust(250)
          ))
      })
      yield* observe(metrics, dead("x", "poison"), { delivery: deliveryOf({ queue: "q", attempt: 2 }) })
      assert.deepStrictEqual(yield* series, {
        "windlass_jobs_running{queue=q,service=s}": 0,
        "windlass_jobs_total{outcome=retried,queue=q,service=s,task=Send}": 1,
        "windlass_job_run_seconds{queue=q,service=s,task=Send}": [1, 0.25],
        "windlass_job_wait_seconds{queue=q,service=s,task=Send}": [1, 0.5],
        "windlass_jobs_retried_total{queue=q,service=s,task=Send}": 1,
        // nobody here knows its task
        "windlass_jobs_total{outcome=dead,queue=q,service=s,task=<unknown>}": 1,
        "windlass_job_run_seconds{queue=q,service=s,task=<unknown>}": [1, 0],
        "windlass_jobs_dead_total{queue=q,reason=poison,service=s,task=<unknown>}": 1
      })
    })))

  it.effect("with a worker: retries, dead letters by reason, and what runs now; an alias counts as its task", () =>
    own(Effect.gen(function*() {
      const running = yield* Deferred.make<void>()
      const gate = yield* Deferred.make<void>()
      const live = Work.toLayer(({ how }) =>
        Effect.gen(function*() {
          yield* Effect.sleep("200 millis")
          if (how === "fail") return yield* new Boom({ why: "x" })
          if (how === "discard") return yield* Decide.discard()
          if (how === "wait") {
            yield* Deferred.succeed(running, undefined)
            yield* Deferred.await(gate)
          }
        })
      )
      yield* Effect.gen(function*() {
        const backend = yield* Backend
        for (const how of ["ok", "fail", "discard"]) yield* Work.enqueue({ how })
        yield* backend.publish("default", [
          { envelope: envelopeOf({ id: "a", task: "OldWork", payload: "{\"how\":\"ok\"}" }) },
          { envelope: envelopeOf({ id: "b", task: "Work", payload: "no" }) }
        ])
        yield* TestClock.adjust("1 hour")
        yield* Work.enqueue({ how: "wait" })
        yield* TestClock.adjust("1 second")
        yield* Deferred.await(running)
        assert.strictEqual((yield* series)["windlass_jobs_running{queue=default}"], 1)
        yield* Deferred.succeed(gate, undefined)
        yield* Worker.stop
      }).pipe(Effect.provide(
        Worker.layer(TaskGroup.make(Work), { middleware: [Metrics.observer()] }).pipe(
          Layer.provide(live),
          Layer.provideMerge(MemoryBackend.layer)
        )
      ))
      const all = yield* series
      assert.deepInclude(all, {
        "windlass_jobs_running{queue=default}": 0,
        "windlass_jobs_total{outcome=succeeded,queue=default,task=Work}": 3,
        "windlass_jobs_total{outcome=discarded,queue=default,task=Work}": 1,
        "windlass_jobs_total{outcome=retried,queue=default,task=Work}": 1,
        "windlass_jobs_total{outcome=dead,queue=default,task=Work}": 2,
        "windlass_jobs_retried_total{queue=default,task=Work}": 1,
        "windlass_jobs_dead_total{queue=default,reason=failed,task=Work}": 1,
        "windlass_jobs_dead_total{queue=default,reason=undecodable,task=Work}": 1
      })
      // six first attempts waited, seven hand-outs ran
      assert.strictEqual((all["windlass_job_wait_seconds{queue=default,task=Work}"] as Array<number>)[0], 6)
      const [count, sum] = all["windlass_job_run_seconds{queue=default,task=Work}"] as [number, number]
      assert.strictEqual(count, 7)
      assert.approximately(sum, 5 * 0.2 + 1, 1e-9)
    })))
})
