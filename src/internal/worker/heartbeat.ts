/**
 * Keeps the leases of what a lane holds: renewed at a third of the lease, given up by ourselves at two thirds without an
 * answer, so that a handler is interrupted before somebody else may start the job.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Lease } from "../../Backend.ts"
import type { Run } from "./run.ts"
import { type Lane, monotonic, type State } from "./state.ts"

type Timed = Extract<Lease, { readonly _tag: "Timed" }>

/** Runs until it is interrupted; a lane whose lease is its connection has nothing to renew. @internal */
export const heartbeat = (worker: State, lane: Lane): Effect.Effect<void> => {
  const { lease } = lane.subscription
  return lease._tag === "Connection" ? Effect.never : Effect.gen(function*() {
    let pause = lease.millis / 3
    while (true) {
      yield* lane.holding.await
      yield* Effect.sleep(pause)
      pause = yield* beat(worker, lane, lease)
    }
  })
}

/** Answers after how many milliseconds the next is due. */
const beat = (worker: State, lane: Lane, lease: Timed): Effect.Effect<number> =>
  Effect.suspend(() => {
    const runs = Array.from(lane.held)
    if (runs.length === 0) {
      lane.holding.closeUnsafe()
      return Effect.succeed(lease.millis / 3)
    }
    // counted from before the call: the engine may have renewed it at any moment since
    const asked = monotonic(worker)
    return Effect.matchCauseEffect(
      Effect.timeout(lease.extend(runs.map((run) => run.receipt)), untilFence(worker, lease, runs)),
      {
        onSuccess: (held) =>
          Effect.sync(() => {
            for (let i = 0; i < runs.length; i++) {
              const run = runs[i]!
              if (held[i] === "Lost") lost(lane, run)
              else run.heldUntil = asked + lease.millis
              if (held[i] === "Abort") run.stop("aborted")
            }
            return lease.millis / 3
          }),
        onFailure: (cause) =>
          Effect.andThen(
            Effect.logWarning(`renewing the leases of ${runs.length} jobs of queue ${lane.queue} failed`, cause),
            Effect.sync(() => {
              const now = monotonic(worker)
              for (const run of runs) if (now >= run.heldUntil - lease.millis / 3) lost(lane, run)
              return untilFence(worker, lease, lane.held)
            })
          )
      }
    )
  })

/**
 * Milliseconds until the first of them has spent two thirds of its lease: a third at most, and never so few that a call
 * had no chance. Jobs are claimed between two beats, so a fixed rhythm would find out too late.
 */
const untilFence = (worker: State, lease: Timed, runs: Iterable<Run>): number => {
  const now = monotonic(worker)
  let first = lease.millis / 3
  for (const run of runs) first = Math.min(first, run.heldUntil - lease.millis / 3 - now)
  return Math.max(first, lease.millis / 12)
}

/** A run that is over already is settled all the same: the fence decides. */
const lost = (lane: Lane, run: Run): void => {
  if (!lane.live.has(run)) return
  lane.held.delete(run)
  run.stop("lost")
}

/** Abort requests as they are made; `extend` is the guarantee behind this hint. @internal */
export const aborts = (lane: Lane): Effect.Effect<void> =>
  lane.subscription.aborts === undefined
    ? Effect.never
    : Stream.runForEach(lane.subscription.aborts, (id) =>
      Effect.sync(() => {
        for (const run of lane.live) if (run.id === id) run.stop("aborted")
      })).pipe(Effect.andThen(Effect.never))
