import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import * as MemoryBackend from "../../src/backends/MemoryBackend.ts"
import * as Enqueue from "../../src/Enqueue.ts"
import type { Gate } from "../../src/Gate.ts"
import * as Concurrency from "../../src/middleware/Concurrency.ts"
import * as Task from "../../src/Task.ts"
import * as TaskGroup from "../../src/TaskGroup.ts"
import * as Worker from "../../src/Worker.ts"
import { Boom, infoOf } from "./support.ts"

class Work extends Task.make("Work", { payload: { millis: Schema.Number, how: Schema.String }, error: Boom }) {}
class Other extends Task.make("Other", { payload: { millis: Schema.Number }, queue: "other" }) {}

/** how many run at once, by key */
const counter = () => {
  const running = new Map<string, number>()
  const most = new Map<string, number>()
  let ran = 0
  const around = <A, E, R>(key: string, self: Effect.Effect<A, E, R>) =>
    Effect.acquireUseRelease(
      Effect.sync(() => {
        ran++
        const now = (running.get(key) ?? 0) + 1
        running.set(key, now)
        most.set(key, Math.max(now, most.get(key) ?? 0))
      }),
      () => self,
      () => Effect.sync(() => running.set(key, running.get(key)! - 1))
    )
  return { around, most: (key: string) => most.get(key) ?? 0, ran: () => ran }
}

