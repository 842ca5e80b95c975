/** Holding a job, losing it, and saying what became of it when the backend does not answer. */
import { assert, describe } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Backend, BackendError, type Settlement, type Subscription } from "windlass/Backend"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { follow, record, scenario, spy, startWorker } from "../support/backends.ts"

class Long extends Task.make("Long", { payload: { n: Schema.Number } }) {}
const group = TaskGroup.make(Long)

const unreachable = (outcome: "NotApplied" | "Unknown") =>
  new BackendError({ backend: "t", operation: "t", message: "unreachable", retryable: true, outcome })

const done: Settlement = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }

/** changes what renews the leases of a subscription */
const withExtend = (
  extend: (original: Extract<Subscription["lease"], { _tag: "Timed" }>["extend"]) => typeof original
) =>
(subscription: Subscription): Subscription =>
  subscription.lease._tag === "Connection"
    ? subscription
    : { ...subscription, lease: { ...subscription.lease, extend: extend(subscription.lease.extend) } }

describe("the lease", () => {
  scenario(
    "is renewed for as long as the job runs, at a third of it; nobody else gets the job",
    () =>
      Effect.gen(function*() {
        const beats: Array<number> = []
        const watched = yield* spy(
          withExtend((extend) => (receipts) =>
            Effect.andThen(Effect.map(Clock.currentTimeMillis, (now) => beats.push(now)), extend(receipts))
          )
        )
        const started = yield* Deferred.make<void>()
        const go = yield* Deferred.make<void>()
        const live = Long.toLayer(() => Effect.andThen(Deferred.succeed(started, undefined), Deferred.await(go)))
        const worker = yield* startWorker(
          Worker.layer(group).pipe(Layer.provide(live), Layer.provide(watched.layer))
        )
        const id = yield* Long.enqueue({ n: 1 })
        yield* Deferred.await(started)
        yield* TestClock.adjust("10 minutes")
        assert.deepStrictEqual(beats.slice(0, 3), [10_000, 20_000, 30_000])
        assert.lengthOf(beats, 60)
        const other = yield* (yield* Backend).subscribe("default", { worker: "other" })
        assert.deepStrictEqual(yield* other.take(10), [])
        yield* Deferred.succeed(go, undefined)
        const report = yield* worker.stop
        assert.deepStrictEqual([report.succeeded, report.lost], [1, 0])
        assert.strictEqual((yield* record(id)).attempt, 1)
        // nothing is held: nothing is renewed
        const count = beats.length
        yield* TestClock.adjust("10 minutes")
        assert.lengthOf(beats, count)
      })
  )

  scenario(
    "a worker that cannot renew interrupts the handler before the lease ends, and does not settle (L16)",
    () =>
      Effect.gen(function*() {
        const watched = yield* spy(withExtend(() => () => Effect.fail(unreachable("NotApplied"))))
        const log: Array<string> = []
        const started = yield* Deferred.make<void>()
        const hook = Middleware.make(
          "hook",
          Middleware.hooks({
            after: (exit) => Effect.sync(() => void log.push(`after ${exit._tag}`))
          })
        )
        class Work extends Task.make("Work", { middleware: [hook] }) {}
        const live = Work.toLayer(() =>
          Effect.andThen(
            Deferred.succeed(started, undefined),
            Effect.onInterrupt(Effect.never, () =>
              Effect.map(
                Clock.currentTimeMillis,
                (now) => void log.push(`interrupted ${now < 30_000 && now >= 20_000}`)
              ))
          )
        )
        const worker = yield* startWorker(
          Worker.layer(TaskGroup.make(Work)).pipe(Layer.provide(live), Layer.provide(watched.layer))
        )
        const events = yield* follow(worker)
        const id = yield* Work.enqueue()
        yield* Deferred.await(started)
        yield* TestClock.adjust("29 seconds")
        yield* events.until("Lost")
        assert.deepStrictEqual(log, ["interrupted true", "after Failure"])
        assert.deepStrictEqual(watched.settlements, [])
        yield* worker.stop
        yield* TestClock.adjust("1 second")
        const other = yield* (yield* Backend).subscribe("default", { worker: "other" })
        const [again] = yield* other.take(10)
        assert.deepInclude(again, { attempt: 1, unsettled: 1 })
        assert.strictEqual(again!.envelope.id, id)
        assert.strictEqual(again!.lostFrom?.worker, worker.id)
      })
  )

  scenario("a renewal that hangs is given up in time as well", () =>
    Effect.gen(function*() {
      const watched = yield* spy(withExtend(() => () => Effect.never))
      const interrupted = yield* Deferred.make<number>()
      const started = yield* Deferred.make<void>()
      const live = Long.toLayer(() =>
        Effect.andThen(
          Deferred.succeed(started, undefined),
          Effect.onInterrupt(
            Effect.never,
            () => Effect.flatMap(Clock.currentTimeMillis, (now) => Deferred.succeed(interrupted, now))
          )
        )
      )
      yield* startWorker(Worker.layer(group).pipe(Layer.provide(live), Layer.provide(watched.layer)))
      yield* Long.enqueue({ n: 1 })
      yield* Deferred.await(started)
      yield* TestClock.adjust("29 seconds")
      assert.isBelow(yield* Deferred.await(interrupted), 30_000)
    }))

  scenario(
    "a job that somebody else took meanwhile: the handler is interrupted, what it still comes to has no effect (L16)",
    () =>
      Effect.gen(function*() {
        // for half a minute this worker only believes that it renews
        let beats = 0
        const watched = yield* spy(withExtend((extend) => (receipts) =>
          ++beats <= 3 ? Effect.succeed(receipts.map(() => "Held" as const)) : extend(receipts)
        ))
        const started = yield* Deferred.make<void>()
        const interrupted = yield* Deferred.make<void>()
        const live = Long.toLayer(() =>
          Effect.andThen(
            Deferred.succeed(started, undefined),
            Effect.onInterrupt(Effect.never, () =>
              Deferred.succeed(interrupted, undefined))
          )
        )
        const worker = yield* startWorker(
          Worker.layer(group, { concurrency: 1 }).pipe(Layer.provide(live), Layer.provide(watched.layer))
        )
        const events = yield* follow(worker)
        const id = yield* Long.enqueue({ n: 1 })
        yield* Deferred.await(started)
        yield* TestClock.adjust("30 seconds")
        const other = yield* (yield* Backend).subscribe("default", { worker: "other" })
        const [current] = yield* other.take(1)
        assert.strictEqual(current?.envelope.id, id)
        assert.strictEqual(current?.lostFrom?.worker, worker.id)
        yield* TestClock.adjust("10 seconds")
        yield* Deferred.await(interrupted)
        yield* events.until("Lost", { id })
        assert.deepStrictEqual(watched.settlements, [])
        assert.deepInclude(yield* record(id), { state: "active", worker: "other" })
        assert.deepStrictEqual(yield* other.settle([[current!.receipt, done]]), ["Settled"])
        assert.strictEqual((yield* worker.stop).lost, 1)
        assert.strictEqual((yield* record(id)).state, "succeeded")
      })
  )

  scenario("a stale receipt settles nothing and says Lost (L16)", () =>
    Effect.gen(function*() {
      const backend = yield* Backend
      const first = yield* backend.subscribe("default", { worker: "first" })
      const second = yield* backend.subscribe("default", { worker: "second" })
      const id = yield* Long.enqueue({ n: 1 })
      const [old] = yield* first.take(1)
      yield* TestClock.adjust("30 seconds")
      const [current] = yield* second.take(1)
      assert.deepStrictEqual(yield* first.settle([[old!.receipt, done]]), ["Lost"])
      assert.strictEqual((yield* record(id)).state, "active")
      assert.deepStrictEqual(yield* second.settle([[current!.receipt, done]]), ["Settled"])
    }))
})

