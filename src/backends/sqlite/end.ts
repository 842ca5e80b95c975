/**
 * The end of a job: it lets go of its key and its group, and is kept for as long as its result was asked for or the
 * retention says, or is forgotten at once. Runs inside a write transaction.
 *
 * @since 0.1.0
 */
import type { StatementSync } from "node:sqlite"
import type { Settlement } from "../../Backend.ts"
import type { HistoryEvent, Result } from "../../Capability.ts"
import type { Connection, Rows } from "./connection.ts"
import type { Groups } from "./groups.ts"
import type { History } from "./history.ts"
import type { Keys } from "./keys.ts"
import { later } from "./limits.ts"
import type { Live } from "./live.ts"
import type { Wake } from "./wake.ts"

/** milliseconds that ended jobs stay inspectable */
export interface Retention {
  readonly failures: number
  readonly successes: number
}

export interface Ending {
  readonly how: Result["state"]
  readonly event: HistoryEvent["event"]
  readonly detail: string | undefined
  readonly reason: string | undefined
  readonly error: string | undefined
  readonly exit: string | undefined
}

export const cancelled: Ending = {
  how: "aborted",
  event: "cancelled",
  detail: undefined,
  reason: "cancelled",
  error: undefined,
  exit: undefined
}

/** a retry that comes here is of a job whose abort was requested */
export const endingOf = (settlement: Settlement): Ending => {
  switch (settlement._tag) {
    case "Complete": {
      const { exit, how, reason } = settlement
      return { how, event: how, detail: reason, reason, error: undefined, exit }
    }
    case "Dead": {
      const { error, exit, reason } = settlement
      return { how: "dead", event: "dead", detail: error ?? reason, reason, error, exit }
    }
    case "Retry": {
      const { error } = settlement
      return { how: "aborted", event: "aborted", detail: error, reason: "abort requested", error, exit: undefined }
    }
  }
}

/** who ran it last */
export interface Runner {
  readonly worker: string
  readonly claimed: number
}

export class End {
  private readonly connection: Connection
  private readonly groups: Groups
  private readonly keys: Keys
  private readonly history: History
  private readonly wake: Wake
  private readonly retention: Retention
  private readonly keep: StatementSync
  private readonly update: StatementSync
  private readonly dropJob: StatementSync
  private readonly dropEnded: StatementSync
  private readonly dropHistory: StatementSync
  private readonly expired: Rows<readonly [number]>

  constructor(
    connection: Connection,
    parts: { readonly groups: Groups; readonly keys: Keys; readonly history: History; readonly wake: Wake },
    retention: Retention
  ) {
    this.connection = connection
    this.groups = parts.groups
    this.keys = parts.keys
    this.history = parts.history
    this.wake = parts.wake
    this.retention = retention
    this.keep = connection.statement(
      `INSERT INTO ended (num, queue, state, finished, worker, claimed, reason, exit, expires, result_until)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
    )
    this.update = connection.statement(
      "UPDATE job SET spent = ?, events = ?, error = ?, due = NULL, abort = 0 WHERE num = ?"
    )
    this.dropJob = connection.statement("DELETE FROM job WHERE num = ?")
    this.dropEnded = connection.statement("DELETE FROM ended WHERE num = ?")
    this.dropHistory = connection.statement("DELETE FROM history WHERE num = ?")
    this.expired = connection.rows("SELECT num FROM ended WHERE expires <= ? ORDER BY expires LIMIT ?")
  }

  /** `true`: a job that succeeded and whose result nobody asked for leaves nothing behind */
  get forgetsSuccesses(): boolean {
    return this.retention.successes <= 0
  }

  /** the job is in no place any more; `runner`: it was running until now */
  end(job: Live, spent: number, ending: Ending, runner: Runner | undefined, now: number): void {
    if (job.grp !== null && runner !== undefined) this.groups.ended(job.queue, job.grp)
    if (job.ukey !== null) this.keys.free(job.queue, job.ukey, job.num)
    const failure = ending.how === "dead" || ending.how === "aborted"
    const resultUntil = job.keep === null ? 0 : later(now, job.keep)
    const expires = Math.max(
      resultUntil,
      later(now, failure ? this.retention.failures : this.retention.successes)
    )
    if (expires > now) {
      const n = job.events + 1
      this.history.add(job.num, n, {
        at: now,
        event: ending.event,
        attempt: spent,
        worker: runner?.worker,
        detail: ending.detail
      })
      this.keep.run(
        job.num,
        job.queue,
        ending.how,
        now,
        runner?.worker ?? null,
        runner?.claimed ?? null,
        ending.reason ?? null,
        ending.exit ?? null,
        expires,
        resultUntil
      )
      this.update.run(spent, n, ending.error ?? null, job.num)
    } else {
      this.forget(job.num)
    }
    this.tell(job.id, { state: ending.how, reason: ending.reason, exit: ending.exit })
  }

  /** those who wait in this process hear of it once it is durable, also when the result is not kept */
  tell(id: string, result: Result): void {
    if (this.wake.isAwaited(id)) this.connection.tell(() => this.wake.ended(id, result))
  }

  /** removes every trace of a job that is in no place */
  forget(num: number): void {
    this.dropJob.run(num)
    this.dropEnded.run(num)
    this.dropHistory.run(num)
  }

  /** forgets up to so many jobs that were kept long enough; returns how many */
  sweep(now: number, max: number): number {
    const rows = this.expired.all(now, max)
    for (const [num] of rows) this.forget(num)
    return rows.length
  }
}
