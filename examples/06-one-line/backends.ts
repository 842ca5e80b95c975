/** The four backends, each as `main` would name it. The clients of Postgres and Redis are Effect's own. */
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import { PgClient } from "@effect/sql-pg"
import { Layer, Redacted } from "effect"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as PostgresBackend from "windlass/backends/PostgresBackend"
import * as RedisBackend from "windlass/backends/RedisBackend"
import * as SqliteBackend from "windlass/backends/SqliteBackend"

// a file, a schema, a prefix of this example's own
const space = process.argv[3] ?? "windlass_06"
const postgres = process.env["WINDLASS_POSTGRES_URL"] ?? "postgres://postgres@127.0.0.1:5432/postgres"
const redis = process.env["WINDLASS_REDIS_URL"] ?? "redis://127.0.0.1:6379"

export const memory = MemoryBackend.layer

export const sqlite = SqliteBackend.layer({ filename: join(tmpdir(), `${space}.db`) })

export const postgresql = PostgresBackend.layer({ schema: space }).pipe(
  Layer.provide(PgClient.layer({ url: Redacted.make(postgres) }))
)

export const inRedis = RedisBackend.layer({ prefix: space }).pipe(Layer.provide(NodeRedis.layer({ url: redis })))
