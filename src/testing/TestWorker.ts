/**
 * A worker for tests: the real one, whole chain included, on the memory backend, in the process and on the clock of the
 * test. It runs nothing until it is asked to. What a handler fails with fails the test, unless the test asks for the
 * outcomes instead.
 *
 * ```ts
 * const TestLive = TestWorker.layer(App).pipe(Layer.provide([SendEmailLive, RequireTenantLive, FakeMailbox]))
 *
 * it.effect("welcomes new users", () =>
 *   Effect.gen(function*() {
 *     yield* signUp("ada@example.org")
 *     const [job] = yield* TestWorker.enqueued(SendEmail)
 *     assert.strictEqual(job.payload.subject, "Welcome")
 *     yield* TestWorker.drain()
 *   }).pipe(Effect.provide(TestLive)))
 * ```
 *
 * Time is `TestClock`'s: {@link adjust} lets days pass while the worker works, in milliseconds of real time.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type { Backend, BackendError, Origin, Uniqueness } from "../Backend.ts"
import * as MemoryBackend from "../backends/MemoryBackend.ts"
import type * as Capability from "../Capability.ts"
import type * as Enqueue from "../Enqueue.ts"
import type { Gate } from "../Gate.ts"
import { fromEnvelope } from "../internal/codecs.ts"
import type * as Job from "../Job.ts"
import type * as Middleware from "../Middleware.ts"
import type * as Task from "../Task.ts"
import type * as TaskGroup from "../TaskGroup.ts"
import type * as Worker from "../Worker.ts"
import { make, type Shape } from "./worker/make.ts"
import { NotRun, NotSucceeded, raise, raiseFirst, type Ran } from "./worker/ran.ts"
import { recording, Records, type Stored } from "./worker/records.ts"

export {
  /**
   * A job was stored and could not be run now: it is due later, another job of its group is before it, its queue is paused
   * or not one of the worker's, or a middleware of the enqueue point dropped it. `message` says which.
   *
   * @category errors
   * @since 0.1.0
   */
  NotRun,
  /**
   * A job did not end well. Raised by default; `outcomes: true` hands out what ran instead.
   *
   * @category errors
   * @since 0.1.0
   */
  NotSucceeded,
  /**
   * One hand-out of a job, from its claim to its settlement.
   *
   * @category models
   * @since 0.1.0
   */
  type Ran,
  /**
   * Every job that was stored, oldest first: what {@link enqueued} reads.
   *
   * @category services
   * @since 0.1.0
   */
  Records,
  /**
   * One stored job as the backend received it, after the middleware of the enqueue point.
   *
   * @category models
   * @since 0.1.0
   */
  type Stored
}

// ------------------------------------------------------------------------------------------------------------ service

/**
 * The worker under test. Use the functions of this module.
 *
 * @category services
 * @since 0.1.0
 */
export class TestWorker extends Context.Service<TestWorker, Shape>()("windlass/testing/TestWorker") {}

/**
 * What a worker under test may be told: all that a worker may, but its mode and how it polls. `concurrency` is 1 unless
 * set, so that a test sees one order.
 *
 * @category models
 * @since 0.1.0
 */
export type Options<
  Ms extends ReadonlyArray<Middleware.ForWorker> = ReadonlyArray<Middleware.ForWorker>,
  Gs extends ReadonlyArray<Gate<any>> = ReadonlyArray<Gate<any>>
> = Omit<Worker.Options<Ms, Gs>, "mode" | "pollInterval">

/**
 * The queue of a test: the memory backend, with a record of what was put into it. Succeeded jobs stay inspectable for
 * 30 days. {@link layer} brings it along; provide it to what needs it before the worker is there, as handlers that
 * enqueue do: it is the same queue.
 *
 * ```ts
 * TestWorker.layer(App).pipe(Layer.provide(ImportLive), Layer.provideMerge(TestWorker.backend))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const backend: Layer.Layer<Backend | Capability.AllButTransactional | Records> = recording(
  MemoryBackend.layerWith({ name: "test", retention: { successes: "30 days" } })
)

/**
 * A worker of these tasks that runs jobs when the test asks it to, with the queue that it works on. What it requires are
 * the handlers, as `Worker.layer` does: a missing one does not compile. The end of the layer interrupts what still runs.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <
  Names extends string,
  const Ms extends ReadonlyArray<Middleware.ForWorker> = readonly [],
  const Gs extends ReadonlyArray<Gate<any>> = readonly []
>(
  group: TaskGroup.TaskGroup<Names>,
  options?: Options<Ms, Gs>
): Layer.Layer<
  TestWorker | Backend | Capability.AllButTransactional | Records,
  BackendError | Task.InvalidTask | Worker.InvalidWorker,
  Exclude<Worker.Needs<Names, Ms, Gs>, Backend | Capability.AllButTransactional | Records>
> => Layer.effect(TestWorker, make(group, options ?? {})).pipe(Layer.provideMerge(backend)) as never

// ------------------------------------------------------------------------------------------------------------ running

/**
 * With `outcomes: true` a call hands out what ran instead of raising what did not end well.
 *
 * @category models
 * @since 0.1.0
 */
