/** The worker's event stream: made only while somebody listens. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { Outcome } from "../../Outcome.ts"
import type { Run } from "./run.ts"
import type { State } from "./state.ts"

/** See `Worker.Event`. @internal */
export type EventTag =
  | "Claimed"
  | "Started"
  | "Succeeded"
  | "Failed"
  | "Retried"
  | "Snoozed"
  | "Discarded"
  | "Interrupted"
  | "Aborted"
  | "Dead"
  | "Lost"
  | "Released"
  | "Stuck"

/** @internal */
export interface Event {
  readonly _tag: EventTag
  /** milliseconds since the epoch, on the worker's clock */
  readonly at: number
  readonly worker: string
  readonly id: string
  readonly task: string
  readonly queue: string
  readonly attempt: number
  /** an error in one line, the reason of a dead letter, or what a job waits for */
  readonly detail: string | undefined
}

/** @internal */
export const emit = (state: State, tag: EventTag, run: Run, detail?: string): void => {
  if (state.listeners.size === 0) return
  const event: Event = {
    _tag: tag,
    at: state.clock.currentTimeMillisUnsafe(),
    worker: state.id,
    id: run.id,
    task: run.task,
    queue: run.queue,
    attempt: run.attempt,
    detail
  }
  for (const listener of state.listeners) listener(event)
}

/** What a confirmed settlement means to those who listen. @internal */
export const emitOutcome = (state: State, run: Run, outcome: Outcome): void => {
  if (state.listeners.size === 0) return
  switch (outcome._tag) {
    case "Retried":
      emit(state, "Failed", run, outcome.error)
      return emit(state, "Retried", run, `in ${outcome.after} ms`)
    case "Dead":
      if (outcome.reason === "failed" || outcome.reason === "timeout") emit(state, "Failed", run, outcome.error)
      return emit(state, "Dead", run, outcome.reason)
    case "Succeeded":
    case "Aborted":
      return emit(state, outcome._tag, run)
    case "Interrupted":
      return emit(state, "Interrupted", run, outcome.by)
    case "Discarded":
    case "Snoozed":
    case "Released":
      return emit(state, outcome._tag, run, outcome.reason)
  }
}

/** A slow reader loses the oldest events, never holds up the worker; the end of the worker is its end. @internal */
export const stream = (state: State): Stream.Stream<Event> =>
  Stream.callback<Event>((queue) =>
    Effect.andThen(
      Effect.acquireRelease(
        Effect.sync(() => {
          const listener = (event: Event) => void Queue.offerUnsafe(queue, event)
          state.listeners.add(listener)
          return listener
        }),
        (listener) => Effect.sync(() => state.listeners.delete(listener))
      ),
      Effect.forkScoped(Effect.andThen(Deferred.await(state.ended), Queue.end(queue)))
    ), { bufferSize: 4096, strategy: "sliding" })
