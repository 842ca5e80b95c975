/** Settlements that the engine refuses, does not answer, or does not say: who else pays for it. */
import { assert, describe } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { BackendError, type Receipt, type Settlement, type Subscription } from "windlass/Backend"
import * as Decide from "windlass/Decide"
import * as Enqueue from "windlass/Enqueue"
import * as Gate from "windlass/Gate"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { record, scenario, spy, startWorker } from "../support/backends.ts"

class Work extends Task.make("Work", { payload: { n: Schema.Number } }) {}

type Items = ReadonlyArray<readonly [Receipt, Settlement]>

/** settles through this instead, while leases are renewed as ever */
const settling = (
  instead: (items: Items) => Effect.Effect<ReadonlyArray<"Unknown">, BackendError> | undefined
) =>
(subscription: Subscription): Subscription => ({
  ...subscription,
  settle: (items) => Effect.suspend(() => instead(items) ?? subscription.settle(items)),
  exchange: (items, max) =>
    Effect.suspend(() => {
      const answer = items.length === 0 ? undefined : instead(items)
      return answer === undefined
        ? subscription.exchange(items, max)
        : Effect.flatMap(answer, (settled) => Effect.map(subscription.take(max), (taken) => [settled, taken] as const))
    })
})

const refused = (retryable: boolean) =>
  new BackendError({ backend: "t", operation: "settle", message: "no", retryable, outcome: "NotApplied" })

const start = (patch: (subscription: Subscription) => Subscription) =>
  Effect.gen(function*() {
    const watched = yield* spy(patch)
    const live = Work.toLayer(() => Effect.void)
    return yield* startWorker(
      Worker.layer(TaskGroup.make(Work)).pipe(Layer.provide(live), Layer.provide(watched.layer))
    )
  })

const ends = (effect: Effect.Effect<Worker.Report>, after: "1 minute" | "3 minutes") =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkScoped(effect, { startImmediately: true })
    yield* TestClock.adjust(after)
    return yield* fiber.pollUnsafe() ?? Effect.die(`not over after ${after}`)
  })

describe("a settlement that cannot be made", () => {
  scenario(
    "L9 one that is refused for good keeps nobody else from being settled, and is handed out again",
    () =>
      Effect.gen(function*() {
        const worker = yield* start(
          settling((items) => items.some(([{ id }]) => id === "bad") ? Effect.fail(refused(false)) : undefined)
        )
        yield* Work.enqueueMany([{ n: 1 }, { n: 2 }, { n: 3 }]).pipe(Enqueue.id((_, i) => ["a", "bad", "b"][i]!))
        yield* TestClock.adjust("5 seconds")
        assert.deepStrictEqual([(yield* record("a")).state, (yield* record("b")).state], ["succeeded", "succeeded"])
        const later = yield* Work.enqueue({ n: 4 })
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual((yield* record(later)).state, "succeeded")
        assert.strictEqual((yield* record("bad")).state, "active")
        yield* TestClock.adjust("30 seconds")
        assert.include((yield* record("bad")).history.map((line) => line.event), "lost")
        const report = yield* ends(worker.stop, "1 minute")
        assert.strictEqual(report.succeeded, 3)
        assert.isAtLeast(report.lost, 1)
      })
  )

  scenario(
    "L9 an engine that renews leases and does not settle: the worker gives up after six calls' time, and stops",
    () =>
      Effect.gen(function*() {
        let broken = true
        const worker = yield* start(settling(() => broken ? Effect.fail(refused(true)) : undefined))
        const id = yield* Work.enqueue({ n: 1 })
        yield* TestClock.adjust("5 seconds")
        const report = yield* ends(worker.stop, "3 minutes")
        assert.deepStrictEqual([report.succeeded, report.lost], [0, 1])
        broken = false
        yield* start((subscription) => subscription)
        yield* TestClock.adjust("1 minute")
        assert.strictEqual((yield* record(id)).state, "succeeded")
      })
  )

  scenario(
    "L9 an engine that never says what became of it is asked with pauses, and not for ever",
    () =>
      Effect.gen(function*() {
        let asked = 0
        const worker = yield* start(settling((items) => {
          asked += items.length
          return Effect.succeed(items.map(() => "Unknown" as const))
        }))
        yield* Work.enqueue({ n: 1 })
        yield* TestClock.adjust("10 seconds")
        assert.isAbove(asked, 2)
        assert.isBelow(asked, 20)
        const report = yield* ends(worker.stop, "3 minutes")
        assert.deepStrictEqual([report.succeeded, report.lost], [0, 1])
      })
  )
})

scenario(
  "L9 a snooze without an end and a gate that says no number are settled all the same",
  () =>
    Effect.gen(function*() {
      class Sleeps extends Task.make("Sleeps") {}
      let asked = 0
      const gate = Gate.make({
        name: "no number",
        admit: () =>
          Effect.sync(() =>
            ++asked === 1
              ? { _tag: "Later" as const, millis: Number.NaN }
              : { _tag: "Admitted" as const, release: () => Effect.void }
          )
      })
      const live = Sleeps.toLayer(() => Effect.fail(Decide.snooze(Duration.infinity)))
      const worker = yield* startWorker(
        Worker.layer(TaskGroup.make(Sleeps), { gates: [gate] }).pipe(Layer.provide(live))
      )
      const id = yield* Sleeps.enqueue()
      yield* TestClock.adjust("1 minute")
      const job = yield* record(id)
      assert.strictEqual(job.state, "scheduled")
      assert.isAbove(job.dueAt!, 50 * 365 * 86_400_000)
      assert.isTrue(Number.isFinite(job.dueAt))
      const report = yield* worker.stop
      assert.deepStrictEqual([report.released, report.snoozed, report.lost], [1, 1, 0])
    })
)
