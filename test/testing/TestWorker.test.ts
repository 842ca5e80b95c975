import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Exit, Fiber, Latch, Layer, Option, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as Capability from "../../src/Capability.ts"
import * as Decide from "../../src/Decide.ts"
import * as Enqueue from "../../src/Enqueue.ts"
import * as Gate from "../../src/Gate.ts"
import * as Job from "../../src/Job.ts"
import * as Middleware from "../../src/Middleware.ts"
import * as Task from "../../src/Task.ts"
import * as TaskGroup from "../../src/TaskGroup.ts"
import * as TestWorker from "../../src/testing/TestWorker.ts"

class Tenant extends Context.Service<Tenant, { readonly id: string }>()("t/Tenant") {}
class NoTenant extends Schema.TaggedError<NoTenant>()("NoTenant", {}) {}
class RequireTenant extends Middleware.Service<RequireTenant, { provides: Tenant }>()("t/RequireTenant", {
  error: NoTenant
}) {}
class Rejected extends Schema.TaggedError<Rejected>()("Rejected", { to: Schema.String }) {}

class Send extends Task.make("Send", {
  payload: { to: Schema.String, on: Schema.optional(Schema.Date) },
  success: Schema.String,
  error: Rejected,
  middleware: [RequireTenant],
  retry: Schedule.exponential("1 day").pipe(Schedule.upTo({ times: 3 }))
}) {}
class Fan extends Task.make("Fan", { payload: { to: Schema.Array(Schema.String) }, queue: "fan" }) {}
class Slow extends Task.make("Slow", { payload: { minutes: Schema.Number }, success: Schema.String }) {}
class Timed extends Task.make("Timed", { timeout: "10 seconds" }) {}
const App = TaskGroup.make(Send, Fan, Slow, Timed)

/** what the handlers did, in order */
class Outbox extends Context.Service<Outbox, { readonly sent: Array<string> }>()("t/Outbox") {}

const SendLive = Send.toLayer(Effect.fnUntraced(function*({ to }) {
  const { sent } = yield* Outbox
  const tenant = yield* Tenant
  const job = yield* Job.Current
  sent.push(`${to}#${job.attempt}@${tenant.id}`)
  if (to.startsWith("bad") && job.attempt < 3) return yield* new Rejected({ to })
  if (to === "never") return yield* new Rejected({ to })
  if (to === "bug") return yield* Effect.die(new Error("a bug"))
  if (to === "drop") return yield* Decide.discard("nobody there")
  if (to === "later") return yield* Decide.snooze("1 hour")
  return `sent to ${to}`
}))
const FanLive = Fan.toLayer(Effect.fnUntraced(function*({ to }) {
  yield* Effect.orDie(Send.enqueueMany(to.map((one) => ({ to: one }))))
}))
const SlowLive = Slow.toLayer(({ minutes }) => Effect.as(Effect.sleep(`${minutes} minutes`), `slept ${minutes}`))
const RequireTenantLive = Layer.succeed(
  RequireTenant,
  Middleware.hooks({
    provides: Tenant,
    before: (job) => job.headers["tenant"] === "none" ? Effect.fail(new NoTenant()) : Effect.succeed({ id: "T" })
  })
)

const Live = Layer.mergeAll(SendLive, FanLive, SlowLive, Timed.toLayer(() => Effect.never)).pipe(
  Layer.provide(RequireTenantLive)
)
const TestLive = TestWorker.layer(App).pipe(
  Layer.provide(Live),
  Layer.provideMerge([TestWorker.backend, Layer.sync(Outbox, () => ({ sent: [] }))])
)
const provided = Effect.provide(TestLive)
const outcomes = (ran: ReadonlyArray<TestWorker.Ran>) =>
  ran.map((one) => `${one.task} ${one.attempt} ${one.outcome._tag}`)

