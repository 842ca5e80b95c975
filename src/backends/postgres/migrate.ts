/**
 * Bringing the schema up to date. Processes that start at once do it one after another; the first makes it, the others
 * find it made. A schema that is newer than this code is left alone.
 *
 * @since 0.1.0
 */
import type * as PgConnection from "@effect/sql-pg/PgConnection"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { BackendError } from "../../Backend.ts"
import { reserve } from "./calls.ts"
import { fromCause, refusal, stateOf } from "./errors.ts"
import type { Names } from "./names.ts"
import { abilities } from "./sql/abilities.ts"
import { claims } from "./sql/claims.ts"
import { cursor } from "./sql/cursor.ts"
import { exchange } from "./sql/exchange.ts"
import { groups } from "./sql/groups.ts"
import { hold } from "./sql/hold.ts"
import { move } from "./sql/move.ts"
import { publish } from "./sql/publish.ts"
import { settle } from "./sql/settle.ts"
import { tables } from "./sql/tables.ts"

export interface Migration {
  /** the first release that has this version: stored with it, so that a schema of another making is told from ours */
  readonly release: string
  readonly statements: ReadonlyArray<string>
}

/**
 * `migrations[n]` brings a schema from version n to n + 1. Released ones are never edited. A function that a released
 * version calls stays as long as that version may run beside a newer one.
 */
export const migrations: ReadonlyArray<Migration> = [
  {
    release: "0.1.0",
    statements: [
      ...tables,
      ...publish,
      ...groups,
      ...claims,
      ...move,
      ...settle,
      ...exchange,
      ...hold,
      ...abilities,
      ...cursor
    ]
  }
]

/** the oldest server that this is written for */
const oldest = 130_000

/** one for all schemas: migrations are rare, and they take a moment */
const lock = 7_721_509_300_641

const script = (names: Names, all: ReadonlyArray<Migration>, from: number): ReadonlyArray<string> => [
  // a role without CREATE on the database may still fill a schema that was made for it
  names.sql(
    `DO $$ BEGIN
      IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = '${names.schema}') THEN CREATE SCHEMA {$schema}; END IF;
    END $$`
  ),
  names.sql(
    `CREATE TABLE IF NOT EXISTS {migration} (version int4 NOT NULL PRIMARY KEY, at timestamptz NOT NULL, release text NOT NULL)`
  ),
  ...all.slice(from).flatMap(({ release, statements }, i) => [
    ...statements.map(names.sql),
    names.sql(
      `INSERT INTO {migration} (version, at, release) VALUES (${from + i + 1}, clock_timestamp(), '${release}')`
    )
  ])
]

/**
 * A row when there is a queue, whether it says what release made it. Asked of the catalogue and not of the session's cache,
 * which does not see what others made while we waited for the lock.
 */
const isThere = (names: Names): string =>
  `SELECT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'release' AND NOT a.attisdropped)
   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE n.nspname = '${names.schema}' AND c.relname = '${names.prefix}migration'`

/** all of it as one script, statements apart by an empty line, for those who let somebody else run it */
export const text = (names: Names): string =>
  ["BEGIN", `SELECT pg_advisory_xact_lock(${lock})`, ...script(names, migrations, 0), "COMMIT"]
    .map((statement) => `${statement.replaceAll(/\n\s*\n/g, "\n")};\n`).join("\n")

interface Settings {
  readonly name: string
  readonly names: Names
  readonly migrate: boolean
  readonly config: PgConnection.Config
  /** other ones than ours, for tests */
  readonly migrations?: ReadonlyArray<Migration>
}

