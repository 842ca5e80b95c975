/**
 * Looking at jobs, ended ones that are kept included. A list reads one page at a time. Nothing here runs unless somebody
 * asks.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { BackendError } from "../../Backend.ts"
import type { HistoryEvent, Inspect, JobRecord, State } from "../../Capability.ts"
import type { Engine } from "./engine.ts"
import { toEnvelope } from "./exchange.ts"
import { number, texts } from "./params.ts"
import { fenceOf } from "./receipts.ts"
import { holding } from "./sql/claims.ts"

/** looked at in one statement */
const page = 500

const ends: ReadonlySet<State> = new Set<State>(["succeeded", "discarded", "aborted", "dead"])

const state = `CASE WHEN e.num IS NOT NULL THEN e.state
  WHEN a.num IS NOT NULL THEN 'active'
  WHEN j.due IS NOT NULL THEN 'scheduled'
  WHEN j.grp IS NOT NULL AND (j.rank, coalesce(j.pos, j.num)) >= (l.o_rank, l.o_pos) THEN 'blocked'
  ELSE 'ready' END`

const columns =
  `j.num::float8, j.id, q.name, j.task, j.version, j.headers, j.origin, j.rank, j.due::float8, j.grp, j.ukey,
  j.enqueued::float8, j.scheduled_for::float8, j.spent, j.error, j.progress, j.payload, ${state},
  coalesce(a.worker, e.worker), coalesce(a.claimed, e.claimed)::float8, e.finished::float8, e.reason, e.exit,
  (SELECT json_agg(json_build_array(h.at, h.event, h.attempt, h.worker, h.detail) ORDER BY h.n)::text
    FROM {history} h WHERE h.num = j.num)`

/** `running`: who runs a job, as `a` */
const from = (running: string) =>
  `FROM {job} j JOIN {queue} q ON q.num = j.queue ${running} LEFT JOIN {ended} e ON e.num = j.num`

const one = from(`LEFT JOIN LATERAL (
  SELECT num, worker, claimed FROM {active} WHERE num = j.num
  UNION ALL SELECT j.num, worker, claimed FROM {claim} WHERE ${holding("j.num", "j.queue")}) a ON true`)

const many = from("LEFT JOIN running a ON a.num = j.num")

/** where the turns of its group end, for one job that may wait for its own */
const edge = `LEFT JOIN LATERAL (
  SELECT * FROM {edge}(j.queue, j.grp) WHERE j.grp IS NOT NULL AND a.num IS NULL AND e.num IS NULL) l ON true`

const known = "(e.num IS NULL OR e.expires > {now}())"

type Line = readonly [
  at: number,
  event: HistoryEvent["event"],
  attempt: number,
  worker: string | null,
  detail: string | null
]

type JobRow = readonly [
  num: number,
  id: string,
  queue: string,
  task: string,
  version: number,
  headers: string | null,
  origin: string,
  rank: number,
  due: number | null,
  grp: string | null,
  ukey: string | null,
  enqueued: number,
  scheduledFor: number | null,
  spent: number,
  error: string | null,
  progress: string | null,
  payload: string,
  state: State,
  worker: string | null,
  claimed: number | null,
  finished: number | null,
  reason: string | null,
  exit: string | null,
  history: string | null
]

