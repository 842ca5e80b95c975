/**
 * Claiming ahead. While a batch of jobs runs that ends as soon as it is started, an engine that has to be asked over a
 * network would stand idle, and then the worker would. So after batches that ended at once the next one is claimed first,
 * and runs while the one after it is on its way: at most one batch of the lane's concurrency, which waits for as long as
 * the batch before it runs, and that is bounded. Jobs that take time are never claimed before there is a slot for them.
 */
import type { Delivery } from "../../Backend.ts"
import { start } from "./start.ts"
import { type Lane, monotonic, type State } from "./state.ts"

/** @internal */
export interface Ahead {
  /** claimed, not started */
  deliveries: ReadonlyArray<Delivery>
  /** monotonic milliseconds at which they were asked for */
  asked: number
  /** batches in a row that ended as soon as they were started */
  quick: number
  /** how many of those it takes; more after every time that it was a mistake */
  needed: number
}

/** @internal */
export const none = (): Ahead => ({ deliveries: [], asked: 0, quick: 0, needed: 2 })

/** milliseconds that a batch may run for, so that the one behind it does not wait longer */
const longest = 50

/** Whether what was just claimed is to wait until the next claim is on its way. @internal */
export const goesAhead = ({ settings }: State, { ahead, gates }: Lane, room: number): boolean =>
  settings.claimAhead && ahead.deliveries.length === room && ahead.quick >= ahead.needed && gates.length === 0

/**
 * Starts what was claimed; false when there is nothing. What was claimed ahead and finds no slot, because jobs of the batch
 * before it did not end at once this time, goes back as if it had never been claimed; so does what waited for so long that
 * its lease may end. `waited`: another batch may have run since it was asked for.
 *
 * @internal
 */
export const startClaimed = (worker: State, lane: Lane, waited: boolean): boolean => {
  const { ahead } = lane
  const { asked, deliveries } = ahead
  if (deliveries.length === 0) return false
  ahead.deliveries = []
  const from = monotonic(worker)
  const { lease } = lane.subscription
  const late = waited && lease._tag === "Timed" && from - asked > lease.millis / 3
  let mistaken = late
  for (const delivery of deliveries) {
    // the slots that other lanes have reserved are theirs: what their calls bring is started without another look
    const others = worker.reserved - lane.reserved
    const full = lane.live.size >= lane.concurrency || worker.running + others >= worker.settings.concurrency
    mistaken ||= full
    start(worker, lane, delivery, asked, full || late ? "it was claimed ahead, and there is no slot for it" : undefined)
  }
  ahead.quick = lane.live.size === 0 && monotonic(worker) - from < longest ? ahead.quick + 1 : 0
  if (mistaken) ahead.needed = Math.min(1_024, ahead.needed * 2)
  return true
}
