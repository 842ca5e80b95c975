/**
 * Groups: members run one at a time, by rank, then position. All that wait stand in `waiting`; the head stands in `ready`
 * as well when it is not scheduled and no other runs, and that is the group's turn. So a claim never looks at groups.
 *
 * @since 0.1.0
 */
import type { StatementSync } from "node:sqlite"
import type { Connection, Records } from "./connection.ts"

/** where a job stands among others */
export interface Spot {
  readonly num: number
  readonly queue: number
  readonly rank: number
  readonly pos: number
  readonly grp: string | null
}

interface Lane {
  readonly running: number | null
  readonly turn: number | null
  readonly turn_rank: number | null
  readonly turn_pos: number | null
}

interface Head {
  readonly num: number
  readonly rank: number
  readonly pos: number
  readonly due: number | null
}

const empty: Lane = { running: null, turn: null, turn_rank: null, turn_pos: null }

export class Groups {
  private readonly lane: Records<Lane>
  private readonly head: Records<Head>
  private readonly putLane: StatementSync
  private readonly dropLane: StatementSync
  private readonly join: StatementSync
  private readonly leave: StatementSync
  private readonly putReady: StatementSync
  private readonly dropReady: StatementSync

  constructor(connection: Connection) {
    this.lane = connection.records("SELECT running, turn, turn_rank, turn_pos FROM lane WHERE queue = ? AND grp = ?")
    this.head = connection.records(
      `SELECT w.num, w.rank, w.pos, j.due FROM waiting w CROSS JOIN job j ON j.num = w.num
       WHERE w.queue = ? AND w.grp = ? ORDER BY w.rank, w.pos LIMIT 1`
    )
    this.putLane = connection.statement(
      "INSERT OR REPLACE INTO lane (queue, grp, running, turn, turn_rank, turn_pos) VALUES (?, ?, ?, ?, ?, ?)"
    )
    this.dropLane = connection.statement("DELETE FROM lane WHERE queue = ? AND grp = ?")
    this.join = connection.statement("INSERT INTO waiting (queue, grp, rank, pos, num) VALUES (?, ?, ?, ?, ?)")
    this.leave = connection.statement("DELETE FROM waiting WHERE queue = ? AND grp = ? AND rank = ? AND pos = ?")
    this.putReady = connection.statement("INSERT INTO ready (queue, rank, pos, num) VALUES (?, ?, ?, ?)")
    this.dropReady = connection.statement("DELETE FROM ready WHERE queue = ? AND rank = ? AND pos = ?")
  }

  /** the member waits from now on */
  enter(spot: Spot, grp: string): void {
    this.join.run(spot.queue, grp, spot.rank, spot.pos, spot.num)
    this.refresh(spot.queue, grp)
  }

  /** the member, which waited, is gone */
  withdraw(spot: Spot, grp: string): void {
    this.leave.run(spot.queue, grp, spot.rank, spot.pos)
    this.refresh(spot.queue, grp)
  }

  /** the member was claimed, so it has left `ready` already */
  started(spot: Spot, grp: string): void {
    this.leave.run(spot.queue, grp, spot.rank, spot.pos)
    this.putLane.run(spot.queue, grp, spot.num, null, null, null)
  }

  /** the running member stopped running; the next one has its turn with the `refresh` or `enter` that follows */
  stopped(queue: number, grp: string): void {
    this.putLane.run(queue, grp, null, null, null, null)
  }

  /** gives the turn to whom it belongs now */
  refresh(queue: number, grp: string): void {
    const lane = this.lane.get(queue, grp) ?? empty
    const head = this.head.get(queue, grp)
    const next = lane.running === null && head !== undefined && head.due === null ? head : undefined
    if (head === undefined && lane.running === null) {
      if (lane.turn !== null) this.dropReady.run(queue, lane.turn_rank, lane.turn_pos)
      this.dropLane.run(queue, grp)
      return
    }
    if (lane.turn === (next?.num ?? null) && lane.turn_pos === (next?.pos ?? null)) return
    if (lane.turn !== null) this.dropReady.run(queue, lane.turn_rank, lane.turn_pos)
    if (next !== undefined) this.putReady.run(queue, next.rank, next.pos, next.num)
    this.putLane.run(queue, grp, lane.running, next?.num ?? null, next?.rank ?? null, next?.pos ?? null)
  }
}
