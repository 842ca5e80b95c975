/**
 * Handing out jobs: the best ready ones of a queue move to `active` with a fence that was never used before. Leases that
 * ran out and jobs that became due move first. Runs inside a write transaction.
 *
 * @since 0.1.0
 */
import type { StatementSync } from "node:sqlite"
import type { Delivery, Envelope, Origin } from "../../Backend.ts"
import type { Connection, Records, Rows } from "./connection.ts"
import type { Groups, Spot } from "./groups.ts"
import type { History } from "./history.ts"
import type { Keys, Until } from "./keys.ts"
import type { Place } from "./place.ts"
import type { Sequence } from "./sequence.ts"

/** the backend's part of a receipt */
export interface Fence {
  readonly num: number
  readonly token: number
  /** nothing but the job itself goes when it succeeds: no key, no group, no result, no history */
  readonly plain: boolean
}

/** moved at a time, so that no claim takes long after a long silence */
const promoted = 1_000
const reclaimed = 100

type ReadyRow = readonly [
  rank: number,
  pos: number,
  num: number,
  id: string,
  task: string,
  version: number,
  headers: string | null,
  origin: Origin,
  enqueued: number,
  spent: number,
  plain: number,
  payload: string,
  unsettled: number,
  lostWorker: string | null,
  lostClaimed: number | null,
  firstFailed: number | null,
  scheduledFor: number | null,
  abort: number,
  group: string | null,
  key: string | null,
  until: Until | null,
  keep: number | null
]

interface ExpiredRow extends Spot {
  readonly worker: string
  readonly claimed: number
  readonly spent: number
  readonly events: number
}

/** when a claim may find something */
export interface Outlook {
  readonly paused: boolean
  readonly ready: boolean
  readonly due: number
  /** on the steady clock */
  readonly lease: number
}

export class Claim {
  private readonly connection: Connection
  private readonly sequence: Sequence
  private readonly groups: Groups
  private readonly keys: Keys
  private readonly place: Place
  private readonly history: History
  private readonly lease: number
  private readonly keepsSuccesses: boolean
  private readonly look: Rows<readonly [paused: number, ready: number, due: number | null, lease: number | null]>
  private readonly best: Rows<ReadyRow>
  private readonly activate: StatementSync
  private readonly dropReady: StatementSync
  private readonly expired: Records<ExpiredRow>
  private readonly dropActive: StatementSync
  private readonly lost: StatementSync

  constructor(
    connection: Connection,
    parts: {
      readonly sequence: Sequence
      readonly groups: Groups
      readonly keys: Keys
      readonly place: Place
      readonly history: History
    },
    settings: { readonly lease: number; readonly keepsSuccesses: boolean }
  ) {
    this.connection = connection
    this.sequence = parts.sequence
    this.groups = parts.groups
    this.keys = parts.keys
    this.place = parts.place
    this.history = parts.history
    this.lease = settings.lease
    this.keepsSuccesses = settings.keepsSuccesses
    this.look = connection.rows(
      `SELECT q.paused,
         EXISTS (SELECT 1 FROM ready WHERE queue = q.num),
         (SELECT due FROM scheduled WHERE queue = q.num ORDER BY due LIMIT 1),
         (SELECT lease FROM active WHERE queue = q.num ORDER BY lease LIMIT 1)
       FROM queue q WHERE q.num = ?`
    )
    this.best = connection.rows(
      `SELECT r.rank, r.pos, r.num, j.id, j.task, j.version, j.headers, j.origin, j.enqueued, j.spent,
         j.keep IS NULL AND j.grp IS NULL AND j.ukey IS NULL AND j.events = 0, j.payload,
         j.unsettled, j.lost_worker, j.lost_claimed, j.first_failed, j.scheduled_for, j.abort, j.grp, j.ukey, j.until, j.keep
       FROM ready r CROSS JOIN job j ON j.num = r.num
       WHERE r.queue = ? ORDER BY r.rank, r.pos LIMIT ?`
    )
    this.activate = connection.statement(
      `INSERT INTO active (num, fence, queue, worker, claimed, lease)
       SELECT num, ?, queue, ?, ?, ? FROM ready WHERE queue = ? AND (rank, pos) <= (?, ?)`
    )
    this.dropReady = connection.statement("DELETE FROM ready WHERE queue = ? AND (rank, pos) <= (?, ?)")
    this.expired = connection.records(
      `SELECT a.num, a.queue, a.worker, a.claimed, j.rank, j.pos, j.grp, j.lim, j.spent, j.events
       FROM active a CROSS JOIN job j ON j.num = a.num
       WHERE a.queue = ? AND a.lease <= ? ORDER BY a.lease, a.num LIMIT ?`
    )
    this.dropActive = connection.statement("DELETE FROM active WHERE num = ?")
    this.lost = connection.statement(
      "UPDATE job SET unsettled = unsettled + 1, lost_worker = ?, lost_claimed = ?, events = ? WHERE num = ?"
    )
  }

