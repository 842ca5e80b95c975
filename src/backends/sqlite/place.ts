/**
 * Where a waiting job stands, and the moves between these places: among the ready, at their end or front; among the
 * scheduled; out of both. Runs inside a write transaction.
 *
 * @since 0.1.0
 */
import type { StatementSync } from "node:sqlite"
import type { Connection, Records } from "./connection.ts"
import type { Came, Groups, Spot } from "./groups.ts"
import type { Sequence } from "./sequence.ts"

interface DueRow extends Spot {
  readonly due: number
  readonly front: number
}

export class Place {
  private readonly sequence: Sequence
  private readonly groups: Groups
  private readonly putReady: StatementSync
  private readonly dropReady: StatementSync
  private readonly putScheduled: StatementSync
  private readonly dropScheduled: StatementSync
  private readonly dropDue: StatementSync
  private readonly due: Records<DueRow>
  private readonly move: StatementSync

  constructor(connection: Connection, sequence: Sequence, groups: Groups) {
    this.sequence = sequence
    this.groups = groups
    this.putReady = connection.statement("INSERT INTO ready (queue, rank, pos, num) VALUES (?, ?, ?, ?)")
    this.dropReady = connection.statement("DELETE FROM ready WHERE queue = ? AND rank = ? AND pos = ?")
    this.putScheduled = connection.statement("INSERT INTO scheduled (queue, due, num) VALUES (?, ?, ?)")
    this.dropScheduled = connection.statement("DELETE FROM scheduled WHERE queue = ? AND due = ? AND num = ?")
    this.dropDue = connection.statement("DELETE FROM scheduled WHERE queue = ? AND (due, num) <= (?, ?)")
    this.due = connection.records(
      `SELECT j.num, s.queue, j.rank, j.pos, j.grp, j.lim, s.due, j.front FROM scheduled s CROSS JOIN job j ON j.num = s.num
       WHERE s.queue = ? AND s.due <= ? ORDER BY s.due, s.num LIMIT ?`
    )
    this.move = connection.statement("UPDATE job SET pos = ?, due = ?, front = ? WHERE num = ?")
  }

  /** a position behind all others */
  last(): number {
    return this.sequence.take()
  }

  /** a job that is in no place yet and whose row says `pos` and `due` already */
  enter(spot: Spot, due: number | null, came: Came): void {
    if (due !== null) this.putScheduled.run(spot.queue, due, spot.num)
    if (spot.grp !== null) this.groups.enter(spot, spot.grp, due !== null, came)
    else if (due === null) this.putReady.run(spot.queue, spot.rank, spot.pos, spot.num)
  }

  /** behind all others of its rank, at once or when it is due. A member of a group keeps its place in the group */
  enterBack(spot: Spot, due: number | null, came: Came): void {
    const pos = spot.grp === null ? this.sequence.take() : spot.pos
    this.move.run(pos, due, 0, spot.num)
    this.enter({ ...spot, pos }, due, came)
  }

  /** it goes to the front when it is due */
  enterFrontLater(spot: Spot, due: number): void {
    this.move.run(spot.pos, due, 1, spot.num)
    this.enter(spot, due, "running")
  }

  /** before all others of their rank, in the order given. Members of a group keep their places in the group */
  enterFront(spots: ReadonlyArray<Spot>): void {
    if (spots.length === 0) return
    const first = this.sequence.take(spots.length)
    for (let i = spots.length - 1; i >= 0; i--) {
      const spot = spots[i]!
      // the last one gets the greatest position, and each batch stands before the earlier ones
      const pos = spot.grp === null ? -(first + spots.length - 1 - i) : spot.pos
      this.move.run(pos, null, 0, spot.num)
      this.enter({ ...spot, pos }, null, "running")
    }
  }

  /** out of wherever it waits */
  leave(spot: Spot, due: number | null): void {
    if (due !== null) this.dropScheduled.run(spot.queue, due, spot.num)
    if (spot.grp !== null) this.groups.withdraw(spot, spot.grp)
    else if (due === null) this.dropReady.run(spot.queue, spot.rank, spot.pos)
  }

  /** moves up to `max` jobs that are due among the ready; returns how many */
  promote(queue: number, now: number, max: number): number {
    const rows = this.due.all(queue, now, max)
    const last = rows[rows.length - 1]
    if (last === undefined) return 0
    this.dropDue.run(queue, last.due, last.num)
    const front: Array<Spot> = []
    for (const row of rows) {
      if (row.grp !== null) {
        // it waits in its group already
        this.move.run(row.pos, null, 0, row.num)
        this.groups.due(row, row.grp)
      } else if (row.front === 1) {
        front.push(row)
      } else {
        this.enterBack(row, null, "elsewhere")
      }
    }
    this.enterFront(front)
    return rows.length
  }
}
