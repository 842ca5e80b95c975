/**
 * Settling and claiming, and what happens when the backend does not answer. A settlement is uninterruptible, has its own
 * deadline, and is tried again while the lease lasts (L9); what cannot be settled is never called settled (L4).
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { BackendError, Delivery, Receipt, Settled, Settlement } from "../../Backend.ts"
import { Cases } from "../cases.ts"
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
  const items = ended.map(pairOf)
  const call = ended.length === 0
    ? Effect.map(subscription.take(room), (taken) => [[], taken] as const)
    : room === 0
    ? Effect.map(subscription.settle(items), (settled) => [settled, []] as const)
    : subscription.exchange(items, room)
  const cases = new Cases(
    ([settled, taken]: readonly [ReadonlyArray<Settled>, ReadonlyArray<Delivery>]) => {
      lane.failures = 0
      if (room > 0) lane.claimedAt = monotonic(worker)
      return Effect.as(confirm(worker, lane, ended, settled), taken)
    },
    (cause: Cause.Cause<BackendError>) => {
      lane.failures++
      failed(lane, room)
      const error = errorOf(worker, cause)
      if (error.outcome === "Unknown") { for (const e of ended) e.ambiguous = true }
      return Effect.logWarning(`the backend failed while ${ended.length} jobs were to be settled`, error).pipe(
        Effect.andThen(ended.length === 0 ? Effect.void : settleWhileHeld(worker, lane, ended)),
        Effect.as<ReadonlyArray<Delivery>>([])
      )
    }
  )
  return Effect.matchCauseEffect(bounded(worker, "exchange", call), cases)
}

const noPair: ReadonlyArray<unknown> = [undefined, undefined]

/** by no literal, as `Cases`: the pairs of a batch live until it is answered, and lead to its jobs */
const pairOf = ({ run, settlement }: Ended): readonly [Receipt, Settlement] => {
  const pair = noPair.slice() as [Receipt, Settlement]
  pair[0] = run.receipt
  pair[1] = settlement
  return pair
}