const toRecord = (row: JobRow): JobRecord => {
  const [, id, queue, task, version, headers, origin, rank, due, grp, ukey, enqueued, scheduledFor, spent, error] = row
  const [progress, payload, state, worker, claimed, finished, reason, exit, history] = row.slice(
    15
  ) as unknown as readonly [
    string | null,
    string,
    State,
    string | null,
    number | null,
    number | null,
    string | null,
    string | null,
    string | null
  ]
  const lines = history === null ? [] : JSON.parse(history) as ReadonlyArray<Line>
  return {
    envelope: toEnvelope(id, task, version, payload, headers, origin),
    queue,
    state,
    attempt: ends.has(state) ? spent : spent + 1,
    priority: rank === 0 ? 0 : -rank,
    group: grp ?? undefined,
    uniqueKey: ukey ?? undefined,
    enqueuedAt: enqueued,
    dueAt: due ?? scheduledFor ?? undefined,
    claimedAt: claimed ?? undefined,
    finishedAt: finished ?? undefined,
    worker: worker ?? undefined,
    reason: reason ?? undefined,
    error: error ?? undefined,
    exit: exit ?? undefined,
    progress: progress ?? undefined,
    // the enqueue is not stored: it would cost every job a row, and most end without any other event
    history: [
      { at: enqueued, event: "enqueued", attempt: 1, worker: undefined, detail: undefined },
      ...lines.map(([at, event, attempt, worker, detail]): HistoryEvent => ({
        at,
        event,
        attempt,
        worker: worker ?? undefined,
        detail: detail ?? undefined
      }))
    ]
  }
}

export class Reader {
  private readonly engine: Engine
  private readonly settleDown: string
  private readonly byId: string
  private readonly list: string
  private readonly dead: string

  constructor(engine: Engine) {
    this.engine = engine
    const { calls } = engine
    this.settleDown = calls.sql("SELECT {settle_down}($1::int4)")
    this.byId = calls.sql(`SELECT ${columns} ${one} ${edge} WHERE j.id = $1::text AND ${known}`)
    // a page of jobs is cut before it is looked at: whatever is asked for, a statement takes a bounded time
    this.list = calls.sql(
      `SELECT p.last::float8, p.seen, x.* FROM
         (SELECT max(num) AS last, count(*)::int4 AS seen, array_agg(num) FILTER (WHERE queue = $1::int4) AS nums FROM
           (SELECT num, queue FROM {job} WHERE num > $2::int8 ORDER BY num LIMIT ${page}) y) p
       LEFT JOIN LATERAL
         (WITH edges AS MATERIALIZED (
            SELECT g.grp, e.* FROM (SELECT DISTINCT grp FROM {job} WHERE num = ANY (p.nums) AND grp IS NOT NULL) g
            CROSS JOIN LATERAL {edge}($1::int4, g.grp) e),
          -- a claim is looked into once for the whole page
          running AS MATERIALIZED (
            SELECT num, worker, claimed FROM {active} WHERE num = ANY (p.nums)
            UNION ALL
            SELECT x.num, c.worker, c.claimed FROM {claim} c CROSS JOIN LATERAL unnest(c.nums) AS x(num)
            JOIN unnest(p.nums) AS y(num) ON y.num = x.num
            WHERE c.queue = $1::int4 AND c.low <= p.last AND c.high > $2::int8)
          SELECT ${columns} ${many} LEFT JOIN edges l ON l.grp = j.grp
          WHERE j.num = ANY (p.nums) AND ${known}
            AND ($3::text IS NULL OR j.task = $3::text) AND ($4::text[] IS NULL OR ${state} = ANY ($4::text[]))) x ON true
       ORDER BY x.num`.replace("j.num::float8,", "j.num::float8 AS num,")
    )
    this.dead = calls.sql(
      `SELECT ${columns} ${one} ${edge}
       WHERE e.state = 'dead' AND e.queue = $1::int4 AND e.num > $2::int8 AND ${known} ORDER BY e.num LIMIT 100`
    )
  }

  get(id: string): Effect.Effect<Option.Option<JobRecord>, BackendError> {
    const { calls } = this.engine
    const find = Effect.map(calls.run("get", this.byId, [id]), (rows) => rows[0] as JobRow | undefined)
    return Effect.flatMap(find, (row) => {
      if (row === undefined) return Effect.succeedNone
      // what is due is ready, and who of a group has a turn depends on what was told to it: moved first, if that is in question
      return row[17] === "scheduled" || row[17] === "blocked" || (row[17] === "ready" && row[9] !== null)
        ? Effect.flatMap(this.engine.queues.number(row[2]), (queue) => this.settled(queue)).pipe(
          Effect.andThen(find),
          Effect.map((again) => again === undefined ? Option.none() : Option.some(toRecord(again)))
        )
        : Effect.succeedSome(toRecord(row))
    })
  }

