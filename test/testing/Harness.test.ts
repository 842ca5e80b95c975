import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Exit, Fiber, Layer, Option, Schema } from "effect"
import { TestClock } from "effect/testing"
import { BackendError } from "../../src/Backend.ts"
import * as Decide from "../../src/Decide.ts"
import * as Enqueue from "../../src/Enqueue.ts"
import * as Header from "../../src/Header.ts"
import * as Job from "../../src/Job.ts"
import * as Middleware from "../../src/Middleware.ts"
import * as Task from "../../src/Task.ts"
import * as Harness from "../../src/testing/Harness.ts"

class Conn extends Context.Service<Conn, { readonly id: number }>()("t/Conn") {}
class PoolEmpty extends Schema.TaggedError<PoolEmpty>()("PoolEmpty", {}) {}
class Boom extends Schema.TaggedError<Boom>()("Boom", {}) {}

class Pool extends Context.Service<Pool, { readonly open: Effect.Effect<number, PoolEmpty> }>()("t/Pool") {}
class WithConn extends Middleware.Service<WithConn, { provides: Conn }>()("t/WithConn", { error: PoolEmpty }) {}

/** the middleware that most tests run: a connection for the time of the run */
const WithConnLive = Layer.effect(
  WithConn,
  Effect.map(Pool, (pool): WithConn["Service"] => (next, input) =>
    Effect.flatMap(
      Effect.acquireRelease(
        Effect.tap(pool.open, (id) => Harness.note(`open ${id}`)),
        (id) => Harness.note(`close ${id}`)
      ),
      (id) => Effect.provideService(next(input), Conn, { id })
    ))
)
const withPool = (open: Effect.Effect<number, PoolEmpty>) =>
  Effect.provide(WithConnLive.pipe(Layer.provide(Layer.succeed(Pool, { open }))))
const provided = withPool(Effect.succeed(7))

class Count extends Task.make("Count", { payload: { text: Schema.String }, success: Schema.Number, error: Boom }) {}

