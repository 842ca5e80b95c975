/** The delivery point: middleware around a whole hand-out, and observers, which watch it without a say. */
import type * as Clock from "effect/Clock"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Backend from "../../Backend.ts"
import type * as Job from "../../Job.ts"
import type { Outcome } from "../../Outcome.ts"
import type * as Task from "../../Task.ts"

/**
 * Around everything that happens to one hand-out: before the payload is decoded, after the outcome became a settlement.
 * It may change the delivery on the way in (decrypt) and elect the settlement on the way out. It has no error: what it
 * cannot do ends as a settlement that it chooses. One that says `Complete` without an answer of `next`, once the run was asked
 * to stop, is not heard: nobody ran the job, and it follows the task's `onInterrupted`.
 *
 * @category models
 * @since 0.1.0
 */
export interface DeliveryWrap<R = never> {
  (
    next: (delivery: Backend.Delivery) => Effect.Effect<Backend.Settlement>,
    delivery: Backend.Delivery
  ): Effect.Effect<Backend.Settlement, never, R | Scope.Scope | Job.Current>
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
  /** the worker's clock, for hooks that measure without being effects */
  readonly clock: Clock.Clock
  /** the decoded payload, once it was decoded: masked logs and error reports are made from it */
  readonly payload: unknown
  /** the task's definition, once it was found: its schemas say what of the payload is secret */
  readonly definition: Task.Any | undefined
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
  readonly after:
    | ((outcome: Outcome, before: any, job: Observed) => Effect.Effect<unknown, never, any> | void)
    | undefined
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
