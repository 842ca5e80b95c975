/**
 * Claiming ahead. While a batch of jobs runs that ends as soon as it is started, an engine that has to be asked over a
 * network would stand idle, and then the worker would. So after batches that ended at once the next one is claimed first,
 * and runs while the one after it is on its way. Nor is a batch bound to the number of slots then: jobs that end as they are
 * started need one slot after the other, so it grows to what they do in some milliseconds. Who waits, waits for one batch,
 * and that is bounded. What begins to take time meanwhile is not run without a slot: it goes back, and a worker that met it
 * claims by its slots again.
 */
import type { Delivery } from "../../Backend.ts"
import { start } from "./start.ts"
import { type Lane, monotonic, type State } from "./state.ts"

/** @internal */
export interface Ahead {
  /** claimed, not started */
  deliveries: ReadonlyArray<Delivery>
  /** monotonic milliseconds at which they were asked for, and how many slots were free then */
  asked: number
  room: number
  /** batches in a row that ended as soon as they were started */
  quick: number
  /** how many of those it takes; more after every time that it was a mistake */
  needed: number
  /** how many it takes to claim more than there are slots: many more after a mistake, fewer again as there are none */
  sure: number
  /** jobs of the last of them, and the milliseconds that one took */
  size: number
  pace: number
}

const leastSure = 2

/** @internal */
export const none = (): Ahead => ({
  deliveries: [],
  asked: 0,
  room: 0,
  quick: 0,
  needed: 2,
  sure: leastSure,
  size: 0,
  pace: 0
})

/** milliseconds that a batch may run for, so that the one behind it does not wait longer */
const longest = 50

/** milliseconds of work, and jobs, that a batch may grow to: what goes back is little when they begin to take time */
const large = { millis: 5, jobs: 250 }

const mayAhead = ({ settings }: State, { gates, subscription }: Lane): boolean =>
  settings.claimAhead && subscription.claimAhead === true && gates.length === 0

/**
 * How many a claim is to ask for that has `room` slots: more where jobs end at once, twice the last batch at most.
 *
 * @internal
 */
export const asks = (worker: State, lane: Lane, room: number): number => {
  const { pace, quick, size, sure } = lane.ahead
  if (room === 0 || quick < sure || !mayAhead(worker, lane)) return room
  const { settleBatch, takeBatch } = worker.backend.limits
  // two batches that go back do so in one call, which keeps their order
  const most = Math.min(2 * size, Math.floor(large.millis / pace), large.jobs, takeBatch, Math.floor(settleBatch / 2))
  return Math.max(room, most)
}

/**
 * Whether what was just claimed is to wait until the next claim is on its way. One whose owner was lost does not: it may be
 * why, and then those that wait with it would be lost once more.
 *
 * @internal
 */
export const goesAhead = (worker: State, lane: Lane): boolean => {
  const { deliveries, needed, quick, room } = lane.ahead
  return quick >= needed && deliveries.length >= room && mayAhead(worker, lane) && !deliveries.some(wasLost)
}

const wasLost = ({ unsettled }: Delivery): boolean => unsettled > 0

/** What became of what was claimed: there was nothing, it was started, or some of it went back. @internal */
export type Became = "nothing" | "started" | "back"

/**
 * Starts what was claimed. What was claimed without a slot and finds none, because jobs before it did not end at once this
 * time, goes back as if it had never been claimed. So does what waited for so long that its lease may end, or behind jobs
 * that took long; and one whose owner was lost, which is claimed for a slot or not at all. `before`: what became of the
 * batch that may have run since this one was asked for; where some of that went back this one does, or it would overtake it.
 *
 * @internal
 */
export const startClaimed = (worker: State, lane: Lane, before: Became): Became => {
  const { ahead } = lane
  const { asked, deliveries, room } = ahead
  if (deliveries.length === 0) return "nothing"
  ahead.deliveries = []
  const from = monotonic(worker)
  const { lease } = lane.subscription
  const safe = lease._tag === "Timed" ? asked + lease.millis / 3 : Infinity
  const late = before === "back" || (before === "started" && from > safe)
  let mistaken = late
  let lost = false
  let long = false
  let back = false
  for (let i = 0; i < deliveries.length; i++) {
    const delivery = deliveries[i]!
    // the slots that other lanes have reserved are theirs: what their calls bring is started without another look
    const others = worker.reserved - lane.reserved
    const full = lane.live.size >= lane.concurrency || worker.running + others >= worker.settings.concurrency
    if (i >= room && !long) long = monotonic(worker) >= Math.min(from + longest, safe)
    mistaken ||= full || long
    lost ||= wasLost(delivery)
    // once one has gone back, those behind it do: they keep their order
    back ||= full || late || long || (lost && i >= room)
    start(worker, lane, delivery, asked, back ? "it was claimed ahead, and its turn has not come" : undefined)
  }
  const took = monotonic(worker) - from
  ahead.quick = lane.live.size === 0 && took < longest && !lost && !back ? ahead.quick + 1 : 0
  ahead.size = deliveries.length
  ahead.pace = took / deliveries.length
  if (mistaken) {
    ahead.needed = Math.min(1_024, ahead.needed * 2)
    if (deliveries.length > room) doubt(ahead)
  } else if (deliveries.length > room) {
    ahead.sure = Math.max(leastSure, ahead.sure * 0.99)
  }
  return back ? "back" : "started"
}

/** A claim failed: it may have been for too many. @internal */
export const failed = ({ ahead, reserved }: Lane, asked: number): void => {
  ahead.quick = 0
  if (asked > reserved) doubt(ahead)
}

/** where some jobs take time now and then, batches that are larger than the slots are soon given up */
const doubt = (ahead: Ahead): void => {
  ahead.sure = Math.min(2 ** 20, ahead.sure * 8)
}
