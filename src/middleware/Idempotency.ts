/**
 * Work that is done once per key, however many jobs ask for it. A duplicate is no failure: it is discarded, or with
 * {@link own} it succeeds with the stored result of the first.
 *
 * A key is reserved for the time of the run. While a run of another job holds it a duplicate is snoozed (no attempt
 * spent); when that run succeeds the key is done for `keep`; when it fails, is interrupted or dies with its process, the
 * key is free again, at the latest when its lease has run out (law L10). A redelivery of the same job is never held up by
 * its own earlier run. What this cannot give is "exactly once": a process that dies between the work and the note that it
 * is done leaves work that is done again.
 *
 * - {@link middleware}, at the run point, for any list: it cannot invent a result, so it discards duplicates
 * - {@link own}, a task's own wrap, typed: it stores the result and returns it
 *
 * Both need a {@link Store}. To keep a job from being enqueued twice in the first place use `Enqueue.uniqueBy`.
 *
 * ```ts
 * import * as Schema from "effect/Schema"
 * import * as Idempotency from "windlass/middleware/Idempotency"
 * import * as Task from "windlass/Task"
 *
 * class ChargeTask extends Task.make("Charge", { payload: { order: Schema.String }, success: Schema.String }) {}
 * // the handler's layer: Charge.toLayer(...).pipe(Layer.provide(Idempotency.layerMemory))
 * export const Charge = ChargeTask.wrap(Idempotency.own(ChargeTask, { key: (payload) => payload.order }))
 *
 * // for any task: the producer names the key
 * export const charge = Charge.enqueue({ order: "o-1" }).pipe(Idempotency.key("charge o-1"))
 * ```
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Decide from "../Decide.ts"
import * as Enqueue from "../Enqueue.ts"
import { uuidV7 } from "../internal/id.ts"
import type * as Job from "../Job.ts"
import * as Middleware from "../Middleware.ts"
import type * as Task from "../Task.ts"
import { type Owner, type Reservation, Store, type StoreError } from "./internal/idempotencyStore.ts"

export {
  layerKeyValueStore,
  layerMemory,
  type Owner,
  type Reservation,
  Store,
  StoreError
} from "./internal/idempotencyStore.ts"

/** the header that names a job's key */
const header = "idempotency-key"

/**
 * Names the key of a job where it is enqueued; all jobs of an `enqueueMany` get the same one.
 *
 * @category options
 * @since 0.1.0
 */
export const key = (value: string): ReturnType<typeof Enqueue.headers> => Enqueue.headers({ [header]: value })

/**
 * How long things last, and what keys belong to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Settings {
  /** how long a done key is known; 1 day unless set */
  readonly keep?: Duration.Input | undefined
  /** how long a reservation outlives a process that died; renewed at a third of it. 30 seconds unless set */
  readonly lease?: Duration.Input | undefined
  /** how long a duplicate is snoozed at most while a run of another job holds its key; 5 seconds unless set */
  readonly snooze?: Duration.Input | undefined
  /** keys of one space are the same work: the task's name unless set */
  readonly space?: string | undefined
}

/**
 * For any list. The key is the one that the producer named with {@link key}, else the job's id (which catches a
 * redelivery of a job that was done and could not be settled); `key` may take it from elsewhere, and gives undefined for
 * a job that is not to be looked at. Duplicates are discarded with the reason `duplicate of job ...`. While the store
 * fails jobs are snoozed; when only the note that the work is done fails, that is logged and the success stands.
 *
 * @category middleware
 * @since 0.1.0
 */
export const middleware = (
  options?: Settings & { readonly key?: ((job: Job.Job, payload: unknown) => string | undefined) | undefined }
): Middleware.Inline<Store> => {
  const limits = limitsOf(options)
  const keyOf = options?.key ?? ((job: Job.Job) => job.headers[header] ?? job.id)
  return Middleware.make<Store>("windlass/Idempotency", (next, input, job) => {
    const key = keyOf(job, input)
    if (key === undefined) return next(input)
    return once(limits, key, job, next(input), () => undefined, (done) => Effect.fail(duplicate(done)))
  })
}

/** What a task's own wrap must know of it. */
type Typed = {
  readonly successSchema: Task.PlainSchema
  readonly payloadSchema: Task.PlainSchema
  readonly errorSchema: Task.PlainSchema
}

