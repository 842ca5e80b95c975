/**
 * What nobody waits for: forgetting what was kept long enough, a bounded number at a time, and giving the space of the
 * write-ahead log back when nothing happens.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { Engine } from "./engine.ts"
import * as Pace from "./pace.ts"

/** forgotten in one transaction: a few milliseconds */
const batch = 500
/** milliseconds */
const sweepEvery = 60_000
const lookEvery = 5_000
/** pages: what stays for reuse, and what is given back to the file system at a time */
const kept = 256
const step = 1_000

const sweepOnce = (engine: Engine): Effect.Effect<void> =>
  engine.connection.write("retention", (now) => engine.ending.sweep(now, batch) + engine.keys.sweep(now, batch)).pipe(
    Effect.flatMap((swept) =>
      swept >= batch ? Effect.andThen(Effect.yieldNow, Effect.suspend(() => sweepOnce(engine))) : Effect.void
    ),
    // nobody asked for it, and it is tried again
    Effect.catch((error) => Effect.logDebug("windlass: retention was put off", error))
  )

export const sweep = (engine: Engine): Effect.Effect<never> =>
  Pace.every(
    engine.connection.clock,
    () => sweepEvery,
    Effect.suspend(() => engine.isSweepDue() ? sweepOnce(engine) : Effect.void)
  )

/**
 * When this connection has written and then paused, the log goes back into the database and is emptied; then a database
 * that was larger once shrinks, a little at a time.
 */
export const tidy = (engine: Engine): Effect.Effect<never> => {
  const { connection } = engine
  let seen = connection.writes
  let clean = connection.writes
  return Pace.every(
    connection.clock,
    () => lookEvery,
    Effect.sync(() => {
      const idle = seen === connection.writes
      seen = connection.writes
      if (!idle || clean === seen) return
      const shrunk = connection.shrink(kept, step)
      connection.checkpoint()
      if (!shrunk) clean = seen
    })
  )
}