describe("TestWorker", () => {
  it.effect("runs nothing until it is asked to", () =>
    Effect.gen(function*() {
      yield* Send.enqueue({ to: "a" })
      yield* TestClock.adjust("1 day")
      assert.deepStrictEqual((yield* Outbox).sent, [])
      assert.deepStrictEqual((yield* (yield* Capability.Inspect).counts("default")).ready, 1)
    }).pipe(provided))

  it.effect("run: the whole chain, and the typed success", () =>
    Effect.gen(function*() {
      const said: string = yield* TestWorker.run(Send, { to: "a" })
      assert.strictEqual(said, "sent to a")
      assert.deepStrictEqual((yield* Outbox).sent, ["a#1@T"])
    }).pipe(provided))

  it.effect("L3 run: fails with what the handler failed with, the very error, and a middleware's too", () =>
    Effect.gen(function*() {
      const rejected = yield* TestWorker.run(Send, { to: "never" }).pipe(
        Effect.catchTag("Rejected", (error) => Effect.succeed(error))
      )
      assert.isTrue(rejected instanceof Rejected)
      const tenant = yield* Effect.flip(
        TestWorker.run(Send, { to: "a" }, { enqueue: Enqueue.headers({ tenant: "none" }) })
      )
      assert.strictEqual(tenant._tag, "NoTenant")
      const exit = yield* Effect.exit(TestWorker.run(Send, { to: "bug" }))
      assert.isTrue(Exit.hasDies(exit))
      assert.include(String(Exit.isFailure(exit) && Cause.squash(exit.cause)), "a bug")
    }).pipe(provided))

  it.effect("L14 run: what was decided is neither a success nor the handler's failure", () =>
    Effect.gen(function*() {
      const discarded = yield* Effect.flip(TestWorker.run(Send, { to: "drop" }))
      assert.strictEqual(discarded._tag, "windlass/testing/NotSucceeded")
      assert.include(discarded.message, "was discarded: nobody there")
      const ran = yield* TestWorker.run(Send, { to: "later" }, { outcomes: true })
      assert.deepStrictEqual(ran.outcome, { _tag: "Snoozed", after: 3_600_000, reason: "snoozed" })
      assert.strictEqual(ran.settled, "Settled")
    }).pipe(provided))

  it.effect("run: that job alone, before those that stand before it, which keep their order", () =>
    Effect.gen(function*() {
      yield* Send.enqueueMany([{ to: "1" }, { to: "2" }])
      yield* Fan.enqueue({ to: ["3"] })
      assert.strictEqual(yield* TestWorker.run(Send, { to: "now" }), "sent to now")
      assert.deepStrictEqual((yield* Outbox).sent, ["now#1@T"])
      yield* TestWorker.drain()
      assert.deepStrictEqual((yield* Outbox).sent, ["now#1@T", "1#1@T", "2#1@T", "3#1@T"])
    }).pipe(provided))

  it.effect("run: says why a job cannot be run now", () =>
    Effect.gen(function*() {
      const later = yield* Effect.flip(TestWorker.run(Send, { to: "a" }, { enqueue: Enqueue.delay("1 hour") }))
      assert.include(later.message, "it is due at 1970-01-01T01:00:00.000Z")
      const elsewhere = yield* Effect.flip(TestWorker.run(Send, { to: "a" }, { enqueue: Enqueue.queue("x") }))
      assert.include(elsewhere.message, "does not work on queue x")
      yield* Send.enqueue({ to: "a" }).pipe(Enqueue.group("g"))
      const blocked = yield* Effect.flip(TestWorker.run(Send, { to: "b" }, { enqueue: Enqueue.group("g") }))
      assert.include(blocked.message, "another job of its group g is before it")
      yield* (yield* Capability.Pause).set("fan", true)
      const paused = yield* Effect.flip(TestWorker.run(Fan, { to: [] }))
      assert.include(paused.message, "queue fan is paused")
      const dropped = yield* Effect.flip(TestWorker.run(Send, { to: "a" })).pipe(
        Effect.provide(Enqueue.layer(Enqueue.dropWhen(() => Effect.succeed("not today"))))
      )
      assert.include(dropped.message, "dropped it?")
    }).pipe(provided))

  it.effect("run: a task that the worker does not have", () =>
    Effect.gen(function*() {
      class Stranger extends Task.make("Stranger") {}
      const error = yield* Effect.flip(TestWorker.run(Stranger, undefined))
      assert.include(error.message, "no worker knows task Stranger")
      yield* TestClock.adjust("1 minute")
      assert.include((yield* Effect.flip(TestWorker.drain())).message, "no worker knows task Stranger")
    }).pipe(provided))

  it.effect("L7 drain: all that is due and what that enqueues, in all queues, until nothing is left", () =>
    Effect.gen(function*() {
      yield* Fan.enqueue({ to: ["a", "b"] })
      yield* Send.enqueue({ to: "tomorrow" }).pipe(Enqueue.delay("1 day"))
      const ran = yield* TestWorker.drain()
      assert.deepStrictEqual(outcomes(ran), ["Fan 1 Succeeded", "Send 1 Succeeded", "Send 1 Succeeded"])
      assert.deepStrictEqual(ran.map((one) => one.payload), [{ to: ["a", "b"] }, { to: "a" }, { to: "b" }])
      assert.deepStrictEqual(yield* TestWorker.drain(), [])
      assert.strictEqual((yield* (yield* Capability.Inspect).counts("default")).scheduled, 1)
    }).pipe(provided))

  it.effect("drain: runs everything, then fails with the first that did not end well", () =>
    Effect.gen(function*() {
      yield* Send.enqueueMany([{ to: "a" }, { to: "never" }, { to: "bug" }, { to: "drop" }, { to: "b" }])
      const error = yield* Effect.flip(TestWorker.drain())
      assert.match(
        error.message,
        /of task Send, attempt 1, failed and is retried in 86400000 ms: Rejected.*1 more did not/
      )
      assert.isTrue(error.cause instanceof Rejected)
      assert.strictEqual(error.all.length, 5)
      assert.deepStrictEqual((yield* Outbox).sent.length, 5)
      yield* Send.enqueue({ to: "never" })
      assert.deepStrictEqual(outcomes(yield* TestWorker.drain({ outcomes: true })), ["Send 1 Retried"])
    }).pipe(provided))

  it.effect("runNext: one job at a time, in the worker's order", () =>
    Effect.gen(function*() {
      yield* Send.enqueue({ to: "low" })
      yield* Send.enqueue({ to: "high" }).pipe(Enqueue.priority(5))
      assert.deepStrictEqual((yield* TestWorker.runNext())?.payload, { to: "high" })
      assert.deepStrictEqual((yield* Outbox).sent, ["high#1@T"])
      assert.deepStrictEqual((yield* TestWorker.runNext())?.payload, { to: "low" })
      assert.strictEqual(yield* TestWorker.runNext(), undefined)
      yield* Send.enqueue({ to: "never" })
      assert.include((yield* Effect.flip(TestWorker.runNext())).message, "Rejected")
    }).pipe(provided))

  it.effect("L8 adjust: a retry schedule of days, each attempt at its time", () =>
    Effect.gen(function*() {
      yield* Send.enqueue({ to: "bad" })
      yield* Send.enqueue({ to: "never" })
      const day = 86_400_000
      assert.deepStrictEqual(outcomes(yield* TestWorker.adjust(day - 1, { outcomes: true })), [
        "Send 1 Retried",
        "Send 1 Retried"
      ])
      assert.deepStrictEqual(outcomes(yield* TestWorker.adjust(1, { outcomes: true })), [
        "Send 2 Retried",
        "Send 2 Retried"
      ])
      assert.deepStrictEqual(outcomes(yield* TestWorker.adjust("30 days", { outcomes: true })), [
        "Send 3 Succeeded",
        "Send 3 Retried",
        "Send 4 Dead"
      ])
      assert.include(
        (yield* Effect.flip(Effect.andThen(Send.enqueue({ to: "never" }), TestWorker.adjust(0)))).message,
        "Rejected"
      )
    }).pipe(provided))

  it.effect("adjust: a handler that sleeps goes on with the next call", () =>
    Effect.gen(function*() {
      yield* Slow.enqueue({ minutes: 90 })
      assert.deepStrictEqual(yield* TestWorker.adjust("1 hour"), [])
      const [ran] = yield* TestWorker.adjust("1 hour")
      assert.strictEqual(ran?.outcome._tag, "Succeeded")
      const fiber = yield* Effect.forkChild(TestWorker.run(Slow, { minutes: 1 }))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* Fiber.join(fiber), "slept 1")
      const timed = yield* Effect.forkChild(Effect.flip(TestWorker.run(Timed, undefined)))
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* Fiber.join(timed))._tag, "windlass/TimedOut")
    }).pipe(provided))

  it.effect("execute waits for a worker that the test drives", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(Send.execute({ to: "bad" }), { startImmediately: true })
      yield* TestWorker.adjust("10 days", { outcomes: true })
      assert.strictEqual(yield* Fiber.join(fiber), "sent to bad")
    }).pipe(provided))

  it.effect("enqueued: decoded payloads and options, in order, whether they ran or not", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust(1_000)
      yield* Send.enqueue({ to: "a", on: new Date(5) }).pipe(
        Enqueue.delay("1 minute"),
        Enqueue.priority(3),
        Enqueue.uniqueBy("k"),
        Enqueue.group("g", { limit: 2 }),
        Enqueue.headers({ x: "y" })
      )
      yield* Effect.flip(Send.enqueue({ to: "again" }).pipe(Enqueue.uniqueBy("k")))
      yield* Fan.enqueue({ to: ["b"] })
      yield* TestWorker.drain()
      const [first, second, ...others] = yield* TestWorker.enqueued(Send)
      assert.deepStrictEqual(others, [])
      const on: Date | undefined = first!.payload.on
      assert.deepStrictEqual(on, new Date(5))
      assert.deepStrictEqual({ ...first, id: "" }, {
        id: "",
        payload: { to: "a", on: new Date(5) },
        queue: "default",
        enqueuedAt: 1_000,
        dueAt: 61_000,
        priority: 3,
        unique: { key: "Send:k", until: "finished" },
        group: "g",
        groupLimit: 2,
        headers: { x: "y" },
        origin: "user"
      })
      assert.deepStrictEqual([second!.payload.to, second!.origin, second!.dueAt], ["b", "handler", undefined])
      assert.strictEqual((yield* TestWorker.stored).length, 3)
    }).pipe(provided))

  it.effect("enqueued: a payload that was encrypted is said to be", () =>
    Effect.gen(function*() {
      yield* Send.enqueue({ to: "a" }).pipe(
        Effect.provide(Enqueue.layer(Enqueue.mapItems((item) => ({
          ...item,
          envelope: { ...item.envelope, payload: "***" }
        }))))
      )
      const exit = yield* Effect.exit(TestWorker.enqueued(Send))
      assert.include(String(Exit.isFailure(exit) && Cause.squash(exit.cause)), "TestWorker.stored")
      assert.strictEqual((yield* TestWorker.stored)[0]?.item.envelope.payload, "***")
    }).pipe(provided))

  it.effect("clear: the next test begins with nothing", () =>
    Effect.gen(function*() {
      yield* TestWorker.run(Send, { to: "a" })
      yield* Timed.enqueue()
      yield* TestWorker.adjust("1 second")
      yield* Send.enqueue({ to: "b" }).pipe(Enqueue.delay("1 day"))
      yield* Send.enqueue({ to: "c" })
      yield* TestWorker.clear
      assert.deepStrictEqual(yield* TestWorker.ran, [])
      assert.deepStrictEqual(yield* TestWorker.enqueued(Send), [])
      // what was running goes on
      assert.deepStrictEqual(outcomes(yield* TestWorker.adjust("5 days", { outcomes: true })), ["Timed 1 Dead"])
    }).pipe(provided))

  it.effect("RT-12 a job that is aborted while it runs ends as aborted", () =>
    Effect.gen(function*() {
      const id = yield* Slow.enqueue({ minutes: 5 })
      yield* TestWorker.adjust("1 minute")
      assert.strictEqual(yield* (yield* Capability.Cancel).request(id), "Requested")
      assert.deepStrictEqual(outcomes(yield* TestWorker.drain()), ["Slow 1 Aborted"])
      const record = yield* (yield* Capability.Inspect).get(id)
      assert.strictEqual(Option.getOrThrow(record).state, "aborted")
    }).pipe(provided))

  it.effect("a test that ends does not wait for a handler that sleeps", () =>
    Effect.gen(function*() {
      const ended = yield* Deferred.make<string>()
      class Forever extends Task.make("Forever") {}
      const live = TestWorker.layer(TaskGroup.make(Forever)).pipe(
        Layer.provide(
          Forever.toLayer(() => Effect.onInterrupt(Effect.never, () => Deferred.succeed(ended, "interrupted")))
        )
      )
      yield* Effect.andThen(Forever.enqueue(), TestWorker.adjust("1 hour")).pipe(Effect.provide(live))
      assert.strictEqual(yield* Deferred.await(ended), "interrupted")
    }))

  it.effect("a job may stop the worker: the next call starts another", () =>
    Effect.gen(function*() {
      class Stop extends Task.make("Stop") {}
      const workers: Array<string> = []
      const live = TestWorker.layer(TaskGroup.make(Stop)).pipe(
        Layer.provide(Stop.toLayer(Effect.fnUntraced(function*() {
          const { worker } = yield* Job.Current
          workers.push(worker.id)
          yield* worker.stop
        })))
      )
      yield* Effect.gen(function*() {
        yield* Stop.enqueueMany([undefined, undefined])
        assert.strictEqual((yield* TestWorker.drain()).length, 1)
        assert.strictEqual((yield* TestWorker.drain()).length, 1)
        assert.deepStrictEqual(yield* TestWorker.drain(), [])
        assert.strictEqual(new Set(workers).size, 2)
      }).pipe(Effect.provide(live))
    }))

  it.effect("L5 L12 the worker's own list, concurrency and gates are what they are in production", () =>
    Effect.gen(function*() {
      const trace: Array<string> = []
      const both = yield* Latch.make(false)
      class Pair extends Task.make("Pair", { payload: { n: Schema.Number } }) {}
      const live = TestWorker.layer(TaskGroup.make(Pair), {
        concurrency: 2,
        middleware: [
          Middleware.make("outer", (next, input) =>
            Effect.suspend(() => {
              trace.push("outer")
              return next(input)
            })),
          Middleware.make("inner", (next, input) =>
            Effect.suspend(() => {
              trace.push("inner")
              return next(input)
            }))
        ],
        gates: {
          default: [
            Gate.make({
              name: "odd ones later",
              admit: (job) =>
                Effect.succeed(
                  job.headers["n"] === "3"
                    ? { _tag: "Later", millis: 1_000 }
                    : { _tag: "Admitted", release: () => Effect.sync(() => trace.push("permit back")) }
                )
            })
          ]
        }
      }).pipe(Layer.provide(Pair.toLayer(({ n }) => n === 1 ? both.await : both.open)))
      yield* Effect.gen(function*() {
        for (const n of [1, 2, 3]) yield* Pair.enqueue({ n }).pipe(Enqueue.headers({ n: String(n) }))
        const ran = yield* TestWorker.drain()
        assert.deepStrictEqual(ran.map((one) => one.outcome._tag).sort(), ["Released", "Succeeded", "Succeeded"])
        assert.deepStrictEqual(trace.slice(0, 4), ["outer", "inner", "outer", "inner"])
        assert.strictEqual(trace.filter((line) => line === "permit back").length, 2)
      }).pipe(Effect.provide(live))
    }))
})
