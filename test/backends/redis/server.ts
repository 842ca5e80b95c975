/**
 * The Redis server of the tests: found once per file, a prefix of its own for every layer, whose keys are deleted after it.
 */
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Redis, type RedisError } from "effect/persistence/Redis"
import type { BackendError } from "windlass/Backend"
import * as RedisBackend from "windlass/backends/RedisBackend"
import { findRedis } from "../../support/services.ts"

export const redis = await findRedis()

export const freshPrefix = (): string => `wltest-${Math.random().toString(36).slice(2, 12)}`

export const client = (
  options: Parameters<typeof NodeRedis.layer>[0] = {}
): Layer.Layer<Redis | NodeRedis.NodeRedis, RedisError> => NodeRedis.layer({ url: redis.url, ...options })

/** all keys of a prefix, in order */
export const keysOf = Effect.fnUntraced(function*(prefix: string) {
  const { send } = yield* Redis
  const keys: Array<string> = []
  let cursor = "0"
  do {
    const [next, page] = yield* send<readonly [string, ReadonlyArray<string>]>(
      "SCAN",
      cursor,
      "MATCH",
      `{${prefix}[:}]*`,
      "COUNT",
      "1000"
    )
    cursor = String(next)
    keys.push(...page)
  } while (cursor !== "0")
  return keys.toSorted()
})

/** deletes the keys of the prefix when the layer ends */
export const deleted = (prefix: string): Layer.Layer<never, never, Redis> =>
  Layer.effectDiscard(Effect.gen(function*() {
    const redis = yield* Redis
    yield* Effect.addFinalizer(() =>
      Effect.ignore(Effect.provideService(
        Effect.flatMap(keysOf(prefix), (keys) => keys.length === 0 ? Effect.void : redis.send("UNLINK", ...keys)),
        Redis,
        redis
      ))
    )
  }))

/** a backend with a prefix of its own, on a client that is there as well */
export const backend = (
  options: RedisBackend.Options = {},
  clientOptions: Parameters<typeof NodeRedis.layer>[0] = {}
): Layer.Layer<RedisBackend.Services | Redis | NodeRedis.NodeRedis, RedisError | BackendError> =>
  Layer.suspend(() => {
    const prefix = options.prefix ?? freshPrefix()
    return RedisBackend.layer({ ...options, prefix }).pipe(
      Layer.provideMerge(deleted(prefix)),
      Layer.provideMerge(client(clientOptions))
    )
  })