describe("Harness.run", () => {
  it.effect("L1 L2 success: what was acquired is released before the outside sees the exit", () =>
    Effect.gen(function*() {
      const result = yield* Harness.run(WithConn, {
        payload: { n: 1 },
        inner: (payload) => Effect.map(Conn, (conn) => conn.id + payload.n)
      })
      assert.deepStrictEqual(result.exit, Exit.succeed(8))
      assert.deepStrictEqual(result.events, [
        "open 7",
        "inner",
        "inner: success",
        "close 7",
        "closed",
        "outer: success"
      ])
      assert.deepStrictEqual(result.next.map((next) => next.input), [{ n: 1 }])
      assert.deepStrictEqual(Option.map(result.provided(Conn), (conn) => conn.id), Option.some(7))
      assert.strictEqual(result.outcome._tag, "Succeeded")
      assert.deepInclude(result.settlement, { _tag: "Complete", how: "succeeded" })
    }).pipe(provided))

  for (
    const [name, inner, ended] of [
      ["failure", Harness.fail(new Boom()), "failure"],
      ["defect", Harness.die("bug"), "defect"],
      ["interruption that nobody asked for", Harness.interrupt, "interruption"]
    ] as const
  ) {
    it.effect(`L1 L3 ${name}: released all the same, and seen outside as it was`, () =>
      Effect.gen(function*() {
        const result = yield* Harness.run(WithConn, { inner: inner as Effect.Effect<never, Boom> })
        assert.deepStrictEqual(result.events, [
          "open 7",
          "inner",
          `inner: ${ended}`,
          "close 7",
          "closed",
          `outer: ${ended}`
        ])
        assert.strictEqual(Harness.ended(result.exit!), ended)
        assert.strictEqual(result.outcome._tag, "Dead")
      }).pipe(provided))
  }

  it.effect("L1 an acquire that fails: next does not run, nothing is released", () =>
    Effect.gen(function*() {
      const result = yield* Harness.run(WithConn, {})
      assert.deepStrictEqual(result.events, ["closed", "outer: failure"])
      assert.deepStrictEqual(result.next, [])
      assert.deepStrictEqual(result.exit, Exit.fail(new PoolEmpty()))
      assert.deepStrictEqual(result.provided(Conn), Option.none())
    }).pipe(withPool(Effect.fail(new PoolEmpty()))))

  for (
    const [stop, outcome] of [["shutdown", "Interrupted"], ["aborted", "Aborted"], ["lost", "Interrupted"]] as const
  ) {
    it.effect(`L17 ${stop} while the handler runs: the body alone is interrupted, and it is no success`, () =>
      Effect.gen(function*() {
        const result = yield* Harness.run(WithConn, { inner: Harness.never, stop })
        assert.deepStrictEqual(result.events, [
          "open 7",
          "inner",
          "inner: interruption",
          "close 7",
          "closed",
          "outer: interruption"
        ])
        assert.strictEqual(result.outcome._tag, outcome)
        assert.strictEqual(result.settlement === undefined, stop === "lost")
      }).pipe(provided))
  }

  it.effect("L17 a stop while the middleware acquires: it acquires to its end, the handler never starts", () =>
    Effect.gen(function*() {
      const opening = yield* Deferred.make<void>()
      let stopping = false
      const open = Effect.andThen(
        Deferred.succeed(opening, undefined),
        Effect.as(Effect.repeat(Effect.yieldNow, { until: () => stopping }), 9)
      )
      const when = Effect.andThen(Deferred.await(opening), Effect.sync(() => stopping = true))
      const result = yield* Harness.run(WithConn, { inner: Harness.never, stop: { why: "shutdown", when } }).pipe(
        withPool(open)
      )
      assert.deepStrictEqual(result.events, ["open 9", "close 9", "closed", "outer: interruption"])
      assert.deepStrictEqual(result.next, [])
      assert.strictEqual(result.outcome._tag, "Interrupted")
    }))

  it.effect("L13 a middleware that catches everything cannot make a stopped run a success", () =>
    Effect.gen(function*() {
      const result = yield* Harness.own(
        Count,
        (next, payload) => Effect.catchCause(next(payload), () => Effect.succeed(0)),
        { payload: { text: "a" }, inner: Harness.never, stop: "shutdown" }
      )
      assert.strictEqual(result.outcome._tag, "Interrupted")
    }))

  it.effect("next may run again, sequentially; while it is open that is a defect", () =>
    Effect.gen(function*() {
      let runs = 0
      const flaky = Effect.suspend(() => ++runs < 3 ? Effect.fail(new Boom()) : Effect.succeed(runs))
      const again = yield* Harness.run(
        Middleware.make("again", (next, input) => Effect.retry(next(input), { times: 5 })),
        {
          inner: flaky
        }
      )
      assert.deepStrictEqual(again.next.map((next) => Harness.ended(next.exit)), ["failure", "failure", "success"])
      assert.deepStrictEqual(again.exit, Exit.succeed(3))
      const twice = yield* Harness.run(
        Middleware.make("twice", (next, input) =>
          Effect.map(Effect.all([next(input), next(input)], { concurrency: 2 }), ([a]) => a)),
        { inner: Effect.andThen(Effect.yieldNow, Harness.succeed(1)) }
      )
      assert.include(String(Exit.isFailure(twice.exit!) && Cause.squash(twice.exit.cause)), "NextMisused")
    }))

  it.effect("L14 a Decide without running next", () =>
    Effect.gen(function*() {
      const stale = Middleware.make("stale", (next, input, job) =>
        job.attempt > 2 ? Effect.fail(Decide.discard("stale")) : next(input))
      const result = yield* Harness.run(stale, { job: { attempt: 3 } })
      assert.deepInclude(result.outcome, { _tag: "Discarded", reason: "stale" })
      assert.deepStrictEqual(result.next, [])
      assert.strictEqual((yield* Harness.run(stale, { inner: Harness.succeed(1) })).outcome._tag, "Succeeded")
    }))

  it.effect("hooks: before and after, and what the job says", () =>
    Effect.gen(function*() {
      const tenant = Header.make("tenant", Schema.String)
      const wrap = Middleware.hooks({
        before: () => Effect.tap(tenant.read, (id) => Harness.note(`before ${id}`)),
        after: (exit, id, job) => Harness.note(`after ${id} ${exit._tag} ${job.task} ${job.queue} ${job.lastAttempt}`)
      })
      const result = yield* Harness.run(wrap, {
        inner: Harness.fail(new Boom()),
        job: { task: "Send", queue: "mail", headers: { tenant: "T" }, lastAttempt: false }
      })
      assert.deepStrictEqual(result.events, [
        "before T",
        "inner",
        "inner: failure",
        "after T Failure Send mail false",
        "closed",
        "outer: failure"
      ])
      assert.deepInclude(result.outcome, { _tag: "Retried", after: 0 })
      const missing = yield* Harness.run(wrap, {})
      assert.deepStrictEqual(missing.next, [])
      assert.strictEqual(Harness.ended(missing.exit!), "failure")
    }))

  it.effect("a time limit of the middleware ends an inner effect that never ends", () =>
    Effect.gen(function*() {
      const limit = Middleware.make("limit", (next, input) =>
        Effect.timeoutOrElse(next(input), {
          duration: "5 minutes",
          orElse: () => Effect.fail(Decide.dead("too slow"))
        }))
      const fiber = yield* Effect.forkChild(Harness.run(limit, { inner: Harness.never }))
      yield* TestClock.adjust("5 minutes")
      const result = yield* Fiber.join(fiber)
      assert.deepStrictEqual(result.events, ["inner", "inner: interruption", "closed", "outer: failure"])
      assert.deepInclude(result.outcome, { _tag: "Dead", reason: "decided" })
    }))

  it.effect("a harness that is interrupted gives back what the middleware holds", () =>
    Effect.gen(function*() {
      const opened = yield* Deferred.make<void>()
      const closed = yield* Deferred.make<void>()
      const held = Middleware.make("held", (next, input) =>
        Effect.andThen(
          Effect.acquireRelease(Deferred.succeed(opened, undefined), () => Deferred.succeed(closed, undefined)),
          next(input)
        ))
      const fiber = yield* Effect.forkChild(Harness.run(held, { inner: Harness.never }))
      yield* Deferred.await(opened)
      yield* Fiber.interrupt(fiber)
      assert.isTrue(yield* Deferred.isDone(closed))
    }))

  it.effect("L8 the input that a wrap changes is what the inner sees", () =>
    Effect.gen(function*() {
      const result = yield* Harness.own(
        Count,
        (next, { text }) => Effect.map(next({ text: text.toUpperCase() }), (n) => n * 2),
        { payload: { text: "abc" }, inner: ({ text }) => Effect.succeed(text.length) }
      )
      assert.deepStrictEqual(result.next.map((next) => next.input), [{ text: "ABC" }])
      assert.deepStrictEqual(result.exit, Exit.succeed(6))
    }))
})

