/**
 * A worker claims the jobs of a group's tasks, runs them through their middleware, and settles them.
 *
 * ```ts
 * Worker.layer(App, { concurrency: 50 }).pipe(
 *   Layer.provide([SendEmailLive, RequireTenantLive]),
 *   Layer.provide(SqliteBackend.layer({ filename: "windlass.db" })),
 *   Worker.run
 * )
 * ```
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Backend, BackendError } from "./Backend.ts"
import type * as Cron from "./Cron.ts"
import type { Gate } from "./Gate.ts"
import { CurrentDefaults, given } from "./internal/worker/defaults.ts"
import * as description from "./internal/worker/describe.ts"
import type * as happened from "./internal/worker/events.ts"
import { runMain } from "./internal/worker/main.ts"
import { make } from "./internal/worker/make.ts"
import type * as Middleware from "./Middleware.ts"
import type * as Task from "./Task.ts"
import type * as TaskGroup from "./TaskGroup.ts"

// ------------------------------------------------------------------------------------------------------------ options

/**
 * How a worker works: the part that may come from configuration.
 *
 * @category models
 * @since 0.1.0
 */
export interface Settings {
  /** jobs that run at once in this worker; 10 unless set */
  readonly concurrency?: number | undefined
  /**
   * the queues to claim from, in a list, or in a record with how many jobs of each may run at once; those of the
   * group's tasks unless set. A task of a queue that is left out is not worked on here
   */
  readonly queues?: ReadonlyArray<string> | Readonly<Record<string, number>> | undefined
  /** how long a stop waits for running jobs before it interrupts their handlers; 30 seconds unless set */
  readonly shutdownGrace?: Duration.Input | undefined
  /** how long after that a chain may take to unwind before it is declared stuck; 10 seconds unless set */
  readonly stuckAfter?: Duration.Input | undefined
  /** deliveries in a row without any settlement after which a job is dead as poison; 5 unless set */
  readonly poisonLimit?: number | undefined
  /**
   * how long a job of a task (or payload version) that this worker does not know is given back before it is dead, from
   * when this worker met it first; 1 hour unless set
   */
  readonly unknownFor?: Duration.Input | undefined
  /** the longest that an idle worker waits before it looks again, whatever the backend hints; the backend's unless set */
  readonly pollInterval?: Duration.Input | undefined
  /** a call to the backend without an answer for so long counts as lost on the way; 20 seconds unless set */
  readonly callTimeout?: Duration.Input | undefined
  /**
   * whether jobs that end as soon as they start are claimed before there is a slot for them; true unless set. After batches
   * whose jobs all did, a claim asks for more than there are free slots, as many as were done in 5 milliseconds and 250 at
   * most; and where the engine is reached over a network the next batch is claimed while one runs. What finds no slot then,
   * because jobs begin to take time, goes back at once to its place, as if it had never been claimed. Never behind a gate, and
   * on SQLite, Postgres and Redis only.
   *
   * A job that was claimed counts as running for whoever pauses its queue, cancels it, enqueues one of a higher priority, or
   * asks for a unique key that it holds until it starts: for a few milliseconds longer than it would without. A worker that
   * dies leaves what it had claimed to be found when the leases end: two such batches at most
   */
  readonly claimAhead?: boolean | undefined
  /**
   * `drain`: ends when its queues have nothing left that is due. `forever` unless set
   */
  readonly mode?: "forever" | "drain" | undefined
  /**
   * whether the worker itself logs what becomes of jobs (attempts that failed, dead letters), with their causes; true
   * unless set. Turn it off where errors may quote secrets, and let the Logging middleware do it
   */
  readonly logJobs?: boolean | undefined
  /** the worker's name in leases, history and events; made up unless set */
  readonly id?: string | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options<
  Ms extends ReadonlyArray<Middleware.ForWorker> = ReadonlyArray<Middleware.ForWorker>,
  Gs extends ReadonlyArray<Gate<any>> = ReadonlyArray<Gate<any>>,
  Cs extends ReadonlyArray<Cron.Entry<any>> = ReadonlyArray<Cron.Entry<any>>
> extends Settings {
  /** around every job of this worker, first = outermost; observers and delivery middleware stand outside of the others */
  readonly middleware?: (Middleware.FitsWorker<Ms> & Ms) | undefined
  /** asked for capacity before every claim; a record holds the gates of single queues */
  readonly gates?: Gs | Readonly<Record<string, Gs>> | undefined
  /**
   * recurring enqueues that run beside the worker until it is asked to stop. One that fails (the backend refuses for
   * good, a payload function dies) stops the worker, and is the report's `failure`
   */
  readonly crons?: Cs | undefined
}

/**
 * A worker was set up in a way that cannot work. Nothing was claimed.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidWorker extends Schema.TaggedError<InvalidWorker>()("windlass/InvalidWorker", {
  message: Schema.String
}) {}

const invalid = (message: string) => new InvalidWorker({ message })

// ------------------------------------------------------------------------------------------------------------- service

/**
 * One thing that happened to a job. `Claimed` and `Started` come as they happen, the others when the backend has
 * confirmed them; `Failed` comes before the `Retried` or `Dead` that it leads to.
 *
 * @category models
 * @since 0.1.0
 */
export type Event = happened.Event

/**
 * What a worker did, once it is over.
 *
 * @category models
 * @since 0.1.0
 */
export interface Report {
  readonly worker: string
  /** jobs claimed, and how their hand-outs ended */
  readonly claimed: number
  readonly succeeded: number
  readonly discarded: number
  readonly retried: number
  readonly snoozed: number
  readonly dead: number
  readonly aborted: number
  readonly interrupted: number
  readonly released: number
  readonly lost: number
  readonly stuck: number
  /** why it ended on its own: one of its fibers failed, or a chain was stuck */
  readonly failure: Cause.Cause<unknown> | undefined
}

/**
 * `live`: every queue answered a claim lately, or all of its slots are busy, or a gate is closed; a process for which this
 * is false should be restarted. `ready`: it is live, not stopping, and the backend answers now.
 *
 * @category models
 * @since 0.1.0
 */
export interface Health {
  readonly live: boolean
  readonly ready: boolean
  readonly stopping: boolean
  readonly running: number
  readonly queues: ReadonlyArray<{
    readonly queue: string
    readonly running: number
    readonly concurrency: number
    /** milliseconds since the backend last answered a claim */
    readonly claimedAgo: number
    /** calls to the backend that failed in a row */
    readonly failures: number
  }>
}

/**
 * A running worker.
 *
 * @category services
 * @since 0.1.0
 */
export class Worker extends Context.Service<Worker, {
  readonly id: string
  /** asks for a stop and waits for the end; asking again changes nothing */
  readonly stop: Effect.Effect<Report>
  /** ends the grace period of a stop: running handlers are interrupted now */
  readonly interrupt: Effect.Effect<Report>
  /** waits for the end without asking for it */
  readonly await: Effect.Effect<Report>
  readonly health: Effect.Effect<Health>
  readonly events: Stream.Stream<Event>
}>()("windlass/Worker") {}

type Handlers<Names extends string> = { readonly [N in Names]: Task.Handler<N> }[Names]

type GateNeeds<G> = G extends Gate<infer R> ? R : never

/**
 * What a worker of these tasks needs from `main`: the backend, a handler per task, and what its own list requires.
 *
 * @category type facts
 * @since 0.1.0
 */
export type Needs<
  Names extends string,
  Ms extends ReadonlyArray<unknown>,
  Gs extends ReadonlyArray<unknown>,
  Cs extends ReadonlyArray<Cron.Entry<any>> = readonly []
> =
  | Backend
  | Handlers<Names>
  | Cron.Needs<Cs>
  | Middleware.RequiresOfWorker<Ms[number]>
  | GateNeeds<Gs[number]>

/**
 * Starts a worker with the layer and stops it with the layer's scope: no claims any more, running jobs drained for
 * `shutdownGrace`, then interrupted, then settled. Fails when the backend refuses, a list names a middleware twice, or a
 * cron (of an entry, or of a retry schedule) does not parse.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <
  Names extends string,
  const Ms extends ReadonlyArray<Middleware.ForWorker> = readonly [],
  const Gs extends ReadonlyArray<Gate<any>> = readonly [],
  const Cs extends ReadonlyArray<Cron.Entry<any>> = readonly []
>(
  group: TaskGroup.TaskGroup<Names>,
  options?: Options<Ms, Gs, Cs>
): Layer.Layer<Worker, BackendError | Task.InvalidTask | InvalidWorker, Needs<Names, Ms, Gs, Cs>> =>
  Layer.effect(Worker, make(group, options ?? {}, invalid)) as never

/**
 * {@link layer} with its settings from configuration. Middleware and gates are code and come in `options`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = <
  Names extends string,
  const Ms extends ReadonlyArray<Middleware.ForWorker> = readonly [],
  const Gs extends ReadonlyArray<Gate<any>> = readonly [],
  const Cs extends ReadonlyArray<Cron.Entry<any>> = readonly []
>(
  group: TaskGroup.TaskGroup<Names>,
  settings: Config.Wrap<Settings>,
  options?: Options<Ms, Gs, Cs>
): Layer.Layer<
  Worker,
  BackendError | Task.InvalidTask | InvalidWorker | Config.ConfigError,
  Needs<Names, Ms, Gs, Cs>
> =>
  Layer.effect(
    Worker,
    Effect.flatMap(Config.unwrap(settings), (configured) => make(group, { ...options, ...given(configured) }, invalid))
  ) as never

/**
 * What the workers of a program share. What a worker's options or its configuration say replaces it, setting by setting: a
 * list is replaced, never extended. The list of the defaults is outermost as a worker's own is, and its needs are those of
 * this layer; a service that the worker has itself wins over the same one here. Given twice, the inner layer's settings
 * win. {@link describe} knows definitions alone: it is told the list.
 *
 * ```ts
 * const Defaults = Worker.defaults({ concurrency: 50, middleware: [Logging.observer()] })
 * Worker.layer(App, { concurrency: 5 }).pipe(Layer.provide([SendEmailLive, Defaults]))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const defaults = <const Ms extends ReadonlyArray<Middleware.ForWorker> = readonly []>(
  settings: Omit<Settings, "id"> & Pick<Options<Ms>, "middleware">
): Layer.Layer<never, never, Middleware.RequiresOfWorker<Ms[number]>> =>
  Layer.effectContext(
    Effect.contextWith((context: Context.Context<never>) =>
      Effect.succeed(Context.make(CurrentDefaults, {
        ...Context.get(context, CurrentDefaults),
        ...given(settings),
        ...(settings.middleware === undefined ? {} : { context })
      }))
    )
  ) as never

// ----------------------------------------------------------------------------------------------------------- accessors

/**
 * Asks the worker to stop and waits until it has: drain, interrupt, settle. Idempotent, and may be asked at any time.
 * From within a job use `Job.Current`'s `worker.stop`, which does not wait (the job would wait for itself).
 *
 * @category accessors
 * @since 0.1.0
 */
export const stop: Effect.Effect<Report, never, Worker> = Effect.flatMap(Worker, (worker) => worker.stop)

/**
 * @category accessors
 * @since 0.1.0
 */
export const health: Effect.Effect<Health, never, Worker> = Effect.flatMap(Worker, (worker) => worker.health)

/**
 * What happens to jobs, from now on until the worker is over. A reader that is slower than the worker loses the oldest
 * events.
 *
 * @category accessors
 * @since 0.1.0
 */
export const events: Stream.Stream<Event, never, Worker> = Stream.unwrap(Effect.map(Worker, (worker) => worker.events))

/**
 * One middleware of a task's resolved chain.
 *
 * @category models
 * @since 0.1.0
 */
export type ChainEntry = description.ChainEntry

/**
 * @category models
 * @since 0.1.0
 */
export type TaskDescription = description.TaskDescription

/**
 * The resolved chain and settings of every task, as data: a pure function of the definitions.
 *
 * @category accessors
 * @since 0.1.0
 */
export const describe = (
  group: TaskGroup.TaskGroup<string>,
  options?: { readonly middleware?: ReadonlyArray<Middleware.ForWorker> | undefined }
): ReadonlyArray<TaskDescription> => description.describe(group, options?.middleware ?? [])

// ---------------------------------------------------------------------------------------------------------------- main

/**
 * Runs a worker as a process: the first SIGINT or SIGTERM drains, the second interrupts, the third exits at once. The
 * process exits with 0 after a clean drain, with 1 when the worker failed or had a stuck job, with 130 on the third
 * signal. Ends by itself in `drain` mode.
 *
 * @category running
 * @since 0.1.0
 */
export const run = <E>(layer: Layer.Layer<Worker, E>): void => runMain(layer, Worker)

/**
 * The same without signals and exit codes: builds the layer, waits for the worker's end, returns its report.
 *
 * @category running
 * @since 0.1.0
 */
export const launch = <E, R>(layer: Layer.Layer<Worker, E, R>): Effect.Effect<Report, E, R> =>
  Effect.scoped(Effect.flatMap(Layer.build(layer), (context) => Context.get(context, Worker).await))
