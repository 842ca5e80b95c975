/**
 * Looking at jobs, ended ones that are kept included.
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
import { fenceOf } from "./exchange.ts"
import * as Record from "./record.ts"

/** walked in one script, and returned by one: their payloads pass through its memory */
const examined = 100
const returned = 50

const ends: ReadonlySet<State> = new Set<State>(["succeeded", "discarded", "aborted", "dead"])

/** the smallest hash that has all jobs in these states */
const sourceOf = (states: ReadonlyArray<State> | undefined): "job" | "active" | "end" =>
  states === undefined || states.length === 0
    ? "job"
    : states.every((state) => state === "active")
    ? "active"
    : states.every((state) => ends.has(state))
    ? "end"
    : "job"

interface End {
  readonly f: number
  readonly w?: string
  readonly c?: number
  readonly r?: string
  readonly x?: string
}

export type Row =
  | readonly []
  | readonly [
    record: string,
    state: string,
    end: string,
    owner: string,
    called: State,
    due: number
  ]

const toEvent = ({ a, d, e, t, w }: NonNullable<Record.State["h"]>[number]): HistoryEvent => ({
  at: t,
  event: e as HistoryEvent["event"],
  attempt: a,
  worker: w,
  detail: d
})

const toRecord = (queue: string, id: string, row: Row): JobRecord | undefined => {
  if (row.length === 0) return undefined
  const [text, since, past, owner, called, due] = row
  const record = Record.read(id, text)
  const state = Record.stateOf(since)
  const end = past === "" ? undefined : JSON.parse(past) as End
  // fence, time of the claim, worker
  const running = owner === "" ? undefined : /^\d+ (\d+) ([^]*)$/.exec(owner)
  const spent = state?.n ?? 0
  return {
    envelope: record.envelope,
    queue,
    state: called,
    attempt: ends.has(called) ? spent : spent + 1,
    priority: record.priority,
    group: record.group,
    uniqueKey: record.uniqueKey,
    enqueuedAt: record.enqueued,
    dueAt: called === "scheduled" ? due : record.scheduledFor,
    claimedAt: running ? Number(running[1]) : end?.c,
    finishedAt: end?.f,
    worker: running ? running[2] : end?.w,
    reason: end?.r,
    error: state?.err,
    exit: end?.x,
    progress: state?.prog,
    // the enqueue is not stored: it would cost every job, and most end without any other event
    history: [
      { at: record.enqueued, event: "enqueued", attempt: 1, worker: undefined, detail: undefined },
      ...(state?.h ?? []).map(toEvent)
    ]
  }
}

export class Reader {
  private readonly engine: Engine

  constructor(engine: Engine) {
    this.engine = engine
  }

  get(id: string): Effect.Effect<Option.Option<JobRecord>, BackendError> {
    const { calls, queues } = this.engine
    return Effect.map(
      queues.find(
        (queue) => calls.run<ReadonlyArray<Row>>("get", "records", queue, [id]),
        ([row]) => row === undefined || row.length === 0
      ),
      (found) =>
        found === undefined
          ? Option.none()
          : Option.fromUndefinedOr(toRecord(found.queue, id, found.answer[0]!))
    )
  }

  records(queue: string, ids: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<JobRecord>, BackendError> {
    return Effect.map(
      this.engine.calls.run<ReadonlyArray<Row>>("list", "records", queue, ids),
      (rows) => rows.flatMap((row, i) => toRecord(queue, ids[i]!, row) ?? [])
    )
  }

  /** ids oldest first: a hash has no order, so all of them are read and sorted here */
  private ids(queue: string, source: string): Effect.Effect<ReadonlyArray<string>, BackendError> {
    const numbers = new Map<string, number>()
    const walk = (cursor: string): Effect.Effect<void, BackendError> =>
      Effect.flatMap(
        this.engine.calls.run<ReadonlyArray<string>>("list", "scan", queue, [source, cursor, String(examined)]),
        ([next, ...rows]) => {
          for (let i = 0; i < rows.length; i += 2) numbers.set(rows[i]!, Number(rows[i + 1]))
          return next === "0" ? Effect.void : walk(next!)
        }
      )
    return Effect.map(walk("0"), () => Array.from(numbers).sort((a, b) => a[1] - b[1]).map(([id]) => id))
  }

  list(
    queue: string,
    states: ReadonlyArray<State> | undefined,
    task: string | undefined
  ): Stream.Stream<JobRecord, BackendError> {
    const wanted = (record: JobRecord) =>
      (task === undefined || record.envelope.task === task) && (states === undefined || states.includes(record.state))
    return Stream.unwrap(
      Effect.map(this.ids(queue, sourceOf(states)), (ids) =>
        Stream.paginate(0, (from: number) =>
          Effect.map(
            from >= ids.length ? Effect.succeed([]) : this.records(queue, ids.slice(from, from + returned)),
            (records) =>
              [
                records.filter(wanted),
                from + returned < ids.length ? Option.some(from + returned) : Option.none()
              ] as const
          )))
    )
  }
}

export const inspect = (engine: Engine, reader: Reader): Context.Service.Shape<typeof Inspect> => {
  const { calls, queues } = engine
  return {
    get: (id) => reader.get(id),
    list: ({ queue, states, task }) => reader.list(queue, states, task),
    counts: (queue) =>
      Effect.map(calls.run<ReadonlyArray<number>>("counts", "counts", queue, []), (counts) => ({
        ready: counts[0]!,
        scheduled: counts[1]!,
        active: counts[2]!,
        dead: counts[3]!
      })),
    queues: queues.used,
    progress: (receipt, value) => {
      const fence = fenceOf(receipt)
      return fence === undefined ? Effect.succeed("Lost") : Effect.map(
        calls.run<number>("progress", "progress", fence.queue, [receipt.id, fence.token, Record.readable(value)]),
        (stored) => stored === 1 ? "Stored" : "Lost"
      )
    }
  }
}
