/** Channels: what a handler receives of a message, what is stored of it, and how a message does not get there. */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Channel from "windlass/bus/Channel"
import * as Enqueue from "windlass/Enqueue"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import { Harness, TestWorker } from "windlass/testing"
import * as Worker from "windlass/Worker"
import { follow, publishRaw, record, scenario, startWorker } from "../support/backends.ts"

class OrderPlaced extends Channel.make("orders.{region}.{id}", {
  parameters: { id: Schema.FiniteFromString },
  headers: Schema.Struct({
    "x-tenant": Schema.String,
    requestId: Schema.String,
    priority: Schema.FiniteFromString.pipe(Schema.withDecodingDefaultKey(Effect.succeed("3")))
  }).pipe(Schema.encodeKeys({ requestId: "x-request-id" })),
  payload: { total: Schema.Number, at: Schema.Date },
  success: Schema.String
}) {}

class Ping extends Channel.make("ping") {}

const App = TaskGroup.make(OrderPlaced, Ping)

const OrderPlacedLive = OrderPlaced.toLayer(({ headers, parameters, payload }) =>
  Effect.map(
    Job.Current,
    (job) =>
      JSON.stringify([parameters.region, parameters.id + 1, headers, payload.total, payload.at.getTime(), job.group])
  )
)
const Handlers = Layer.mergeAll(OrderPlacedLive, Ping.toLayer(() => Effect.void))

const order = {
  parameters: { region: "eu.west", id: 12 },
  headers: { "x-tenant": "acme", requestId: "r1", priority: 7 },
  payload: { total: 9, at: new Date(5) }
}

