/** Which task a message is for that nobody enqueued here. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { assert, describe, it } from "vitest"
import * as Job from "windlass/Job"
import { Lambda, LambdaClient, Routes } from "windlass/lambda"
import * as Middleware from "windlass/Middleware"
import type { Outcome } from "windlass/Outcome"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { closing, logged } from "./support.ts"

class OrderCreated extends Task.make("OrderCreated", { payload: { order_id: Schema.String } }) {}
class OrderShipped extends Task.make("OrderShipped", { payload: { order_id: Schema.String } }) {}
class FullRefund extends Task.make("FullRefund") {}
class PartialRefund extends Task.make("PartialRefund", { payload: { cents: Schema.Number } }) {}

const trace: Array<string> = []
const mark = (name: string) =>
  Middleware.make(name, (next, input, job) => Effect.suspend(() => (trace.push(`${name} ${job.task}`), next(input))))

class Fallback extends Task.make("Fallback", {
  payload: Schema.Json,
  middleware: [mark("fallback's")]
}) {}

const App = TaskGroup.make(OrderCreated, OrderShipped, FullRefund, PartialRefund, Fallback)

const find = (routes: Routes.Routes<string>, body: unknown) =>
  Effect.runSync(Effect.match(Routes.find(routes, body), {
    onSuccess: (task) => task._tag,
    onFailure: (error) => error
  }))

const invalid = (make: () => unknown) => {
  try {
    make()
  } catch (error) {
    assert.instanceOf(error, Routes.InvalidRoutes)
    return (error as Routes.InvalidRoutes).message
  }
  assert.fail("it should have been refused")
}

describe("routes", () => {
  it("take a task by its name, exactly or in any of its spellings", () => {
    const exact = Routes.make({ key: "type", tasks: [OrderCreated] })
    assert.strictEqual(find(exact, { type: "OrderCreated" }), "OrderCreated")
    assert.instanceOf(find(exact, { type: "order_created" }), Routes.RouteNotFound)
    const flexible = Routes.make({ key: "event", tasks: [OrderCreated, OrderShipped], names: "flexible" })
    for (const type of ["OrderCreated", "order_created", "orderCreated", "order-created"]) {
      assert.strictEqual(find(flexible, { event: type }), "OrderCreated")
    }
    assert.instanceOf(find(flexible, { event: "ordercreated" }), Routes.RouteNotFound)
  })

  it("take a task by its aliases", () => {
    class Renamed extends Task.make("Renamed", { aliases: ["OldName"] }) {}
    const routes = Routes.make({ key: "type", tasks: [Renamed], names: "flexible" })
    assert.strictEqual(find(routes, { type: "old_name" }), "Renamed")
  })

  it("take several values for one task, and compare numbers and booleans as strings", () => {
    const routes = Routes.make({ key: "code", values: { 7: OrderCreated, "8": OrderCreated, true: OrderShipped } })
    assert.deepStrictEqual([7, "7", 8, true, "true"].map((code) => find(routes, { code })), [
      "OrderCreated",
      "OrderCreated",
      "OrderCreated",
      "OrderShipped",
      "OrderShipped"
    ])
  })

  it("look at a second field within a group of routes, and fall back outwards", () => {
    const inner = Routes.make({ key: "kind", values: { full: FullRefund, partial: PartialRefund } })
    const open = Routes.make({ key: "type", tasks: [OrderCreated], values: { refund: inner } })
    assert.strictEqual(find(open, { type: "refund", kind: "full" }), "FullRefund")
    const missing = find(open, { type: "refund", kind: "half" })
    assert.instanceOf(missing, Routes.RouteNotFound)
    assert.deepInclude(missing, { key: "kind", value: "half", known: ["full", "partial"] })
    const closed = Routes.make({ key: "type", values: { refund: inner }, otherwise: Fallback })
    assert.strictEqual(find(closed, { type: "refund", kind: "half" }), "Fallback")
    const own = Routes.make({ key: "kind", values: { full: FullRefund }, otherwise: PartialRefund })
    const nearest = Routes.make({ key: "type", values: { refund: own }, otherwise: Fallback })
    assert.strictEqual(find(nearest, { type: "refund" }), "PartialRefund")
    assert.deepStrictEqual(Routes.tasks(nearest).map((task) => task._tag), ["FullRefund", "PartialRefund", "Fallback"])
  })

  it("FSQS-26 what none takes, and what says nothing, goes to the default; without one it is typed and lists the known", () => {
    const bodies = [{ type: "other" }, { type: null }, {}, { type: {} }, { type: [] }, { type: { a: 1 } }, { type: "" }]
    const open = Routes.make({ key: "type", tasks: [OrderCreated, OrderShipped] })
    for (const body of bodies) {
      const error = find(open, body)
      assert.instanceOf(error, Routes.RouteNotFound)
      assert.deepStrictEqual((error as Routes.RouteNotFound).known, ["OrderCreated", "OrderShipped"])
      assert.include((error as Routes.RouteNotFound).message, "known are OrderCreated, OrderShipped")
    }
    const closed = Routes.make({ key: "type", tasks: [OrderCreated], otherwise: Fallback })
    for (const body of bodies) assert.strictEqual(find(closed, body), "Fallback")
  })

  it("an inherited property is no field, and the name of one is no route", () => {
    const routes = Routes.make({ key: "constructor", tasks: [OrderCreated] })
    assert.instanceOf(find(routes, {}), Routes.RouteNotFound)
    const byType = Routes.make({ key: "type", tasks: [OrderCreated] })
    for (const type of ["constructor", "__proto__", "toString"]) {
      assert.instanceOf(find(byType, { type }), Routes.RouteNotFound)
    }
    assert.strictEqual(find(byType, JSON.parse("{\"__proto__\":{\"type\":\"OrderCreated\"}}")) instanceof Error, true)
  })

  it("two routes of one value are refused where they are made, spellings included", () => {
    class Snake extends Task.make("order_created") {}
    assert.include(
      invalid(() => Routes.make({ key: "type", tasks: [OrderCreated, Snake], names: "flexible" })),
      "task order_created and task OrderCreated both take the value \"order_created\""
    )
    Routes.make({ key: "type", tasks: [OrderCreated, Snake] })
    assert.include(
      invalid(() => Routes.make({ key: "type", tasks: [OrderCreated], values: { OrderCreated: OrderShipped } })),
      "taken twice"
    )
    assert.include(
      invalid(() => Routes.make({ key: "type", tasks: [OrderCreated], values: { OrderCreated } })),
      "taken twice"
    )
    assert.include(invalid(() => Routes.make({ key: "", tasks: [OrderCreated] })), "key is empty")
    assert.include(invalid(() => Routes.make({ key: "type" })), "no route")
  })
})

describe("a function with routes", () => {
  const handlers = Layer.mergeAll(
    OrderCreated.toLayer(({ order_id }) => Effect.sync(() => void trace.push(`created ${order_id}`))),
    OrderShipped.toLayer(({ order_id }) => Effect.sync(() => void trace.push(`shipped ${order_id}`))),
    FullRefund.toLayer(() => Effect.sync(() => void trace.push("refund"))),
    PartialRefund.toLayer(() => Effect.void),
    Fallback.toLayer((body) => Effect.sync(() => void trace.push(`fallback ${JSON.stringify(body)}`)))
  )
  const orders = Routes.make({ key: "type", tasks: [OrderCreated, OrderShipped], names: "flexible" })

  it("runs the task with the whole body as its payload, and the attributes as headers", async () => {
    trace.length = 0
    let headers: unknown
    const handler = closing(Lambda.handler(App, {
      routes: orders,
      layer: Layer.merge(handlers, logged()),
      middleware: [
        Middleware.make("headers", (next, input, job) => Effect.suspend(() => (headers = job.headers, next(input))))
      ]
    }))
    const client = LambdaClient.make(handler)
    const sent = await client.send(
      LambdaClient.json({ type: "order_created", order_id: "1", more: true }, { attributes: { tenant: "acme" } })
    )
    assert.deepStrictEqual(sent.response, { batchItemFailures: [] })
    assert.deepStrictEqual(trace, ["created 1"])
    assert.deepStrictEqual(headers, { tenant: "acme" })
  })

  it("FSQS-05 the default task runs with its own middleware", async () => {
    trace.length = 0
    const handler = closing(Lambda.handler(App, {
      routes: Routes.make({ key: "type", tasks: [OrderCreated], otherwise: Fallback }),
      layer: Layer.merge(handlers, logged())
    }))
    await LambdaClient.make(handler).send(LambdaClient.json({ type: "unheard" }))
    assert.deepStrictEqual(trace, ["fallback's Fallback", "fallback {\"type\":\"unheard\"}"])
    assert.deepStrictEqual(
      Worker.describe(App).find(({ task }) => task === "Fallback")?.chain.map(({ name }) => name),
      ["fallback's"]
    )
  })

  it("FSQS-26 FSQS-15 observers and delivery middleware see what no route takes, and what cannot be read", async () => {
    trace.length = 0
    const outcomes: Array<Outcome> = []
    const handler = closing(Lambda.handler(App, {
      routes: orders,
      layer: Layer.merge(handlers, logged()),
      middleware: [
        Middleware.observe({ name: "see", after: (outcome) => void outcomes.push(outcome) }),
        Middleware.delivery(
          "also",
          (next, delivery) =>
            Effect.tap(
              next(delivery),
              (settlement) => Effect.sync(() => trace.push(`${settlement._tag} ${delivery.envelope.payload}`))
            )
        )
      ],
      order: "haltBatch"
    }))
    const client = LambdaClient.make(handler)
    const bodies = ["{\"type\":\"unheard\"}", "{", "{\"type\":\"order_created\"}"]
    for (const body of bodies) {
      assert.deepStrictEqual((await client.send(LambdaClient.raw(body))).failed.length, 1)
    }
    assert.deepStrictEqual(trace, bodies.map((body) => `Dead ${body}`))
    assert.deepStrictEqual(
      outcomes.map((outcome) => outcome._tag === "Dead" ? outcome.reason : outcome._tag),
      ["unknown-task", "undecodable", "undecodable"]
    )
    const first = outcomes[0]!
    assert.isTrue(
      first._tag === "Dead" &&
        first.cause?.reasons.some((reason) => reason._tag === "Fail" && reason.error instanceof Routes.RouteNotFound)
    )
  })

  it("without routes a foreign message is reported, and the log says what to do", async () => {
    const lines: Array<string> = []
    const handler = closing(Lambda.handler(App, { layer: Layer.merge(handlers, logged(lines)) }))
    const sent = await LambdaClient.make(handler).send(LambdaClient.json({ type: "OrderCreated" }, { messageId: "m" }))
    assert.deepStrictEqual(sent.failed, ["m"])
    assert.include(lines.join("\n"), "give the handler routes")
  })

  it("a payload that its schema refuses is dead without a run, and only that record fails", async () => {
    trace.length = 0
    const handler = closing(Lambda.handler(App, { routes: orders, layer: Layer.merge(handlers, logged()) }))
    const sent = await LambdaClient.make(handler).sendBatch([
      LambdaClient.json({ type: "OrderCreated", order_id: 7 }, { messageId: "bad" }),
      LambdaClient.json({ type: "order-shipped", order_id: "8" }, { messageId: "good" })
    ])
    assert.deepStrictEqual(sent.failed, ["bad"])
    assert.deepStrictEqual(trace, ["shipped 8"])
  })

  it("the fields of a body may have other names than those of the payload: the schema says which", async () => {
    const seen: Array<unknown> = []
    const Snake = Schema.Struct({ orderId: Schema.String, tax: Schema.Number })
    class Ship extends Task.make("Ship", {
      payload: Schema.Union([Snake.pipe(Schema.encodeKeys({ orderId: "order_id" })), Snake])
    }) {}
    const handler = closing(Lambda.handler(TaskGroup.make(Ship), {
      routes: Routes.make({ key: "type", tasks: [Ship] }),
      layer: Layer.merge(Ship.toLayer((payload) => Effect.sync(() => void seen.push(payload))), logged())
    }))
    const sent = await LambdaClient.make(handler).sendBatch([
      LambdaClient.json({ type: "Ship", order_id: "1", tax: 2 }),
      LambdaClient.json({ type: "Ship", orderId: "3", tax: 4 })
    ])
    assert.deepStrictEqual(sent.failed, [])
    assert.deepStrictEqual(seen, [{ orderId: "1", tax: 2 }, { orderId: "3", tax: 4 }])
  })

  it("FSQS-02 a sub-group that opts out runs without its parent's middleware; its own and the function's still run", async () => {
    trace.length = 0
    const Parent = TaskGroup.shared("parent", { middleware: [mark("parent's")] })
    const Child = Parent.shared("child", { inherit: false, middleware: [mark("child's")] })
    class Inherits extends Parent.make("Inherits") {}
    class OptsOut extends Child.make("OptsOut") {}
    const handler = closing(Lambda.handler(TaskGroup.make(Inherits, OptsOut), {
      routes: Routes.make({ key: "type", tasks: [Inherits, OptsOut] }),
      middleware: [mark("function's")],
      layer: Layer.mergeAll(
        Inherits.toLayer(() => Effect.map(Job.Current, (job) => void trace.push(`handler of ${job.task}`))),
        OptsOut.toLayer(() => Effect.void),
        logged()
      )
    }))
    const client = LambdaClient.make(handler)
    await client.send(LambdaClient.json({ type: "Inherits" }))
    await client.send(LambdaClient.json({ type: "OptsOut" }))
    assert.deepStrictEqual(trace, [
      "function's Inherits",
      "parent's Inherits",
      "handler of Inherits",
      "function's OptsOut",
      "child's OptsOut"
    ])
  })
})
