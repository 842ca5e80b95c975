import { assert, describe, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Backend, type Envelope, type Settlement } from "windlass/Backend"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Capability from "windlass/Capability"

const envelope = (id: string, extra?: Partial<Envelope>): Envelope => ({
  id,
  task: "Test",
  version: 1,
  payload: "{}",
  headers: {},
  origin: "user",
  ...extra
})
const done: Settlement = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }
const again: Settlement = {
  _tag: "Retry",
  why: "failed",
  after: 0,
  attempt: "spent",
  place: "back",
  error: "no"
}

// what every backend holds is in conformance.test.ts; here is what is this engine's own
describe("the memory backend", () => {
  it.effect("a delivery is a copy: who changes it does not change the job (L8)", () =>
    Effect.gen(function*() {
      const backend = yield* Backend
      const headers: Record<string, string> = { a: "1" }
      yield* backend.publish("q", [{ envelope: envelope("x", { headers }) }])
      headers.a = "changed by the producer"
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      const [first] = yield* subscription.take(1)
      assert.deepStrictEqual(first!.envelope.headers, { a: "1" })
      Object.assign(first!.envelope.headers, { a: "changed by the worker" })
      yield* subscription.settle([[first!.receipt, again]])
      const [second] = yield* subscription.take(1)
      assert.deepStrictEqual(second!.envelope.headers, { a: "1" })
    }).pipe(Effect.provide(MemoryBackend.layer)))

  it.effect("retention: failures stay for 7 days, successes do not stay", () =>
    Effect.gen(function*() {
      const backend = yield* Backend
      const inspect = yield* Capability.Inspect
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      yield* backend.publish("q", [{ envelope: envelope("good") }, { envelope: envelope("bad") }])
      const [good, bad] = yield* subscription.take(2)
      yield* subscription.settle([
        [good!.receipt, done],
        [bad!.receipt, { _tag: "Dead", reason: "failed", error: "no", exit: undefined }]
      ])
      assert.isTrue(Option.isNone(yield* inspect.get("good")))
      assert.isTrue(Option.isSome(yield* inspect.get("bad")))
      yield* TestClock.adjust("7 days")
      assert.isTrue(Option.isNone(yield* inspect.get("bad")))
      assert.strictEqual((yield* inspect.counts("q")).dead, 0)
    }).pipe(Effect.provide(MemoryBackend.layer)))

  it.effect("retention can be set", () =>
    Effect.gen(function*() {
      const backend = yield* Backend
      const inspect = yield* Capability.Inspect
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      yield* backend.publish("q", [{ envelope: envelope("good") }])
      const [good] = yield* subscription.take(2)
      yield* subscription.settle([[good!.receipt, done]])
      const record = Option.getOrThrow(yield* inspect.get("good"))
      assert.strictEqual(record.state, "succeeded")
      assert.deepStrictEqual(record.history.map((event) => event.event), ["enqueued", "succeeded"])
      yield* TestClock.adjust("1 hour")
      assert.isTrue(Option.isNone(yield* inspect.get("good")))
    }).pipe(Effect.provide(MemoryBackend.layerWith({ retention: { successes: "1 hour" } }))))

  it.effect("a need above a limit is a typed error, and nothing of the batch is stored", () =>
    Effect.gen(function*() {
      const backend = yield* Backend
      const inspect = yield* Capability.Inspect
      const refused = (items: Parameters<typeof backend.publish>[1]) =>
        Effect.gen(function*() {
          const error = yield* Effect.flip(backend.publish("q", [{ envelope: envelope("small") }, ...items]))
          assert.strictEqual(error.outcome, "NotApplied")
          assert.isFalse(error.retryable)
          assert.strictEqual((yield* inspect.counts("q")).ready, 0)
          return error.message
        })
      // characters of three bytes, and of four
      yield* backend.publish("other", [{ envelope: envelope("fits", { payload: "世界世" }) }])
      yield* backend.publish("other", [{ envelope: envelope("fits too", { payload: "🧵🧵é" }) }])
      assert.include(yield* refused([{ envelope: envelope("big", { payload: "🧵🧵ééé" }) }]), "14 bytes")
      assert.include(yield* refused([{ envelope: envelope("big", { headers: { "123456": "78901" } }) }]), "13 bytes")
      assert.include(yield* refused([{ envelope: envelope("big", { payload: "世界世界" }) }]), "12 bytes")
      assert.include(
        yield* refused([{ envelope: envelope("late"), due: { _tag: "After", millis: 1001 } }]),
        "1001 ms"
      )
      assert.include(yield* refused([{ envelope: envelope("high"), priority: 40_000 }]), "priority 40000")
      assert.include(yield* refused([{ envelope: envelope("a") }, { envelope: envelope("b") }]), "3 jobs")
    }).pipe(Effect.provide(MemoryBackend.layerWith({
      limits: { payloadBytes: 10, delayMillis: 1000, publishBatch: 2 }
    }))))

  it.effect("batches are as large as the limits say", () =>
    Effect.gen(function*() {
      const backend = yield* Backend
      yield* backend.publish("q", ["a", "b", "c"].map((id) => ({ envelope: envelope(id) })))
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      const first = yield* subscription.take(100)
      assert.strictEqual(first.length, 2)
      const deliveries = [...first, ...yield* subscription.take(100)]
      assert.deepStrictEqual(deliveries.map((delivery) => delivery.envelope.id), ["a", "b", "c"])
      const items = deliveries.map(({ receipt }) => [receipt, done] as const)
      assert.include((yield* Effect.flip(subscription.settle(items))).message, "3 settlements")
      assert.include((yield* Effect.flip(subscription.exchange(items, 1))).message, "3 settlements")
      assert.deepStrictEqual(yield* subscription.settle(items.slice(1)), ["Settled", "Settled"])
    }).pipe(Effect.provide(MemoryBackend.layerWith({ limits: { takeBatch: 2, settleBatch: 2 } }))))

  it.effect("a subscription whose scope has ended claims nothing more and still settles", () =>
    Effect.gen(function*() {
      const backend = yield* Backend
      yield* backend.publish("q", [{ envelope: envelope("x") }, { envelope: envelope("y") }])
      const [subscription, delivery] = yield* Effect.scoped(Effect.gen(function*() {
        const subscription = yield* backend.subscribe("q", { worker: "w" })
        const [delivery] = yield* subscription.take(1)
        return [subscription, delivery!] as const
      }))
      assert.include((yield* Effect.flip(subscription.take(1))).message, "scope ended")
      assert.include((yield* Effect.flip(subscription.await(1))).message, "scope ended")
      assert.deepStrictEqual(yield* subscription.settle([[delivery.receipt, done]]), ["Settled"])
      assert.deepStrictEqual(yield* Stream.runCollect(subscription.aborts!), [])
    }).pipe(Effect.provide(MemoryBackend.layer)))

  it.effect("L16: another backend's receipt is Lost, and what it is of stays with its owner", () =>
    Effect.gen(function*() {
      const build = Effect.map(Layer.build(Layer.fresh(MemoryBackend.layer)), Context.pick(Backend, Capability.Inspect))
      const [here, there] = [yield* build, yield* build]
      const jobs = [{ envelope: envelope("x") }]
      // the same job in both, handed out as often
      const [ours, theirs] = yield* Effect.forEach([here, there], (context) =>
        Effect.gen(function*() {
          const backend = Context.get(context, Backend)
          yield* backend.publish("q", jobs)
          const subscription = yield* backend.subscribe("q", { worker: "w" })
          return { delivery: (yield* subscription.take(1))[0]!, subscription }
        }))
      const { receipt } = theirs!.delivery
      assert.deepStrictEqual(yield* ours!.subscription.settle([[receipt, done], [receipt, again]]), ["Lost", "Lost"])
      const { lease } = ours!.subscription
      assert.isTrue(lease._tag === "Timed")
      if (lease._tag === "Timed") assert.deepStrictEqual(yield* lease.extend([receipt]), ["Lost"])
      assert.strictEqual(yield* Context.get(here, Capability.Inspect).progress(receipt, "1"), "Lost")
      for (const { delivery, subscription } of [ours!, theirs!]) {
        assert.deepStrictEqual(yield* subscription.settle([[delivery.receipt, done]]), ["Settled"])
      }
    }))

  it.effect("a million jobs wait, and a claim is as quick as with few", () =>
    Effect.gen(function*() {
      const backend = yield* Backend
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      for (let i = 0; i < 1_000_000; i += 10_000) {
        yield* backend.publish(
          "q",
          Array.from({ length: 10_000 }, (_, k) => ({
            envelope: envelope(`job-${i + k}`),
            priority: (i + k) % 7,
            group: k % 10 === 0 ? `g${k % 1000}` : undefined
          }))
        )
      }
      let last = 6
      for (let round = 0; round < 100; round++) {
        const deliveries = yield* subscription.take(100)
        assert.strictEqual(deliveries.length, 100)
        for (const { priority } of deliveries) {
          assert.isAtMost(priority, last)
          last = priority
        }
        yield* subscription.settle(deliveries.map(({ receipt }) => [receipt, done] as const))
      }
    }).pipe(Effect.provide(MemoryBackend.layer)))

  it.effect("await sleeps no longer than until the next job is due, and then on if another took it", () =>
    Effect.gen(function*() {
      const backend = yield* Backend
      const a = yield* backend.subscribe("q", { worker: "a" })
      const b = yield* backend.subscribe("q", { worker: "b" })
      yield* backend.publish("q", [{ envelope: envelope("x"), due: { _tag: "After", millis: 1000 } }])
      const waiting = yield* Effect.forkChild(a.await(1), { startImmediately: true })
      yield* TestClock.adjust(999)
      assert.isUndefined(waiting.pollUnsafe())
      yield* backend.publish("q", [{ envelope: envelope("y"), due: { _tag: "After", millis: 10_000 } }])
      yield* TestClock.adjust(1)
      yield* Fiber.join(waiting)
      assert.strictEqual((yield* b.take(1)).length, 1)
      const on = yield* Effect.forkChild(a.await(1), { startImmediately: true })
      yield* TestClock.adjust(9998)
      assert.isUndefined(on.pollUnsafe())
      yield* TestClock.adjust(1)
      yield* Fiber.join(on)
    }).pipe(Effect.provide(MemoryBackend.layer)))

  it.effect("who is woken runs after the call that woke it, never inside of it", () =>
    Effect.gen(function*() {
      const backend = yield* Backend
      const cancel = yield* Capability.Cancel
      const results = yield* Capability.Results
      const log: Array<string> = []
      const worker = (name: string) =>
        Effect.gen(function*() {
          const subscription = yield* backend.subscribe("q", { worker: name })
          // no step of this loop yields
          for (;;) {
            const deliveries = yield* subscription.take(1)
            if (deliveries.length === 0) yield* subscription.await(1)
            else {
              log.push(`${deliveries[0]!.envelope.id} taken`)
              yield* subscription.settle([[deliveries[0]!.receipt, done]])
            }
          }
        })
      const workers = yield* Effect.forEach(["one", "two"], (name) =>
        Effect.forkChild(worker(name), { startImmediately: true }))
      const waiting = yield* Effect.forkChild(
        Effect.tap(results.await("late"), () =>
          Effect.sync(() => log.push("result heard"))),
        { startImmediately: true }
      )
      for (const id of ["a", "b"]) {
        yield* Effect.map(backend.publish("q", [{ envelope: envelope(id) }]), () => log.push(`${id} published`))
        yield* Effect.yieldNow
      }
      yield* backend.publish("q", [{ envelope: envelope("late"), due: { _tag: "After", millis: 1000 } }])
      yield* Effect.map(cancel.request("late"), () => log.push("late cancelled"))
      yield* Fiber.join(waiting)
      assert.deepStrictEqual(log, [
        "a published",
        "a taken",
        "b published",
        "b taken",
        "late cancelled",
        "result heard"
      ])
      yield* Fiber.interruptAll(workers)
    }).pipe(Effect.provide(MemoryBackend.layer)))

  it.effect("who waits at a paused queue sleeps, whatever is there", () =>
    Effect.gen(function*() {
      const backend = yield* Backend
      const pause = yield* Capability.Pause
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      yield* pause.set("q", true)
      yield* backend.publish("q", [{ envelope: envelope("x") }])
      const waiting = yield* Effect.forkChild(subscription.await(1), { startImmediately: true })
      yield* backend.publish("q", [{ envelope: envelope("y") }])
      yield* TestClock.adjust("1 day")
      assert.isUndefined(waiting.pollUnsafe())
      yield* pause.set("q", false)
      yield* Fiber.join(waiting)
    }).pipe(Effect.provide(MemoryBackend.layer)))

  it.effect("what is released in one batch comes back in its order, also the jobs of a lost owner", () =>
    Effect.gen(function*() {
      const backend = yield* Backend
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      const take = (max: number) =>
        Effect.map(subscription.take(max), (deliveries) => deliveries.map((delivery) => delivery.envelope.id))
      yield* backend.publish("q", ["a", "b", "c", "d"].map((id) => ({ envelope: envelope(id) })))
      const deliveries = yield* subscription.take(3)
      yield* subscription.settle(
        deliveries.map(({ receipt }) =>
          [receipt, { ...again, why: "released", attempt: "kept", place: "front" }] as const
        )
      )
      assert.deepStrictEqual(yield* take(3), ["a", "b", "c"])
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(yield* take(10), ["a", "b", "c", "d"])
    }).pipe(Effect.provide(MemoryBackend.layer)))

  it.effect("the history of a job that is snoozed for ever does not grow for ever", () =>
    Effect.gen(function*() {
      const backend = yield* Backend
      const inspect = yield* Capability.Inspect
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      yield* backend.publish("q", [{ envelope: envelope("x") }])
      for (let n = 0; n < 1000; n++) {
        const [delivery] = yield* subscription.take(1)
        yield* subscription.settle([[delivery!.receipt, { ...again, why: "snoozed", attempt: "kept", error: `${n}` }]])
      }
      const { history } = Option.getOrThrow(yield* inspect.get("x"))
      assert.isBelow(history.length, 300)
      assert.strictEqual(history[0]!.event, "enqueued")
      assert.strictEqual(history.at(-1)!.detail, "999")
    }).pipe(Effect.provide(MemoryBackend.layer)))

  it.effect("options may come from the configuration", () =>
    Effect.gen(function*() {
      const backend = yield* Backend
      const { lease } = yield* backend.subscribe("q", { worker: "w" })
      assert.deepInclude(lease, { _tag: "Timed", millis: 5000 })
    }).pipe(
      Effect.provide(MemoryBackend.layerConfig({ lease: Config.Duration("LEASE") })),
      Effect.provideService(
        ConfigProvider.ConfigProvider,
        ConfigProvider.fromUnknown({ LEASE: "5 seconds" })
      )
    ))
})
