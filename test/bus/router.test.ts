/** Emitting: typed by declaration, raised where it is done, led by address, opened and closed together. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { type Backend, BackendError } from "windlass/Backend"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Channel from "windlass/bus/Channel"
import * as Router from "windlass/bus/Router"
import * as Capability from "windlass/Capability"
import * as Enqueue from "windlass/Enqueue"
import * as Middleware from "windlass/Middleware"
import * as TaskGroup from "windlass/TaskGroup"
import { Faults, TestWorker } from "windlass/testing"
import * as Worker from "windlass/Worker"
import { follow, startWorker } from "../support/backends.ts"
import { everywhere } from "../support/everywhere.ts"

class InvoiceDue extends Channel.make("invoices.{id}", {
  payload: { total: Schema.Number },
  queue: "invoices"
}) {}

class Noted extends Channel.make("audit.{kind}", { headers: { by: Schema.String }, queue: "audit" }) {}

class OrderPlaced extends Channel.make("orders.{id}", {
  payload: { total: Schema.Number },
  success: Schema.String,
  emits: [InvoiceDue, Noted],
  retry: Schedule.recurs(1)
}) {}

const App = TaskGroup.make(OrderPlaced)
const order = { parameters: { id: "7" }, payload: { total: 9 } }

const OrderPlacedLive = OrderPlaced.toLayer(Effect.fnUntraced(function*({ parameters, payload }) {
  yield* Channel.emit(InvoiceDue, { parameters, payload })
  return yield* Channel.emit(Noted, { parameters: { kind: "order" }, headers: { by: "shop" } }).pipe(
    Enqueue.id("note-7"),
    Effect.catchTag("windlass/BackendError", ({ message }) => Effect.succeed(`not noted: ${message}`))
  )
}, Effect.orDie))

const broken = (message: string) =>
  new BackendError({ backend: "x", operation: "publish", message, retryable: true, outcome: "NotApplied" })

describe("a handler emits", () => {
  it.effect("into the backend of the address; headers, origin and options travel; the enqueue point is passed once (L7)", () =>
    Effect.gen(function*() {
      const passed: Array<string> = []
      const door = Enqueue.layer((next, batch) => {
        passed.push(batch.task)
        return next(batch)
      })
      const TestLive = TestWorker.layer(App).pipe(
        Layer.provide(OrderPlacedLive),
        Layer.provide(Router.layer({ default: Router.backend })),
        Layer.provideMerge(TestWorker.backend),
        Layer.provideMerge(door)
      )
      yield* Effect.gen(function*() {
        assert.strictEqual(yield* TestWorker.run(OrderPlaced, order), "note-7")
        const [invoice] = yield* TestWorker.enqueued(InvoiceDue)
        assert.deepInclude(invoice, { queue: "invoices", origin: "handler" })
        assert.deepStrictEqual(invoice?.payload, order)
        const [note] = yield* TestWorker.enqueued(Noted)
        assert.deepInclude(note, { id: "note-7", payload: { parameters: { kind: "order" }, headers: { by: "shop" } } })
      }).pipe(Effect.provide(TestLive))
      assert.deepStrictEqual(passed, ["orders.{id}", "invoices.{id}", "audit.{kind}"])
    }))

  it.effect("a failure surfaces at the emission, where it can be caught; uncaught, it fails the attempt", () =>
    Effect.gen(function*() {
      const sent: Array<string> = []
      const refuse = (name: string) => Router.sender({ name, send: () => Effect.fail(broken(`${name} is down`)) })
      const run = (routes: Record<string, Router.Sender<never, Backend>>) =>
        TestWorker.run(OrderPlaced, order, { outcomes: true }).pipe(
          Effect.provide(
            TestWorker.layer(App).pipe(
              Layer.provide(OrderPlacedLive),
              Layer.provide(Router.layer({ routes })),
              Layer.provideMerge(TestWorker.backend)
            )
          )
        )
      const good = Router.sender({ name: "good", send: ({ address }) => Effect.sync(() => sent.push(address)) })
      const caught = yield* run({ "invoices.{id}": good, "audit.{kind}": refuse("audit") })
      assert.deepStrictEqual(
        caught.outcome._tag === "Succeeded" && caught.outcome.exit,
        Exit.succeed("not noted: audit is down")
      )
      const failed = yield* run({ "invoices.{id}": refuse("bank"), "audit.{kind}": good })
      assert.strictEqual(failed.outcome._tag, "Retried")
      assert.include(failed.outcome._tag === "Retried" ? failed.outcome.error : "", "bank is down")
      assert.deepStrictEqual(sent, ["invoices.7"])
    }))

  it.effect("an address without a route, or a message that does not fit, fails with a type that names it", () =>
    Effect.gen(function*() {
      const unrouted = yield* Effect.flip(Channel.send(InvoiceDue, order))
      assert.strictEqual(unrouted._tag, "windlass/InvalidEnqueue")
      assert.include(unrouted.message, "no route for address invoices.7")
      const misfit = yield* Effect.flip(
        Channel.send(InvoiceDue, { ...order, payload: { total: "9" as unknown as number } })
      )
      assert.strictEqual(misfit._tag === "windlass/InvalidEnqueue" && misfit.reason, "Payload")
      const delayed = yield* Effect.flip(
        Channel.send(Noted, { parameters: { kind: "k" }, headers: { by: "me" } }).pipe(Enqueue.delay("1 minute"))
      )
      assert.strictEqual(delayed._tag === "windlass/InvalidEnqueue" && delayed.reason, "DelayTooLong")
    }).pipe(
      Effect.provide(
        Router.layer({ routes: { "audit.{kind}": Router.sender({ name: "log", send: () => Effect.void }) } }).pipe(
          Layer.provideMerge(MemoryBackend.layer)
        )
      )
    ))

  it.effect("a broker of one's own gets address, headers and payload as others write them", () =>
    Effect.gen(function*() {
      const out: Array<Router.Outgoing> = []
      const kafka = Router.sender({ name: "kafka", send: (message) => Effect.sync(() => out.push(message)) })
      yield* Channel.send(InvoiceDue, order).pipe(
        Enqueue.id("i1"),
        Enqueue.group("customer-1"),
        Effect.provide(Layer.merge(Router.layer({ default: kafka }), MemoryBackend.layer))
      )
      assert.deepStrictEqual(out.map(({ item, ...message }) => ({ ...message, group: item.group })), [
        { id: "i1", address: "invoices.7", headers: {}, payload: "{\"total\":9}", group: "customer-1" }
      ])
    }))
})

describe("a router", () => {
  const tracked = (trace: Array<string>, name: string, fails = false) =>
    Effect.acquireRelease(
      Effect.suspend(() => {
        trace.push(`open ${name}`)
        return fails ? Effect.fail(`${name} does not open`) : Effect.void
      }),
      () => Effect.sync(() => void trace.push(`close ${name}`))
    ).pipe(
      Effect.andThen(Router.sender({ name, send: () => Effect.sync(() => void trace.push(`send ${name}`)) }))
    )

  it.effect("opens all senders at its start and closes them with it in reverse (L2); the most specific route is taken", () =>
    Effect.gen(function*() {
      const trace: Array<string> = []
      const layer = Router.layer({
        routes: {
          "{kind}.{id}": tracked(trace, "any"),
          "invoices.{id}": tracked(trace, "bills"),
          "invoices.1": tracked(trace, "first")
        },
        default: tracked(trace, "default")
      })
      const send = (id: string) => Channel.send(InvoiceDue, { parameters: { id }, payload: { total: 1 } })
      class Other extends Channel.make("a.b.c") {}
      yield* Effect.gen(function*() {
        yield* send("2")
        yield* send("1")
        yield* Channel.send(Noted, { parameters: { kind: "k" }, headers: { by: "b" } })
        yield* Channel.send(Other, {})
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(trace, [
        ...["any", "bills", "first", "default"].map((name) => `open ${name}`),
        ...["bills", "first", "any", "default"].map((name) => `send ${name}`),
        ...["default", "first", "bills", "any"].map((name) => `close ${name}`)
      ])
    }))

  it.effect("one sender that does not open closes those before it and fails the layer (L1)", () =>
    Effect.gen(function*() {
      const trace: Array<string> = []
      const layer = Router.layer({
        routes: { a: tracked(trace, "a"), b: tracked(trace, "b", true), c: tracked(trace, "c") }
      })
      const failure = yield* Effect.flip(Effect.scoped(Layer.build(layer)))
      assert.strictEqual(failure, "b does not open")
      assert.deepStrictEqual(trace, ["open a", "open b", "close a"])
    }))

  it.effect("routes that are undecided are refused before anything is opened", () =>
    Effect.gen(function*() {
      const trace: Array<string> = []
      const layer = Router.layer({ routes: { "a.{x}": tracked(trace, "a"), "{x}.b": tracked(trace, "b") } })
      const failure = yield* Effect.flip(Effect.scoped(Layer.build(layer)))
      assert.instanceOf(failure, Channel.InvalidAddress)
      assert.deepStrictEqual(trace, [])
    }))

  it.effect("a backend of a route's own is another queue than that of the program", () =>
    Effect.gen(function*() {
      const scope = yield* Effect.scope
      const other = yield* Layer.buildWithScope(MemoryBackend.layer, scope)
      const ids = yield* Effect.gen(function*() {
        const invoice = yield* Channel.send(InvoiceDue, order)
        const note = yield* Channel.send(Noted, { parameters: { kind: "k" }, headers: { by: "b" } })
        const inspect = yield* Capability.Inspect
        return [yield* inspect.get(invoice), yield* inspect.get(note)].map((job) => job._tag)
      }).pipe(
        Effect.provide(
          Router.layer({
            routes: { "invoices.{id}": Router.backendOf(Layer.succeedContext(other)) },
            default: Router.backend
          }).pipe(Layer.provideMerge(MemoryBackend.layer))
        )
      )
      assert.deepStrictEqual(ids, ["None", "Some"])
      const counts = yield* Context.get(other, Capability.Inspect).counts("invoices")
      assert.strictEqual(counts.ready, 1)
    }))
})

// ------------------------------------------------------------------------------------------------------ several services

const services = (seen: Array<string>) => {
  class BillOrder
    extends Channel.make("orders.{id}", { name: "BillOrder", payload: { total: Schema.Number }, queue: "bus-billing" })
  {}
  class ShipFirst extends Channel.make("orders.1", { name: "ShipFirst", queue: "bus-shipping" }) {}
  class ShipAny extends Channel.make("orders.{id}", { name: "ShipAny", queue: "bus-shipping" }) {}
  class Audit extends Channel.make("{kind}.{id}", { name: "Audit", queue: "bus-audit" }) {}
  const note = (text: string) => Effect.sync(() => void seen.push(text))
  return {
    groups: {
      billing: TaskGroup.make(BillOrder),
      shipping: TaskGroup.make(ShipFirst, ShipAny),
      audit: TaskGroup.make(Audit)
    },
    worker: Worker.layer(TaskGroup.make(BillOrder, ShipFirst, ShipAny, Audit)).pipe(
      Layer.provide([
        BillOrder.toLayer(({ parameters, payload }) => note(`bill ${parameters.id}: ${payload.total}`)),
        ShipFirst.toLayer(() => note("ship the first")),
        ShipAny.toLayer(({ parameters }) => note(`ship ${parameters.id}`)),
        Audit.toLayer(({ parameters }) => note(`audit ${parameters.kind} ${parameters.id}`))
      ])
    )
  }
}

class Event extends Channel.make("{kind}.{id}", { name: "Event", payload: { total: Schema.Number } }) {}

describe("services that subscribe", () => {
  everywhere(
    "a message reaches every service with a channel for its address, each by its most specific one",
    () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const { groups, worker } = services(seen)
        const events = yield* follow(yield* startWorker(worker))
        yield* Effect.gen(function*() {
          const send = (kind: string, id: string) =>
            Channel.send(Event, { parameters: { kind, id }, payload: { total: 5 } }).pipe(Enqueue.id(`${kind}-${id}`))
          yield* send("orders", "1")
          yield* send("orders", "2")
          yield* send("bills", "3")
          yield* events.until("Succeeded", { count: 7 })
        }).pipe(Effect.provide(Router.layer({ default: Router.subscribers(groups) })))
        assert.deepStrictEqual(seen.toSorted(), [
          "audit bills 3",
          "audit orders 1",
          "audit orders 2",
          "bill 1: 5",
          "bill 2: 5",
          "ship 2",
          "ship the first"
        ])
      })
  )

  it.effect("a message that was sent again after a failure reaches the services that are left, and no other twice (L4)", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const { groups } = services(seen)
      const faults = yield* Faults.Faults
      const send = Channel.send(Event, { parameters: { kind: "orders", id: "2" }, payload: { total: 5 } }).pipe(
        Enqueue.id("e1")
      )
      const router = Router.layer({ default: Router.subscribers(groups) })
      yield* faults.failNext("publish", { nth: 2 })
      const failure = yield* Effect.flip(Effect.provide(send, router))
      assert.strictEqual(failure._tag, "windlass/BackendError")
      yield* Effect.provide(send, router)
      const inspect = yield* Capability.Inspect
      for (const queue of ["bus-billing", "bus-shipping", "bus-audit"]) {
        assert.strictEqual((yield* inspect.counts(queue)).ready, 1, queue)
      }
    }).pipe(Effect.provide(Faults.layer(MemoryBackend.layer))))

  it.effect("a message that every service has is a duplicate, by its id and by its unique key", () =>
    Effect.gen(function*() {
      const send = (id: string) =>
        Channel.send(Event, { parameters: { kind: "orders", id: "2" }, payload: { total: 5 } }).pipe(
          Enqueue.id(id),
          Enqueue.uniqueBy("order 2")
        )
      assert.strictEqual(yield* send("e1"), "e1")
      assert.strictEqual(yield* send("e1"), "e1")
      const clash = yield* Effect.flip(send("e2"))
      assert.strictEqual(clash._tag === "windlass/AlreadyEnqueued" && clash.existing, "e1")
      assert.strictEqual((yield* (yield* Capability.Inspect).counts("bus-audit")).ready, 1)
    }).pipe(
      Effect.provide(
        Router.layer({ default: Router.subscribers(services([]).groups) }).pipe(Layer.provideMerge(MemoryBackend.layer))
      )
    ))

  it.effect("a message passes the enqueue point once, however many services subscribe (L7)", () =>
    Effect.gen(function*() {
      const passed: Array<string> = []
      const door = Enqueue.layer((next, batch) => {
        passed.push(...batch.items.map((item) => `${batch.task} ${item.envelope.id}`))
        return next({
          ...batch,
          items: batch.items.map((item) => ({
            ...item,
            envelope: { ...item.envelope, headers: { ...item.envelope.headers, door: "passed" } }
          }))
        })
      })
      const inspect = yield* Capability.Inspect
      const { groups } = services([])
      yield* Channel.send(Event, { parameters: { kind: "orders", id: "2" }, payload: { total: 5 } }).pipe(
        Enqueue.id("e1"),
        Effect.provide(Layer.merge(Router.layer({ default: Router.subscribers(groups) }), door))
      )
      assert.deepStrictEqual(passed, ["Event e1"])
      for (const id of ["e1/billing", "e1/shipping", "e1/audit"]) {
        const job = yield* inspect.get(id)
        assert.strictEqual(job._tag === "Some" ? job.value.envelope.headers["door"] : job._tag, "passed")
      }
    }).pipe(Effect.provide(MemoryBackend.layer)))

  it.effect("what nobody subscribes to fails where it is sent, unless it may be dropped", () =>
    Effect.gen(function*() {
      const { groups } = services([])
      class Lonely extends Channel.make("nobody") {}
      const send = (options?: { readonly unheard: "drop" }) =>
        Effect.provide(Channel.send(Lonely, {}), Router.layer({ default: Router.subscribers(groups, options) }))
      const failure = yield* Effect.flip(send())
      assert.include(failure.message, "no service subscribes to address nobody")
      yield* send({ unheard: "drop" })
      assert.deepStrictEqual(yield* (yield* Capability.Inspect).queues, [])
    }).pipe(Effect.provide(MemoryBackend.layer)))

  it.effect("two services that would take each other's messages are refused, and so is a half at the enqueue point", () =>
    Effect.gen(function*() {
      class Marked extends Middleware.Service<Marked>()("test/Marked", { enqueue: true }) {}
      const shared = Channel.make("a.{x}")
      const marked = Channel.make("b", { middleware: [Marked] })
      const open = (services: Parameters<typeof Router.subscribers>[0]) =>
        Effect.flip(Effect.scoped(Layer.build(Router.layer({ default: Router.subscribers(services) }))))
      const taken = yield* open({ one: TaskGroup.make(shared), two: TaskGroup.make(shared) })
      assert.include(taken.message, "services one and two")
      assert.include((yield* open({ one: TaskGroup.make(marked) })).message, "half at the enqueue point")
      const undecided = TaskGroup.make(Channel.make("{x}.b"), Channel.make("a.{x}"))
      assert.instanceOf(yield* open({ one: undecided }), Channel.InvalidAddress)
    }).pipe(Effect.provide(MemoryBackend.layer)))
})
