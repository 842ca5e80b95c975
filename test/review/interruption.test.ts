/** What a stop does to middleware that waits, and what nobody can make of it. */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import type { Settlement } from "windlass/Backend"
import * as Decide from "windlass/Decide"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { record, scenario, startWorker } from "../support/backends.ts"

class Boom extends Schema.TaggedError<Boom>()("Boom", {}) {}
class Work extends Task.make("Work", { success: Schema.String, error: Boom }) {}

const waits = Effect.interruptible(Effect.never)

describe("a wait that a middleware marked as interruptible, at a shutdown", () => {
  scenario(
    "L13 an outer wrap that catches it and answers does not make the run a success",
    () =>
      Effect.gen(function*() {
        const Caught = Work
          .wrap((next, payload) => Effect.andThen(waits, next(payload)))
          .wrap((next, payload) => Effect.catchCause(next(payload), () => Effect.succeed("caught")))
        const live = Caught.toLayer(() => Effect.succeed("ran"))
        const worker = yield* startWorker(Worker.layer(TaskGroup.make(Caught)).pipe(Layer.provide(live)))
        const id = yield* Caught.enqueue()
        yield* TestClock.adjust("1 second")
        const report = yield* worker.interrupt
        assert.deepStrictEqual([report.succeeded, report.interrupted], [0, 1])
        assert.strictEqual((yield* record(id)).state, "ready")
      })
  )

  scenario(
    "L13 in a delivery middleware: the job follows onInterrupted and pays no attempt",
    () =>
      Effect.gen(function*() {
        const key = Middleware.delivery("key", (next, delivery) => Effect.andThen(waits, next(delivery)))
        const live = Work.toLayer(() => Effect.succeed("ran"))
        const worker = yield* startWorker(
          Worker.layer(TaskGroup.make(Work), { middleware: [key] }).pipe(Layer.provide(live))
        )
        const id = yield* Work.enqueue()
        yield* TestClock.adjust("1 second")
        const report = yield* worker.interrupt
        assert.deepStrictEqual([report.dead, report.interrupted], [0, 1])
        const job = yield* record(id)
        assert.deepStrictEqual([job.state, job.attempt], ["ready", 1])
      })
  )

  scenario(
    "L13 a delivery middleware that catches it cannot elect a success for a job that did not run",
    () =>
      Effect.gen(function*() {
        const done: Settlement = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }
        const inner = Middleware.delivery("inner", (next, delivery) => Effect.andThen(waits, next(delivery)))
        const outer = Middleware.delivery(
          "outer",
          (next, delivery) => Effect.catchCause(next(delivery), () => Effect.succeed(done))
        )
        const live = Work.toLayer(() => Effect.succeed("ran"))
        const worker = yield* startWorker(
          Worker.layer(TaskGroup.make(Work), { middleware: [outer, inner] }).pipe(Layer.provide(live))
        )
        const id = yield* Work.enqueue()
        yield* TestClock.adjust("1 second")
        const report = yield* worker.interrupt
        assert.deepStrictEqual([report.succeeded, report.interrupted], [0, 1])
        assert.strictEqual((yield* record(id)).state, "ready")
      })
  )
})

describe("the failure that decides", () => {
  scenario(
    "L3 one that a wrap made a defect on purpose is a defect, to the retry policy and to who waits",
    () =>
      Effect.gen(function*() {
        const asked: Array<string> = []
        const OrDie = Task.make("OrDie", {
          error: Boom,
          retry: {
            schedule: Schedule.recurs(3),
            while: (failure) => {
              asked.push(failure._tag)
              return false
            }
          }
        }).wrap((next, payload) => Effect.catchTag(next(payload), "Boom", (boom) => Effect.die(boom)))
        yield* startWorker(
          Worker.layer(TaskGroup.make(OrDie)).pipe(Layer.provide(OrDie.toLayer(() => Effect.fail(new Boom()))))
        )
        const error = yield* Effect.flip(OrDie.execute())
        assert.instanceOf(error, Job.Dead)
        assert.deepStrictEqual(asked, ["windlass/Died"])
      })
  )

  scenario(
    "L3 the same failure under a release that dies is still the typed one, also in a wrap's own finalizer",
    () =>
      Effect.gen(function*() {
        const Dying = Task.make("Dying", { error: Boom }).wrap((next, payload) =>
          Effect.ensuring(next(payload), Effect.die("release"))
        )
        yield* startWorker(
          Worker.layer(TaskGroup.make(Dying)).pipe(Layer.provide(Dying.toLayer(() => Effect.fail(new Boom()))))
        )
        assert.instanceOf(yield* Effect.flip(Dying.execute()), Boom)
      })
  )

  scenario(
    "a Decide.retry with a delay is capped as well: 25 attempts where the task has no policy",
    () =>
      Effect.gen(function*() {
        let runs = 0
        class Asks extends Task.make("Asks") {}
        yield* startWorker(
          Worker.layer(TaskGroup.make(Asks)).pipe(Layer.provide(Asks.toLayer(() =>
            Effect.suspend(() => {
              runs++
              return Effect.fail(Decide.retry({ after: "1 second" }))
            })
          )))
        )
        const id = yield* Asks.enqueue()
        yield* TestClock.adjust("1 hour")
        assert.strictEqual((yield* record(id)).state, "dead")
        assert.strictEqual(runs, 25)
      })
  )
})

scenario(
  "L3 a dead letter has the typed failure in its encoded form, also when nobody waits for the result",
  () =>
    Effect.gen(function*() {
      class Fails extends Task.make("Fails", { error: Boom }) {}
      yield* startWorker(
        Worker.layer(TaskGroup.make(Fails)).pipe(Layer.provide(Fails.toLayer(() => Effect.fail(new Boom()))))
      )
      const id = yield* Fails.enqueue()
      yield* TestClock.adjust("1 second")
      const job = yield* record(id)
      assert.strictEqual(job.state, "dead")
      assert.include(job.exit, "Boom")
    }),
  { retention: {} }
)