describe("Concurrency", () => {
  it.effect("grants what is free, waits when nothing is, wakes when something comes back", () =>
    Effect.gen(function*() {
      const gate = Concurrency.gate({ permits: 3 })
      assert.strictEqual(yield* gate.acquire!(2), 2)
      assert.strictEqual(yield* gate.acquire!(9), 1)
      const waiting = yield* Effect.forkChild(gate.acquire!(9), { startImmediately: true })
      assert.isUndefined(waiting.pollUnsafe())
      yield* gate.release!(2, true)
      assert.strictEqual(yield* Fiber.join(waiting), 2)
      assert.strictEqual(gate.free(), 0)
    }))

  it("refuses a number of permits that cannot work", () => {
    for (const permits of [0, -1, 1.5, Number.NaN]) {
      assert.throws(() => Concurrency.gate({ permits }), RangeError)
      assert.throws(() => Concurrency.byKey({ permits, key: () => "x" }), RangeError)
    }
  })

  it.effect("L10: permits always come back: never more out than there are, all there at the end, however waits are cut", () =>
    Effect.promise(() => {
      let cut = 0
      return fc.assert(
        fc.asyncProperty(
          fc.integer({ min: 1, max: 5 }),
          fc.array(
            fc.record({
              max: fc.integer({ min: 1, max: 4 }),
              holdFor: fc.nat(40),
              patience: fc.option(fc.nat(30), { nil: undefined }),
              started: fc.boolean(),
              at: fc.nat(40)
            }),
            { minLength: 1, maxLength: 25 }
          ),
          (permits, users) =>
            Effect.runPromise(
              Effect.gen(function*() {
                const gate = Concurrency.gate({ permits })
                let out = 0
                const user = (u: typeof users[number]) =>
                  Effect.gen(function*() {
                    yield* Effect.sleep(u.at)
                    const given = { count: 0 }
                    // as the worker asks: it may stop waiting, and keeps what it was given meanwhile
                    const acquire = Effect.uninterruptibleMask((restore) =>
                      Effect.map(restore(gate.acquire!(u.max)), (count) => void (given.count = count))
                    )
                    yield* Effect.raceFirst(acquire, u.patience === undefined ? Effect.never : Effect.sleep(u.patience))
                    if (given.count === 0) return void cut++
                    out += given.count
                    assert.isAtMost(out, permits)
                    yield* Effect.sleep(u.holdFor)
                    out -= given.count
                    yield* gate.release!(given.count, u.started)
                  })
                const all = yield* Effect.forkChild(Effect.forEach(users, user, { concurrency: "unbounded" }))
                yield* TestClock.adjust("10 seconds")
                yield* Fiber.join(all)
                assert.strictEqual(gate.free(), permits)
              }).pipe(Effect.provide(TestClock.layer()))
            )
        ),
        { numRuns: 200 }
      ).then(() => {
        process.stdout.write(`waits cut short: ${cut}\n`)
        assert.isAbove(cut, 100)
      })
    }))

  it.effect("L10: a keyed permit comes back once, however often it is given back", () =>
    Effect.gen(function*() {
      const gate = Concurrency.byKey({ permits: 2, key: (job) => job.headers["tenant"], retryAfter: "3 seconds" })
      const job = infoOf({ headers: { tenant: "t" } })
      const first = yield* gate.admit!(job)
      const second = yield* gate.admit!(job)
      assert.deepStrictEqual(yield* gate.admit!(job), { _tag: "Later", millis: 3_000 })
      assert.strictEqual((yield* gate.admit!(infoOf()))._tag, "Admitted")
      assert.strictEqual((yield* gate.admit!(infoOf({ headers: { tenant: "u" } })))._tag, "Admitted")
      if (first._tag !== "Admitted" || second._tag !== "Admitted") return assert.fail("not admitted")
      yield* first.release(false)
      yield* first.release(true)
      assert.strictEqual(gate.held("t"), 1)
      yield* second.release(true)
      assert.strictEqual(gate.held("t"), 0)
    }))

  it.effect("L10: with a worker, one gate for two queues: never more at once, all permits back after every kind of end", () =>
    Effect.gen(function*() {
      const gate = Concurrency.gate({ permits: 3 })
      const at = counter()
      const live = Layer.mergeAll(
        Work.toLayer(({ how, millis }) =>
          at.around(
            "all",
            Effect.andThen(
              Effect.sleep(millis),
              Effect.suspend(() =>
                how === "fail" ? Effect.fail(new Boom({ why: "x" })) : how === "die" ? Effect.die("x") : Effect.void
              )
            )
          )
        ),
        Other.toLayer(({ millis }) => at.around("all", Effect.sleep(millis)))
      )
      yield* Effect.gen(function*() {
        for (let i = 0; i < 20; i++) {
          yield* Work.enqueue({ millis: 50 + i, how: ["ok", "fail", "die", "never"][i % 4]! })
          yield* Other.enqueue({ millis: 30 + i })
        }
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(gate.free(), 3)
        assert.deepStrictEqual([at.ran(), at.most("all")], [40, 3])
        // and after a shutdown in the middle of jobs
        for (let i = 0; i < 3; i++) yield* Other.enqueue({ millis: 1_000_000_000 })
        yield* TestClock.adjust("1 second")
        assert.strictEqual(gate.free(), 0)
        const stopping = yield* Effect.forkChild(Worker.stop, { startImmediately: true })
        yield* TestClock.adjust("2 minutes")
        assert.strictEqual((yield* Fiber.join(stopping)).interrupted, 3)
        assert.strictEqual(gate.free(), 3)
      }).pipe(Effect.provide(
        Worker.layer(TaskGroup.make(Work, Other), { concurrency: 20, gates: [gate] }).pipe(
          Layer.provide(live),
          Layer.provideMerge(MemoryBackend.layer)
        )
      ))
    }))

  it.effect("L10: with a worker, per key: one job of a tenant at a time, tenants side by side", () =>
    Effect.gen(function*() {
      const gate = Concurrency.byKey({ permits: 1, key: (job) => job.headers["tenant"], retryAfter: "100 millis" })
      const at = counter()
      let both = 0
      const live = Work.toLayer(({ how, millis }) =>
        at.around(how, Effect.andThen(Effect.sync(() => both += gate.held("a") * gate.held("b")), Effect.sleep(millis)))
      )
      yield* Effect.gen(function*() {
        for (const how of ["a", "b", "a", "b", "a", "b"]) {
          yield* Work.enqueue({ millis: 250, how }).pipe(Enqueue.headers({ tenant: how }))
        }
        yield* TestClock.adjust("1 minute")
        const report = yield* Worker.stop
        assert.deepStrictEqual([report.succeeded, at.most("a"), at.most("b")], [6, 1, 1])
        assert.isAbove(report.released, 0)
        assert.isAbove(both, 0)
        assert.deepStrictEqual([gate.held("a"), gate.held("b")], [0, 0])
      }).pipe(Effect.provide(
        Worker.layer(TaskGroup.make(Work), { concurrency: 10, gates: [gate] }).pipe(
          Layer.provide(live),
          Layer.provideMerge(MemoryBackend.layer)
        )
      ))
    }))

  it.effect("a queue whose gate is closed does not hold the slots of the others", () =>
    Effect.gen(function*() {
      const gate = Concurrency.gate({ permits: 1 })
      const busy = yield* Deferred.make<void>()
      const done = yield* Deferred.make<void>()
      let reached = false
      const live = Layer.mergeAll(
        Work.toLayer(() => Effect.andThen(Deferred.succeed(busy, undefined), Effect.never)),
        Other.toLayer(() => Effect.asVoid(Deferred.succeed(done, undefined)))
      )
      yield* Effect.gen(function*() {
        yield* Work.enqueueMany([{ millis: 0, how: "x" }, { millis: 0, how: "x" }])
        yield* Deferred.await(busy)
        yield* TestClock.adjust("1 second")
        yield* Other.enqueue({ millis: 0 })
        yield* TestClock.adjust("1 second")
        reached = yield* Deferred.isDone(done)
        yield* Effect.flatMap(Worker.Worker, (worker) => Effect.forkChild(worker.interrupt))
        yield* TestClock.adjust("1 second")
      }).pipe(Effect.provide(
        Worker.layer(TaskGroup.make(Work, Other), {
          concurrency: 4,
          gates: { default: [gate] as ReadonlyArray<Gate<never>> }
        }).pipe(Layer.provide(live), Layer.provideMerge(MemoryBackend.layer))
      ))
      assert.isTrue(reached)
    }))
})
