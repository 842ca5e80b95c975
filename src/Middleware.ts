/**
 * Middleware: a function around a function.
 *
 * A list reads from the outside in: the first is the outermost. Around a job stand, from the outside: the worker's list,
 * the group's, the task's, the task's own wraps, the handler. Every attempt enters the whole chain again.
 *
 * - {@link Service} declares a middleware whose facts the types of a task must know (what it provides, requires, and may
 *   fail with); its implementation is a `Layer`.
 * - {@link make} and {@link hooks} write an implementation: for a declared middleware, or in place for one that provides
 *   nothing and adds no error.
 * - {@link observe} watches and cannot change anything.
 * - {@link delivery} stands around everything that happens to one hand-out of a job, decoding and settlement included.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Backend from "./Backend.ts"
import type { Decide } from "./Decide.ts"
import type * as Enqueue from "./Enqueue.ts"
import { capture } from "./internal/capture.ts"
import { finalize } from "./internal/finalize.ts"
import type * as Job from "./Job.ts"
import type { Outcome } from "./Outcome.ts"

/**
 * The concept, for every task: because it is generic in the payload, the result and the failures of what it
 * wraps, it cannot invent a result, swallow a failure, forget to provide `P`, or fail with what is not in `E`.
 *
 * It runs once per attempt, uninterruptibly: a shutdown, an abort or a lost lease interrupts the handler's body and
 * nothing else. Mark a wait that may be cut short with `Effect.interruptible`. What it acquires in its `Scope` is
 * released when its effect ends, before the middleware outside of it sees the exit. `next` may be run again after it has
 * ended; running it while it is open, or after the wrap returned, dies with {@link NextMisused}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Wrap<P = never, E = never, R = never> {
  <Input, Result, Failure>(
    next: (input: Input) => Effect.Effect<Result, Failure, P>,
    input: Input,
    job: Job.Job
  ): Effect.Effect<Result, Failure | E, R | Scope.Scope>
}

/**
 * The same concept with fixed types: one point, or one task. It may replace the input and the output, answer without
 * `next`, and turn failures into successes.
 *
 * @category models
 * @since 0.1.0
 */
export interface At<I, O, E0 = never, P = never, E = never, R = never> {
  (
    next: (input: I) => Effect.Effect<O, E0, P>,
    input: I,
    job: Job.Job
  ): Effect.Effect<O, E0 | E, R | Scope.Scope>
}

/**
 * A defect: `next` was run while an earlier run of it was open, or after the wrap that got it had returned.
 *
 * @category errors
 * @since 0.1.0
 */
export class NextMisused extends Schema.TaggedError<NextMisused>()("windlass/NextMisused", {
  middleware: Schema.String,
  reason: Schema.Literals(["StillOpen", "AfterReturn"])
}) {
  override get message(): string {
    return this.reason === "StillOpen"
      ? `middleware ${this.middleware} ran next while an earlier run of it was open: run it again only after it ended`
      : `middleware ${this.middleware} ran next after it had returned: next belongs to the wrap that received it`
  }
}

// ------------------------------------------------------------------------------------------------------ declared ones

/**
 * @category type ids
 * @since 0.1.0
 */
export const TypeId = "~windlass/Middleware"

/**
 * What the identifier of a declared middleware says about it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Facts<P, R, E extends Schema.Top, Q extends boolean> {
  readonly provides: P
  readonly requires: R
  readonly error: E
  readonly enqueue: Q
}

/**
 * The class that {@link Service} makes.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServiceClass<Self, Id extends string, P, R, E extends Schema.Top, Q extends boolean>
  extends Context.Service<Self, Wrap<P, E["Type"] | Decide, R>>
{
  new(_: never): Context.ServiceClass.Shape<Id, Wrap<P, E["Type"] | Decide, R>> & {
    readonly [TypeId]: Facts<P, R, E, Q>
  }
  readonly [TypeId]: typeof TypeId
  readonly error: E
  readonly enqueue: Q
}

/**
 * @category models
 * @since 0.1.0
 */
export interface AnyService extends Context.Key<any, any> {
  readonly [TypeId]: typeof TypeId
  readonly error: Schema.Top
  readonly enqueue: boolean
}

/**
 * What may stand in the list of a task or a group: declared middleware, or one written in place that provides nothing
 * and adds no error.
 *
 * @category models
 * @since 0.1.0
 */
export type Any = AnyService | Inline<any>

type Identifier<K> = K extends Context.Key<infer I, any> ? I : never

