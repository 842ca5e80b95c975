/**
 * A middleware alone: the harness plays what stands inside of it and tells what happened as data. It goes through the
 * worker's own pipeline, so that what it shows is what production does; there is no queue and no other middleware.
 *
 * ```ts
 * const result = yield* Harness.run(PoolSlotLive, { inner: Harness.fail(new Refused()) })
 * assert.deepStrictEqual(result.events, ["acquire", "inner", "inner: failure", "release", "closed", "outer: failure"])
 * ```
 *
 * `events` is the order of things: `inner` and `inner: success` (or `failure`, `defect`, `interruption`) around what is
 * played, `closed` when the middleware's scope has released what was acquired in it, `outer: ...` when the exit arrives
 * outside, `before` and `after` for the hooks of an observer. Fakes add their own with {@link note}.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { BackendError, Delivery, Published, Settlement } from "../Backend.ts"
import type { Decide } from "../Decide.ts"
import type * as Enqueue from "../Enqueue.ts"
import { nameOf } from "../internal/worker/resolve.ts"
import type * as Job from "../Job.ts"
import * as Middleware from "../Middleware.ts"
import type { Outcome } from "../Outcome.ts"
import type * as Task from "../Task.ts"
import * as enqueuing from "./harness/enqueue.ts"
import * as events from "./harness/events.ts"
import { type Part, play, type Played, type Script } from "./harness/play.ts"

// --------------------------------------------------------------------------------------------------------- what is played

/**
 * The inner effect succeeds.
 *
 * @category playing
 * @since 0.1.0
 */
export const succeed: <A>(value: A) => Effect.Effect<A> = Effect.succeed

/**
 * The inner effect fails with a typed error (or a `Decide`).
 *
 * @category playing
 * @since 0.1.0
 */
export const fail: <E>(error: E) => Effect.Effect<never, E> = Effect.fail

/**
 * The inner effect dies.
 *
 * @category playing
 * @since 0.1.0
 */
export const die: (defect: unknown) => Effect.Effect<never> = Effect.die

/**
 * The inner effect interrupts itself; nobody asked for it. For a shutdown, an abort or a lost lease play {@link never} and
 * `stop`.
 *
 * @category playing
 * @since 0.1.0
 */
export const interrupt: Effect.Effect<never> = Effect.interrupt

/**
 * The inner effect never ends: something must end it, as `stop` or a time limit of the middleware.
 *
 * @category playing
 * @since 0.1.0
 */
export const never: Effect.Effect<never> = Effect.never

/**
 * Adds a line to the events of the harness that is running; nothing outside of one.
 *
 * @category playing
 * @since 0.1.0
 */
export const note: (event: string) => Effect.Effect<void> = events.note

/**
 * Why the worker asks the attempt to stop.
 *
 * @category models
 * @since 0.1.0
 */
export type Stopping = NonNullable<Job.Job["stopping"]>

/**
 * What stands around the middleware under test.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<I, A, E, R> {
  /** what `next` runs, or a function of the payload that it is given; succeeds with `undefined` unless set */
  readonly inner?: Effect.Effect<A, E, R> | ((payload: I) => Effect.Effect<A, E, R>) | undefined
  /** the payload as the chain receives it */
  readonly payload?: I | undefined
  /** the payload as it is stored, for the delivery point; JSON of `payload` (or what `task` makes of it) unless set */
  readonly encoded?: string | undefined
  /** whose job it is: its name, its codecs, and what observers see of it. A task without a contract unless set */
  readonly task?: Task.Any | undefined
  /**
   * facts of the job. Attempt 1 of task `harness` in queue `default` unless set, and the last one: with
   * `lastAttempt: false` a failure is retried
   */
  readonly job?: Partial<Job.Info> | undefined
  /** the worker asks the attempt to stop: once the inner effect has started, or when `when` ends */
  readonly stop?: Stopping | { readonly why: Stopping; readonly when: Effect.Effect<unknown> } | undefined
}

