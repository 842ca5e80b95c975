/**
 * Groups: members start by rank, then position, as many at a time as the group's limit says. All that wait stand in
 * `waiting`, scheduled ones too; the first of them have their turn, one for every slot that is free, and those of these
 * that are not scheduled stand in `ready` as well. So a claim never looks at groups. `lane` knows the last that has its
 * turn: every move looks at that one and its neighbours, however many wait.
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
  /** of the group, as the job was enqueued: for a group that nobody is in; null: 1 */
  readonly lim: number | null
}

/**
 * Where a member that waits from now on was before: nowhere, so that its limit is the group's now; running in this group; or
 * elsewhere, in another group or among the dead letters.
 */
export type Came = "new" | "running" | "elsewhere"

interface Lane {
  lim: number
  running: number
  turns: number
  /** of the last that has its turn; null when none has */
  turn_rank: number | null
  turn_pos: number | null
}

interface Member {
  readonly num: number
  readonly rank: number
  readonly pos: number
  readonly due: number | null
}

type Place = Pick<Spot, "rank" | "pos">

export class Groups {
  private readonly lane: Records<Lane>
  private readonly after: Records<Member>
  private readonly before: Records<Place>
  private readonly putLane: StatementSync
  private readonly dropLane: StatementSync
  private readonly head: Records<Member>
  private readonly startOnly: StatementSync
  private readonly start: Records<Pick<Lane, "turn_pos">>
  private readonly turn: StatementSync
  private readonly join: StatementSync
  private readonly leave: StatementSync
  private readonly putReady: StatementSync
  private readonly dropReady: StatementSync

  constructor(connection: Connection) {
    this.lane = connection.records(
      "SELECT lim, running, turns, turn_rank, turn_pos FROM lane WHERE queue = ? AND grp = ?"
    )
    this.after = connection.records(
      `SELECT w.num, w.rank, w.pos, j.due FROM waiting w CROSS JOIN job j ON j.num = w.num
       WHERE w.queue = ? AND w.grp = ? AND (w.rank, w.pos) > (?, ?) ORDER BY w.rank, w.pos LIMIT 1`
    )
    this.before = connection.records(
      `SELECT rank, pos FROM waiting WHERE queue = ? AND grp = ? AND (rank, pos) < (?, ?)
       ORDER BY rank DESC, pos DESC LIMIT 1`
    )
    this.putLane = connection.statement(
      `INSERT OR REPLACE INTO lane (queue, grp, lim, running, turns, turn_rank, turn_pos) VALUES (?, ?, ?, ?, ?, ?, ?)`
    )
    this.dropLane = connection.statement("DELETE FROM lane WHERE queue = ? AND grp = ?")
    this.head = connection.records(
      `SELECT w.num, w.rank, w.pos, j.due FROM waiting w CROSS JOIN job j ON j.num = w.num
       WHERE w.queue = ? AND w.grp = ? ORDER BY w.rank, w.pos LIMIT 1`
    )
    this.startOnly = connection.statement(
      `UPDATE lane SET running = running + 1, turns = 0, turn_rank = NULL, turn_pos = NULL
       WHERE queue = ? AND grp = ? AND turns = 1`
    )
    this.start = connection.records(
      "UPDATE lane SET running = running + 1, turns = turns - 1 WHERE queue = ? AND grp = ? RETURNING turn_pos"
    )
    this.turn = connection.statement("UPDATE lane SET turn_rank = ?, turn_pos = ? WHERE queue = ? AND grp = ?")
    this.join = connection.statement("INSERT INTO waiting (queue, grp, rank, pos, num) VALUES (?, ?, ?, ?, ?)")
    this.leave = connection.statement("DELETE FROM waiting WHERE queue = ? AND grp = ? AND rank = ? AND pos = ?")
    this.putReady = connection.statement("INSERT INTO ready (queue, rank, pos, num) VALUES (?, ?, ?, ?)")
    this.dropReady = connection.statement("DELETE FROM ready WHERE queue = ? AND rank = ? AND pos = ?")
  }

