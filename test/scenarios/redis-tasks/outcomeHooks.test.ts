/**
 * What redis-tasks calls `process_outcome`: hooks on the outcome, for every end that a job can come to. Lists of hooks
 * and all combinations of what they answer are in test/laws/outcomeHooks.test.ts.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Backend } from "windlass/Backend"
import * as Capability from "windlass/Capability"
import * as Decide from "windlass/Decide"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import * as OutcomeHook from "windlass/middleware/OutcomeHook"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import { Harness } from "windlass/testing"
import * as Worker from "windlass/Worker"
import { follow, publishRaw, record, scenario, startWorker } from "../../support/backends.ts"

class Rejected extends Schema.TaggedError<Rejected>()("Rejected", { why: Schema.String }) {}

/** notes every outcome that it sees */
const watching = (seen: Array<string>, name = "") =>
  OutcomeHook.make(`watching${name}`, (outcome, job) =>
    Effect.sync(() => {
      const detail = outcome._tag === "Dead" ? ` ${outcome.reason}` : ""
      seen.push(`${name}${job.task} ${outcome._tag}${detail}`)
    }))

const drain = { mode: "drain", concurrency: 1 } as const

describe("outcome hooks", () => {
  scenario(
    "RT-01 all of them run, from the inside out, also those of middleware that was never entered, and after the whole chain",
    () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const entered = (name: string, fails: boolean) =>
          Middleware.make(name, (next, input) =>
            Effect.andThen(
              Effect.sync(() => void seen.push(`${name} enters`)),
              Effect.ensuring(
                fails ? Effect.die("the middle one") : next(input),
                Effect.sync(() => void seen.push(`${name} ends`))
              )
            ))
        class Work extends Task.make("Work") {}
        const live = Work.toLayer(() => Effect.sync(() => void seen.push("handler")))
        yield* Work.enqueue()
        yield* Worker.launch(
          Worker.layer(TaskGroup.make(Work), {
            ...drain,
            middleware: [
              watching(seen, "0 "),
              entered("0", false),
              watching(seen, "1 "),
              entered("1", true),
              watching(seen, "2 "),
              entered("2", false)
            ]
          }).pipe(Layer.provide(live))
        )
        assert.deepStrictEqual(seen, [
          "0 enters",
          "1 enters",
          "1 ends",
          "0 ends",
          "2 Work Dead failed",
          "1 Work Dead failed",
          "0 Work Dead failed"
        ])
      })
  )

  scenario(
    "RT-14 they run for the ends that no handler saw: a lost worker, a payload that cannot be read, too late, unknown for too long; not for one that was cancelled",
    () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const backend = yield* Backend
        const cancel = yield* Capability.Cancel
        class Once extends Task.make("Once", { onLost: "fail" }) {}
        class Again extends Task.make("Again") {}
        class Reads extends Task.make("Reads", { payload: { n: Schema.Number } }) {}
        class Late extends Task.make("Late", { deadline: "5 seconds" }) {}
        const group = TaskGroup.make(Once, Again, Reads, Late)
        const handler = (task: string) => () => Effect.sync(() => void seen.push(`${task} runs`))
        const live = Layer.mergeAll(
          Once.toLayer(handler("Once")),
          Again.toLayer(handler("Again")),
          Reads.toLayer(handler("Reads")),
          Late.toLayer(handler("Late"))
        )
        const once = yield* Once.enqueue()
        yield* Again.enqueue()
        yield* Effect.scoped(
          Effect.flatMap(backend.subscribe("default", { worker: "dying" }), (dying) => dying.take(2))
        )
        yield* Late.enqueue()
        yield* publishRaw({ id: "malformed", task: "Reads", payload: "{" })
        yield* publishRaw({ id: "unknown", task: "Nobody's", payload: "null" })
        const cancelled = yield* Reads.enqueue({ n: 1 })
        yield* cancel.request(cancelled) // while it waits: nothing runs, no hook either
        yield* TestClock.adjust("31 seconds")
        yield* Worker.launch(
          Worker.layer(group, { ...drain, unknownFor: 0, middleware: [watching(seen)] }).pipe(Layer.provide(live))
        )
        assert.sameMembers(seen, [
          "Once Dead lost",
          "Again runs",
          "Again Succeeded",
          "Late Dead expired",
          "Reads Dead undecodable",
          "Nobody's Dead unknown-task"
        ])
        assert.strictEqual((yield* record(once)).reason, "lost")
      })
  )

  scenario(
    "RT-12 a job that a shutdown puts back has no outcome: no hook runs; one that may not run again has one",
    () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const both = yield* Deferred.make<void>()
        let running = 0
        class Again extends Task.make("Again") {}
        class Once extends Task.make("Once", { onInterrupted: "fail" }) {}
        const body = () =>
          Effect.suspend(() =>
            ++running === 2 ? Effect.andThen(Deferred.succeed(both, undefined), Effect.never) : Effect.never
          )
        yield* Again.enqueue()
        const once = yield* Once.enqueue()
        // what suppresses it cannot call it a success (L13): it is discarded
        const lenient = OutcomeHook.make("lenient", () => Effect.succeed(OutcomeHook.suppress))
        const worker = yield* startWorker(
          Worker.layer(TaskGroup.make(Again, Once), {
            middleware: [watching(seen, "0 "), lenient, watching(seen, "1 ")]
          })
            .pipe(Layer.provide([Again.toLayer(body), Once.toLayer(body)]))
        )
        yield* Deferred.await(both)
        const report = yield* worker.interrupt
        assert.deepStrictEqual(seen, ["1 Once Dead interrupted", "0 Once Discarded"])
        assert.deepStrictEqual([report.interrupted, report.discarded, report.succeeded], [1, 1, 0])
        const job = yield* record(once)
        assert.deepStrictEqual([job.state, job.reason], ["discarded", "lenient suppressed: cut short: shutdown"])
      })
  )

  scenario(
    "L13 no middleware of the delivery point calls a run that was cut short a success, or ends one that runs again",
    () =>
      Effect.gen(function*() {
        const both = yield* Deferred.make<void>()
        let running = 0
        class Again extends Task.make("Again", { success: Schema.String }) {}
        class Once extends Task.make("Once", { onInterrupted: "fail", success: Schema.String }) {}
        const body = () =>
          Effect.suspend(() =>
            ++running === 2 ? Effect.andThen(Deferred.succeed(both, undefined), Effect.never) : Effect.never
          )
        const again = yield* Again.enqueue()
        const once = yield* Once.enqueue()
        const done = Middleware.delivery("done", (next, delivery) =>
          Effect.as(
            next(delivery),
            delivery.envelope.id === once
              ? { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }
              : { _tag: "Complete", how: "discarded", exit: undefined, reason: "no patience" }
          ))
        const worker = yield* startWorker(
          Worker.layer(TaskGroup.make(Again, Once), { middleware: [done], logJobs: false })
            .pipe(Layer.provide([Again.toLayer(body), Once.toLayer(body)]))
        )
        yield* Deferred.await(both)
        yield* worker.interrupt
        assert.strictEqual((yield* record(once)).reason, "interrupted")
        assert.strictEqual((yield* record(again)).state, "ready")
      })
  )

  scenario(
    "RT-15 they run for a time-out, also of a task that may run again, and for every attempt that is retried",
    () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        class Slow extends Task.make("Slow", { timeout: "5 seconds", retry: Schedule.recurs(1) }) {}
        const worker = yield* startWorker(
          Worker.layer(TaskGroup.make(Slow), { middleware: [watching(seen)] }).pipe(
            Layer.provide(Slow.toLayer(() => Effect.never))
          )
        )
        const events = yield* follow(worker)
        yield* Slow.enqueue()
        yield* events.until("Started")
        yield* TestClock.adjust("5 seconds")
        yield* events.until("Started", { count: 2 })
        yield* TestClock.adjust("5 seconds")
        yield* events.until("Dead")
        assert.deepStrictEqual(seen, ["Slow Retried", "Slow Dead timeout"])
      })
  )

  scenario(
    "RT-12 a handler that interrupts itself without having been asked has failed, and its hooks run",
    () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        class Gives extends Task.make("Gives") {}
        const id = yield* Gives.enqueue()
        yield* Worker.launch(
          Worker.layer(TaskGroup.make(Gives), { ...drain, middleware: [watching(seen)] }).pipe(
            Layer.provide(Gives.toLayer(() => Effect.interrupt))
          )
        )
        assert.deepStrictEqual(seen, ["Gives Dead failed"])
        assert.strictEqual((yield* record(id)).state, "dead")
      })
  )
})