// ---------------------------------------------------------------------------------------------------------- what happened

/**
 * One run of the inner effect.
 *
 * @category models
 * @since 0.1.0
 */
export interface Next {
  /** what the middleware gave to `next` */
  readonly input: unknown
  readonly exit: Exit.Exit<unknown, unknown>
  /** what the inner effect could see */
  readonly context: Context.Context<never>
}

/**
 * What happened.
 *
 * @category models
 * @since 0.1.0
 */
export interface Result<out A, out E> {
  /** what arrived outside of the middleware; undefined when the run point was not reached (an undecodable payload) */
  readonly exit: Exit.Exit<A, E> | undefined
  /** what the worker makes of it, for a task without a retry policy (`job.lastAttempt: false`: with one) */
  readonly outcome: Outcome
  /** what the backend would be told; undefined when the lease was lost */
  readonly settlement: Settlement | undefined
  /** the runs of the inner effect, in order; empty when the middleware did not run `next` */
  readonly next: ReadonlyArray<Next>
  /** the hand-out as what stands inside of a delivery middleware saw it last */
  readonly delivery: Delivery
  readonly events: ReadonlyArray<string>
  /** the service as the inner effect saw it in its last run */
  readonly provided: <I, S>(service: Context.Key<I, S>) => Option.Option<S>
}

type Rest<R, P = never> = Exclude<R, P | Scope.Scope | Job.Current>

/**
 * Runs a middleware around a played inner effect: a declared one (its implementation comes from the context), one
 * written in place, of the delivery point, an observer, or a bare wrap as it is given to a `Layer`. Never fails: what it
 * came to is in the {@link Result}.
 *
 * @category running
 * @since 0.1.0
 */
export const run: {
  <M extends Middleware.AnyService, I = unknown, A = undefined, E = never, R = never>(
    middleware: M,
    options?: Options<I, A, E, R>
  ): Effect.Effect<
    Result<A, E | Middleware.Error<M> | Decide>,
    never,
    Middleware.Implementation<M> | Rest<Middleware.Requires<M>> | Rest<R, Middleware.Provides<M>>
  >
  <RM, I = unknown, A = undefined, E = never, R = never>(
    middleware: Middleware.Inline<RM> | Middleware.Delivery<RM> | Middleware.Observer<RM>,
    options?: Options<I, A, E, R>
  ): Effect.Effect<Result<A, E | Decide>, never, Rest<RM> | Rest<R>>
  <P, EM, RM, I = unknown, A = undefined, E = never, R = never>(
    wrap: Middleware.Wrap<P, EM, RM>,
    options?: Options<I, A, E, R>
  ): Effect.Effect<Result<A, E | EM>, never, Rest<RM> | Rest<R, P>>
} = (middleware: unknown, options?: Options<any, any, any, any>): Effect.Effect<any, never, any> =>
  Effect.contextWith((context: Context.Context<never>) =>
    Effect.map(play(partOf(middleware, context), scriptOf(options ?? {})), toResult)
  )

/**
 * Runs an own wrap of a task (what `Task.wrap` takes), whose types are fixed: it may replace the payload and the result.
 *
 * @category running
 * @since 0.1.0
 */
export const own = <T extends Task.Any, P = never, R = never, RI = never>(
  task: T,
  wrap: Task.OwnWrap<Task.PayloadOf<T>, Task.SuccessOf<T>, T["errorSchema"]["Type"], P, R>,
  options: Options<Task.PayloadOf<T>, Task.SuccessOf<T>, T["errorSchema"]["Type"] | Decide, RI> & {
    readonly payload: Task.PayloadOf<T>
  }
): Effect.Effect<Result<Task.SuccessOf<T>, T["errorSchema"]["Type"] | Decide>, never, Rest<R> | Rest<RI, P>> =>
  Effect.map(
    play({ point: "run", named: { name: `${task._tag}.wrap`, wrap } }, scriptOf({ task, ...options })),
    toResult
  ) as Effect.Effect<any, never, any>

