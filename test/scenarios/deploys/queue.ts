/**
 * The queue that the two versions share: named on the command line, so that parent and children open the same one. Ended
 * jobs stay for an hour, with their history.
 */
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { Backend } from "windlass/Backend"
import * as PostgresBackend from "windlass/backends/PostgresBackend"
import * as RedisBackend from "windlass/backends/RedisBackend"
import * as SqliteBackend from "windlass/backends/SqliteBackend"
import type * as Capability from "windlass/Capability"

export interface Place {
  readonly engine: "sqlite" | "postgres" | "redis"
  /** a file, or the address of a server */
  readonly where: string
  /** a schema or a prefix on that server */
  readonly space: string
}

export type Services = Backend | Capability.AllButTransactional

const retention = { successes: "1 hour", failures: "1 hour" } as const

export const open = ({ engine, space, where }: Place): Layer.Layer<Services, unknown> => {
  switch (engine) {
    case "sqlite":
      return SqliteBackend.layer({ filename: where, retention })
    case "postgres":
      return PostgresBackend.layer({ schema: space, retention }).pipe(
        Layer.provide(PgClient.layer({ url: Redacted.make(where) }))
      )
    case "redis":
      return RedisBackend.layer({ prefix: space, retention }).pipe(Layer.provide(NodeRedis.layer({ url: where })))
  }
}
