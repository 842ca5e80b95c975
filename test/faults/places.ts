/**
 * Where jobs are in one fault: an engine, and a schema, prefix or file of the fault's own on it.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { Backend } from "windlass/Backend"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as SqliteBackend from "windlass/backends/SqliteBackend"
import type { AllButTransactional } from "windlass/Capability"
import type { Engine } from "./options.ts"

/** plain data: a child is told its place as JSON */
export interface Place {
  readonly engine: Engine
  /** of the server, or of the proxy before it; a file for SQLite */
  readonly url: string
  /** of the schema or of the prefix */
  readonly name: string
  /** milliseconds */
  readonly lease: number
  /** whether ended jobs stay inspectable, or are forgotten as they are by default: the engines take different paths */
  readonly keep: boolean
}

export type Services = Backend | AllButTransactional

export const layerOf = (place: Place): Layer.Layer<Services, unknown> => {
  const { keep, lease } = place
  const options = { lease, retention: keep ? { successes: Duration.days(1) } : {} }
  switch (place.engine) {
    case "memory":
      return MemoryBackend.layerWith(options)
    case "sqlite":
      return SqliteBackend.layer({ ...options, filename: place.url })
    case "postgres":
      return later(async () => {
        const [PostgresBackend, PgClient] = await Promise.all([
          import("windlass/backends/PostgresBackend"),
          import("@effect/sql-pg/PgClient")
        ])
        return PostgresBackend.layer({ ...options, schema: place.name, connections: 3 }).pipe(
          Layer.provide(PgClient.layer({ url: Redacted.make(place.url), maxConnections: 2, minConnections: 1 }))
        )
      })
    case "redis":
      return later(async () => {
        const [RedisBackend, NodeRedis] = await Promise.all([
          import("windlass/backends/RedisBackend"),
          import("@effect/platform-node/NodeRedis")
        ])
        return RedisBackend.layer({ ...options, prefix: place.name }).pipe(
          Layer.provide(NodeRedis.layer({ url: place.url }))
        )
      })
  }
}

/** a child loads the client of its engine, and no other */
const later = (load: () => Promise<Layer.Layer<Services, unknown>>): Layer.Layer<Services, unknown> =>
  Layer.unwrap(Effect.promise(load))
