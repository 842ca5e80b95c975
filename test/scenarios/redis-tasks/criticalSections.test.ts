/**
 * What redis-tasks calls `PostponeShutdown`, and what its re-entrant tasks remember. A critical section is a region that
 * Effect does not interrupt: there is nothing of Windlass in it but the limit of its time.
 */
import { assert, describe } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Capability from "windlass/Capability"
import * as Job from "windlass/Job"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { record, scenario, startWorker } from "../../support/backends.ts"

describe("critical sections", () => {
  scenario(
    "RT-12 a section postpones the shutdown until the outermost of nested ones is left, and the interruption comes there",
    () =>
      Effect.gen(function*() {
        const lines: Array<string> = []
        const note = (line: string) => Effect.sync(() => void lines.push(line))
        const inside = yield* Deferred.make<void>()
        class Work extends Task.make("Work") {}
        const live = Work.toLayer(() =>
          Effect.gen(function*() {
            yield* Effect.uninterruptible(Effect.gen(function*() {
              yield* Effect.uninterruptible(Effect.gen(function*() {
                yield* Deferred.succeed(inside, undefined)
                yield* Effect.sleep("20 seconds")
                yield* note("the inner one is over")
              }))
              // asked to stop, and told so
              yield* note(`stopping: ${yield* Job.isStopping}`)
              yield* Effect.sleep("5 seconds")
              yield* note("the outer one is over")
            }))
            yield* note("never here")
          }).pipe(Effect.onInterrupt(() => note("interrupted")))
        )
        const id = yield* Work.enqueue()
        const worker = yield* startWorker(
          Worker.layer(TaskGroup.make(Work), { shutdownGrace: "10 seconds", stuckAfter: "1 minute" }).pipe(
            Layer.provide(live)
          )
        )
        yield* Deferred.await(inside)
        const stopping = yield* Effect.forkScoped(worker.stop, { startImmediately: true })
        yield* TestClock.adjust("24 seconds") // fourteen after the interruption was asked for
        assert.deepStrictEqual(lines, ["the inner one is over", "stopping: true"])
        assert.strictEqual((yield* record(id)).state, "active")
        yield* TestClock.adjust("1 second")
        const report = yield* stopping.pollUnsafe() ?? Effect.die("it still stops")
        assert.deepStrictEqual(lines.slice(2), ["the outer one is over", "interrupted"])
        assert.deepStrictEqual([report.interrupted, report.stuck, report.failure], [1, 0, undefined])
        assert.strictEqual((yield* record(id)).state, "ready")
      })
  )

  scenario(
    "RT-12 a section that ends within the grace period is not cut at all; one that ends later is, also where the handler ends with it",
    () =>
      Effect.gen(function*() {
        let inside = yield* Deferred.make<void>()
        class Work extends Task.make("Work") {}
        const live = Work.toLayer(() =>
          Effect.uninterruptible(
            Effect.andThen(Effect.suspend(() => Deferred.succeed(inside, undefined)), Effect.sleep("15 seconds"))
          )
        )
        const stopAfter = (shutdownGrace: "20 seconds" | "10 seconds") =>
          Effect.gen(function*() {
            inside = yield* Deferred.make<void>()
            const worker = yield* startWorker(
              Worker.layer(TaskGroup.make(Work), { shutdownGrace }).pipe(Layer.provide(live), Layer.fresh)
            )
            yield* Deferred.await(inside)
            const stopping = yield* Effect.forkScoped(worker.stop, { startImmediately: true })
            yield* TestClock.adjust("15 seconds")
            return yield* stopping.pollUnsafe() ?? Effect.die("it still stops")
          })
        const id = yield* Work.enqueue()
        // the interruption waits at the end of the section, as the exception of a postponed shutdown does
        const cut = yield* stopAfter("10 seconds")
        assert.deepStrictEqual([cut.succeeded, cut.interrupted], [0, 1])
        assert.strictEqual((yield* record(id)).state, "ready")
        const calm = yield* stopAfter("20 seconds")
        assert.deepStrictEqual([calm.succeeded, calm.interrupted], [1, 0])
        assert.strictEqual((yield* record(id)).state, "succeeded")
      })
  )

  scenario(
    "L13 a section that is longer than shutdownGrace and stuckAfter together is given up: the worker says so and ends",
    () =>
      Effect.gen(function*() {
        const inside = yield* Deferred.make<void>()
        class Work extends Task.make("Work") {}
        const live = Work.toLayer(() =>
          Effect.uninterruptible(Effect.andThen(Deferred.succeed(inside, undefined), Effect.never))
        )
        yield* Work.enqueue()
        const worker = yield* startWorker(
          Worker.layer(TaskGroup.make(Work), { shutdownGrace: "10 seconds", stuckAfter: "20 seconds" }).pipe(
            Layer.provide(live)
          )
        )
        yield* Deferred.await(inside)
        const stopping = yield* Effect.forkScoped(worker.stop, { startImmediately: true })
        yield* TestClock.adjust("29 seconds")
        assert.isUndefined(stopping.pollUnsafe())
        yield* TestClock.adjust("1 second")
        const report = yield* stopping.pollUnsafe() ?? Effect.die("it still stops")
        assert.deepStrictEqual([report.stuck, report.succeeded, report.interrupted], [1, 0, 0])
        assert.isDefined(report.failure)
      })
  )
})

describe("re-entrant tasks", () => {
  scenario(
    "RT-12 the runs that were cut short are remembered, and the running job can see them; no attempt is spent",
    () =>
      Effect.gen(function*() {
        const seen: Array<number> = []
        let started = yield* Deferred.make<void>()
        class Again extends Task.make("Again", { payload: { n: Schema.Number } }) {}
        const live = Again.toLayer(() =>
          Effect.gen(function*() {
            const job = yield* Job.Current
            const inspect = yield* Capability.Inspect
            const self = Option.getOrThrow(yield* Effect.orDie(inspect.get(job.id)))
            seen.push(self.history.filter(({ event }) => event === "interrupted").length)
            assert.strictEqual(job.attempt, 1)
            yield* Deferred.succeed(started, undefined)
            yield* seen.length < 3 ? Effect.never : Effect.void
          })
        )
        const layer = Worker.layer(TaskGroup.make(Again)).pipe(Layer.provide(live))
        const id = yield* Again.enqueue({ n: 1 })
        for (const run of [1, 2]) {
          const worker = yield* startWorker(Layer.fresh(layer))
          yield* Deferred.await(started)
          started = yield* Deferred.make<void>()
          yield* worker.interrupt
          assert.strictEqual(seen.length, run)
        }
        yield* Worker.launch(Worker.layer(TaskGroup.make(Again), { mode: "drain" }).pipe(Layer.provide(live)))
        assert.deepStrictEqual(seen, [0, 1, 2])
        const job = yield* record(id)
        assert.deepStrictEqual([job.state, job.attempt], ["succeeded", 1])
        const runs = job.history.filter(({ event }) => event === "interrupted")
        assert.strictEqual(runs.length, 2)
        assert.isTrue(runs.every(({ at }) => at >= job.enqueuedAt))
      })
  )
})
