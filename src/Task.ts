/**
 * A task is a contract, shared by the program that enqueues and the program that works: a name, a payload schema, a
 * success schema, an error schema, and the middleware that it is declared with. Its handler is a `Layer`.
 *
 * ```ts
 * class SendEmail extends Task.make("SendEmail", {
 *   payload: { to: Schema.String, subject: Schema.String },
 *   error: MailRejected,
 *   middleware: [RequireTenant],
 *   retry: Schedule.exponential("1 second").pipe(Schedule.upTo({ times: 5 }))
 * }) {}
 * ```
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Backend, BackendError } from "./Backend.ts"
import type { Results } from "./Capability.ts"
import type { Decide } from "./Decide.ts"
import type * as Enqueue from "./Enqueue.ts"
import type { Codecs } from "./internal/codecs.ts"
import * as internal from "./internal/task.ts"
import type * as Job from "./Job.ts"
import type * as Middleware from "./Middleware.ts"

// ------------------------------------------------------------------------------------------------------------- models

/**
 * @category type ids
 * @since 0.1.0
 */
export const TypeId: typeof internal.TypeId = internal.TypeId

/**
 * A schema that needs no services; it must decode and encode synchronously.
 *
 * @category models
 * @since 0.1.0
 */
export type PlainSchema = Schema.Top & { readonly DecodingServices: never; readonly EncodingServices: never }

/**
 * What a retry policy is asked about: a failure that the task or its middleware declares, a time-out, or a defect.
 *
 * @category models
 * @since 0.1.0
 */
export type Failure<E> = E | Job.TimedOut | Job.Died

/**
 * When a failed attempt is tried again. A bare `Schedule` retries every failure by that schedule until it is exhausted;
 * `while` says which failures are worth another attempt (the others are dead at once); `maxAttempts` caps all (25 unless
 * set). The delay of attempt n is found by replaying the schedule over what the backend stored of the job: the number
 * of failures and the time of the first one; jitter is seeded by the job's id. Without a policy nothing is retried.
 *
 * @category models
 * @since 0.1.0
 */
export type Retry<E> =
  | Schedule.Schedule<unknown, Failure<E>, unknown>
  | {
    readonly schedule: Schedule.Schedule<unknown, Failure<E>, unknown>
    readonly while?: ((failure: Failure<E>) => boolean) | undefined
    readonly maxAttempts?: number | undefined
  }

/**
 * What becomes of a run that was cut short: back to the front of the queue and no attempt spent, a failed attempt that
 * follows the retry policy, or dead.
 *
 * @category models
 * @since 0.1.0
 */
export type CutShort = "requeue" | "retry" | "fail"

/**
 * What a task and its group may say about how jobs of it run.
 *
 * @category models
 * @since 0.1.0
 */
export interface Settings {
  /** the queue that its jobs go to; `default` unless set */
  readonly queue?: string | undefined
  /** bounds the handler's body: it is interrupted and the attempt fails with `TimedOut`. Off unless set */
  readonly timeout?: Duration.Input | undefined
  /**
   * bounds the whole chain, middleware and releases included: a chain that is still open then is declared stuck, its
   * lease is no longer renewed, and the worker stops. `timeout` plus 10 seconds unless set; off when neither is set.
   * Without a `timeout` it bounds the handler's body, and the chain has 10 seconds more to unwind
   */
  readonly runTimeout?: Duration.Input | undefined
  /** how long after its enqueue a job is of use: later it is dead as `expired` without running. Off unless set */
  readonly deadline?: Duration.Input | undefined
  /** a run that a shutdown interrupted; `requeue` unless set */
  readonly onInterrupted?: CutShort | undefined
  /** a run whose worker was lost; `requeue` unless set */
  readonly onLost?: CutShort | undefined
}

/**
 * A task's own wrap: fixed types, so it may replace payload and result, succeed with a value, or turn a failure into a
 * success. `E` is what the task declares; anything else it must handle.
 *
 * @category models
 * @since 0.1.0
 */
export interface OwnWrap<I, A, E, P, R> {
  (
    next: (payload: I) => Effect.Effect<A, E | Decide, P>,
    payload: I,
    job: Job.Job
  ): Effect.Effect<A, E | Decide, R | Scope.Scope | Job.Current>
}

/**
 * The evidence that a worker has a handler for the task of this name.
 *
 * @category models
 * @since 0.1.0
 */
export interface Handler<in out Name extends string> {
  readonly "~windlass/Task/Handler": Name
}

/**
 * - `Ms`: the middleware it is declared with, outermost first, the group's included
 * - `WP`, `WR`: what its own wraps provide and require
 *
 * @category models
 * @since 0.1.0
 */
