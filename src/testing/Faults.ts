/**
 * The fault kit: a backend around a backend that goes wrong on demand, and remembers what it was asked. It fails the
 * n-th call before or after the engine applied it, delays it, hangs it, hands a delivery out twice, takes a lease away,
 * and sets the clock of the code under test wrong. Every fault is planned by a test and hits once, unless said
 * otherwise; what is not planned goes through unchanged.
 *
 * ```ts
 * const program = Effect.gen(function*() {
 *   const faults = yield* Faults.Faults
 *   const dropped = yield* faults.dropAnswer(["settle", "exchange"])
 *   yield* SendEmail.enqueue({ to: "a@example.com", subject: "hello" })
 *   yield* dropped.hit
 * })
 *
 * program.pipe(Effect.provide(WorkerLive), Effect.provide(Faults.layer(MemoryBackend.layer)))
 * ```
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import {
  Backend,
  type BackendError,
  type Delivery,
  type Receipt,
  type Settled,
  type Settlement,
  type Shape
} from "../Backend.ts"
import { type Answers, Calls, type End, type Inputs, type Operation } from "./faults/calls.ts"
import { skewed } from "./faults/clock.ts"
import { controls } from "./faults/controls.ts"
import { Deliveries } from "./faults/deliveries.ts"
import { Plan } from "./faults/plan.ts"
import * as wrapping from "./faults/wrap.ts"

export {
  /**
   * What each operation answers.
   *
   * @category models
   * @since 0.1.0
   */
  type Answers,
  /**
   * How a call ended for its caller.
   *
   * @category models
   * @since 0.1.0
   */
  type End,
  /**
   * What each operation is asked.
   *
   * @category models
   * @since 0.1.0
   */
  type Inputs,
  /**
   * The calls of a backend that the kit sees: `declare`, `publish`, `subscribe`, `take`, `settle`, `exchange`, `extend`,
   * `await` and `ping`. A worker settles with `exchange` while it claims and with `settle` otherwise: to catch a
   * settlement, name both.
   *
   * @category models
   * @since 0.1.0
   */
  type Operation
}

/**
 * One call that was made. `engine` is what the engine answered, absent when it was not reached or failed; `end` is what
 * the caller got, absent while it still waits. `at` is milliseconds since the epoch on the engine's clock.
 *
 * @category models
 * @since 0.1.0
 */
export type Call<O extends Operation = Operation> = {
  [K in O]: {
    readonly operation: K
    readonly index: number
    readonly at: number
    readonly input: Inputs[K]
    readonly engine: { readonly answer: Answers[K] } | undefined
    readonly end: End<Answers[K]> | undefined
  }
}[O]

/**
 * Which calls a fault hits: of those that match `where`, from the `nth` on (1, the next one, when absent), so many
 * `times` (once when absent; `Infinity` for all).
 *
 * @category models
 * @since 0.1.0
 */
export interface Target<O extends Operation> {
  readonly nth?: number | undefined
  readonly times?: number | undefined
  readonly where?: ((input: Inputs[O]) => boolean) | undefined
}

/**
 * A planned fault. `hit` waits until it has hit for the first time; `cancel` takes it out of the plan.
 *
 * @category models
 * @since 0.1.0
 */
export interface Planned {
  readonly hit: Effect.Effect<void>
  readonly cancel: Effect.Effect<void>
}

/**
 * A planned hang. `release` lets the calls that hang go on, and those that it would still hit.
 *
 * @category models
 * @since 0.1.0
 */
export interface Hanging extends Planned {
  readonly release: Effect.Effect<void>
}

/**
 * A settlement that was submitted, and the engine's answer: absent when it was not reached or its answer is not known.
 *
 * @category models
 * @since 0.1.0
 */
export interface Submitted {
  readonly receipt: Receipt
  readonly settlement: Settlement
  readonly answer: Settled | undefined
  readonly at: number
}

/**
 * One operation, or several: a fault hits the calls of all of them, counted together.
 *
 * @category models
 * @since 0.1.0
 */
export type Operations<O extends Operation> = O | ReadonlyArray<O>

/**
 * What a test does to the backend, and what it learns of it.
 *
 * @category services
 * @since 0.1.0
 */