describe("a settlement that does not get through", () => {
  /** the first `times` calls that would settle do this instead */
  const failing = (times: number, instead: Subscription["exchange"]) => {
    let left = times
    return (subscription: Subscription): Subscription => ({
      ...subscription,
      exchange: (items, max) =>
        Effect.suspend(() => items.length > 0 && left-- > 0 ? instead(items, max) : subscription.exchange(items, max)),
      settle: (items) =>
        Effect.suspend(() =>
          items.length > 0 && left-- > 0
            ? Effect.map(instead(items, 0), ([settled]) => settled)
            : subscription.settle(items)
        )
    })
  }

  const run = (patch: (subscription: Subscription) => Subscription, adjust: string) =>
    Effect.gen(function*() {
      const watched = yield* spy(patch)
      const worker = yield* startWorker(
        Worker.layer(group).pipe(Layer.provide(Long.toLayer(() => Effect.void)), Layer.provide(watched.layer))
      )
      const events = yield* follow(worker)
      const id = yield* Long.enqueue({ n: 1 })
      yield* events.until("Started")
      yield* TestClock.adjust(adjust as "1 second")
      return { events, id, watched, worker }
    })

  scenario(
    "is tried again while the lease lasts, and is not called settled before it is (L4, L9)",
    () =>
      Effect.gen(function*() {
        const { events, id, watched, worker } = yield* run(
          failing(4, () => Effect.fail(unreachable("NotApplied"))),
          "5 seconds"
        )
        yield* events.until("Succeeded")
        assert.lengthOf(watched.settlements, 1)
        const report = yield* worker.stop
        assert.deepStrictEqual([report.succeeded, report.lost], [1, 0])
        assert.strictEqual((yield* record(id)).state, "succeeded")
      })
  )

  scenario("an answer of Unknown means that it is said again (L4)", () =>
    Effect.gen(function*() {
      const { events, id, worker } = yield* run(
        failing(2, (items) => Effect.succeed([items.map(() => "Unknown" as const), []])),
        "1 second"
      )
      yield* events.until("Succeeded")
      assert.strictEqual((yield* worker.stop).succeeded, 1)
      assert.strictEqual((yield* record(id)).state, "succeeded")
    }))

  scenario(
    "an answer that was lost on the way back: the second try hears Lost, and the job counts as settled, once (L13)",
    () =>
      Effect.gen(function*() {
        let left = 1
        const { events, id, worker } = yield* run((subscription) => ({
          ...subscription,
          exchange: (items, max) =>
            items.length > 0 && left-- > 0
              ? Effect.andThen(subscription.settle(items), Effect.fail(unreachable("Unknown")))
              : subscription.exchange(items, max)
        }), "5 seconds")
        yield* events.until("Succeeded")
        const report = yield* worker.stop
        assert.deepStrictEqual([report.succeeded, report.lost], [1, 0])
        assert.deepStrictEqual((yield* record(id)).history.map((line) => line.event), ["enqueued", "succeeded"])
      })
  )

  scenario(
    "for longer than the lease: the job is lost, nothing is called a success, the worker lives (L4)",
    () =>
      Effect.gen(function*() {
        let broken = true
        const { events, id, worker } = yield* run((subscription) => ({
          ...subscription,
          exchange: (items, max) => broken ? Effect.fail(unreachable("NotApplied")) : subscription.exchange(items, max),
          settle: (items) => broken ? Effect.fail(unreachable("NotApplied")) : subscription.settle(items),
          lease: subscription.lease._tag === "Connection"
            ? subscription.lease
            : { ...subscription.lease, extend: () => Effect.fail(unreachable("NotApplied")) }
        }), "31 seconds")
        yield* events.until("Lost")
        assert.notInclude(events.tags, "Succeeded")
        broken = false
        // it is handed out again, and this time what it came to is said
        yield* TestClock.adjust("1 minute")
        yield* events.until("Succeeded")
        const report = yield* worker.stop
        assert.deepStrictEqual([report.succeeded, report.lost, report.failure], [1, 1, undefined])
        assert.include((yield* record(id)).history.map((line) => line.event), "lost")
      })
  )

  scenario(
    "a backend that hangs counts as one whose answer was lost: after callTimeout it is asked again (L9)",
    () =>
      Effect.gen(function*() {
        const { events, worker } = yield* run(failing(1, () => Effect.never), "25 seconds")
        yield* events.until("Succeeded")
        assert.strictEqual((yield* worker.stop).succeeded, 1)
      })
  )

  scenario(
    "Lost as the answer: the job is counted and told as lost, never as what it came to (L4, L16)",
    () =>
      Effect.gen(function*() {
        const { events, id, worker } = yield* run(
          // somebody else has settled it in between
          (subscription) => ({
            ...subscription,
            exchange: (items, max) =>
              Effect.andThen(
                items.length === 0 ? Effect.succeed([]) : subscription.settle(items),
                subscription.exchange(items, max)
              )
          }),
          "1 second"
        )
        yield* events.until("Lost", { id })
        assert.deepStrictEqual(events.tags, ["Claimed", "Started", "Lost"])
        const report = yield* worker.stop
        assert.deepStrictEqual([report.succeeded, report.lost], [0, 1])
      })
  )

  scenario(
    "Aborted as the answer to a retry: the job is counted as aborted, never retried",
    () =>
      Effect.gen(function*() {
        const watched = yield* spy((subscription) => ({
          ...subscription,
          exchange: (items, max) =>
            Effect.map(
              subscription.exchange(items, max),
              ([answers, taken]) => [answers.map(() => "Aborted" as const), taken] as const
            )
        }))
        class Broken extends Schema.TaggedError<Broken>()("Broken", {}) {}
        class Fails extends Task.make("Fails", { error: Broken }) {}
        const worker = yield* startWorker(
          Worker.layer(TaskGroup.make(Fails))
            .pipe(Layer.provide(Fails.toLayer(() => Effect.fail(new Broken()))), Layer.provide(watched.layer))
        )
        const events = yield* follow(worker)
        yield* Fails.enqueue()
        yield* events.until("Aborted")
        const report = yield* worker.stop
        assert.deepStrictEqual([report.aborted, report.retried, report.dead], [1, 0, 0])
      })
  )
})
