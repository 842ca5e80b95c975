import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { Backend, type Item, type Settlement } from "windlass/Backend"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as SqliteBackend from "windlass/backends/SqliteBackend"
import * as Capability from "windlass/Capability"
import * as Conformance from "../../src/testing/Conformance.ts"
import * as Faults from "../../src/testing/Faults.ts"

const item = (id: string): Item => ({
  envelope: { id, task: "Test", version: 1, payload: "{}", headers: {}, origin: "user" }
})
const done: Settlement = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }
const again: Settlement = {
  _tag: "Retry",
  why: "failed",
  after: 0,
  attempt: "spent",
  place: "back",
  error: undefined
}

const memory = Faults.layer(MemoryBackend.layer)

/** a subscription to the queue `q` of the wrapped backend, with all that a test may want beside it */
const setup = Effect.gen(function*() {
  const backend = yield* Backend
  const faults = yield* Faults.Faults
  const inspect = yield* Capability.Inspect
  const subscription = yield* backend.subscribe("q", { worker: "w" })
  if (subscription.lease._tag !== "Timed") return yield* Effect.die("the lease is timed")
  const { extend } = subscription.lease
  return { backend, faults, inspect, subscription, extend }
})

/** one call of each operation, each on jobs of its own, and whether the engine did it */
const operations: ReadonlyArray<{
  readonly operation: Faults.Operation
  readonly call: Effect.Effect<
    unknown,
    unknown,
    Backend | Faults.Faults | Capability.Inspect | Scope.Scope
  >
  readonly isDone?: Effect.Effect<boolean, unknown, Capability.Inspect>
}> = [
  { operation: "declare", call: Effect.flatMap(Backend, (backend) => backend.declare("q")) },
  { operation: "ping", call: Effect.flatMap(Backend, (backend) => backend.ping) },
  {
    operation: "publish",
    call: Effect.flatMap(Backend, (backend) => backend.publish("q", [item("a")])),
    isDone: Effect.flatMap(
      Capability.Inspect,
      (inspect) => Effect.map(inspect.get("a"), (record) => record._tag === "Some")
    )
  }
]

