/**
 * Jobs that end in transactions of the user stand apart: a transaction that took one out of its claim's row would hold the
 * others in it back until its commit. From the first such transaction on this process claims each job with a row of its own.
 * What it claimed before is spread before a transaction begins that the backend begins, so that it sees it spread, whatever
 * its isolation. A transaction that the user began takes its first job out of its claim itself, and the others wait for it
 * that once; where it is REPEATABLE READ or stricter and one of the others was settled since its snapshot, it fails as one
 * that is to be tried again.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type { BackendError } from "../../Backend.ts"
import type { Calls } from "./calls.ts"
import { numbers } from "./params.ts"

export class Apart {
  /** of this process, in whose hands there may be jobs */
  private readonly sessions = new Set<number>()
  private readonly calls: Calls
  private readonly spread: string
  private begun = false
  private done = false
  /** calls under way whose claim may be one row, and what is opened when there is none */
  private together = 0
  private readonly none = Latch.makeUnsafe(true)

  constructor(calls: Calls) {
    this.calls = calls
    this.spread = calls.sql("SELECT {spread}(ARRAY(SELECT fence FROM {claim} WHERE session = ANY ($1::int8[])))")
  }

  /** whether jobs that are claimed together may stand in one row */
  get allows(): boolean {
    return !this.begun
  }

  /** a call whose claim may be one row */
  claims<A, E>(call: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.uninterruptible(Effect.suspend(() => {
      this.together++
      this.none.closeUnsafe()
      return Effect.onExit(call, () =>
        Effect.sync(() => {
          if (--this.together === 0) this.none.openUnsafe()
        }))
    }))
  }

  opened(session: number): void {
    if (!this.done) this.sessions.add(session)
  }

  /** nothing is left in its hands */
  closed(session: number): void {
    this.sessions.delete(session)
  }

  /** some transaction settles a job */
  begin(): void {
    this.begun = true
  }

  /** to be run before a transaction begins that is to settle jobs: then none of this process is in a row with others */
  readonly ensure: Effect.Effect<void, BackendError> = Effect.suspend(() => {
    if (this.done) return Effect.void
    this.begun = true
    return this.none.await.pipe(
      Effect.andThen(Effect.suspend(() => this.calls.run("settle", this.spread, [numbers(Array.from(this.sessions))]))),
      Effect.map(() => {
        this.done = true
        this.sessions.clear()
      })
    )
  })
}
