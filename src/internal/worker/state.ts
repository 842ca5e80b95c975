/** What a running worker is: its lanes (one per queue), what they hold, and what everybody counts. */
import type * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import type * as Deferred from "effect/Deferred"
import type * as Effect from "effect/Effect"
import type * as Latch from "effect/Latch"
import type { Settlement, Shape, Subscription } from "../../Backend.ts"
import type { Gate } from "../../Gate.ts"
import type { Job } from "../../Job.ts"
import type { Outcome } from "../../Outcome.ts"
import type { Ahead } from "./ahead.ts"
import type { Beside } from "./beside.ts"
import type { Deliver } from "./deliver.ts"
import type { Delivered } from "./delivered.ts"
import type { Event } from "./events.ts"
import type { Settings } from "./options.ts"
import type { Resolved } from "./resolve.ts"
import type { Run } from "./run.ts"
import type { Runs } from "./runs.ts"

/** A run that is over and not settled yet. @internal */
export class Ended {
  readonly run: Run
  readonly outcome: Outcome
  readonly settlement: Settlement
  /** an earlier try to settle it may have taken effect */
  ambiguous = false
  /** how often the backend did not say what became of it */
  readonly tries: number = 0
  /** monotonic milliseconds after which it is tried no more, once a try has failed */
  until: number | undefined = undefined

  constructor(run: Run, { outcome, settlement }: Delivered) {
    this.run = run
    this.outcome = outcome
    this.settlement = settlement
  }
}

/** One queue of the worker. @internal */
export interface Lane {
  readonly queue: string
  readonly concurrency: number
  readonly gates: ReadonlyArray<Gate>
  readonly subscription: Subscription
  /** chains that are open */
  readonly live: Runs
  /** from the claim to the confirmed settlement: what the heartbeat renews */
  readonly held: Runs
  /** claimed, not started yet */
  readonly ahead: Ahead
  /** calls under way that the loop does not wait for */
  readonly beside: Beside
  /** slots that claims under way have reserved */
  reserved: number
  /** over, waiting for the next exchange */
  ended: Array<Ended>
  /** over, and the backend did not say what became of it: waiting to be settled again */
  unsaid: number
  /** opened whenever the loop may have something to do */
  readonly changed: Latch.Latch
  /** open while something is held, so that an idle worker has no heartbeat to run */
  readonly holding: Latch.Latch
  /** milliseconds after which an idle lane looks again whatever the backend hints; undefined when hints are exact */
  readonly poll: number | undefined
  /** its place among the lanes that wait for a slot of the worker, if it does */
  ticket: number | undefined
  /** it waits for work, having found none */
  waiting: boolean
  /** it waits for a gate to open */
  gated: boolean
  /** calls to the backend that failed in a row */
  failures: number
  /** monotonic milliseconds of the last claim that the backend answered */
  claimedAt: number
  /** {@link changes} of the worker when this lane last found its queue empty and itself idle; -1 before that */
  emptyAt: number
}

/** @internal */
export interface State {
  readonly id: string
  readonly settings: Settings
  readonly backend: Shape
  readonly clock: Clock.Clock
  readonly context: Context.Context<never>
  readonly tasks: ReadonlyMap<string, Resolved>
  readonly lanes: Array<Lane>
  /** recurring enqueues, with what they need; they end only by failing */
  readonly crons: ReadonlyArray<{ readonly name: string; readonly run: Effect.Effect<void> }>
  readonly handle: Job["worker"]
  /** a claimed job to its settlement: gates, observers, delivery point, chain */
  readonly deliver: Deliver
  readonly progressTo: ConstructorParameters<typeof Run>[3]
  /** open chains of all lanes, and slots that a claim under way has reserved */
  running: number
  reserved: number
  tickets: number
  /** no claims any more */
  draining: boolean
  /** jobs claimed since the start */
  claimed: number
  /** jobs that a settlement sent to another queue */
  moved: number
  readonly counts: Record<Outcome["_tag"] | "Lost" | "Stuck", number>
  readonly listeners: Set<(event: Event) => void>
  /** opened when the grace period is to end now */
  readonly hurry: Latch.Latch
  /** opened when somebody asked for a stop */
  readonly stopping: Latch.Latch
  /** a fiber of the worker itself failed, or a chain is stuck: the worker stops and says so */
  failure: Cause.Cause<unknown> | undefined
  readonly ended: Deferred.Deferred<void>
}

/** @internal */
export const monotonic = (state: State): number => Number(state.clock.monotonicTimeNanosUnsafe()) / 1e6

/** Slots of the worker became free: lanes that wait for one look again. @internal */
export const freed = (state: State): void => {
  if (state.lanes.length === 1) return
  for (const lane of state.lanes) if (lane.ticket !== undefined) lane.changed.openUnsafe()
}

/** @internal */
export const wakeAll = (state: State): void => {
  for (const lane of state.lanes) lane.changed.openUnsafe()
}

/** Grows with all that may have put a job into a queue that was found empty before. @internal */
export const changes = (state: State): number => state.claimed + state.moved
