/** Part B of the scenarios: failures, skipping, calling twice. */
import { assert, describe } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Capability from "windlass/Capability"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { follow, record, scenario, spy, startWorker } from "../support/backends.ts"

class Broken extends Schema.TaggedError<Broken>()("Broken", { at: Schema.String }) {}

const drain = { mode: "drain" } as const

describe("failures, skipping, calling twice", () => {
  scenario(
    "PROC-10 through a middleware that passes on, a failure stays a failure and an abort an abort",
    () =>
      Effect.gen(function*() {
        const started = yield* Deferred.make<string>()
        const pass = Middleware.make("pass", (next, input) => next(input))
        class Fails extends Task.make("Fails", { error: Broken, middleware: [pass] }) {}
        class Waits extends Task.make("Waits", { middleware: [pass] }) {}
        const live = Layer.mergeAll(
          Fails.toLayer(() => Effect.fail(new Broken({ at: "handler" }))),
          Waits.toLayer(() =>
            Effect.gen(function*() {
              yield* Deferred.succeed(started, (yield* Job.Current).id)
              return yield* Effect.never
            })
          )
        )
        const worker = yield* startWorker(Worker.layer(TaskGroup.make(Fails, Waits)).pipe(Layer.provide(live)))
        const failure = yield* Effect.flip(Fails.execute())
        assert.deepStrictEqual(failure, new Broken({ at: "handler" }))
        const waiting = yield* Effect.forkScoped(Effect.flip(Waits.execute()), { startImmediately: true })
        const id = yield* Deferred.await(started)
        assert.strictEqual(yield* (yield* Capability.Cancel).request(id), "Requested")
        yield* worker.stop
        const aborted = yield* waiting.pollUnsafe() ?? Exit.die("the wait goes on")
        assert.strictEqual(aborted._tag, "windlass/Aborted")
        assert.strictEqual((yield* record(id)).state, "aborted")
      })
  )

  scenario(
    "PROC-11 a middleware that fails before next: the task never runs, each attempt counts, the job is dead",
    () =>
      Effect.gen(function*() {
        let entered = 0
        let ran = 0
        class Guard extends Middleware.Service<Guard>()("t/Guard", { error: Broken }) {}
        class Guarded extends Task.make("Guarded", { middleware: [Guard], retry: Schedule.recurs(1) }) {}
        const GuardLive = Layer.succeed(Guard, () => {
          entered++
          return Effect.fail(new Broken({ at: "guard" }))
        })
        const live = Guarded.toLayer(() => Effect.sync(() => void ran++)).pipe(Layer.provide(GuardLive))
        const id = yield* Guarded.enqueue()
        const report = yield* Worker.launch(Worker.layer(TaskGroup.make(Guarded), drain).pipe(Layer.provide(live)))
        assert.deepStrictEqual([entered, ran, report.retried, report.dead], [2, 0, 1, 1])
        const job = yield* record(id)
        assert.deepStrictEqual([job.state, job.attempt, job.reason], ["dead", 2, "failed"])
        assert.deepStrictEqual(job.history.map((line) => line.event), ["enqueued", "failed", "dead"])
      })
  )

  // in the source any middleware may swallow, and swallows an abort as well. Here only the task's own wrap can turn a
  // failure into a success (a generic one does not compile), and a run that was cut short is never a success (L13)
  scenario(
    "PROC-13 a task's own wrap that swallows every failure makes a success of attempt 1, never of an aborted run (L13)",
    () =>
      Effect.gen(function*() {
        const started = yield* Deferred.make<string>()
        let runs = 0
        const Soft = Task.make("Soft", {
          payload: { wait: Schema.Boolean },
          success: Schema.String,
          error: Broken,
          retry: Schedule.recurs(5)
        }).wrap((next, payload) => Effect.catchCause(next(payload), () => Effect.succeed("swallowed")))
        const live = Soft.toLayer(({ wait }) =>
          Effect.gen(function*() {
            runs++
            if (!wait) return yield* new Broken({ at: "handler" })
            yield* Deferred.succeed(started, (yield* Job.Current).id)
            return yield* Effect.never
          })
        )
        const worker = yield* startWorker(Worker.layer(TaskGroup.make(Soft)).pipe(Layer.provide(live)))
        assert.strictEqual(yield* Soft.execute({ wait: false }), "swallowed")
        assert.strictEqual(runs, 1)
        yield* Soft.enqueue({ wait: true })
        const id = yield* Deferred.await(started)
        yield* (yield* Capability.Cancel).request(id)
        const report = yield* worker.stop
        assert.deepStrictEqual([report.succeeded, report.aborted, report.retried], [1, 1, 0])
        assert.strictEqual((yield* record(id)).state, "aborted")
      })
  )

  scenario(
    "PROC-14 a task's own wrap that does not call next ends the job with its own value (L14)",
    () =>
      Effect.gen(function*() {
        let ran = 0
        const Cached = Task.make("Cached", { success: Schema.String }).wrap(() => Effect.succeed("from the cache"))
        const live = Cached.toLayer(() => Effect.sync(() => (ran++, "fresh")))
        const worker = yield* startWorker(Worker.layer(TaskGroup.make(Cached)).pipe(Layer.provide(live)))
        assert.strictEqual(yield* Cached.execute(), "from the cache")
        assert.strictEqual((yield* worker.stop).succeeded, 1)
        assert.strictEqual(ran, 0)
      })
  )

  scenario(
    "PROC-15 next twice: one after the other both run and one settlement is made; at once the second is a defect",
    () =>
      Effect.gen(function*() {
        const between: Array<string> = []
        const watched = yield* spy()
        const scoped = Effect.acquireRelease(
          Effect.sync(() => void between.push("open")),
          () => Effect.sync(() => void between.push("close"))
        )
        const Twice = Task.make("Twice").wrap((next, payload) => Effect.andThen(next(payload), next(payload)))
        const AtOnce = Task.make("AtOnce").wrap((next, payload) =>
          Effect.all([next(payload), next(payload)], { concurrency: 2, discard: true })
        )
        const again = Middleware.make("again", (next, input) => Effect.andThen(next(input), next(input)))
        const Generic = Task.make("Generic", { middleware: [again] })
        const live = Layer.mergeAll(
          Twice.toLayer(() => Effect.asVoid(scoped)),
          AtOnce.toLayer(() => Effect.andThen(Effect.yieldNow, Effect.sync(() => void between.push("at once")))),
          Generic.toLayer(() => Effect.asVoid(scoped))
        )
        const twice = yield* Twice.enqueue()
        const generic = yield* Generic.enqueue()
        const atOnce = yield* AtOnce.enqueue()
        const group = TaskGroup.make(Twice, AtOnce, Generic)
        const report = yield* Worker.launch(
          Worker.layer(group, { ...drain, concurrency: 1 }).pipe(Layer.provide(live), Layer.provide(watched.layer))
        )
        // the first run's scope is closed before the second begins
        assert.deepStrictEqual(between, ["open", "close", "open", "close", "open", "close", "open", "close", "at once"])
        assert.deepStrictEqual([report.succeeded, report.dead], [2, 1])
        assert.deepStrictEqual(watched.settlements.map((s) => [s.id, s.settlement._tag]), [
          [twice, "Complete"],
          [generic, "Complete"],
          [atOnce, "Dead"]
        ])
        const job = yield* record(atOnce)
        assert.strictEqual(job.reason, "failed")
        assert.include(job.error, "NextMisused")
      })
  )

  scenario(
    "PROC-17 a middleware with a time-out: the task is interrupted, the job fails, the retry policy applies",
    () =>
      Effect.gen(function*() {
        const finalized: Array<number> = []
        class TooSlow extends Schema.TaggedError<TooSlow>()("TooSlow", {}) {}
        class Limit extends Middleware.Service<Limit>()("t/Limit", { error: TooSlow }) {}
        class Slow extends Task.make("Slow", { middleware: [Limit], retry: Schedule.recurs(1) }) {}
        const LimitLive = Layer.succeed(Limit, (next, input) =>
          Effect.timeoutOrElse(next(input), {
            duration: "10 seconds",
            orElse: () => Effect.fail(new TooSlow())
          }))
        const live = Slow.toLayer(() =>
          Effect.flatMap(
            Job.Current,
            (job) => Effect.ensuring(Effect.never, Effect.sync(() => finalized.push(job.attempt)))
          )
        ).pipe(Layer.provide(LimitLive))
        const worker = yield* startWorker(Worker.layer(TaskGroup.make(Slow)).pipe(Layer.provide(live)))
        const events = yield* follow(worker)
        const waiting = yield* Effect.forkScoped(Effect.flip(Slow.execute()), { startImmediately: true })
        yield* events.until("Started")
        yield* TestClock.adjust("10 seconds")
        yield* events.until("Started", { count: 2 })
        yield* TestClock.adjust("10 seconds")
        yield* events.until("Dead")
        assert.deepStrictEqual(finalized, [1, 2])
        const error = yield* waiting.pollUnsafe() ?? Exit.die("the wait goes on")
        assert.strictEqual(error._tag, "TooSlow")
      })
  )

  scenario(
    "PROC-18 a next that was forked and not awaited is over before the job is settled (L15)",
    () =>
      Effect.gen(function*() {
        const log: Array<string> = []
        const outer = Middleware.make(
          "outer",
          Middleware.hooks({ after: (exit) => Effect.sync(() => void log.push(`outer ${exit._tag}`)) })
        )
        /** forks next, waits until the body is under way, and succeeds */
        const loose = (name: "Child" | "Detached", fork: typeof Effect.forkChild | typeof Effect.forkDetach) => {
          const entered = Deferred.makeUnsafe<void>()
          const task = Task.make(name, { middleware: [outer] }).wrap((next, payload) =>
            Effect.andThen(fork(next(payload), { startImmediately: true }), Deferred.await(entered))
          )
          const live = task.toLayer(() =>
            Effect.onExit(
              Effect.andThen(Deferred.succeed(entered, undefined), Effect.never),
              (exit) => Effect.andThen(Effect.yieldNow, Effect.sync(() => log.push(`body ${exit._tag}`)))
            )
          )
          return { task, live }
        }
        const child = loose("Child", Effect.forkChild)
        const detached = loose("Detached", Effect.forkDetach)
        const Joined = Task.make("Joined", { middleware: [outer] }).wrap((next, payload) =>
          Effect.flatMap(Effect.forkChild(next(payload)), (fiber) => Fiber.join(fiber))
        )
        const joined = Joined.toLayer(() => Effect.sync(() => void log.push("joined")))
        const watched = yield* spy((subscription) => ({
          ...subscription,
          exchange: (items, max) =>
            Effect.andThen(Effect.sync(() => log.push("settle")), subscription.exchange(items, max))
        }))
        const ids = [yield* child.task.enqueue(), yield* detached.task.enqueue(), yield* Joined.enqueue()]
        yield* Worker.launch(
          Worker.layer(TaskGroup.make(child.task, detached.task, Joined), { ...drain, concurrency: 1 }).pipe(
            Layer.provide([child.live, detached.live, joined]),
            Layer.provide(watched.layer)
          )
        )
        // a forked run is interrupted, and its finalizers run, before anything outside goes on; the wrap succeeded
        const loosely = ["body Failure", "outer Success", "settle"]
        assert.deepStrictEqual(log, [...loosely, ...loosely, "joined", "outer Success", "settle"])
        for (const id of ids) assert.strictEqual((yield* record(id)).state, "succeeded")
      })
  )

  scenario(
    "RT-01 the middle one of three fails before next: the outer one's after runs, nothing further in is entered (L1)",
    () =>
      Effect.gen(function*() {
        const trace: Array<string> = []
        const hook = (n: number) =>
          Middleware.make(
            `hook ${n}`,
            Middleware.hooks({
              before: () =>
                Effect.suspend(() => {
                  trace.push(`before ${n}`)
                  return n === 1 ? Effect.die("no") : Effect.void
                }),
              after: () => Effect.sync(() => void trace.push(`after ${n}`))
            })
          )
        class Three extends Task.make("Three", { middleware: [hook(0), hook(1), hook(2)] }) {}
        const live = Three.toLayer(() => Effect.sync(() => void trace.push("task")))
        yield* Three.enqueue()
        const report = yield* Worker.launch(Worker.layer(TaskGroup.make(Three), drain).pipe(Layer.provide(live)))
        assert.deepStrictEqual(trace, ["before 0", "before 1", "after 0"])
        assert.strictEqual(report.dead, 1)
      })
  )

  scenario(
    "RT-05 an acquisition that fails in the middle of the chain fails the job, unwinds, and the worker goes on (L1)",
    () =>
      Effect.gen(function*() {
        const trace: Array<string> = []
        class NoSlot extends Schema.TaggedError<NoSlot>()("NoSlot", {}) {}
        class Outer extends Middleware.Service<Outer>()("t/Outer") {}
        class Slot extends Middleware.Service<Slot>()("t/Slot", { error: NoSlot }) {}
        class Work extends Task.make("Work", { payload: { ok: Schema.Boolean }, middleware: [Outer, Slot] }) {}
        const resource = (name: string) =>
          Effect.acquireRelease(
            Effect.sync(() => void trace.push(`acquire ${name}`)),
            () => Effect.sync(() => void trace.push(`release ${name}`))
          )
        let full = true
        const middleware = Layer.mergeAll(
          Layer.succeed(Outer, (next, input) => Effect.andThen(resource("outer"), next(input))),
          Layer.succeed(Slot, (next, input) =>
            Effect.gen(function*() {
              yield* resource("first of two")
              if (full) return yield* new NoSlot()
              yield* resource("second of two")
              return yield* next(input)
            }))
        )
        const live = Work.toLayer(() => Effect.sync(() => void trace.push("task"))).pipe(Layer.provide(middleware))
        const worker = yield* startWorker(Worker.layer(TaskGroup.make(Work)).pipe(Layer.provide(live)))
        const error = yield* Effect.flip(Work.execute({ ok: false }))
        assert.strictEqual(error._tag, "NoSlot")
        assert.deepStrictEqual(trace.splice(0), [
          "acquire outer",
          "acquire first of two",
          "release first of two",
          "release outer"
        ])
        full = false
        yield* Work.execute({ ok: true })
        assert.deepStrictEqual(trace, [
          "acquire outer",
          "acquire first of two",
          "acquire second of two",
          "task",
          "release second of two",
          "release first of two",
          "release outer"
        ])
        const report = yield* worker.stop
        assert.deepStrictEqual([report.failure, report.succeeded, report.dead], [undefined, 1, 1])
      })
  )

  scenario("RT-05 a middleware whose layer fails keeps the worker from starting", () =>
    Effect.gen(function*() {
      class NoServer extends Schema.TaggedError<NoServer>()("NoServer", {}) {}
      class Pool extends Middleware.Service<Pool>()("t/Pool") {}
      class Work extends Task.make("Work", { middleware: [Pool] }) {}
      const PoolLive = Layer.effect(Pool, Effect.fail(new NoServer()))
      const live = Work.toLayer(() => Effect.void).pipe(Layer.provide(PoolLive))
      const id = yield* Work.enqueue()
      const error = yield* Effect.flip(startWorker(Worker.layer(TaskGroup.make(Work)).pipe(Layer.provide(live))))
      assert.strictEqual(error._tag, "NoServer")
      assert.strictEqual((yield* record(id)).state, "ready")
    }))
})
