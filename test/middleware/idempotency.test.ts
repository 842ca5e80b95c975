import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, References, Schedule, Schema } from "effect"
import { KeyValueStore } from "effect/persistence"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import * as MemoryBackend from "../../src/backends/MemoryBackend.ts"
import * as Job from "../../src/Job.ts"
import * as Idempotency from "../../src/middleware/Idempotency.ts"
import * as Task from "../../src/Task.ts"
import * as TaskGroup from "../../src/TaskGroup.ts"
import * as Harness from "../../src/testing/Harness.ts"
import * as Worker from "../../src/Worker.ts"
import { Boom } from "./support.ts"

const stores = {
  memory: Idempotency.layerMemory,
  KeyValueStore: Idempotency.layerKeyValueStore().pipe(Layer.provideMerge(KeyValueStore.layerMemory))
}

class Plain extends Task.make("Plain", {
  payload: { n: Schema.Number, how: Schema.String },
  success: Schema.String,
  error: Boom,
  middleware: [Idempotency.middleware()],
  retry: Schedule.spaced("1 minute").pipe(Schedule.upTo({ times: 3 }))
}) {}

class ChargeTask extends Task.make("Charge", {
  payload: { order: Schema.String, amount: Schema.Number },
  success: Schema.Struct({ receipt: Schema.String, at: Schema.Date }),
  error: Boom
}) {}
const Charge = ChargeTask.wrap(Idempotency.own(ChargeTask, { key: (payload) => payload.order }))

const owner = (job: string, fence = job): Idempotency.Owner => ({ job, fence })

