/**
 * Hearing the hints of other processes, on a connection of its own. It is made again when it breaks, and everybody looks
 * once after that, since what came meanwhile was not heard. How long those who wait may sleep depends on whether it is up.
 *
 * @since 0.1.0
 */
import * as PgConnection from "@effect/sql-pg/PgConnection"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type { SqlError } from "effect/sql/SqlError"
import type { Calls } from "./calls.ts"
import type { Wake } from "./wake.ts"

/** milliseconds between two tries for a connection, at first and at last */
const shortest = 100
const longest = 5_000
/** seconds of silence after which the system asks whether the other side is still there */
const keepAlive = "10 seconds"

export class Listen {
  private readonly calls: Calls
  private readonly wake: Wake
  private readonly connection: PgConnection.Config
  private failures = 0
  /** whether hints are heard right now */
  up = false

  constructor(calls: Calls, wake: Wake) {
    this.calls = calls
    this.wake = wake
    const { config } = calls
    this.connection = { ...config, multiplex: false, keepAlive: config.keepAlive ?? keepAlive }
  }

  /** runs for as long as the layer */
  get run(): Effect.Effect<never> {
    return Effect.forever(
      Effect.scoped(this.session).pipe(
        Effect.catch((error: SqlError) =>
          Effect.logDebug("windlass: the connection that listens broke; polling meanwhile", error)
        ),
        Effect.ensuring(Effect.sync(() => {
          this.up = false
        })),
        Effect.andThen(Effect.suspend(() => Effect.sleep(Math.min(longest, shortest * 2 ** this.failures++))))
      )
    )
  }

  private get session() {
    return Effect.gen({ self: this }, function*() {
      const connection = yield* PgConnection.make(this.connection)
      const heard = yield* connection.listen(this.calls.names.channel)
      this.failures = 0
      this.up = true
      this.wake.signalAll()
      while (true) {
        const { payload } = yield* Queue.take(heard)
        for (const topic of payload.split(",")) this.wake.signal(topic)
      }
    })
  }
}
