/**
 * Dead letters that are run again or forgotten. Runs inside a write transaction, a bounded number at a time.
 *
 * @since 0.1.0
 */
import type { StatementSync } from "node:sqlite"
import type { Connection, Rows } from "./connection.ts"
import type { End } from "./end.ts"
import type { History } from "./history.ts"
import type { Keys, Until } from "./keys.ts"
import type { Live, LiveJobs } from "./live.ts"
import type { Place } from "./place.ts"

export interface Filter {
  readonly task?: string | undefined
  readonly reason?: string | undefined
}

export class Redrive {
  private readonly jobs: LiveJobs
  private readonly keys: Keys
  private readonly place: Place
  private readonly history: History
  private readonly end: End
  private readonly revive: StatementSync
  private readonly dropEnded: StatementSync
  private readonly select: Rows<readonly [num: number, matches: number]>
  private readonly old: Rows<readonly [num: number, matches: number]>
  private readonly latest: Rows<readonly [number]>

  constructor(
    connection: Connection,
    parts: {
      readonly jobs: LiveJobs
      readonly keys: Keys
      readonly place: Place
      readonly history: History
      readonly end: End
    }
  ) {
    this.jobs = parts.jobs
    this.keys = parts.keys
    this.place = parts.place
    this.history = parts.history
    this.end = parts.end
    this.revive = connection.statement(
      `UPDATE job SET spent = 0, unsettled = 0, lost_worker = NULL, lost_claimed = NULL, first_failed = NULL, abort = 0,
         pos = ?, events = ? WHERE num = ?`
    )
    this.dropEnded = connection.statement("DELETE FROM ended WHERE num = ?")
    const dead = "FROM ended e CROSS JOIN job j ON j.num = e.num WHERE e.state = 'dead' AND e.queue = ? AND e.num > ?"
    this.select = connection.rows(
      `SELECT e.num, e.num <= ? AND j.task = coalesce(?, j.task) AND e.reason IS coalesce(?, e.reason) ${dead}
       ORDER BY e.num LIMIT ?`
    )
    this.old = connection.rows(`SELECT e.num, e.num <= ? AND e.finished < ? ${dead} ORDER BY e.num LIMIT ?`)
    this.latest = connection.rows("SELECT max(num) FROM ended WHERE state = 'dead' AND queue = ?")
  }

  /** puts a dead job back, as if it were new but for its history and the time of its enqueue */
  one(job: Live, now: number): void {
    const n = job.events + 1
    this.history.add(job.num, n, {
      at: now,
      event: "redriven",
      attempt: job.spent,
      worker: undefined,
      detail: undefined
    })
    this.dropEnded.run(job.num)
    // its key was freed when it died: it takes it again unless another has it by now
    if (job.ukey !== null && isHeld(job.until) && this.keys.holder(job.queue, job.ukey, now) === undefined) {
      this.keys.take(job.queue, { key: job.ukey, until: job.until }, job.num, job.id, now)
    }
    const pos = this.place.last()
    this.revive.run(pos, n, job.num)
    this.place.enter({ ...job, pos }, null, "elsewhere")
  }

  /** the number of the youngest dead job: what dies during a redrive waits for the next one */
  youngest(queue: number): number {
    return this.latest.get(queue)?.[0] ?? 0
  }

  /** looks at up to `max` dead jobs after the one numbered `after` */
  page(
    queue: number,
    after: number,
    youngest: number,
    filter: Filter,
    max: number,
    now: number
  ): { readonly last: number | undefined; readonly done: number } {
    return this.each(
      this.select.all(youngest, filter.task ?? null, filter.reason ?? null, queue, after, max),
      max,
      (num) => this.one(this.jobs.byNum(num)!, now)
    )
  }

  /** as `page`, for the dead jobs that ended before `finished` */
  purgePage(
    queue: number,
    after: number,
    youngest: number,
    finished: number,
    max: number
  ): { readonly last: number | undefined; readonly done: number } {
    return this.each(this.old.all(youngest, finished, queue, after, max), max, (num) => this.end.forget(num))
  }

  private each(
    rows: ReadonlyArray<readonly [num: number, matches: number]>,
    max: number,
    run: (num: number) => void
  ): { readonly last: number | undefined; readonly done: number } {
    let done = 0
    for (const [num, matches] of rows) {
      if (matches !== 1) continue
      run(num)
      done++
    }
    return { last: rows.length < max ? undefined : rows[rows.length - 1]![0], done }
  }
}

const isHeld = (until: Until | null): until is "started" | "finished" => until === "started" || until === "finished"
