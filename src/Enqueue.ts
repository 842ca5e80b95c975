/**
 * The producer's side: an enqueue is an effect that carries its options, so options are combinators. An option adds the
 * capability that it needs to `R`; on a backend that lacks it the program does not compile.
 *
 * ```ts
 * SendEmail.enqueue({ to, subject }).pipe(Enqueue.delay("5 minutes"), Enqueue.uniqueBy(to))
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { BackendError, Due, Item, Published } from "./Backend.ts"
import type * as Capability from "./Capability.ts"
import { capture } from "./internal/capture.ts"
import { merge, type Options } from "./internal/options.ts"

// ------------------------------------------------------------------------------------------------------------- errors

/**
 * A live job has the same unique key, or the same id as one of an atomic call. Nothing of the call was stored. `existing`
 * is its id.
 *
 * @category errors
 * @since 0.1.0
 */
export class AlreadyEnqueued extends Schema.TaggedError<AlreadyEnqueued>()("windlass/AlreadyEnqueued", {
  task: Schema.String,
  existing: Schema.String
}) {
  override get message(): string {
    return `task ${this.task} is already enqueued as job ${this.existing} under the same id or unique key`
  }
}

/**
 * The call asks for something that cannot be: a payload that its schema refuses, a job larger than the backend carries,
 * a delay longer than it can keep. `message` names both sides and the fix. Nothing was stored.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidEnqueue extends Schema.TaggedError<InvalidEnqueue>()("windlass/InvalidEnqueue", {
  task: Schema.String,
  reason: Schema.Literals(["Payload", "TooLarge", "DelayTooLong", "Option"]),
  message: Schema.String
}) {}

/**
 * A middleware of the enqueue point refused the call. Nothing was stored.
 *
 * @category errors
 * @since 0.1.0
 */
export class Refused extends Schema.TaggedError<Refused>()("windlass/Refused", {
  by: Schema.String,
  reason: Schema.String
}) {}

/**
 * What every enqueue can fail with.
 *
 * @category errors
 * @since 0.1.0
 */
export type EnqueueError = BackendError | InvalidEnqueue | Refused

// ------------------------------------------------------------------------------------------------- the enqueue point

/**
 * The new jobs of one call, on their way to the backend.
 *
 * @category models
 * @since 0.1.0
 */
export interface Batch {
  readonly task: string
  readonly queue: string
  readonly items: ReadonlyArray<Item>
}

/**
 * What became of one new job: what the backend said, or `Dropped` by a middleware.
 *
 * @category models
 * @since 0.1.0
 */
export type Enqueued = Published | { readonly _tag: "Dropped"; readonly reason: string }

/**
 * A middleware of the enqueue point: sees every new job once (from a caller, a recurring tick, a handler), never a retry.
 * It may change the items (but not the ids of their envelopes), drop some, or refuse the call; it adds none, and answers
 * one `Enqueued` per item, in order.
 *
 * @category models
 * @since 0.1.0
 */
export interface Wrap<R = never> {
  (
    next: (batch: Batch) => Effect.Effect<ReadonlyArray<Enqueued>, EnqueueError>,
    batch: Batch
  ): Effect.Effect<ReadonlyArray<Enqueued>, EnqueueError, R | Scope.Scope>
}

/**
 * The middleware that every enqueue of this program passes, first = outermost, outside of what a task declares.
 *
 * @category references
 * @since 0.1.0
 */
export const CurrentMiddleware: Context.Reference<ReadonlyArray<Wrap<never>>> = Context.Reference<
  ReadonlyArray<Wrap<never>>
>("windlass/Enqueue/CurrentMiddleware", { defaultValue: () => [] })

/**
 * Adds middleware to the enqueue point of everything that the layer is provided to; inside what is there already.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <R = never>(
  ...wraps: ReadonlyArray<Wrap<R>>
): Layer.Layer<never, never, Exclude<R, Scope.Scope>> =>
  Layer.effectContext(
    Effect.contextWith((context: Context.Context<R>) =>
      Effect.succeed(Context.make(CurrentMiddleware, [
        ...Context.get(context, CurrentMiddleware),
        ...wraps.map((wrap): Wrap => (next, batch) => capture(context)(wrap(next, batch)))
      ]))
    )
  ) as never

/**
 * A wrap that changes every new job.
 *
 * @category constructors
 * @since 0.1.0
 */
