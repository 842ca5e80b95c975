/**
 * What is Postgres' own at the start: the schema and its versions, rights, settings that make no sense; and the plans of
 * the hot statements.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Backend, type BackendError, type Item, type Settlement } from "windlass/Backend"
import * as PostgresBackend from "windlass/backends/PostgresBackend"
import * as Capability from "windlass/Capability"
import { migrate, type Migration, migrations } from "../../src/backends/postgres/migrate.ts"
import * as Names from "../../src/backends/postgres/names.ts"
import { freePort } from "../support/services.ts"
import { onPostgres } from "./postgres/here.ts"
import { backend, client, dropped, freshSchema, postgres } from "./postgres/server.ts"

const item = (id: string, options: Partial<Item> = {}): Item => ({
  envelope: { id, task: "T", version: 1, payload: "{}", headers: {}, origin: "user" },
  ...options
})

const succeeded: Settlement = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }

/** why the layer cannot be built */
const refused = (
  options: PostgresBackend.Options,
  clientOptions: Partial<PgClient.PgPoolConfig> = {}
): Effect.Effect<BackendError> =>
  Effect.scoped(Layer.build(PostgresBackend.layer(options).pipe(Layer.provide(client(clientOptions))))).pipe(
    Effect.matchEffect({
      onSuccess: () => Effect.die("the layer was built"),
      onFailure: (error) => error._tag === "windlass/BackendError" ? Effect.succeed(error) : Effect.die(error)
    })
  )

const roundTrip = Effect.gen(function*() {
  const one = yield* Backend
  yield* one.publish("q", [item("a")])
  const subscription = yield* one.subscribe("q", { worker: "w" })
  const [a] = yield* subscription.take(1)
  assert.deepStrictEqual(yield* subscription.settle([[a!.receipt, succeeded]]), ["Settled"])
})

/** a role that may log in and nothing else, for as long as the scope */
const role = Effect.acquireRelease(
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    const name = freshSchema()
    yield* sql`CREATE ROLE ${sql(name)} LOGIN`
    return name
  }),
  (name) =>
    Effect.flatMap(
      PgClient.PgClient,
      (sql) => Effect.ignore(Effect.andThen(sql`DROP OWNED BY ${sql(name)}`, sql`DROP ROLE ${sql(name)}`))
    )
)

const as = (name: string): Partial<PgClient.PgPoolConfig> => {
  const url = new URL(postgres.url)
  url.username = name
  return { url: Redacted.make(url.href) }
}

/** as a windlass with other migrations opens the schema */
const openWith = (schema: string, migrations: ReadonlyArray<Migration>, migrating = true) =>
  migrate({
    name: "postgres",
    names: Names.make(schema, ""),
    migrate: migrating,
    config: { url: Redacted.make(postgres.url) },
    migrations
  })

/** a version that is not written yet: it adds a table and counts those who make it */
const next: Migration = {
  release: "0.2.0",
  statements: ["CREATE TABLE {extra} (num int4)", "INSERT INTO {extra} VALUES (1)"]
}