export interface Task<
  Name extends string,
  Payload extends PlainSchema,
  Success extends PlainSchema,
  Error extends PlainSchema,
  Ms extends ReadonlyArray<Middleware.Any> = readonly [],
  WP = never,
  WR = never
> extends Any {
  new(_: never): {}
  readonly _tag: Name
  readonly payloadSchema: Payload
  readonly successSchema: Success
  readonly errorSchema: Error
  readonly middleware: Ms
  readonly "~provided": WP
  readonly "~required": WR

  /**
   * Puts one job into the queue and returns its id; durable when it returns. Options are combinators of `Enqueue`. A job
   * that a middleware of the enqueue point drops has an id as well, under which nothing is stored.
   */
  readonly enqueue: (payload: Payload["~type.make.in"]) => Enqueue.Enqueue<
    string,
    Enqueue.EnqueueError,
    Backend | Middleware.EnqueueHalf<Ms[number]>
  >

  /**
   * Puts many jobs into the queue in as few calls as the backend takes and returns their ids, in order. Options hold for
   * every job of the call. When a later one of several calls fails, what was stored before stays: the `BackendError` says
   * how many, and its `outcome` is `Unknown`.
   */
  readonly enqueueMany: (payloads: Iterable<Payload["~type.make.in"]>) => Enqueue.Enqueue<
    ReadonlyArray<string>,
    Enqueue.EnqueueError,
    Backend | Middleware.EnqueueHalf<Ms[number]>
  >

  /**
   * Enqueues and waits for the end of the job: its typed success, or the failure that the task or its middleware
   * declares, over the process boundary. A job that ended otherwise is `Discarded`, `Aborted` or `Dead`. Interrupting
   * the wait leaves the job in the queue.
   */
  readonly execute: (payload: Payload["~type.make.in"]) => Enqueue.Enqueue<
    Success["Type"],
    | Error["Type"]
    | Middleware.Error<Ms[number]>
    | Job.Discarded
    | Job.Aborted
    | Job.Dead
    | Enqueue.EnqueueError,
    Backend | Results | Middleware.EnqueueHalf<Ms[number]>
  >

  /**
   * The task with one more wrap of its own, around those it has and inside of its declared middleware.
   */
  readonly wrap: <P2 = never, R2 = never>(
    wrap: OwnWrap<Payload["Type"], Success["Type"], Error["Type"], P2, R2>
  ) => Task<Name, Payload, Success, Error, Ms, WP | P2, Exclude<WR, P2> | R2>

  /**
   * Supplies the handler. It runs once per attempt, interruptibly, in a fiber and a scope of its own; it may fail with
   * what the task declares and with a `Decide`. The layer requires the implementations of the task's middleware, and
   * what the handler needs and no middleware provides. An effect instead of a function is run once, when the layer is
   * built, and returns the handler.
   */
  readonly toLayer: <R, EX = never, RX = never>(
    handler:
      | ((payload: Payload["Type"]) => Effect.Effect<Success["Type"], Error["Type"] | Decide, R>)
      | Effect.Effect<
        (payload: Payload["Type"]) => Effect.Effect<Success["Type"], Error["Type"] | Decide, R>,
        EX,
        RX
      >
  ) => Layer.Layer<Handler<Name>, EX, Needs<Ms, WP, WR, R> | Exclude<RX, Scope.Scope>>
}

/**
 * What the layer of a handler that needs `R` requires.
 *
 * @category type facts
 * @since 0.1.0
 */
export type Needs<Ms extends ReadonlyArray<unknown>, WP, WR, R> =
  | Middleware.Implementation<Ms[number]>
  | Exclude<Middleware.Apply<Ms, Exclude<R, WP> | WR>, Scope.Scope | Job.Current>

/**
 * A task of any type.
 *
 * @category models
 * @since 0.1.0
 */
export interface Any {
  readonly [TypeId]: typeof TypeId
  readonly _tag: string
  /** version of the payload's schema, from 1 */
  readonly version: number
  readonly payloadSchema: PlainSchema
  readonly successSchema: PlainSchema
  readonly errorSchema: PlainSchema
  readonly aliases: ReadonlyArray<string>
  readonly settings: Settings
  readonly retry: Retry<any> | undefined
  readonly middleware: ReadonlyArray<Middleware.Any>
  /** for each entry of `middleware` the scope that it comes from: `group <name>` or `task` */
  readonly middlewareScopes: ReadonlyArray<string>
  /** the task's own wraps, innermost first */
  readonly wraps: ReadonlyArray<OwnWrap<any, any, any, any, any>>
  /** @internal */
  readonly codecs: Codecs
  /** what `Channel.make` adds @internal */
  readonly channel?: unknown
}

/**
 * @category guards
 * @since 0.1.0
 */
export const isTask = (u: unknown): u is Any =>
  typeof u === "function" && (u as unknown as Record<string, unknown>)[TypeId] === TypeId

