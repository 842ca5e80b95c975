/**
 * The parts of one layer, put together once.
 *
 * @since 0.1.0
 */
import type { Limits } from "../../Backend.ts"
import type { Apart } from "./apart.ts"
import type { Calls } from "./calls.ts"
import type { Exchange, Retention } from "./exchange.ts"
import type { Hints } from "./hints.ts"
import type { Pace } from "./pace.ts"
import type { Publish } from "./publish.ts"
import type { Queues } from "./queues.ts"
import type { Committed } from "./receipts.ts"
import type { Wake } from "./wake.ts"

export interface Engine {
  readonly calls: Calls
  readonly queues: Queues
  readonly publish: Publish
  readonly exchange: Exchange
  readonly committed: Committed
  readonly apart: Apart
  readonly hints: Hints
  readonly wake: Wake
  readonly pace: Pace
  readonly limits: Limits
  readonly retention: Retention
  /** milliseconds */
  readonly lease: number
}
