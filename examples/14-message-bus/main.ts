/**
 * 14: a message bus. Three services subscribe to addresses, each by patterns of its own; who sends does not know who
 * listens. One backend carries the messages between them, and a few lines lead what is for another broker there.
 *
 *     node --conditions=windlass-source examples/14-message-bus/main.ts
 *
 * Here all of them run in one process on the memory backend. As processes of their own they are `Worker.run` of one
 * worker layer each on a backend that they share, and this program is the same.
 */
import { Console, Deferred, Effect, Layer, References, Stream } from "effect"
import { BackendError } from "windlass/Backend"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Channel from "windlass/bus/Channel"
import * as Router from "windlass/bus/Router"
import * as Worker from "windlass/Worker"
import { OrderPlaced } from "./contracts.ts"
import { Auditing, AuditingWorker, Billing, BillingWorker, Shipping, ShippingWorker } from "./services.ts"

/** a broker that is none of ours: its connection lives as long as the router */
const pager = Effect.acquireRelease(Console.log("pager: connected"), () => Console.log("pager: closed")).pipe(
  Effect.andThen(Router.sender({
    name: "pager",
    send: ({ address, payload }) =>
      payload.includes("9999")
        ? Effect.fail(
          new BackendError({
            backend: "pager",
            operation: "publish",
            message: "too loud",
            retryable: false,
            outcome: "NotApplied"
          })
        )
        : Console.log(`pager: ${address} ${payload}`)
  }))
)

const RouterLive = Router.layer({
  routes: { "alerts.{level}": pager },
  default: Router.subscribers({ billing: Billing, shipping: Shipping, audit: Auditing })
})

const place = (region: "eu" | "us", id: number, total: number) =>
  Channel.send(OrderPlaced, { parameters: { region, id }, headers: { "x-customer": "ada" }, payload: { total } })

/** starts the three workers, and ends when they have done so many jobs */
const until = (jobs: number) =>
  Effect.gen(function*() {
    const done = yield* Deferred.make<void>()
    let count = 0
    for (const worker of [BillingWorker, ShippingWorker, AuditingWorker]) {
      const context = yield* Layer.build(worker)
      const follow = Stream.runForEach(Stream.provideContext(Worker.events, context), (event) =>
        event._tag === "Succeeded" && ++count === jobs ? Deferred.succeed(done, undefined) : Effect.void)
      yield* Effect.forkScoped(follow, { startImmediately: true })
    }
    return Deferred.await(done)
  })

await Effect.runPromise(
  Effect.gen(function*() {
    // an order is billed, shipped, and its invoice audited
    for (const [region, id, total] of [["eu", 1, 20], ["us", 2, 5_000], ["us", 3, 9_999]] as const) {
      yield* Effect.scoped(Effect.gen(function*() {
        const over = yield* until(3)
        yield* place(region, id, total)
        yield* over
      }))
    }
  }).pipe(
    Effect.provide(RouterLive.pipe(Layer.provideMerge(MemoryBackend.layer))),
    Effect.provideService(References.MinimumLogLevel, "Fatal")
  )
)
