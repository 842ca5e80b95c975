/** The test producer, tested: what it lets pass, and what it must not. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type { Delivery, Settlement, Shape } from "windlass/Backend"
import * as Channel from "windlass/bus/Channel"
import * as Decide from "windlass/Decide"
import * as TaskGroup from "windlass/TaskGroup"
import { TestProducer, TestWorker } from "windlass/testing"
import { Valve } from "../../src/testing/worker/valve.ts"

class OutOfStock extends Schema.TaggedError<OutOfStock>()("OutOfStock", { sku: Schema.String }) {
  override get message() {
    return `no ${this.sku} left`
  }
}
class InvoiceDue extends Channel.make("invoices.{id}", { payload: { total: Schema.Number } }) {}
class OrderPlaced extends Channel.make("orders.{id}", {
  headers: { "x-tenant": Schema.String },
  payload: { sku: Schema.String },
  error: OutOfStock,
  emits: [InvoiceDue],
  retry: Schedule.spaced("1 minute").pipe(Schedule.upTo({ times: 1 }))
}) {}

const lifespan: Array<string> = []
const Lifespan = Layer.effectDiscard(
  Effect.acquireRelease(
    Effect.sync(() => lifespan.push("start")),
    () => Effect.sync(() => lifespan.push("stop"))
  )
)
const OrderPlacedLive = OrderPlaced.toLayer(Effect.fnUntraced(function*({ parameters, payload }) {
  lifespan.push(payload.sku)
  if (payload.sku === "moon") return yield* new OutOfStock({ sku: "moon" })
  if (payload.sku === "gone") return yield* Decide.discard("not wanted")
  yield* Effect.orDie(Channel.emit(InvoiceDue, { parameters, payload: { total: 5 } }))
}))

const TestLive = TestProducer.layer(TaskGroup.make(OrderPlaced)).pipe(
  Layer.provide(OrderPlacedLive.pipe(Layer.provideMerge(Lifespan))),
  Layer.provideMerge(TestProducer.router)
)
const headers = { "x-tenant": "acme" }

describe("TestProducer", () => {
  it.effect("AMGI-10 a message that succeeds is acknowledged once, and what it emitted is there decoded", () =>
    Effect.gen(function*() {
      const answer = yield* TestProducer.send("orders.7", { sku: "tea" }, { headers })
      yield* TestProducer.acknowledged(answer)
      assert.deepStrictEqual(yield* TestProducer.emitted(answer, InvoiceDue), [
        { parameters: { id: "7" }, payload: { total: 5 } }
      ])
      const next = yield* TestProducer.send("orders.8", { sku: "gone" }, { headers })
      yield* TestProducer.acknowledged(next)
      assert.deepStrictEqual(yield* TestProducer.emitted(next, InvoiceDue), [])
      assert.include((yield* Effect.flip(TestProducer.refused(answer))).message, "orders.7 was acknowledged")
    }).pipe(Effect.provide(TestLive)))

  it.effect("a message that fails is refused: its handler, its payload, a header, an address that nobody knows", () =>
    Effect.gen(function*() {
      const failed = yield* TestProducer.send("orders.7", { sku: "moon" }, { headers })
      yield* TestProducer.refused(failed)
      yield* TestProducer.refused(failed, "no moon left")
      yield* TestProducer.refused(failed, /^OutOfStock/)
      const other = yield* Effect.flip(TestProducer.refused(failed, "no sun left"))
      assert.include(other.message, "no moon left")
      const said = yield* Effect.flip(TestProducer.acknowledged(failed))
      assert.include(said.message, "orders.7 was not acknowledged, but Retried: OutOfStock: no moon left")
      for (
        const [address, payload, words] of [
          ["orders.7", { sku: 1 }, "sku"],
          ["bills.7", {}, "no worker knows task bills.7"]
        ] as const
      ) {
        yield* TestProducer.refused(yield* TestProducer.send(address, payload, { headers }), words)
      }
      yield* TestProducer.refused(yield* TestProducer.send("orders.7", { sku: "tea" }), "x-tenant")
    }).pipe(Effect.provide(TestLive)))

  it.effect("the retry of a message comes with the time of the test", () =>
    Effect.gen(function*() {
      yield* TestProducer.send("orders.7", { sku: "moon" }, { headers, id: "m" })
      const ran = yield* TestWorker.adjust("1 minute", { outcomes: true })
      assert.deepStrictEqual(ran.map(({ attempt, id, outcome }) => [id, attempt, outcome._tag]), [["m", 2, "Dead"]])
    }).pipe(Effect.provide(TestLive)))

  it.effect("AMGI-22 what the program builds at its start is built before the first message and closed after the last", () =>
    Effect.gen(function*() {
      lifespan.length = 0
      yield* Effect.provide(
        Effect.andThen(
          TestProducer.send("orders.1", { sku: "a" }, { headers }),
          TestProducer.send("orders.2", { sku: "b" }, { headers })
        ),
        TestLive
      )
      assert.deepStrictEqual(lifespan, ["start", "a", "b", "stop"])
    }))

  it.effect("a message that was settled twice, or not at all, is neither acknowledged nor refused", () =>
    Effect.gen(function*() {
      const answer = yield* TestProducer.send("orders.7", { sku: "tea" }, { headers })
      const failed = yield* TestProducer.send("orders.7", { sku: "moon" }, { headers })
      const twice = Effect.provideService(TestProducer.TestProducer, {
        send: () => Effect.die("unused"),
        settledTwice: Effect.succeed([answer.ran.id, failed.ran.id])
      })
      assert.include((yield* Effect.flip(twice(TestProducer.acknowledged(answer)))).message, "was settled twice")
      assert.include((yield* Effect.flip(twice(TestProducer.refused(failed)))).message, "was settled twice")
      const lost = { ...answer, ran: { ...answer.ran, settled: "Lost" as const } }
      assert.include((yield* Effect.flip(TestProducer.acknowledged(lost))).message, "was not settled")
    }).pipe(Effect.provide(TestLive)))

  it.effect("sees a second settlement of one hand-out, and takes none for one that had no effect", () =>
    Effect.gen(function*() {
      const valve = new Valve()
      const answers = ["Unknown", "Settled", "Settled"] as const
      let calls = 0
      const delivery = { receipt: { id: "j", fence: 1 } } as Delivery
      const base = {
        subscribe: () =>
          Effect.succeed({
            take: () => Effect.succeed([delivery]),
            settle: () => Effect.sync(() => [answers[calls++]!])
          })
      } as unknown as Shape
      const subscription = yield* valve.backend(base).subscribe("q", { worker: "w" })
      const settlement: Settlement = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }
      const settle = subscription.settle([[delivery.receipt, settlement]])
      yield* settle
      yield* settle
      assert.deepStrictEqual(valve.settledTwice, [])
      yield* settle
      assert.deepStrictEqual(valve.settledTwice, ["j"])
    }))
})