  /** the member waits from now on */
  enter(spot: Spot, grp: string, scheduled: boolean, came: Came): void {
    const { num, pos, queue, rank } = spot
    const own = spot.lim ?? 1
    const found = this.lane.get(queue, grp)
    const lane = found ?? { lim: own, running: 0, turns: 0, turn_rank: null, turn_pos: null }
    let changed = found === undefined
    if (came === "running") {
      lane.running--
      changed = true
    } else if (came === "new" && lane.lim !== own) {
      lane.lim = own
      changed = true
    }
    this.join.run(queue, grp, rank, pos, num)
    if (hasTurn(spot, lane)) {
      lane.turns++
      changed = true
      if (!scheduled) this.putReady.run(queue, rank, pos, num)
    }
    this.balance(queue, grp, lane, changed)
  }

  /** the member, which waited, is gone */
  withdraw(spot: Spot, grp: string): void {
    const { pos, queue, rank } = spot
    this.leave.run(queue, grp, rank, pos)
    const lane = this.lane.get(queue, grp)!
    const first = hasTurn(spot, lane)
    if (first) {
      this.dropReady.run(queue, rank, pos)
      lane.turns--
      if (pos === lane.turn_pos) this.stepBack(queue, grp, lane)
    }
    this.balance(queue, grp, lane, first)
  }

  /** the member was claimed, so it has left `ready` already */
  started({ pos, queue, rank }: Spot, grp: string): void {
    this.leave.run(queue, grp, rank, pos)
    if (this.startOnly.run(queue, grp).changes !== 0) return
    if (this.start.get(queue, grp)!.turn_pos !== pos) return
    const last = this.before.get(queue, grp, rank, pos)!
    this.turn.run(last.rank, last.pos, queue, grp)
  }

  /** a running member is gone */
  ended(queue: number, grp: string): void {
    const lane = this.lane.get(queue, grp)!
    lane.running--
    this.balance(queue, grp, lane, true)
  }

  /** the member, which waits, is not scheduled any more */
  due({ num, pos, queue, rank }: Spot, grp: string): void {
    if (hasTurn({ rank, pos }, this.lane.get(queue, grp)!)) this.putReady.run(queue, rank, pos, num)
  }

  /** as many turns as slots are free; a group that nobody is in is forgotten, with its limit */
  private balance(queue: number, grp: string, lane: Lane, changed: boolean): void {
    const slots = Math.max(0, lane.lim - lane.running)
    while (lane.turns > slots) {
      // of a scheduled one there is nothing to take back
      this.dropReady.run(queue, lane.turn_rank, lane.turn_pos)
      lane.turns--
      this.stepBack(queue, grp, lane)
      changed = true
    }
    while (lane.turns < slots) {
      const next = lane.turn_rank === null
        ? this.head.get(queue, grp)
        : this.after.get(queue, grp, lane.turn_rank, lane.turn_pos)
      if (next === undefined) break
      if (next.due === null) this.putReady.run(queue, next.rank, next.pos, next.num)
      lane.turns++
      lane.turn_rank = next.rank
      lane.turn_pos = next.pos
      changed = true
    }
    if (lane.running === 0 && lane.turns === 0) this.dropLane.run(queue, grp)
    else if (changed) this.putLane.run(queue, grp, lane.lim, lane.running, lane.turns, lane.turn_rank, lane.turn_pos)
  }

  /** the last turn is that of the member before */
  private stepBack(queue: number, grp: string, lane: Lane): void {
    const last = lane.turns === 0 ? undefined : this.before.get(queue, grp, lane.turn_rank, lane.turn_pos)
    lane.turn_rank = last?.rank ?? null
    lane.turn_pos = last?.pos ?? null
  }
}

const hasTurn = ({ pos, rank }: Place, { turn_pos, turn_rank }: Lane): boolean =>
  turn_rank !== null && (rank < turn_rank || (rank === turn_rank && pos <= turn_pos!))
