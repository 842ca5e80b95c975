/** How a worker asks for jobs: on demand, in batches, from the queues that it was given. */
import { assert, describe, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Capability from "windlass/Capability"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { compose } from "../../src/internal/worker/chain.ts"
import { follow, record, scenario, spy, startWorker } from "../support/backends.ts"

class A extends Task.make("A", { payload: { n: Schema.Number } }) {}
class B extends Task.make("B", { payload: { n: Schema.Number }, queue: "b" }) {}
const many = (count: number) => Array.from({ length: count }, (_, n) => ({ n }))

describe("claims and settlements", () => {
  scenario(
    "a hundred short jobs at concurrency 25 take few round trips: what is over is settled with the next claim",
    () =>
      Effect.gen(function*() {
        const watched = yield* spy()
        yield* A.enqueueMany(many(100))
        const report = yield* Worker.launch(
          Worker.layer(TaskGroup.make(A), { mode: "drain", concurrency: 25 })
            .pipe(Layer.provide(A.toLayer(() => Effect.void)), Layer.provide(watched.layer))
        )
        assert.strictEqual(report.succeeded, 100)
        // 25 + 25 settled with 25 claimed + ... + 25 settled with nothing claimed; where batches are cheaper the larger, they
        // grow after two whose jobs ended at once
        assert.include(["25,25,25,25", "25,25,50"], watched.batches.join())
        assert.isAtMost(watched.calls(), 6)
      })
  )

  scenario(
    "an idle worker makes no calls until there is something, and a job is picked up at once",
    () =>
      Effect.gen(function*() {
        const watched = yield* spy()
        const worker = yield* startWorker(
          Worker.layer(TaskGroup.make(A)).pipe(
            Layer.provide(A.toLayer(() => Effect.void)),
            Layer.provide(watched.layer)
          )
        )
        const events = yield* follow(worker)
        yield* TestClock.adjust("1 hour")
        const idle = watched.calls()
        assert.isAtMost(idle, 2)
        yield* A.enqueue({ n: 1 })
        yield* events.until("Succeeded")
        assert.isAtMost(watched.calls(), idle + 3)
      })
  )

  scenario("batches keep to the limits of the backend", () =>
    Effect.gen(function*() {
      const watched = yield* spy()
      yield* A.enqueueMany(many(20))
      const report = yield* Worker.launch(
        Worker.layer(TaskGroup.make(A), { mode: "drain", concurrency: 20 })
          .pipe(Layer.provide(A.toLayer(() => Effect.void)), Layer.provide(watched.layer))
      )
      assert.strictEqual(report.succeeded, 20)
      for (const claim of watched.claims) assert.isAtMost(claim.max, 7)
      for (const batch of watched.batches) assert.isAtMost(batch, 3)
    }), { limits: { takeBatch: 7, settleBatch: 3 } })
})

describe("queues", () => {
  scenario(
    "a worker claims from the queues of its tasks, or from those that it was told",
    () =>
      Effect.gen(function*() {
        const [a] = yield* A.enqueueMany(many(1))
        const [b] = yield* B.enqueueMany(many(1))
        const live = Layer.mergeAll(A.toLayer(() => Effect.void), B.toLayer(() => Effect.void))
        const group = TaskGroup.make(A, B)
        yield* Worker.launch(Worker.layer(group, { mode: "drain", queues: ["b"] }).pipe(Layer.provide(live)))
        assert.deepStrictEqual([(yield* record(a!)).state, (yield* record(b!)).state], ["ready", "succeeded"])
        yield* Worker.launch(Worker.layer(group, { mode: "drain" }).pipe(Layer.provide(live)))
        assert.strictEqual((yield* record(a!)).state, "succeeded")
      })
  )

  scenario("a busy queue does not starve another one of the worker's slots", () =>
    Effect.gen(function*() {
      const order: Array<string> = []
      const live = Layer.mergeAll(
        A.toLayer(() => Effect.andThen(Effect.yieldNow, Effect.sync(() => void order.push("a")))),
        B.toLayer(() => Effect.andThen(Effect.yieldNow, Effect.sync(() => void order.push("b"))))
      )
      yield* A.enqueueMany(many(50))
      yield* B.enqueueMany(many(5))
      yield* Worker.launch(
        Worker.layer(TaskGroup.make(A, B), { mode: "drain", concurrency: 2 }).pipe(Layer.provide(live))
      )
      assert.strictEqual(order.length, 55)
      assert.isBelow(order.lastIndexOf("b"), 30)
    }))

  scenario("a paused queue hands nothing out; resumed, it goes on", () =>
    Effect.gen(function*() {
      const pause = yield* Capability.Pause
      yield* pause.set("default", true)
      const worker = yield* startWorker(
        Worker.layer(TaskGroup.make(A)).pipe(Layer.provide(A.toLayer(() => Effect.void)))
      )
      const events = yield* follow(worker)
      yield* A.enqueue({ n: 1 })
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(events.tags, [])
      yield* pause.set("default", false)
      yield* TestClock.adjust("1 second")
      yield* events.until("Succeeded")
    }))
})

describe("drain mode", () => {
  scenario(
    "ends when nothing that is due is left anywhere, also when handlers enqueue into each other's queues",
    () =>
      Effect.gen(function*() {
        const live = Layer.mergeAll(
          A.toLayer(({ n }) => n === 0 ? Effect.void : Effect.asVoid(Effect.orDie(B.enqueue({ n: n - 1 })))),
          B.toLayer(({ n }) =>
            n === 0
              ? Effect.void
              : Effect.andThen(Effect.yieldNow, Effect.asVoid(Effect.orDie(A.enqueue({ n: n - 1 }))))
          )
        )
        yield* A.enqueue({ n: 20 })
        const report = yield* Worker.launch(
          Worker.layer(TaskGroup.make(A, B), { mode: "drain" }).pipe(Layer.provide(live))
        )
        assert.deepStrictEqual([report.succeeded, report.claimed, report.failure], [21, 21, undefined])
      })
  )

  scenario("ends at once on empty queues, and waits for what still runs", () =>
    Effect.gen(function*() {
      const options = { mode: "drain" } as const
      const empty = yield* Worker.launch(
        Worker.layer(TaskGroup.make(A), options).pipe(Layer.provide(A.toLayer(() => Effect.void)))
      )
      assert.strictEqual(empty.claimed, 0)
      const go = yield* Deferred.make<void>()
      const started = yield* Deferred.make<void>()
      yield* A.enqueue({ n: 1 })
      const live = A.toLayer(() => Effect.andThen(Deferred.succeed(started, undefined), Deferred.await(go)))
      const worker = yield* startWorker(Worker.layer(TaskGroup.make(A), options).pipe(Layer.provide(live)))
      yield* Deferred.await(started)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* worker.health).running, 1)
      yield* Deferred.succeed(go, undefined)
      assert.strictEqual((yield* worker.await).succeeded, 1)
    }))
})

