/**
 * What a claim reads of a job, and the delivery that it becomes. Every column of every row costs a conversion, so what
 * most jobs do not have is no part of it: it is read of those that are not `plain`.
 *
 * @since 0.1.0
 */
import type { Delivery, Envelope, Origin } from "../../Backend.ts"
import { Claimed, Right, Stored } from "../internal/claimed.ts"
import type { Until } from "./keys.ts"

/** the backend's part of a receipt */
export class Fence {
  readonly num: number
  readonly token: number
  /** nothing but the job itself goes when it succeeds: no key, no group, no result, no history */
  readonly plain: boolean

  constructor(num: number, token: number, plain: boolean) {
    this.num = num
    this.token = token
    this.plain = plain
  }
}

/** of `ready r` and `job j` */
export const columns = `r.rank, r.pos, r.num, j.id, j.task, j.version, j.headers, j.origin, j.enqueued,
  j.keep IS NULL AND j.grp IS NULL AND j.ukey IS NULL AND j.events = 0, j.scheduled_for, j.payload`

export type ReadyRow = readonly [
  rank: number,
  pos: number,
  num: number,
  id: string,
  task: string,
  version: number,
  headers: string | null,
  origin: Origin,
  enqueued: number,
  plain: number,
  scheduledFor: number | null,
  payload: string
]

/**
 * What only a job can have that is not plain: it asked for it at its enqueue, or it was handed out before, and whatever
 * brought it back wrote an event.
 */
export interface Special {
  readonly spent: number
  readonly unsettled: number
  readonly lost_worker: string | null
  readonly lost_claimed: number | null
  readonly first_failed: number | null
  readonly abort: number
  readonly grp: string | null
  readonly ukey: string | null
  readonly until: Until | null
  readonly keep: number | null
}

export const specials = "spent, unsettled, lost_worker, lost_claimed, first_failed, abort, grp, ukey, until, keep"

const plain: Special = {
  spent: 0,
  unsettled: 0,
  lost_worker: null,
  lost_claimed: null,
  first_failed: null,
  abort: 0,
  grp: null,
  ukey: null,
  until: null,
  keep: null
}

/** `special`: undefined for a job that is plain */
export const toDelivery = (
  row: ReadyRow,
  special: Special = plain,
  queue: string,
  token: number,
  keepsSuccesses: boolean
): Delivery =>
  new Claimed({
    envelope: toEnvelope(row[3], row[4], row[5], row[11], row[6], row[7]),
    receipt: new Right(row[3], new Fence(row[2], token, row[9] === 1)),
    queue,
    attempt: special.spent + 1,
    unsettled: special.unsettled,
    lostFrom: special.lost_worker === null
      ? undefined
      : { worker: special.lost_worker, claimedAt: special.lost_claimed! },
    enqueuedAt: row[8],
    scheduledFor: row[10] ?? undefined,
    firstFailedAt: special.first_failed ?? undefined,
    priority: row[0] === 0 ? 0 : -row[0],
    group: special.grp ?? undefined,
    abortRequested: special.abort === 1,
    keepsResult: keepsSuccesses || special.keep !== null
  })

export const toEnvelope = (
  id: string,
  task: string,
  version: number,
  payload: string,
  headers: string | null,
  origin: Origin
): Envelope => new Stored(id, task, version, payload, headers === null ? {} : JSON.parse(headers), origin)