onPostgres("the schema", () => {
  it.live("ten processes that start at once make one schema, and all of them work", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const layer = PostgresBackend.layer({ schema, connections: 2 })
      yield* Effect.forEach(
        Array.from({ length: 10 }, (_, n) => n),
        (n) =>
          Effect.gen(function*() {
            const one = yield* Backend
            yield* one.publish("q", [item(`${n}`)])
          }).pipe(
            Effect.provide(Layer.fresh(layer).pipe(Layer.provide(Layer.fresh(client({ maxConnections: 2 }))))),
            Effect.scoped
          ),
        { concurrency: "unbounded" }
      )
      const sql = yield* PgClient.PgClient
      assert.strictEqual((yield* sql`SELECT * FROM ${sql(schema)}.migration`).length, migrations.length)
      assert.strictEqual((yield* sql`SELECT * FROM ${sql(schema)}.job`).length, 10)
    }).pipe(Effect.scoped, Effect.provide(dropped(schema).pipe(Layer.provideMerge(client()))))
  })

  it.live("a newer schema is refused and left as it was", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql`INSERT INTO ${sql(schema)}.migration VALUES (99, now(), '9.0.0')`
      const error = yield* refused({ schema })
      assert.include(error.message, `the schema "${schema}" has version 99`)
      assert.include(error.message, "upgrade windlass")
      assert.isFalse(error.retryable)
      assert.strictEqual((yield* sql`SELECT * FROM ${sql(schema)}.migration`).length, migrations.length + 1)
    }).pipe(Effect.scoped, Effect.provide(backend({ schema })))
  })

  it.live("ten processes with a newer version bring the schema up to it once, and leave the jobs; older ones are refused then", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* (yield* Backend).publish("q", [item("a")])
      const newer = [...migrations, next]
      const mayNot = yield* Effect.flip(openWith(schema, newer, false))
      assert.include(mayNot.message, `has version ${migrations.length}, this windlass needs ${newer.length}`)
      yield* Effect.forEach(Array.from({ length: 10 }), () => openWith(schema, newer), { concurrency: "unbounded" })
      const releases = yield* sql<{ release: string }>`SELECT release FROM ${sql(schema)}.migration ORDER BY version`
      assert.deepStrictEqual(releases.map(({ release }) => release), newer.map(({ release }) => release))
      assert.strictEqual((yield* sql`SELECT * FROM ${sql(schema)}.extra`).length, 1)
      assert.strictEqual((yield* sql`SELECT * FROM ${sql(schema)}.job`).length, 1)
      yield* openWith(schema, newer, false)
      assert.include((yield* refused({ schema })).message, `the schema "${schema}" has version ${newer.length}`)
    }).pipe(Effect.scoped, Effect.provide(backend({ schema })))
  })

  it.live("a version that fails half-way leaves the schema as it was", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const broken = { ...next, statements: [...next.statements, "SELECT 1 / 0"] }
      assert.include((yield* Effect.flip(openWith(schema, [...migrations, broken]))).message, "division by zero")
      assert.strictEqual((yield* sql`SELECT * FROM ${sql(schema)}.migration`).length, migrations.length)
      yield* openWith(schema, [...migrations, next])
    }).pipe(Effect.scoped, Effect.provide(backend({ schema })))
  })

  it.live("a schema that a windlass made before its first release, or something else did, is refused and left as it was", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql`UPDATE ${sql(schema)}.migration SET release = '0.0.9'`
      const other = yield* refused({ schema })
      assert.include(other.message, `"${schema}"."migration" is of a windlass that was never released`)
      assert.isFalse(other.retryable)
      // the shape of the table until then, at a version that this windlass has too
      yield* sql`ALTER TABLE ${sql(schema)}.migration DROP COLUMN release`
      assert.strictEqual((yield* refused({ schema })).message, other.message)
      assert.strictEqual((yield* refused({ schema, migrate: false })).message, other.message)
      assert.strictEqual((yield* sql`SELECT * FROM ${sql(schema)}.migration`).length, migrations.length)
    }).pipe(Effect.scoped, Effect.provide(backend({ schema })))
  })

  it.live("two queues share a schema by their prefixes, beside tables of others", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql`CREATE SCHEMA ${sql(schema)}`
      yield* sql`CREATE TABLE ${sql(schema)}.job (mine int)`
      const counts = Effect.gen(function*() {
        yield* (yield* Backend).publish("q", [item("a")])
        return (yield* (yield* Capability.Inspect).counts("q")).ready
      })
      for (const prefix of ["a_", "b_"]) {
        const layer = PostgresBackend.layer({ schema, prefix })
        assert.strictEqual(yield* Effect.scoped(Effect.provide(counts, layer)), 1)
      }
    }).pipe(Effect.scoped, Effect.provide(dropped(schema).pipe(Layer.provideMerge(client()))))
  })

  it.live("the script makes the schema for a role that may only use it", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const name = yield* role

      const noSchema = yield* refused({ schema, migrate: false }, as(name))
      assert.include(noSchema.message, "PostgresBackend.script")
      const mayNotMake = yield* refused({ schema }, as(name))
      assert.include(mayNotMake.message, "GRANT CREATE ON DATABASE")
      assert.isFalse(mayNotMake.retryable)

      // statement by statement: a function's body holds semicolons, a blank line stands between statements
      for (const statement of PostgresBackend.script({ schema }).split(";\n\n")) yield* sql.unsafe(statement)
      assert.include((yield* refused({ schema, migrate: false }, as(name))).message, "GRANT USAGE ON SCHEMA")
      yield* sql`GRANT USAGE ON SCHEMA ${sql(schema)} TO ${sql(name)}`
      assert.include((yield* refused({ schema, migrate: false }, as(name))).message, "migration")
      yield* sql`GRANT SELECT ON ${sql(schema)}.migration TO ${sql(name)}`
      const noTables = yield* refused({ schema, migrate: false }, as(name))
      assert.include(noTables.message, `lacks rights on`)
      assert.include(noTables.message, `"${schema}"."active"`)
      yield* sql`GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${sql(schema)} TO ${sql(name)}`
      assert.include((yield* refused({ schema, migrate: false }, as(name))).message, `"${schema}"."seq"`)
      yield* sql`GRANT USAGE ON ALL SEQUENCES IN SCHEMA ${sql(schema)} TO ${sql(name)}`
      const layer = PostgresBackend.layer({ schema, migrate: false }).pipe(Layer.provide(client(as(name))))
      yield* Effect.scoped(Effect.provide(roundTrip, layer))
    }).pipe(Effect.scoped, Effect.provide(dropped(schema).pipe(Layer.provideMerge(client()))))
  })

  it.live("a table that is missing is named when the schema is opened", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql`DROP TABLE ${sql(schema)}.claim`
      const error = yield* refused({ schema }, {})
      assert.include(error.message, `the schema "${schema}" has no "claim"`)
      assert.isFalse(error.retryable)
    }).pipe(Effect.scoped, Effect.provide(backend({ schema })))
  })

  it.live("what was dropped is named, and nothing is called lost", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const one = yield* Backend
      yield* one.declare("q")
      yield* sql`DROP SCHEMA ${sql(schema)} CASCADE`
      const error = yield* Effect.flip(one.publish("q", [item("a")]))
      assert.include(error.message, "a part of the queue's schema is missing")
      assert.strictEqual(error.outcome, "NotApplied")
      assert.isTrue((yield* Effect.exit(one.ping))._tag === "Failure")
    }).pipe(Effect.scoped, Effect.provide(backend({ schema })))
  })
})

