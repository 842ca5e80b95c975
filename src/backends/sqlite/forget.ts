/**
 * The end of jobs that succeeded and leave nothing behind, all of one claim at once. Jobs that were enqueued one after
 * another are mostly claimed and settled together: their numbers are a run, and a run is a range of two tables. What is no
 * run, or is not held any more, is looked up by its number. Runs inside a write transaction.
 *
 * @since 0.1.0
 */
import type { StatementSync } from "node:sqlite"
import type { Connection, Rows } from "./connection.ts"

/** a shorter run is no gain: it takes three statements */
const worthwhile = 8

export class Forget {
  private readonly heldRun: Rows<readonly [number]>
  private readonly dropRun: StatementSync
  private readonly forgetRun: StatementSync
  private readonly dropMany: Rows<readonly [number]>
  private readonly forgetMany: StatementSync

  constructor(connection: Connection) {
    const run = "num BETWEEN ? AND ?"
    const many = "num IN (SELECT value FROM json_each(?))"
    this.heldRun = connection.rows(`SELECT count(*) FROM active WHERE ${run} AND fence = ?`)
    this.dropRun = connection.statement(`DELETE FROM active WHERE ${run} AND fence = ?`)
    this.forgetRun = connection.statement(`DELETE FROM job WHERE ${run}`)
    this.dropMany = connection.rows(`DELETE FROM active WHERE ${many} AND fence = ? RETURNING num`)
    this.forgetMany = connection.statement(`DELETE FROM job WHERE ${many}`)
  }

  /** forgets those of the numbers that the fence holds, and returns them; undefined when these are all, each given once */
  take(nums: ReadonlyArray<number>, token: number): Set<number> | undefined {
    const sorted = nums.toSorted((a, b) => a - b)
    const gone: Array<number> = []
    const rest: Array<number> = []
    for (let i = 0; i < sorted.length;) {
      const from = i++
      while (i < sorted.length && sorted[i] === sorted[i - 1]! + 1) i++
      const into = i - from >= worthwhile && this.takeRun(sorted[from]!, sorted[i - 1]!, token) ? gone : rest
      for (let n = from; n < i; n++) into.push(sorted[n]!)
    }
    if (rest.length > 0) {
      const dropped = this.dropMany.all(json(rest), token).map(([num]) => num)
      if (dropped.length > 0) this.forgetMany.run(json(dropped))
      for (const num of dropped) gone.push(num)
    }
    return gone.length === nums.length ? undefined : new Set(gone)
  }

  /** all or none: within the run every number is one of ours, so if the fence holds as many, it holds these */
  private takeRun(first: number, last: number, token: number): boolean {
    if (this.heldRun.get(first, last, token)![0] !== last - first + 1) return false
    this.dropRun.run(first, last, token)
    this.forgetRun.run(first, last)
    return true
  }
}

const json = (nums: ReadonlyArray<number>): string => `[${nums.join()}]`
