/** The table of outcomes: what each is settled as, whether it spends the attempt, what becomes of the unique key. */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Capability from "windlass/Capability"
import * as Decide from "windlass/Decide"
import * as Enqueue from "windlass/Enqueue"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import { type Outcome, toSettlement } from "windlass/Outcome"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { follow, record, scenario, startWorker } from "../support/backends.ts"

class Broken extends Schema.TaggedError<Broken>()("Broken", { at: Schema.String }) {}

describe("the settlement of an outcome", () => {
  const cause = Cause.die("cause")
  const retry = { _tag: "Retry" } as const
  const table: ReadonlyArray<readonly [Outcome, ReturnType<typeof toSettlement>]> = [
    [
      { _tag: "Succeeded", exit: Exit.succeed(1), encoded: "1" },
      { _tag: "Complete", how: "succeeded", exit: "1", reason: undefined }
    ],
    [
      { _tag: "Discarded", reason: "why", cause },
      { _tag: "Complete", how: "discarded", exit: undefined, reason: "why" }
    ],
    [
      { _tag: "Aborted", cause },
      { _tag: "Complete", how: "aborted", exit: undefined, reason: "aborted on request" }
    ],
    [
      { _tag: "Retried", cause, after: 5, error: "e" },
      { ...retry, why: "failed", after: 5, attempt: "spent", place: "back", error: "e" }
    ],
    [
      { _tag: "Snoozed", after: 5, reason: "why" },
      { ...retry, why: "snoozed", after: 5, attempt: "kept", place: "back", error: "why" }
    ],
    [
      { _tag: "Interrupted", by: "shutdown", then: "requeue", after: 0 },
      { ...retry, why: "interrupted", after: 0, attempt: "kept", place: "front", error: "shutdown" }
    ],
    [
      { _tag: "Interrupted", by: "shutdown", then: "retry", after: 5 },
      { ...retry, why: "interrupted", after: 5, attempt: "spent", place: "back", error: "shutdown" }
    ],
    [
      { _tag: "Interrupted", by: "lost", then: "retry", after: 5 },
      { ...retry, why: "lost", after: 5, attempt: "spent", place: "back", error: "lost" }
    ],
    [
      { _tag: "Released", why: "released", after: 5, reason: "why" },
      { ...retry, why: "released", after: 5, attempt: "kept", place: "front", error: "why" }
    ],
    [
      { _tag: "Released", why: "unknown", after: 5, reason: "why" },
      { ...retry, why: "unknown", after: 5, attempt: "kept", place: "back", error: "why" }
    ],
    [
      { _tag: "Dead", reason: "failed", cause, error: "e", encoded: "{}" },
      { _tag: "Dead", reason: "failed", error: "e", exit: "{}" }
    ]
  ]
  for (const [outcome, settlement] of table) {
    const then = "then" in outcome ? ` by ${outcome.by}, ${outcome.then}` : "why" in outcome ? ` ${outcome.why}` : ""
    it(`${outcome._tag}${then}`, () => {
      assert.deepStrictEqual(toSettlement(outcome), settlement)
    })
  }
})