/**
 * For `Task.wrap`: the result of the first run is stored with the key, and duplicates succeed with it. Without a `key` of
 * its own it takes the same as {@link middleware}. A stored result that the success schema cannot read (it has changed
 * since, or was written by {@link middleware}) makes the duplicate a discard.
 *
 * @category middleware
 * @since 0.1.0
 */
export const own = <T extends Typed>(
  task: T,
  options?: Settings & {
    readonly key?: ((payload: T["payloadSchema"]["Type"], job: Job.Job) => string | undefined) | undefined
  }
): Task.OwnWrap<T["payloadSchema"]["Type"], T["successSchema"]["Type"], T["errorSchema"]["Type"], never, Store> => {
  const limits = limitsOf(options)
  const keyOf = options?.key ?? ((_: unknown, job: Job.Job) => job.headers[header] ?? job.id)
  const codec = Schema.toCodecJson(task.successSchema as Schema.Codec<T["successSchema"]["Type"], unknown>)
  const encode = Schema.encodeUnknownExit(codec)
  const decode = Schema.decodeUnknownExit(codec)
  const print = (value: unknown) => {
    const encoded = encode(value)
    return Exit.isSuccess(encoded) ? JSON.stringify(encoded.value ?? null) : undefined
  }
  return (next, payload, job) => {
    const key = keyOf(payload, job)
    if (key === undefined) return next(payload)
    return once(limits, key, job, next(payload), print, (done) => {
      if (done.result === undefined) return Effect.fail(duplicate(done))
      const json = JSON.parse(done.result) as unknown
      const asVoid = json === null ? decode(undefined) : undefined // a void success is stored as null
      const result = asVoid !== undefined && Exit.isSuccess(asVoid) ? asVoid : decode(json)
      return Exit.isSuccess(result) ? Effect.succeed(result.value) : Effect.fail(duplicate(done))
    })
  }
}

type Done = Extract<Reservation, { readonly _tag: "Done" }>

const duplicate = (done: Done): Decide.Decide => Decide.discard(`duplicate of job ${done.job}`)

interface Limits {
  readonly keep: number
  readonly lease: number
  readonly snooze: number
  readonly space: string | undefined
}

const limitsOf = (settings: Settings | undefined): Limits => ({
  keep: Duration.toMillis(settings?.keep ?? "1 day"),
  lease: Duration.toMillis(settings?.lease ?? "30 seconds"),
  snooze: Duration.toMillis(settings?.snooze ?? "5 seconds"),
  space: settings?.space
})

/** Reserve, run, and say how it went. */
const once = <A, E, E2, R>(
  limits: Limits,
  name: string,
  job: Job.Job,
  run: Effect.Effect<A, E, R>,
  print: (value: A) => string | undefined,
  onDone: (done: Done) => Effect.Effect<A, E2>
): Effect.Effect<A, E | E2 | Decide.Decide, R | Store | Scope.Scope> =>
  Effect.gen(function*() {
    const store = yield* Store
    const key = `${limits.space ?? job.task}:${name}`
    const owner: Owner = { job: job.id, fence: `${job.attempt}:${uuidV7(yield* Clock.currentTimeMillis)}` }
    const answer = yield* Effect.catch(
      store.reserve(key, owner, limits.lease),
      (error) => Effect.fail(Decide.snooze(limits.snooze, `idempotency store: ${error.message}`))
    )
    if (answer._tag === "Done") return yield* onDone(answer)
    if (answer._tag === "Busy") {
      const millis = Math.max(1, Math.min(answer.millis, limits.snooze))
      return yield* Decide.snooze(millis, `duplicate of job ${answer.job}, which is running`)
    }
    // ends with the scope of this middleware
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(
      Effect.sleep(limits.lease / 3),
      logged(key, store.extend(key, owner, limits.lease))
    )))
    return yield* Effect.onExit(run, (exit) =>
      logged(
        key,
        Exit.isSuccess(exit) ? store.complete(key, owner, print(exit.value), limits.keep) : store.release(key, owner)
      ))
  })

const logged = (key: string, effect: Effect.Effect<unknown, StoreError>): Effect.Effect<void> =>
  Effect.catchCause(
    Effect.asVoid(effect),
    (cause) => Effect.logWarning(`the idempotency store failed for the key ${key}: the job goes on`, cause)
  )
