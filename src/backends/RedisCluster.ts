/**
 * The `Redis` service of effect on a cluster of several nodes, with node-redis (`redis` 5 or 6): what `RedisBackend` runs
 * on where one server is not enough. Every call goes to the node that has its key; all keys of one queue are on one node,
 * so queues are what spreads.
 *
 * ```ts
 * RedisBackend.layer().pipe(
 *   Layer.provide(RedisCluster.layer({ rootNodes: [{ url: "redis://10.0.0.1:6379" }, { url: "redis://10.0.0.2:6379" }] }))
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redis from "effect/persistence/Redis"
import { createCluster, type RedisClientType } from "redis"

/**
 * Those of node-redis's `createCluster` (`rootNodes`: some nodes to learn the others from; `defaults`: user, password,
 * TLS), and of the pool of connections that wait for work: one for every queue that is waited for.
 *
 * @category models
 * @since 0.1.0
 */
export type Options = Parameters<typeof createCluster>[0] & Redis.PoolOptions

type Cluster = ReturnType<typeof createCluster>
type Node = Pick<RedisClientType, "connect" | "destroy" | "isOpen" | "on" | "sendCommand">

const failed = (cause: unknown) => new Redis.RedisError({ cause })

/** which node a command is for: that of its first key; any, where it has none */
const keyOf = (command: string, args: ReadonlyArray<string>): string | undefined => {
  switch (command.toUpperCase()) {
    case "EVAL":
    case "EVALSHA":
      return Number(args[1]) > 0 ? args[2] : undefined
    case "CLIENT":
    case "CLUSTER":
    case "CONFIG":
    case "INFO":
    case "PING":
    case "PUBLISH":
    case "SCRIPT":
    case "TIME":
      return undefined
    default:
      return args[0]
  }
}

/** blocking commands: connections of its own to the nodes that it meets, made at their first command */
const dedicated = (cluster: Cluster, onError: (cause: unknown) => void) => {
  const nodes = new Map<unknown, Promise<Node>>()
  const nodeOf = async (key: string | undefined): Promise<Node> => {
    const shared = await (key === undefined
      ? cluster.nodeClient(cluster.masters[0]!)
      : cluster.getNodeClientForKey(key))
    let node = nodes.get(shared)
    if (node === undefined) {
      nodes.set(
        shared,
        node = (async () => {
          // what breaks is not mended: the command fails, and the connection leaves the pool
          const own = shared.duplicate({ socket: { ...shared.options?.socket, reconnectStrategy: false } as never })
          own.on("error", onError)
          await own.connect()
          return own as unknown as Node
        })()
      )
    }
    return node
  }
  return {
    send: <A = unknown>(command: string, ...args: ReadonlyArray<string>): Effect.Effect<A, Redis.RedisError> =>
      Effect.tryPromise({
        try: async () => (await nodeOf(keyOf(command, args))).sendCommand<A>([command, ...args]),
        catch: failed
      }),
    close: Effect.promise(async () => {
      for (const node of await Promise.allSettled(nodes.values())) {
        if (node.status === "fulfilled" && node.value.isOpen) node.value.destroy()
      }
    })
  }
}

const make = Effect.fnUntraced(function*(
  { acquireTimeout, idleTimeout, maxConnections, minConnections, ...options }: Options
) {
  const runSync = Effect.runSyncWith(yield* Effect.context<never>())
  const onError = (cause: unknown) => {
    runSync(Effect.logWarning("windlass: a connection to the Redis cluster failed", cause))
  }
  const cluster = yield* Effect.acquireRelease(
    Effect.tryPromise({
      try: async () => {
        const cluster = createCluster(options)
        // an `error` event that nobody listens to ends the process
        cluster.on("error", onError)
        await cluster.connect()
        return cluster
      },
      catch: failed
    }),
    (cluster) => Effect.sync(() => cluster.destroy())
  )
  return yield* Redis.make({
    send: <A = unknown>(command: string, ...args: ReadonlyArray<string>) =>
      Effect.tryPromise({
        try: () => cluster.sendCommand(keyOf(command, args), false, [command, ...args]) as Promise<A>,
        catch: failed
      }),
    connect: Effect.sync(() => dedicated(cluster, onError)),
    pool: { acquireTimeout, idleTimeout, maxConnections: maxConnections ?? 100, minConnections },
    // the cluster carries a message to all of its nodes, and the client finds another node when the one it hears goes
    subscribe: (channel, onMessage) =>
      Effect.gen(function*() {
        const listener = (message: string, channel: string) => onMessage({ channel, message })
        yield* Effect.acquireRelease(
          Effect.tryPromise({ try: () => cluster.subscribe(channel, listener), catch: failed }),
          () =>
            Effect.ignore(
              Effect.tryPromise({ try: () => cluster.unsubscribe(channel, listener as never), catch: failed })
            )
        )
        return Effect.never
      })
  })
})

/**
 * Connects when the layer is built, and fails with a `RedisError` when no root node answers. The connections are closed
 * when its scope ends.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Redis.Redis, Redis.RedisError> =>
  Layer.effect(Redis.Redis, make(options))

/**
 * {@link layer} with its options from configuration.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<Redis.Redis, Redis.RedisError | Config.ConfigError> =>
  Layer.effect(Redis.Redis, Effect.flatMap(Config.unwrap(options), make))
