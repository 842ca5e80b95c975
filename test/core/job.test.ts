/** The running job as its handler sees it. */
import { assert, describe } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Capability from "windlass/Capability"
import * as Enqueue from "windlass/Enqueue"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { follow, record, scenario, startWorker } from "../support/backends.ts"

class Broken extends Schema.TaggedError<Broken>()("Broken", { at: Schema.String }) {}

const drain = { mode: "drain" } as const

describe("Job.Current", () => {
  scenario("has the facts of the job and of its attempt", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      class Work extends Task.make("Work", {
        queue: "q",
        error: Broken,
        retry: { schedule: Schedule.spaced("1 minute"), maxAttempts: 2 }
      }) {}
      const look = (job: Job.Job) => ({
        id: job.id,
        task: job.task,
        queue: job.queue,
        attempt: job.attempt,
        lastAttempt: job.lastAttempt,
        origin: job.origin,
        header: job.headers["a"],
        enqueuedAt: job.enqueuedAt,
        startedAt: job.startedAt,
        scheduledFor: job.scheduledFor,
        priority: job.priority,
        group: job.group,
        lostFrom: job.lostFrom,
        worker: job.worker.id,
        stopping: job.stopping
      })
      const live = Work.toLayer(() =>
        Effect.gen(function*() {
          seen.push(look(yield* Job.Current), yield* Job.isStopping)
          yield* Job.checkpoint // nobody asked: it does nothing
          return yield* new Broken({ at: "task" })
        })
      )
      yield* TestClock.adjust("1 second")
      const id = yield* Work.enqueue().pipe(
        Enqueue.delay("10 seconds"),
        Enqueue.priority(3),
        Enqueue.group("g"),
        Enqueue.headers({ a: "1" })
      )
      const worker = yield* startWorker(Worker.layer(TaskGroup.make(Work), { id: "w" }).pipe(Layer.provide(live)))
      const events = yield* follow(worker)
      yield* TestClock.adjust("10 seconds")
      yield* events.until("Retried")
      yield* TestClock.adjust("1 minute")
      yield* events.until("Dead")
      const facts = {
        id,
        task: "Work",
        queue: "q",
        attempt: 1,
        lastAttempt: false,
        origin: "user",
        header: "1",
        enqueuedAt: 1_000,
        startedAt: 11_000,
        scheduledFor: 11_000,
        priority: 3,
        group: "g",
        lostFrom: undefined,
        worker: "w",
        stopping: undefined
      }
      assert.deepStrictEqual(seen, [
        facts,
        false,
        { ...facts, attempt: 2, lastAttempt: true, startedAt: 71_000 },
        false
      ])
    }))

  scenario(
    "a handler's log lines carry the job, the task, the attempt and the queue; a middleware's do as well",
    () =>
      Effect.gen(function*() {
        const lines: Array<unknown> = []
        const logger = Logger.make<unknown, void>(({ fiber, message }) => {
          const text = Array.isArray(message) ? message[0] : message
          if (String(text).startsWith("from")) {
            lines.push([text, fiber.getRef(References.CurrentLogAnnotations)])
          }
        })
        const chatty = Middleware.make(
          "chatty",
          (next, input) => Effect.andThen(Effect.logInfo("from middleware"), next(input))
        )
        class Work extends Task.make("Work", { queue: "q", middleware: [chatty] }) {}
        const live = Work.toLayer(() => Effect.annotateLogs(Effect.logInfo("from handler"), "own", 1))
        const id = yield* Work.enqueue()
        yield* Effect.provide(
          Worker.launch(Worker.layer(TaskGroup.make(Work), drain).pipe(Layer.provide(live))),
          Logger.layer([logger])
        )
        const job = { job: id, task: "Work", attempt: 1, queue: "q" }
        assert.deepStrictEqual(lines, [["from middleware", job], ["from handler", { ...job, own: 1 }]])
      })
  )
})

describe("Job.progress", () => {
  scenario("is readable while the job runs and after it ended; the last value stands", () =>
    Effect.gen(function*() {
      const half = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      class Work extends Task.make("Work") {}
      const live = Work.toLayer(() =>
        Effect.gen(function*() {
          yield* Effect.orDie(Job.progress({ done: 1, of: 2 }))
          yield* Deferred.succeed(half, undefined)
          yield* Deferred.await(go)
          yield* Effect.orDie(Job.progress({ done: 2, of: 2 }))
        })
      )
      const id = yield* Work.enqueue()
      const worker = yield* startWorker(Worker.layer(TaskGroup.make(Work)).pipe(Layer.provide(live)))
      yield* Deferred.await(half)
      assert.strictEqual((yield* record(id)).progress, "{\"done\":1,\"of\":2}")
      yield* Deferred.succeed(go, undefined)
      yield* worker.stop
      assert.deepInclude(yield* record(id), { state: "succeeded", progress: "{\"done\":2,\"of\":2}" })
    }))
})

