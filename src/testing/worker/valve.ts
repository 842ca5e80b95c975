/**
 * What stands between the test and the real worker: a valve on its claims. Shut, the worker finds its queues empty and
 * waits; opened, it works as always. The run loop is the production one, and nothing of it is repeated here.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type { Delivery, Receipt, Settled, Settlement, Shape, Subscription } from "../../Backend.ts"
import * as Gate from "../../Gate.ts"
import * as Middleware from "../../Middleware.ts"
import type { Outcome } from "../../Outcome.ts"
import { outcomeOf, type Ran } from "./ran.ts"

/** One queue of the worker. */
interface Lane {
  readonly queue: string
  /** opened when the lane is to look again */
  readonly look: Latch.Latch
  /** how many jobs had been claimed when it last found its queue empty and nothing was running */
  emptyAt: number
}

/** A hand-out that is not over. */
interface Open {
  readonly delivery: Delivery
  observed: { readonly task: string; readonly payload: unknown; readonly outcome: Outcome } | undefined
  settlement: Settlement | undefined
  settled: Settled | undefined
}

/** Leave to claim one job: the next one of any queue, or a certain one. */
export interface Ticket {
  readonly job: { readonly id: string; readonly queue: string } | undefined
  claimed: string | undefined
  /** there was nothing to claim */
  void: boolean
}

export class Valve {
  /** everything that ran, in the order in which it was settled */
  ran: Array<Ran> = []
  /** grows with whatever the worker does: no change means that it waits */
  activity = 0
  /** the worker stopped on its own */
  ended = false
  /** ids of jobs of which one hand-out was settled with effect and settled again after that */
  readonly settledTwice: Array<string> = []
  private readonly settledOnce = new WeakSet<Receipt>()
  private readonly out = new Map<string, Open>()
  private readonly lanes: Array<Lane> = []
  private readonly listeners = new Set<() => void>()
  private openers = 0
  private ticket: Ticket | undefined
  private claims = 0

  /** a worker that starts again begins with nothing in hand */
  reset(): void {
    this.ended = false
    this.lanes.length = 0
    this.out.clear()
  }

  end(): void {
    this.ended = true
    this.changed()
  }

  hasQueue(queue: string): boolean {
    return this.lanes.some((lane) => lane.queue === queue)
  }