onPostgres("settings", () => {
  const wrong: ReadonlyArray<readonly [string, PostgresBackend.Options, string]> = [
    ["a schema that needs quotes", { schema: "My Schema" }, "the schema \"My Schema\" cannot be used"],
    ["a schema of the system", { schema: "pg_queue" }, "no \"pg_\""],
    ["a prefix that needs quotes", { prefix: "x-" }, "the prefix \"x-\" cannot be used"],
    ["a prefix that our variables have", { prefix: "p_jobs_" }, "the prefix \"p_jobs_\" cannot be used"],
    ["a pool too small", { connections: 1 }, "give it 2 or more"],
    ["a lease too short", { lease: "10 millis" }, "between 1 second and 1 day"],
    ["a time-out longer than the lease", { lease: "2 seconds", statementTimeout: "3 seconds" }, "outlives the jobs"]
  ]
  for (const [what, options, message] of wrong) {
    it.live(`${what} is refused before anything is made`, () =>
      Effect.gen(function*() {
        const error = yield* refused(options, { url: undefined, host: "127.0.0.1", port: 1 } as never)
        assert.include(error.message, message)
        assert.deepStrictEqual([error.retryable, error.outcome], [false, "NotApplied"])
      }))
  }

  it.live("a server that is not there, a database that is not there, and a role without connections say so", () =>
    Effect.gen(function*() {
      const port = yield* Effect.promise(freePort)
      const gone = yield* refused({}, { url: Redacted.make(`postgres://postgres@127.0.0.1:${port}/postgres`) })
      assert.deepStrictEqual([gone.retryable, gone.outcome, gone.operation], [true, "NotApplied", "open"])
      const url = new URL(postgres.url)
      url.pathname = "/nowhere"
      assert.include((yield* refused({}, { url: Redacted.make(url.href) })).message, "the database does not exist")
    }))

  it.live("a server that has too few connections for the pool is told from one that has none", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const name = yield* role
      yield* sql`GRANT USAGE ON SCHEMA ${sql(schema)} TO ${sql(name)}`
      yield* sql`GRANT ALL ON ALL TABLES IN SCHEMA ${sql(schema)} TO ${sql(name)}`
      yield* sql`GRANT ALL ON ALL SEQUENCES IN SCHEMA ${sql(schema)} TO ${sql(name)}`
      yield* sql`ALTER ROLE ${sql(name)} CONNECTION LIMIT 2`
      const error = yield* refused({ schema, connections: 4 }, as(name))
      assert.include(error.message, "the server has no connection left")
      assert.include(error.message, "`connections`")
    }).pipe(Effect.scoped, Effect.provide(backend({ schema })))
  })

  it.live("options come from the configuration", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const layer = PostgresBackend.layerConfig({ schema: Config.String("SCHEMA"), lease: Config.Duration("LEASE") })
      yield* Effect.gen(function*() {
        const { lease } = yield* (yield* Backend).subscribe("q", { worker: "w" })
        assert.deepStrictEqual(lease._tag === "Timed" ? lease.millis : 0, 7_000)
      }).pipe(
        Effect.scoped,
        Effect.provide(layer),
        Effect.provideService(
          ConfigProvider.ConfigProvider,
          ConfigProvider.fromUnknown({ SCHEMA: schema, LEASE: "7 seconds" })
        )
      )
    }).pipe(Effect.scoped, Effect.provide(dropped(schema).pipe(Layer.provideMerge(client()))))
  })

  it.live("names and values of the user's client are left alone: transforms do not reach the queue", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* roundTrip
      yield* sql.withTransaction(Effect.flatMap(Backend, (one) => one.publish("q", [item("b")])))
      assert.deepStrictEqual(yield* (yield* Capability.Inspect).counts("q"), {
        ready: 1,
        scheduled: 0,
        active: 0,
        dead: 0
      })
    }).pipe(
      Effect.scoped,
      Effect.provide(backend({}, {
        transformQueryNames: (name) => name.toUpperCase(),
        transformResultNames: (name) => name.toUpperCase(),
        multiplex: true
      }))
    ))

  it.live("it works without prepared statements, notifications and parameters, as behind a pooler", () =>
    roundTrip.pipe(
      Effect.scoped,
      Effect.provide(backend({ notify: false, statementTimeout: false }, { prepare: false }))
    ))
})

