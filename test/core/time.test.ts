/** What a task says about time, and about runs that were cut short. */
import { assert, describe } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as TestClock from "effect/testing/TestClock"
import { Backend } from "windlass/Backend"
import type * as Gate from "windlass/Gate"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { follow, record, scenario, startWorker } from "../support/backends.ts"

const drain = { mode: "drain" } as const

describe("timeout", () => {
  scenario(
    "bounds the body alone: middleware may take longer, and a second run of the body has the limit anew",
    () =>
      Effect.gen(function*() {
        const log: Array<string> = []
        const again = Middleware.make("again", (next, input) =>
          Effect.gen(function*() {
            const first = yield* Effect.exit(next(input))
            log.push(`first ${Exit.isFailure(first) ? "failed" : "succeeded"}`)
            yield* Effect.sleep("1 minute")
            return yield* next(input)
          }))
        let bodies = 0
        class Slow extends Task.make("Slow", { timeout: "5 seconds", runTimeout: "1 hour", middleware: [again] }) {}
        const live = Slow.toLayer(() => Effect.sleep(++bodies === 1 ? "6 seconds" : "4 seconds"))
        const worker = yield* startWorker(Worker.layer(TaskGroup.make(Slow)).pipe(Layer.provide(live)))
        const events = yield* follow(worker)
        yield* Slow.enqueue()
        yield* events.until("Started")
        yield* TestClock.adjust("2 minutes")
        yield* events.until("Succeeded")
        assert.deepStrictEqual(log, ["first failed"])
        assert.strictEqual(bodies, 2)
      })
  )

  scenario("a body that ends in time is not touched, whatever comes after it", () =>
    Effect.gen(function*() {
      const late = Middleware.make("late", Middleware.hooks({ after: () => Effect.sleep("1 minute") }))
      class Quick extends Task.make("Quick", { timeout: "5 seconds", runTimeout: "1 hour", middleware: [late] }) {}
      const live = Quick.toLayer(() => Effect.sleep("4 seconds"))
      const worker = yield* startWorker(Worker.layer(TaskGroup.make(Quick)).pipe(Layer.provide(live)))
      const events = yield* follow(worker)
      yield* Quick.enqueue()
      yield* events.until("Started")
      yield* TestClock.adjust("2 minutes")
      yield* events.until("Succeeded")
    }))
})

describe("runTimeout", () => {
  scenario(
    "a chain that is open after it is stuck: no longer renewed, counted, and the worker stops with a failure",
    () =>
      Effect.gen(function*() {
        const hangs = Middleware.make("hangs", Middleware.hooks({ after: () => Effect.never }))
        class Work extends Task.make("Work", { timeout: "5 seconds", middleware: [hangs] }) {}
        const live = Work.toLayer(() => Effect.void)
        const worker = yield* startWorker(Worker.layer(TaskGroup.make(Work)).pipe(Layer.provide(live)))
        const events = yield* follow(worker)
        const id = yield* Work.enqueue()
        yield* events.until("Started")
        yield* TestClock.adjust("14 seconds") // timeout + 10 seconds unless set
        assert.notInclude(events.tags, "Stuck")
        yield* TestClock.adjust("1 second")
        const stuck = yield* events.until("Stuck")
        assert.strictEqual(stuck.id, id)
        const report = yield* worker.await
        assert.strictEqual(report.stuck, 1)
        assert.include(String(report.failure), "stuck")
        assert.isFalse((yield* worker.health).live)
        // its lease runs out, and another worker gets the job
        assert.strictEqual((yield* record(id)).state, "active")
        yield* TestClock.adjust("30 seconds")
        const backend = yield* Backend
        const other = yield* backend.subscribe("default", { worker: "other" })
        const [delivery] = yield* other.take(1)
        assert.strictEqual(delivery?.envelope.id, id)
      })
  )

  scenario(
    "without a timeout the body ends at runTimeout, and the chain has ten seconds more",
    () =>
      Effect.gen(function*() {
        class Work extends Task.make("Work", { runTimeout: "5 seconds" }) {}
        const live = Work.toLayer(() => Effect.never)
        const worker = yield* startWorker(Worker.layer(TaskGroup.make(Work)).pipe(Layer.provide(live)))
        const events = yield* follow(worker)
        yield* Work.enqueue()
        yield* events.until("Started")
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual((yield* events.until("Dead")).detail, "timeout")
        assert.strictEqual((yield* worker.stop).stuck, 0)
      })
  )
})

