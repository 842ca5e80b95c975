/** Part A of the scenarios: how middleware composes, and in which order it runs. */
import { assert, describe } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Enqueue from "windlass/Enqueue"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { publishRaw, record, scenario, startWorker } from "../support/backends.ts"

/** a middleware that writes down when it is entered and left */
const mark = (trace: Array<string>, name: string) => Middleware.make(name, marked(trace, name))

const marked = (trace: Array<string>, name: string): Middleware.Wrap => (next, input) =>
  Effect.suspend(() => {
    trace.push(`${name} before`)
    return Effect.tap(next(input), () => Effect.sync(() => trace.push(`${name} after`)))
  })

/** a task's own wrap that does the same */
const ownMark = <I, A, E>(trace: Array<string>, name: string): Task.OwnWrap<I, A, E, never, never> => (next, payload) =>
  Effect.suspend(() => {
    trace.push(`${name} before`)
    return Effect.tap(next(payload), () => Effect.sync(() => trace.push(`${name} after`)))
  })

const nested = (...names: ReadonlyArray<string>) => [
  ...names.map((name) => `${name} before`),
  "handler",
  ...names.toReversed().map((name) => `${name} after`)
]

describe("composition and order", () => {
  scenario(
    "PROC-02 a list reads from the outside in, and the task's result comes out (L5)",
    () =>
      Effect.gen(function*() {
        const trace: Array<string> = []
        class Echo extends Task.make("Echo", {
          payload: { n: Schema.Number },
          success: Schema.Number,
          middleware: [mark(trace, "a"), mark(trace, "b")]
        }) {}
        const live = Echo.toLayer(({ n }) => Effect.sync(() => (trace.push("handler"), n + 1)))
        yield* startWorker(Worker.layer(TaskGroup.make(Echo)).pipe(Layer.provide(live)))
        assert.strictEqual(yield* Echo.execute({ n: 41 }), 42)
        assert.deepStrictEqual(trace, nested("a", "b"))
      })
  )

  scenario(
    "PROC-03 worker > group > task > the task's own wraps > handler, both ways (L5)",
    () =>
      Effect.gen(function*() {
        const trace: Array<string> = []
        const Shared = TaskGroup.shared("shared", { middleware: [mark(trace, "group")] })
        const Job = Shared.make("Job", { middleware: [mark(trace, "task")] }).wrap(ownMark(trace, "own"))
        const live = Job.toLayer(() => Effect.sync(() => void trace.push("handler")))
        yield* startWorker(
          Worker.layer(TaskGroup.make(Job), { middleware: [mark(trace, "worker")] }).pipe(Layer.provide(live))
        )
        yield* Job.execute()
        assert.deepStrictEqual(trace, nested("worker", "group", "task", "own"))
      })
  )

  scenario(
    "PROC-04 a task's own wrap replaces the result, an outer middleware sees the replaced one",
    () =>
      Effect.gen(function*() {
        const seen: Array<unknown> = []
        const recorder = Middleware.make(
          "recorder",
          Middleware.hooks({ after: (exit) => Effect.sync(() => seen.push(exit)) })
        )
        const Three = Task.make("Three", { success: Schema.Number, middleware: [recorder] })
          .wrap((next, payload) => Effect.map(next(payload), (n) => n * 2))
        const live = Three.toLayer(() => Effect.succeed(3))
        const worker = yield* startWorker(Worker.layer(TaskGroup.make(Three)).pipe(Layer.provide(live)))
        assert.strictEqual(yield* Three.execute(), 6)
        assert.deepStrictEqual(seen, [Exit.succeed(6)])
        assert.strictEqual((yield* worker.stop).succeeded, 1)
      })
  )

  scenario(
    "PROC-07 what is no middleware fails the construction of the task, the group and the worker, before any claim",
    () =>
      Effect.gen(function*() {
        const wrong = [{ wrap: () => Effect.void }] as unknown as readonly []
        for (
          const build of [
            () => Task.make("T", { middleware: wrong }),
            () => TaskGroup.shared("g", { middleware: wrong })
          ]
        ) {
          assert.throws(build, Task.InvalidTask, "entry 0 of its middleware list is no middleware (object)")
        }
        class Fine extends Task.make("Fine") {}
        let runs = 0
        const live = Fine.toLayer(() => Effect.sync(() => void runs++))
        const id = yield* Fine.enqueue()
        const error = yield* Effect.flip(startWorker(
          Worker.layer(TaskGroup.make(Fine), { middleware: wrong }).pipe(Layer.provide(live))
        ))
        assert.strictEqual(error._tag, "windlass/InvalidWorker")
        assert.include(error.message, "entry 0 of the worker's middleware list")
        assert.strictEqual((yield* record(id)).state, "ready")
        assert.strictEqual(runs, 0)
      })
  )

  scenario(
    "STAR-01 one rule for lists (first = outermost) and one for steps (each wraps what stands before it), everywhere (L5)",
    () =>
      Effect.gen(function*() {
        const trace: Array<string> = []
        const Listed = Task.make("Listed", { middleware: [mark(trace, "first"), mark(trace, "second")] })
        const Piped = Task.make("Piped").wrap(ownMark(trace, "inner step")).wrap(ownMark(trace, "outer step"))
        const live = Layer.mergeAll(
          Listed.toLayer(() => Effect.sync(() => void trace.push("handler"))),
          Piped.toLayer(() => Effect.sync(() => void trace.push("handler")))
        )
        const list = [mark(trace, "worker 1"), mark(trace, "worker 2")] as const
        yield* startWorker(Worker.layer(TaskGroup.make(Listed, Piped), { middleware: list }).pipe(Layer.provide(live)))
        yield* Listed.execute()
        assert.deepStrictEqual(trace.splice(0), nested("worker 1", "worker 2", "first", "second"))
        yield* Piped.execute()
        assert.deepStrictEqual(trace.splice(0), nested("worker 1", "worker 2", "outer step", "inner step"))

        // the enqueue point: a list is a list, and a layer added further in stands inside of what is there
        const enqueueMark = (name: string): Enqueue.Wrap => (next, batch) =>
          Effect.suspend(() => {
            trace.push(`${name} before`)
            return Effect.tap(next(batch), () => Effect.sync(() => trace.push(`${name} after`)))
          })
        yield* Listed.enqueue().pipe(
          Effect.provide(
            Enqueue.layer(enqueueMark("c")).pipe(Layer.provide(Enqueue.layer(enqueueMark("a"), enqueueMark("b"))))
          )
        )
        assert.deepStrictEqual(trace.slice(0, 6), ["a before", "b before", "c before", "c after", "b after", "a after"])
      })
  )

  scenario("AMGI-02 adding a middleware to what a worker runs is refused, never ignored", () =>
    Effect.gen(function*() {
      const trace: Array<string> = []
      const late = mark(trace, "late")
      const Plain = Task.make("Plain", { middleware: [mark(trace, "declared")] })
      const live = Plain.toLayer(() => Effect.sync(() => void trace.push("handler")))
      yield* startWorker(Worker.layer(TaskGroup.make(Plain)).pipe(Layer.provide(live)))
      yield* Plain.execute()
      // the definition is what it is
      assert.throws(() => (Plain.middleware as unknown as Array<unknown>).push(late), TypeError)
      assert.throws(() => (Plain.wraps as unknown as Array<unknown>).push(ownMark(trace, "late")), TypeError)
      assert.throws(() => Object.assign(Plain, { middleware: [late] }), TypeError)
      // a wrap makes another definition; a worker whose group has the first one does not start with the second's handler
      const Wrapped = Plain.wrap(ownMark(trace, "late"))
      const other = Wrapped.toLayer(() => Effect.void)
      const error = yield* Effect.flip(startWorker(Worker.layer(TaskGroup.make(Plain)).pipe(Layer.provide(other))))
      assert.strictEqual(error._tag, "windlass/InvalidTask")
      assert.include(error.message, "task Plain")
      assert.deepStrictEqual(trace, nested("declared"))
    }))

  scenario(
    "AMGI-03 a middleware with arguments is built once, and events that run at once share no state of a run",
    () =>
      Effect.gen(function*() {
        let built = 0
        class Limit extends Context.Service<Limit, number>()("t/Limit") {}
        class Mine extends Context.Service<Mine, { own: number }>()("t/Mine") {}
        class Counting extends Middleware.Service<Counting, { provides: Mine }>()("t/Counting") {}
        class Work extends Task.make("Work", { payload: { n: Schema.Number }, middleware: [Counting] }) {}
        const CountingLive = Layer.effect(
          Counting,
          Effect.map(Limit, (limit): Counting["Service"] => {
            built++
            return Middleware.hooks({ provides: Mine, before: () => Effect.succeed({ own: limit }) })
          })
        ).pipe(Layer.provide(Layer.succeed(Limit, 7)))
        const seen: Array<number> = []
        const started = yield* Deferred.make<void>()
        let running = 0
        const live = Work.toLayer(({ n }) =>
          Effect.gen(function*() {
            const mine = yield* Mine
            mine.own += n
            if (++running === 100) yield* Deferred.succeed(started, undefined)
            yield* Deferred.await(started) // all hundred are open at once
            seen.push(mine.own)
          })
        ).pipe(Layer.provide(CountingLive))
        yield* Work.enqueueMany(Array.from({ length: 100 }, (_, n) => ({ n })))
        const options = { concurrency: 100, mode: "drain" } as const
        const report = yield* Worker.launch(Worker.layer(TaskGroup.make(Work), options).pipe(Layer.provide(live)))
        assert.strictEqual(report.succeeded, 100)
        assert.strictEqual(built, 1)
        assert.deepStrictEqual(seen.sort((a, b) => a - b), Array.from({ length: 100 }, (_, n) => n + 7))
      })
  )

  scenario("FSQS-01 before: app, group, route; after: route, group, app (L5)", () =>
    Effect.gen(function*() {
      const trace: Array<string> = []
      const hook = (name: string) =>
        Middleware.make(
          name,
          Middleware.hooks({
            before: () => Effect.sync(() => void trace.push(`${name} before`)),
            after: () => Effect.sync(() => void trace.push(`${name} after`))
          })
        )
      const Router = TaskGroup.shared("router", { middleware: [hook("router")] })
      const Inner = Router.shared("inner", { middleware: [hook("inner router")] })
      class Route extends Inner.make("Route", { middleware: [hook("route")] }) {}
      const live = Route.toLayer(() => Effect.sync(() => void trace.push("handler")))
      yield* startWorker(Worker.layer(TaskGroup.make(Route), { middleware: [hook("app")] }).pipe(Layer.provide(live)))
      yield* Route.execute()
      assert.deepStrictEqual(trace, nested("app", "router", "inner router", "route"))
    }))

  scenario(
    "FSQS-02 a group inside another that says inherit: false leaves the outer group's middleware out",
    () =>
      Effect.gen(function*() {
        const trace: Array<string> = []
        const Outer = TaskGroup.shared("outer", { middleware: [mark(trace, "outer")], queue: "outer" })
        // the flag belongs to the inner group: it decides what it takes
        const Alone = Outer.shared("alone", { middleware: [mark(trace, "alone")], inherit: false })
        const Inner = Outer.shared("inner", { middleware: [mark(trace, "inner")] })
        class A extends Alone.make("A") {}
        class B extends Inner.make("B") {}
        const live = Layer.mergeAll(
          A.toLayer(() => Effect.sync(() => void trace.push("handler"))),
          B.toLayer(() => Effect.sync(() => void trace.push("handler")))
        )
        const group = TaskGroup.make(A, B)
        yield* startWorker(Worker.layer(group, { middleware: [mark(trace, "app")] }).pipe(Layer.provide(live)))
        yield* A.execute()
        assert.deepStrictEqual(trace.splice(0), nested("app", "alone"))
        yield* B.execute()
        assert.deepStrictEqual(trace.splice(0), nested("app", "outer", "inner"))
        assert.deepStrictEqual(Worker.describe(group).map((task) => task.queue), ["default", "outer"])
      })
  )

  // the source attaches middleware to a default handler and then never runs it. There is no default handler here: what
  // stands at the delivery point sees every hand-out, those of tasks that nobody knows included
  scenario("FSQS-05 delivery middleware and observers see jobs of unknown tasks", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const fallback = Middleware.delivery("fallback", (next, delivery) =>
        Effect.tap(next(delivery), (settlement) =>
          Effect.sync(() =>
            seen.push(`delivery ${delivery.envelope.task} ${settlement._tag}`)
          )))
      const observer = Middleware.observe({
        name: "observer",
        after: (outcome, _, job) => void seen.push(`observer ${job.task} ${outcome._tag}`)
      })
      const run = Middleware.make("run", (next, input, job) =>
        Effect.suspend(() => {
          seen.push(`run ${job.task}`)
          return next(input)
        }))
      class Known extends Task.make("Known") {}
      yield* publishRaw({ id: "1", task: "Nobody" })
      const options = { middleware: [observer, fallback, run], mode: "drain" } as const
      const report = yield* Worker.launch(
        Worker.layer(TaskGroup.make(Known), options).pipe(Layer.provide(Known.toLayer(() => Effect.void)))
      )
      assert.deepStrictEqual(seen, ["delivery Nobody Retry", "observer Nobody Released"])
      assert.strictEqual(report.released, 1)
      assert.strictEqual((yield* record("1")).state, "scheduled")
    }))
})
