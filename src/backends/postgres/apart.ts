/**
 * Jobs that end in transactions of the user stand apart: a transaction that took one out of its claim's row would hold the
 * others in it back until its commit. From the first such transaction on this process claims each job with a row of its own,
 * and what it claimed before is spread before that transaction begins, so that the transaction sees it spread, whatever its
 * isolation.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { BackendError } from "../../Backend.ts"
import type { Calls } from "./calls.ts"
import { numbers } from "./params.ts"
import type { Fence } from "./receipts.ts"

export class Apart {
  /** of this process's subscriptions */
  readonly sessions = new Set<number>()
  private readonly calls: Calls
  private readonly all: string
  private readonly some: string
  private begun = false
  private done = false

  constructor(calls: Calls) {
    this.calls = calls
    this.all = calls.sql("SELECT {spread}(ARRAY(SELECT fence FROM {claim} WHERE session = ANY ($1::int8[])))")
    this.some = calls.sql("SELECT {spread}($1::int8[])")
  }

  /** whether jobs that are claimed together may stand in one row */
  get allows(): boolean {
    return !this.begun
  }

  /** to be run before a transaction begins that is to settle jobs */
  readonly ensure: Effect.Effect<void, BackendError> = Effect.suspend(() => {
    if (this.done) return Effect.void
    this.begun = true
    return Effect.map(this.calls.run("settle", this.all, [numbers(Array.from(this.sessions))]), () => {
      this.done = true
    })
  })

  /** to be run before a transaction settles this job: it may have begun before it was known to do so */
  one(fence: Fence | undefined): Effect.Effect<void, BackendError> {
    if (fence?.together !== true) return Effect.void
    this.begun = true
    return Effect.asVoid(this.calls.run("settle", this.some, [numbers([fence.token])]))
  }
}
