/**
 * With schemas compiled to code, as docs/production.md advises: payloads, results and refusals are what they are without.
 * A file of its own, because the compiler is for all of a process.
 */
import "effect/schema/SchemaJITCompiler/enable"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import { Inspect } from "windlass/Capability"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"

class Refused extends Schema.TaggedError<Refused>()("Refused", { at: Schema.Date }) {}

class Order extends Schema.Class<Order>("Order")({
  id: Schema.String.check(Schema.isMinLength(2)),
  lines: Schema.Array(Schema.Struct({ sku: Schema.String, count: Schema.Int })),
  total: Schema.BigInt
}) {}

class Ship extends Task.make("Ship", {
  payload: {
    order: Order,
    due: Schema.Date,
    note: Schema.optional(Schema.String),
    rate: Schema.Number,
    kind: Schema.Literals(["air", "sea"]).pipe(Schema.withConstructorDefault(Effect.succeed("sea" as const)))
  },
  success: Schema.Struct({ at: Schema.Date, weights: Schema.Array(Schema.Number) }),
  error: Refused
}) {}

const order = new Order({ id: "o-1", lines: [{ sku: "a", count: 2 }], total: 12_345_678_901_234_567_890n })
const due = new Date("2026-11-22T00:00:00Z")

describe("with compiled schemas", () => {
  it.live("a payload reaches its handler as it was, and a result its caller", () =>
    Effect.gen(function*() {
      const done = yield* Ship.execute({ order, due, rate: Number.POSITIVE_INFINITY })
      assert.deepStrictEqual(done, { at: due, weights: [1, Number.NaN] })
      const failure = yield* Effect.flip(Ship.execute({ order, due, rate: 0, note: "refuse", kind: "air" }))
      assert.instanceOf(failure, Refused)
      assert.deepStrictEqual(failure._tag === "Refused" && failure.at, due)
    }).pipe(Effect.provide(
      Worker.layer(TaskGroup.make(Ship)).pipe(
        Layer.provide(Ship.toLayer(({ due, kind, note, order, rate }) =>
          note === "refuse" ? new Refused({ at: due }) : Effect.sync(() => {
            assert.instanceOf(order, Order)
            assert.strictEqual(order.total, 12_345_678_901_234_567_890n)
            assert.deepStrictEqual([rate, kind, note], [Number.POSITIVE_INFINITY, "sea", undefined])
            return { at: due, weights: [1, Number.NaN] }
          })
        )),
        Layer.provideMerge(MemoryBackend.layer)
      )
    )))

  it.live("what does not fit is refused where it is enqueued, with where it does not", () =>
    Effect.gen(function*() {
      const refused = yield* Effect.flip(
        Ship.enqueue({ order: { ...order, lines: [{ sku: "a", count: 1.5 }] } as Order, due, rate: 1 })
      )
      assert.deepInclude(refused, { _tag: "windlass/InvalidEnqueue", reason: "Payload" })
      assert.include((refused as Error).message, `["order"]["lines"][0]["count"]`)
    }).pipe(Effect.provide(MemoryBackend.layer)))

  it.live("what is stored and does not fit is dead as undecodable", () =>
    Effect.gen(function*() {
      class Old extends Task.make("Ship", { payload: Schema.Unknown }) {}
      const id = yield* Old.enqueue({ order: 1 })
      yield* Worker.launch(
        Worker.layer(TaskGroup.make(Ship), { mode: "drain" }).pipe(
          Layer.provide(Ship.toLayer(() => Effect.die("it does not fit")))
        )
      )
      const job = Option.getOrThrow(yield* (yield* Inspect).get(id))
      assert.deepInclude(job, { state: "dead", reason: "undecodable" })
    }).pipe(Effect.provide(MemoryBackend.layer)))
})
