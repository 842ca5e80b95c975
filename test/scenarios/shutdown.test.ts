/** Part D of the scenarios: stopping, being stopped, losing a worker, running out of time. */
import { assert, describe } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Backend } from "windlass/Backend"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import type { Outcome } from "windlass/Outcome"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { follow, record, scenario, startWorker } from "../support/backends.ts"

const drain = { mode: "drain", concurrency: 1 } as const

/** an observer and a hook that write down how they saw a run end */
const watch = (log: Array<string>) => ({
  observer: Middleware.observe({
    name: "observer",
    after: (outcome: Outcome) =>
      void log.push(`outcome ${outcome._tag}${outcome._tag === "Dead" ? ` ${outcome.reason}` : ""}`)
  }),
  hook: Middleware.make(
    "hook",
    Middleware.hooks({
      after: (exit) =>
        Effect.sync(() =>
          void log.push(
            `after ${
              Exit.isSuccess(exit)
                ? "success"
                : Cause.hasInterruptsOnly(exit.cause)
                ? "interrupted"
                : Cause.squash(exit.cause)
            }`
          )
        )
    })
  )
})

describe("the end of a worker", () => {
  scenario(
    "PROC-28 a stop asked by a middleware: two running jobs are completed, two stay in the queue, the worker is over",
    () =>
      Effect.gen(function*() {
        const both = yield* Deferred.make<void>()
        let entered = 0
        const stops = Middleware.make("stops", (next, input, job) =>
          Effect.andThen(
            Effect.suspend(() => ++entered === 2 ? job.worker.stop : Effect.void),
            next(input)
          ))
        class Work extends Task.make("Work", { payload: { n: Schema.Number }, middleware: [stops] }) {}
        const live = Work.toLayer(() =>
          Effect.suspend(() => entered === 2 ? Effect.asVoid(Deferred.succeed(both, undefined)) : Deferred.await(both))
        )
        const ids = yield* Work.enqueueMany([{ n: 1 }, { n: 2 }, { n: 3 }, { n: 4 }])
        const report = yield* Worker.launch(
          Worker.layer(TaskGroup.make(Work), { concurrency: 2 }).pipe(Layer.provide(live))
        )
        assert.deepStrictEqual([report.claimed, report.succeeded, report.failure], [2, 2, undefined])
        const states = yield* Effect.forEach(ids, (id) => Effect.map(record(id), (job) => job.state))
        assert.deepStrictEqual(states.sort(), ["ready", "ready", "succeeded", "succeeded"])
      })
  )

  scenario(
    "RT-12 a shutdown puts a job that may run again to the front of its queue, as the same job; one that may not is dead",
    () =>
      Effect.gen(function*() {
        const log: Array<string> = []
        const order: Array<string> = []
        const { hook, observer } = watch(log)
        const started = yield* Deferred.make<void>()
        let blocking = true
        class Again extends Task.make("Again", { payload: { n: Schema.Number }, middleware: [hook] }) {}
        class Once extends Task.make("Once", { middleware: [hook], queue: "once", onInterrupted: "fail" }) {}
        let running = 0
        const block = Effect.suspend(() =>
          ++running === 2 ? Effect.andThen(Deferred.succeed(started, undefined), Effect.never) : Effect.never
        )
        const live = Layer.mergeAll(
          Again.toLayer(({ n }) =>
            Effect.suspend(() => blocking ? block : Effect.sync(() => void order.push(`job ${n}`)))
          ),
          Once.toLayer(() => block)
        )
        const [first, second] = yield* Again.enqueueMany([{ n: 1 }, { n: 2 }])
        const once = yield* Once.enqueue()
        const group = TaskGroup.make(Again, Once)
        const worker = yield* startWorker(
          Worker.layer(group, { queues: { default: 1, once: 1 }, middleware: [observer], shutdownGrace: "1 minute" })
            .pipe(Layer.provide(live))
        )
        yield* Deferred.await(started)
        yield* Again.enqueue({ n: 3 })
        const stopping = yield* Effect.forkScoped(worker.stop, { startImmediately: true })
        yield* TestClock.adjust("59 seconds")
        assert.deepStrictEqual(log, [])
        yield* TestClock.adjust("1 second")
        const report = yield* stopping.pollUnsafe() ?? Effect.die("it still stops")
        // hooks run for what they began (L1) and see an interruption; no hook and no observer sees a success or a failure
        // of the job that runs again
        assert.deepStrictEqual(log.sort(), [
          "after interrupted",
          "after interrupted",
          "outcome Dead interrupted",
          "outcome Interrupted"
        ])
        assert.deepStrictEqual([report.interrupted, report.dead], [1, 1])
        const back = yield* record(first!)
        assert.deepStrictEqual([back.state, back.attempt], ["ready", 1])
        assert.deepStrictEqual(back.history.map((line) => line.event), ["enqueued", "interrupted"])
        const gone = yield* record(once)
        assert.deepStrictEqual([gone.state, gone.reason, gone.error], ["dead", "interrupted", "cut short: shutdown"])
        blocking = false
        yield* Worker.launch(Worker.layer(group, drain).pipe(Layer.provide(live)))
        // it was interrupted after the other two were enqueued, and it is first again
        assert.deepStrictEqual(order, ["job 1", "job 2", "job 3"])
        assert.strictEqual((yield* record(first!)).state, "succeeded")
        assert.strictEqual((yield* record(second!)).state, "succeeded")
      })
  )

  scenario(
    "RT-13 a catch-all around next does not swallow the interruption of a shutdown (L13)",
    () =>
      Effect.gen(function*() {
        const started = yield* Deferred.make<void>()
        const swallowed: Array<string> = []
        class Broken extends Schema.TaggedError<Broken>()("Broken", {}) {}
        // everything that a wrap can do about a failure: `catch` does not see it, and what catches the cause cannot hide it
        const Work = Task.make("Work", { success: Schema.String, error: Broken })
          .wrap((next, payload) =>
            Effect.catch(next(payload), () => Effect.sync(() => (swallowed.push("catch"), "saved by catch")))
          )
          .wrap((next, payload) =>
            Effect.catchCause(
              next(payload),
              () => Effect.sync(() => (swallowed.push("catchCause"), "saved by catchCause"))
            )
          )
        const live = Work.toLayer(() => Effect.andThen(Deferred.succeed(started, undefined), Effect.never))
        const id = yield* Work.enqueue()
        const worker = yield* startWorker(Worker.layer(TaskGroup.make(Work)).pipe(Layer.provide(live)))
        yield* Deferred.await(started)
        const report = yield* worker.interrupt
        assert.deepStrictEqual(swallowed, ["catchCause"])
        assert.deepStrictEqual([report.succeeded, report.interrupted], [0, 1])
        assert.strictEqual((yield* record(id)).state, "ready")
      })
  )

  // the backend cannot tell (b) from (c): a worker that died with a job in its hands may or may not have started it. Both
  // follow the task's `onLost`; the source requeues (b) always
  scenario(
    "RT-14 a worker dies: idle, nothing; with a job in its hands, the job goes to the front again or fails, as the task says (L16)",
    () =>
      Effect.gen(function*() {
        const backend = yield* Backend
        const order: Array<string> = []
        class Again extends Task.make("Again", { payload: { n: Schema.Number } }) {}
        class Once extends Task.make("Once", { onLost: "fail" }) {}
        const live = Layer.mergeAll(
          Again.toLayer(({ n }) =>
            Effect.flatMap(Job.Current, (job) =>
              Effect.sync(() => void order.push(`${n} ${job.lostFrom ?? "nobody"} ${job.attempt}`)))
          ),
          Once.toLayer(() =>
            Effect.sync(() => void order.push("once"))
          )
        )
        const [first] = yield* Again.enqueueMany([{ n: 1 }, { n: 2 }])
        const once = yield* Once.enqueue()
        // (a) an idle worker that dies leaves nothing behind; (b, c) one that took two jobs leaves their leases
        yield* Effect.scoped(backend.subscribe("default", { worker: "idle" }))
        yield* Effect.scoped(Effect.gen(function*() {
          const dying = yield* backend.subscribe("default", { worker: "dying" })
          assert.deepStrictEqual((yield* dying.take(1)).map((delivery) => delivery.envelope.id), [first])
        }))
        yield* Effect.scoped(Effect.gen(function*() {
          const dying = yield* backend.subscribe("default", { worker: "dying" })
          yield* dying.take(2) // job 2 and the one of Once
        }))
        assert.strictEqual((yield* record(first!)).state, "active")
        yield* Again.enqueue({ n: 3 })
        const worker = yield* startWorker(
          Worker.layer(TaskGroup.make(Again, Once), { concurrency: 1 }).pipe(Layer.provide(live))
        )
        const events = yield* follow(worker)
        yield* events.until("Succeeded")
        assert.deepStrictEqual(order, ["3 nobody 1"])
        yield* Again.enqueueMany([{ n: 4 }])
        yield* TestClock.adjust("30 seconds")
        yield* events.until("Succeeded", { count: 4 })
        const dead = yield* events.until("Dead")
        assert.deepStrictEqual([dead.id, dead.detail], [once, "lost"])
        assert.deepStrictEqual(order.slice(1).filter((line) => line.includes("dying")).sort(), [
          "1 dying 1",
          "2 dying 1"
        ])
        assert.notInclude(order, "once")
      })
  )

  scenario("RT-14 a job that was lost is handed out before those that wait", () =>
    Effect.gen(function*() {
      const backend = yield* Backend
      class Again extends Task.make("Again", { payload: { n: Schema.Number } }) {}
      const order: Array<number> = []
      const live = Again.toLayer(({ n }) => Effect.sync(() => void order.push(n)))
      yield* Again.enqueueMany([{ n: 1 }, { n: 2 }])
      yield* Effect.scoped(Effect.flatMap(backend.subscribe("default", { worker: "dying" }), (dying) => dying.take(1)))
      yield* TestClock.adjust("30 seconds")
      yield* Worker.launch(Worker.layer(TaskGroup.make(Again), drain).pipe(Layer.provide(live)))
      assert.deepStrictEqual(order, [1, 2])
    }))

  scenario(
    "RT-15 a time-out is a failure, also for a task that may run again; its hooks run",
    () =>
      Effect.gen(function*() {
        const log: Array<string> = []
        const { hook, observer } = watch(log)
        class Slow extends Task.make("Slow", {
          middleware: [hook],
          timeout: "5 seconds",
          onInterrupted: "requeue",
          retry: Schedule.recurs(1)
        }) {}
        const live = Slow.toLayer(() =>
          Effect.onInterrupt(Effect.never, () => Effect.sync(() => void log.push("body")))
        )
        const worker = yield* startWorker(
          Worker.layer(TaskGroup.make(Slow), { middleware: [observer] }).pipe(Layer.provide(live))
        )
        const events = yield* follow(worker)
        const waiting = yield* Effect.forkScoped(Effect.flip(Slow.execute()), { startImmediately: true })
        yield* events.until("Started")
        yield* TestClock.adjust("5 seconds")
        yield* events.until("Started", { count: 2 })
        yield* TestClock.adjust("5 seconds")
        const dead = yield* events.until("Dead")
        assert.strictEqual(dead.detail, "timeout")
        const after = "after windlass/TimedOut: task Slow ran longer than its timeout of 5000 ms"
        assert.deepStrictEqual(log, ["body", after, "outcome Retried", "body", after, "outcome Dead timeout"])
        const error = yield* waiting.pollUnsafe() ?? Exit.die("the wait goes on")
        assert.strictEqual(error._tag === "windlass/Dead" ? error.reason : error._tag, "timeout")
      })
  )
})
