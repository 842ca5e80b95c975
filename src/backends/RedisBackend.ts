/**
 * A queue in Redis 6.2 or later (or Valkey), through `effect/persistence/Redis`, for instance `NodeRedis.layer` of
 * `@effect/platform-node`. It has every capability but `Transactional`. All times are the server's.
 *
 * **How.** A queue is a handful of sorted sets and hashes whose names begin with `{prefix:queue}`, so they are in one slot
 * of a cluster. Every call is one Lua script, sent by its hash: it happens as a whole, and settling one batch and claiming
 * the next is one call. A settlement carries the fence of its claim, which the script compares; no two claims of a queue
 * have the same one.
 *
 * **Connections.** All calls share the service's connection; waiting for work blocks a reserved one (one per process, in a
 * cluster one per queue that is waited for), and hints come through one subscription to the channel `{prefix}:hints`. The
 * client must know the node of a key: `NodeRedis` speaks to one server, which is enough for a primary with replicas; for a
 * cluster of several nodes there is `windlass/backends/RedisCluster`.
 *
 * **Ids** are unique within a queue. Cancelling, looking at and awaiting a job ask each queue of the prefix for its id,
 * which is a small script per queue; `Inspect.list` reads the ids of the whole queue and sorts them before it returns the
 * first one.
 *
 * **Going elsewhere.** `Job.reroute` to another queue is one script over the keys of both. In a cluster they are on two
 * nodes, so it is refused there; another priority or group is fine.
 *
 * **Groups.** Those whose turn it is stand among the ready jobs, so a claim pays nothing for those that wait behind them. A
 * limit that is moved gives or takes back up to 1,000 turns in one script, and the rest in the claims that follow: until
 * then some of a group that was raised by thousands are `blocked` still.
 *
 * **Latency.** A worker that is idle in the process that enqueues claims in the script that stores the jobs, in another
 * process when the server wakes it: a round trip more. node-redis sets a timer for every command (`commandOptions.timeout`, 5 seconds),
 * which fires also when the answer is there; every call here is bounded by `callTimeout` anyway. A process whose jobs come
 * one at a time saves about a tenth of its time with `NodeRedis.layer({ url, commandOptions: { timeout: 0 } })`.
 *
 * **Memory.** A waiting job takes about 320 bytes of the server beside its payload, headers and task, with ids of 36
 * characters; a delayed one 20 more, one with a unique key 200 more, the only member of a group 360 more, with keys and
 * groups of 36 characters too. While it runs it takes 180 more, for its owner and its lease. One that has ended and is kept
 * takes about 750 bytes beside its payload and its result, and 80 for each event of its history. (Measured on Redis 7.0 with
 * 20,000 jobs.) When all jobs of a queue have ended and nothing is kept, one hash with its last numbers is left, and its
 * name in the list of queues.
 *
 * **What Redis does not promise.** With `appendonly yes` and `appendfsync everysec` a crash of the server loses up to two
 * seconds of what it had acknowledged: jobs that were published then are gone, jobs that were completed then run again. A
 * failover loses what had not reached the replica. `appendfsync always` closes the first gap. Building the layer warns
 * when the server keeps nothing on disk, and when its `maxmemory-policy` may delete jobs. When memory is full
 * (`noeviction`), publishes fail with an error that says so, and what is stored is claimed and settled as before.
 *
 * **Rights.** `~{windlass:*` and `~{windlass}:*` on keys, `&{windlass}:hints` on channels, and the commands `+@all -@admin
 * -@dangerous +info +client|unblock`, with `windlass` for the prefix. `CONFIG GET save` is asked for at the start, and done
 * without.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Redis } from "effect/persistence/Redis"
import { Backend, type BackendError, type Limits } from "../Backend.ts"
import * as Capability from "../Capability.ts"
import { maxGroupLimit } from "./internal/groupLimit.ts"
import * as abilities from "./redis/abilities.ts"
import { Calls } from "./redis/calls.ts"
import { core } from "./redis/core.ts"
import type { Engine } from "./redis/engine.ts"
import { refusal } from "./redis/errors.ts"
import { hear } from "./redis/hints.ts"
import { inspect, Reader } from "./redis/inspect.ts"
import { prefixRefused } from "./redis/keys.ts"
import { leader } from "./redis/leader.ts"
import { priorities, whole } from "./redis/limits.ts"
import { Listen } from "./redis/listen.ts"
import { sweep } from "./redis/maintenance.ts"
import { Pairs } from "./redis/pairs.ts"
import { cursor } from "./redis/publish.ts"
import { Queues } from "./redis/queues.ts"
import { results } from "./redis/results.ts"
import { check } from "./redis/server.ts"
import { Wake } from "./redis/wake.ts"

/**
 * - `prefix`: of all keys, in braces; `windlass` when absent. Without braces, colons and white space.
 * - `lease`: how long a delivery stays with its owner unless it is extended, at least 100 milliseconds; 30 seconds when
 *   absent.
 * - `callTimeout`: after which a call is given up with an error whose outcome is `Unknown`; half the lease, and no more
 *   than 10 seconds, when absent. While the server is away the client keeps calls and sends them when it is back.
 * - `pollInterval`: the longest that an idle worker goes without looking by itself, in case a wake-up was lost; 1 second
 *   when absent. Usually it is woken within a millisecond.
 * - `retention`: how long an ended job stays inspectable. `failures` (dead and aborted jobs): 7 days when absent.
 *   `successes` (succeeded and discarded jobs): not at all when absent. A job whose result was asked for stays at least
 *   as long as its result.
 * - `limits`: what it carries. When absent: 1 MiB per encoded job, 1,000 per batch, delays of up to 100 years. A batch is
 *   one script, and holds up the server while it runs: about 10 milliseconds for 1,000 jobs.
 * - `name`: what the backend calls itself in errors, spans and `describe`; `redis` when absent.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly prefix?: string | undefined
  readonly lease?: Duration.Input | undefined
  readonly callTimeout?: Duration.Input | undefined
  readonly pollInterval?: Duration.Input | undefined
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
  prefix: "windlass",
  lease: Duration.seconds(30),
  pollInterval: Duration.seconds(1),
  retention: { failures: Duration.days(7), successes: Duration.zero },
  limits: {
    payloadBytes: 1024 * 1024,
    delayMillis: 100 * 365.25 * 86_400_000,
    publishBatch: 1_000,
    takeBatch: 1_000,
    settleBatch: 1_000
  },
  name: "redis"
} as const

/**
 * What the layer provides.
 *
 * @category models
 * @since 0.1.0
 */
