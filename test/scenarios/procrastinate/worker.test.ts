/** A worker as Procrastinate's users know it: defaults of an app, stop from anywhere, reasons of an abort, action names. */
import { assert, describe, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Capability from "windlass/Capability"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import { TestWorker } from "windlass/testing"
import * as Worker from "windlass/Worker"
import { follow, publishRaw, record, scenario, spy, startWorker } from "../../support/backends.ts"
import { everywhere } from "../../support/everywhere.ts"

class Work extends Task.make("Work", { payload: { n: Schema.Number } }) {}
const group = TaskGroup.make(Work)
const live = Work.toLayer(() => Effect.void)
const many = (count: number) => Array.from({ length: count }, (_, n) => ({ n }))

class Trail extends Context.Service<Trail, { readonly add: (name: string) => Effect.Effect<void> }>()("test/Trail") {}
const trail = () => {
  const names: Array<string> = []
  return { names, layer: Layer.succeed(Trail, { add: (name) => Effect.sync(() => void names.push(name)) }) }
}
const leaves = (name: string) =>
  Middleware.make(name, (next, input) => Effect.andThen(Effect.flatMap(Trail, ({ add }) => add(name)), next(input)))

describe("defaults of an app", () => {
  scenario(
    "hold where a worker says nothing; what it says replaces them, setting by setting",
    () =>
      Effect.gen(function*() {
        const defaults = Worker.defaults({ concurrency: 3, mode: "drain", logJobs: false })
        const most = (options?: Worker.Settings) =>
          Effect.gen(function*() {
            const watched = yield* spy()
            yield* Work.enqueueMany(many(9))
            yield* Worker.launch(
              Worker.layer(group, options).pipe(Layer.provide([live, defaults]), Layer.provide(watched.layer))
            )
            return watched.claims[0]?.max
          })
        assert.strictEqual(yield* most(), 3)
        assert.strictEqual(yield* most({ concurrency: 5 }), 5)
        assert.strictEqual(yield* most({ concurrency: undefined }), 3)
      })
  )

  scenario(
    "configuration wins over options, options over defaults, inner defaults over outer ones",
    () =>
      Effect.gen(function*() {
        const watched = yield* spy()
        yield* Work.enqueueMany(many(12))
        const worker = Worker.layerConfig(
          group,
          { concurrency: Config.withDefault(Config.Int("CONCURRENCY"), undefined) },
          { concurrency: 5 }
        ).pipe(
          Layer.provide([live, Worker.defaults({ mode: "drain" })]),
          Layer.provide(Worker.defaults({ concurrency: 3, mode: "forever" })),
          Layer.provide(watched.layer)
        )
        const from = (env: Record<string, string>) => ConfigProvider.layer(ConfigProvider.fromUnknown(env))
        yield* Effect.provide(Worker.launch(worker), from({ CONCURRENCY: "2" }))
        assert.strictEqual(watched.claims[0]?.max, 2)
        yield* Work.enqueueMany(many(12))
        const before = watched.claims.length
        yield* Effect.provide(Worker.launch(worker), from({}))
        assert.strictEqual(watched.claims[before]?.max, 5)
      })
  )

  scenario(
    "a list of middleware is replaced, never extended, and the services of the defaults come along with theirs",
    () =>
      Effect.gen(function*() {
        const { layer, names } = trail()
        const other = trail()
        const defaults = Worker.defaults({ mode: "drain", middleware: [leaves("outer"), leaves("inner")] }).pipe(
          Layer.provide(layer)
        )
        yield* Work.enqueue({ n: 1 })
        yield* Worker.launch(Worker.layer(group).pipe(Layer.provide([live, defaults])))
        assert.deepStrictEqual(names.splice(0), ["outer", "inner"])
        yield* Work.enqueue({ n: 2 })
        yield* Worker.launch(
          Worker.layer(group, { middleware: [leaves("own")] }).pipe(Layer.provide([live, defaults, other.layer]))
        )
        assert.deepStrictEqual([names, other.names], [[], ["own"]])
        yield* Work.enqueue({ n: 3 })
        yield* Worker.launch(Worker.layer(group, { middleware: [] }).pipe(Layer.provide([live, defaults])))
        assert.deepStrictEqual(names, [])
      })
  )

  scenario(
    "take what a worker's list takes: declared middleware, delivery middleware and observers, in its order",
    () =>
      Effect.gen(function*() {
        const { layer, names } = trail()
        const say = (name: string) => Effect.flatMap(Trail, ({ add }) => add(name))
        class Audit extends Middleware.Service<Audit>()("test/Audit") {}
        const AuditLive = Layer.effect(
          Audit,
          Effect.map(
            Trail,
            ({ add }): Audit["Service"] => (next, input) => Effect.andThen(add("declared"), next(input))
          )
        )
        const watching = Middleware.observe({
          name: "watching",
          before: () => say("observer")
        })
        const around = Middleware.delivery(
          "around",
          (next, delivery) => Effect.andThen(say("delivery"), next(delivery))
        )
        const defaults = Worker.defaults({ mode: "drain", middleware: [Audit, around, watching] }).pipe(
          Layer.provide(AuditLive),
          Layer.provide(layer)
        )
        yield* Work.enqueue({ n: 1 })
        const report = yield* Worker.launch(Worker.layer(group).pipe(Layer.provide([live, defaults])))
        assert.deepStrictEqual([report.succeeded, ...names], [1, "observer", "delivery", "declared"])
      })
  )

  it.effect("hold for the worker under test as well", () =>
    Effect.gen(function*() {
      const { layer, names } = trail()
      const defaults = Worker.defaults({ middleware: [leaves("app")] }).pipe(Layer.provide(layer))
      yield* Effect.gen(function*() {
        yield* Work.enqueue({ n: 1 })
        yield* TestWorker.drain()
      }).pipe(Effect.provide(TestWorker.layer(group).pipe(Layer.provide([live, defaults]))))
      assert.deepStrictEqual(names, ["app"])
    }))
})

describe("why an attempt should stop", () => {
  everywhere(
    "a user's abort and a shutdown are told apart: the first is never retried though it failed, the second may be",
    () =>
      Effect.gen(function*() {
        const reasons: Array<string | undefined> = []
        const running = Latch.makeUnsafe(false)
        class Long extends Task.make("Long", {
          error: Schema.String,
          retry: { schedule: Schedule.forever, maxAttempts: 5 },
          onInterrupted: "retry"
        }) {}
        const long = Long.toLayer(() =>
          Effect.gen(function*() {
            const job = yield* Job.Current
            yield* running.open
            // catches the interruption, and fails with an error of its own
            return yield* Effect.uninterruptibleMask((restore) =>
              Effect.catchCause(restore(Effect.never), () => {
                reasons.push(job.stopping)
                return Effect.fail("stopped half-way")
              })
            )
          })
        )
        const worker = Worker.layer(TaskGroup.make(Long), { shutdownGrace: 0 }).pipe(Layer.provide(long))
        const cancel = yield* Capability.Cancel

        const aborted = yield* Long.enqueue()
        const one = yield* startWorker(worker)
        const events = yield* follow(one)
        yield* running.await
        assert.strictEqual(yield* cancel.request(aborted), "Requested")
        yield* events.until("Aborted", { id: aborted })
        const first = yield* one.stop
        assert.deepStrictEqual([first.aborted, first.retried, first.dead], [1, 0, 0])
        assert.deepInclude(yield* record(aborted), { state: "aborted", attempt: 1 })

        running.closeUnsafe()
        const shut = yield* Long.enqueue()
        const two = yield* startWorker(worker)
        yield* running.await
        const second = yield* two.stop
        assert.deepStrictEqual([second.aborted, second.dead], [0, 0])
        assert.deepInclude(yield* record(shut), { state: "ready", attempt: 2 })
        assert.deepStrictEqual(reasons, ["aborted", "shutdown"])
      })
  )
})

describe("worker.stop", () => {
  scenario(
    "from a middleware: asked by every job, before, after and again, it drains once and harms nobody",
    () =>
      Effect.gen(function*() {
        const stopping = Middleware.make("stopping", (next, input, job) =>
          Effect.gen(function*() {
            yield* job.worker.stop
            const result = yield* next(input)
            yield* job.worker.stop
            return result
          }))
        const ids = yield* Work.enqueueMany(many(4))
        let handle: Job.Job["worker"] | undefined
        const keeping = Work.toLayer(() => Effect.map(Job.Current, ({ worker }) => void (handle = worker)))
        const report = yield* Worker.launch(
          Worker.layer(group, { concurrency: 1, middleware: [stopping] }).pipe(Layer.provide(keeping))
        )
        assert.deepStrictEqual([report.succeeded, report.interrupted, report.failure], [1, 0, undefined])
        const left = yield* Effect.forEach(ids, (id) => record(id))
        assert.deepStrictEqual(left.map(({ state }) => state), ["succeeded", "ready", "ready", "ready"])
        // the worker is over: asking a handle that somebody kept is harmless
        yield* handle!.stop
      })
  )

  scenario(
    "from another fiber, before the worker has claimed anything and while it waits",
    () =>
      Effect.gen(function*() {
        const worker = yield* startWorker(Worker.layer(group).pipe(Layer.provide(live)))
        const stops = yield* Effect.forEach([1, 2, 3], () => Effect.forkChild(worker.stop))
        const reports = yield* Effect.forEach(stops, Fiber.join)
        assert.deepStrictEqual(reports.map(({ claimed }) => claimed), [0, 0, 0])
      })
  )
})

describe("the worker's own lines about jobs", () => {
  scenario(
    "each has an action: INFO for an attempt that is retried, ERROR for the final failure alone",
    () =>
      Effect.gen(function*() {
        const lines: Array<readonly [level: string, action: unknown, task: unknown]> = []
        const logger = Logger.make<unknown, void>(({ fiber, logLevel }) => {
          const annotations = fiber.getRef(References.CurrentLogAnnotations)
          if (annotations["job"] !== undefined) lines.push([logLevel, annotations["action"], annotations["task"]])
        })
        class Fails extends Task.make("Fails", { error: Schema.String, retry: Schedule.recurs(1) }) {}
        yield* Fails.enqueue()
        yield* Worker.launch(
          Worker.layer(TaskGroup.make(Fails), { mode: "drain" }).pipe(
            Layer.provide(Fails.toLayer(() => Effect.fail("no")))
          )
        ).pipe(Effect.provide(Logger.layer([logger])))
        yield* publishRaw({ id: "x", task: "Nobody" })
        yield* Worker.launch(
          Worker.layer(TaskGroup.make(Fails), { mode: "drain" }).pipe(Layer.provide(Fails.toLayer(() => Effect.void)))
        ).pipe(Effect.provide(Logger.layer([logger])))
        assert.deepStrictEqual(lines, [
          ["Info", "job_error_retry", "Fails"],
          ["Error", "job_error", "Fails"],
          ["Warn", "task_not_found", "Nobody"]
        ])
      })
  )
})