describe("deadline", () => {
  scenario(
    "a job that is of no use any more is dead as expired, unrun; one in time runs",
    () =>
      Effect.gen(function*() {
        const ran: Array<string> = []
        class News extends Task.make("News", { deadline: "1 hour" }) {}
        const live = News.toLayer(() => Effect.map(Job.Current, (job) => void ran.push(job.id)))
        const late = yield* News.enqueue()
        yield* TestClock.adjust("30 minutes")
        const inTime = yield* News.enqueue()
        yield* TestClock.adjust("31 minutes")
        const report = yield* Worker.launch(Worker.layer(TaskGroup.make(News), drain).pipe(Layer.provide(live)))
        assert.deepStrictEqual(ran, [inTime])
        assert.deepStrictEqual([report.dead, report.succeeded], [1, 1])
        assert.strictEqual((yield* record(late)).reason, "expired")
        assert.include((yield* record(late)).error, "its deadline of 3600000 ms passed 60000 ms ago")
      })
  )

  scenario("remaining is what is left until the nearer of timeout and deadline", () =>
    Effect.gen(function*() {
      const left: Array<unknown> = []
      class Both extends Task.make("Both", { deadline: "1 hour", timeout: "10 minutes" }) {}
      class One extends Task.make("One", { deadline: "1 hour" }) {}
      class None extends Task.make("None") {}
      const look = Effect.gen(function*() {
        const job = yield* Job.Current
        left.push(
          (yield* job.remaining).pipe((option) => option._tag === "Some" ? `${job.task} ${option.value}` : job.task)
        )
      })
      const live = Layer.mergeAll(
        Both.toLayer(() => Effect.andThen(Effect.andThen(look, Effect.sleep("1 minute")), look)),
        One.toLayer(() => look),
        None.toLayer(() => look)
      )
      yield* Both.enqueue()
      yield* One.enqueue()
      yield* None.enqueue()
      yield* TestClock.adjust("55 minutes")
      const group = TaskGroup.make(Both, One, None)
      const worker = yield* startWorker(Worker.layer(group, { concurrency: 1 }).pipe(Layer.provide(live)))
      const events = yield* follow(worker)
      yield* TestClock.adjust("1 minute")
      yield* events.until("Succeeded", { count: 3 })
      assert.deepStrictEqual(left, ["Both 300000 millis", "Both 240000 millis", "One 240000 millis", "None"])
    }))
})