for (const [name, store] of Object.entries(stores)) {
  describe(`Idempotency.Store (${name})`, () => {
    it.effect("a key goes through reserved, done, forgotten", () =>
      Effect.gen(function*() {
        const store = yield* Idempotency.Store
        assert.deepStrictEqual(yield* store.reserve("k", owner("a"), 100), { _tag: "Reserved" })
        yield* TestClock.adjust(60)
        assert.deepStrictEqual(yield* store.reserve("k", owner("b"), 100), { _tag: "Busy", job: "a", millis: 40 })
        assert.isTrue(yield* store.extend("k", owner("a"), 100))
        assert.deepStrictEqual(yield* store.reserve("k", owner("b"), 100), { _tag: "Busy", job: "a", millis: 100 })
        assert.isTrue(yield* store.complete("k", owner("a"), "\"result\"", 1_000))
        assert.deepStrictEqual(yield* store.reserve("k", owner("b"), 100), {
          _tag: "Done",
          job: "a",
          result: "\"result\""
        })
        yield* TestClock.adjust(1_000)
        assert.deepStrictEqual(yield* store.reserve("k", owner("b"), 100), { _tag: "Reserved" })
      }).pipe(Effect.provide(store)))

    it.effect("L10: whatever happened before, a redelivery is never held up, and nobody touches what is another's", () =>
      Effect.promise(() => {
        const seen = { Reserved: 0, Busy: 0, Done: 0, stale: 0 }
        const step = fc.oneof(
          fc.record({ do: fc.constant("run" as const), job: fc.constantFrom("a", "b", "c") }),
          fc.record({ do: fc.constantFrom("complete", "release", "extend"), run: fc.nat(2) }),
          fc.record({ do: fc.constant("wait" as const), millis: fc.integer({ min: 1, max: 40 }) })
        )
        return fc.assert(
          fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 40 }), (steps) =>
            Effect.runPromise(
              Effect.gen(function*() {
                const store = yield* Idempotency.Store
                // the model: who holds the key until when, and who did the work
                let held: { readonly job: string; readonly fence: string; until: number } | undefined
                let done: { readonly job: string; readonly until: number } | undefined
                let now = 0
                const runs: Array<Idempotency.Owner> = []
                for (const one of steps) {
                  if (held !== undefined && held.until <= now) held = undefined
                  if (done !== undefined && done.until <= now) done = undefined
                  if (one.do === "wait") {
                    now += one.millis
                    yield* TestClock.adjust(one.millis)
                  } else if (one.do === "run") {
                    const own = owner(one.job, `${one.job}-${runs.length}`)
                    runs.push(own)
                    const answer = yield* store.reserve("k", own, 50)
                    seen[answer._tag]++
                    if (done !== undefined) assert.deepInclude(answer, { _tag: "Done", job: done.job })
                    else if (held !== undefined && held.job !== one.job) {
                      assert.deepStrictEqual(answer, { _tag: "Busy", job: held.job, millis: held.until - now })
                    } else {
                      assert.strictEqual(answer._tag, "Reserved")
                      held = { ...own, until: now + 50 }
                    }
                  } else {
                    const own = runs[runs.length - 1 - one.run]
                    if (own === undefined) continue
                    const owns = held?.fence === own.fence
                    if (!owns) seen.stale++
                    if (one.do === "release") {
                      yield* store.release("k", own)
                      if (owns) held = undefined
                    } else if (one.do === "extend") {
                      assert.strictEqual(yield* store.extend("k", own, 50), owns)
                      if (owns) held!.until = now + 50
                    } else {
                      const free = held === undefined && done === undefined
                      assert.strictEqual(yield* store.complete("k", own, undefined, 60), owns || free)
                      if (owns || free) {
                        held = undefined
                        done = { job: own.job, until: now + 60 }
                      }
                    }
                  }
                }
              }).pipe(Effect.provide(Layer.merge(Layer.fresh(store), TestClock.layer())))
            )),
          { numRuns: 300 }
        ).then(() => {
          process.stdout.write(`${name}: ${JSON.stringify(seen)}\n`)
          for (const count of Object.values(seen)) assert.isAbove(count, 100)
        })
      }))

    it.effect("with a worker: one run per key, duplicates are discarded, also those that came while it ran", () =>
      Effect.gen(function*() {
        const ran: Array<number> = []
        const live = Plain.toLayer(({ n }) =>
          Effect.andThen(Effect.sync(() => ran.push(n)), Effect.as(Effect.sleep("2 minutes"), "ok"))
        )
        yield* Effect.gen(function*() {
          const keyed = Idempotency.key("same")
          yield* Plain.enqueue({ n: 1, how: "ok" }).pipe(keyed)
          yield* Plain.enqueue({ n: 2, how: "ok" }).pipe(keyed)
          yield* Plain.enqueue({ n: 3, how: "ok" })
          yield* TestClock.adjust("1 minute") // longer than the lease: it is renewed
          for (let i = 0; i < 30; i++) yield* TestClock.adjust("10 seconds")
          yield* Plain.enqueue({ n: 4, how: "ok" }).pipe(keyed)
          yield* TestClock.adjust("1 second")
          const again = yield* Effect.forkChild(Effect.flip(Plain.execute({ n: 5, how: "ok" }).pipe(keyed)), {
            startImmediately: true
          })
          yield* TestClock.adjust("1 second")
          const discarded = yield* Fiber.join(again)
          assert.instanceOf(discarded, Job.Discarded)
          assert.match((discarded as Job.Discarded).reason, /^duplicate of job /)
          const report = yield* Worker.stop
          assert.deepStrictEqual(ran, [1, 3])
          assert.deepStrictEqual([report.succeeded, report.discarded, report.retried, report.dead], [2, 3, 0, 0])
          assert.isAbove(report.snoozed, 5)
        }).pipe(Effect.provide(
          Worker.layer(TaskGroup.make(Plain), { concurrency: 5 }).pipe(
            Layer.provide(live),
            Layer.provide(store),
            Layer.provideMerge(MemoryBackend.layer)
          )
        ))
      }))
  })
}

