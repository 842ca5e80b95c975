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
const step = 500
/** milliseconds */
const sweepEvery = 60_000
const lookEvery = 5_000
/** pages given back to the file system at a time */
const pages = 1_000

const sweepOnce = (engine: Engine): Effect.Effect<void> =>
  engine.connection.write("retention", (now) => engine.ending.sweep(now, step) + engine.keys.sweep(now, step)).pipe(
    Effect.flatMap((swept) =>
      swept >= step ? Effect.andThen(Effect.yieldNow, Effect.suspend(() => sweepOnce(engine))) : Effect.void
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

/** when this connection has written and then paused, the log goes back into the database and is emptied */
export const checkpoint = (engine: Engine): Effect.Effect<never> => {
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
      clean = seen
      connection.tidy(pages)
    })
  )
}