/**
 * @category type facts
 * @since 0.1.0
 */
export type Provides<M> = M extends AnyService
  ? Identifier<M> extends { readonly [TypeId]: Facts<infer P, any, any, any> } ? P : never
  : never

/**
 * @category type facts
 * @since 0.1.0
 */
export type Requires<M> = M extends AnyService
  ? Identifier<M> extends { readonly [TypeId]: Facts<any, infer R, any, any> } ? R : never
  : M extends Inline<infer R> ? R
  : never

/**
 * @category type facts
 * @since 0.1.0
 */
export type Error<M> = M extends { readonly [TypeId]: typeof TypeId; readonly error: infer E extends Schema.Top } ? E["Type"]
  : never

/**
 * The service that supplies the implementation: what `toLayer` requires for this middleware.
 *
 * @category type facts
 * @since 0.1.0
 */
export type Implementation<M> = M extends AnyService ? Identifier<M> : never

/**
 * What a producer must provide for the enqueue half of this middleware ({@link layerEnqueue}).
 *
 * @category type facts
 * @since 0.1.0
 */
export type EnqueueHalf<M> = M extends { readonly enqueue: true } & Context.Key<infer I, any> ? ForEnqueue<I> : never

/**
 * What is left to provide for an effect that needs `R` and stands inside the list `Ms`. Folds from the innermost, so an
 * outer middleware provides what an inner one requires, never the other way round.
 *
 * @category type facts
 * @since 0.1.0
 */
export type Apply<Ms extends ReadonlyArray<unknown>, R> = Ms extends readonly [...infer Outer, infer Last]
  ? Apply<Outer, Exclude<R, Provides<Last>> | Requires<Last>>
  : R

/**
 * The list itself, or a sentence where a middleware requires what only one further in provides.
 *
 * @category type facts
 * @since 0.1.0
 */
export type InOrder<Ms extends ReadonlyArray<unknown>> = Ms extends readonly [infer Head, ...infer Inner]
  ? [Extract<Requires<Head>, Provides<Inner[number]>>] extends [never] ? readonly [Head, ...InOrder<Inner>]
  : readonly [
    "this middleware requires a service that one further in provides: the list reads from the outside in, so put the provider before it",
    ...InOrder<Inner>
  ]
  : Ms

/**
 * Declares a middleware: what it provides to everything inside it, what it requires of what stands outside, the errors
 * that it may fail with. The declaration is shared by producer and worker; the implementation is a layer of the worker.
 *
 * With `enqueue: true` it has a half that runs in the producer (writing a header that the other half reads): tasks that
 * use it are enqueued only where `Middleware.layerEnqueue` provides that half.
 *
 * @category constructors
 * @since 0.1.0
 */
export const Service = <
  Self,
  Config extends { readonly provides?: any; readonly requires?: any } = Record<never, never>
>() =>
<const Id extends string, E extends Schema.Top = Schema.Never, const Q extends boolean = false>(
  id: Id,
  options?: {
    readonly error?: E | undefined
    readonly enqueue?: Q | undefined
  }
): ServiceClass<
  Self,
  Id,
  "provides" extends keyof Config ? Config["provides"] : never,
  "requires" extends keyof Config ? Config["requires"] : never,
  E,
  Q
> => {
  const service = Context.Service<Self, never>()(id) as unknown as Record<string, unknown>
  service[TypeId] = TypeId
  service["error"] = options?.error ?? Schema.Never
  service["enqueue"] = options?.enqueue ?? false
  return service as never
}

/**
 * @category guards
 * @since 0.1.0
 */
export const isService = (u: unknown): u is AnyService =>
  typeof u === "function" && (u as unknown as Record<string, unknown>)[TypeId] === TypeId

/**
 * The producer's half of the declared middleware `Id`.
 *
 * @category services
 * @since 0.1.0
 */
export interface ForEnqueue<out Id> {
  readonly "~windlass/Middleware/ForEnqueue": Id
}

/** @internal */
export const enqueueKey = (service: AnyService): Context.Key<unknown, Enqueue.Wrap> =>
  Context.Service<unknown, Enqueue.Wrap>(`${service.key}/enqueue`)

