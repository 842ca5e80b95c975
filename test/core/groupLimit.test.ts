/** Groups with a limit, from the enqueue to the handlers of several workers. What an engine must hold is in the kit. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Backend, type BackendError, type Item } from "windlass/Backend"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Capability from "windlass/Capability"
import * as Enqueue from "windlass/Enqueue"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { scenario, startWorker } from "../support/backends.ts"

class Work extends Task.make("Work", { payload: { n: Schema.Number } }) {}

const payloads = (count: number) => Array.from({ length: count }, (_, n) => ({ n }))

/** handlers that say when they start, and run until they are let go, one by one */
const held = (count: number) =>
  Effect.gen(function*() {
    const starts = yield* Effect.forEach(payloads(count), () => Deferred.make<void>())
    const gates = yield* Effect.forEach(payloads(count), () => Deferred.make<void>())
    const started: Array<number> = []
    const live = Work.toLayer(({ n }) =>
      Effect.sync(() => void started.push(n)).pipe(
        Effect.andThen(Deferred.succeed(starts[n]!, undefined)),
        Effect.andThen(Deferred.await(gates[n]!))
      )
    )
    return {
      live,
      started,
      start: (n: number) => Deferred.await(starts[n]!),
      release: (n: number) => Deferred.succeed(gates[n]!, undefined)
    }
  })

const limits = [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31]

describe("a group with a limit", () => {
  scenario(
    "PROC-40 runs so many at once over two workers, and the next when one of them has ended",
    () =>
      Effect.gen(function*() {
        const { live, release, start, started } = yield* held(6)
        yield* Work.enqueueMany(payloads(6)).pipe(Enqueue.group("g", { limit: 3 }))
        const worker = Worker.layer(TaskGroup.make(Work), { concurrency: 2 }).pipe(Layer.provide(live))
        yield* startWorker(worker)
        yield* start(1)
        yield* startWorker(Layer.fresh(worker))
        yield* start(2)
        assert.deepStrictEqual(started, [0, 1, 2])
        // the second worker has a permit left, and the group no slot
        const inspect = yield* Capability.Inspect
        assert.deepInclude(yield* inspect.counts("default"), { active: 3, ready: 3 })
        yield* release(1)
        yield* start(3)
        assert.deepStrictEqual(started, [0, 1, 2, 3])
        assert.deepInclude(yield* inspect.counts("default"), { active: 3, ready: 2 })
        for (const { n } of payloads(6)) yield* release(n)
        yield* start(5)
        assert.deepStrictEqual(started, [0, 1, 2, 3, 4, 5])
      })
  )

  scenario(
    "the last enqueue says the limit, for those that wait already; without one it says 1",
    () =>
      Effect.gen(function*() {
        const inspect = yield* Capability.Inspect
        const states = (ids: ReadonlyArray<string>) =>
          Effect.forEach(
            ids,
            (id) => Effect.map(inspect.get(id), (found) => found._tag === "Some" ? found.value.state : undefined)
          )
        const ids = yield* Work.enqueueMany(payloads(4)).pipe(Enqueue.group("g", { limit: 2 }))
        assert.deepStrictEqual(yield* states(ids), ["ready", "ready", "blocked", "blocked"])
        yield* Work.enqueue({ n: 5 }).pipe(Enqueue.group("g", { limit: 3 }))
        assert.deepStrictEqual(yield* states(ids), ["ready", "ready", "ready", "blocked"])
        yield* Work.enqueue({ n: 6 }).pipe(Enqueue.group("g"))
        assert.deepStrictEqual(yield* states(ids), ["ready", "blocked", "blocked", "blocked"])
        // of two options the later one counts, whole
        yield* Work.enqueue({ n: 7 }).pipe(Enqueue.group("g", { limit: 9 }), Enqueue.group("g"))
        assert.deepStrictEqual(yield* states(ids), ["ready", "blocked", "blocked", "blocked"])
      })
  )

  scenario(
    "a limit that is no whole number from 1 is refused, typed, and nothing is stored",
    () =>
      Effect.gen(function*() {
        for (const limit of limits) {
          const error = yield* Effect.flip(Work.enqueueMany(payloads(2)).pipe(Enqueue.group("g", { limit })))
          assert.deepInclude(error, { _tag: "windlass/InvalidEnqueue", reason: "Option" })
          assert.strictEqual(
            error.message,
            `task Work: group "g" has a limit of ${limit}, not a whole number from 1 to 2147483647`
          )
        }
        const inspect = yield* Capability.Inspect
        assert.deepInclude(yield* inspect.counts("default"), { ready: 0, scheduled: 0 })
      })
  )

  scenario("a group that is no string is refused, typed, and nothing is stored", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Work.enqueue({ n: 1 }).pipe(Enqueue.group(7 as unknown as string)))
      assert.deepInclude(error, { _tag: "windlass/InvalidEnqueue", reason: "Option" })
      assert.include(error.message, "the group is the number 7: name it with a string")
      const inspect = yield* Capability.Inspect
      assert.deepInclude(yield* inspect.counts("default"), { ready: 0, scheduled: 0 })
    }))

  it.effect("a backend without GroupLimit that is given one all the same refuses it, typed", () =>
    Effect.gen(function*() {
      const limited = (limit: number) =>
        Work.enqueue({ n: 1 }).pipe(Enqueue.group("g", { limit })) as Effect.Effect<
          string,
          Enqueue.EnqueueError,
          Backend | Capability.Groups
        >
      const error = yield* Effect.flip(limited(3))
      assert.deepInclude(error, { _tag: "windlass/InvalidEnqueue", reason: "Option" })
      assert.include(
        error.message,
        "sqs-fifo runs the jobs of a group one at a time: use a backend that has GroupLimit"
      )
      for (const limit of limits) {
        assert.strictEqual((yield* Effect.flip(limited(limit)))._tag, "windlass/InvalidEnqueue")
      }
      // a middleware comes after that check, and one at a time is what such a backend does
      yield* limited(1)
      const widen = Enqueue.mapItems((item): Item => ({ ...item, groupLimit: 3 }))
      const refused = yield* Effect.flip(
        Work.enqueue({ n: 1 }).pipe(Enqueue.group("g"), Effect.provide(Enqueue.layer(widen)))
      )
      assert.strictEqual(refused._tag, "windlass/BackendError")
      assert.deepInclude(refused as BackendError, { outcome: "NotApplied", retryable: false })
      assert.include(refused.message, "has a limit of 3 for group \"g\"")
      assert.include(refused.message, "use a backend that has GroupLimit")
      const backend = yield* Backend
      const subscription = yield* backend.subscribe("default", { worker: "w" })
      assert.strictEqual((yield* subscription.take(10)).length, 1)
    }).pipe(Effect.scoped, Effect.provide(MemoryBackend.as("sqs-fifo"))))
})
