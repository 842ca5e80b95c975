/** Part B of the scenarios, the half that is about settlements: what the backend is told, and when. */
import { assert, describe } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Decide from "windlass/Decide"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { publishRaw, record, scenario, spy, startWorker } from "../support/backends.ts"

class Broken extends Schema.TaggedError<Broken>()("Broken", { at: Schema.String }) {}

const drain = { mode: "drain", concurrency: 1 } as const

describe("what the backend is told", () => {
  scenario(
    "FSQS-15 bytes that do not parse, a payload that does not fit, an unknown task: each fails only its own job, and observers see all three",
    () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const observer = Middleware.observe({
          name: "observer",
          after: (outcome, _, job) =>
            void seen.push(
              `${job.delivery.envelope.id} ${outcome._tag}${outcome._tag === "Dead" ? ` ${outcome.reason}` : ""}`
            )
        })
        const delivery = Middleware.delivery("delivery", (next, delivery) =>
          Effect.suspend(() => {
            seen.push(`delivery ${delivery.envelope.id}`)
            return next(delivery)
          }))
        const run = Middleware.make("run", (next, input, job) =>
          Effect.suspend(() => {
            seen.push(`run ${job.id}`)
            return next(input)
          }))
        class Add extends Task.make("Add", { payload: { n: Schema.Number } }) {}
        yield* publishRaw({ id: "bytes", task: "Add", payload: "{\"n\":" })
        yield* publishRaw({ id: "shape", task: "Add", payload: "{\"n\":\"one\"}" })
        yield* publishRaw({ id: "nobody", task: "Subtract", payload: "{\"n\":1}" })
        yield* publishRaw({ id: "good", task: "Add", payload: "{\"n\":1}" })
        const options = { ...drain, middleware: [observer, delivery, run] } as const
        const report = yield* Worker.launch(
          Worker.layer(TaskGroup.make(Add), options).pipe(Layer.provide(Add.toLayer(() => Effect.void)))
        )
        assert.deepStrictEqual(seen, [
          "delivery bytes",
          "bytes Dead undecodable",
          "delivery shape",
          "shape Dead undecodable",
          "delivery nobody",
          "nobody Released",
          "delivery good",
          "run good",
          "good Succeeded"
        ])
        assert.deepStrictEqual([report.succeeded, report.dead, report.released], [1, 2, 1])
        assert.include((yield* record("shape")).error, "Expected")
      })
  )

  scenario(
    "AMGI-10 a handler that returns makes exactly one success, one that fails exactly one failure with its error (L13)",
    () =>
      Effect.gen(function*() {
        const watched = yield* spy()
        class Work extends Task.make("Work", { payload: { fail: Schema.Boolean }, error: Broken }) {}
        const live = Work.toLayer(({ fail }) => fail ? Effect.fail(new Broken({ at: "the handler" })) : Effect.void)
        const [good, bad] = yield* Work.enqueueMany([{ fail: false }, { fail: true }])
        yield* Worker.launch(
          Worker.layer(TaskGroup.make(Work), drain).pipe(Layer.provide(live), Layer.provide(watched.layer))
        )
        assert.deepStrictEqual(watched.settlements.map((s) => [s.id, s.settlement._tag, s.answer]), [
          [good, "Complete", "Settled"],
          [bad, "Dead", "Settled"]
        ])
        const job = yield* record(bad!)
        assert.include(job.error, "Broken")
        assert.include(job.exit, "the handler")
      })
  )

  scenario(
    "AMGI-12 a stop in the middle of a job: it is explicitly given back, and runs again elsewhere",
    () =>
      Effect.gen(function*() {
        const watched = yield* spy()
        const started = yield* Deferred.make<void>()
        let blocking = true
        class Long extends Task.make("Long") {}
        const live = Long.toLayer(() =>
          Effect.suspend(() =>
            blocking ? Effect.andThen(Deferred.succeed(started, undefined), Effect.never) : Effect.void
          )
        )
        const id = yield* Long.enqueue()
        const group = TaskGroup.make(Long)
        const worker = yield* startWorker(
          Worker.layer(group, { shutdownGrace: "5 seconds" }).pipe(Layer.provide(live), Layer.provide(watched.layer))
        )
        yield* Deferred.await(started)
        const stopping = yield* Effect.forkScoped(worker.stop, { startImmediately: true })
        yield* TestClock.adjust("5 seconds")
        const report = yield* stopping.pollUnsafe() ?? Effect.die("it still stops")
        assert.strictEqual(report.interrupted, 1)
        assert.lengthOf(watched.settlements, 1)
        const { answer, settlement } = watched.settlements[0]!
        assert.strictEqual(answer, "Settled")
        assert.deepInclude(settlement, { _tag: "Retry", why: "interrupted", attempt: "kept", place: "front", after: 0 })
        blocking = false
        assert.strictEqual((yield* record(id)).state, "ready")
        yield* Worker.launch(Worker.layer(group, drain).pipe(Layer.provide(live)))
        const job = yield* record(id)
        assert.deepStrictEqual([job.state, job.attempt], ["succeeded", 1])
      })
  )

  scenario(
    "AMGI-13 a middleware that skips next says what becomes of the job; a success is never implied (L14)",
    () =>
      Effect.gen(function*() {
        const watched = yield* spy()
        const ran: Array<string> = []
        const decisions: Record<string, Decide.Decide> = {
          Discard: Decide.discard("not wanted"),
          Dead: Decide.dead("poisoned"),
          Snooze: Decide.snooze("1 hour", "too busy"),
          Retry: Decide.retry({ after: "2 hours", reason: "try later" })
        }
        const gate = Middleware.make("gate", (_next, _input, job) => Effect.fail(decisions[job.task]!))
        const make = <const Name extends string>(name: Name) =>
          Task.make(name, { middleware: [gate], retry: Schedule.recurs(1) })
        const tasks = [make("Discard"), make("Dead"), make("Snooze"), make("Retry")] as const
        const [discard, dead, snooze, retry] = tasks
        const handler = () => Effect.sync(() => void ran.push("ran"))
        const live = Layer.mergeAll(
          discard.toLayer(handler),
          dead.toLayer(handler),
          snooze.toLayer(handler),
          retry.toLayer(handler)
        )
        for (const task of tasks) yield* task.enqueue()
        const report = yield* Worker.launch(
          Worker.layer(TaskGroup.make(...tasks), drain).pipe(Layer.provide(live), Layer.provide(watched.layer))
        )
        assert.deepStrictEqual(ran, [])
        const settlements = watched.settlements.map((s) => s.settlement)
        assert.lengthOf(settlements, 4)
        assert.deepInclude(settlements[0], { _tag: "Complete", how: "discarded", reason: "not wanted" })
        assert.deepInclude(settlements[1], { _tag: "Dead", reason: "decided", error: "poisoned" })
        assert.deepInclude(settlements[2], { _tag: "Retry", why: "snoozed", attempt: "kept", after: 3_600_000 })
        assert.deepInclude(settlements[3], { _tag: "Retry", why: "failed", attempt: "spent", after: 7_200_000 })
        assert.deepStrictEqual(
          [report.succeeded, report.discarded, report.dead, report.snoozed, report.retried],
          [0, 1, 1, 1, 1]
        )
      })
  )

  scenario(
    "AMGI-14 the handler's scope is closed before any after, on failure as well; a release that dies fails the job, a wrap that swallows makes it succeed (L2)",
    () =>
      Effect.gen(function*() {
        const trace: Array<string> = []
        const watched = yield* spy()
        class Connection extends Context.Service<Connection, { readonly ok: boolean }>()("t/Connection") {}
        class Connect extends Middleware.Service<Connect, { provides: Connection }>()("t/Connect") {}
        const ConnectLive = Layer.succeed(
          Connect,
          Middleware.hooks({
            provides: Connection,
            before: () =>
              Effect.acquireRelease(
                Effect.sync(() => (trace.push("connect"), { ok: true })),
                () => Effect.sync(() => void trace.push("disconnect"))
              ),
            after: (exit) => Effect.sync(() => void trace.push(`after ${exit._tag}`))
          })
        )
        const dependency = (closes: Effect.Effect<void>) =>
          Effect.acquireRelease(
            Effect.sync(() => void trace.push("open")),
            () => Effect.andThen(Effect.sync(() => void trace.push("close")), closes)
          )
        const make = <const Name extends string>(name: Name) =>
          Task.make(name, { error: Broken, middleware: [Connect] })
        const Good = make("Good")
        const Fails = make("Fails")
        const DiesOnClose = make("DiesOnClose")
        const Swallows = make("Swallows").wrap((next, payload) => Effect.catch(next(payload), () => Effect.void))
        const live = Layer.mergeAll(
          Good.toLayer(() => Effect.andThen(Connection, dependency(Effect.void))),
          Fails.toLayer(() => Effect.andThen(dependency(Effect.void), Effect.fail(new Broken({ at: "task" })))),
          DiesOnClose.toLayer(() => dependency(Effect.die("the release"))),
          Swallows.toLayer(() => Effect.andThen(dependency(Effect.void), Effect.fail(new Broken({ at: "task" }))))
        ).pipe(Layer.provide(ConnectLive))
        for (const task of [Good, Fails, DiesOnClose, Swallows]) yield* task.enqueue()
        yield* Worker.launch(
          Worker.layer(TaskGroup.make(Good, Fails, DiesOnClose, Swallows), drain)
            .pipe(Layer.provide(live), Layer.provide(watched.layer))
        )
        const run = (exit: string) => ["connect", "open", "close", `after ${exit}`, "disconnect"]
        assert.deepStrictEqual(trace, [...run("Success"), ...run("Failure"), ...run("Failure"), ...run("Success")])
        assert.deepStrictEqual(watched.settlements.map((s) => s.settlement._tag), [
          "Complete",
          "Dead",
          "Dead",
          "Complete"
        ])
      })
  )
})
