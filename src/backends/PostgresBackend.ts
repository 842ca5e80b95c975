/**
 * A queue in PostgreSQL 13 or later, through `@effect/sql-pg`. It has every capability, `Transactional` among them: an
 * enqueue inside of `sql.withTransaction` of the client that the layer was built with exists if and only if that
 * transaction commits, savepoints included; outside it commits by itself.
 *
 * A handler's effects and the end of its job commit together with `windlass/middleware/TransactionalSettlement`.
 *
 * Everything else runs on connections of the backend's own, made with the client's configuration: it never joins a
 * transaction of yours, and handlers that hold all connections of your pool do not keep leases from being renewed. All
 * times are the server's.
 *
 * **Connections.** `connections` (4) for calls, and one that listens unless `notify` is false.
 *
 * **Behind a pooler in transaction mode** (PgBouncer) set `notify: false`, `statementTimeout: false` (and give the role a
 * `statement_timeout`), and `prepare: false` in the client's configuration unless the pooler knows prepared statements.
 *
 * **Rights.** The role that makes the schema needs CREATE on the database, or a schema that it may fill. A role that only
 * uses the queue needs, and `migrate: false` keeps it to that:
 *
 * ```sql
 * GRANT USAGE ON SCHEMA windlass TO app;
 * GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA windlass TO app;
 * GRANT USAGE ON ALL SEQUENCES IN SCHEMA windlass TO app;
 * GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA windlass TO app; -- only if EXECUTE was revoked from PUBLIC
 * ```
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import type * as PgConnection from "@effect/sql-pg/PgConnection"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Backend, type BackendError, type Limits } from "../Backend.ts"
import * as Capability from "../Capability.ts"
import { maxGroupLimit } from "./internal/groupLimit.ts"
import * as abilities from "./postgres/abilities.ts"
import { Apart } from "./postgres/apart.ts"
import * as Calls from "./postgres/calls.ts"
import { core } from "./postgres/core.ts"
import type { Engine } from "./postgres/engine.ts"
import { refusal } from "./postgres/errors.ts"
import { Exchange } from "./postgres/exchange.ts"
import { Hints } from "./postgres/hints.ts"
import { inspect, Reader } from "./postgres/inspect.ts"
import { leader } from "./postgres/leader.ts"
import { priorities } from "./postgres/limits.ts"
import { Listen } from "./postgres/listen.ts"
import { sweep } from "./postgres/maintenance.ts"
import * as Migrate from "./postgres/migrate.ts"
import * as Names from "./postgres/names.ts"
import { Pace } from "./postgres/pace.ts"
import { Publish } from "./postgres/publish.ts"
import { Queues } from "./postgres/queues.ts"
import { Committed } from "./postgres/receipts.ts"
import { results } from "./postgres/results.ts"
import { transactional } from "./postgres/transactional.ts"
import { Wake } from "./postgres/wake.ts"

/**
 * - `schema`: where the queue's tables are; `windlass` when absent. It is made when it is not there.
 * - `prefix`: of the names of tables, functions and the sequence, for a schema that is shared; none when absent.
 * - `migrate`: whether to make the schema or bring it up to date; true when absent. Several processes may do it at once.
 * - `notify`: whether to announce jobs with `NOTIFY` and to listen, so that an idle worker in another process is woken
 *   within about a millisecond; true when absent. Announcements are sent sparingly and may be missed: polling goes on.
 * - `pollInterval`: the longest that an idle worker goes without looking by itself; 1 second when absent, and never more
 *   than 250 milliseconds while it does not hear announcements. After activity it looks within 5 milliseconds.
 * - `connections`: for calls, at least 2; 4 when absent. All but one may claim and settle for one queue at the same time when
 *   `limits` allow smaller batches than a worker has slots.
 * - `lease`: how long a delivery stays with its owner unless it is extended, at least 1 second; 30 seconds when absent.
 * - `statementTimeout`: after which the server gives a call up; a sixth of the lease, and no more than 5 seconds, when
 *   absent. `false` leaves it to the server's own setting. A server that says nothing at all is given up half as much
 *   later.
 * - `retention`: how long an ended job stays inspectable. `failures` (dead and aborted jobs): 7 days when absent.
 *   `successes` (succeeded and discarded jobs): not at all when absent. A job whose result was asked for stays at least
 *   as long as its result.
 * - `limits`: what it carries. When absent: 1 MiB per encoded job, 10,000 per batch, delays of up to 100 years.
 * - `name`: what the backend calls itself in errors, spans and `describe`; `postgres` when absent.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly schema?: string | undefined
  readonly prefix?: string | undefined
  readonly migrate?: boolean | undefined
  readonly notify?: boolean | undefined
  readonly pollInterval?: Duration.Input | undefined
  readonly connections?: number | undefined
  readonly lease?: Duration.Input | undefined
  readonly statementTimeout?: Duration.Input | false | undefined
  readonly retention?: {
    readonly failures?: Duration.Input | undefined
    readonly successes?: Duration.Input | undefined
  } | undefined
  readonly limits?: Partial<Limits> | undefined
  readonly name?: string | undefined
}

/**
 * What the options are when they are absent.
 *
 * @category models
 * @since 0.1.0
 */
