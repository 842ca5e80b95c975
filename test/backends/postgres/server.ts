/**
 * The Postgres server of the tests: found once per file, a schema of its own for every layer, which is dropped after it.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { SqlError } from "effect/sql/SqlError"
import type { BackendError } from "windlass/Backend"
import * as PostgresBackend from "windlass/backends/PostgresBackend"
import { findPostgres, Missing, type Service } from "../../support/services.ts"

/** the server, or why there is none */
export const found: Service | string = await findPostgres().catch((error: unknown) => {
  // in CI what is missing is a failure of the file
  if (!(error instanceof Missing) || (process.env["CI"] ?? "") !== "") throw error
  return error.message
})

export const postgres: Service = typeof found === "string" ? { url: "postgres://127.0.0.1:1/none", found } : found

export const freshSchema = (): string => `wltest_${Math.random().toString(36).slice(2, 12)}`

export const client = (
  options: Partial<PgClient.PgPoolConfig> = {}
): Layer.Layer<PgClient.PgClient, SqlError> => PgClient.layer({ url: Redacted.make(postgres.url), ...options })

/** drops the schema when the layer ends; a test whose schema stays is a failed test */
export const dropped = (schema: string): Layer.Layer<never, never, PgClient.PgClient> =>
  Layer.effectDiscard(Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    yield* Effect.addFinalizer(() =>
      // the name as it is: a client that transforms names would drop another one, which is not there. And a connection that a
      // test has killed is found dead by its next use
      sql.unsafe(`DROP SCHEMA IF EXISTS "${schema}" CASCADE`).pipe(Effect.retry({ times: 4 }), Effect.orDie)
    )
  }))

/** a backend in a schema of its own, on a client that is there as well */
export const backend = (
  options: PostgresBackend.Options = {},
  clientOptions: Partial<PgClient.PgPoolConfig> = {}
): Layer.Layer<PostgresBackend.Services | PgClient.PgClient, SqlError | BackendError> =>
  Layer.suspend(() => {
    const schema = options.schema ?? freshSchema()
    return PostgresBackend.layer({ ...options, schema }).pipe(
      Layer.provideMerge(dropped(schema)),
      Layer.provideMerge(client(clientOptions))
    )
  })