describe("onInterrupted and onLost", () => {
  const policies = ["requeue", "retry", "fail"] as const
  /** state, attempt of the next (or last) run, and the last line of the history, after each policy */
  const expected = {
    requeue: ["ready", 1],
    retry: ["scheduled", 2],
    fail: ["dead", 1]
  }

  for (const policy of policies) {
    scenario(`onInterrupted: ${policy}`, () =>
      Effect.gen(function*() {
        const started = yield* Deferred.make<void>()
        class Long extends Task.make("Long", { onInterrupted: policy, retry: Schedule.spaced("1 hour") }) {}
        const live = Long.toLayer(() => Effect.andThen(Deferred.succeed(started, undefined), Effect.never))
        const id = yield* Long.enqueue()
        const worker = yield* startWorker(Worker.layer(TaskGroup.make(Long)).pipe(Layer.provide(live)))
        yield* Deferred.await(started)
        const report = yield* worker.interrupt
        const job = yield* record(id)
        assert.deepStrictEqual([job.state, job.attempt], expected[policy])
        assert.strictEqual(job.history.at(-1)?.event, policy === "fail" ? "dead" : "interrupted")
        if (policy === "fail") assert.strictEqual(job.reason, "interrupted")
        assert.deepStrictEqual(
          [report.interrupted, report.dead, report.retried],
          policy === "fail" ? [0, 1, 0] : [1, 0, 0]
        )
      }))

    scenario(`onLost: ${policy}`, () =>
      Effect.gen(function*() {
        const ran: Array<number> = []
        class Long extends Task.make("Long", { onLost: policy, retry: Schedule.spaced("1 hour") }) {}
        const live = Long.toLayer(() => Effect.map(Job.Current, (job) => void ran.push(job.attempt)))
        const id = yield* Long.enqueue()
        const backend = yield* Backend
        yield* Effect.scoped(
          Effect.flatMap(backend.subscribe("default", { worker: "dying" }), (dying) => dying.take(1))
        )
        yield* TestClock.adjust("30 seconds")
        const report = yield* Worker.launch(Worker.layer(TaskGroup.make(Long), drain).pipe(Layer.provide(live)))
        const job = yield* record(id)
        if (policy === "requeue") {
          assert.deepStrictEqual(ran, [1])
          assert.strictEqual(report.succeeded, 1)
        } else {
          assert.deepStrictEqual(ran, [])
          assert.deepStrictEqual([job.state, job.attempt], expected[policy])
          assert.deepStrictEqual([report.interrupted, report.dead], policy === "fail" ? [0, 1] : [1, 0])
          if (policy === "fail") assert.strictEqual(job.reason, "lost")
        }
        assert.include(job.history.map((line) => line.event), "lost")
      }))
  }

  scenario(
    "onLost: fail: a lost job that a gate sends away is lost still, and never runs again (L16)",
    () =>
      Effect.gen(function*() {
        const ran: Array<string> = []
        class Once extends Task.make("Once", { onLost: "fail" }) {}
        const live = Once.toLayer(() => Effect.sync(() => void ran.push("once")))
        const id = yield* Once.enqueue()
        const backend = yield* Backend
        yield* Effect.scoped(
          Effect.flatMap(backend.subscribe("default", { worker: "dying" }), (dying) => dying.take(1))
        )
        yield* TestClock.adjust("30 seconds")
        const work = (admit: NonNullable<Gate.Gate["admit"]>) =>
          Worker.launch(
            Worker.layer(TaskGroup.make(Once), { ...drain, gates: [{ name: "door", admit }] }).pipe(Layer.provide(live))
          )
        assert.strictEqual((yield* work(() => Effect.succeed({ _tag: "Later", millis: 1_000 }))).released, 1)
        yield* TestClock.adjust("1 second")
        yield* work(() => Effect.succeed({ _tag: "Admitted", release: () => Effect.void }))
        assert.deepStrictEqual(ran, [])
        assert.deepInclude(yield* record(id), { state: "dead", reason: "lost" })
      })
  )

  scenario(
    "poison: a job that took its worker down five times in a row is dead; any settlement in between forgives it",
    () =>
      Effect.gen(function*() {
        class Bomb extends Task.make("Bomb") {}
        const live = Bomb.toLayer(() => Effect.void)
        const backend = yield* Backend
        const id = yield* Bomb.enqueue()
        const crash = Effect.gen(function*() {
          const [delivery] = yield* Effect.scoped(
            Effect.flatMap(backend.subscribe("default", { worker: "dying" }), (dying) => dying.take(1))
          )
          assert.strictEqual(delivery?.envelope.id, id)
          yield* TestClock.adjust("30 seconds")
        })
        for (let n = 0; n < 4; n++) yield* crash
        // given back: not a crash
        yield* Effect.scoped(Effect.gen(function*() {
          const other = yield* backend.subscribe("default", { worker: "other" })
          const [delivery] = yield* other.take(1)
          assert.strictEqual(delivery!.unsettled, 4)
          yield* other.settle([[delivery!.receipt, {
            _tag: "Retry",
            why: "snoozed",
            after: 0,
            attempt: "kept",
            place: "back",
            error: undefined
          }]])
        }))
        for (let n = 0; n < 5; n++) yield* crash
        const report = yield* Worker.launch(Worker.layer(TaskGroup.make(Bomb), drain).pipe(Layer.provide(live)))
        assert.strictEqual(report.dead, 1)
        assert.deepInclude(yield* record(id), { state: "dead", reason: "poison" })
      })
  )
})
