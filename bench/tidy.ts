/** What the cells of a run left behind: their schemas, tables and keys. */
import * as PgConnection from "@effect/sql-pg/PgConnection"
import { Effect, Redacted } from "effect"
import { createClient } from "redis"

export const tidy = async (
  up: Readonly<Record<string, boolean>>,
  { postgres, prefix, redis }: { readonly postgres: string; readonly redis: URL; readonly prefix: string }
): Promise<void> => {
  if (up["postgres"]) {
    await Effect.runPromise(Effect.scoped(Effect.gen(function*() {
      const connection = yield* PgConnection.make({ url: Redacted.make(postgres) })
      const names = yield* connection.queryValues(
        `SELECT 'SCHEMA ' || quote_ident(nspname) FROM pg_namespace WHERE starts_with(nspname, $1)
          UNION ALL SELECT 'TABLE ' || quote_ident(tablename) FROM pg_tables WHERE starts_with(tablename, $1)`,
        [prefix]
      )
      for (const [name] of names) yield* connection.queryValues(`DROP ${String(name)} CASCADE`, [])
    })))
  }
  if (up["redis"]) {
    const client = await createClient({ url: redis.href }).connect()
    for await (const keys of client.scanIterator({ MATCH: `*${prefix}*`, COUNT: 1_000 })) {
      if (keys.length > 0) await client.unlink(keys)
    }
    client.destroy()
  }
}
