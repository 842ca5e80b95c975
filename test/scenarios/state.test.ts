/** Part B of the scenarios: what is handed on, kept and replaced between the wraps of a run. */
import { assert, describe } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { record, scenario, startWorker } from "../support/backends.ts"

class Broken extends Schema.TaggedError<Broken>()("Broken", { at: Schema.String }) {}

const drain = { mode: "drain" } as const

describe("payload, state and context", () => {
  scenario(
    "RT-06 a wrap may hand on another payload; what is stored stays as it is, for the retry as well (L8)",
    () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const Greet = Task.make("Greet", {
          payload: { names: Schema.mutable(Schema.Array(Schema.String)) },
          error: Broken,
          retry: Schedule.recurs(1)
        }).wrap((next, payload, job) =>
          Effect.suspend(() => {
            seen.push(`wrap ${job.attempt} ${payload.names.join()}`)
            payload.names.push("changed in place") // the copy of this attempt
            return next({ names: [...payload.names, `added by ${job.attempt}`] })
          })
        )
        const live = Greet.toLayer(({ names }) =>
          Effect.suspend(() => {
            seen.push(`task ${names.join()}`)
            return seen.length < 4 ? Effect.fail(new Broken({ at: "first" })) : Effect.void
          })
        )
        const id = yield* Greet.enqueue({ names: ["Ada"] })
        yield* Worker.launch(Worker.layer(TaskGroup.make(Greet), drain).pipe(Layer.provide(live)))
        assert.deepStrictEqual(seen, [
          "wrap 1 Ada",
          "task Ada,changed in place,added by 1",
          "wrap 2 Ada",
          "task Ada,changed in place,added by 2"
        ])
        assert.strictEqual((yield* record(id)).envelope.payload, JSON.stringify({ names: ["Ada"] }))
      })
  )

  scenario("RT-07 what before returns is what after gets, job by job", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const all = yield* Deferred.make<void>()
      let running = 0
      const state = Middleware.make(
        "state",
        Middleware.hooks({
          before: (job) => Effect.sync(() => ({ of: job.id })),
          after: (_exit, before, job) => Effect.sync(() => void seen.push(`${before.of === job.id}`))
        })
      )
      const observer = Middleware.observe({
        name: "observer",
        before: (job) => ({ of: job.delivery.envelope.id }),
        after: (_outcome, before, job) => void seen.push(`observer ${before.of === job.delivery.envelope.id}`)
      })
      class Work extends Task.make("Work", { payload: { n: Schema.Number }, middleware: [state] }) {}
      const live = Work.toLayer(() =>
        Effect.suspend(() => ++running === 10 ? Effect.asVoid(Deferred.succeed(all, undefined)) : Deferred.await(all))
      )
      yield* Work.enqueueMany(Array.from({ length: 10 }, (_, n) => ({ n })))
      const options = { ...drain, concurrency: 10, middleware: [observer] } as const
      yield* Worker.launch(Worker.layer(TaskGroup.make(Work), options).pipe(Layer.provide(live)))
      assert.deepStrictEqual(seen.sort(), [...Array(10).fill("observer true"), ...Array(10).fill("true")])
    }))

  scenario(
    "FSQS-10 the inner one's before fails: the outer one's after sees that failure, the inner one's does not run, siblings do",
    () =>
      Effect.gen(function*() {
        const trace: Array<string> = []
        class Outer extends Middleware.Service<Outer>()("t/Outer") {}
        class Inner extends Middleware.Service<Inner>()("t/Inner", { error: Broken }) {}
        class Work extends Task.make("Work", { middleware: [Outer, Inner] }) {}
        const ids: Array<string> = []
        const middleware = Layer.mergeAll(
          Layer.succeed(
            Outer,
            Middleware.hooks({
              after: (exit, _, job) =>
                Effect.sync(() => {
                  const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
                  trace.push(`outer after ${ids.indexOf(job.id)} ${error instanceof Broken ? error.at : "success"}`)
                })
            })
          ),
          Layer.succeed(
            Inner,
            Middleware.hooks({
              before: (job) => ids.indexOf(job.id) === 1 ? Effect.fail(new Broken({ at: "before" })) : Effect.void,
              after: (_exit, _, job) => Effect.sync(() => void trace.push(`inner after ${ids.indexOf(job.id)}`))
            })
          )
        )
        const live = Work.toLayer(() =>
          Effect.flatMap(Job.Current, (job) => Effect.sync(() => void trace.push(`task ${ids.indexOf(job.id)}`)))
        ).pipe(Layer.provide(middleware))
        ids.push(...yield* Work.enqueueMany([undefined, undefined, undefined]))
        const report = yield* Worker.launch(
          Worker.layer(TaskGroup.make(Work), { ...drain, concurrency: 1 }).pipe(Layer.provide(live))
        )
        assert.deepStrictEqual(trace, [
          "task 0",
          "inner after 0",
          "outer after 0 success",
          "outer after 1 before",
          "task 2",
          "inner after 2",
          "outer after 2 success"
        ])
        assert.deepStrictEqual([report.succeeded, report.dead], [2, 1])
        assert.strictEqual((yield* record(ids[1]!)).state, "dead")
      })
  )

  scenario(
    "STAR-10 a task's own wrap may replace the outcome; where it does not, the failure comes out as it went in",
    () =>
      Effect.gen(function*() {
        const original = new Broken({ at: "the bottom" })
        const causes: Array<Cause.Cause<unknown>> = []
        class Pass extends Middleware.Service<Pass>()("t/Pass") {}
        const PassLive = Layer.succeed(
          Pass,
          (next, input) => Effect.catchCause(next(input), (cause) => Effect.failCause(cause))
        )
        const Kept = Task.make("Kept", { error: Broken, middleware: [Pass] })
        const Replaced = Task.make("Replaced", { success: Schema.String, error: Broken, middleware: [Pass] })
          .wrap((next, payload) =>
            Effect.catchTag(next(payload), "Broken", (error) => Effect.succeed(`after ${error.at}`))
          )
        const observer = Middleware.observe({
          name: "observer",
          after: (outcome) => {
            if (outcome._tag === "Dead") causes.push(outcome.cause!)
          }
        })
        const live = Layer.mergeAll(
          Kept.toLayer(() => Effect.fail(original)),
          Replaced.toLayer(() => Effect.fail(original))
        ).pipe(Layer.provide(PassLive))
        const group = TaskGroup.make(Kept, Replaced)
        yield* startWorker(Worker.layer(group, { middleware: [observer] }).pipe(Layer.provide(live)))
        assert.strictEqual(yield* Replaced.execute(), "after the bottom")
        assert.deepStrictEqual(yield* Effect.flip(Kept.execute()), original)
        assert.lengthOf(causes, 1)
        assert.lengthOf(causes[0]!.reasons, 1)
        assert.strictEqual(Cause.squash(causes[0]!), original)
      })
  )

  scenario(
    "STAR-11 what an outer wrap sets is visible inside and in forks; what the handler sets is not visible outside",
    () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const Flavour = Context.Reference<string>("t/Flavour", { defaultValue: () => "none" })
        const look = (where: string) => Effect.map(Flavour, (flavour) => void seen.push(`${where} ${flavour}`))
        const outer = Middleware.make("outer", (next, input) =>
          Effect.tap(Effect.provideService(next(input), Flavour, "set outside"), () =>
            look("outside after next:")))
        class Work extends Task.make("Work", { middleware: [outer] }) {}
        const live = Work.toLayer(() =>
          Effect.gen(function*() {
            yield* look("handler")
            yield* Job.fork(Effect.andThen(Effect.yieldNow, look("fork")))
            yield* Effect.provideService(look("further in"), Flavour, "set inside")
          })
        )
        yield* startWorker(Worker.layer(TaskGroup.make(Work)).pipe(Layer.provide(live)))
        yield* Work.execute()
        assert.deepStrictEqual(seen, [
          "handler set outside",
          "further in set inside",
          "fork set outside",
          "outside after next: none"
        ])
      })
  )
})