describe("Harness.run at the delivery point", () => {
  const unseal = Middleware.delivery("unseal", (next, delivery) =>
    Effect.andThen(
      Effect.acquireRelease(Harness.note("key"), () => Harness.note("key back")),
      next({
        ...delivery,
        envelope: { ...delivery.envelope, payload: delivery.envelope.payload.replace("sealed:", "") }
      })
    ))

  it.effect("what it makes of the stored payload is what is decoded", () =>
    Effect.gen(function*() {
      const result = yield* Harness.run(unseal, { encoded: "sealed:{\"n\":1}" })
      assert.deepStrictEqual(result.next.map((next) => next.input), [{ n: 1 }])
      assert.strictEqual(result.delivery.envelope.payload, "{\"n\":1}")
      assert.deepStrictEqual(result.events, [
        "key",
        "inner",
        "inner: success",
        "outer: success",
        "key back",
        "closed"
      ])
    }))

  it.effect("L13 an undecodable payload is dead, and passes it", () =>
    Effect.gen(function*() {
      const result = yield* Harness.run(unseal, { encoded: "sealed:{" })
      assert.strictEqual(result.exit, undefined)
      assert.deepStrictEqual(result.events, ["key", "key back", "closed"])
      assert.deepInclude(result.settlement, { _tag: "Dead", reason: "undecodable" })
    }))

  it.effect("the settlement that it elects", () =>
    Effect.gen(function*() {
      const never = Middleware.delivery("no dead letters", (next, delivery) =>
        Effect.map(next(delivery), (settlement) =>
          settlement._tag === "Dead"
            ? { _tag: "Complete", how: "discarded", exit: undefined, reason: settlement.reason }
            : settlement))
      const result = yield* Harness.run(never, { inner: Harness.fail(new Boom()) })
      assert.deepInclude(result.settlement, { _tag: "Complete", how: "discarded", reason: "failed" })
      assert.strictEqual(result.outcome._tag, "Discarded")
    }))

  it.effect("a task's own codecs", () =>
    Effect.gen(function*() {
      class At extends Task.make("At", { payload: { on: Schema.Date } }) {}
      const result = yield* Harness.run(unseal, { task: At, payload: { on: new Date(5) } })
      assert.strictEqual(result.delivery.envelope.payload, "{\"on\":\"1970-01-01T00:00:00.005Z\"}")
      assert.deepStrictEqual(result.next.map((next) => next.input), [{ on: new Date(5) }])
    }))
})

