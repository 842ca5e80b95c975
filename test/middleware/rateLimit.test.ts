import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Fiber, Layer, References, Schema } from "effect"
import { RateLimiter } from "effect/persistence"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import * as MemoryBackend from "../../src/backends/MemoryBackend.ts"
import * as Enqueue from "../../src/Enqueue.ts"
import type { Gate } from "../../src/Gate.ts"
import * as Middleware from "../../src/Middleware.ts"
import * as RateLimit from "../../src/middleware/RateLimit.ts"
import * as Task from "../../src/Task.ts"
import * as TaskGroup from "../../src/TaskGroup.ts"
import * as Worker from "../../src/Worker.ts"
import { infoOf } from "./support.ts"

class Work extends Task.make("Work", { payload: { n: Schema.Number } }) {}

const algorithms = ["token-bucket", "fixed-window"] as const

/** what a gate grants without waiting, at most `max` */
const now = <R>(gate: Gate<R>, max: number) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(gate.acquire!(max), { startImmediately: true })
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return yield* exit
    yield* Fiber.interrupt(fiber)
    return 0
  })

describe("RateLimit", () => {
  for (const algorithm of algorithms) {
    it.effect(`grants what there is, waits for more (${algorithm})`, () =>
      Effect.gen(function*() {
        const gate = RateLimit.gate({ limit: 4, window: "1 second", algorithm })
        assert.strictEqual(yield* gate.acquire!(3), 3)
        assert.strictEqual(yield* gate.acquire!(3), 1)
        const waiting = yield* Effect.forkChild(gate.acquire!(3), { startImmediately: true })
        yield* TestClock.adjust(algorithm === "token-bucket" ? 249 : 999)
        assert.isUndefined(waiting.pollUnsafe())
        yield* TestClock.adjust(1)
        assert.strictEqual(yield* Fiber.join(waiting), algorithm === "token-bucket" ? 1 : 3)
      }).pipe(Effect.provide(RateLimit.layerMemory)))

    it.effect(`L10: what did not start comes back, what started does not (${algorithm})`, () =>
      Effect.promise(() => {
        let returned = 0
        return fc.assert(
          fc.asyncProperty(
            fc.integer({ min: 1, max: 12 }),
            fc.array(fc.record({ max: fc.integer({ min: 1, max: 6 }), unused: fc.nat(6) }), { maxLength: 20 }),
            (limit, claims) =>
              Effect.runPromise(
                Effect.gen(function*() {
                  const gate = RateLimit.gate({ limit, window: "1 minute", algorithm })
                  let started = 0
                  for (const { max, unused } of claims) {
                    const got = yield* now(gate, max)
                    const back = Math.min(got, unused)
                    returned += back
                    started += got - back
                    yield* gate.release!(back, false)
                    yield* gate.release!(got - back, true)
                  }
                  // no time has passed: exactly the limit can start, whatever was taken and given back in between
                  while (true) {
                    const got = yield* now(gate, 5)
                    if (got === 0) break
                    started += got
                  }
                  assert.strictEqual(started, limit)
                }).pipe(Effect.provide(Layer.merge(RateLimit.layerMemory, TestClock.layer())))
              )
          ),
          { numRuns: 200 }
        ).then(() => assert.isAbove(returned, 500))
      }))

    it.effect(`never above the rate, whatever is given back when (${algorithm})`, () =>
      Effect.promise(() => {
        let starts = 0
        return fc.assert(
          fc.asyncProperty(
            fc.integer({ min: 1, max: 6 }),
            fc.constantFrom(100, 333, 1_000),
            fc.array(
              fc.record({
                wait: fc.nat(400),
                max: fc.integer({ min: 1, max: 8 }),
                unused: fc.nat(8),
                hold: fc.nat(300)
              }),
              { minLength: 1, maxLength: 30 }
            ),
            (limit, window, claims) =>
              Effect.runPromise(
                Effect.gen(function*() {
                  const gate = RateLimit.gate({ limit, window, algorithm })
                  const started: Array<number> = []
                  const late: Array<number> = []
                  for (const { hold, max, unused, wait } of claims) {
                    yield* TestClock.adjust(wait)
                    const got = yield* now(gate, max)
                    const at = yield* Clock.currentTimeMillis
                    const back = Math.min(got, unused)
                    for (let i = back; i < got; i++) started.push(at)
                    // an empty claim gives back at once; a job that was turned away late, late
                    if (hold < 150) yield* gate.release!(back, false)
                    else {
                      yield* Effect.forkChild(Effect.andThen(Effect.sleep(hold), gate.release!(back, false)))
                      for (let i = 0; i < back; i++) late.push(at + hold)
                    }
                  }
                  starts += started.length
                  // between any two starts no more than a full bucket, what it gained meanwhile, and what came back late
                  for (let i = 0; i < started.length; i++) {
                    for (let j = i; j < started.length; j++) {
                      const gained = algorithm === "token-bucket"
                        ? Math.ceil(((started[j]! - started[i]!) * limit) / window)
                        : limit * Math.ceil((started[j]! - started[i]!) / window)
                      const back = late.filter((at) => at >= started[i]! && at <= started[j]!).length
                      assert.isAtMost(j - i + 1, limit + gained + back)
                    }
                  }
                }).pipe(Effect.provide(Layer.merge(RateLimit.layerMemory, TestClock.layer())))
              )
          ),
          { numRuns: 300 }
        ).then(() => assert.isAbove(starts, 500))
      }))
  }

  it.effect("L10: an interruption while tokens are on their way loses none", () =>
    Effect.gen(function*() {
      // a store that answers after a while, as one over a network
      const slow = Layer.effect(
        RateLimiter.RateLimiter,
        Effect.map(RateLimiter.RateLimiter, (limiter) => ({
          ...limiter,
          consume: (options: Parameters<typeof limiter.consume>[0]) =>
            Effect.delay(limiter.consume(options), "100 millis")
        }))
      ).pipe(Layer.provide(RateLimit.layerMemory))
      yield* Effect.gen(function*() {
        const gate = RateLimit.gate({ limit: 5, window: "1 hour" })
        const fiber = yield* Effect.forkChild(gate.acquire!(5), { startImmediately: true })
        yield* TestClock.adjust(50)
        const interrupted = yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
        yield* TestClock.adjust(50)
        yield* Fiber.join(interrupted)
        assert.strictEqual(yield* gate.acquire!(9), 5)
      }).pipe(Effect.provide(slow))
    }))

  it.effect("who waits hears of tokens that come back", () =>
    Effect.gen(function*() {
      const gate = RateLimit.gate({ limit: 2, window: "1 hour" })
      assert.strictEqual(yield* gate.acquire!(2), 2)
      const waiting = yield* Effect.forkChild(gate.acquire!(2), { startImmediately: true })
      yield* gate.release!(1, true)
      assert.isUndefined(waiting.pollUnsafe())
      yield* gate.release!(1, false)
      assert.strictEqual(yield* Fiber.join(waiting), 1)
    }).pipe(Effect.provide(RateLimit.layerMemory)))

  it.effect("a store that is down lets nothing start, and is asked again", () =>
    Effect.gen(function*() {
      let down = true
      const broken = Layer.effect(
        RateLimiter.RateLimiter,
        Effect.map(RateLimiter.RateLimiter, (limiter) => ({
          ...limiter,
          consume: (options: Parameters<typeof limiter.consume>[0]) =>
            down
              ? Effect.fail(
                new RateLimiter.RateLimiterError({ reason: new RateLimiter.RateLimitStoreError({ message: "down" }) })
              )
              : limiter.consume(options)
        }))
      ).pipe(Layer.provide(RateLimit.layerMemory))
      yield* Effect.gen(function*() {
        const gate = RateLimit.gate({ limit: 2, window: "1 hour" })
        const keyed = RateLimit.byKey({ limit: 2, window: "1 hour", key: () => "k" })
        assert.deepStrictEqual(yield* keyed.admit!(infoOf()), { _tag: "Later", millis: 1_000 })
        const waiting = yield* Effect.forkChild(gate.acquire!(2), { startImmediately: true })
        yield* TestClock.adjust("10 seconds")
        assert.isUndefined(waiting.pollUnsafe())
        down = false
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* Fiber.join(waiting), 2)
      }).pipe(Effect.provide(broken), Effect.provideService(References.MinimumLogLevel, "None"))
    }))

  it("refuses a rate that cannot work", () => {
    for (const limit of [0, -1, 1.5, Number.NaN]) assert.throws(() => RateLimit.gate({ limit, window: 1 }), RangeError)
    for (const window of [0, Duration.infinity]) {
      assert.throws(() => RateLimit.byKey({ limit: 1, window, key: () => "x" }), RangeError)
    }
  })

  it.effect("L10: per key: a key that is over its rate comes later, what did not start comes back once", () =>
    Effect.gen(function*() {
      const gate = RateLimit.byKey({ limit: 2, window: "1 second", key: (job) => job.headers["tenant"] })
      const a = infoOf({ headers: { tenant: "a" } })
      const first = yield* gate.admit!(a)
      yield* gate.admit!(a)
      assert.deepStrictEqual(yield* gate.admit!(a), { _tag: "Later", millis: 500 })
      assert.strictEqual((yield* gate.admit!(infoOf({ headers: { tenant: "b" } })))._tag, "Admitted")
      for (let i = 0; i < 9; i++) assert.strictEqual((yield* gate.admit!(infoOf()))._tag, "Admitted")
      if (first._tag !== "Admitted") return assert.fail("not admitted")
      yield* first.release(false)
      yield* first.release(false)
      assert.strictEqual((yield* gate.admit!(a))._tag, "Admitted")
      assert.strictEqual((yield* gate.admit!(a))._tag, "Later")
    }).pipe(Effect.provide(RateLimit.layerMemory)))

  it.effect("with a worker: no more starts than the rate, and no token lost to empty claims or to jobs turned away", () =>
    Effect.gen(function*() {
      const starts: Array<number> = []
      const gate = RateLimit.gate({ limit: 5, window: "1 second", algorithm: "fixed-window" })
      // stands outside of the chain: what it gives back has not started
      const turnAway = Middleware.delivery(
        "turn away",
        (next, delivery) =>
          delivery.envelope.headers["turn"] === "away" && delivery.attempt === 1
            ? Effect.succeed({ _tag: "Dead", reason: "turned away", error: undefined, exit: undefined })
            : next(delivery)
      )
      const live = Work.toLayer(() => Effect.map(Clock.currentTimeMillis, (at) => void starts.push(at)))
      yield* Effect.gen(function*() {
        yield* TestClock.adjust("10 minutes") // idle: claims that find nothing
        yield* Work.enqueueMany(Array.from({ length: 30 }, (_, n) => ({ n }))).pipe(Enqueue.headers({ turn: "away" }))
        yield* TestClock.adjust(0)
        assert.strictEqual(starts.length, 0)
        yield* Work.enqueueMany(Array.from({ length: 23 }, (_, n) => ({ n })))
        // in steps: what is due is run before the clock goes on
        for (let i = 0; i < 100; i++) yield* TestClock.adjust("100 millis")
        const report = yield* Worker.stop
        assert.deepStrictEqual([report.succeeded, report.dead], [23, 30])
        const perSecond = new Map<number, number>()
        for (const at of starts) {
          const second = Math.floor(at / 1_000)
          perSecond.set(second, (perSecond.get(second) ?? 0) + 1)
        }
        assert.deepStrictEqual(Array.from(perSecond.values()), [5, 5, 5, 5, 3])
      }).pipe(Effect.provide(
        Worker.layer(TaskGroup.make(Work), { concurrency: 50, gates: [gate], middleware: [turnAway] }).pipe(
          Layer.provide(live),
          Layer.provide(RateLimit.layerMemory),
          Layer.provideMerge(MemoryBackend.layer)
        )
      ))
    }))

  it.effect("with a worker, per key: each tenant at its own pace", () =>
    Effect.gen(function*() {
      const starts: Array<readonly [string, number]> = []
      const gate = RateLimit.byKey({ limit: 1, window: "1 second", key: (job) => job.headers["tenant"] })
      const live = Work.toLayer(({ n }) =>
        Effect.map(Clock.currentTimeMillis, (at) => void starts.push([n % 2 === 0 ? "a" : "b", at]))
      )
      yield* Effect.gen(function*() {
        for (let n = 0; n < 8; n++) {
          yield* Work.enqueue({ n }).pipe(Enqueue.headers({ tenant: n % 2 === 0 ? "a" : "b" }))
        }
        yield* TestClock.adjust("1 minute")
        for (const tenant of ["a", "b"]) {
          assert.deepStrictEqual(starts.filter(([who]) => who === tenant).map(([, at]) => at), [0, 1_000, 2_000, 3_000])
        }
      }).pipe(Effect.provide(
        Worker.layer(TaskGroup.make(Work), { gates: [gate] }).pipe(
          Layer.provide(live),
          Layer.provide(RateLimit.layerMemory),
          Layer.provideMerge(MemoryBackend.layer)
        )
      ))
    }))
})