export type Services = Backend | Capability.AllButTransactional

const millis = (input: Duration.Input | undefined, absent: Duration.Input) =>
  whole(Duration.toMillis(Duration.fromInputUnsafe(input ?? absent)))

/** what is wrong with the options, if anything */
const optionsRefused = (prefix: string, lease: number, timeout: number, poll: number): string | undefined => {
  if (!(lease >= 100 && lease <= 86_400_000)) return `lease is ${lease} ms: give it between 100 milliseconds and 1 day`
  if (!(timeout >= 10 && timeout < 2 ** 31)) {
    return `callTimeout is ${timeout} ms: give it between 10 milliseconds and 24 days`
  }
  if (!(poll >= 1)) return `pollInterval is ${poll} ms: give it 1 millisecond or more`
  return prefixRefused(prefix)
}

const make = Effect.fnUntraced(function*(options: Options) {
  const redis = yield* Redis
  const name = options.name ?? defaults.name
  const prefix = options.prefix ?? defaults.prefix
  const lease = millis(options.lease, defaults.lease)
  const timeout = millis(options.callTimeout, Math.min(10_000, Math.max(1_000, lease / 2)))
  const poll = millis(options.pollInterval, defaults.pollInterval)
  const wrong = optionsRefused(prefix, lease, timeout, poll)
  if (wrong !== undefined) return yield* refusal(name, "open", wrong)
  const retention = {
    failures: millis(options.retention?.failures, defaults.retention.failures),
    successes: millis(options.retention?.successes, defaults.retention.successes)
  }
  const limits: Limits = { ...defaults.limits, ...options.limits }
  const calls = new Calls(redis, { name, prefix, timeout, lease, retention })
  const { cluster } = yield* check(calls)
  const queues = new Queues(calls)
  yield* queues.check
  const wake = new Wake()
  const scope = yield* Effect.scope
  const run = Effect.runForkWith(yield* Effect.context())
  const listen = new Listen(calls, wake, cluster, (effect) => void run(Effect.forkIn(effect, scope)))
  const pairs = new Pairs(calls)
  const engine: Engine = { calls, pairs, queues, wake, listen, limits, cluster, retention, lease, poll }
  const reader = new Reader(engine)
  yield* Effect.forkScoped(hear(calls, wake))
  yield* Effect.forkScoped(sweep(engine))
  return Context.make(Backend, core(engine)).pipe(
    Context.add(Capability.Delay, { granularityMillis: 1 }),
    Context.add(Capability.Priority, priorities),
    Context.add(Capability.Unique, { scopes: ["started", "finished", "window"] }),
    Context.add(Capability.Groups, { ordered: true }),
    Context.add(Capability.GroupLimit, { max: maxGroupLimit }),
    Context.add(Capability.AtomicBatch, { max: limits.publishBatch }),
    Context.add(Capability.ExactAttempts, {}),
    Context.add(Capability.Results, results(engine)),
    Context.add(Capability.Inspect, inspect(engine, reader)),
    Context.add(Capability.Cancel, abilities.cancel(engine)),
    Context.add(Capability.Pause, abilities.pause(engine)),
    Context.add(Capability.Leader, leader(engine)),
    Context.add(Capability.Cursor, cursor(engine)),
    Context.add(Capability.DeadLetter, abilities.deadLetter(engine, reader)),
    Context.add(Capability.Reroute, abilities.reroute(engine))
  )
})

/**
 * The Redis backend on the server of a `Redis` service. Building it looks at the server and fails with a `BackendError`
 * that says what to do when it is too old or a replica, or when an option makes no sense.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<Services, BackendError, Redis> =>
  Layer.effectContext(make(options))

/**
 * As `layer`, with options that are read from the configuration.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<Services, BackendError | Config.ConfigError, Redis> =>
  Layer.effectContext(Effect.flatMap(Config.unwrap(options), make))
