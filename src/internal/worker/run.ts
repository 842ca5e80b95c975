/** One job while a worker runs it: what its handler sees of it, and what the loop must remember until it is settled. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type { Delivery, Destination, Receipt } from "../../Backend.ts"
import type { Controls, Election, Job } from "../../Job.ts"
import type { Outcome } from "../../Outcome.ts"
import type { Delivered } from "./delivered.ts"
import { Forks } from "./forks.ts"
import type { Resolved } from "./resolve.ts"

/** Why an attempt is asked to stop. @internal */
export type Stopping = "aborted" | "shutdown" | "lost" | "timeout"

/** @internal */
export class Run implements Job {
  delivery: Delivery
  readonly receipt: Receipt
  readonly startedAt: number
  readonly worker: Job["worker"]
  readonly progressTo: (receipt: Receipt, value: string) => ReturnType<Controls["progress"]>
  /** undefined until the task is known */
  resolved: Resolved | undefined
  payload: unknown

  stopping: Stopping | undefined = undefined
  /** the body ended because it was asked to stop: nobody may call this run a success (L13) */
  cut = false
  /** an interruption that nobody asked this attempt for (a limit, a race of a middleware) is on its way out */
  interrupted = false
  /** the chain was entered: rate tokens are spent, and `after` hooks will run */
  entered = false
  /** the fiber of the handler's body, the only one that a stop interrupts (L17) */
  body: Fiber.Fiber<unknown, unknown> | undefined = undefined
  /** the fiber of the whole hand-out; interrupted too, so that waits which a middleware marked as interruptible end */
  root: Fiber.Fiber<unknown, unknown> | undefined = undefined
  /** fibers of `Job.fork` */
  forks: Forks | undefined = undefined
  /** a handler's body is open */
  inBody = false
  /** the last typed failure that a boundary of the chain saw, before releases could turn it into a defect (L3) */
  failure: Cause.Fail<unknown> | undefined = undefined
  /** where the next attempt goes, if there is one */
  to: Destination | undefined = undefined
  /** what the delivery point has come to so far, and what its wraps may do about it; only where there are any */
  delivered: Delivered | undefined = undefined
  election: Election | undefined = undefined
  /** the chain outlived its limit: no longer renewed, never settled */
  stuck = false
  /** when the time of a hand-out without a lease is over, milliseconds since the epoch */
  until: number | undefined = undefined
  /** what the source of the hand-out found wrong with it: it ends so at the delivery point, undecoded */
  refused: Outcome | undefined = undefined
  /** monotonic milliseconds until which the lease is known to be held */
  heldUntil = Number.POSITIVE_INFINITY
  /** in the lane's lists of runs */
  livePlace = -1
  heldPlace = -1

  constructor(
    delivery: Delivery,
    startedAt: number,
    worker: Job["worker"],
    progressTo: (receipt: Receipt, value: string) => ReturnType<Controls["progress"]>
  ) {
    this.delivery = delivery
    this.receipt = delivery.receipt
    this.startedAt = startedAt
    this.worker = worker
    this.progressTo = progressTo
  }

  /** asked to stop for good: a time-out is of one run of the body */
  get asked(): boolean {
    return this.stopping !== undefined && this.stopping !== "timeout"
  }

  /**
   * A layer of the chain is over. An interruption that begins after somebody asked for a stop is that stop: it cut a wait
   * that a middleware had marked as interruptible, and whoever catches it cannot make it a success (L13). The body's own
   * end is the body's to judge.
   */
  ended(exit: Exit.Exit<unknown, unknown>): void {
    if (exit._tag === "Failure") this.failure = exit.cause.reasons.find(Cause.isFailReason) ?? this.failure
    if (this.body !== undefined) return
    if (exit._tag === "Success" || !Exit.hasInterrupts(exit)) this.interrupted = false
    else if (!this.asked) this.interrupted = true
    else if (!this.interrupted) this.cut = true
  }

  get id(): string {
    return this.delivery.envelope.id
  }
  get task(): string {
    return this.resolved?.task._tag ?? this.delivery.envelope.task
  }
  get queue(): string {
    return this.delivery.queue
  }
  get attempt(): number {
    return this.delivery.attempt
  }
  get lastAttempt(): boolean {
    return this.delivery.attempt >= (this.resolved?.maxAttempts ?? 1)
  }
  get origin(): Job["origin"] {
    return this.delivery.envelope.origin
  }
  get headers(): Job["headers"] {
    return this.delivery.envelope.headers
  }
  get enqueuedAt(): number | undefined {
    return this.delivery.enqueuedAt
  }
  get scheduledFor(): number | undefined {
    return this.delivery.scheduledFor
  }
  get priority(): number {
    return this.delivery.priority
  }
  get group(): string | undefined {
    return this.delivery.group
  }
  get lostFrom(): string | undefined {
    return this.delivery.lostFrom?.worker
  }
  get remaining(): Effect.Effect<Option.Option<Duration.Duration>> {
    return Effect.map(Clock.currentTimeMillis, (now) => {
      const { deadline, timeout } = this.resolved ?? {}
      const ends = [
        ...(this.until === undefined ? [] : [this.until]),
        ...(timeout === undefined ? [] : [this.startedAt + timeout]),
        ...(deadline === undefined || this.enqueuedAt === undefined ? [] : [this.enqueuedAt + deadline])
      ]
      return ends.length === 0 ? Option.none() : Option.some(Duration.millis(Math.max(0, Math.min(...ends) - now)))
    })
  }
  get controls(): Controls {
    return {
      election: this.election,
      progress: (value) => this.progressTo(this.receipt, value),
      reroute: (to) => {
        // a null out of untyped code is no place: only a group may be left
        const asked = Object.entries(to).filter(([field, value]) =>
          value !== undefined && (value !== null || field === "group")
        )
        this.to = { ...this.to, ...Object.fromEntries(asked) }
      },
      // a middleware's fork is a plain child of the attempt's fiber: it ends with the attempt
      fork: (effect) =>
        this.inBody
          ? (this.forks ??= new Forks()).fork(effect)
          : Effect.forkChild(effect, { startImmediately: true })
    }
  }

  /**
   * Asks the attempt to stop. The first reason stands, but for a lost lease, after which nothing may be settled, and for
   * a time-out, which is of one run of the body and not of the attempt.
   */
  stop(why: Stopping): void {
    if (this.stopping === undefined || this.stopping === "timeout" || why === "lost") this.stopping = why
    // interruption is sticky: after a time-out of the body alone the rest of the chain goes on undisturbed. The root comes
    // first: what follows the body runs at once, and a wait in it that was marked as interruptible is to hear it
    if (why !== "timeout") this.root?.interruptUnsafe()
    this.body?.interruptUnsafe()
  }
}
