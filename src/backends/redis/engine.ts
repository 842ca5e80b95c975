/**
 * The parts of one layer, put together once.
 *
 * @since 0.1.0
 */
import type { Limits } from "../../Backend.ts"
import type { Calls } from "./calls.ts"
import type { Listen } from "./listen.ts"
import type { Pairs } from "./pairs.ts"
import type { Queues } from "./queues.ts"
import type { Wake } from "./wake.ts"

/** milliseconds that ended jobs stay inspectable */
export interface Retention {
  readonly failures: number
  readonly successes: number
}

export interface Engine {
  readonly calls: Calls
  readonly pairs: Pairs
  readonly queues: Queues
  readonly wake: Wake
  readonly listen: Listen
  readonly limits: Limits
  /** one queue is one slot there: a job cannot go to another in one step */
  readonly cluster: boolean
  readonly retention: Retention
  /** milliseconds */
  readonly lease: number
  /** milliseconds: the longest that one who waits goes without looking */
  readonly poll: number
}