describe("Job.fork", () => {
  scenario("the attempt is not over before its forks are, forks of forks included (L15)", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const go = yield* Deferred.make<void>()
      const forked = yield* Deferred.make<void>()
      const outer = Middleware.make(
        "outer",
        Middleware.hooks({ after: () => Effect.sync(() => void log.push("after")) })
      )
      class Work extends Task.make("Work", { success: Schema.String, middleware: [outer] }) {}
      const live = Work.toLayer(() =>
        Effect.gen(function*() {
          yield* Job.fork(Effect.gen(function*() {
            yield* Effect.yieldNow
            yield* Job.fork(
              Effect.andThen(
                Effect.andThen(Deferred.succeed(forked, undefined), Deferred.await(go)),
                Effect.sync(() => log.push("inner fork"))
              )
            )
            log.push("fork")
          }))
          log.push("handler")
          return "value"
        })
      )
      const worker = yield* startWorker(Worker.layer(TaskGroup.make(Work)).pipe(Layer.provide(live)))
      const waiting = yield* Effect.forkScoped(Work.execute(), { startImmediately: true })
      yield* Deferred.await(forked)
      yield* Effect.yieldNow
      assert.deepStrictEqual(log, ["handler", "fork"])
      assert.strictEqual((yield* worker.health).running, 1)
      yield* Deferred.succeed(go, undefined)
      assert.strictEqual(yield* Fiber.join(waiting), "value")
      assert.deepStrictEqual(log, ["handler", "fork", "inner fork", "after"])
    }))

  scenario("a fork that fails fails the attempt, and the other forks are interrupted", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      class Work extends Task.make("Work", { error: Broken }) {}
      const live = Work.toLayer(() =>
        Effect.gen(function*() {
          yield* Job.fork(Effect.onInterrupt(Effect.never, () => Effect.sync(() => log.push("interrupted"))))
          const fiber = yield* Job.fork(Effect.andThen(Effect.yieldNow, Effect.fail(new Broken({ at: "fork" }))))
          assert.isUndefined(fiber.pollUnsafe())
        })
      )
      yield* startWorker(Worker.layer(TaskGroup.make(Work)).pipe(Layer.provide(live)))
      const error = yield* Effect.flip(Work.execute())
      assert.strictEqual(error._tag === "Broken" && error.at, "fork")
      assert.deepStrictEqual(log, ["interrupted"])
    }))

  scenario(
    "when the handler fails, is aborted or returns early from a plain fork, what it forked is interrupted before the settlement",
    () =>
      Effect.gen(function*() {
        const log: Array<string> = []
        const forever = (name: string) => Effect.onInterrupt(Effect.never, () => Effect.sync(() => log.push(name)))
        class Fails extends Task.make("Fails", { error: Broken }) {}
        class Waits extends Task.make("Waits") {}
        class Plain extends Task.make("Plain") {}
        const live = Layer.mergeAll(
          Fails.toLayer(() =>
            Effect.andThen(Job.fork(forever("of the failed")), Effect.fail(new Broken({ at: "handler" })))
          ),
          Waits.toLayer(() => Effect.asVoid(Job.fork(forever("of the aborted")))),
          Plain.toLayer(() => Effect.asVoid(Effect.forkChild(forever("plain"), { startImmediately: true })))
        )
        const worker = yield* startWorker(Worker.layer(TaskGroup.make(Fails, Waits, Plain)).pipe(Layer.provide(live)))
        const events = yield* follow(worker)
        const error = yield* Effect.flip(Fails.execute())
        assert.strictEqual(error._tag === "Broken" && error.at, "handler")
        assert.deepStrictEqual(log.splice(0), ["of the failed"])
        const id = yield* Waits.enqueue()
        yield* events.until("Started", { id })
        yield* (yield* Capability.Cancel).request(id)
        yield* events.until("Aborted")
        assert.deepStrictEqual(log.splice(0), ["of the aborted"])
        yield* Plain.execute()
        assert.deepStrictEqual(log, ["plain"])
      })
  )

  scenario(
    "a fork that the handler itself interrupts is over, not failed; a fork may use what the handler acquired",
    () =>
      Effect.gen(function*() {
        const log: Array<string> = []
        class Work extends Task.make("Work", { success: Schema.String }) {}
        const live = Work.toLayer(() =>
          Effect.gen(function*() {
            yield* Effect.acquireRelease(
              Effect.sync(() => log.push("acquire")),
              () => Effect.sync(() => log.push("release"))
            )
            const ticker = yield* Job.fork(Effect.never)
            yield* Job.fork(Effect.andThen(Effect.yieldNow, Effect.sync(() => log.push("use"))))
            yield* Fiber.interrupt(ticker)
            return "value"
          })
        )
        yield* startWorker(Worker.layer(TaskGroup.make(Work)).pipe(Layer.provide(live)))
        assert.strictEqual(yield* Work.execute(), "value")
        assert.deepStrictEqual(log, ["acquire", "use", "release"])
      })
  )

  scenario("a middleware's fork ends with the attempt", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const ticking = Middleware.make("ticking", (next, input) =>
        Effect.andThen(
          Job.fork(Effect.onInterrupt(Effect.never, () => Effect.sync(() => log.push("fork ended")))),
          Effect.tap(next(input), () => Effect.sync(() => log.push("next ended")))
        ))
      class Work extends Task.make("Work", { middleware: [ticking] }) {}
      const live = Work.toLayer(() => Effect.void)
      yield* startWorker(Worker.layer(TaskGroup.make(Work)).pipe(Layer.provide(live)))
      yield* Work.execute()
      assert.deepStrictEqual(log, ["next ended", "fork ended"])
    }))
})
