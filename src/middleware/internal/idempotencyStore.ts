/** Where idempotency keys are kept: the service, and its stores on a map and on Effect's `KeyValueStore`. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as KeyValueStore from "effect/persistence/KeyValueStore"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import * as rules from "./reservations.ts"

/**
 * Who reserves a key: the job, and a token that is new for every run of it, so that a run which has lost its job cannot
 * touch what belongs to the next one.
 *
 * @category models
 * @since 0.1.0
 */
export type Owner = rules.Owner

/**
 * The answer to a reservation. `Busy`: a run of another job holds the key, for so many milliseconds unless it is extended.
 * `Done`: the work was done by that job; `result` is what was stored with it.
 *
 * @category models
 * @since 0.1.0
 */
export type Reservation = rules.Reservation

/**
 * The store did not answer, or not in a way that can be understood.
 *
 * @category errors
 * @since 0.1.0
 */
export class StoreError extends Schema.TaggedError<StoreError>()("windlass/Idempotency/StoreError", {
  message: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {}

/**
 * Where keys are kept. Every operation must be atomic among all who share the store.
 *
 * - `reserve`: free, expired, or reserved by the same job (its earlier run is over): the owner has it for `leaseMillis`
 * - `extend`: the owner keeps it for `leaseMillis` from now; false when it is not the owner any more
 * - `complete`: the work is done, known for `keepMillis`; false, and nothing changed, when somebody else has the key
 * - `release`: the owner gives it up; nothing happens when it is not the owner
 *
 * @category services
 * @since 0.1.0
 */
export class Store extends Context.Service<Store, {
  readonly reserve: (key: string, owner: Owner, leaseMillis: number) => Effect.Effect<Reservation, StoreError>
  readonly extend: (key: string, owner: Owner, leaseMillis: number) => Effect.Effect<boolean, StoreError>
  readonly complete: (
    key: string,
    owner: Owner,
    result: string | undefined,
    keepMillis: number
  ) => Effect.Effect<boolean, StoreError>
  readonly release: (key: string, owner: Owner) => Effect.Effect<void, StoreError>
}>()("windlass/Idempotency/Store") {}

type Apply = <A>(
  key: string,
  step: (entry: rules.Entry | undefined, now: number) => rules.Step<A>
) => Effect.Effect<A, StoreError>

const fromRules = (apply: Apply): Store["Service"] => ({
  reserve: (key, owner, millis) => apply(key, (entry, now) => rules.reserve(entry, owner, millis, now)),
  extend: (key, owner, millis) => apply(key, (entry, now) => rules.extend(entry, owner, millis, now)),
  complete: (key, owner, result, millis) =>
    apply(key, (entry, now) => rules.complete(entry, owner, result, millis, now)),
  release: (key, owner) => apply(key, (entry, now) => rules.release(entry, owner, now))
})

/**
 * Keys in memory: for the workers of one process, and forgotten with it.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<Store> = Layer.sync(Store, () => {
  const entries = new Map<string, rules.Entry>()
  let sweepAt = 1_000
  return fromRules((key, step) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      const [answer, leave] = step(entries.get(key), now)
      if (leave === null) entries.delete(key)
      else if (leave !== undefined) entries.set(key, leave)
      if (entries.size > sweepAt) {
        for (const [other, entry] of entries) if (entry.expiresAt <= now) entries.delete(other)
        sweepAt = Math.max(1_000, 2 * entries.size)
      }
      return answer
    })
  )
})

const decodeEntry = Schema.decodeUnknownEffect(Schema.Struct({
  job: Schema.String,
  fence: Schema.optional(Schema.String),
  result: Schema.optional(Schema.String),
  expiresAt: Schema.Number
}))

const parse = (key: string, text: string): Effect.Effect<rules.Entry, StoreError> =>
  Effect.suspend(() => {
    const strange = (cause: unknown) =>
      new StoreError({
        message: `what is stored under the key ${key} was not written by this module: remove it`,
        cause
      })
    return Effect.flatMap(
      Effect.try({ try: () => JSON.parse(text) as unknown, catch: strange }),
      (json) => Effect.mapError(decodeEntry(json), strange)
    )
  })

/**
 * Keys in Effect's `KeyValueStore`: they survive the process. That service has no atomic compare and set, so atomicity is
 * this process's: **one process at a time may use the entries under `prefix`** (`windlass/idempotency/` unless set). Two
 * processes that reserve the same key within the time of a `get` and a `set` would both have it. Done keys are removed
 * when they are asked for after their time, and by nobody else.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerKeyValueStore = (options?: {
  readonly prefix?: string | undefined
}): Layer.Layer<Store, never, KeyValueStore.KeyValueStore> =>
  Layer.effect(
    Store,
    Effect.map(KeyValueStore.KeyValueStore, (all) => {
      const store = KeyValueStore.prefix(all, options?.prefix ?? "windlass/idempotency/")
      const one = Semaphore.makeUnsafe(1)
      const read = (key: string) =>
        Effect.flatMap(store.get(key), (text) => text === undefined ? Effect.succeed(undefined) : parse(key, text))
      return fromRules((key, step) =>
        one.withPermits(1)(Effect.uninterruptible(Effect.gen(function*() {
          const now = yield* Clock.currentTimeMillis
          const entry = yield* read(key)
          const [answer, leave] = step(entry, now)
          if (leave === null) yield* store.remove(key)
          else if (leave !== undefined) yield* store.set(key, JSON.stringify(leave))
          return answer
        }))).pipe(
          Effect.mapError((cause) =>
            cause instanceof StoreError
              ? cause
              : new StoreError({ message: `the store failed: ${cause.message}`, cause })
          )
        )
      )
    })
  )