export interface Look {
  readonly outcomes: true
}

/** Any task, as far as running it goes. */
type Runnable = Task.Any & { readonly enqueue: (payload: never) => Enqueue.Enqueue<string, unknown, unknown> }

type EnqueueOf<T extends Runnable> = ReturnType<T["enqueue"]>

/**
 * Combinators of `Enqueue` for a job that is enqueued to be run: `{ enqueue: Enqueue.headers({ ... }) }`, or a function
 * that pipes through several.
 *
 * @category models
 * @since 0.1.0
 */
export interface Enqueueing<T extends Runnable, E, R> {
  readonly enqueue?:
    | ((
      self: Enqueue.Enqueue<string, Effect.Error<EnqueueOf<T>>, Effect.Services<EnqueueOf<T>>>
    ) => Enqueue.Enqueue<string, E, R, any>)
    | undefined
}

/**
 * Enqueues one job and runs one attempt of it, before all other jobs and without them: the enqueue point, the whole
 * chain, the handler, the settlement. Succeeds with what the handler returned and fails with what it, or its middleware,
 * failed with, as it was raised (defects stay defects). Anything else is {@link NotSucceeded}: a discard, a snooze, a
 * retry that was decided. A failed attempt that is to be retried stays in the queue. Jobs that stood before it are claimed
 * and given back in their order, no attempt spent.
 *
 * With `outcomes: true` it succeeds with the {@link Ran}, whatever the outcome.
 *
 * @category running
 * @since 0.1.0
 */
export const run: {
  <T extends Runnable, E = Effect.Error<EnqueueOf<T>>, R = Effect.Services<EnqueueOf<T>>>(
    task: T,
    payload: Parameters<T["enqueue"]>[0],
    options: Look & Enqueueing<T, E, R>
  ): Effect.Effect<Ran, E | NotRun, R | TestWorker>
  <T extends Runnable, E = Effect.Error<EnqueueOf<T>>, R = Effect.Services<EnqueueOf<T>>>(
    task: T,
    payload: Parameters<T["enqueue"]>[0],
    options?: Enqueueing<T, E, R>
  ): Effect.Effect<
    Task.SuccessOf<T>,
    Task.ErrorOf<T> | Job.TimedOut | NotSucceeded | NotRun | E,
    R | TestWorker
  >
} = (task: Runnable, payload: unknown, options?: Partial<Look> & Enqueueing<any, any, any>): any =>
  Effect.gen(function*() {
    const worker = yield* TestWorker
    const enqueue: Enqueue.Enqueue<string, any, any> = task.enqueue(payload as never)
    const id = yield* options?.enqueue === undefined ? enqueue : options.enqueue(enqueue)
    const ran = yield* worker.job(id)
    return options?.outcomes === true ? ran : yield* raise(ran)
  })

/**
 * Runs the job that the worker would claim next and says what it came to; undefined when none is due. Fails with
 * {@link NotSucceeded} when the attempt failed, unless `outcomes: true`.
 *
 * @category running
 * @since 0.1.0
 */
export const runNext: {
  (options: Look): Effect.Effect<Ran | undefined, never, TestWorker>
  (options?: undefined): Effect.Effect<Ran | undefined, NotSucceeded, TestWorker>
} = (options?: Look): Effect.Effect<Ran | undefined, never, TestWorker> =>
  Effect.flatMap(
    TestWorker,
    (worker) =>
      Effect.flatMap(worker.next, (ran) =>
        ran === undefined || options?.outcomes === true
          ? Effect.succeed(ran)
          : Effect.as(raiseFirst([ran]), ran) as Effect.Effect<Ran>)
  )

/**
 * Runs all that is due, and what that enqueues, until nothing is due and nothing is running; returns what ran, in the
 * order in which it was settled. Then fails with {@link NotSucceeded} when an attempt failed, unless `outcomes: true`.
 *
 * No time passes: a job that is retried later stays in the queue, and a handler that sleeps keeps this waiting until
 * the test moves `TestClock` (fork the drain, or use {@link adjust}).
 *
 * @category running
 * @since 0.1.0
 */
