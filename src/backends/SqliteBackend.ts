/**
 * A queue in an SQLite file, through `node:sqlite`: no server, no native build, no dependency. It survives restarts and
 * `kill -9`, and several processes of one machine may work on the same file. It has every capability but
 * `Transactional`.
 *
 * The connection is the layer's own. Every call is one transaction (`BEGIN IMMEDIATE` in WAL mode) and durable when it
 * returns. While another process writes, a call waits without holding up the event loop. All times come from the `Clock`
 * that is in force when the layer is built; leases are counted on its steady time, which the processes of a machine share
 * and which goes on when the time of day is set. Not for network file systems.
 *
 * Where Node still calls `node:sqlite` experimental (22), it prints one `ExperimentalWarning` per process;
 * `node --disable-warning=ExperimentalWarning` hides it.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Backend, type BackendError, type Limits } from "../Backend.ts"
import * as Capability from "../Capability.ts"
import { maxGroupLimit } from "./internal/groupLimit.ts"
import * as abilities from "./sqlite/abilities.ts"
import { connect } from "./sqlite/connect.ts"
import { core } from "./sqlite/core.ts"
import { cursor } from "./sqlite/cursor.ts"
import { Engine } from "./sqlite/engine.ts"
import { inspect, Reader } from "./sqlite/inspect.ts"
import { leader } from "./sqlite/leader.ts"
import { priorities } from "./sqlite/limits.ts"
import * as Maintenance from "./sqlite/maintenance.ts"
import { Poll } from "./sqlite/poll.ts"
import { Wake } from "./sqlite/wake.ts"

/**
 * - `filename`: the queue's own file, made when it is not there (its directory is not). `:memory:` is a queue that ends
 *   with the layer.
 * - `lease`: how long a delivery stays with its owner unless it is extended; 30 seconds when absent.
 * - `synchronous`: `normal` (when absent) survives the death of the process at any moment; a power failure or a crash of
 *   the operating system may lose the last moments, and then jobs that were already done may run again. `full` waits for
 *   the disk at every commit and loses nothing.
 * - `retention`: how long an ended job stays inspectable. `failures` (dead and aborted jobs): 7 days when absent.
 *   `successes` (succeeded and discarded jobs): not at all when absent. A job whose result was asked for stays at least
 *   as long as its result.
 * - `busyTimeout`: how long one try for the file's write lock may hold up the event loop; 5 milliseconds when absent.
 *   Between tries the call sleeps.
 * - `lockTimeout`: how long a call tries before it fails with a retryable `BackendError`; 10 seconds when absent.
 * - `pollInterval`: how long a job that another process publishes stays unseen by an idle worker at most; 250
 *   milliseconds when absent. After activity it is seen within about 5 milliseconds, and within one process at once.
 * - `limits`: what it carries. When absent: 1 MiB per encoded job, 10,000 per batch, delays of up to 100 years.
 * - `name`: what the backend calls itself in errors, spans and `describe`; `sqlite` when absent.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly filename: string
  readonly lease?: Duration.Input | undefined
  readonly synchronous?: "normal" | "full" | undefined
  readonly retention?: {
    readonly failures?: Duration.Input | undefined
    readonly successes?: Duration.Input | undefined
  } | undefined
  readonly busyTimeout?: Duration.Input | undefined
  readonly lockTimeout?: Duration.Input | undefined
  readonly pollInterval?: Duration.Input | undefined
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
  lease: Duration.seconds(30),
  synchronous: "normal",
  retention: { failures: Duration.days(7), successes: Duration.zero },
  busyTimeout: Duration.millis(5),
  lockTimeout: Duration.seconds(10),
  pollInterval: Duration.millis(250),
  limits: {
    payloadBytes: 1024 * 1024,
    delayMillis: 100 * 365.25 * 86_400_000,
    publishBatch: 10_000,
    takeBatch: 10_000,
    settleBatch: 10_000
  },
  name: "sqlite"
} as const

/**
 * What the layer provides.
 *
 * @category models
 * @since 0.1.0
 */
export type Services = Backend | Capability.AllButTransactional

const make = Effect.fnUntraced(function*(options: Options) {
  const clock = yield* Clock.clockWith(Effect.succeed)
  const millis = (input: Duration.Input | undefined, absent: Duration.Duration) => Duration.toMillis(input ?? absent)
  const name = options.name ?? defaults.name
  const limits: Limits = { ...defaults.limits, ...options.limits }
  const { connection, path } = yield* connect({
    name,
    filename: options.filename,
    synchronous: options.synchronous ?? defaults.synchronous,
    busyTimeout: millis(options.busyTimeout, defaults.busyTimeout),
    lockTimeout: millis(options.lockTimeout, defaults.lockTimeout),
    clock
  })
  const { wake } = yield* Effect.acquireRelease(
    Effect.sync(() => Wake.acquire(path)),
    ({ release }) => Effect.sync(release)
  )
  const engine = new Engine(connection, wake, {
    lease: Math.min(Math.max(1, Math.ceil(millis(options.lease, defaults.lease))), defaults.limits.delayMillis),
    retention: {
      failures: millis(options.retention?.failures, defaults.retention.failures),
      successes: millis(options.retention?.successes, defaults.retention.successes)
    }
  })
  const poll = new Poll(connection, wake, millis(options.pollInterval, defaults.pollInterval))
  const waits = { connection, poll, wake }
  const reader = new Reader(engine)
  // nothing can be committed by others in a database that only this connection sees
  if (path !== undefined) {
    yield* Effect.forkScoped(poll.run)
    yield* Effect.forkScoped(Maintenance.tidy(engine))
  }
  yield* Effect.forkScoped(Maintenance.sweep(engine))
  return Context.make(Backend, core(engine, waits, limits, path)).pipe(
    Context.add(Capability.Delay, { granularityMillis: 1 }),
    Context.add(Capability.Priority, priorities),
    Context.add(Capability.Unique, { scopes: ["started", "finished", "window"] }),
    Context.add(Capability.Groups, { ordered: true }),
    Context.add(Capability.GroupLimit, { max: maxGroupLimit }),
    Context.add(Capability.AtomicBatch, { max: limits.publishBatch }),
    Context.add(Capability.ExactAttempts, {}),
    Context.add(Capability.Results, abilities.results(engine, waits)),
    Context.add(Capability.Inspect, inspect(engine, reader)),
    Context.add(Capability.Cancel, abilities.cancel(engine)),
    Context.add(Capability.Pause, abilities.pause(engine)),
    Context.add(Capability.Leader, leader(engine, waits)),
    Context.add(Capability.Cursor, cursor(engine, limits)),
    Context.add(Capability.DeadLetter, abilities.deadLetter(engine, reader)),
    Context.add(Capability.Reroute, abilities.reroute(connection))
  )
})

/**
 * The SQLite backend on a file. Building it opens the file, makes the schema or brings it up to date, and fails with a
 * `BackendError` that says what to do when that cannot be: the directory is missing, the file is read-only, is no
 * database, belongs to something else, or was written by a newer version. The layer's end closes the file.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Services, BackendError> => Layer.effectContext(make(options))

/**
 * As `layer`, with options that are read from the configuration.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<Services, BackendError | Config.ConfigError> =>
  Layer.effectContext(Effect.flatMap(Config.unwrap(options), make))