describe("the fault kit", () => {
  it.live("a backend with no fault planned is the backend itself: the conformance kit finds no difference", () =>
    Effect.gen(function*() {
      for (
        const [name, layer] of [
          ["memory", memory],
          ["sqlite", Faults.layer(SqliteBackend.layer({ filename: ":memory:" }))]
        ] as const
      ) {
        const report = yield* Conformance.run({ name, layer, clock: "test", scale: 10 })
        assert.deepStrictEqual(report.failed, [])
        assert.deepStrictEqual(
          report.notApplicable.map(({ missing }) => missing),
          [["Transactional"], ["Transactional"]]
        )
      }
    }))

  for (const { call, isDone, operation } of operations) {
    it.effect(`${operation} fails before the engine is reached, and after it did what was asked`, () =>
      Effect.gen(function*() {
        const faults = yield* Faults.Faults
        for (const applied of [false, true]) {
          yield* faults.failNext(operation, { applied, message: "planned" })
          const error = yield* Effect.flip(call)
          assert.deepInclude(error, {
            _tag: "windlass/BackendError",
            backend: "memory",
            operation,
            message: "planned",
            retryable: true,
            outcome: applied ? "Unknown" : "NotApplied"
          })
          if (isDone !== undefined) assert.strictEqual(yield* isDone, applied)
        }
        yield* call
        assert.strictEqual(yield* faults.count(operation), 3)
      }).pipe(Effect.provide(memory)))
  }

  it.effect("subscribe, take, settle, exchange, extend and await fail before the engine is reached", () =>
    Effect.gen(function*() {
      const { backend, extend, faults, inspect, subscription } = yield* setup
      yield* backend.publish("q", ["a", "b"].map(item))
      yield* faults.failNext(["subscribe", "take", "settle", "exchange", "extend", "await"], {
        times: 6,
        retryable: false
      })
      const failures = [
        yield* Effect.flip(backend.subscribe("q", { worker: "other" })),
        yield* Effect.flip(subscription.take(1)),
        yield* Effect.flip(subscription.settle([])),
        yield* Effect.flip(subscription.exchange([], 1)),
        yield* Effect.flip(extend([])),
        yield* Effect.flip(subscription.await(1))
      ]
      assert.deepStrictEqual(
        failures.map(({ operation, outcome, retryable }) => [operation, outcome, retryable]),
        ["subscribe", "take", "settle", "exchange", "extend", "await"].map((name) => [name, "NotApplied", false])
      )
      assert.deepStrictEqual(yield* inspect.counts("q"), { ready: 2, scheduled: 0, active: 0, dead: 0 })
      assert.strictEqual((yield* subscription.take(2)).length, 2)
    }).pipe(Effect.provide(memory)))

  it.effect("L4 a dropped answer: the engine claimed, settled and extended, and the caller does not know", () =>
    Effect.gen(function*() {
      const { backend, extend, faults, inspect, subscription } = yield* setup
      yield* backend.publish("q", ["a", "b", "c"].map(item))

      yield* faults.dropAnswer("take")
      assert.strictEqual((yield* Effect.flip(subscription.take(1))).outcome, "Unknown")
      assert.strictEqual((yield* inspect.counts("q")).active, 1)
      assert.deepStrictEqual(yield* faults.deliveriesOf("a"), [])

      const [b] = yield* subscription.take(1)
      yield* TestClock.adjust("20 seconds")
      yield* faults.dropAnswer("extend")
      assert.strictEqual((yield* Effect.flip(extend([b!.receipt]))).outcome, "Unknown")
      // a was not extended, b was
      yield* TestClock.adjust("20 seconds")
      yield* faults.dropAnswer("exchange")
      assert.strictEqual((yield* Effect.flip(subscription.exchange([[b!.receipt, done]], 1))).outcome, "Unknown")
      assert.strictEqual((yield* inspect.get("b"))._tag, "None")
      assert.deepStrictEqual(yield* inspect.counts("q"), { ready: 1, scheduled: 0, active: 1, dead: 0 })
      // the answer did not come back, but the engine gave it
      assert.deepStrictEqual((yield* faults.settlementsOf("b")).map(({ answer }) => answer), ["Settled"])

      const [c] = yield* subscription.take(1)
      yield* faults.dropAnswer("settle")
      assert.strictEqual((yield* Effect.flip(subscription.settle([[c!.receipt, done]]))).outcome, "Unknown")
      assert.deepStrictEqual(yield* subscription.settle([[c!.receipt, done]]), ["Lost"])
    }).pipe(Effect.provide(memory)))

  it.effect("the n-th call, so many times, of those that match", () =>
    Effect.gen(function*() {
      const { backend, faults } = yield* setup
      const publish = (id: string) => Effect.map(Effect.exit(backend.publish("q", [item(id)])), Exit.isSuccess)
      yield* faults.failNext("publish", { nth: 3, times: 2 })
      assert.deepStrictEqual(
        yield* Effect.forEach(["a", "b", "c", "d", "e"], publish),
        [true, true, false, false, true]
      )
      yield* faults.failNext("publish", {
        nth: 2,
        where: ({ items }) => items.some(({ envelope }) => envelope.id.startsWith("x"))
      })
      assert.deepStrictEqual(
        yield* Effect.forEach(["x1", "f", "x2", "x3"], publish),
        [true, true, false, true]
      )
      const always = yield* faults.failNext("publish", { times: Infinity })
      assert.deepStrictEqual(yield* Effect.forEach(["g", "h", "i"], publish), [false, false, false])
      yield* always.cancel
      assert.isTrue(yield* publish("j"))
      yield* faults.failNext("publish", { times: Infinity })
      yield* faults.heal
      assert.isTrue(yield* publish("k"))
    }).pipe(Effect.provide(memory)))

  it.effect("a delay comes before the engine is reached, or after", () =>
    Effect.gen(function*() {
      const { backend, faults, inspect } = yield* setup
      for (const applied of [false, true]) {
        const id = `${applied}`
        const delayed = yield* faults.delayNext("publish", "10 seconds", { applied })
        const publishing = yield* Effect.forkChild(backend.publish("q", [item(id)]), { startImmediately: true })
        yield* delayed.hit
        yield* TestClock.adjust("9 seconds")
        assert.isUndefined(publishing.pollUnsafe())
        assert.strictEqual((yield* inspect.get(id))._tag, applied ? "Some" : "None")
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(publishing)
        assert.strictEqual((yield* inspect.get(id))._tag, "Some")
      }
    }).pipe(Effect.provide(memory)))

  it.effect("a hang lasts until it is released, healed, or interrupted", () =>
    Effect.gen(function*() {
      const { backend, faults, inspect } = yield* setup
      const publish = (id: string) => Effect.forkChild(backend.publish("q", [item(id)]), { startImmediately: true })

      const first = yield* faults.hangNext("publish")
      const a = yield* publish("a")
      yield* first.hit
      yield* TestClock.adjust("1 day")
      assert.isUndefined(a.pollUnsafe())
      assert.strictEqual((yield* inspect.get("a"))._tag, "None")
      yield* first.release
      yield* Fiber.join(a)
      assert.strictEqual((yield* inspect.get("a"))._tag, "Some")

      yield* faults.hangNext("publish", { applied: true })
      const b = yield* publish("b")
      assert.strictEqual((yield* inspect.get("b"))._tag, "Some")
      assert.isUndefined(b.pollUnsafe())
      yield* faults.heal
      yield* Fiber.join(b)

      yield* faults.hangNext("publish")
      const c = yield* publish("c")
      yield* Fiber.interrupt(c)
      const [call] = (yield* faults.calls("publish")).slice(-1)
      assert.strictEqual(call!.end?._tag, "Interrupted")
      assert.isUndefined(call!.engine)
    }).pipe(Effect.provide(memory)))

  it.effect("L16 a delivery is handed out twice, by the next claim or by the same, and settled once", () =>
    Effect.gen(function*() {
      const { backend, faults, subscription } = yield* setup
      yield* backend.publish("q", [item("a")])
      yield* faults.duplicateNext()
      const [a] = yield* subscription.take(1)
      // the engine has nothing, and still there is something to take
      yield* subscription.await(1)
      yield* backend.publish("q", ["b", "c"].map(item))
      const [twice, b] = yield* subscription.take(2)
      assert.deepStrictEqual(twice, a)
      assert.strictEqual(b!.envelope.id, "b")
      assert.deepStrictEqual(
        yield* subscription.settle([[a!.receipt, done], [twice!.receipt, done]]),
        ["Settled", "Lost"]
      )
      yield* faults.duplicateNext({ when: "same" })
      const [, deliveries] = yield* subscription.exchange([[b!.receipt, done]], 5)
      assert.deepStrictEqual(deliveries.map(({ envelope }) => envelope.id), ["c", "c"])
      assert.deepStrictEqual((yield* faults.deliveriesOf("c")).length, 2)
      assert.deepStrictEqual(yield* subscription.take(5), [])
    }).pipe(Effect.provide(memory)))

  it.effect("a duplicate waits for a claim that has something, and respects what was asked for", () =>
    Effect.gen(function*() {
      const { backend, faults, subscription } = yield* setup
      const planned = yield* faults.duplicateNext({ when: "same" })
      assert.deepStrictEqual(yield* subscription.take(1), [])
      yield* backend.publish("q", ["a", "b"].map(item))
      assert.strictEqual((yield* subscription.take(1)).length, 1)
      yield* planned.hit
      assert.deepStrictEqual((yield* subscription.take(1)).map(({ envelope }) => envelope.id), ["a"])
      assert.deepStrictEqual((yield* subscription.take(1)).map(({ envelope }) => envelope.id), ["b"])
    }).pipe(Effect.provide(memory)))

  for (
    const [name, layer] of [
      ["memory", memory],
      ["sqlite", Faults.layer(SqliteBackend.layer({ filename: ":memory:" }))]
    ] as const
  ) {
    it.effect(`L16 a lease that is taken away on ${name}: its owner learns Lost, the next one from whom it was lost`, () =>
      Effect.gen(function*() {
        const { backend, extend, faults, subscription } = yield* setup
        const other = yield* backend.subscribe("q", { worker: "other" })
        yield* backend.publish("q", ["a", "b", "c"].map(item))
        const [a, b] = yield* subscription.take(2)
        const receiving = yield* Effect.forkChild(
          Effect.andThen(other.take(1), Effect.andThen(other.await(1), other.take(1))),
          { startImmediately: true }
        )
        assert.isTrue(yield* faults.loseLease("a"))
        assert.deepStrictEqual(yield* extend([b!.receipt, a!.receipt]), ["Held", "Lost"])
        const [again1] = yield* Fiber.join(receiving)
        assert.deepInclude(again1, { attempt: 1, unsettled: 1, lostFrom: { worker: "w", claimedAt: 0 } })
        // also now that another owns the job
        assert.deepStrictEqual(
          yield* subscription.settle([[a!.receipt, done], [b!.receipt, done]]),
          ["Lost", "Settled"]
        )
        assert.isTrue(yield* faults.loseLease("a"))
        const [again2] = yield* subscription.take(1)
        assert.deepInclude(again2, { attempt: 1, unsettled: 2 })
        assert.strictEqual(again2!.lostFrom?.worker, "other")
        const [answers] = yield* subscription.exchange([[again1!.receipt, done], [again2!.receipt, again]], 0)
        assert.deepStrictEqual(answers, ["Lost", "Settled"])
        const [again3] = yield* subscription.take(1)
        assert.deepInclude(again3, { attempt: 2, unsettled: 0, lostFrom: undefined })
        yield* subscription.settle([[again3!.receipt, done]])
        assert.isFalse(yield* faults.loseLease("a"))
        assert.isFalse(yield* faults.loseLease("nobody"))
      }).pipe(Effect.provide(layer)))
  }

  it.effect("the clock of the code under test is set wrong, the engine's is not, and TestClock moves both", () =>
    Effect.gen(function*() {
      const { backend, faults, subscription } = yield* setup
      yield* faults.skewClock("1 hour")
      assert.strictEqual(yield* Clock.currentTimeMillis, 3_600_000)
      assert.strictEqual(yield* Clock.currentTimeNanos, 3_600_000_000_000n)
      assert.strictEqual(yield* Clock.monotonicTimeNanos, 0n)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* Clock.currentTimeMillis, 3_660_000)
      yield* backend.publish("q", [{ ...item("a"), due: { _tag: "After", millis: 1000 } }])
      const sleeping = yield* Effect.forkChild(Effect.sleep(1000), { startImmediately: true })
      yield* TestClock.adjust(999)
      assert.deepStrictEqual(yield* subscription.take(1), [])
      assert.isUndefined(sleeping.pollUnsafe())
      yield* TestClock.adjust(1)
      yield* Fiber.join(sleeping)
      const [a] = yield* subscription.take(1)
      assert.strictEqual(a!.enqueuedAt, 60_000)
      yield* faults.skewClock(-30_000)
      assert.strictEqual(yield* Clock.currentTimeMillis, 31_000)
      yield* faults.heal
      assert.strictEqual(yield* Clock.currentTimeMillis, 61_000)
    }).pipe(Effect.provide(memory)))

  it.effect("L12 L13 what was asked and answered is on record", () =>
    Effect.gen(function*() {
      const { backend, faults, subscription } = yield* setup
      yield* TestClock.adjust(5)
      yield* backend.publish("q", ["a", "b"].map(item), { atomic: true })
      yield* faults.failNext("exchange")
      yield* Effect.flip(subscription.exchange([], 1))
      const [, deliveries] = yield* subscription.exchange([], 1)
      yield* subscription.exchange([[deliveries[0]!.receipt, again]], 1)
      const [a] = yield* subscription.take(1)
      yield* subscription.settle([[a!.receipt, done]])

      assert.deepStrictEqual(
        (yield* faults.calls()).map(({ operation }) => operation),
        ["subscribe", "publish", "exchange", "exchange", "exchange", "take", "settle"]
      )
      const [publish] = yield* faults.calls("publish")
      assert.deepStrictEqual(publish!.input, { queue: "q", items: ["a", "b"].map(item), atomic: true })
      assert.strictEqual(publish!.at, 5)
      assert.deepStrictEqual(publish!.end, { _tag: "Answered", answer: [{ _tag: "Stored" }, { _tag: "Stored" }] })
      const exchanges = yield* faults.calls("exchange")
      assert.deepStrictEqual(exchanges.map(({ end }) => end?._tag), ["Failed", "Answered", "Answered"])
      assert.deepStrictEqual(exchanges.map(({ engine }) => engine === undefined), [true, false, false])

      assert.deepStrictEqual(
        (yield* faults.settlementsOf("a")).map(({ answer, settlement }) => [settlement._tag, answer]),
        [["Retry", "Settled"], ["Complete", "Settled"]]
      )
      assert.deepStrictEqual((yield* faults.deliveriesOf("a")).map(({ attempt }) => attempt), [1, 2])
      assert.deepStrictEqual((yield* faults.deliveriesOf("b")).map(({ attempt }) => attempt), [1])
      assert.strictEqual(yield* faults.count("exchange"), 3)
      yield* faults.forget
      assert.strictEqual(yield* faults.count("exchange"), 0)
      assert.deepStrictEqual(yield* faults.calls(), [])
    }).pipe(Effect.provide(memory)))

  it.effect("one can wait for a call to begin", () =>
    Effect.gen(function*() {
      const { backend, faults } = yield* setup
      yield* backend.ping
      yield* faults.called("ping", 1)
      const waiting = yield* Effect.forkChild(faults.called("ping", 3), { startImmediately: true })
      yield* backend.ping
      yield* Effect.yieldNow
      assert.isUndefined(waiting.pollUnsafe())
      yield* backend.ping
      yield* Fiber.join(waiting)
    }).pipe(Effect.provide(memory)))

  it.effect("a test that is woken by a fault may plan the next, which the same call does not meet", () =>
    Effect.gen(function*() {
      const { backend, faults } = yield* setup
      const first = yield* faults.failNext("ping", { message: "first" })
      yield* Effect.forkChild(Effect.andThen(first.hit, faults.failNext("ping", { message: "second" })), {
        startImmediately: true
      })
      assert.strictEqual((yield* Effect.flip(backend.ping)).message, "first")
      yield* Effect.yieldNow
      assert.strictEqual((yield* Effect.flip(backend.ping)).message, "second")
      yield* backend.ping
    }).pipe(Effect.provide(memory)))

  it.effect("any backend can be wrapped, without a layer", () =>
    Effect.gen(function*() {
      const context = yield* Layer.build(MemoryBackend.layer)
      const { backend, clock, faults } = yield* Faults.wrap(Context.get(context, Backend))
      yield* faults.failNext("ping")
      yield* Effect.flip(backend.ping)
      yield* faults.skewClock(7)
      assert.strictEqual(clock.currentTimeMillisUnsafe(), 7)
    }))

  it.effect("a lease that is taken away is Lost also where the engine has a weak fence", () =>
    Effect.gen(function*() {
      const context = yield* Layer.build(MemoryBackend.layer)
      const engine = Context.get(context, Backend)
      const { backend, faults } = yield* Faults.wrap({
        ...engine,
        fence: "weak",
        subscribe: (queue, options) =>
          Effect.map(engine.subscribe(queue, options), (subscription) => ({
            ...subscription,
            settle: (items) =>
              Effect.map(subscription.settle(items), (answers) => answers.map(() => "Settled" as const))
          }))
      })
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      yield* backend.publish("q", [item("a")])
      const [a] = yield* subscription.take(1)
      yield* faults.loseLease("a")
      assert.deepStrictEqual(yield* subscription.settle([[a!.receipt, done]]), ["Lost"])
    }))

  it.effect("an engine that reads the clock at every call reads the right one", () =>
    Effect.gen(function*() {
      const context = yield* Layer.build(MemoryBackend.layer)
      const seen: Array<number> = []
      const { backend, clock, faults } = yield* Faults.wrap({
        ...Context.get(context, Backend),
        ping: Effect.map(Clock.currentTimeMillis, (millis) => {
          seen.push(millis)
        })
      })
      yield* faults.skewClock("1 hour")
      const both = Effect.andThen(backend.ping, Clock.currentTimeMillis)
      assert.strictEqual(yield* Effect.provideService(both, Clock.Clock, clock), 3_600_000)
      assert.deepStrictEqual(seen, [0])
    }))
})