  outlook(queue: number): Outlook {
    const [paused, ready, due, lease] = this.look.get(queue)!
    return { paused: paused === 1, ready: ready === 1, due: due ?? Infinity, lease: lease ?? Infinity }
  }

  /** a time that has passed when a claim finds something now, `Infinity` when nothing can be foreseen */
  nextChange(queue: number, now: number): number {
    const { due, lease, paused, ready } = this.outlook(queue)
    if (paused) return Infinity
    if (ready) return -Infinity
    return Math.min(due, now + lease - this.connection.steady())
  }

  take(queue: number, name: string, worker: string, max: number, now: number): Array<Delivery> {
    const { due, lease, paused } = this.outlook(queue)
    if (paused) return []
    if (due <= now) this.place.promote(queue, now, promoted)
    const steady = this.connection.steady()
    if (lease <= steady) this.reclaim(queue, now, steady)
    const rows = this.best.all(queue, max)
    const last = rows[rows.length - 1]
    if (last === undefined) return []
    const token = this.sequence.take()
    this.activate.run(token, worker, now, steady + this.lease, queue, last[0], last[1])
    this.dropReady.run(queue, last[0], last[1])
    const deliveries = new Array<Delivery>(rows.length)
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i]!
      if (row[18] !== null) {
        this.groups.started({ num: row[2], queue, rank: row[0], pos: row[1], grp: row[18], lim: null }, row[18])
      }
      if (row[20] === "started") this.keys.free(queue, row[19]!, row[2])
      deliveries[i] = toDelivery(row, name, token, this.keepsSuccesses)
    }
    return deliveries
  }

  /** puts jobs whose owner let the lease run out at the front */
  private reclaim(queue: number, now: number, steady: number): void {
    const rows = this.expired.all(queue, steady, reclaimed)
    for (const row of rows) {
      const n = row.events + 1
      this.dropActive.run(row.num)
      this.history.add(row.num, n, {
        at: now,
        event: "lost",
        attempt: row.spent + 1,
        worker: row.worker,
        detail: undefined
      })
      this.lost.run(row.worker, row.claimed, n, row.num)
    }
    this.place.enterFront(rows)
  }
}

const toDelivery = (row: ReadyRow, queue: string, token: number, keepsSuccesses: boolean): Delivery => ({
  envelope: toEnvelope(row[3], row[4], row[5], row[11], row[6], row[7]),
  receipt: { id: row[3], fence: { num: row[2], token, plain: row[10] === 1 } satisfies Fence },
  queue,
  attempt: row[9] + 1,
  unsettled: row[12],
  lostFrom: row[13] === null ? undefined : { worker: row[13], claimedAt: row[14]! },
  enqueuedAt: row[8],
  scheduledFor: row[16] ?? undefined,
  firstFailedAt: row[15] ?? undefined,
  priority: row[0] === 0 ? 0 : -row[0],
  group: row[18] ?? undefined,
  abortRequested: row[17] === 1,
  keepsResult: keepsSuccesses || row[21] !== null
})

export const toEnvelope = (
  id: string,
  task: string,
  version: number,
  payload: string,
  headers: string | null,
  origin: Origin
): Envelope => ({ id, task, version, payload, headers: headers === null ? {} : JSON.parse(headers), origin })