export const defaults = {
  schema: "windlass",
  prefix: "",
  migrate: true,
  notify: true,
  pollInterval: Duration.seconds(1),
  connections: 4,
  lease: Duration.seconds(30),
  retention: { failures: Duration.days(7), successes: Duration.zero },
  limits: {
    payloadBytes: 1024 * 1024,
    delayMillis: 100 * 365.25 * 86_400_000,
    publishBatch: 10_000,
    takeBatch: 10_000,
    settleBatch: 10_000
  },
  name: "postgres"
} as const

/**
 * What the layer provides.
 *
 * @category models
 * @since 0.1.0
 */
export type Services = Backend | Capability.AllButTransactional | Capability.Transactional

/** what is wrong with the options, if anything */
const refused = (options: Options, lease: number): string | undefined => {
  const { connections } = options
  if (connections !== undefined && !(Number.isInteger(connections) && connections >= 2)) {
    return `connections is ${connections}: one is needed for heartbeats beside the one that claims and settles, so give it ` +
      `2 or more`
  }
  if (!(lease >= 1_000 && lease <= 86_400_000)) return `lease is ${lease} ms: give it between 1 second and 1 day`
  const { statementTimeout } = options
  if (statementTimeout !== undefined && statementTimeout !== false) {
    const millis = Duration.toMillis(statementTimeout)
    if (!(millis >= 10 && millis <= lease)) {
      return `statementTimeout is ${millis} ms: give it between 10 ms and the lease (${lease} ms), or a call that the server ` +
        `still works on outlives the jobs that it is about`
    }
  }
  return Names.namesRefused(options.schema ?? defaults.schema, options.prefix ?? defaults.prefix)
}

/** the client's configuration, without what it does to the names and values of the user's own statements */
const configOf = (
  client: PgClient.PgClient,
  name: string,
  statementTimeout: number | undefined
): PgConnection.Config => {
  const { startupParameters, ...config } = client.config
  return {
    ...config,
    types: undefined,
    multiplex: false,
    // an empty claim and a payload of the largest size both come in one message
    maxMessageSize: Math.max(config.maxMessageSize ?? 0, 256 * 1024 * 1024),
    applicationName: config.applicationName ?? `windlass ${name}`,
    startupParameters: statementTimeout === undefined ? startupParameters : {
      ...startupParameters,
      default_transaction_isolation: "read committed",
      statement_timeout: String(Math.ceil(statementTimeout))
    }
  }
}