describe("a channel is a task with an address", () => {
  it.effect("its handler gets parameters, headers and payload, each by its schema, and bindings from the job", () =>
    Effect.gen(function*() {
      const said = yield* TestWorker.run(OrderPlaced, order, { enqueue: Enqueue.group("g1") })
      assert.strictEqual(
        said,
        JSON.stringify([
          "eu.west",
          13,
          { "x-tenant": "acme", requestId: "r1", priority: 7 },
          9,
          5,
          "g1"
        ])
      )
    }).pipe(Effect.provide(TestWorker.layer(App).pipe(Layer.provide(Handlers)))))

  it.effect("stores the payload alone as payload; headers and address are headers, where middleware reads them", () =>
    Effect.gen(function*() {
      yield* OrderPlaced.enqueue(order)
      const [{ item }] = (yield* TestWorker.stored) as [TestWorker.Stored]
      assert.strictEqual(item.envelope.task, "orders.{region}.{id}")
      assert.deepStrictEqual(JSON.parse(item.envelope.payload), { total: 9, at: "1970-01-01T00:00:00.005Z" })
      assert.deepInclude(item.envelope.headers, {
        "x-tenant": "acme",
        "x-request-id": "r1",
        priority: "7",
        "windlass-address": "orders.eu%2Ewest.12"
      })
      const [enqueued] = yield* TestWorker.enqueued(OrderPlaced)
      assert.deepStrictEqual(enqueued!.payload, order)
    }).pipe(Effect.provide(TestWorker.layer(App).pipe(Layer.provide(Handlers)))))

  it.effect("a middleware sees headers and address; the harness plays a channel as any task", () =>
    Effect.gen(function*() {
      const seen: Array<string | undefined> = []
      const look = Middleware.make("look", (next, input, job) => {
        seen.push(job.headers["x-tenant"], job.headers["windlass-address"])
        return next(input)
      })
      yield* Harness.run(look, { task: OrderPlaced, payload: order, inner: Effect.succeed("played") })
      assert.deepStrictEqual(seen, ["acme", "orders.eu%2Ewest.12"])
    }))

  it("says its concrete address, and which channel of a group an address belongs to", () => {
    class Exact extends Channel.make("orders.eu.1") {}
    class Plain extends Task.make("plain.{name}", { aliases: ["old.name"] }) {}
    const find = Channel.find(TaskGroup.make(OrderPlaced, Exact, Plain))
    assert.strictEqual(Channel.address(OrderPlaced, { region: "us", id: 4 }), "orders.us.4")
    assert.strictEqual(Channel.address(Ping, {}), "ping")
    assert.deepStrictEqual(find("orders.us.4"), { task: OrderPlaced, parameters: { region: "us", id: "4" } })
    assert.strictEqual(find("orders.eu.1")?.task, Exact)
    assert.strictEqual(find("plain.{name}")?.task, Plain)
    assert.strictEqual(find("old.name")?.task, Plain)
    assert.isUndefined(find("plain.x"))
    assert.throws(() => Channel.address(OrderPlaced, { region: "", id: 4 }), Channel.InvalidAddress)
  })

  it("refuses an address that cannot be, and two that are undecided, as InvalidAddress", () => {
    assert.throws(() => Channel.make("a.{x}{y}"), Channel.InvalidAddress)
    const options: object = { parameters: { y: Schema.String } }
    assert.throws(() => Channel.make("a.{x}", options), Channel.InvalidAddress, "no parameter {y}")
    const group = TaskGroup.make(Channel.make("a.{x}.c"), Channel.make("a.b.{y}"))
    assert.throws(() => Channel.find(group), Channel.InvalidAddress, "neither is the more specific")
  })

  it("keeps its address when it is wrapped, and may have a name of its own that outlives the address", () => {
    const named = Channel.make("orders.{id}", { name: "OrderPlaced" }).wrap((next, message) => next(message))
    assert.strictEqual(named._tag, "OrderPlaced")
    assert.strictEqual(Channel.find(TaskGroup.make(named))("orders.1")?.task, named)
    assert.deepStrictEqual(Worker.describe(TaskGroup.make(named))[0]?.task, "OrderPlaced")
  })

  it.effect("a message that does not fit is refused where it is sent, with the field named", () =>
    Effect.gen(function*() {
      const failure = yield* Effect.flip(
        OrderPlaced.enqueue({ ...order, payload: { total: "much" as unknown as number, at: new Date(0) } })
      )
      assert.strictEqual(failure._tag === "windlass/InvalidEnqueue" && failure.reason, "Payload")
      assert.include(failure.message, "total")
      const empty = yield* Effect.flip(OrderPlaced.enqueue({ ...order, parameters: { region: "", id: 1 } }))
      assert.include(empty.message, "{region} is empty")
    }).pipe(Effect.provide(TestWorker.layer(App).pipe(Layer.provide(Handlers)))))

  scenario(
    "what does not fit is dead as undecodable without running: a header, a parameter, no address",
    () =>
      Effect.gen(function*() {
        const worker = yield* startWorker(Worker.layer(App).pipe(Layer.provide(Handlers)))
        const events = yield* follow(worker)
        const headers = { "x-tenant": "a", "x-request-id": "r", "windlass-address": "orders.eu.1" }
        const { "x-tenant": _, ...withoutTenant } = headers
        const { "windlass-address": __, ...withoutAddress } = headers
        const bad = {
          header: withoutTenant,
          parameter: { ...headers, "windlass-address": "orders.eu.one" },
          foreign: { ...headers, "windlass-address": "bills.eu.1" },
          address: withoutAddress
        }
        const payload = "{\"total\":1,\"at\":\"1970-01-01T00:00:00.000Z\"}"
        const task = "orders.{region}.{id}"
        for (const [id, headers] of Object.entries(bad)) yield* publishRaw({ id, task, headers, payload })
        yield* publishRaw({ id: "good", task, headers, payload })
        yield* events.until("Succeeded")
        yield* events.until("Dead", { count: 4 })
        for (
          const [id, word] of [["header", "x-tenant"], ["parameter", "id"], ["foreign", "bills.eu.1"], [
            "address",
            "windlass-address"
          ]] as const
        ) {
          const job = yield* record(id)
          assert.deepStrictEqual([job.state, job.reason], ["dead", "undecodable"], id)
          assert.include(job.error, word)
        }
      })
  )

  scenario(
    "a message of an older version is cast up: its payload alone, the headers stay",
    () =>
      Effect.gen(function*() {
        const seen: Array<unknown> = []
        class Moved extends Channel.make("moved.{id}", {
          headers: { by: Schema.String },
          payload: { to: Schema.Array(Schema.String) },
          version: 2,
          upcast: { 1: (payload: { readonly to: string }) => ({ to: [payload.to] }) }
        }) {}
        yield* publishRaw({
          id: "old",
          task: "moved.{id}",
          version: 1,
          payload: "{\"to\":\"attic\"}",
          headers: { by: "ada", "windlass-address": "moved.7" }
        })
        yield* Moved.enqueue({ parameters: { id: "8" }, headers: { by: "bob" }, payload: { to: ["a", "b"] } })
        const report = yield* Worker.launch(
          Worker.layer(TaskGroup.make(Moved), { mode: "drain", concurrency: 1 }).pipe(
            Layer.provide(Moved.toLayer((message) => Effect.sync(() => void seen.push(message))))
          )
        )
        assert.strictEqual(report.succeeded, 2)
        assert.deepStrictEqual(seen, [
          { parameters: { id: "7" }, headers: { by: "ada" }, payload: { to: ["attic"] } },
          { parameters: { id: "8" }, headers: { by: "bob" }, payload: { to: ["a", "b"] } }
        ])
      })
  )

  it.effect("AMGI-14 the scope of the handler is closed before the middleware's after, and a failing close is a failure", () =>
    Effect.gen(function*() {
      const trace: Array<string> = []
      const around = Middleware.make(
        "around",
        (next, input) => Effect.onExit(next(input), (exit) => Effect.sync(() => void trace.push(`after ${exit._tag}`)))
      )
      class Scoped extends Channel.make("scoped.{how}", { middleware: [around] }) {}
      const ScopedLive = Scoped.toLayer(({ parameters }) =>
        Effect.gen(function*() {
          yield* Effect.addFinalizer(() =>
            Effect.suspend(() => {
              trace.push("closed")
              return parameters.how === "dies" ? Effect.die(new Error("cannot close")) : Effect.void
            })
          )
          trace.push("handled")
        })
      )
      const ran = yield* Effect.gen(function*() {
        yield* Scoped.enqueue({ parameters: { how: "well" } })
        yield* Scoped.enqueue({ parameters: { how: "dies" } })
        return yield* TestWorker.drain({ outcomes: true })
      }).pipe(Effect.provide(TestWorker.layer(TaskGroup.make(Scoped)).pipe(Layer.provide(ScopedLive))))
      assert.deepStrictEqual(trace, ["handled", "closed", "after Success", "handled", "closed", "after Failure"])
      assert.deepStrictEqual(ran.map((one) => one.outcome._tag), ["Succeeded", "Dead"])
      const last = ran[1]!.outcome
      assert.include(String(last._tag === "Dead" && last.cause && Cause.squash(last.cause)), "cannot close")
    }))
})