const partOf = (middleware: unknown, context: Context.Context<never>): Part => {
  if (Middleware.isDelivery(middleware)) return { point: "delivery", wrap: middleware.wrap }
  if (Middleware.isObserver(middleware)) return { point: "observe", observer: middleware }
  type WrapFn = Extract<Part, { readonly point: "run" }>["named"]["wrap"]
  if (Middleware.isService(middleware)) {
    return {
      point: "run",
      named: {
        name: nameOf(middleware),
        wrap: Context.getUnsafe(context as Context.Context<any>, middleware) as WrapFn
      }
    }
  }
  if (Middleware.isInline(middleware)) {
    return { point: "run", named: { name: middleware.name, wrap: middleware.wrap as unknown as WrapFn } }
  }
  return { point: "run", named: { name: "wrap", wrap: middleware as WrapFn } }
}

const scriptOf = (options: Options<any, any, any, any>): Script => {
  const { encoded, inner = Effect.undefined, job = {}, payload, stop, task } = options
  return {
    inner: typeof inner === "function" ? inner : () => inner,
    payload,
    encoded,
    task,
    job,
    stop: typeof stop === "string" ? { why: stop, when: undefined } : stop
  }
}

const toResult = (played: Played): Result<unknown, unknown> => ({
  ...played,
  provided: (service) => {
    const last = played.next.at(-1)
    return last === undefined ? Option.none() : Context.getOption(last.context, service)
  }
})

// -------------------------------------------------------------------------------------------------------- the enqueue point

/**
 * What stands around a middleware of the enqueue point.
 *
 * @category models
 * @since 0.1.0
 */
export interface EnqueueOptions {
  /** whose jobs are enqueued; a task `harness` that takes any JSON unless set */
  readonly task?: Task.Any | undefined
  /** one job per payload; one without a payload unless set */
  readonly payloads?: ReadonlyArray<unknown> | undefined
  /** combinators of `Enqueue`, as `Enqueue.headers({ ... })` */
  readonly enqueue?:
    | ((self: Enqueue.Enqueue<ReadonlyArray<string>, any, any, any>) => Effect.Effect<any, any, any>)
    | undefined
  /** what the backend answers to a batch; stores every item unless set */
  readonly inner?:
    | ((batch: Enqueue.Batch) => Effect.Effect<ReadonlyArray<Published>, BackendError>)
    | undefined
}

/**
 * What happened at the enqueue point.
 *
 * @category models
 * @since 0.1.0
 */
export interface EnqueueResult {
  /** what the caller got: the ids, or why not */
  readonly exit: Exit.Exit<ReadonlyArray<string>, Enqueue.EnqueueError | Enqueue.AlreadyEnqueued>
  /** the batches that reached the backend, as they reached it */
  readonly published: ReadonlyArray<Enqueue.Batch>
  readonly events: ReadonlyArray<string>
}

/**
 * Runs a middleware of the enqueue point (as it is given to `Enqueue.layer` or `Middleware.layerEnqueue`) around a played
 * backend, on the producer's own path: payloads are encoded before it and limits are checked after it.
 *
 * @category running
 * @since 0.1.0
 */
export const enqueue = <R = never>(
  wrap: Enqueue.Wrap<R>,
  options: EnqueueOptions = {}
): Effect.Effect<EnqueueResult, never, Exclude<R, Scope.Scope>> =>
  enqueuing.play(wrap, {
    task: options.task,
    payloads: options.payloads ?? [null],
    enqueue: options.enqueue,
    inner: options.inner ?? ((batch) => Effect.succeed(batch.items.map(() => ({ _tag: "Stored" }))))
  }) as Effect.Effect<EnqueueResult, never, any>

/**
 * How an exit ended, in the word that the events use.
 *
 * @category looking
 * @since 0.1.0
 */
export const ended: (exit: Exit.Exit<unknown, unknown>) => "success" | "failure" | "defect" | "interruption" =
  events.endedOf
