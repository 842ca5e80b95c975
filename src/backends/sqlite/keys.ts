/**
 * Unique keys: who holds which key of a queue, and until when. A window ends by time alone; every other key is let go
 * by its job.
 *
 * @since 0.1.0
 */
import type { StatementSync } from "node:sqlite"
import type { Uniqueness } from "../../Backend.ts"
import type { Connection, Rows } from "./connection.ts"
import { later } from "./limits.ts"

export type Until = "started" | "finished" | "window"

export const untilOf = (unique: Uniqueness): Until => typeof unique.until === "object" ? "window" : unique.until

interface Holder {
  readonly id: string
  readonly num: number
  readonly queue: number
  readonly ukey: string | null
  readonly until: Until | null
}

export class Keys {
  private readonly find: Rows<readonly [string]>
  private readonly insert: StatementSync
  private readonly remove: StatementSync
  private readonly removeExpired: StatementSync

  constructor(connection: Connection) {
    this.find = connection.rows("SELECT id FROM ukey WHERE queue = ? AND key = ? AND (expires IS NULL OR expires > ?)")
    // what is replaced is a window that is over
    this.insert = connection.statement(
      "INSERT OR REPLACE INTO ukey (queue, key, num, id, expires) VALUES (?, ?, ?, ?, ?)"
    )
    this.remove = connection.statement("DELETE FROM ukey WHERE queue = ? AND key = ? AND num = ? AND expires IS NULL")
    this.removeExpired = connection.statement(
      "DELETE FROM ukey WHERE (queue, key) IN (SELECT queue, key FROM ukey WHERE expires <= ? LIMIT ?)"
    )
  }

  /** id of the job that has the key */
  holder(queue: number, key: string, now: number): string | undefined {
    return this.find.get(queue, key, now)?.[0]
  }

  take(queue: number, unique: Uniqueness, num: number, id: string, now: number): void {
    const expires = typeof unique.until === "object" ? later(now, unique.until.millis) : null
    this.insert.run(queue, unique.key, num, id, expires)
  }

  /** the job lets go of its key; nothing happens when another has it by now, or when it is a window */
  free(queue: number, key: string, num: number): void {
    this.remove.run(queue, key, num)
  }

  /** a job that was claimed and did not start has its key again, unless another has it by now */
  back({ id, num, queue, ukey, until }: Holder, now: number): void {
    if (ukey === null || until !== "started" || this.holder(queue, ukey, now) !== undefined) return
    this.take(queue, { key: ukey, until }, num, id, now)
  }

  /** what a job holds comes along to another queue, unless another has it there. A window stays where it is */
  move({ id, num, queue, ukey, until }: Holder, to: number, now: number): void {
    if (ukey === null || until === null || until === "window" || this.remove.run(queue, ukey, num).changes === 0) return
    if (this.holder(to, ukey, now) === undefined) this.take(to, { key: ukey, until }, num, id, now)
  }

  /** forgets up to so many windows that are over; returns how many */
  sweep(now: number, max: number): number {
    return Number(this.removeExpired.run(now, max).changes)
  }
}