  settled(queue: number): Effect.Effect<void, BackendError> {
    return Effect.asVoid(this.engine.calls.run("inspect", this.settleDown, [number(queue)]))
  }

  pages(
    queue: number,
    options: { readonly states?: ReadonlyArray<State> | undefined; readonly task?: string | undefined }
  ): Stream.Stream<JobRecord, BackendError> {
    const states = options.states === undefined ? null : texts(options.states)
    return Stream.paginate(0, (after: number) =>
      Effect.map(
        this.engine.calls.run("list", this.list, [number(queue), number(after), options.task ?? null, states]),
        (rows) => {
          const last = rows[0]?.[0] as number | null
          const seen = rows[0]?.[1] as number
          const found = rows.filter((row) => row[2] !== null).map((row) => toRecord(row.slice(2) as unknown as JobRow))
          return [found, seen === page && last !== null ? Option.some(last) : Option.none()] as const
        }
      ))
  }

  deadPages(queue: number): Stream.Stream<JobRecord, BackendError> {
    return Stream.paginate(
      0,
      (after: number) =>
        Effect.map(this.engine.calls.run("list", this.dead, [number(queue), number(after)]), (rows) => {
          const last = rows.length === 100 ? Option.some(rows[99]![0] as number) : Option.none()
          return [rows.map((row) => toRecord(row as unknown as JobRow)), last] as const
        })
    )
  }
}

export const inspect = (engine: Engine, reader: Reader): Context.Service.Shape<typeof Inspect> => {
  const { calls, queues } = engine
  const countSql = calls.sql(
    `SELECT (SELECT count(*) FROM {ready} WHERE queue = $1::int4)::float8,
       (SELECT count(*) FROM {waiting} w JOIN {job} j ON j.num = w.num WHERE w.queue = $1::int4 AND j.due IS NULL)::float8,
       (SELECT count(*) FROM {ready} WHERE queue = $1::int4 AND grp IS NOT NULL)::float8,
       (SELECT count(*) FROM {scheduled} WHERE queue = $1::int4)::float8,
       (SELECT count(*) FROM {active} WHERE queue = $1::int4)::float8
         + (SELECT coalesce(sum(cardinality(nums)), 0) FROM {claim} WHERE queue = $1::int4)::float8,
       (SELECT count(*) FROM {ended} WHERE queue = $1::int4 AND state = 'dead' AND expires > {now}())::float8`
  )
  const queuesSql = calls.sql("SELECT name FROM {queue} WHERE used ORDER BY name")
  const progressSql = calls.sql("SELECT {progress}($1::int8, $2::int8, $3::text)")
  return {
    get: (id) => reader.get(id),
    list: ({ queue: name, states, task }) =>
      Stream.unwrap(Effect.gen(function*() {
        const queue = yield* queues.lookUp(name)
        if (queue === undefined) return Stream.empty
        yield* reader.settled(queue)
        return reader.pages(queue, { states, task })
      })),
    counts: (name) =>
      Effect.gen(function*() {
        const queue = yield* queues.lookUp(name)
        if (queue === undefined) return { ready: 0, scheduled: 0, active: 0, dead: 0 }
        yield* reader.settled(queue)
        const [row] = yield* calls.run("counts", countSql, [number(queue)])
        const [ready, waiting, turns, scheduled, active, dead] = row as unknown as ReadonlyArray<number>
        // turns stand in ready for members that wait
        return { ready: ready! - turns! + waiting!, scheduled: scheduled!, active: active!, dead: dead! }
      }),
    queues: Effect.map(calls.run("queues", queuesSql), (rows) => rows.map(([name]) => name as string)),
    progress: (receipt, value) => {
      const fence = fenceOf(receipt)
      return fence === undefined ? Effect.succeed("Lost") : Effect.map(
        calls.one<boolean>("progress", progressSql, [number(fence.num), number(fence.token), value]),
        (stored) => stored ? "Stored" : "Lost"
      )
    }
  }
}