describe("what a hook makes of a failure", () => {
  const failing = { error: Rejected, queue: "q" } as const
  class Nothing extends Task.make("Nothing", failing) {}
  class Text extends Task.make("Text", { ...failing, success: Schema.String }) {}
  const live = Layer.mergeAll(
    Nothing.toLayer(() => Effect.fail(new Rejected({ why: "full" }))),
    Text.toLayer(() => Effect.fail(new Rejected({ why: "full" })))
  )
  const working = (...middleware: ReadonlyArray<Middleware.Delivery>) =>
    startWorker(
      Worker.layer(TaskGroup.make(Nothing, Text), { middleware, logJobs: false }).pipe(Layer.provide(live))
    )

  scenario(
    "L14 suppressed: a success of a task that succeeds with nothing, discarded where there is a result to have",
    () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        yield* working(watching(seen), OutcomeHook.make("lenient", () => Effect.succeed(OutcomeHook.suppress)))
        yield* Nothing.execute()
        const error = yield* Effect.flip(Text.execute())
        assert.instanceOf(error, Job.Discarded)
        assert.strictEqual(error.reason, "lenient suppressed: Rejected")
        assert.deepStrictEqual(seen, ["Nothing Succeeded", "Text Discarded"])
      })
  )

  scenario(
    "RT-14 a hook has the payload, also of a job that was lost before it was decoded; none where it cannot be read",
    () =>
      Effect.gen(function*() {
        const seen: Array<unknown> = []
        const backend = yield* Backend
        class Reads extends Task.make("Reads", { payload: { n: Schema.Number }, onLost: "fail", queue: "q" }) {}
        yield* Reads.enqueue({ n: 1 })
        yield* Effect.scoped(Effect.flatMap(backend.subscribe("q", { worker: "dying" }), (dying) => dying.take(1)))
        yield* Reads.enqueue({ n: 2 })
        yield* publishRaw({ id: "malformed", task: "Reads", payload: "{" }, "q")
        yield* publishRaw({ id: "newer", task: "Reads", payload: "{\"n\":3}", version: 2 }, "q")
        yield* TestClock.adjust("31 seconds")
        const all = OutcomeHook.make("all", (outcome, job, payload) =>
          Effect.sync(() =>
            void seen.push([outcome._tag === "Dead" ? outcome.reason : outcome._tag, payload])
          ))
        const own = OutcomeHook.forTask("own", Reads, (_, job, payload) =>
          Effect.sync(() =>
            void seen.push(payload === undefined ? `${job.id} unread` : payload.n)
          ))
        yield* Worker.launch(
          Worker.layer(TaskGroup.make(Reads), { ...drain, unknownFor: 0, middleware: [all, own], logJobs: false }).pipe(
            Layer.provide(Reads.toLayer(() =>
              Effect.void
            ))
          )
        )
        assert.deepStrictEqual(seen, [
          1,
          ["lost", { n: 1 }],
          2,
          ["Succeeded", { n: 2 }],
          "malformed unread",
          ["undecodable", undefined],
          "newer unread",
          ["unknown-task", undefined]
        ])
      })
  )

  scenario("L14 a task's own hook has a result, and sees the jobs of no other task", () =>
    Effect.gen(function*() {
      const rescue = OutcomeHook.forTask("rescue", Text, (outcome) =>
        outcome._tag === "Dead" ? Effect.succeed(OutcomeHook.succeed("nearly")) : Effect.void)
      yield* working(rescue)
      assert.strictEqual(yield* Text.execute(), "nearly")
      assert.instanceOf(yield* Effect.flip(Nothing.execute()), Rejected)
    }))

  scenario(
    "L3 replaced: what the task declares arrives typed, everything else as a defect, a Decide is decided",
    () =>
      Effect.gen(function*() {
        const outer = (hook: (line: string) => Effect.Effect<void, unknown>) =>
          working(
            OutcomeHook.make("replaces", (outcome) => hook(outcome._tag === "Dead" ? outcome.error : outcome._tag))
          )
        const run = (hook: (line: string) => Effect.Effect<void, unknown>) =>
          Effect.scoped(Effect.andThen(outer(hook), Effect.flip(Nothing.execute())))
        const typed = yield* run((line) => Effect.fail(new Rejected({ why: `not ${line}` })))
        assert.deepStrictEqual(typed, new Rejected({ why: "not Rejected" }))
        const foreign = yield* run(() => Effect.fail("of nobody's schema"))
        assert.strictEqual((foreign as Job.Dead).reason, "failed")
        assert.include((foreign as Job.Dead).detail, "of nobody's schema")
        const died = yield* run(() => Effect.die(new Error("the hook broke")))
        assert.include((died as Job.Dead).detail, "the hook broke")
        const decided = yield* run(() => Effect.fail(Decide.discard("let it go")))
        assert.strictEqual((decided as Job.Discarded).reason, "let it go")
      })
  )

  scenario(
    "L3 a failure in place of a success: the attempt has failed, and is retried as the task says",
    () =>
      Effect.gen(function*() {
        const asked: Array<string> = []
        class Well extends Task.make("Well", {
          retry: { schedule: Schedule.recurs(5), while: (failure) => (asked.push(failure._tag), asked.length < 2) }
        }) {}
        const id = yield* Well.enqueue()
        const seen: Array<string> = []
        const strict = OutcomeHook.make(
          "strict",
          (outcome) => outcome._tag === "Succeeded" ? Effect.fail("too good") : Effect.void
        )
        yield* Worker.launch(
          Worker.layer(TaskGroup.make(Well), { ...drain, middleware: [watching(seen), strict] }).pipe(
            Layer.provide(Well.toLayer(() => Effect.void))
          )
        )
        assert.deepStrictEqual(asked, ["windlass/Died", "windlass/Died"])
        assert.deepStrictEqual(seen, ["Well Retried", "Well Dead failed"])
        assert.include((yield* record(id)).error, "too good")
      })
  )

  scenario(
    "L11 an observer outside of the hooks sees what they made of it, with the cause",
    () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const observer = Middleware.observe({
          name: "observer",
          after: (outcome) => {
            if (outcome._tag === "Dead" && outcome.cause !== undefined) seen.push(String(Cause.squash(outcome.cause)))
          }
        })
        yield* startWorker(
          Worker.layer(TaskGroup.make(Nothing, Text), {
            middleware: [OutcomeHook.make("replaces", () => Effect.die("another")), observer],
            logJobs: false
          }).pipe(Layer.provide(live))
        )
        yield* Effect.flip(Nothing.execute())
        assert.deepStrictEqual(seen, ["another"])
      })
  )

  scenario("L3 a failure in place of one that is not retried is asked about anew", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      class Picky extends Task.make("Picky", {
        error: Rejected,
        retry: { schedule: Schedule.recurs(1), while: (failure) => failure._tag === "windlass/Died" }
      }) {}
      yield* Picky.enqueue()
      yield* Worker.launch(
        Worker.layer(TaskGroup.make(Picky), {
          ...drain,
          middleware: [
            watching(seen, "0 "),
            OutcomeHook.make("replaces", (outcome, { attempt }) =>
              attempt === 1 ? Effect.die(`not ${outcome._tag}`) : Effect.void),
            watching(seen, "1 ")
          ]
        }).pipe(Layer.provide(Picky.toLayer(() =>
          Effect.fail(new Rejected({ why: "full" }))
        )))
      )
      assert.deepStrictEqual(seen, [
        "1 Picky Dead failed",
        "0 Picky Retried",
        "1 Picky Dead failed",
        "0 Picky Dead failed"
      ])
    }))
})

