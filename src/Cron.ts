/**
 * Recurring tasks: an entry says which task is enqueued when, and a worker or a layer enqueues a job at every tick. A
 * tick comes once, however many processes have the entry, and goes through the enqueue point with origin `cron`.
 *
 * ```ts
 * const Nightly = Cron.make("nightly", { task: CleanUp, daily: "02:30", tz: "Europe/Berlin" })
 * const Weekdays = Cron.make("weekdays", { task: Report, cron: "0 9 * * MON-FRI", tz: "Europe/Berlin" })
 * const Polling = Cron.make("polling", { task: Poll, every: "90 seconds" })
 *
 * Worker.layer(App, { crons: [Nightly, Weekdays, Polling] })
 * ```
 *
 * What makes it once is a cursor per entry in the backend ({@link Capability.Cursor}): the time up to which the entry's
 * ticks are decided, which moves in one step with the enqueue. It outlives restarts, so ticks that came while nobody was
 * there are caught up. Ticks are told by the clocks of the processes; one that is ahead enqueues early.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as EffectCron from "effect/Cron"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { Backend, BackendError } from "./Backend.ts"
import type * as Capability from "./Capability.ts"
import type * as Enqueue from "./Enqueue.ts"
import * as Header from "./Header.ts"
import { type Plan, plans } from "./internal/cron/plan.ts"
import { run } from "./internal/cron/run.ts"
import type * as Job from "./Job.ts"
import type * as Middleware from "./Middleware.ts"
import type * as Task from "./Task.ts"

/**
 * @category type ids
 * @since 0.1.0
 */
export const TypeId = "~windlass/Cron"

/**
 * An entry is set up in a way that cannot work: a cron that does not parse or never comes, an interval of nothing, an
 * unknown time zone, a name that stands twice. Nothing was enqueued. `message` names the entry and the fix.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidCron extends Schema.TaggedError<InvalidCron>()("windlass/InvalidCron", {
  entry: Schema.String,
  message: Schema.String
}) {}

/**
 * When an entry ticks: by a cron expression, at an interval, or once a day.
 *
 * @category models
 * @since 0.1.0
 */
export type When =
  | {
    /**
     * minute, hour, day of the month, month, day of the week, with a second before them if there are six; or a `Cron` of
     * effect, which then says itself what becomes of wall times that come twice. In an expression a wall time that a
     * change of the clocks skips comes as much later as they were put on, one that comes twice is taken once, and an
     * entry of every hour goes on through the repeated hour
     */
    readonly cron: string | EffectCron.Cron
    /** the zone of the wall times, as `Europe/Berlin`; UTC unless set. A `Cron` with a zone of its own takes none */
    readonly tz?: string | undefined
    readonly every?: undefined
    readonly from?: undefined
    readonly daily?: undefined
  }
  | {
    /**
     * ticks at `from` and then again and again after so much time, in whole milliseconds. Time that has passed, not wall
     * time: a change of the clocks neither skips nor doubles a tick, and moves its time of the day ({@link When} `daily`
     * does not)
     */
    readonly every: Duration.Input
    /**
     * the first tick. All processes must say the same one, so it is a time and not "the start of this process"; the
     * beginning of 1970 in UTC unless set, which puts `every: "1 hour"` on full hours and `"1 day"` on midnight in UTC
     */
    readonly from?: Date | undefined
    readonly cron?: undefined
    readonly tz?: undefined
    readonly daily?: undefined
  }
  | {
    /**
     * once on every day, at a wall time: `"02:30"`, or `"02:30:15"`. On a day without that time (the clocks are put on) it
     * comes as much later, on one that has it twice the first time
     */
    readonly daily: string
    /** the zone of the wall time, as `Europe/Berlin`; UTC unless set */
    readonly tz?: string | undefined
    readonly cron?: undefined
    readonly every?: undefined
    readonly from?: undefined
  }

/**
 * How an entry ticks.
 *
 * @category models
 * @since 0.1.0
 */
export type Timing = When & {
  /**
   * skips a tick whose predecessor's job is still waiting or running (a unique key until it is finished), and catches up
   * the latest of the ticks that were missed. False unless set
   */
  readonly singleton?: boolean | undefined
  /**
   * Ticks that came while no process with this entry ran: the latest `max` of them (100 unless set) are enqueued, in
   * order, and none that is older than `olderThan` (any age unless set). At the very first start nothing is known to have
   * been missed: the latest tick is enqueued if it is not older than `olderThan`, 10 minutes unless set
   */
  readonly catchUp?: {
    readonly max?: number | undefined
    readonly olderThan?: Duration.Input | undefined
  } | undefined
}

/**
 * A recurring enqueue. `R` is what it needs to run: the backend with its cursors, the enqueue halves of the task's
 * middleware, and the capabilities of its options.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry<out R> {
  readonly [TypeId]: { readonly needs: () => R }
  readonly name: string
  /** @internal */
  readonly options: Timing & {
    readonly task: Task.Any & { readonly enqueue: (payload: any) => Enqueue.Enqueue<string, any, any, any> }
    readonly payload?: ((tick: Date) => unknown) | undefined
    readonly enqueue?:
      | ((job: Enqueue.Enqueue<string, any, any, any>) => Enqueue.Enqueue<string, any, any, any>)
      | undefined
  }
}

