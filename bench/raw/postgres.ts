/**
 * The limit of Postgres: jobs leave their table when they are claimed, as one row that holds the whole batch until it is
 * settled; batches of 100, the last one settled and the next one claimed in one statement, one connection. No runtime, no
 * tasks, no history, no keys, no leases, and no job of a batch can be settled or found without the others: only the rows.
 */
import * as PgConnection from "@effect/sql-pg/PgConnection"
import { Effect, Exit, Redacted, Scope } from "effect"
import type { Contender, Payload } from "../contender.ts"

const size = 100

export const contenders: ReadonlyArray<Contender> = [{
  name: "raw statements",
  engine: "postgres",
  settings:
    "batches of 100, each one row while it runs, settle the last and claim the next in one statement, one connection",
  open: async (place) => {
    const scope = Scope.makeUnsafe()
    const connect = () =>
      Effect.runPromise(Scope.provide(PgConnection.make({ url: Redacted.make(place.postgres) }), scope))
    const connection = await connect()
    const s = place.name
    const run = (sql: string, values: ReadonlyArray<unknown> = [], on = connection) =>
      Effect.runPromise(on.queryValues(sql, values))
    await run(`CREATE SCHEMA ${s}`)
    await run(`CREATE SEQUENCE ${s}.seq`)
    await run(
      `CREATE TABLE ${s}.ready (queue int4, rank int2, pos int8 DEFAULT nextval('${s}.seq'), id text NOT NULL, payload text NOT NULL,
        PRIMARY KEY (queue, rank, pos)) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)`
    )
    await run(
      `CREATE TABLE ${s}.claim (num int8 DEFAULT nextval('${s}.seq') PRIMARY KEY, nums int8[] NOT NULL, ids text[] NOT NULL,
        payloads text[] NOT NULL, worker int8)
        WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500)`
    )
    const insert = `INSERT INTO ${s}.ready (queue, rank, id, payload)
      SELECT 1, 0, id, payload FROM unnest($1::text[], $2::text[]) AS x(id, payload)`
    const exchange = `WITH settled AS (DELETE FROM ${s}.claim WHERE num = $1::int8),
      taken AS (DELETE FROM ${s}.ready WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM ${s}.ready WHERE queue = 1 AND rank = 0 AND pos > $2::int8 ORDER BY queue, rank, pos LIMIT ${size}
        FOR UPDATE SKIP LOCKED)) RETURNING pos, id, payload),
      claimed AS (INSERT INTO ${s}.claim (nums, ids, payloads, worker)
        SELECT array_agg(pos), array_agg(id), array_agg(payload), 1 FROM taken HAVING count(*) > 0 RETURNING num)
      SELECT pos::float8, payload, num::float8 FROM taken, claimed ORDER BY pos`
    const literal = (values: ReadonlyArray<string>) =>
      `{${values.map((value) => `"${value.replace(/[\\"]/g, "\\$&")}"`).join()}}`
    return {
      enqueueEach: async (payloads) => {
        for (const payload of payloads) await run(insert, [`{${payload.i}}`, literal([JSON.stringify(payload)])])
      },
      enqueueMany: async (payloads) => {
        for (let n = 0; n < payloads.length; n += 1_000) {
          const some = payloads.slice(n, n + 1_000)
          await run(insert, [`{${some.map(({ i }) => i).join()}}`, literal(some.map((p) => JSON.stringify(p)))])
        }
      },
      work: async (_, onJob) => {
        const own = await connect()
        const stopped = new AbortController()
        const loop = (async () => {
          let done = 0
          let floor = 0
          while (!stopped.signal.aborted) {
            const rows = await run(exchange, [String(done), String(floor)], own)
            if (rows.length === 0) await new Promise((resolve) => setTimeout(resolve, 1))
            else [floor, , done] = rows.at(-1) as [number, string, number]
            for (const [, payload] of rows) onJob(JSON.parse(payload as string) as Payload)
          }
        })()
        return {
          stop: () => {
            stopped.abort()
            return loop
          }
        }
      },
      close: () => Effect.runPromise(Scope.close(scope, Exit.void))
    }
  }
}]