const make = Effect.fnUntraced(function*(options: Options) {
  const client = yield* PgClient.PgClient
  const millis = (input: Duration.Input | undefined, absent: Duration.Duration) => Duration.toMillis(input ?? absent)
  const name = options.name ?? defaults.name
  const lease = millis(options.lease, defaults.lease)
  const wrong = refused(options, lease)
  if (wrong !== undefined) return yield* refusal(name, "open", wrong)
  const names = Names.make(options.schema ?? defaults.schema, options.prefix ?? defaults.prefix)
  const statementTimeout = options.statementTimeout === false
    ? undefined
    : millis(options.statementTimeout, Duration.millis(Math.min(5_000, lease / 6)))
  const config = configOf(client, name, statementTimeout)
  const limits: Limits = { ...defaults.limits, ...options.limits }
  const retention = {
    failures: Math.ceil(millis(options.retention?.failures, defaults.retention.failures)),
    successes: Math.ceil(millis(options.retention?.successes, defaults.retention.successes))
  }
  const notify = options.notify ?? defaults.notify
  const connections = options.connections ?? defaults.connections

  // a migration may take longer than any call of the queue
  yield* Migrate.migrate({
    name,
    names,
    migrate: options.migrate ?? defaults.migrate,
    config: configOf(client, name, undefined)
  })
  const calls = yield* Calls.make({
    name,
    names,
    config,
    connections,
    statementTimeout
  })
  const wake = new Wake()
  const run = Effect.runForkWith(yield* Effect.context())
  const hints = new Hints(calls, notify, (effect) => void run(effect))
  const listen = notify ? new Listen(calls, wake) : undefined
  const pace = new Pace(listen, millis(options.pollInterval, defaults.pollInterval))
  const queues = new Queues(calls)
  const committed = new Committed()
  const engine: Engine = {
    calls,
    queues,
    publish: new Publish({ calls, client, queues, hints, wake, limits, flights: Math.max(1, connections >> 1) }),
    exchange: new Exchange(calls, retention, committed),
    committed,
    apart: new Apart(calls),
    hints,
    wake,
    pace,
    limits,
    retention,
    lease
  }
  const reader = new Reader(engine)
  if (listen !== undefined) yield* Effect.forkScoped(listen.run)
  yield* Effect.forkScoped(sweep(engine))
  return Context.make(Backend, core(engine)).pipe(
    Context.add(Capability.Delay, { granularityMillis: 1 }),
    Context.add(Capability.Priority, priorities),
    Context.add(Capability.Unique, { scopes: ["started", "finished", "window"] }),
    Context.add(Capability.Groups, { ordered: true }),
    Context.add(Capability.GroupLimit, { max: maxGroupLimit }),
    Context.add(Capability.AtomicBatch, { max: limits.publishBatch }),
    Context.add(Capability.ExactAttempts, {}),
    Context.add(Capability.Transactional, transactional(engine, client)),
    Context.add(Capability.Results, yield* results(engine)),
    Context.add(Capability.Inspect, inspect(engine, reader)),
    Context.add(Capability.Cancel, abilities.cancel(engine)),
    Context.add(Capability.Pause, abilities.pause(engine)),
    Context.add(Capability.Leader, leader(engine)),
    Context.add(Capability.Cursor, abilities.cursor(engine)),
    Context.add(Capability.DeadLetter, abilities.deadLetter(engine, reader)),
    Context.add(Capability.Reroute, abilities.reroute(engine))
  )
})

/**
 * The Postgres backend on the server of a `PgClient`. Building it checks the server's version, makes the schema or brings
 * it up to date, checks the role's rights and opens the connections. It fails with a `BackendError` that says what to do
 * when one of these cannot be, or when an option makes no sense. The layer's end closes the connections.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<Services, BackendError, PgClient.PgClient> =>
  Layer.effectContext(make(options))

/**
 * As `layer`, with options that are read from the configuration.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<Services, BackendError | Config.ConfigError, PgClient.PgClient> =>
  Layer.effectContext(Effect.flatMap(Config.unwrap(options), make))

/**
 * The SQL that makes the schema, for those who run it themselves, with a role that may, and start with `migrate: false`.
 *
 * @category utils
 * @since 0.1.0
 */
export const script = (options: Pick<Options, "schema" | "prefix"> = {}): string =>
  Migrate.text(Names.make(options.schema ?? defaults.schema, options.prefix ?? defaults.prefix))
