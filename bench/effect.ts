/**
 * The persisted queue of Effect itself. It has no bulk offer; a taker is a fiber. Its stores in Redis and SQL are told of
 * nothing and look every `pollInterval` (the documentation of `layerStoreRedis` and `layerStoreSql`), 1 second when absent.
 */
import "./compiled.ts"
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, Fiber, Layer, ManagedRuntime, Redacted, Schema } from "effect"
import * as PersistedQueue from "effect/persistence/PersistedQueue"
import type { Contender, Engine, Place } from "./contender.ts"
import { lanes } from "./lanes.ts"

const schema = Schema.Struct({ i: Schema.Number, to: Schema.String, t: Schema.Number })

const stores: Partial<Record<Engine, (place: Place) => Layer.Layer<PersistedQueue.PersistedQueueStore, unknown>>> = {
  memory: () => PersistedQueue.layerStoreMemory,
  redis: (place) =>
    PersistedQueue.layerStoreRedis({ prefix: `${place.name}:`, pollInterval: "10 millis" }).pipe(
      Layer.provide(NodeRedis.layer({ url: `redis://${place.redis.host}:${place.redis.port}` }))
    ),
  postgres: (place) =>
    PersistedQueue.layerStoreSql({ tableName: `${place.name}_queue`, pollInterval: "10 millis" }).pipe(
      Layer.provide(PgClient.layer({ url: Redacted.make(place.postgres) }))
    )
}

export const contenders: ReadonlyArray<Contender> = Object.entries(stores).map(([engine, store]) => ({
  name: "Effect PersistedQueue",
  engine: engine as Engine,
  settings: `${engine === "memory" ? "defaults" : "pollInterval 10 ms (when absent: 1 second)"}, schemas compiled`,
  open: async (place) => {
    const runtime = ManagedRuntime.make(PersistedQueue.layer.pipe(Layer.provide(store(place))))
    const queue = await runtime.runPromise(PersistedQueue.make({ name: "bench", schema }))
    return {
      enqueueEach: (payloads, inFlight) =>
        runtime.runPromise(
          lanes(payloads, inFlight, (payload) => queue.offer(payload))
        ),
      work: async (concurrency, onJob) => {
        const taker = Effect.forever(queue.take((payload) => Effect.sync(() => onJob(payload))))
        const fiber = runtime.runFork(
          Effect.forEach(Array.from({ length: concurrency }), () => taker, { concurrency: "unbounded", discard: true })
        )
        return { stop: () => Effect.runPromise(Fiber.interrupt(fiber)) }
      },
      close: () => runtime.dispose()
    }
  }
}))