/**
 * The producer's half of a middleware that was declared with `enqueue: true`. Runs for every new job of the tasks that
 * use it, before the job is stored; never for a retry.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerEnqueue = <Id, S, R = never>(
  service: Context.Key<Id, S> & AnyService & { readonly enqueue: true },
  wrap: Enqueue.Wrap<R>
): Layer.Layer<ForEnqueue<Id>, never, Exclude<R, Scope.Scope>> =>
  Layer.effectContext(Effect.contextWith((context: Context.Context<R>) =>
    Effect.succeed(
      Context.make(enqueueKey(service), (next: Parameters<Enqueue.Wrap>[0], batch: Enqueue.Batch) =>
        capture(context)(wrap(next, batch)))
    )
  )) as never

// ---------------------------------------------------------------------------------------------------------- written ones

/**
 * @category type ids
 * @since 0.1.0
 */
export const InlineTypeId = "~windlass/Middleware/Inline"

/**
 * A run-point middleware written in place. It provides nothing and adds no error, so it may stand in any list, the
 * worker's included.
 *
 * @category models
 * @since 0.1.0
 */
export interface Inline<out R = never> {
  readonly [InlineTypeId]: { readonly name: string; readonly requires: R }
  readonly name: string
  readonly wrap: Wrap<never, Decide, any>
}

/**
 * @category guards
 * @since 0.1.0
 */
export const isInline = (u: unknown): u is Inline<any> => typeof u === "object" && u !== null && InlineTypeId in u

/**
 * A wrapping middleware in place: `name` is what `Worker.describe` and errors call it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <R = never>(name: string, wrap: Wrap<never, Decide, R>): Inline<R> => ({
  [InlineTypeId]: { name, requires: undefined as never },
  name,
  wrap
})

/**
 * What `after` of {@link hooks} sees: the exit of everything inside, with the types hidden because it is written for
 * every task. A `Decide` is its own case: `Decide.isDecide` on the failure.
 *
 * @category models
 * @since 0.1.0
 */
export type OpaqueExit = Exit.Exit<unknown, unknown>

/**
 * Before and after as one wrap, for a `Layer` of a declared middleware or for {@link make}.
 *
 * - `before` runs uninterruptibly, outermost middleware first. What it returns is handed to `after`, and provided as the
 *   service `provides` if that is given. What it acquires is released after `after`.
 * - `after` runs exactly when its `before` completed, whatever the exit. If the run succeeded and `after` fails, the job
 *   fails with that error; if the run failed, its failure decides and the one of `after` is listed behind it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const hooks: {
  <I, B, E1 = never, R1 = never, E2 = never, R2 = never>(options: {
    readonly provides: Context.Key<I, B>
    readonly before: (job: Job.Job) => Effect.Effect<B, E1, R1>
    readonly after?: (exit: OpaqueExit, before: B, job: Job.Job) => Effect.Effect<void, E2, R2>
  }): Wrap<I, E1 | E2, Exclude<R1 | R2, Scope.Scope>>
  <B = void, E1 = never, R1 = never, E2 = never, R2 = never>(options: {
    readonly before?: (job: Job.Job) => Effect.Effect<B, E1, R1>
    readonly after?: (exit: OpaqueExit, before: B, job: Job.Job) => Effect.Effect<void, E2, R2>
  }): Wrap<never, E1 | E2, Exclude<R1 | R2, Scope.Scope>>
} = (options: {
  readonly provides?: Context.Key<any, any>
  readonly before?: (job: Job.Job) => Effect.Effect<any, any, any>
  readonly after?: (exit: OpaqueExit, before: any, job: Job.Job) => Effect.Effect<void, any, any>
}): Wrap<any, any, any> => {
  const { after, before, provides } = options
  return trust(<I, O, E0>(next: (input: I) => Effect.Effect<O, E0, any>, input: I, job: Job.Job) => {
    const inside = (value: unknown) => {
      const run = provides === undefined ? next(input) : Effect.provideService(next(input), provides, value)
      return after === undefined ? run : finalize(run, (exit) => Effect.uninterruptible(after(exit, value, job)))
    }
    return before === undefined
      ? inside(undefined)
      // masked as a whole, so that nothing can come between the end of `before` and the registration of `after`
      : Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(before(job), (value) => {
          const run = provides === undefined ? next(input) : Effect.provideService(next(input), provides, value)
          return after === undefined ? restore(run) : finalize(restore(run), (exit) => after(exit, value, job))
        })
      )
  })
}

const trusted = new WeakSet<object>()

/** Marks a wrap that runs `next` once and within itself, so that the guard against misuse can be left out. */
const trust = <W extends object>(wrap: W): W => {
  trusted.add(wrap)
  return wrap
}

/** @internal */
export const isTrusted = (wrap: object): boolean => trusted.has(wrap)

// ------------------------------------------------------------------------------------------------------- the delivery

