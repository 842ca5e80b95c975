/**
 * Numbers that are never used twice in a file: of jobs, positions and fences.
 *
 * @since 0.1.0
 */
import type { Connection, Rows } from "./connection.ts"

export class Sequence {
  private readonly advance: Rows<readonly [number]>

  constructor(connection: Connection) {
    this.advance = connection.rows("UPDATE sequence SET value = value + ? WHERE one = 1 RETURNING value")
  }

  /** the first of `count` consecutive numbers, greater than all before */
  take(count = 1): number {
    return this.advance.get(count)![0] - count + 1
  }
}