export { InvalidTask } from "./internal/task.ts"

// ------------------------------------------------------------------------------------------------------- constructors

/** The payload of a task may be given as the fields of a struct. */
type Fields = { readonly [field: string]: PlainSchema }

type ToSchema<P extends PlainSchema | Schema.Struct.Fields> = P extends Schema.Struct.Fields ? Schema.Struct<P>
  : P extends PlainSchema ? P
  : never

/**
 * @category models
 * @since 0.1.0
 */
export interface Options<
  P extends PlainSchema | Schema.Struct.Fields,
  A extends PlainSchema,
  E extends PlainSchema,
  Ms extends ReadonlyArray<Middleware.Any>
> extends Settings {
  /** the fields of the payload, or a schema; nothing unless set */
  readonly payload?: P | undefined
  /** what the handler returns; `void` unless set */
  readonly success?: A | undefined
  /** what the handler may fail with; nothing unless set */
  readonly error?: E | undefined
  /** first = outermost; inside of the group's */
  readonly middleware?: Middleware.InOrder<Ms> & Ms
  readonly retry?: Retry<E["Type"] | Middleware.Error<Ms[number]>> | undefined
  /** version of the payload's schema, from 1; raise it when the encoded form changes and say in `upcast` how */
  readonly version?: number | undefined
  /** for every older version that may still be stored: its encoded payload (JSON) to that of the version after it */
  readonly upcast?: { readonly [version: number]: (payload: any) => unknown } | undefined
  /** names that this task had before: jobs stored under them still run */
  readonly aliases?: ReadonlyArray<string> | undefined
}

/**
 * Defines a task. Throws {@link InvalidTask} when the definition cannot work (the same middleware twice, an up-cast that
 * leads past the version).
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <
  const Name extends string,
  P extends PlainSchema | Fields = Schema.Void,
  A extends PlainSchema = Schema.Void,
  E extends PlainSchema = Schema.Never,
  const Ms extends ReadonlyArray<Middleware.Any> = readonly []
>(
  name: Name,
  options?: Options<P, A, E, Ms>
): Task<Name, ToSchema<P>, A, E, Ms> =>
  internal.makeShared(name, options, { middleware: [], scopes: [], settings: {} }) as never

/**
 * The methods of `T` that put jobs into the queue, for payloads of which the fields `K` may be left out.
 *
 * @category models
 * @since 0.1.0
 */
export interface Preset<T extends Any, K extends PropertyKey> {
  readonly enqueue: (rest: Rest<T, K>) => ReturnType<T extends { enqueue: infer F extends Method } ? F : never>
  readonly enqueueMany: (
    rests: Iterable<Rest<T, K>>
  ) => ReturnType<T extends { enqueueMany: infer F extends Method } ? F : never>
  readonly execute: (rest: Rest<T, K>) => ReturnType<T extends { execute: infer F extends Method } ? F : never>
}

type Method = (payload: any) => unknown
type Input<T> = T extends { readonly payloadSchema: infer P extends Schema.Top } ? P["~type.make.in"] : never
type Rest<T, K extends PropertyKey> = RestOf<Input<T>, K>

/** of each member of a union by itself: `Omit` would leave what all of them have */
type RestOf<I, K extends PropertyKey> = I extends unknown ? Omit<I, K> & { readonly [F in K & keyof I]?: I[F] } : never

/**
 * A task with a part of its payload chosen already: what is enqueued says the rest, and where both name a field the rest
 * wins. Options come after, as they do on the task.
 *
 * ```ts
 * const Greet = Task.preset(SendEmail, { subject: "hi" })
 * yield* Greet.enqueue({ to }).pipe(Enqueue.delay("1 minute"))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const preset = <T extends Any, K extends keyof Input<T>>(task: T, fields: Pick<Input<T>, K>): Preset<T, K> =>
  internal.preset(task, fields) as never

/**
 * The errors that a job of this task can end with, its middleware's included.
 *
 * @category type facts
 * @since 0.1.0
 */
export type ErrorOf<T> = T extends Task<any, any, any, infer E, infer Ms, any, any>
  ? E["Type"] | Middleware.Error<Ms[number]>
  : never

/**
 * @category type facts
 * @since 0.1.0
 */
export type PayloadOf<T> = T extends { readonly payloadSchema: infer P extends Schema.Top } ? P["Type"] : never

/**
 * @category type facts
 * @since 0.1.0
 */
export type SuccessOf<T> = T extends { readonly successSchema: infer A extends Schema.Top } ? A["Type"] : never

/**
 * What `execute` and `enqueue` may fail with on the way to the backend.
 *
 * @category errors
 * @since 0.1.0
 */
export type TransportError = BackendError | Enqueue.EnqueueError
