/**
 * The events of a job. The enqueue is not stored: it would cost every job a row, and most end without any other event.
 *
 * @since 0.1.0
 */
import type { StatementSync } from "node:sqlite"
import type { HistoryEvent } from "../../Capability.ts"
import type { Connection, Records } from "./connection.ts"

/** a job that is snoozed for ever must not grow for ever: only its latest events are kept */
export const historyLimit = 256

interface EventRow {
  readonly at: number
  readonly event: HistoryEvent["event"]
  readonly attempt: number
  readonly worker: string | null
  readonly detail: string | null
}

export class History {
  private readonly insert: StatementSync
  private readonly trim: StatementSync
  private readonly select: Records<EventRow>

  constructor(connection: Connection) {
    this.insert = connection.statement(
      "INSERT INTO history (num, n, at, event, attempt, worker, detail) VALUES (?, ?, ?, ?, ?, ?, ?)"
    )
    this.trim = connection.statement("DELETE FROM history WHERE num = ? AND n <= ?")
    this.select = connection.records("SELECT at, event, attempt, worker, detail FROM history WHERE num = ? ORDER BY n")
  }

  /** `n`: one more than the job's events so far */
  add(num: number, n: number, event: HistoryEvent): void {
    this.insert.run(num, n, event.at, event.event, event.attempt, event.worker ?? null, event.detail ?? null)
    if (n > historyLimit) this.trim.run(num, n - historyLimit)
  }

  of(num: number, enqueuedAt: number): ReadonlyArray<HistoryEvent> {
    return [
      { at: enqueuedAt, event: "enqueued", attempt: 1, worker: undefined, detail: undefined },
      ...this.select.all(num).map((row): HistoryEvent => ({
        at: row.at,
        event: row.event,
        attempt: row.attempt,
        worker: row.worker ?? undefined,
        detail: row.detail ?? undefined
      }))
    ]
  }
}
