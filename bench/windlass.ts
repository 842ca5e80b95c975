/**
 * Ours: bare, and with three real middlewares on: one that provides a service and holds a scoped resource, hooks around the
 * run, and the timing that ships. Payloads are decoded by their schema in both. Nothing is set but the worker's concurrency,
 * and that schemas are compiled (`compiled.ts`).
 *
 * A worker whose jobs end at once claims more of them than it has slots, and over a network one such batch ahead; who wants
 * none of that says `claimAhead: false` ("never ahead"). Claims and settlements come in batches as far as slots are free
 * together. Who wants a round trip for every job limits the batches of the backend to one (`limits` of its options), and has
 * several under way with more connections.
 */
import "./compiled.ts"
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Context, Effect, Fiber, Layer, Logger, ManagedRuntime, Redacted, Schema } from "effect"
import { join } from "node:path"
import type { Backend } from "windlass/Backend"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as PostgresBackend from "windlass/backends/PostgresBackend"
import * as RedisBackend from "windlass/backends/RedisBackend"
import * as SqliteBackend from "windlass/backends/SqliteBackend"
import * as Middleware from "windlass/Middleware"
import * as Timing from "windlass/middleware/Timing"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { chunks, type Contender, type Engine, type Payload, type Place, type Queue } from "./contender.ts"
import { lanes } from "./lanes.ts"

const payload = { i: Schema.Number, to: Schema.String, t: Schema.Number }

class Connection extends Context.Service<Connection, { readonly id: number }>()("bench/Connection") {}
class WithConnection extends Middleware.Service<WithConnection, { provides: Connection }>()("bench/WithConnection") {}

class Bare extends Task.make("Bare", { payload }) {}
class Three extends Task.make("Three", {
  payload,
  middleware: [
    WithConnection,
    Middleware.make("hooks", Middleware.hooks({ before: () => Effect.succeed(1), after: () => Effect.void }))
  ]
}) {}

let open = 0
const WithConnectionLive = Layer.succeed(
  WithConnection,
  Middleware.hooks({
    provides: Connection,
    before: () => Effect.acquireRelease(Effect.sync(() => ({ id: ++open })), () => Effect.sync(() => open--))
  })
)

type Kind = "three" | "bare" | "single" | "careful"

const backends: Record<Engine, (place: Place, kind: Kind) => Layer.Layer<Backend, unknown>> = {
  memory: () => MemoryBackend.layer,
  sqlite: (place) => SqliteBackend.layer({ filename: join(place.folder, `${place.name}.db`) }),
  postgres: (place, kind) =>
    PostgresBackend.layer({
      schema: place.name,
      ...(kind === "single" ? { connections: 6, limits: { takeBatch: 1, settleBatch: 1 } } : {})
    }).pipe(
      Layer.provide(PgClient.layer({ url: Redacted.make(place.postgres) }))
    ),
  redis: (place) =>
    RedisBackend.layer({ prefix: place.name }).pipe(
      Layer.provide(NodeRedis.layer({ url: `redis://${place.redis.host}:${place.redis.port}` }))
    )
}

const queueOf = async (place: Place, engine: Engine, kind: Kind): Promise<Queue> => {
  const runtime = ManagedRuntime.make(Layer.merge(backends[engine](place, kind), Logger.layer([])))
  await runtime.context()
  const task = kind === "bare" ? Bare : Three
  return {
    enqueueEach: (payloads, inFlight) =>
      runtime.runPromise(
        lanes(payloads, inFlight, (payload) => task.enqueue(payload))
      ),
    enqueueMany: (payloads) =>
      runtime.runPromise(Effect.forEach(chunks(payloads, 1_000), (some) => task.enqueueMany(some), { discard: true })),
    work: async (concurrency, onJob: (payload: Payload) => void) => {
      const worker = kind === "bare"
        ? Worker.layer(TaskGroup.make(Bare), { concurrency }).pipe(
          Layer.provide(Bare.toLayer((payload) => Effect.sync(() => onJob(payload))))
        )
        : Worker.layer(TaskGroup.make(Three), {
          concurrency,
          claimAhead: kind !== "careful",
          middleware: [Timing.observer({ onTiming: () => undefined })]
        }).pipe(
          Layer.provide(
            Three.toLayer((payload) => Effect.andThen(Connection, Effect.sync(() => onJob(payload))))
          ),
          Layer.provide(WithConnectionLive)
        )
      const fiber = runtime.runFork(Worker.launch(worker))
      return { stop: () => Effect.runPromise(Fiber.interrupt(fiber)) }
    },
    close: () => runtime.dispose()
  }
}

const names: Record<Kind, string> = {
  three: "Windlass, three middlewares",
  bare: "Windlass, bare",
  single: "Windlass, a job per round trip",
  careful: "Windlass, never ahead"
}

const ours = (engine: Engine, kind: Kind): Contender => ({
  name: names[kind],
  engine,
  settings: kind === "single"
    ? "connections 6, limits: takeBatch 1, settleBatch 1; three middlewares; schemas compiled"
    : kind === "careful"
    ? "claimAhead false; three middlewares; schemas compiled"
    : "defaults, schemas compiled",
  open: (place) => queueOf(place, engine, kind)
})

export const contenders: ReadonlyArray<Contender> = [
  ...(["memory", "sqlite", "postgres", "redis"] as const).flatMap((engine) => [
    ours(engine, "three"),
    ours(engine, "bare")
  ]),
  ours("postgres", "single"),
  ours("sqlite", "careful"),
  ours("postgres", "careful"),
  ours("redis", "careful")
]
