/** The end of a worker: who may ask, what happens in which order, and what it reports. */
import { assert, describe } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Capability from "windlass/Capability"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { follow, record, scenario, spy, startWorker } from "../support/backends.ts"

class Work extends Task.make("Work", { payload: { n: Schema.Number } }) {}
const group = TaskGroup.make(Work)

describe("a stop", () => {
  scenario(
    "drains for the grace period, then interrupts, then settles; the report says what became of everything",
    () =>
      Effect.gen(function*() {
        const log: Array<string> = []
        const ready = yield* Deferred.make<void>()
        let running = 0
        const live = Work.toLayer(({ n }) =>
          Effect.gen(function*() {
            if (++running === 3) yield* Deferred.succeed(ready, undefined)
            yield* Effect.onInterrupt(
              n === 3 ? Effect.never : Effect.sleep(n * 1_000),
              () => Effect.sync(() => log.push(`interrupted ${n}`))
            )
            log.push(`finished ${n}`)
          })
        )
        const ids = yield* Work.enqueueMany([{ n: 1 }, { n: 2 }, { n: 3 }, { n: 4 }])
        const worker = yield* startWorker(
          Worker.layer(group, { concurrency: 3, shutdownGrace: "10 seconds", id: "w" }).pipe(Layer.provide(live))
        )
        yield* Deferred.await(ready)
        const stopping = yield* Effect.forkChild(worker.stop, { startImmediately: true })
        const health = yield* worker.health
        assert.deepInclude(health, { stopping: true, ready: false, live: true, running: 3 })
        yield* TestClock.adjust("2 seconds")
        assert.deepStrictEqual(log, ["finished 1", "finished 2"])
        yield* TestClock.adjust("7 seconds")
        assert.isUndefined(stopping.pollUnsafe())
        yield* TestClock.adjust("1 second")
        const report = yield* Fiber.join(stopping)
        assert.deepStrictEqual(log, ["finished 1", "finished 2", "interrupted 3"])
        assert.deepStrictEqual(report, {
          worker: "w",
          claimed: 3,
          succeeded: 2,
          discarded: 0,
          retried: 0,
          snoozed: 0,
          dead: 0,
          aborted: 0,
          interrupted: 1,
          released: 0,
          lost: 0,
          stuck: 0,
          failure: undefined
        })
        const states = yield* Effect.forEach(ids, (id) => Effect.map(record(id), (job) => job.state))
        assert.deepStrictEqual(states, ["succeeded", "succeeded", "ready", "ready"])
      })
  )

  scenario("may be asked again and after the end, and says the same", () =>
    Effect.gen(function*() {
      const worker = yield* startWorker(Worker.layer(group).pipe(Layer.provide(Work.toLayer(() => Effect.void))))
      const events = yield* follow(worker)
      yield* Work.enqueue({ n: 1 })
      yield* events.until("Succeeded")
      const [first, second, waited] = yield* Effect.all([worker.stop, worker.stop, worker.await], { concurrency: 3 })
      assert.strictEqual(first.succeeded, 1)
      assert.deepStrictEqual(second, first)
      assert.deepStrictEqual(waited, first)
      assert.deepStrictEqual(yield* worker.stop, first)
      assert.deepStrictEqual(yield* worker.interrupt, first)
      assert.isFalse((yield* worker.health).live)
    }))

  scenario("before the loop has claimed anything: nothing is claimed", () =>
    Effect.gen(function*() {
      const id = yield* Work.enqueue({ n: 1 })
      const watched = yield* spy()
      // the layer is built and closed without a turn in between
      const report = yield* Effect.scoped(Effect.flatMap(
        startWorker(
          Worker.layer(group).pipe(Layer.provide(Work.toLayer(() => Effect.never)), Layer.provide(watched.layer))
        ),
        (worker) => worker.interrupt
      ))
      const claimed = watched.claims.flatMap((claim) => claim.ids)
      assert.strictEqual(report.claimed, claimed.length)
      assert.strictEqual(report.claimed, report.interrupted + report.released)
      assert.deepInclude(yield* record(id), { state: "ready", attempt: 1 })
    }))

  scenario("the end of the layer's scope is a stop", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const started = yield* Deferred.make<void>()
      const live = Work.toLayer(() =>
        Effect.andThen(
          Deferred.succeed(started, undefined),
          Effect.andThen(Effect.yieldNow, Effect.sync(() => void log.push("finished")))
        )
      )
      yield* Work.enqueue({ n: 1 })
      yield* Effect.scoped(Effect.andThen(
        Layer.build(Worker.layer(group).pipe(Layer.provide(live))),
        Deferred.await(started)
      ))
      assert.deepStrictEqual(log, ["finished"])
      assert.strictEqual((yield* (yield* Capability.Inspect).counts("default")).active, 0)
    }))

  scenario("may be asked by a handler, which goes on to its end", () =>
    Effect.gen(function*() {
      const live = Work.toLayer(({ n }) =>
        Effect.gen(function*() {
          const job = yield* Job.Current
          yield* job.worker.stop
          yield* job.worker.stop
          assert.isFalse(yield* Job.isStopping) // a drain is no interruption
          yield* Effect.yieldNow
          if (n === 2) assert.fail("the second job was to stay in the queue")
        })
      )
      const ids = yield* Work.enqueueMany([{ n: 1 }, { n: 2 }])
      const report = yield* Worker.launch(Worker.layer(group, { concurrency: 1 }).pipe(Layer.provide(live)))
      assert.deepStrictEqual([report.claimed, report.succeeded], [1, 1])
      assert.strictEqual((yield* record(ids[1]!)).state, "ready")
    }))

  scenario(
    "jobs of a claim that was under way go back as if they had never been claimed",
    () =>
      Effect.gen(function*() {
        const asked = yield* Deferred.make<void>()
        const answer = yield* Deferred.make<void>()
        const watched = yield* spy((subscription) => ({
          ...subscription,
          take: (max) =>
            Effect.flatMap(subscription.take(max), (taken) =>
              taken.length === 0
                ? Effect.succeed(taken)
                : Effect.andThen(
                  Effect.andThen(Deferred.succeed(asked, undefined), Deferred.await(answer)),
                  Effect.succeed(taken)
                ))
        }))
        let ran = 0
        const live = Work.toLayer(() => Effect.sync(() => void ran++))
        const ids = yield* Work.enqueueMany([{ n: 1 }, { n: 2 }])
        const worker = yield* startWorker(Worker.layer(group).pipe(Layer.provide(live), Layer.provide(watched.layer)))
        yield* Deferred.await(asked)
        const stopping = yield* Effect.forkChild(worker.stop, { startImmediately: true })
        yield* Deferred.succeed(answer, undefined)
        const report = yield* Fiber.join(stopping)
        assert.deepStrictEqual([report.claimed, report.released, ran], [2, 2, 0])
        for (const id of ids) assert.deepInclude(yield* record(id), { state: "ready", attempt: 1 })
      })
  )

  scenario("interrupt ends the grace period", () =>
    Effect.gen(function*() {
      const started = yield* Deferred.make<void>()
      const live = Work.toLayer(() => Effect.andThen(Deferred.succeed(started, undefined), Effect.never))
      yield* Work.enqueue({ n: 1 })
      const worker = yield* startWorker(Worker.layer(group, { shutdownGrace: "1 hour" }).pipe(Layer.provide(live)))
      yield* Deferred.await(started)
      const stopping = yield* Effect.forkChild(worker.stop, { startImmediately: true })
      yield* Effect.yieldNow
      assert.isUndefined(stopping.pollUnsafe())
      assert.strictEqual((yield* worker.interrupt).interrupted, 1)
      assert.strictEqual((yield* Fiber.join(stopping)).interrupted, 1)
    }))

  scenario(
    "a chain that does not unwind in time is stuck: the worker ends all the same, with a failure",
    () =>
      Effect.gen(function*() {
        const started = yield* Deferred.make<void>()
        const hangs = Middleware.make("hangs", Middleware.hooks({ after: () => Effect.never }))
        class Hangs extends Task.make("Hangs", { middleware: [hangs] }) {}
        const live = Hangs.toLayer(() => Effect.andThen(Deferred.succeed(started, undefined), Effect.never))
        const id = yield* Hangs.enqueue()
        const worker = yield* startWorker(
          Worker.layer(TaskGroup.make(Hangs), { shutdownGrace: "1 second", stuckAfter: "5 seconds" }).pipe(
            Layer.provide(live)
          )
        )
        const events = yield* follow(worker)
        yield* Deferred.await(started)
        const stopping = yield* Effect.forkChild(worker.stop, { startImmediately: true })
        yield* TestClock.adjust("5 seconds")
        assert.isUndefined(stopping.pollUnsafe())
        yield* TestClock.adjust("1 second")
        const report = yield* Fiber.join(stopping)
        assert.strictEqual(report.stuck, 1)
        assert.include(String(report.failure), "is stuck")
        assert.strictEqual((yield* events.until("Stuck")).id, id)
        assert.strictEqual((yield* record(id)).state, "active")
      })
  )

  scenario(
    "an interruption reaches a middleware's wait only where that is marked interruptible (L17)",
    () =>
      Effect.gen(function*() {
        const log: Array<string> = []
        const waiting = yield* Deferred.make<void>()
        const go = yield* Deferred.make<void>()
        let entered = 0
        const enter = Effect.suspend(() => ++entered === 2 ? Deferred.succeed(waiting, undefined) : Effect.void)
        const closed = Middleware.make(
          "closed",
          Middleware.hooks({
            before: () => Effect.andThen(enter, Deferred.await(go)),
            after: (exit) => Effect.sync(() => void log.push(`closed ${exit._tag}`))
          })
        )
        const open = Middleware.make("open", (next, input) =>
          Effect.andThen(
            Effect.onInterrupt(
              Effect.interruptible(Effect.andThen(enter, Effect.never)),
              () => Effect.sync(() => log.push("open interrupted"))
            ),
            next(input)
          ))
        class Closed extends Task.make("Closed", { middleware: [closed] }) {}
        class Open extends Task.make("Open", { middleware: [open] }) {}
        const live = Layer.mergeAll(
          Closed.toLayer(() => Effect.sync(() => void log.push("body of closed"))),
          Open.toLayer(() => Effect.sync(() => void log.push("body of open")))
        )
        const ids = [yield* Closed.enqueue(), yield* Open.enqueue()]
        const worker = yield* startWorker(Worker.layer(TaskGroup.make(Closed, Open)).pipe(Layer.provide(live)))
        yield* Deferred.await(waiting)
        const stopping = yield* Effect.forkChild(worker.interrupt, { startImmediately: true })
        while (log.length === 0) yield* Effect.yieldNow
        assert.deepStrictEqual(log, ["open interrupted"])
        yield* Deferred.succeed(go, undefined)
        const report = yield* Fiber.join(stopping)
        // the closed one's before ran to its end, its body never began, and its after saw that
        assert.deepStrictEqual(log, ["open interrupted", "closed Failure"])
        assert.strictEqual(report.interrupted, 2)
        for (const id of ids) assert.deepInclude(yield* record(id), { state: "ready", attempt: 1 })
      })
  )
})
