/** Settling alone, after the exchange that was to carry it failed (L9). */
import * as Effect from "effect/Effect"
import { backOff, bounded, errorOf } from "./call.ts"
import { confirm, isHopeless, lose } from "./confirm.ts"
import { type Ended, type Lane, monotonic, type State } from "./state.ts"

/**
 * Settles alone, again and again, until it is said, nobody of them holds a lease any more, or it took too long. One that
 * the engine refuses for good must not keep the others from being settled: the batch is halved until it stands alone.
 *
 * @internal
 */
export const settleWhileHeld = (worker: State, lane: Lane, ended: ReadonlyArray<Ended>): Effect.Effect<void> =>
  Effect.gen(function*() {
    let open = ended
    for (let tries = 1; open.length > 0; tries++) {
      const now = monotonic(worker)
      const gone = open.filter((e) => isHopeless(worker, e))
      for (const e of gone) lose(worker, lane, e)
      open = open.filter((e) => !gone.includes(e))
      if (open.length === 0) return
      yield* Effect.sleep(Math.min(backOff(tries), Math.max(1, Math.min(...open.map((e) => e.run.heldUntil)) - now)))
      const batch = open
      open = yield* Effect.matchCauseEffect(
        bounded(worker, "settle", lane.subscription.settle(batch.map((e) => [e.run.receipt, e.settlement] as const))),
        {
          onSuccess: (settled) => Effect.as(confirm(worker, lane, batch, settled), [] as ReadonlyArray<Ended>),
          onFailure: (cause) => {
            const error = errorOf(worker, cause)
            if (error.outcome === "Unknown") { for (const e of batch) e.ambiguous = true }
            const said = Effect.logWarning(`settling ${batch.length} jobs failed (try ${tries})`, error)
            if (error.retryable) return Effect.as(said, batch)
            if (batch.length === 1) {
              for (const e of batch) lose(worker, lane, e)
              return Effect.as(said, [])
            }
            const half = batch.length >>> 1
            return Effect.as(
              Effect.andThen(
                said,
                Effect.andThen(
                  settleWhileHeld(worker, lane, batch.slice(0, half)),
                  settleWhileHeld(worker, lane, batch.slice(half))
                )
              ),
              []
            )
          }
        }
      )
    }
  })
