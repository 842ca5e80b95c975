/**
 * 10: AsyncFast's page on middleware, ported: a channel, a timing middleware around every message and around the life of
 * the program, two more whose order shows, a dependency that is closed before any middleware goes on, and the document.
 *
 *     node --conditions=windlass-source examples/10-channels/main.ts
 *     node --conditions=windlass-source src/asyncapi/internal/main.ts examples/10-channels/app.ts#App
 */
import { Clock, Console, Effect, Layer, References } from "effect"
import * as AsyncApi from "windlass/asyncapi/AsyncApi"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import type * as Middleware from "windlass/Middleware"
import * as Worker from "windlass/Worker"
import { App, HandleOrder, Timing } from "./app.ts"

const timed = <A, E, R>(what: string, effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const start = yield* Clock.currentTimeMillis
    return yield* Effect.onExit(effect, () =>
      Effect.flatMap(Clock.currentTimeMillis, (end) => Console.log(`${what} handled in ${end - start} ms`)))
  })

/** around the lifespan by its layer, around every message by its wrap */
const TimingLive = Layer.effect(
  Timing,
  Effect.gen(function*() {
    const start = yield* Clock.currentTimeMillis
    yield* Effect.addFinalizer(() =>
      Effect.flatMap(Clock.currentTimeMillis, (end) => Console.log(`lifespan handled in ${end - start} ms`))
    )
    const wrap: Middleware.Wrap = (next, input) => timed("message", next(input))
    return wrap
  })
)

const HandleOrderLive = HandleOrder.toLayer(Effect.fnUntraced(function*({ payload }) {
  // what is acquired here belongs to the run: it is closed before any middleware goes on
  yield* Effect.acquireRelease(Console.log("    open connection"), () => Console.log("    close connection"))
  yield* Console.log(`    processing order ${payload}`)
}))

const worker = Worker.layer(App, { mode: "drain", concurrency: 1 }).pipe(
  Layer.provide(HandleOrderLive),
  Layer.provide(TimingLive)
)

await Effect.runPromise(
  Effect.gen(function*() {
    yield* HandleOrder.enqueue({ payload: 12 })
    yield* HandleOrder.enqueue({ payload: 13 })
    const report = yield* Worker.launch(worker)
    yield* Console.log(`${report.succeeded} succeeded`)
  }).pipe(
    Effect.provide(MemoryBackend.layer),
    Effect.provideService(References.MinimumLogLevel, "Fatal")
  )
)

console.log(JSON.stringify(AsyncApi.fromGroup(App, { title: "AsyncFast", version: "0.1.0" }), null, 2))