/**
 * Around everything that happens to one hand-out: before the payload is decoded, after the outcome became a settlement.
 * It may change the delivery on the way in (decrypt) and elect the settlement on the way out. It has no error: what it
 * cannot do ends as a settlement that it chooses.
 *
 * @category models
 * @since 0.1.0
 */
export interface DeliveryWrap<R = never> {
  (
    next: (delivery: Backend.Delivery) => Effect.Effect<Backend.Settlement>,
    delivery: Backend.Delivery
  ): Effect.Effect<Backend.Settlement, never, R | Scope.Scope>
}

/**
 * @category type ids
 * @since 0.1.0
 */
export const DeliveryTypeId = "~windlass/Middleware/Delivery"

/**
 * @category models
 * @since 0.1.0
 */
export interface Delivery<out R = never> {
  readonly [DeliveryTypeId]: { readonly requires: R }
  readonly name: string
  readonly wrap: DeliveryWrap<any>
}

/**
 * A middleware of the delivery point; stands in a worker's list.
 *
 * @category constructors
 * @since 0.1.0
 */
export const delivery = <R = never>(name: string, wrap: DeliveryWrap<R>): Delivery<R> => ({
  [DeliveryTypeId]: { requires: undefined as never },
  name,
  wrap
})

/**
 * @category guards
 * @since 0.1.0
 */
export const isDelivery = (u: unknown): u is Delivery<any> => typeof u === "object" && u !== null && DeliveryTypeId in u

// -------------------------------------------------------------------------------------------------------- observers

/**
 * What an observer sees of a hand-out. It stands at the delivery point, so it sees jobs that cannot be decoded and tasks
 * that nobody knows too.
 *
 * @category models
 * @since 0.1.0
 */
export interface Observed {
  readonly delivery: Backend.Delivery
  /** the task's name, with aliases resolved */
  readonly task: string
  /** the worker's clock, milliseconds since the epoch */
  readonly startedAt: number
  readonly worker: string
  /** the decoded payload, once it was decoded: masked logs and error reports are made from it */
  readonly payload: unknown
}

/**
 * @category type ids
 * @since 0.1.0
 */
export const ObserverTypeId = "~windlass/Middleware/Observer"

/**
 * @category models
 * @since 0.1.0
 */
export interface Observer<out R = never> {
  readonly [ObserverTypeId]: { readonly requires: R }
  readonly name: string
  readonly before: ((job: Observed) => Effect.Effect<unknown, never, any> | void) | undefined
  readonly after: ((outcome: Outcome, before: any, job: Observed) => Effect.Effect<unknown, never, any> | void) | undefined
}

/**
 * Watches without a say: both hooks have no error, run apart from the job's fate and for at most one second each. A
 * defect, an interruption or a time-out in them is logged and counted, and the outcome stands. `after` runs exactly when
 * its `before` completed. A hook may be a plain function that returns nothing (the cheapest kind) or return an effect.
 *
 * @category constructors
 * @since 0.1.0
 */
export const observe = <B = void, R1 = never, R2 = never>(options: {
  readonly name: string
  readonly before?: (job: Observed) => Effect.Effect<B, never, R1> | B
  readonly after?: (outcome: Outcome, before: B, job: Observed) => Effect.Effect<void, never, R2> | void
}): Observer<R1 | R2> => ({
  [ObserverTypeId]: { requires: undefined as never },
  name: options.name,
  before: options.before as Observer["before"],
  after: options.after as Observer["after"]
})

/**
 * @category guards
 * @since 0.1.0
 */
export const isObserver = (u: unknown): u is Observer<any> => typeof u === "object" && u !== null && ObserverTypeId in u

/**
 * What may stand in a worker's list: nothing there may provide a service or add an error, because neither the producer
 * nor the task's types know of it. Anything else belongs to a group or a task.
 *
 * @category models
 * @since 0.1.0
 */
export type ForWorker = WorkerService | Inline<any> | Delivery<any> | Observer<any>

/**
 * A declared middleware that a worker's list accepts.
 *
 * @category models
 * @since 0.1.0
 */
export interface WorkerService extends AnyService {
  readonly error: Schema.Never
}

/**
 * What a worker's list needs from `main`.
 *
 * @category type facts
 * @since 0.1.0
 */
export type RequiresOfWorker<M> = M extends AnyService ? Implementation<M> | Requires<M>
  : M extends Inline<infer R> ? R
  : M extends Delivery<infer R> ? R
  : M extends Observer<infer R> ? R
  : never