export const mapItems = <E extends EnqueueError = never, R = never>(
  f: (item: Item, batch: Batch) => Effect.Effect<Item, E, R> | Item
): Wrap<R> =>
(next, batch) =>
  Effect.flatMap(
    Effect.forEach(batch.items, (item) => {
      const mapped = f(item, batch)
      return Effect.isEffect(mapped) ? mapped : Effect.succeed(mapped)
    }),
    (items) => next({ ...batch, items })
  )

/**
 * A wrap that drops the new jobs for which `f` gives a reason.
 *
 * @category constructors
 * @since 0.1.0
 */
export const dropWhen =
  <R = never>(f: (item: Item, batch: Batch) => Effect.Effect<string | undefined, never, R>): Wrap<R> => (next, batch) =>
    Effect.gen(function*() {
      const reasons = yield* Effect.forEach(batch.items, (item) => f(item, batch))
      const kept = batch.items.filter((_, i) => reasons[i] === undefined)
      const answers = kept.length === 0 ? [] : yield* next({ ...batch, items: kept })
      let at = 0
      return reasons.map((reason): Enqueued => reason === undefined ? answers[at++]! : { _tag: "Dropped", reason })
    })

// ------------------------------------------------------------------------------------------------------------ options

/**
 * @category type ids
 * @since 0.1.0
 */
export const TypeId = "~windlass/Enqueue"

/**
 * An enqueue that was not run yet. `Due` remembers whether a time was chosen.
 *
 * @category models
 * @since 0.1.0
 */
export interface Enqueue<out A, out E = never, out R = never, out When extends "now" | "later" = "now">
  extends Effect.Effect<A, E, R>
{
  readonly [TypeId]: { readonly when: When }
  readonly options: Options
  readonly run: (options: Options) => Effect.Effect<any, any, any>
}

const Proto = Object.assign(
  Effectable.Prototype<Enqueue<any, any, any, any>>({
    label: "windlass/Enqueue",
    evaluate() {
      return this.run(this.options)
    }
  }),
  { [TypeId]: TypeId }
)

/** made for every enqueue: by a constructor, which costs a fifth of what `Object.assign` does */
const Impl = function(this: any, run: (options: Options) => Effect.Effect<any, any, any>, options: Options) {
  this.run = run
  this.options = options
} as unknown as new(
  run: (options: Options) => Effect.Effect<any, any, any>,
  options: Options
) => Enqueue<any, any, any, any>
Impl.prototype = Proto

const noOptions: Options = Object.freeze({})

/** @internal */
export const fromRun = <A, E, R>(
  run: (options: Options) => Effect.Effect<A, E, R>,
  options: Options = noOptions
): Enqueue<A, E, R, any> => new Impl(run, options)

const set = (options: Options) => (self: Enqueue<any, any, any, any>): any =>
  fromRun(self.run, merge(self.options, options))

/**
 * A sentence instead of an enqueue whose time was chosen already.
 *
 * @category type facts
 * @since 0.1.0
 */
export type OnlyOnce<When> = When extends "later" ? "choose the time once: either Enqueue.delay or Enqueue.at" : unknown

/** A `Duration` takes a number that is none for zero: such a delay would be no delay, and such a key would keep nobody out. */
const millisOf = (duration: Duration.Input): number =>
  Math.ceil(typeof duration === "number" ? duration : Duration.toMillis(duration))

/**
 * Claimable after so long, on the engine's clock. Needs {@link Capability.Delay}.
 *
 * @category options
 * @since 0.1.0
 */
export const delay = (duration: Duration.Input) =>
<A, E, R, When extends "now" | "later">(
  self: Enqueue<A, E, R, When> & OnlyOnce<When>
): Enqueue<A, E, R | Capability.Delay, "later"> =>
  set({ due: { _tag: "After", millis: millisOf(duration) } satisfies Due })(self)

/**
 * Claimable from a time on; at once if it has passed. Needs {@link Capability.Delay}.
 *
 * @category options
 * @since 0.1.0
 */
export const at = (time: Date | number) =>
<A, E, R, When extends "now" | "later">(
  self: Enqueue<A, E, R, When> & OnlyOnce<When>
): Enqueue<A, E, R | Capability.Delay, "later"> =>
  set({ due: { _tag: "At", time: Math.ceil(typeof time === "number" ? time : time.getTime()) } satisfies Due })(self)

/**
 * Higher goes first; 0 is the default. Needs {@link Capability.Priority}.
 *
 * @category options
 * @since 0.1.0
 */
export const priority = (value: number) =>
<A, E, R, When extends "now" | "later">(
  self: Enqueue<A, E, R, When>
): Enqueue<A, E, R | Capability.Priority, When> => set({ priority: value })(self)

