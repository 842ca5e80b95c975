/**
 * Looking at jobs, ended ones that are kept included. Reads one page at a time, each from one snapshot.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { BackendError, Origin, Receipt } from "../../Backend.ts"
import type { Counts, Inspect, JobRecord, State } from "../../Capability.ts"
import type { Records, Rows } from "./connection.ts"
import { toEnvelope } from "./delivery.ts"
import type { Engine } from "./engine.ts"

/** looked at and returned in one transaction */
const examined = 500
const returned = 100

interface JobRow {
  readonly num: number
  readonly id: string
  readonly name: string
  readonly task: string
  readonly version: number
  readonly headers: string | null
  readonly origin: Origin
  readonly rank: number
  readonly due: number | null
  readonly grp: string | null
  readonly ukey: string | null
  readonly enqueued: number
  readonly scheduled_for: number | null
  readonly spent: number
  readonly error: string | null
  readonly progress: string | null
  readonly payload: string
  readonly state: State
  readonly worker: string | null
  readonly claimed: number | null
  readonly finished: number | null
  readonly reason: string | null
  readonly exit: string | null
}

const ends: ReadonlySet<State> = new Set<State>(["succeeded", "discarded", "aborted", "dead"])

/** which table is walked to find jobs in these states: the smallest that has them all */
const sourceOf = (states: ReadonlyArray<State> | undefined): "job" | "active" | "ended" =>
  states === undefined || states.length === 0
    ? "job"
    : states.every((state) => state === "active")
    ? "active"
    : states.every((state) => ends.has(state))
    ? "ended"
    : "job"

export class Reader {
  private readonly engine: Engine
  private readonly record: Records<JobRow>
  private readonly walks: Record<"job" | "active" | "ended", Rows<readonly [num: number, matches: number]>>
  private readonly dead: Rows<readonly [num: number, matches: number]>
  private readonly count: Rows<readonly [number, number, number, number, number, number]>

  constructor(engine: Engine) {
    this.engine = engine
    const { connection } = engine
    this.record = connection.records(
      `SELECT j.num, j.id, q.name, j.task, j.version, j.headers, j.origin, j.rank, j.due, j.grp, j.ukey, j.enqueued,
         j.scheduled_for, j.spent, j.error, j.progress, j.payload,
         CASE WHEN e.num IS NOT NULL THEN e.state
           WHEN a.num IS NOT NULL THEN 'active'
           WHEN j.due > ? THEN 'scheduled'
           WHEN j.grp IS NULL OR (j.rank, j.pos) <= (l.turn_rank, l.turn_pos) THEN 'ready'
           ELSE 'blocked' END AS state,
         coalesce(a.worker, e.worker) AS worker, coalesce(a.claimed, e.claimed) AS claimed,
         e.finished, e.reason, e.exit
       FROM job j
       CROSS JOIN queue q ON q.num = j.queue
       LEFT JOIN active a ON a.num = j.num
       LEFT JOIN ended e ON e.num = j.num
       LEFT JOIN lane l ON l.queue = j.queue AND l.grp = j.grp
       WHERE j.num = ? AND (e.num IS NULL OR e.expires > ?)`
    )
    const walk = (table: string) =>
      connection.rows<readonly [number, number]>(
        `SELECT num, queue = ? FROM ${table} WHERE num > ? ORDER BY num LIMIT ?`
      )
    this.walks = { job: walk("job"), active: walk("active"), ended: walk("ended") }
    this.dead = connection.rows(
      "SELECT num, 1 FROM ended WHERE state = 'dead' AND queue = ? AND num > ? ORDER BY num LIMIT ?"
    )
    this.count = connection.rows(
      `SELECT (SELECT count(*) FROM ready WHERE queue = q.num),
         (SELECT count(*) FROM waiting w CROSS JOIN job j ON j.num = w.num
          CROSS JOIN lane l ON l.queue = w.queue AND l.grp = w.grp
          WHERE w.queue = q.num AND j.due IS NULL AND ((w.rank, w.pos) <= (l.turn_rank, l.turn_pos)) IS NOT TRUE),
         (SELECT count(*) FROM scheduled WHERE queue = q.num AND due <= ?),
         (SELECT count(*) FROM scheduled WHERE queue = q.num AND due > ?),
         (SELECT count(*) FROM active WHERE queue = q.num),
         (SELECT count(*) FROM ended WHERE queue = q.num AND state = 'dead' AND expires > ?)
       FROM queue q WHERE q.num = ?`
    )
  }