/**
 * What the entries of a list need.
 *
 * @category type facts
 * @since 0.1.0
 */
export type Needs<Es extends ReadonlyArray<Entry<unknown>>> = NeedsOf<Es[number]>

type NeedsOf<E> = E extends Entry<infer R> ? R : never

/** The payload is left out where the task takes none. */
type Payload<P extends Task.PlainSchema> = undefined extends P["~type.make.in"]
  ? { readonly payload?: ((tick: Date) => P["~type.make.in"]) | undefined }
  : { readonly payload: (tick: Date) => P["~type.make.in"] }

/**
 * An entry: the task, when it is due, the payload of a tick, and the options of its enqueue as a function of it
 * (`enqueue: Enqueue.priority(5)`).
 *
 * The name is what processes share: two that have an entry of one name for one queue share its ticks, and an entry that
 * is renamed starts anew. The job's id is the name and the tick unless `enqueue` chooses one. A tick whose enqueue ends as
 * `AlreadyEnqueued` is skipped quietly; one that is refused or not valid is logged as an error and left out. Nothing is
 * checked here: see {@link layer}.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <
  P extends Task.PlainSchema,
  const Ms extends ReadonlyArray<Middleware.Any>,
  R = Backend | Middleware.EnqueueHalf<Ms[number]>,
  const Singleton extends boolean = false
>(
  name: string,
  options:
    & Timing
    & Payload<P>
    & {
      readonly task: Task.Any & {
        readonly payloadSchema: P
        readonly middleware: Ms
        readonly enqueue: (payload: P["~type.make.in"]) => Enqueue.Enqueue<string, Enqueue.EnqueueError, any>
      }
      readonly singleton?: Singleton | undefined
      readonly enqueue?:
        | ((
          job: Enqueue.Enqueue<string, Enqueue.EnqueueError, Backend | Middleware.EnqueueHalf<Ms[number]>>
        ) => Enqueue.Enqueue<string, Enqueue.EnqueueError | Enqueue.AlreadyEnqueued, R, any>)
        | undefined
    }
): Entry<R | Capability.Cursor | (Singleton extends true ? Capability.Unique : never)> => ({
  [TypeId]: { needs: () => undefined as never },
  name,
  options
})

/**
 * The time of the tick that a job was enqueued for, as the job carries it: `Cron.scheduledFor.option` for tasks that are
 * enqueued otherwise too.
 *
 * @category headers
 * @since 0.1.0
 */
export const scheduledFor: Header.Header<Date> = Header.make("windlass-cron-tick", Schema.Date)

/**
 * The time of the tick that the running job was enqueued for, which is not the time at which it runs. Fails with a
 * `HeaderError` in a job that no entry enqueued.
 *
 * @category accessors
 * @since 0.1.0
 */
export const tick: Effect.Effect<Date, Header.HeaderError, Job.Current> = scheduledFor.read

/** @internal */
export const prepare = (
  entries: ReadonlyArray<Entry<any>>
): Effect.Effect<ReadonlyArray<Plan>, InvalidCron> =>
  Effect.flatMap(
    Clock.currentTimeMillis,
    (now) =>
      Effect.mapError(plans(entries, scheduledFor, now), ([entry, message]) => new InvalidCron({ entry, message }))
  )

/**
 * Runs entries for as long as nothing goes wrong: the main effect of a process that only enqueues. Calls to the backend
 * that may be tried again are. What may not, and a payload function that dies, ends it.
 *
 * @category running
 * @since 0.1.0
 */
export const launch = <const Es extends ReadonlyArray<Entry<any>>>(
  ...entries: Es
): Effect.Effect<never, InvalidCron | BackendError, Needs<Es>> =>
  Effect.flatMap(prepare(entries), startAll) as Effect.Effect<never, InvalidCron | BackendError, any>

const startAll = (plans: ReadonlyArray<Plan>) =>
  Effect.andThen(Effect.forEach(plans, run, { concurrency: "unbounded", discard: true }), Effect.never)

/**
 * Runs entries beside whatever else the program does, from the time at which the layer is built until its scope ends.
 * Building it fails with {@link InvalidCron}. A scheduler that fails later logs that as fatal, and the layer's other
 * entries stop with it; a worker that is to stop as well takes its entries as `crons`, see `Worker.Options`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <const Es extends ReadonlyArray<Entry<any>>>(
  ...entries: Es
): Layer.Layer<never, InvalidCron, Needs<Es>> =>
  Layer.effectDiscard(
    Effect.flatMap(prepare(entries), (plans) =>
      Effect.forkScoped(Effect.onError(startAll(plans), (cause) =>
        Cause.hasInterruptsOnly(cause)
          ? Effect.void
          : Effect.logFatal(
            `a cron failed; ${
              plans.map(({ name }) => name).join(", ")
            } stop`,
            cause
          ))))
  ) as Layer.Layer<
    never,
    InvalidCron,
    any
  >