export class Faults extends Context.Service<Faults, {
  /**
   * The call fails with a `BackendError`: before the engine was reached (`NotApplied`), or with `applied: true` after it
   * did what was asked (`Unknown`). `retryable` unless said otherwise.
   */
  readonly failNext: <O extends Operation>(
    operations: Operations<O>,
    options?: Target<O> & {
      readonly applied?: boolean | undefined
      readonly retryable?: boolean | undefined
      readonly message?: string | undefined
    }
  ) => Effect.Effect<Planned>
  /** the engine does what was asked, and its answer is lost on the way: `failNext` with `applied: true` */
  readonly dropAnswer: <O extends Operation>(
    operations: Operations<O>,
    options?: Target<O>
  ) => Effect.Effect<Planned>
  /** the call takes so much longer: before it reaches the engine, or with `applied: true` after it */
  readonly delayNext: <O extends Operation>(
    operations: Operations<O>,
    duration: Duration.Input,
    options?: Target<O> & { readonly applied?: boolean | undefined }
  ) => Effect.Effect<Planned>
  /** the call gets no answer until it is released: it does not reach the engine, or with `applied: true` it did */
  readonly hangNext: <O extends Operation>(
    operations: Operations<O>,
    options?: Target<O> & { readonly applied?: boolean | undefined }
  ) => Effect.Effect<Hanging>
  /**
   * The first delivery of a claim is handed out twice, with the same receipt: once more by the next claim of its queue,
   * or with `when: "same"` by the same claim if that has room. Only claims count that have something to hand out.
   */
  readonly duplicateNext: (
    options?: Target<"take" | "exchange"> & { readonly when?: "same" | "next" | undefined }
  ) => Effect.Effect<Planned>
  /**
   * Whoever holds the job loses its lease now: its renewals and settlements are answered `Lost`, and the engine hands
   * the job out again, said to be lost, with no attempt spent. False when nobody holds it. A job whose abort was
   * requested ends instead (false).
   */
  readonly loseLease: (id: string) => Effect.Effect<boolean, BackendError>
  /**
   * From now on the time of day of the code under test differs by so much from the engine's (negative: it is slow).
   * Elapsed time and sleeping are not touched.
   */
  readonly skewClock: (offset: Duration.Input) => Effect.Effect<void>
  /** empties the plan, releases what hangs, and sets the clock right */
  readonly heal: Effect.Effect<void>
  /** how many calls of the operation began */
  readonly count: (operation: Operation) => Effect.Effect<number>
  /** waits until so many calls of the operation have begun, those before included */
  readonly called: (operation: Operation, count: number) => Effect.Effect<void>
  /** all calls in the order in which they began, or those of some operations */
  readonly calls: <O extends Operation = Operation>(
    ...operations: ReadonlyArray<O>
  ) => Effect.Effect<ReadonlyArray<Call<O>>>
  /** every settlement of the job that was submitted, by `settle` or `exchange`, in order */
  readonly settlementsOf: (id: string) => Effect.Effect<ReadonlyArray<Submitted>>
  /** every delivery of the job that reached its worker, in order */
  readonly deliveriesOf: (id: string) => Effect.Effect<ReadonlyArray<Delivery>>
  /** forgets the calls so far; counts start again */
  readonly forget: Effect.Effect<void>
}>()("windlass/testing/Faults") {}

/**
 * Wraps a backend: what is returned is the backend to use in its place, the controls of its faults, and the clock for
 * the code under test (`skewClock` sets it wrong; provide it as `Clock.Clock`).
 *
 * @category constructors
 * @since 0.1.0
 */
export const wrap = (
  backend: Shape
): Effect.Effect<{ readonly backend: Shape; readonly faults: Faults["Service"]; readonly clock: Clock.Clock }> =>
  Effect.map(Clock.clockWith(Effect.succeed), (clock) => {
    const calls = new Calls()
    const plan = new Plan()
    const deliveries = new Deliveries()
    let offset = 0
    return {
      backend: wrapping.wrap({ engine: backend, clock, calls, plan, deliveries }),
      clock: skewed(clock, () => offset),
      faults: controls(calls, plan, deliveries, (millis) => {
        offset = millis
      })
    }
  })

/**
 * A backend's layer with faults: outputs what the backend's layer outputs, `Faults`, and to everything that it is
 * provided to a `Clock` that `skewClock` sets wrong. The backend itself keeps the clock that was there before.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <ROut, E, RIn>(
  backend: Layer.Layer<ROut, E, RIn> & (Backend extends ROut ? unknown : never)
): Layer.Layer<ROut | Faults, E, RIn> =>
  Layer.effectContext(Effect.gen(function*() {
    const context: Context.Context<any> = yield* Layer.build(backend)
    const wrapped = yield* wrap(Context.get(context, Backend))
    return context.pipe(
      Context.add(Backend, wrapped.backend),
      Context.add(Faults, wrapped.faults),
      Context.add(Clock.Clock, wrapped.clock)
    ) as Context.Context<ROut | Faults>
  }))
