/**
 * The queues of a file: their numbers, and whether they are paused. A queue is never removed, so a number that was
 * committed once may be remembered.
 *
 * @since 0.1.0
 */
import type { StatementSync } from "node:sqlite"
import type { Connection, Rows } from "./connection.ts"

export class Queues {
  private readonly connection: Connection
  private readonly numbers = new Map<string, number>()
  private readonly inUse = new Set<number>()
  private readonly byName: Rows<readonly [num: number, paused: number]>
  private readonly insert: StatementSync
  private readonly setPaused: StatementSync
  private readonly setUsed: StatementSync
  private readonly used: Rows<readonly [string]>

  constructor(connection: Connection) {
    this.connection = connection
    this.byName = connection.rows("SELECT num, paused FROM queue WHERE name = ?")
    this.insert = connection.statement("INSERT INTO queue (name) VALUES (?) ON CONFLICT DO NOTHING")
    this.setPaused = connection.statement("UPDATE queue SET paused = ? WHERE num = ?")
    this.setUsed = connection.statement("UPDATE queue SET used = 1 WHERE num = ? AND used = 0")
    this.used = connection.rows("SELECT name FROM queue WHERE used = 1 ORDER BY num")
  }

  /** of a queue that this process has met before */
  known(name: string): number | undefined {
    return this.numbers.get(name)
  }

  /** of a queue that exists */
  find(name: string): number | undefined {
    return this.numbers.get(name) ?? this.byName.get(name)?.[0]
  }

  /** inside a write transaction: makes the queue if it does not exist */
  number(name: string): number {
    const known = this.numbers.get(name)
    if (known !== undefined) return known
    this.insert.run(name)
    const num = this.byName.get(name)![0]
    this.connection.after(() => this.numbers.set(name, num))
    return num
  }

  /** inside a write transaction: the queue holds a job */
  use(num: number): void {
    if (this.inUse.has(num)) return
    this.setUsed.run(num)
    this.connection.after(() => this.inUse.add(num))
  }

  namesInUse(): ReadonlyArray<string> {
    return this.used.all().map(([name]) => name)
  }

  pause(num: number, paused: boolean): void {
    this.setPaused.run(paused ? 1 : 0, num)
  }

  isPaused(name: string): boolean {
    return this.byName.get(name)?.[1] === 1
  }
}