  /** while this runs, the worker claims all that is due */
  opened<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.acquireUseRelease(
      Effect.sync(() => {
        this.openers++
        this.lookAgain()
      }),
      () => effect,
      () =>
        Effect.sync(() => {
          this.openers--
        })
    )
  }

  /** ends when nothing is due and nothing is running */
  readonly idle: Effect.Effect<void> = Effect.suspend(() =>
    this.until(() => this.out.size === 0 && this.lanes.every((lane) => lane.emptyAt === this.claims))
  )

  /** leave for one claim; ends when that job is over, or when there is none */
  one(job: Ticket["job"]): Effect.Effect<string | undefined> {
    const ticket: Ticket = { job, claimed: undefined, void: false }
    return Effect.acquireUseRelease(
      Effect.sync(() => {
        this.ticket = ticket
        this.lookAgain()
      }),
      () => this.until(() => ticket.claimed === undefined ? ticket.void : !this.out.has(ticket.claimed)),
      () =>
        Effect.sync(() => {
          this.ticket = undefined
        })
    ).pipe(Effect.map(() => ticket.claimed))
  }

  /** the worker's view of the backend */
  backend(base: Shape): Shape {
    return {
      ...base,
      subscribe: (queue, options) =>
        Effect.map(base.subscribe(queue, options), (subscription) => {
          const lane: Lane = { queue, look: Latch.makeUnsafe(false), emptyAt: -1 }
          this.lanes.push(lane)
          return this.valved(subscription, lane)
        })
    }
  }

  /** tells what a run came to; the outermost observer, so that it sees what every other middleware has made of it */
  readonly observer = Middleware.observe({
    name: "windlass/testing/TestWorker",
    after: (outcome, _, { delivery, payload, task }) => {
      const open = this.out.get(delivery.receipt.id)
      if (open !== undefined) open.observed = { task, payload, outcome }
    }
  })

  /** tells when a hand-out is over: settled, lost or stuck. The first of the gates, so that no other hides a job from it */
  readonly gate: Gate.Gate = Gate.make({
    name: "windlass/testing/TestWorker",
    admit: (job) =>
      Effect.succeed({
        _tag: "Admitted",
        release: () => Effect.sync(() => this.over(job.id))
      })
  })

  private valved(base: Subscription, lane: Lane): Subscription {
    const settled = (items: ReadonlyArray<readonly [Receipt, Settlement]>, answers: ReadonlyArray<Settled>) => {
      items.forEach(([receipt, settlement], i) => {
        if (this.settledOnce.has(receipt)) this.settledTwice.push(receipt.id)
        else if (answers[i] === "Settled" || answers[i] === "Aborted") this.settledOnce.add(receipt)
        const open = this.out.get(receipt.id)
        if (open === undefined) return
        open.settlement = settlement
        open.settled = answers[i]
      })
    }
    const take = (max: number) => this.take(base, lane, max)
    return {
      ...base,
      take,
      settle: (items) => Effect.tap(base.settle(items), (answers) => Effect.sync(() => settled(items, answers))),
      exchange: (items, max) =>
        Effect.gen({ self: this }, function*() {
          if (this.openers === 0) {
            const answers = yield* base.settle(items)
            settled(items, answers)
            return [answers, yield* take(max)] as const
          }
          const [answers, taken] = yield* base.exchange(items, max)
          settled(items, answers)
          return [answers, this.claimed(taken)] as const
        }),
      await: (max) =>
        Effect.suspend(() => {
          this.activity++
          const again = lane.look.await
          return this.openers > 0 ? Effect.raceFirst(base.await(max), again) : again
        })
    }
  }

  private take(base: Subscription, lane: Lane, max: number): ReturnType<Subscription["take"]> {
    return Effect.gen({ self: this }, function*() {
      lane.look.closeUnsafe()
      this.activity++
      const { ticket } = this
      if (this.openers === 0) {
        if (ticket === undefined || ticket.claimed !== undefined) return []
        if (ticket.job !== undefined) {
          if (ticket.job.queue !== lane.queue) return []
          const found = yield* search(base, ticket.job.id)
          ticket.void = found.length === 0
          return this.claimed(found)
        }
        max = 1
      }
      const taken = yield* base.take(max)
      if (taken.length === 0 && this.out.size === 0) lane.emptyAt = this.claims
      this.claimed(taken)
      if (ticket !== undefined && ticket.claimed === undefined) {
        ticket.void = ticket.job === undefined && this.lanes.every((other) => other.emptyAt === this.claims)
      }
      this.changed()
      return taken
    })
  }

  private claimed(deliveries: ReadonlyArray<Delivery>): ReadonlyArray<Delivery> {
    for (const delivery of deliveries) {
      const { id } = delivery.receipt
      this.claims++
      this.out.set(id, { delivery, observed: undefined, settlement: undefined, settled: undefined })
      const { ticket } = this
      if (ticket !== undefined && (ticket.job === undefined || ticket.job.id === id)) ticket.claimed ??= id
    }
    this.changed()
    return deliveries
  }

  private over(id: string): void {
    const open = this.out.get(id)
    if (open === undefined) return
    this.out.delete(id)
    const { delivery, observed, settled, settlement } = open
    this.ran.push({
      id,
      task: observed?.task ?? delivery.envelope.task,
      queue: delivery.queue,
      attempt: delivery.attempt,
      payload: observed?.payload,
      // the backend has the last word: a retry of a job whose abort was requested is the end of it
      outcome: settled === "Aborted"
        ? { _tag: "Aborted", cause: undefined }
        : observed?.outcome ?? outcomeOf(settlement),
      settled
    })
    // a job may have enqueued into another lane's queue: every lane looks once more before all is called idle
    if (this.out.size === 0) this.lookAgain()
    this.changed()
  }

  private lookAgain(): void {
    for (const lane of this.lanes) {
      lane.emptyAt = -1
      lane.look.openUnsafe()
    }
  }

  private changed(): void {
    this.activity++
    for (const listener of this.listeners) listener()
  }

  private until(holds: () => boolean): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      const listener = () => {
        if (!this.ended && !holds()) return
        this.listeners.delete(listener)
        resume(Effect.void)
      }
      this.listeners.add(listener)
      listener()
      return Effect.sync(() => {
        this.listeners.delete(listener)
      })
    })
  }
}

/** Claims until the job is found and gives back what stood before it, in the same order and with no attempt spent. */
const search = Effect.fnUntraced(function*(base: Subscription, id: string) {
  const before: Array<readonly [Receipt, Settlement]> = []
  let found: ReadonlyArray<Delivery> = []
  while (found.length === 0) {
    const [delivery] = yield* base.take(1)
    if (delivery === undefined) break
    if (delivery.receipt.id === id) found = [delivery]
    else before.push([delivery.receipt, passedOver])
  }
  if (before.length > 0) yield* base.settle(before)
  return found
})

const passedOver: Settlement = {
  _tag: "Retry",
  why: "released",
  after: 0,
  attempt: "kept",
  place: "front",
  error: "passed over by the test worker"
}