/**
 * At most one live job per key (of this task): until the job was `started`, until it is `finished` (the default), or for
 * a duration from the enqueue. A retried job keeps its key. On a clash the enqueue fails with {@link AlreadyEnqueued}
 * and stores nothing, or with `onConflict: "existing"` returns the id of the job that is there. For `enqueueMany` the key
 * may be a function of the payload. Needs {@link Capability.Unique}.
 *
 * @category options
 * @since 0.1.0
 */
export const uniqueBy: {
  (key: string | ((payload: any) => string), options: {
    readonly until?: "started" | "finished" | Duration.Input | undefined
    readonly onConflict: "existing"
  }): <A, E, R, When extends "now" | "later">(
    self: Enqueue<A, E, R, When>
  ) => Enqueue<A, E, R | Capability.Unique, When>
  (key: string | ((payload: any) => string), options?: {
    readonly until?: "started" | "finished" | Duration.Input | undefined
    readonly onConflict?: "fail" | undefined
  }): <A, E, R, When extends "now" | "later">(
    self: Enqueue<A, E, R, When>
  ) => Enqueue<A, E | AlreadyEnqueued, R | Capability.Unique, When>
} = (key: string | ((payload: any) => string), options?: {
  readonly until?: "started" | "finished" | Duration.Input | undefined
  readonly onConflict?: "fail" | "existing" | undefined
}) =>
  set({
    unique: {
      key: typeof key === "string" ? () => key : key,
      until: options?.until === undefined || options.until === "finished"
        ? "finished"
        : options.until === "started"
        ? "started"
        : { millis: millisOf(options.until) },
      onConflict: options?.onConflict ?? "fail"
    }
  })

/**
 * Jobs of one group (of a queue) run one at a time, in order: by priority, then by age. Needs {@link Capability.Groups}.
 *
 * With `limit` up to so many of them run at once, over all workers: they start in order, and may end in any. Needs
 * {@link Capability.GroupLimit} too. The limit belongs to the group: what its last enqueue said counts, for the jobs that
 * wait already as well, and an enqueue without a limit says 1. Raising it lets more start at once; lowering it stops nothing
 * that runs. A job that waits for its retry, or for its time, keeps the slot that it has come up for. An enqueue that stores
 * nothing changes nothing, and a limit that is no whole number from 1 to 2,147,483,647 fails with {@link InvalidEnqueue}.
 *
 * @category options
 * @since 0.1.0
 */
export const group: {
  (name: string, options: { readonly limit: number }): <A, E, R, When extends "now" | "later">(
    self: Enqueue<A, E, R, When>
  ) => Enqueue<A, E, R | Capability.Groups | Capability.GroupLimit, When>
  (name: string): <A, E, R, When extends "now" | "later">(
    self: Enqueue<A, E, R, When>
  ) => Enqueue<A, E, R | Capability.Groups, When>
} = (name: string, options?: { readonly limit: number }) => set({ group: name, groupLimit: options?.limit })

/**
 * Headers to store with the job; later ones win over earlier ones of the same name.
 *
 * @category options
 * @since 0.1.0
 */
export const headers =
  (entries: Readonly<Record<string, string>>) =>
  <A, E, R, When extends "now" | "later">(self: Enqueue<A, E, R, When>): Enqueue<A, E, R, When> =>
    set({ headers: entries })(self)

/**
 * The job's id, instead of a fresh UUIDv7. Enqueueing an id again while its job lives stores nothing and returns it. For
 * `enqueueMany` a function of the payload and its index.
 *
 * @category options
 * @since 0.1.0
 */
export const id =
  (value: string | ((payload: any, index: number) => string)) =>
  <A, E, R, When extends "now" | "later">(self: Enqueue<A, E, R, When>): Enqueue<A, E, R, When> =>
    set({ id: typeof value === "string" ? () => value : value })(self)

/**
 * Another queue than the task's own.
 *
 * @category options
 * @since 0.1.0
 */
export const queue =
  (name: string) => <A, E, R, When extends "now" | "later">(self: Enqueue<A, E, R, When>): Enqueue<A, E, R, When> =>
    set({ queue: name })(self)

/**
 * All jobs of the call are stored, or none: when one of them is there already (its id or its unique key), the call fails
 * with {@link AlreadyEnqueued}, also with `onConflict: "existing"`. Needs {@link Capability.AtomicBatch}.
 *
 * @category options
 * @since 0.1.0
 */
export const atomic = <A, E, R, When extends "now" | "later">(
  self: Enqueue<A, E, R, When>
): Enqueue<A, E | AlreadyEnqueued, R | Capability.AtomicBatch, When> => set({ atomic: true })(self)