onPostgres("names", () => {
  it.live("a queue whose name cannot be stored is refused in words by whatever names it, and nothing is stored", () =>
    Effect.gen(function*() {
      const one = yield* Backend
      const pause = yield* Capability.Pause
      const inspect = yield* Capability.Inspect
      for (const name of ["a\0b", "a\ud800", "x".repeat(3_000)]) {
        const calls = [
          one.declare(name),
          one.publish(name, [item("a")]),
          one.subscribe(name, { worker: "w" }),
          pause.set(name, true),
          pause.get(name),
          inspect.counts(name)
        ]
        for (const call of calls) {
          const error = yield* Effect.flip(Effect.asVoid(call))
          assert.deepStrictEqual([error.retryable, error.outcome], [false, "NotApplied"])
          assert.include(error.message, "has a name that PostgreSQL cannot index")
        }
      }
      assert.deepStrictEqual(yield* inspect.queues, [])
    }).pipe(Effect.scoped, Effect.provide(backend())))
})

onPostgres("plans", () => {
  it.live("no claim, settlement or enqueue walks over a backlog, and no plan made while it was empty does", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const one = yield* Backend
      const subscription = yield* one.subscribe("q", { worker: "w" })
      const batch = (from: number) => Array.from({ length: 100 }, (_, n) => item(`${from + n}`))
      const work = Effect.gen(function*() {
        const taken = yield* subscription.take(50)
        const [plain, retried] = [taken.slice(0, 25), taken.slice(25)]
        yield* subscription.exchange([
          ...plain.map(({ receipt }) => [receipt, succeeded] as const),
          ...retried.map(({ receipt }) =>
            [receipt, {
              _tag: "Retry",
              why: "failed",
              after: 1_000_000,
              attempt: "spent",
              place: "back",
              error: "no"
            }] as const
          )
        ], 50)
      })
      // plans are made and kept while the tables are empty
      for (let n = 0; n < 10; n++) {
        yield* one.publish("q", batch(n * 100))
        yield* work
        yield* work
      }
      const scans = Effect.gen(function*() {
        yield* sql`SELECT pg_stat_clear_snapshot()`
        const rows = yield* sql<{ relname: string; seq: number; read: number }>`
          SELECT relname::text, seq_scan::float8 AS seq, seq_tup_read::float8 AS read FROM pg_stat_user_tables
          WHERE schemaname = ${schema} AND relname IN ('job', 'ready', 'scheduled', 'ended', 'ukey', 'history')`
        return rows.reduce((sum, { read }) => sum + read, 0)
      })
      for (let n = 10; n < 110; n++) yield* one.publish("q", batch(n * 100))
      const flushed = (least: number) =>
        Effect.gen(function*() {
          // what the other connections counted is reported by them within a second or so of their next statement
          for (;;) {
            yield* Effect.all(Array.from({ length: 8 }, () => one.ping), { concurrency: "unbounded" })
            yield* sql`SELECT pg_stat_clear_snapshot()`
            const [row] = yield* sql<{ n: number }>`
              SELECT n_tup_ins::float8 AS n FROM pg_stat_user_tables WHERE schemaname = ${schema} AND relname = 'job'`
            if (row !== undefined && row.n >= least) return
            yield* Effect.sleep("50 millis")
          }
        })
      yield* flushed(11_000)
      const before = yield* scans
      for (let n = 110; n < 130; n++) {
        yield* work
        yield* one.publish("q", batch(n * 100))
        // some of them are there already: that path looks for them
        yield* one.publish("q", [...batch(n * 100), item("last")])
      }
      yield* flushed(13_000)
      assert.isBelow((yield* scans) - before, 100, "rows that were read by walking over a table")
    }).pipe(Effect.scoped, Effect.provide(backend({ schema })))
  })
})