  byNum(num: number, now: number): JobRecord | undefined {
    const row = this.record.get(now, num, now)
    return row === undefined ? undefined : this.toRecord(row)
  }

  /** ready ones include those that are blocked, and those that are due and were not moved yet */
  counts(queue: number, now: number): Counts {
    const [ready, blocked, due, scheduled, active, dead] = this.count.get(now, now, now, queue)!
    return { ready: ready + blocked + due, scheduled, active, dead }
  }

  pages(
    queue: number,
    options: { readonly states?: ReadonlyArray<State> | undefined; readonly task?: string | undefined },
    deadOnly: boolean
  ): Stream.Stream<JobRecord, BackendError> {
    const walk = deadOnly ? this.dead : this.walks[sourceOf(options.states)]
    const wanted = (record: JobRecord) =>
      (options.task === undefined || record.envelope.task === options.task) &&
      (options.states === undefined || options.states.includes(record.state))
    const page = (after: number) =>
      this.engine.connection.read("list", (now) => {
        const rows = walk.all(queue, after, examined)
        const records: Array<JobRecord> = []
        let last = after
        for (const [num, matches] of rows) {
          if (records.length === returned) break
          last = num
          const record = matches === 1 ? this.byNum(num, now) : undefined
          if (record !== undefined && wanted(record)) records.push(record)
        }
        const more = rows.length === examined || last !== rows[rows.length - 1]?.[0]
        return [records, rows.length > 0 && more ? Option.some(last) : Option.none()] as const
      })
    // many pages may have nothing for the reader: others get their turn in between
    return Stream.paginate(
      0,
      (after: number) => after === 0 ? page(after) : Effect.andThen(Effect.yieldNow, page(after))
    )
  }

  private toRecord(row: JobRow): JobRecord {
    const ended = ends.has(row.state)
    return {
      envelope: toEnvelope(row.id, row.task, row.version, row.payload, row.headers, row.origin),
      queue: row.name,
      state: row.state,
      attempt: ended ? row.spent : row.spent + 1,
      priority: row.rank === 0 ? 0 : -row.rank,
      group: row.grp ?? undefined,
      uniqueKey: row.ukey ?? undefined,
      enqueuedAt: row.enqueued,
      dueAt: (row.state === "scheduled" ? row.due : row.scheduled_for) ?? undefined,
      claimedAt: row.claimed ?? undefined,
      finishedAt: row.finished ?? undefined,
      worker: row.worker ?? undefined,
      reason: row.reason ?? undefined,
      error: row.error ?? undefined,
      exit: row.exit ?? undefined,
      progress: row.progress ?? undefined,
      history: this.engine.history.of(row.num, row.enqueued)
    }
  }
}

export const inspect = (engine: Engine, reader: Reader): Context.Service.Shape<typeof Inspect> => {
  const { connection, jobs, queues } = engine
  const find = (name: string) => connection.peek("inspect", () => queues.find(name))
  return {
    get: (id) =>
      connection.read("get", (now) => {
        const job = jobs.byId(id, now)
        return job === undefined ? Option.none() : Option.fromUndefinedOr(reader.byNum(job.num, now))
      }),
    list: ({ queue: name, states, task }) =>
      Stream.unwrap(
        Effect.map(find(name), (queue) =>
          queue === undefined ? Stream.empty : reader.pages(queue, { states, task }, false))
      ),
    counts: (name) =>
      connection.read("counts", (now) => {
        const queue = queues.find(name)
        return queue === undefined ? { ready: 0, scheduled: 0, active: 0, dead: 0 } : reader.counts(queue, now)
      }),
    queues: connection.peek("queues", () => queues.namesInUse()),
    progress: (receipt: Receipt, value: string) =>
      connection.write("progress", () => engine.settling.progress(receipt, value))
  }
}
