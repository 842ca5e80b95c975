/** The worker without a queue: one delivery through the whole chain, its outcome and its settlement. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import type { Delivery } from "windlass/Backend"
import * as Decide from "windlass/Decide"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import type { Outcome } from "windlass/Outcome"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import * as direct from "../../src/internal/worker/direct.ts"

const delivery = (task: string, payload: unknown, more: Partial<Delivery> = {}): Delivery => ({
  envelope: { id: "j-1", task, version: 1, payload: JSON.stringify(payload), headers: {}, origin: "user" },
  receipt: { id: "j-1", fence: "f" },
  queue: "orders",
  attempt: 1,
  unsettled: 0,
  lostFrom: undefined,
  enqueuedAt: undefined,
  scheduledFor: undefined,
  firstFailedAt: undefined,
  priority: 0,
  group: undefined,
  abortRequested: false,
  keepsResult: false,
  ...more
})

const quiet = Effect.provideService(References.MinimumLogLevel, "None")

const make = <Names extends string, const Ms extends ReadonlyArray<Middleware.ForWorker> = readonly []>(
  group: TaskGroup.TaskGroup<Names>,
  options: direct.Options<Ms> = {}
) => direct.make(group, options, (message) => new Worker.InvalidWorker({ message }))

class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {}

class Ship extends Task.make("Ship", {
  payload: { order: Schema.String },
  success: Schema.String,
  error: Refused
}) {}

const App = TaskGroup.make(Ship)

describe("a worker without a queue", () => {
  it.effect("runs observers, delivery point, decode and chain, and returns the settlement (L5)", () =>
    Effect.gen(function*() {
      const trace: Array<string> = []
      const mark = (name: string) => Effect.sync(() => void trace.push(name))
      const worker = yield* make(App, {
        middleware: [
          Middleware.make("run", (next, input) => Effect.andThen(mark("run"), next(input))),
          Middleware.delivery("delivery", (next, one) => Effect.andThen(mark("delivery"), next(one))),
          Middleware.observe({ name: "observer", after: (outcome) => mark(`observer ${outcome._tag}`) })
        ]
      }).pipe(Effect.provide(Ship.toLayer(({ order }) => Effect.as(mark(`ship ${order}`), "done"))))
      const { outcome, settlement } = yield* worker.deliver(delivery("Ship", { order: "o-1" }))
      assert.strictEqual(outcome._tag, "Succeeded")
      assert.deepInclude(settlement, { _tag: "Complete", how: "succeeded" })
      assert.deepStrictEqual(trace, ["delivery", "run", "ship o-1", "observer Succeeded"])
    }))

  it.effect("ends every hand-out with one outcome: failure, defect, decision, unknown, undecodable, refused (L13)", () =>
    Effect.gen(function*() {
      const worker = yield* make(App).pipe(Effect.provide(Ship.toLayer(({ order }) =>
        order === "fail"
          ? Effect.fail(new Refused())
          : order === "die"
          ? Effect.die(new Error("boom"))
          : order === "discard"
          ? Effect.fail(Decide.discard())
          : Effect.fail(Decide.snooze("1 minute"))
      )))
      const come = (one: Delivery, how?: direct.How) =>
        quiet(
          Effect.map(worker.deliver(one, how), ({ outcome, settlement }) =>
            `${outcome._tag} ${"reason" in outcome ? outcome.reason : ""} ${settlement._tag}`)
        )
      assert.strictEqual(yield* come(delivery("Ship", { order: "fail" })), "Dead failed Dead")
      assert.strictEqual(yield* come(delivery("Ship", { order: "die" })), "Dead failed Dead")
      assert.strictEqual(yield* come(delivery("Ship", { order: "discard" })), "Discarded no longer wanted Complete")
      assert.strictEqual(yield* come(delivery("Ship", { order: "snooze" })), "Snoozed snoozed Retry")
      assert.strictEqual(yield* come(delivery("Ship", { order: 1 })), "Dead undecodable Dead")
      assert.strictEqual(yield* come(delivery("Other", {})), "Released no worker knows task Other Retry")
      const refused: Outcome = {
        _tag: "Dead",
        reason: "undecodable",
        cause: undefined,
        error: "MD5",
        encoded: undefined
      }
      assert.strictEqual(yield* come(delivery("Ship", { order: "fail" }), { refused }), "Dead undecodable Dead")
    }))

  it.live("an interruption reaches the body, the chain unwinds, and it is no success (L13, L17)", () =>
    Effect.gen(function*() {
      const trace: Array<string> = []
      const running = yield* Deferred.make<void>()
      const worker = yield* make(App, {
        middleware: [
          Middleware.make("after", Middleware.hooks({ after: (exit) => Effect.sync(() => trace.push(exit._tag)) }))
        ]
      }).pipe(Effect.provide(Ship.toLayer(() =>
        Effect.andThen(Deferred.succeed(running, undefined), Effect.never).pipe(
          Effect.onInterrupt(() => Effect.sync(() => trace.push("body interrupted")))
        )
      )))
      const fiber = yield* Effect.forkChild(worker.deliver(delivery("Ship", { order: "a" })))
      yield* Deferred.await(running)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(trace, ["body interrupted", "Failure"])
    }))

  it.effect("when its time is over the body is interrupted and the job comes back; one not begun is not begun", () =>
    Effect.gen(function*() {
      let begun = 0
      let remaining: unknown
      const worker = yield* make(App).pipe(Effect.provide(Ship.toLayer(() =>
        Effect.gen(function*() {
          begun++
          remaining = yield* (yield* Job.Current).remaining
          return yield* Effect.never
        })
      )))
      const over = Effect.sleep("2 seconds")
      const fiber = yield* Effect.forkChild(worker.deliver(delivery("Ship", { order: "a" }), { until: 2_000, over }))
      yield* TestClock.adjust("2 seconds")
      const first = yield* Fiber.join(fiber)
      assert.deepInclude(first.outcome, { _tag: "Interrupted", by: "shutdown", then: "requeue" })
      assert.deepInclude(first.settlement, { _tag: "Retry", attempt: "kept" })
      assert.strictEqual(String(Option.getOrThrow(remaining as Option.Option<unknown>)), "2000 millis")
      const second = yield* worker.deliver(delivery("Ship", { order: "b" }), { until: 2_000, over: Effect.void })
      assert.deepInclude(second.outcome, { _tag: "Released" })
      assert.strictEqual(begun, 1)
    }))

  it.effect("a chain that does not end is given up and counts as lost", () =>
    Effect.gen(function*() {
      const worker = yield* make(App, { stuckAfter: "1 second" }).pipe(
        Effect.provide(Ship.toLayer(() => Effect.uninterruptible(Effect.never)))
      )
      const fiber = yield* Effect.forkChild(quiet(
        worker.deliver(delivery("Ship", { order: "a" }), { over: Effect.sleep("5 seconds") })
      ))
      yield* TestClock.adjust("5 seconds")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 second")
      const { outcome, settlement } = yield* Fiber.join(fiber)
      assert.deepInclude(outcome, { _tag: "Interrupted", by: "lost" })
      assert.deepInclude(settlement, { _tag: "Retry", why: "interrupted" })
    }))

  it.effect("services of one hand-out are there for its middleware and its handler", () =>
    Effect.gen(function*() {
      const Request = Context.Reference<string>("test/Request", { defaultValue: () => "none" })
      const seen: Array<string> = []
      const worker = yield* make(App, {
        middleware: [
          Middleware.make("see", (next, input) => Effect.flatMap(Request, (r) => (seen.push(r), next(input))))
        ]
      }).pipe(Effect.provide(Ship.toLayer(() => Effect.map(Request, (r) => (seen.push(r), "")))))
      yield* worker.deliver(delivery("Ship", { order: "a" }), { services: Context.make(Request, "r-1") })
      yield* worker.deliver(delivery("Ship", { order: "a" }))
      assert.deepStrictEqual(seen, ["r-1", "r-1", "none", "none"])
    }))

  it.effect("a list that cannot work is refused before anything is delivered", () =>
    Effect.gen(function*() {
      const twice = Middleware.make("twice", (next, input) => next(input))
      const error = yield* Effect.flip(
        make(App, { middleware: [twice, twice] }).pipe(
          Effect.provide(Layer.mergeAll(Ship.toLayer(() => Effect.succeed(""))))
        )
      )
      assert.strictEqual(error._tag, "windlass/InvalidWorker")
    }))
})
