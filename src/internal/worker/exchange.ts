/**
 * Settling and claiming, and what happens when the backend does not answer. A settlement is uninterruptible, has its own
 * deadline, and is tried again while the lease lasts (L9); what cannot be settled is never called settled (L4).
 */
import * as Effect from "effect/Effect"
import type { Delivery } from "../../Backend.ts"
import { failed } from "./ahead.ts"
import { bounded, errorOf } from "./call.ts"
import { confirm } from "./confirm.ts"
import { settleWhileHeld } from "./settle.ts"
import { type Ended, type Lane, monotonic, type State } from "./state.ts"

/** One round trip if the backend answers: settles `ended`, claims up to `room`. Never fails. @internal */
export const exchange = (
  worker: State,
  lane: Lane,
  ended: ReadonlyArray<Ended>,
  room: number
): Effect.Effect<ReadonlyArray<Delivery>> => {
  const { subscription } = lane
  const items = ended.map((e) => [e.run.receipt, e.settlement] as const)
  const call = ended.length === 0
    ? Effect.map(subscription.take(room), (taken) => [[], taken] as const)
    : room === 0
    ? Effect.map(subscription.settle(items), (settled) => [settled, []] as const)
    : subscription.exchange(items, room)
  return Effect.matchCauseEffect(bounded(worker, "exchange", call), {
    onSuccess: ([settled, taken]) => {
      lane.failures = 0
      if (room > 0) lane.claimedAt = monotonic(worker)
      return Effect.as(confirm(worker, lane, ended, settled), taken)
    },
    onFailure: (cause) => {
      lane.failures++
      failed(lane, room)
      const error = errorOf(worker, cause)
      if (error.outcome === "Unknown") { for (const e of ended) e.ambiguous = true }
      return Effect.logWarning(`the backend failed while ${ended.length} jobs were to be settled`, error).pipe(
        Effect.andThen(ended.length === 0 ? Effect.void : settleWhileHeld(worker, lane, ended)),
        Effect.as([])
      )
    }
  })
}