export const drain: {
  (options: Look): Effect.Effect<ReadonlyArray<Ran>, never, TestWorker>
  (options?: undefined): Effect.Effect<ReadonlyArray<Ran>, NotSucceeded, TestWorker>
} = (options?: Look): Effect.Effect<ReadonlyArray<Ran>, never, TestWorker> =>
  Effect.flatMap(TestWorker, (worker) => looking(worker.drain, options))

/**
 * `TestClock.adjust` with the worker at work: runs what is due, lets the time pass, and runs what becomes due meanwhile,
 * each at its time. Returns what was over by then; a handler that is still asleep goes on with the next call. Then fails
 * with {@link NotSucceeded} when an attempt failed, unless `outcomes: true`.
 *
 * Handlers that wait for something real (a file, a socket) are not waited for: follow it with {@link drain}.
 *
 * @category running
 * @since 0.1.0
 */
export const adjust: {
  (duration: Duration.Input, options: Look): Effect.Effect<ReadonlyArray<Ran>, never, TestWorker>
  (duration: Duration.Input, options?: undefined): Effect.Effect<ReadonlyArray<Ran>, NotSucceeded, TestWorker>
} = (duration: Duration.Input, options?: Look): Effect.Effect<ReadonlyArray<Ran>, never, TestWorker> =>
  Effect.flatMap(TestWorker, (worker) => looking(worker.adjust(duration), options))

const looking = (ran: Effect.Effect<ReadonlyArray<Ran>>, options: Look | undefined) =>
  options?.outcomes === true ? ran : Effect.flatMap(ran, raiseFirst) as Effect.Effect<ReadonlyArray<Ran>>

// ------------------------------------------------------------------------------------------------------------ looking

/**
 * A job that was enqueued, with its options. Times are milliseconds since the epoch.
 *
 * @category models
 * @since 0.1.0
 */
export interface Enqueued<out Payload> {
  readonly id: string
  readonly payload: Payload
  readonly queue: string
  readonly enqueuedAt: number
  /** when it becomes due, if it was delayed */
  readonly dueAt: number | undefined
  readonly priority: number
  readonly unique: Uniqueness | undefined
  readonly group: string | undefined
  /** the limit that the enqueue gave to the group, if it gave one */
  readonly groupLimit: number | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly origin: Origin
}

/**
 * The jobs of a task that were stored since the test began (or since {@link clear}), oldest first, whether they have run
 * or not: what the code under test asked for. A duplicate that was not stored is not among them. Dies when a payload
 * cannot be decoded, as one that a middleware of the enqueue point encrypted; {@link stored} has it as it is.
 *
 * @category looking
 * @since 0.1.0
 */
export const enqueued = <T extends Task.Any>(
  task: T
): Effect.Effect<ReadonlyArray<Enqueued<Task.PayloadOf<T>>>, never, TestWorker> =>
  Effect.flatMap(stored, (all) =>
    Effect.forEach(
      all.filter(({ item }) => item.envelope.task === task._tag || task.aliases.includes(item.envelope.task)),
      ({ at, item, queue }) => {
        const { due, envelope, group, groupLimit, priority = 0, unique } = item
        const payload = fromEnvelope(task.codecs, envelope)
        return Exit.isFailure(payload)
          ? Effect.die(
            new Error(
              `job ${envelope.id} of task ${task._tag} was stored with a payload that its schema does not read ` +
                "(encrypted by a middleware of the enqueue point?): look at TestWorker.stored",
              { cause: payload.cause }
            )
          )
          : Effect.succeed({
            id: envelope.id,
            payload: payload.value as Task.PayloadOf<T>,
            queue,
            enqueuedAt: at,
            dueAt: due === undefined ? undefined : due._tag === "At" ? due.time : at + due.millis,
            priority,
            unique,
            group,
            groupLimit,
            headers: envelope.headers,
            origin: envelope.origin
          })
      }
    ))

/**
 * Every job that was stored, of every task, as the backend received it: after the middleware of the enqueue point.
 *
 * @category looking
 * @since 0.1.0
 */
export const stored: Effect.Effect<ReadonlyArray<Stored>, never, TestWorker> = Effect.flatMap(
  TestWorker,
  (worker) => worker.stored
)

/**
 * All that ran so far, in the order in which it was settled.
 *
 * @category looking
 * @since 0.1.0
 */
export const ran: Effect.Effect<ReadonlyArray<Ran>, never, TestWorker> = Effect.flatMap(
  TestWorker,
  (worker) => worker.ran
)

/**
 * Takes back every job that waits, forgets the dead letters, and begins the records of {@link enqueued} and {@link ran}
 * anew: for a layer that several tests share. A job that is running goes on.
 *
 * @category looking
 * @since 0.1.0
 */
export const clear: Effect.Effect<void, never, TestWorker> = Effect.flatMap(TestWorker, (worker) => worker.clear)
