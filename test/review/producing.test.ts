/** The enqueue point against wraps that misbehave, and calls that fail half-way. */
import { assert, describe } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Backend, BackendError } from "windlass/Backend"
import { Inspect } from "windlass/Capability"
import * as Enqueue from "windlass/Enqueue"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { scenario, startWorker } from "../support/backends.ts"

class Work extends Task.make("Work", { payload: { n: Schema.Number } }) {}

const stored = Effect.gen(function*() {
  const counts = yield* (yield* Inspect).counts("default")
  return counts.ready
})

const defect = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.exit(effect), (exit) => Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : "succeeded")

describe("a wrap of the enqueue point", () => {
  scenario(
    "L7 cannot smuggle a job past the wraps outside of it: neither a new id nor one more",
    () =>
      Effect.gen(function*() {
        const renames = Enqueue.mapItems((item) => ({ ...item, envelope: { ...item.envelope, id: "mine" } }))
        assert.include(yield* defect(Effect.provide(Work.enqueue({ n: 1 }), Enqueue.layer(renames))), "keeps the ids")
        const adds: Enqueue.Wrap = (next, batch) => {
          const [first] = batch.items
          const more = { ...first!, envelope: { ...first!.envelope, id: "more" } }
          return Effect.map(next({ ...batch, items: [...batch.items, more] }), (answers) => answers.slice(0, 1))
        }
        assert.include(yield* defect(Effect.provide(Work.enqueue({ n: 1 }), Enqueue.layer(adds))), "job more")
        assert.strictEqual(yield* stored, 0)
      })
  )

  scenario("that answers too few is named as such, also to the wraps outside of it", () =>
    Effect.gen(function*() {
      const outer = Enqueue.dropWhen(() => Effect.succeed(undefined))
      const silent: Enqueue.Wrap = () => Effect.succeed([])
      assert.include(
        yield* defect(Effect.provide(Work.enqueueMany([{ n: 1 }, { n: 2 }]), Enqueue.layer(outer, silent))),
        "answered 0 of 2 jobs"
      )
    }))
})

scenario("nothing to enqueue is no call, on any engine", () =>
  Effect.gen(function*() {
    let calls = 0
    const backend = yield* Backend
    const counting = Layer.succeed(Backend, {
      ...backend,
      publish: (queue, items, options) => (calls++, backend.publish(queue, items, options))
    })
    assert.deepStrictEqual(yield* Effect.provide(Work.enqueueMany([]), counting), [])
    assert.strictEqual(calls, 0)
  }))

scenario(
  "L4 a call that fails half-way says how much is stored, and never that nothing was",
  () =>
    Effect.gen(function*() {
      let calls = 0
      const backend = yield* Backend
      const refusing = Layer.succeed(Backend, {
        ...backend,
        limits: { ...backend.limits, publishBatch: 2 },
        publish: (queue, items, options) =>
          ++calls === 2
            ? Effect.fail(
              new BackendError({
                backend: "t",
                operation: "publish",
                message: "unreachable",
                retryable: true,
                outcome: "NotApplied"
              })
            )
            : backend.publish(queue, items, options)
      })
      const error = yield* Effect.flip(Effect.provide(Work.enqueueMany([{ n: 1 }, { n: 2 }, { n: 3 }]), refusing))
      assert.strictEqual(error._tag, "windlass/BackendError")
      assert.strictEqual((error as BackendError).outcome, "Unknown")
      assert.include(error.message, "the first 2 of 3 jobs are stored")
      assert.strictEqual(yield* stored, 2)
    })
)

describe("execute", () => {
  class Asks extends Task.make("Asks", { success: Schema.String }) {}
  const byKey = Asks.execute().pipe(Enqueue.uniqueBy("k", { until: "1 hour", onConflict: "existing" }))

  /** what it fails with, within a minute */
  const failure = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkScoped(Effect.flip(effect), { startImmediately: true })
      yield* TestClock.adjust("1 minute")
      return yield* fiber.pollUnsafe() ?? Effect.die("it waits for ever")
    })

  const start = (live: Layer.Layer<Task.Handler<"Asks">>) =>
    startWorker(Worker.layer(TaskGroup.make(Asks)).pipe(Layer.provide(live)))

  scenario("of a key whose job is over and gone does not wait for ever", () =>
    Effect.gen(function*() {
      yield* start(Asks.toLayer(() => Effect.succeed("x")))
      yield* Asks.enqueue().pipe(Enqueue.uniqueBy("k", { until: "1 hour" }))
      yield* TestClock.adjust("1 second")
      assert.deepInclude(yield* failure(byKey), { _tag: "windlass/Dead", reason: "no-result" })
    }), { retention: {} })

  scenario("of a job that runs, and whose result nobody had asked to keep, says so", () =>
    Effect.gen(function*() {
      yield* start(Asks.toLayer(() => Effect.as(Effect.sleep("10 seconds"), "x")))
      yield* Asks.enqueue().pipe(Enqueue.uniqueBy("k", { until: "1 hour" }))
      yield* TestClock.adjust("1 second")
      assert.deepInclude(yield* failure(byKey), { _tag: "windlass/Dead", reason: "no-result" })
    }), { retention: {} })

  scenario(
    "of a handler whose result does not fit its schema fails with its type, not with a defect",
    () =>
      Effect.gen(function*() {
        yield* start(Asks.toLayer(() => Effect.succeed(42 as unknown as string)))
        assert.deepInclude(yield* failure(Asks.execute()), { _tag: "windlass/Dead", reason: "undecodable" })
      })
  )
})
