/**
 * What the parts of the backend share.
 *
 * @since 0.1.0
 */
import type { Limits } from "../../Backend.ts"
import type { Calls } from "./calls.ts"
import type { Foreign } from "./foreign.ts"
import type { Queues } from "./queues.ts"

export interface Engine {
  readonly calls: Calls
  readonly queues: Queues
  readonly limits: Limits
  readonly fifo: boolean
  /** whole seconds */
  readonly lease: number
  /** seconds of a long poll */
  readonly wait: number
  /** receives under way at once for one claim */
  readonly receivers: number
  readonly foreign: Foreign | undefined
}
