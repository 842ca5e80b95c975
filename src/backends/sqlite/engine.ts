/**
 * The parts of the backend on one connection, and the operations that are more than one part's business. Every method
 * is one synchronous step inside a transaction that its caller opened.
 *
 * @since 0.1.0
 */
import type { StatementSync } from "node:sqlite"
import type { Delivery, Item, Published, Receipt, Settled, Settlement } from "../../Backend.ts"
import { Claim } from "./claim.ts"
import type { Connection, Rows } from "./connection.ts"
import { cancelled, End, type Retention } from "./end.ts"
import { Groups } from "./groups.ts"
import { History } from "./history.ts"
import { Keys } from "./keys.ts"
import { LiveJobs } from "./live.ts"
import { Place } from "./place.ts"
import { Publish } from "./publish.ts"
import { Queues } from "./queues.ts"
import { Redrive } from "./redrive.ts"
import { Sequence } from "./sequence.ts"
import { Settle } from "./settle.ts"
import { Wake } from "./wake.ts"

export interface EngineSettings {
  /** milliseconds */
  readonly lease: number
  readonly retention: Retention
}

export class Engine {
  readonly connection: Connection
  readonly wake: Wake
  readonly settings: EngineSettings
  readonly queues: Queues
  readonly keys: Keys
  readonly history: History
  readonly jobs: LiveJobs
  readonly claim: Claim
  readonly settling: Settle
  readonly ending: End
  readonly redrive: Redrive
  private readonly place: Place
  private readonly publishing: Publish
  private readonly activeJob: Rows<readonly [number]>
  private readonly requestAbort: StatementSync
  private readonly kept: Rows<readonly [ended: number | null, key: number | null]>

  constructor(connection: Connection, wake: Wake, settings: EngineSettings) {
    this.connection = connection
    this.wake = wake
    this.settings = settings
    const sequence = new Sequence(connection)
    const groups = new Groups(connection)
    const keys = this.keys = new Keys(connection)
    const history = this.history = new History(connection)
    const jobs = this.jobs = new LiveJobs(connection)
    const place = this.place = new Place(connection, sequence, groups)
    const end = this.ending = new End(connection, { groups, keys, history, wake }, settings.retention)
    this.queues = new Queues(connection)
    this.claim = new Claim(connection, { sequence, groups, keys, place, history }, {
      lease: settings.lease,
      keepsSuccesses: !end.forgetsSuccesses
    })
    this.settling = new Settle(
      connection,
      { jobs, groups, keys, queues: this.queues, place, history, end },
      settings.lease
    )
    this.publishing = new Publish(connection, { sequence, jobs, keys, place, end })
    this.redrive = new Redrive(connection, { jobs, keys, place, history, end })
    this.activeJob = connection.rows("SELECT num FROM active WHERE num = ?")
    this.kept = connection.rows(
      `SELECT (SELECT expires FROM ended ORDER BY expires LIMIT 1),
         (SELECT expires FROM ukey WHERE expires IS NOT NULL ORDER BY expires LIMIT 1)`
    )
    this.requestAbort = connection.statement("UPDATE job SET abort = 1 WHERE num = ?")
  }

  publish(name: string, items: ReadonlyArray<Item>, atomic: boolean, now: number): ReadonlyArray<Published> {
    if (items.length === 0) return []
    const queue = this.queues.number(name)
    const answers = this.publishing.publish(queue, items, atomic, now)
    this.queues.use(queue)
    this.wakeQueue(queue)
    return answers
  }

  take(queue: number, name: string, worker: string, max: number, now: number): ReadonlyArray<Delivery> {
    return max >= 1 ? this.claim.take(queue, name, worker, Math.floor(max), now) : []
  }

  settle(items: ReadonlyArray<readonly [Receipt, Settlement]>, now: number): ReadonlyArray<Settled> {
    const touched = new Set<number>()
    const answers = this.settling.settle(items, now, touched)
    for (const queue of touched) this.wakeQueue(queue)
    return answers
  }

  cancel(id: string, now: number): "Cancelled" | "Requested" | "TooLate" | "NotFound" {
    const job = this.jobs.byId(id, now)
    if (job === undefined) return "NotFound"
    if (job.state !== null) return "TooLate"
    if (this.activeJob.get(job.num) !== undefined) {
      this.requestAbort.run(job.num)
      this.connection.tell(() => this.wake.signal(Wake.aborts))
      return "Requested"
    }
    this.place.leave(job, job.due)
    this.ending.end(job, job.spent, cancelled, undefined, now)
    this.wakeQueue(job.queue)
    return "Cancelled"
  }

  pause(name: string, paused: boolean): void {
    const queue = this.queues.number(name)
    this.queues.pause(queue, paused)
    this.wakeQueue(queue)
  }

  /** whether anything was kept long enough: asked outside a transaction */
  isSweepDue(): boolean {
    const now = this.connection.now()
    try {
      return this.kept.get()!.some((expires) => expires !== null && expires <= now)
    } catch {
      return false
    }
  }

  /** those who wait for work of the queue look again once the transaction is durable */
  wakeQueue(queue: number): void {
    this.connection.tell(() => this.wake.signal(Wake.queue(queue)))
  }
}