describe("Idempotency", () => {
  it.effect("L10: alone: the key is done after a success, free after everything else", () =>
    Effect.gen(function*() {
      const middleware = Idempotency.middleware({ key: () => "k" })
      const run = (id: string, inner: Effect.Effect<string, Boom>) => Harness.run(middleware, { inner, job: { id } })
      for (const inner of [Harness.fail(new Boom({ why: "x" })), Harness.die("x"), Harness.interrupt]) {
        const result = yield* run("a", inner)
        assert.strictEqual(result.next.length, 1)
        // another job of the key runs at once
        assert.strictEqual((yield* run("b", Harness.fail(new Boom({ why: "y" })))).next.length, 1)
      }
      const stopped = yield* Harness.run(middleware, { inner: Harness.never, job: { id: "a" }, stop: "shutdown" })
      assert.strictEqual(stopped.outcome._tag, "Interrupted")
      assert.deepStrictEqual((yield* run("b", Harness.succeed("ok"))).exit, Exit.succeed("ok"))
      const duplicate = yield* run("c", Harness.succeed("again"))
      assert.strictEqual(duplicate.next.length, 0)
      assert.deepInclude(duplicate.outcome, { _tag: "Discarded", reason: "duplicate of job b" })
      // the job itself, done and redelivered because its settlement was lost
      assert.deepInclude((yield* run("b", Harness.succeed("again"))).outcome, { _tag: "Discarded" })
    }).pipe(Effect.provide(Idempotency.layerMemory)))

  it.effect("L10: a run that died with its process holds the key until its lease ends; its own redelivery does not wait", () =>
    Effect.gen(function*() {
      const store = yield* Idempotency.Store
      const middleware = Idempotency.middleware({ key: () => "k", lease: "30 seconds", snooze: "20 seconds" })
      const run = (id: string) => Harness.run(middleware, { inner: Harness.succeed(id), job: { id, task: "T" } })
      yield* store.reserve("T:k", owner("crashed", "1"), 30_000)
      const busy = yield* run("other")
      assert.deepInclude(busy.outcome, {
        _tag: "Snoozed",
        after: 20_000,
        reason: "duplicate of job crashed, which is running"
      })
      yield* TestClock.adjust("20 seconds")
      assert.deepInclude((yield* run("other")).outcome, { _tag: "Snoozed", after: 10_000 })
      assert.deepStrictEqual((yield* run("crashed")).exit, Exit.succeed("crashed"))
      // what comes too late from the lost run changes nothing
      assert.isFalse(yield* store.complete("T:k", owner("crashed", "1"), "late", 1_000))

      yield* store.reserve("T:k2", owner("crashed", "1"), 30_000)
      yield* TestClock.adjust("30 seconds")
      const second = Idempotency.middleware({ key: () => "k2" })
      const free = yield* Harness.run(second, { inner: Harness.succeed("ran"), job: { id: "other", task: "T" } })
      assert.deepStrictEqual(free.exit, Exit.succeed("ran"))
    }).pipe(Effect.provide(Idempotency.layerMemory)))

  it.effect("own: a duplicate succeeds with the stored result, decoded", () =>
    Effect.gen(function*() {
      const wrap = Idempotency.own(ChargeTask, { key: (payload) => payload.order })
      const receipt = { receipt: "r-1", at: new Date(1_000) }
      const run = (id: string, order: string, inner: Effect.Effect<typeof receipt, Boom>) =>
        Harness.own(ChargeTask, wrap, { payload: { order, amount: 1 }, inner, job: { id } })
      const failed = yield* run("a", "o-1", Harness.fail(new Boom({ why: "declined" })))
      assert.strictEqual(failed.outcome._tag, "Dead")
      assert.deepStrictEqual((yield* run("a", "o-1", Harness.succeed(receipt))).exit, Exit.succeed(receipt))
      const again = yield* run("b", "o-1", Harness.die("never run"))
      assert.deepStrictEqual(again.exit, Exit.succeed(receipt))
      assert.strictEqual(again.next.length, 0)
      assert.strictEqual((yield* run("c", "o-2", Harness.succeed(receipt))).next.length, 1)
    }).pipe(Effect.provide(Idempotency.layerMemory)))

  it.effect("own: any result comes back as it was; one that the schema cannot read makes a discard", () =>
    Effect.promise(() => {
      class Any extends Task.make("Any", { success: Schema.Union([Schema.Json, Schema.Date]) }) {}
      class Nothing extends Task.make("Nothing", {}) {}
      class Narrow extends Task.make("Any", { success: Schema.Struct({ never: Schema.String }) }) {}
      return fc.assert(
        fc.asyncProperty(fc.oneof(fc.jsonValue(), fc.date({ noInvalidDate: true })), (value) =>
          Effect.runPromise(
            Effect.gen(function*() {
              const settings = { key: () => "k", space: "s" }
              yield* Harness.own(Any, Idempotency.own(Any, settings), {
                payload: undefined,
                inner: Harness.succeed(value as Schema.Json),
                job: { id: "a" }
              })
              const again = yield* Harness.own(Any, Idempotency.own(Any, settings), {
                payload: undefined,
                job: { id: "b" }
              })
              const expected = value instanceof Date ? value.toISOString() : JSON.parse(JSON.stringify(value))
              assert.strictEqual(again.next.length, 0)
              assert.deepStrictEqual(JSON.parse(JSON.stringify(Exit.getSuccess(again.exit!).valueOf())).value, expected)
              const other = yield* Harness.own(Narrow, Idempotency.own(Narrow, settings), {
                payload: undefined,
                inner: Harness.die("never run"),
                job: { id: "c" }
              })
              assert.strictEqual(other.outcome._tag, "Discarded")
              const empty = { ...settings, space: "n" }
              const run = Harness.own(Nothing, Idempotency.own(Nothing, empty), {
                payload: undefined,
                job: { id: "a" }
              })
              assert.deepStrictEqual((yield* run).exit, Exit.void)
              const twice = yield* run
              assert.deepStrictEqual([twice.exit, twice.next.length], [Exit.void, 0])
            }).pipe(Effect.provide(Layer.merge(Layer.fresh(Idempotency.layerMemory), TestClock.layer())))
          )),
        { numRuns: 100 }
      )
    }))

  it.effect("with a worker, own: execute gets the first one's result, at once and after a day not any more", () =>
    Effect.gen(function*() {
      let ran = 0
      const live = Charge.toLayer(({ amount }) =>
        Effect.andThen(
          Effect.sleep("10 seconds"),
          Effect.sync(() => ({ receipt: `r-${++ran} for ${amount}`, at: new Date(0) }))
        )
      )
      const charge = (order: string, amount: number) =>
        Effect.forkChild(Charge.execute({ order, amount }), { startImmediately: true })
      yield* Effect.gen(function*() {
        const both = [yield* charge("o-1", 5), yield* charge("o-1", 7)]
        for (let i = 0; i < 10; i++) yield* TestClock.adjust("5 seconds")
        for (const fiber of both) assert.strictEqual((yield* Fiber.join(fiber)).receipt, "r-1 for 5")
        yield* TestClock.adjust("1 day")
        const late = yield* charge("o-1", 9)
        yield* TestClock.adjust("1 minute")
        assert.strictEqual((yield* Fiber.join(late)).receipt, "r-2 for 9")
      }).pipe(Effect.provide(
        Worker.layer(TaskGroup.make(Charge)).pipe(
          Layer.provide(live),
          Layer.provide(Idempotency.layerMemory),
          Layer.provideMerge(MemoryBackend.layer)
        )
      ))
    }))

  it.effect("L10: with a worker: a failed attempt and a shutdown leave the key to the next attempt", () =>
    Effect.gen(function*() {
      const ran: Array<string> = []
      const started = yield* Deferred.make<void>()
      const context = yield* Layer.build(Layer.merge(MemoryBackend.layer, Idempotency.layerMemory))
      const worker = (id: string) =>
        Worker.layer(TaskGroup.make(Plain), { id, shutdownGrace: 0 }).pipe(
          Layer.provide(Plain.toLayer(({ how }) =>
            Effect.gen(function*() {
              const job = yield* Job.Current
              ran.push(`${id} ${how} ${job.attempt}`)
              if (how === "fail" && job.attempt < 3) return yield* new Boom({ why: "x" })
              if (how === "wait" && id === "first") {
                yield* Deferred.succeed(started, undefined)
                return yield* Effect.never
              }
              return "ok"
            })
          )),
          Layer.provide(Layer.succeedContext(context))
        )
      yield* Effect.gen(function*() {
        yield* Plain.enqueue({ n: 1, how: "fail" }).pipe(Idempotency.key("one"))
        yield* TestClock.adjust("10 minutes")
        yield* Plain.enqueue({ n: 1, how: "wait" }).pipe(Idempotency.key("two"))
        yield* Deferred.await(started)
        const stopping = yield* Effect.forkChild(Worker.stop, { startImmediately: true })
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* Fiber.join(stopping)).interrupted, 1)
      }).pipe(Effect.provide(worker("first")), Effect.provideContext(context))
      yield* Effect.gen(function*() {
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* Worker.stop).succeeded, 1)
      }).pipe(Effect.provide(worker("second")))
      assert.deepStrictEqual(ran, ["first fail 1", "first fail 2", "first fail 3", "first wait 1", "second wait 1"])
    }))

  it.effect("a store that is down snoozes jobs; one that fails after the work leaves the success alone", () =>
    Effect.gen(function*() {
      const down = Effect.fail(new Idempotency.StoreError({ message: "down" }))
      const reserved = Effect.succeed({ _tag: "Reserved" } as const)
      const middleware = Idempotency.middleware({ snooze: "7 seconds" })
      const store = (reserve: Effect.Effect<Idempotency.Reservation, Idempotency.StoreError>) =>
        Effect.provideService(Idempotency.Store, {
          reserve: () => reserve,
          extend: () => down,
          complete: () => down,
          release: () => down
        })
      const snoozed = yield* Harness.run(middleware, { inner: Harness.succeed(1) }).pipe(store(down))
      assert.deepInclude(snoozed.outcome, { _tag: "Snoozed", after: 7_000, reason: "idempotency store: down" })
      const done = yield* Harness.run(middleware, { inner: Harness.succeed(1) }).pipe(store(reserved))
      assert.deepStrictEqual(done.exit, Exit.succeed(1))
      const boom = new Boom({ why: "x" })
      const failed = yield* Harness.run(middleware, { inner: Harness.fail(boom) }).pipe(store(reserved))
      assert.deepStrictEqual(failed.exit, Exit.fail(boom))
    }).pipe(Effect.provideService(References.MinimumLogLevel, "None")))

  it.effect("keys: the header, else the job's id; spaces keep tasks apart; undefined is not looked at", () =>
    Effect.gen(function*() {
      const run = (options: Parameters<typeof Idempotency.middleware>[0], job: Partial<Job.Info>) =>
        Effect.map(
          Harness.run(Idempotency.middleware(options), { inner: Harness.succeed(1), job }),
          (r) => r.next.length
        )
      const headers = { "idempotency-key": "h" }
      assert.strictEqual(yield* run({}, { id: "a", headers }), 1)
      assert.strictEqual(yield* run({}, { id: "b", headers }), 0)
      assert.strictEqual(yield* run({}, { id: "b", headers, task: "Other" }), 1)
      assert.strictEqual(yield* run({ space: "shared" }, { id: "b", headers, task: "One" }), 1)
      assert.strictEqual(yield* run({ space: "shared" }, { id: "c", headers, task: "Two" }), 0)
      assert.strictEqual(yield* run({}, { id: "d" }), 1)
      assert.strictEqual(yield* run({}, { id: "d" }), 0)
      for (let i = 0; i < 3; i++) assert.strictEqual(yield* run({ key: () => undefined }, { id: "e" }), 1)
    }).pipe(Effect.provide(Idempotency.layerMemory)))

  it.effect("KeyValueStore: of many that ask at once one gets the key, also when the store takes its time", () =>
    Effect.gen(function*() {
      const slow = Layer.effect(
        KeyValueStore.KeyValueStore,
        Effect.map(KeyValueStore.KeyValueStore, (store) => ({
          ...store,
          get: (key: string) => Effect.delay(store.get(key), "10 millis"),
          set: (key: string, value: string | Uint8Array) => Effect.delay(store.set(key, value), "10 millis")
        }))
      ).pipe(Layer.provide(KeyValueStore.layerMemory))
      yield* Effect.gen(function*() {
        const store = yield* Idempotency.Store
        const ask = Effect.forEach(
          Array.from({ length: 20 }, (_, i) => owner(`job ${i}`)),
          (own) => store.reserve("k", own, 60_000),
          { concurrency: "unbounded" }
        )
        const fiber = yield* Effect.forkChild(ask, { startImmediately: true })
        for (let i = 0; i < 100; i++) yield* TestClock.adjust("10 millis")
        const answers = yield* Fiber.join(fiber)
        assert.strictEqual(answers.filter((answer) => answer._tag === "Reserved").length, 1)
      }).pipe(Effect.provide(Idempotency.layerKeyValueStore().pipe(Layer.provide(slow))))
    }))

  it.effect("KeyValueStore: an entry that is not ours is an error that says so", () =>
    Effect.gen(function*() {
      const all = yield* KeyValueStore.KeyValueStore
      const store = yield* Idempotency.Store
      yield* store.reserve("k", owner("a"), 10)
      assert.deepStrictEqual(yield* all.keys, ["windlass/idempotency/k"])
      for (const text of ["no", "{\"job\":1}"]) {
        yield* all.set("windlass/idempotency/k", text)
        const error = yield* Effect.flip(store.reserve("k", owner("a"), 10))
        assert.match(error.message, /under the key k was not written by this module/)
      }
    }).pipe(Effect.provide(stores.KeyValueStore)))
})
