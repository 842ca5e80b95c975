/**
 * Storing jobs. The unique index on `id` refuses the second publish of a live job; a dead letter counts as well, since
 * it may be run again under its id. Runs inside a write transaction.
 *
 * @since 0.1.0
 */
import type { StatementSync } from "node:sqlite"
import type { Item, Published } from "../../Backend.ts"
import type { Connection } from "./connection.ts"
import type { End } from "./end.ts"
import { type Keys, untilOf } from "./keys.ts"
import { later, time } from "./limits.ts"
import type { Live, LiveJobs } from "./live.ts"
import type { Place } from "./place.ts"
import type { Sequence } from "./sequence.ts"

const stored: Published = { _tag: "Stored" }
const skipped: Published = { _tag: "Skipped" }

export class Publish {
  private readonly sequence: Sequence
  private readonly jobs: LiveJobs
  private readonly keys: Keys
  private readonly place: Place
  private readonly end: End
  private readonly insert: StatementSync
  private readonly putReady: StatementSync
  private readonly savepoint: StatementSync
  private readonly back: StatementSync
  private readonly release: StatementSync

  constructor(
    connection: Connection,
    parts: {
      readonly sequence: Sequence
      readonly jobs: LiveJobs
      readonly keys: Keys
      readonly place: Place
      readonly end: End
    }
  ) {
    this.sequence = parts.sequence
    this.jobs = parts.jobs
    this.keys = parts.keys
    this.place = parts.place
    this.end = parts.end
    this.insert = connection.statement(
      `INSERT INTO job (num, id, queue, task, version, headers, origin, rank, pos, due, grp, lim, ukey, until, keep, enqueued,
         scheduled_for, payload)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (id) DO NOTHING`
    )
    this.putReady = connection.statement("INSERT INTO ready (queue, rank, pos, num) VALUES (?, ?, ?, ?)")
    this.savepoint = connection.statement("SAVEPOINT batch")
    this.back = connection.statement("ROLLBACK TO batch")
    this.release = connection.statement("RELEASE batch")
  }

  publish(queue: number, items: ReadonlyArray<Item>, atomic: boolean, now: number): Array<Published> {
    const answers = new Array<Published>(items.length)
    const first = this.sequence.take(items.length)
    if (atomic) this.savepoint.run()
    let clash = false
    for (let i = 0; i < items.length; i++) {
      const answer = answers[i] = this.store(queue, items[i]!, first + i, now)
      clash ||= answer !== stored
    }
    if (!atomic) return answers
    if (clash) this.back.run()
    this.release.run()
    return clash ? answers.map((answer) => answer === stored ? skipped : answer) : answers
  }

  private store(queue: number, item: Item, num: number, now: number): Published {
    const { envelope, group, groupLimit, unique } = item
    const dueAt = item.due === undefined
      ? 0
      : item.due._tag === "At"
      ? time(item.due.time)
      : later(now, item.due.millis)
    const due = dueAt > now ? dueAt : null
    const lim = groupLimit === undefined || group === undefined ? null : groupLimit
    const rank = -(item.priority ?? 0)
    if (unique !== undefined) {
      const same = this.jobs.storedAs(envelope.id)
      if (same !== undefined && isLive(same, now)) return { _tag: "Duplicate", existing: envelope.id }
      // before the job that has the id and has ended makes room: what is refused changes nothing
      const holder = this.keys.holder(queue, unique.key, now)
      if (holder !== undefined) return { _tag: "Duplicate", existing: holder }
    }
    const insert = () =>
      this.insert.run(
        num,
        envelope.id,
        queue,
        envelope.task,
        envelope.version,
        headersOf(envelope.headers),
        envelope.origin,
        rank,
        num,
        due,
        group ?? null,
        lim,
        unique?.key ?? null,
        unique === undefined ? null : untilOf(unique),
        item.keepResult === undefined ? null : time(item.keepResult),
        now,
        due,
        envelope.payload
      ).changes !== 0
    if (!insert()) {
      if (this.clash(envelope.id, now)) return { _tag: "Duplicate", existing: envelope.id }
      insert()
    }
    if (unique !== undefined) this.keys.take(queue, unique, num, envelope.id, now)
    if (due === null && group === undefined) this.putReady.run(queue, rank, num, num)
    else this.place.enter({ num, queue, rank, pos: num, grp: group ?? null, lim }, due, "new")
    return stored
  }

  /** whether a job with this id stands in the way; one that has ended and is merely kept makes room */
  private clash(id: string, now: number): boolean {
    const same = this.jobs.storedAs(id)
    if (same === undefined) return false
    if (isLive(same, now)) return true
    this.end.forget(same.num)
    return false
  }
}

/** a dead letter still has its id */
const isLive = ({ expires, state }: Live, now: number): boolean =>
  state === null || (state === "dead" && expires! > now)

const headersOf = (headers: Readonly<Record<string, string>>): string | null => {
  for (const _ in headers) return JSON.stringify(headers)
  return null
}
