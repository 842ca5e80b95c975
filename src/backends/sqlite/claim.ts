/**
 * Handing out jobs: the best ready ones of a queue move to `active` with a fence that was never used before. Leases that
 * ran out and jobs that became due move first. Runs inside a write transaction.
 *
 * @since 0.1.0
 */
import type { StatementSync } from "node:sqlite"
import type { Delivery } from "../../Backend.ts"
import type { Connection, Records, Rows } from "./connection.ts"
import { columns, type ReadyRow, type Special, specials, toDelivery } from "./delivery.ts"
import type { Groups, Spot } from "./groups.ts"
import type { History } from "./history.ts"
import type { Keys } from "./keys.ts"
import type { Place } from "./place.ts"
import type { Sequence } from "./sequence.ts"

/** moved at a time, so that no claim takes long after a long silence */
const promoted = 1_000
const reclaimed = 100

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
  private readonly special: Records<Special>
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
      `SELECT ${columns}
       FROM ready r CROSS JOIN job j ON j.num = r.num
       WHERE r.queue = ? ORDER BY r.rank, r.pos LIMIT ?`
    )
    this.special = connection.records(`SELECT ${specials} FROM job WHERE num = ?`)
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
      const special = row[9] === 1 ? undefined : this.special.get(row[2])!
      if (special !== undefined) this.started(row, special, queue)
      deliveries[i] = toDelivery(row, special, name, token, this.keepsSuccesses)
    }
    return deliveries
  }

  /** its group has one more that runs, and a key that it held until its start is free */
  private started([rank, pos, num]: ReadyRow, { grp, ukey, until }: Special, queue: number): void {
    if (grp !== null) this.groups.started({ num, queue, rank, pos, grp, lim: null }, grp)
    if (until === "started") this.keys.free(queue, ukey!, num)
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
