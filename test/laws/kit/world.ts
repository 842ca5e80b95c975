/**
 * The world of one case: the trace that everything writes to, and the one thing that happens from outside, at a chosen
 * step of that trace. What it starts is waited for at the step (the job has been asked to stop), so that nothing depends
 * on the speed of a machine.
 */
import { Context, Effect, Option } from "effect"
import type { Settled, Settlement, Subscription } from "windlass/Backend"
import type * as Backend from "windlass/Backend"
import * as Job from "windlass/Job"
import { settlementLine } from "./decide.ts"
import type { Case } from "./spec.ts"
import { lease } from "./spec.ts"

export interface Submitted {
  readonly delivery: number
  readonly settlement: Settlement
  readonly answer: Settled
}

export class World {
  readonly spec: Case
  readonly trace: Array<string> = []
  /** for every event of the trace, milliseconds on the clock */
  readonly times: Array<number> = []
  private readonly now: () => number
  /** every delivery, in order */
  readonly taken: Array<Backend.Delivery> = []
  readonly submitted: Array<Submitted> = []
  /** the trace's length when the thing from outside happened */
  struckAt: number | undefined
  over = false
  bodies = 0
  private serials = 0
  private steps = 0
  private striking = false
  /** does it; set by whoever runs the case */
  strike: Effect.Effect<void> = Effect.void

  constructor(spec: Case, now: () => number) {
    this.spec = spec
    this.now = now
  }

  get delivery(): number {
    return this.taken.length
  }

  serial(): number {
    return ++this.serials
  }

  note(event: string): void {
    this.times.push(this.now())
    this.trace.push(event)
  }

  /** an event at which something may happen from outside */
  step(event: string): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.note(event)
      if (++this.steps !== this.spec.stimulus.at || this.delivery !== 1 || this.spec.stimulus.what === "none") {
        return Effect.void
      }
      this.struckAt = this.trace.length
      const waits = this.spec.stimulus.what !== "lost"
      this.striking = true
      return this.strike.pipe(
        // a yield, so that a body that runs on without one does not end before it hears of it
        Effect.andThen(waits ? Effect.andThen(Effect.yieldNow, asked(10_000)) : Effect.void),
        Effect.ensuring(Effect.sync(() => {
          this.striking = false
        }))
      )
    })
  }

  /** yields until nothing more happens at this moment of the clock */
  get quiet(): Effect.Effect<void> {
    const loop = (length: number, calm: number): Effect.Effect<void> =>
      Effect.suspend(() => {
        if (this.striking || this.trace.length !== length) {
          return Effect.andThen(Effect.yieldNow, loop(this.trace.length, 0))
        }
        return calm === 20 ? Effect.void : Effect.andThen(Effect.yieldNow, loop(length, calm + 1))
      })
    return Effect.suspend(() => loop(this.trace.length, 0))
  }
}

/** yields until the running job was asked to stop; by its own time limit does not count */
const asked = (left: number): Effect.Effect<void> =>
  Effect.contextWith((context: Context.Context<never>) => {
    const job = Context.getOption(context, Job.Current)
    if (Option.isNone(job)) return Effect.die(new Error("a step outside of a job"))
    const { stopping } = job.value
    if (stopping !== undefined && stopping !== "timeout") return Effect.void
    if (left === 0) return Effect.die(new Error("the job was never asked to stop"))
    return Effect.andThen(Effect.yieldNow, asked(left - 1))
  })

/** the backend as the worker of a case sees it: every hand-out and every settlement is written down */
export const recording = (backend: Backend.Backend["Service"], world: World): Backend.Backend["Service"] => ({
  ...backend,
  subscribe: (queue, options) => Effect.map(backend.subscribe(queue, options), (inner) => recorded(inner, world))
})

const recorded = (inner: Subscription, world: World): Subscription => {
  const taken = (deliveries: ReadonlyArray<Backend.Delivery>) => {
    for (const delivery of deliveries) {
      world.taken.push(delivery)
      world.note(`claim ${delivery.attempt}`)
    }
  }
  const submit = (items: Parameters<Subscription["settle"]>[0]) => {
    for (const [, settlement] of items) world.note(`settle ${settlementLine(settlement)}`)
  }
  const answered = (items: Parameters<Subscription["settle"]>[0], answers: ReadonlyArray<Settled>) => {
    items.forEach(([receipt, settlement], i) => {
      const answer = answers[i]!
      const delivery = world.taken.findIndex((one) => one.receipt === receipt) + 1
      world.submitted.push({ delivery, settlement, answer })
      if (answer === "Aborted" || (answer === "Settled" && settlement._tag !== "Retry")) world.over = true
    })
  }
  return {
    ...inner,
    // the engine's own lease is longer than anything that a case does: what is lost is lost on purpose
    lease: inner.lease._tag === "Timed" ? { ...inner.lease, millis: lease } : inner.lease,
    take: (max) => Effect.tap(inner.take(max), (deliveries) => Effect.sync(() => taken(deliveries))),
    settle: (items) =>
      Effect.suspend(() => {
        submit(items)
        return Effect.tap(inner.settle(items), (answers) => Effect.sync(() => answered(items, answers)))
      }),
    exchange: (items, max) =>
      Effect.suspend(() => {
        submit(items)
        return Effect.tap(inner.exchange(items, max), ([answers, deliveries]) =>
          Effect.sync(() => {
            answered(items, answers)
            taken(deliveries)
          }))
      })
  }
}
