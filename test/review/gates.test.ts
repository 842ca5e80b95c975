/** Gates that fail or stay closed, and renewals that hang: nobody else pays for it. */
import { assert, describe } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Gate from "windlass/Gate"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { record, scenario, spy, startWorker } from "../support/backends.ts"

class Work extends Task.make("Work", { payload: { n: Schema.Number } }) {}
const group = TaskGroup.make(Work)

describe("a gate that dies", () => {
  scenario(
    "L13 before a claim: the worker stops and says why, and what runs is waited for and settled first",
    () =>
      Effect.gen(function*() {
        const started = yield* Deferred.make<void>()
        const go = yield* Deferred.make<void>()
        let asked = 0
        const gate = Gate.make({
          name: "breaks",
          acquire: () => Effect.suspend(() => ++asked === 1 ? Effect.succeed(1) : Effect.die("broken gate"))
        })
        const live = Work.toLayer(() => Effect.andThen(Deferred.succeed(started, undefined), Deferred.await(go)))
        const id = yield* Work.enqueue({ n: 1 })
        const worker = yield* startWorker(Worker.layer(group, { gates: [gate] }).pipe(Layer.provide(live)))
        yield* Deferred.await(started)
        const over = yield* Effect.forkScoped(worker.await, { startImmediately: true })
        yield* TestClock.adjust("1 second")
        assert.isUndefined(over.pollUnsafe())
        yield* Deferred.succeed(go, undefined)
        const report = yield* worker.await
        assert.isDefined(report.failure)
        assert.strictEqual(report.succeeded, 1)
        assert.strictEqual((yield* record(id)).state, "succeeded")
      })
  )

  scenario("L10 deciding about a job: the job goes back and pays nothing", () =>
    Effect.gen(function*() {
      let broken = true
      const gate = Gate.make({
        name: "breaks",
        admit: () =>
          Effect.suspend(() =>
            broken
              ? Effect.die("store down")
              : Effect.succeed({ _tag: "Admitted" as const, release: () => Effect.void })
          )
      })
      const live = Work.toLayer(() => Effect.void)
      yield* startWorker(Worker.layer(group, { gates: [gate] }).pipe(Layer.provide(live)))
      const id = yield* Work.enqueue({ n: 1 })
      yield* TestClock.adjust("10 seconds")
      const waiting = yield* record(id)
      assert.deepStrictEqual([waiting.state, waiting.attempt], ["scheduled", 1])
      broken = false
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* record(id)).state, "succeeded")
    }))

  scenario("L10 taking its permits back: the other gates get theirs", () =>
    Effect.gen(function*() {
      let free = 1
      const breaks = Gate.make({
        name: "breaks",
        acquire: (max) => Effect.succeed(max),
        release: (_, started) => started ? Effect.die("broken gate") : Effect.void
      })
      const counts = Gate.make({
        name: "counts",
        acquire: () => Effect.suspend(() => free === 0 ? Effect.never : Effect.succeed(free--)),
        release: (count) => Effect.sync(() => void (free += count))
      })
      const live = Work.toLayer(() => Effect.void)
      yield* startWorker(Worker.layer(group, { gates: [breaks, counts] }).pipe(Layer.provide(live)))
      yield* Work.enqueue({ n: 1 })
      yield* TestClock.adjust("1 second")
      const [first] = yield* Work.enqueueMany([{ n: 2 }, { n: 3 }])
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* record(first!)).state, "succeeded")
    }))
})

scenario(
  "a worker whose gate stays closed is alive: restarting it would not open the gate",
  () =>
    Effect.gen(function*() {
      const gate = Gate.make({ name: "closed", acquire: () => Effect.never })
      const live = Work.toLayer(() => Effect.void)
      const worker = yield* startWorker(Worker.layer(group, { gates: [gate] }).pipe(Layer.provide(live)))
      yield* TestClock.adjust("1 hour")
      assert.isTrue((yield* worker.health).live)
      yield* worker.stop
    })
)

scenario(
  "L17 renewals that hang: every job is given up before its lease ends, whenever it was claimed",
  () =>
    Effect.gen(function*() {
      const watched = yield* spy((subscription) =>
        subscription.lease._tag === "Connection"
          ? subscription
          : { ...subscription, lease: { ...subscription.lease, extend: () => Effect.never } }
      )
      const claimed: Array<number> = []
      const interrupted: Array<number> = []
      const live = Work.toLayer(({ n }) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => {
          if (claimed[n] !== undefined) return Effect.void
          claimed[n] = now
          return Effect.onInterrupt(
            Effect.never,
            () => Effect.map(Clock.currentTimeMillis, (now) => void (interrupted[n] = now))
          )
        })
      )
      yield* startWorker(Worker.layer(group).pipe(Layer.provide(live), Layer.provide(watched.layer)))
      for (let n = 0; n < 10; n++) {
        yield* Work.enqueue({ n })
        yield* TestClock.adjust("3 seconds")
      }
      yield* TestClock.adjust("1 minute")
      for (let n = 0; n < 10; n++) {
        const held = interrupted[n]! - claimed[n]!
        assert.isTrue(held >= 20_000 && held < 30_000, `job ${n} was held for ${held} ms of 30,000`)
      }
    })
)
