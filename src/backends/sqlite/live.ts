/**
 * What the moves of one job need to know of it: its row without the payload and what is only ever shown.
 *
 * @since 0.1.0
 */
import type { Connection, Records } from "./connection.ts"
import type { Spot } from "./groups.ts"
import type { Until } from "./keys.ts"

export interface Live extends Spot {
  readonly id: string
  readonly due: number | null
  readonly ukey: string | null
  readonly until: Until | null
  readonly keep: number | null
  readonly spent: number
  readonly unsettled: number
  readonly first_failed: number | null
  readonly abort: number
  readonly error: string | null
  readonly events: number
  /** set when it has ended and is kept */
  readonly state: "succeeded" | "discarded" | "aborted" | "dead" | null
  readonly expires: number | null
}

const select = `
  SELECT j.num, j.id, j.queue, j.rank, j.pos, j.grp, j.lim, j.due, j.ukey, j.until, j.keep, j.spent, j.unsettled,
    j.first_failed, j.abort, j.error, j.events, e.state, e.expires
  FROM job j LEFT JOIN ended e ON e.num = j.num`

export class LiveJobs {
  private readonly num: Records<Live>
  private readonly id: Records<Live>

  constructor(connection: Connection) {
    this.num = connection.records(`${select} WHERE j.num = ?`)
    this.id = connection.records(`${select} WHERE j.id = ?`)
  }

  byNum(num: number): Live | undefined {
    return this.num.get(num)
  }

  /** the job with this id, ended or not, unless it was kept long enough */
  byId(id: string, now: number): Live | undefined {
    const job = this.id.get(id)
    return job !== undefined && job.expires !== null && job.expires <= now ? undefined : job
  }

  /** also one that was kept long enough and waits to be swept */
  storedAs(id: string): Live | undefined {
    return this.id.get(id)
  }
}