/** checks the server, makes the schema or brings it up to date, and checks that the role may use it */
export const migrate = (settings: Settings): Effect.Effect<void, BackendError> =>
  Effect.scoped(Effect.gen(function*() {
    const { config, name, names } = settings
    const known = settings.migrations ?? migrations
    const failed = (error: SqlError) => fromCause(name, "open", error, false)
    const connection = yield* Effect.mapError(reserve(config), failed)
    const ask = (sql: string) => Effect.mapError(connection.queryValues(sql, [], false), failed)

    const [server] = yield* ask("SELECT current_setting('server_version_num')::int4, version()")
    const [number, version] = server as readonly [number, string]
    if (number < oldest || !version.startsWith("PostgreSQL")) {
      return yield* refusal(
        name,
        "open",
        `the server is ${version}, this backend needs PostgreSQL ${oldest / 10_000} or later: use a newer server`
      )
    }

    const found = yield* ask(names.sql(
      `SELECT has_database_privilege(current_database(), 'CREATE'),
         coalesce(has_schema_privilege(to_regnamespace('{$schema}')::oid, 'USAGE'), true),
         current_user::text, current_database()::text`
    ))
    const [mayCreate, mayUse, role, database] = found[0] as unknown as [boolean, boolean, string, string]
    if (!mayUse) {
      return yield* refusal(
        name,
        "open",
        `the role "${role}" may not use the schema "${names.schema}" of database "${database}": GRANT USAGE ON SCHEMA ` +
          `"${names.schema}" TO "${role}"`
      )
    }
    // the version that the schema has, or why nothing is done to it
    const standing = Effect.gen(function*() {
      const [found] = yield* ask(isThere(names))
      if (found === undefined) return 0
      const rows = found[0] === true
        ? yield* ask(names.sql("SELECT version, release FROM {migration} ORDER BY version"))
        : []
      const version = rows.length === 0 ? 0 : Number(rows.at(-1)![0])
      if (version > known.length) {
        return yield* refusal(
          name,
          "open",
          `the schema "${names.schema}" has version ${version}, this windlass knows versions up to ${known.length}: ` +
            `upgrade windlass in this process, or name another schema`
        )
      }
      if (found[0] !== true || rows.some(([n, release]) => known[Number(n) - 1]?.release !== release)) {
        return yield* refusal(
          name,
          "open",
          `the table "${names.schema}"."${names.prefix}migration" is of a windlass that was never released, or of something ` +
            `else: name another schema or prefix, or drop what is there with the jobs in it`
        )
      }
      return version
    })

    const at = yield* standing
    if (at < known.length) {
      if (!settings.migrate) {
        return yield* refusal(
          name,
          "open",
          at > 0
            ? `the schema "${names.schema}" has version ${at}, this windlass needs ${known.length}: let a process with ` +
              `\`migrate: true\` start first`
            : `the schema "${names.schema}" holds no queue${
              names.prefix === "" ? "" : ` with prefix "${names.prefix}"`
            } and ` +
              `\`migrate\` is false: let a process with \`migrate: true\` start first, or run PostgresBackend.script`
        )
      }
      const run = Effect.gen(function*() {
        yield* connection.query(`SELECT pg_advisory_xact_lock(${lock})`, [], false)
        // somebody else may have been first
        const at = yield* standing
        for (const statement of at < known.length ? script(names, known, at) : []) {
          yield* connection.query(statement, [], false)
        }
      })
      yield* Effect.mapError(connection.query("BEGIN", [], false), failed)
      yield* Effect.catch(run, (error) =>
        Effect.flatMap(Effect.ignore(connection.query("ROLLBACK", [], false)), () =>
          Effect.fail(
            error._tag === "windlass/BackendError" ? error : stateOf(error) === "42501"
              ? refusal(
                name,
                "open",
                `the role "${role}" may not make the queue's schema in database "${database}"` +
                  `${
                    mayCreate ? "" : ` (it lacks CREATE on the database)`
                  }: GRANT CREATE ON DATABASE "${database}" TO ` +
                  `"${role}", or run PostgresBackend.script as another role and start with \`migrate: false\` ` +
                  `(${error.reason.cause instanceof Error ? error.reason.cause.message : error.message})`
              )
              : failed(error)
          )))
      yield* Effect.mapError(connection.query("COMMIT", [], false), failed)
    }
    yield* checkParts(name, names, role, ask)
  }))

/** what every role reads and writes */
const used = [
  "seq",
  "queue",
  "job",
  "ready",
  "active",
  "claim",
  "scheduled",
  "waiting",
  "lane",
  "nudge",
  "ukey",
  "ended",
  "history",
  "session",
  "leader",
  "cursor"
]

/** that all of it is there, and what a role needs that only uses the queue */
const checkParts = Effect.fnUntraced(function*(
  name: string,
  names: Names,
  role: string,
  ask: (sql: string) => Effect.Effect<ReadonlyArray<ReadonlyArray<unknown>>, BackendError>
) {
  const missing = yield* ask(
    `SELECT x.name FROM unnest(ARRAY[${used.map((one) => `'${names.prefix}${one}'`).join()}]) AS x(name)
     WHERE NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE n.nspname = '${names.schema}' AND c.relname = x.name) ORDER BY 1`
  )
  if (missing.length > 0) {
    return yield* refusal(
      name,
      "open",
      `the schema "${names.schema}" has no ${
        missing.map(([table]) => `"${String(table)}"`).join(", ")
      }: it was made by a windlass that was never released, or a part of it was dropped: name another schema or prefix, or ` +
        `drop what is there with the jobs in it`
    )
  }
  const rows = yield* ask(
    `SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = '${names.schema}' AND c.relname IN (${used.map((one) => `'${names.prefix}${one}'`).join()})
       AND NOT CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'USAGE')
         ELSE has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
           AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE') END
     ORDER BY 1`
  )
  if (rows.length > 0) {
    return yield* refusal(
      name,
      "open",
      `the role "${role}" lacks rights on ${
        rows.map(([table]) => `"${names.schema}"."${String(table)}"`).join(", ")
      }: ` +
        `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "${names.schema}" TO "${role}"; GRANT USAGE ON ALL ` +
        `SEQUENCES IN SCHEMA "${names.schema}" TO "${role}"`
    )
  }
})