describe("settings from configuration", () => {
  const settings = {
    concurrency: Config.Int("CONCURRENCY"),
    shutdownGrace: Config.Duration("GRACE"),
    mode: Config.Literals(["forever", "drain"], "MODE")
  }
  const layer = Worker.layerConfig(TaskGroup.make(A), settings, { id: "configured" }).pipe(
    Layer.provide(A.toLayer(() => Effect.void))
  )
  const from = (config: Record<string, string>) =>
    Layer.succeed(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown(config))

  scenario("layerConfig reads them; middleware and gates stay code", () =>
    Effect.gen(function*() {
      const watched = yield* spy()
      yield* A.enqueueMany(many(10))
      const report = yield* Effect.provide(
        Worker.launch(layer.pipe(Layer.provide(watched.layer))),
        from({ CONCURRENCY: "3", GRACE: "5 seconds", MODE: "drain" })
      )
      assert.deepStrictEqual([report.worker, report.succeeded], ["configured", 10])
      assert.strictEqual(watched.claims[0]?.max, 3)
    }))

  scenario("what is missing or wrong is a ConfigError, and nothing is claimed", () =>
    Effect.gen(function*() {
      const id = yield* A.enqueue({ n: 1 })
      const error = yield* Effect.flip(
        Effect.provide(Worker.launch(layer), from({ CONCURRENCY: "many", GRACE: "1 second" }))
      )
      assert.include(error._tag, "ConfigError")
      assert.strictEqual((yield* record(id)).state, "ready")
    }))
})

describe("the chain", () => {
  scenario("is resolved once, when the worker starts, not per job", () =>
    Effect.gen(function*() {
      let resolved = 0
      let runs = 0
      const inline = Middleware.make("inline", (next, input) =>
        Effect.suspend(() => {
          runs++
          return next(input)
        }))
      const counted = Object.create(Object.getPrototypeOf(inline), {
        ...Object.getOwnPropertyDescriptors(inline),
        wrap: { enumerable: true, get: () => (resolved++, inline.wrap) }
      }) as typeof inline
      class Work extends Task.make("Work", { payload: { n: Schema.Number }, middleware: [counted] }) {}
      yield* Work.enqueueMany(many(50))
      const report = yield* Worker.launch(
        Worker.layer(TaskGroup.make(Work), { mode: "drain" }).pipe(Layer.provide(Work.toLayer(() => Effect.void)))
      )
      assert.strictEqual(report.succeeded, 50)
      assert.strictEqual(runs, 50)
      assert.strictEqual(resolved, 1)
    }))

  it("of a task without middleware is the body itself (L6)", () => {
    const body = () => Effect.void
    assert.strictEqual(compose([], body), body)
  })
})