describe("Harness.run with an observer", () => {
  it.effect("L11 its hooks run around the job, and their failure changes nothing", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const observer = Middleware.observe({
        name: "o",
        before: (job) => Effect.sync(() => seen.push(job.task)),
        after: (outcome, before) => {
          seen.push(before, outcome._tag)
          throw new Error("a bug in the observer")
        }
      })
      const result = yield* Harness.run(observer, { inner: Harness.succeed(1), job: { task: "Send" } })
      assert.deepStrictEqual(seen, ["Send", 1, "Succeeded"])
      assert.deepStrictEqual(result.events, [
        "before",
        "before: success",
        "inner",
        "inner: success",
        "outer: success",
        "after",
        "after: defect"
      ])
      assert.strictEqual(result.outcome._tag, "Succeeded")
    }))

  it.effect("L11 a hook that never ends is given up after a second", () =>
    Effect.gen(function*() {
      const observer = Middleware.observe({ name: "o", after: () => Effect.never })
      const fiber = yield* Effect.forkChild(Harness.run(observer))
      yield* TestClock.adjust("1 second")
      const result = yield* Fiber.join(fiber)
      assert.strictEqual(result.events.at(-1), "after: interruption")
      assert.strictEqual(result.outcome._tag, "Succeeded")
    }))
})

describe("Harness.enqueue", () => {
  class Send extends Task.make("Send", { payload: { to: Schema.String } }) {}

  it.effect("L7 what reached the backend, and what the caller got", () =>
    Effect.gen(function*() {
      const tenant = Header.make("tenant", Schema.String)
      const result = yield* Harness.enqueue(
        Enqueue.mapItems((item) => Effect.as(Harness.note("map"), tenant.set("T")(item))),
        { task: Send, payloads: [{ to: "a" }, { to: "b" }], enqueue: Enqueue.priority(3) }
      )
      assert.deepStrictEqual(result.events, ["map", "map", "inner", "inner: success", "closed", "outer: success"])
      assert.deepStrictEqual(
        result.published.flatMap(({ items }) => items.map((i) => [i.envelope.payload, i.envelope.headers, i.priority])),
        [["{\"to\":\"a\"}", { tenant: "T" }, 3], ["{\"to\":\"b\"}", { tenant: "T" }, 3]]
      )
      assert.strictEqual(Exit.isSuccess(result.exit) && result.exit.value.length, 2)
    }))

  it.effect("dropping, refusing, and a backend that fails", () =>
    Effect.gen(function*() {
      const dropped = yield* Harness.enqueue(Enqueue.dropWhen(() => Effect.succeed("no")))
      assert.deepStrictEqual(dropped.events, ["closed", "outer: success"])
      assert.deepStrictEqual(dropped.published, [])
      const refused = yield* Harness.enqueue(() => Effect.fail(new Enqueue.Refused({ by: "quota", reason: "full" })))
      assert.deepStrictEqual(refused.exit, Exit.fail(new Enqueue.Refused({ by: "quota", reason: "full" })))
      const failing = new BackendError({
        backend: "harness",
        operation: "publish",
        message: "down",
        retryable: true,
        outcome: "Unknown"
      })
      const failed = yield* Harness.enqueue(
        (next, batch) => Effect.andThen(Effect.addFinalizer(() => Harness.note("release")), next(batch)),
        { inner: () => Effect.fail(failing) }
      )
      assert.deepStrictEqual(failed.events, ["inner", "inner: failure", "release", "closed", "outer: failure"])
      assert.deepStrictEqual(failed.exit, Exit.fail(failing))
    }))

  it.effect("what the wrap requires comes from the test", () =>
    Effect.gen(function*() {
      const result = yield* Harness.enqueue(
        Enqueue.mapItems((item) => Effect.map(Conn, (conn) => ({ ...item, group: String(conn.id) })))
      ).pipe(Effect.provideService(Conn, { id: 3 }))
      assert.deepStrictEqual(result.published[0]?.items[0]?.group, "3")
    }))

  it.effect("a job that is enqueued from nowhere notes nothing", () =>
    Effect.gen(function*() {
      yield* Harness.note("lost")
      assert.isTrue(Option.isNone(yield* Effect.serviceOption(Job.Current)))
    }))
})