describe("what an outcome costs", () => {
  class Work extends Task.make("Work", {
    payload: { what: Schema.String },
    error: Broken,
    retry: { schedule: Schedule.spaced("1 hour"), maxAttempts: 3 }
  }) {}
  const ends = {
    succeed: { state: "succeeded", attempt: 1, key: "free" },
    discard: { state: "discarded", attempt: 1, key: "free" },
    fail: { state: "scheduled", attempt: 2, key: "kept" },
    "retry later": { state: "scheduled", attempt: 2, key: "kept" },
    snooze: { state: "scheduled", attempt: 1, key: "kept" },
    dead: { state: "dead", attempt: 1, key: "free" },
    die: { state: "scheduled", attempt: 2, key: "kept" }
  } as const
  const live = Work.toLayer(({ what }) => {
    switch (what as keyof typeof ends) {
      case "succeed":
        return Effect.void
      case "discard":
        return Effect.fail(Decide.discard())
      case "fail":
        return Effect.fail(new Broken({ at: "task" }))
      case "retry later":
        return Effect.fail(Decide.retry({ after: "2 hours" }))
      case "snooze":
        return Effect.fail(Decide.snooze("3 hours"))
      case "dead":
        return Effect.fail(Decide.dead())
      case "die":
        return Effect.die("a bug")
    }
  })

  for (const [what, expected] of Object.entries(ends)) {
    scenario(
      `${what}: ${expected.state}, attempt ${expected.attempt} is next or last, the unique key is ${expected.key}`,
      () =>
        Effect.gen(function*() {
          const id = yield* Work.enqueue({ what }).pipe(Enqueue.uniqueBy("k"))
          yield* Worker.launch(Worker.layer(TaskGroup.make(Work), { mode: "drain" }).pipe(Layer.provide(live)))
          const job = yield* record(id)
          assert.deepInclude(job, { state: expected.state, attempt: expected.attempt })
          const again = yield* Work.enqueue({ what }).pipe(Enqueue.uniqueBy("k", { onConflict: "existing" }))
          assert.strictEqual(again === id ? "kept" : "free", expected.key)
        })
    )
  }

  scenario(
    "a Decide.retry spends an attempt, follows the schedule when it names no delay, and ends at maxAttempts",
    () =>
      Effect.gen(function*() {
        class Again extends Task.make("Again", { retry: { schedule: Schedule.spaced("1 hour"), maxAttempts: 3 } }) {}
        const again = Again.toLayer(() => Effect.fail(Decide.retry({ reason: "not yet" })))
        const worker = yield* startWorker(Worker.layer(TaskGroup.make(Again)).pipe(Layer.provide(again)))
        const events = yield* follow(worker)
        const id = yield* Again.enqueue()
        yield* events.until("Retried")
        assert.strictEqual((yield* record(id)).dueAt, 3_600_000)
        yield* TestClock.adjust("2 hours")
        yield* events.until("Dead")
        assert.deepInclude(yield* record(id), { state: "dead", attempt: 3, reason: "failed" })
      })
  )

  scenario("a snooze does not count as an attempt, however often", () =>
    Effect.gen(function*() {
      let runs = 0
      class Busy extends Task.make("Busy") {}
      const busy = Busy.toLayer(() =>
        Effect.suspend(() => ++runs <= 10 ? Effect.fail(Decide.snooze("1 minute")) : Effect.void)
      )
      const worker = yield* startWorker(Worker.layer(TaskGroup.make(Busy)).pipe(Layer.provide(busy)))
      const events = yield* follow(worker)
      const id = yield* Busy.enqueue()
      yield* events.until("Snoozed")
      yield* TestClock.adjust("10 minutes")
      yield* events.until("Succeeded")
      assert.deepInclude(yield* record(id), { attempt: 1, state: "succeeded" })
      assert.strictEqual((yield* worker.stop).snoozed, 10)
    }))

  scenario(
    "a typed failure survives a release that dies: it decides, and whoever waits gets it typed (L3)",
    () =>
      Effect.gen(function*() {
        const causes: Array<Cause.Cause<unknown>> = []
        const observer = Middleware.observe({
          name: "observer",
          after: (outcome) => {
            if (outcome._tag === "Dead" && outcome.cause !== undefined) causes.push(outcome.cause)
          }
        })
        const bad = Middleware.make("bad", (next, input) =>
          Effect.andThen(
            Effect.acquireRelease(Effect.void, () => Effect.die("the release")),
            next(input)
          ))
        class Fails extends Task.make("Fails", { error: Broken, middleware: [bad] }) {}
        class Succeeds extends Task.make("Succeeds", { middleware: [bad] }) {}
        const both = Layer.mergeAll(
          Fails.toLayer(() => Effect.fail(new Broken({ at: "task" }))),
          Succeeds.toLayer(() => Effect.void)
        )
        const group = TaskGroup.make(Fails, Succeeds)
        yield* startWorker(Worker.layer(group, { middleware: [observer] }).pipe(Layer.provide(both)))
        const error = yield* Effect.flip(Fails.execute())
        assert.strictEqual(error._tag === "Broken" && error.at, "task")
        // the defect of the release is listed beside it
        assert.deepStrictEqual(causes[0]!.reasons.map((reason) => reason._tag).sort(), ["Die", "Fail"])
        // and decides where the run had succeeded
        const dead = yield* Effect.flip(Succeeds.execute())
        assert.deepInclude(dead, { _tag: "windlass/Dead", reason: "failed" })
      })
  )

  scenario(
    "a run that was asked to abort and then fails is aborted: neither retried nor dead",
    () =>
      Effect.gen(function*() {
        const stopped = Effect.repeat(Effect.andThen(Effect.yieldNow, Job.isStopping), {
          until: (stopping) => stopping
        })
        class Late extends Middleware.Service<Late>()("t/Late", { error: Broken }) {}
        const LateLive = Layer.succeed(
          Late,
          Middleware.hooks({ after: () => Effect.andThen(stopped, Effect.fail(new Broken({ at: "after" }))) })
        )
        class Retries extends Task.make("Retries", { middleware: [Late], retry: Schedule.spaced("1 hour") }) {}
        class Once extends Task.make("Once", { middleware: [Late] }) {}
        const both = Layer.mergeAll(Retries.toLayer(() => Effect.void), Once.toLayer(() => Effect.void))
          .pipe(Layer.provide(LateLive))
        const outcomes: Array<string> = []
        const observer = Middleware.observe({ name: "o", after: (outcome) => void outcomes.push(outcome._tag) })
        const worker = yield* startWorker(
          Worker.layer(TaskGroup.make(Retries, Once), { middleware: [observer] }).pipe(Layer.provide(both))
        )
        const events = yield* follow(worker)
        for (const task of [Retries, Once]) {
          const id = yield* task.enqueue()
          yield* events.until("Started", { id })
          assert.strictEqual(yield* (yield* Capability.Cancel).request(id), "Requested")
          yield* events.until("Aborted", { id })
          assert.deepInclude(yield* record(id), { state: "aborted", attempt: 1 })
        }
        // the worker decides that, not only the backend
        assert.deepStrictEqual(outcomes, ["Aborted", "Aborted"])
      })
  )

  scenario("cancelled before it ran: aborted, no attempt spent, the unique key is free", () =>
    Effect.gen(function*() {
      const id = yield* Work.enqueue({ what: "succeed" }).pipe(Enqueue.uniqueBy("k"))
      assert.strictEqual(yield* (yield* Capability.Cancel).request(id), "Cancelled")
      assert.deepInclude(yield* record(id), { state: "aborted", attempt: 0 })
      assert.notStrictEqual(yield* Work.enqueue({ what: "succeed" }).pipe(Enqueue.uniqueBy("k")), id)
    }))
})
