/**
 * Noticing what other processes commit. SQLite has no notifications, but `PRAGMA data_version` changes when another
 * connection has committed, and reading it costs about a microsecond. While somebody waits, it is read every few
 * milliseconds after activity and less often the longer nothing happens.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type { Connection, Rows } from "./connection.ts"
import * as Pace from "./pace.ts"
import type { Wake } from "./wake.ts"

/** milliseconds */
const shortest = 5
/** the pause is this fraction of the time since something happened last */
const fraction = 8

export class Poll {
  private readonly connection: Connection
  private readonly wake: Wake
  private readonly longest: number
  private readonly version: Rows<readonly [number]>
  private readonly wanted = Latch.makeUnsafe(false)
  private interested = 0
  private seen: number | undefined
  private quietSince: number

  /** `longest`: milliseconds that a commit of another process stays unnoticed at most */
  constructor(connection: Connection, wake: Wake, longest: number) {
    this.connection = connection
    this.wake = wake
    this.longest = Math.max(1, longest)
    this.version = connection.rows("PRAGMA data_version")
    this.seen = this.read()
    this.quietSince = connection.now()
  }

  /** somebody waits for something that another process may do, until the returned function is called */
  want(): () => void {
    this.quietSince = this.connection.now()
    if (this.interested++ === 0) this.wanted.openUnsafe()
    let done = false
    return () => {
      if (done) return
      done = true
      if (--this.interested === 0) this.wanted.closeUnsafe()
    }
  }

  /** runs for as long as the layer */
  get run(): Effect.Effect<never> {
    const look = Effect.andThen(this.wanted.await, Effect.sync(() => this.look()))
    return Pace.every(this.connection.clock, () => this.pause(), look)
  }

  private pause(): number {
    const quiet = this.connection.now() - this.quietSince
    return Math.min(Math.max(shortest, quiet / fraction), this.longest)
  }

  private look(): void {
    const version = this.read()
    if (version === undefined || version === this.seen) return
    this.seen = version
    this.quietSince = this.connection.now()
    this.wake.signalAll()
  }

  private read(): number | undefined {
    try {
      return this.version.get()?.[0]
    } catch {
      // the file is being recovered, or the layer is closing: the next look will tell
      return undefined
    }
  }
}