describe("a hook and the worker's stops", () => {
  it.effect("L16 a job whose lease was lost is another worker's: its hooks do not run here", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      class Once extends Task.make("Once", { onLost: "fail", onInterrupted: "fail" }) {}
      const play = (stop: "lost" | "shutdown") => Harness.run(watching(seen), { task: Once, inner: Effect.never, stop })
      assert.isUndefined((yield* play("lost")).settlement)
      assert.deepStrictEqual(seen, [])
      yield* play("shutdown")
      assert.deepStrictEqual(seen, ["Once Dead interrupted"])
    }))

  it.effect("L17 a hook runs to its end; a wait that it marks as interruptible is cut, and the outcome stands", () =>
    Effect.gen(function*() {
      const play = (wait: (asked: Deferred.Deferred<void>) => Effect.Effect<void>) =>
        Effect.gen(function*() {
          const waiting = yield* Deferred.make<void>()
          const asked = yield* Deferred.make<void>()
          const lines: Array<string> = []
          const hook = OutcomeHook.make("waits", () =>
            Effect.gen(function*() {
              yield* Effect.addFinalizer(() => Effect.sync(() => void lines.push("closed")))
              yield* Deferred.succeed(waiting, undefined)
              yield* wait(asked)
              lines.push("over")
              return yield* Effect.fail("in its place")
            }))
          yield* Effect.forkScoped(Effect.andThen(Deferred.await(waiting), Deferred.succeed(asked, undefined)))
          const { outcome } = yield* Harness.run(hook, {
            stop: { why: "shutdown", when: Deferred.await(asked) }
          })
          return [outcome._tag, ...lines]
        })
      assert.deepStrictEqual(yield* play((asked) => Deferred.await(asked)), ["Dead", "over", "closed"])
      assert.deepStrictEqual(yield* play(() => Effect.interruptible(Effect.never)), ["Succeeded", "closed"])
    }))
})
