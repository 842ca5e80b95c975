/**
 * What a claim hands out. By classes, because a batch of them is made at once and lives until it is settled: by that V8 would
 * take the literals that they came from for places of long-lived things, and keep each job of a worker that runs for days
 * until the next full collection (`src/internal/item.ts` says more).
 *
 * @since 0.1.0
 */
import type { Delivery, Envelope, Origin, Receipt } from "../../Backend.ts"

/** as it was stored */
export class Stored implements Envelope {
  readonly id: string
  readonly task: string
  readonly version: number
  readonly payload: string
  readonly headers: Envelope["headers"]
  readonly origin: Origin

  constructor(
    id: string,
    task: string,
    version: number,
    payload: string,
    headers: Envelope["headers"],
    origin: Origin
  ) {
    this.id = id
    this.task = task
    this.version = version
    this.payload = payload
    this.headers = headers
    this.origin = origin
  }
}

export class Right implements Receipt {
  readonly id: string
  readonly fence: unknown

  constructor(id: string, fence: unknown) {
    this.id = id
    this.fence = fence
  }
}

/** a copy: what it is made from is garbage at once, and no place of long-lived things */
export class Claimed implements Delivery {
  readonly envelope: Envelope
  readonly receipt: Receipt
  readonly queue: string
  readonly attempt: number
  readonly unsettled: number
  readonly lostFrom: Delivery["lostFrom"]
  readonly enqueuedAt: number | undefined
  readonly scheduledFor: number | undefined
  readonly firstFailedAt: number | undefined
  readonly priority: number
  readonly group: string | undefined
  readonly abortRequested: boolean
  readonly keepsResult: boolean

  constructor(of: Delivery) {
    this.envelope = of.envelope
    this.receipt = of.receipt
    this.queue = of.queue
    this.attempt = of.attempt
    this.unsettled = of.unsettled
    this.lostFrom = of.lostFrom
    this.enqueuedAt = of.enqueuedAt
    this.scheduledFor = of.scheduledFor
    this.firstFailedAt = of.firstFailedAt
    this.priority = of.priority
    this.group = of.group
    this.abortRequested = of.abortRequested
    this.keepsResult = of.keepsResult
  }
}
