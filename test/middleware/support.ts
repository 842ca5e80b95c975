/** What the tests of the shipped middleware share: deliveries made by hand, and a worker played by hand. */
import { Cause, Clock, Effect, Schema } from "effect"
import type { Delivery, Envelope } from "../../src/Backend.ts"
import type * as Job from "../../src/Job.ts"
import type * as Middleware from "../../src/Middleware.ts"
import type { Outcome } from "../../src/Outcome.ts"

export const envelopeOf = (over?: Partial<Envelope>): Envelope => ({
  id: "job-1",
  task: "Send",
  version: 1,
  payload: "null",
  headers: {},
  origin: "user",
  ...over
})

export const deliveryOf = (
  over?: Partial<Omit<Delivery, "envelope">> & { readonly envelope?: Partial<Envelope> }
): Delivery => ({
  receipt: { id: "job-1", fence: 1 },
  queue: "default",
  attempt: 1,
  unsettled: 0,
  lostFrom: undefined,
  enqueuedAt: 0,
  scheduledFor: undefined,
  firstFailedAt: undefined,
  priority: 0,
  group: undefined,
  abortRequested: false,
  keepsResult: false,
  ...over,
  envelope: envelopeOf(over?.envelope)
})

/** a job as a gate sees it */
export const infoOf = (over?: Partial<Job.Info>): Job.Info => ({
  id: "job-1",
  task: "Send",
  queue: "default",
  attempt: 1,
  lastAttempt: false,
  origin: "user",
  headers: {},
  enqueuedAt: 0,
  startedAt: 0,
  scheduledFor: undefined,
  priority: 0,
  group: undefined,
  lostFrom: undefined,
  ...over
})

/** plays the worker to an observer: both hooks, with `inside` between them */
export const observe = <R>(
  observer: Middleware.Observer<R>,
  outcome: Outcome,
  options?: {
    readonly delivery?: Delivery
    readonly payload?: unknown
    readonly definition?: Middleware.Observed["definition"]
    readonly inside?: Effect.Effect<unknown>
  }
): Effect.Effect<void, never, R> =>
  Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const delivery = options?.delivery ?? deliveryOf()
    const job: Middleware.Observed = {
      delivery,
      task: delivery.envelope.task,
      startedAt: clock.currentTimeMillisUnsafe(),
      worker: "worker-1",
      clock,
      payload: options?.payload,
      definition: options?.definition
    }
    const hook = (result: unknown) =>
      Effect.isEffect(result) ? result as Effect.Effect<unknown> : Effect.succeed(result)
    const before = yield* hook(observer.before?.(job))
    yield* options?.inside ?? Effect.void
    yield* hook(observer.after?.(outcome, before, job))
  })

export class Boom extends Schema.TaggedError<Boom>()("Boom", { why: Schema.String }) {
  override get message(): string {
    return `it went wrong: ${this.why}`
  }
}

export const dead = (
  error: unknown,
  reason: Extract<Outcome, { readonly _tag: "Dead" }>["reason"] = "failed"
): Outcome => ({
  _tag: "Dead",
  reason,
  cause: Cause.fail(error),
  error: String(error),
  encoded: undefined
})

export const retried = (error: unknown): Outcome => ({
  _tag: "Retried",
  cause: Cause.fail(error),
  after: 1_000,
  error: String(error)
})
