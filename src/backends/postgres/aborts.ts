/**
 * Abort requests, as a hint that makes them quick.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { Engine } from "./engine.ts"
import { number } from "./params.ts"
import { topicOf } from "./wake.ts"

/** hints that nobody reads are dropped, oldest first: the lease's `extend` says the same */
const most = 1_024
/** milliseconds between two looks when nobody says anything */
const longest = 5_000

/** ids of this session's running jobs whose abort was requested, by whatever process */
export const abortsOf = Effect.fnUntraced(function*({ calls, wake }: Engine, session: number) {
  const hints = yield* Effect.acquireRelease(Queue.sliding<string, Cause.Done>(most), Queue.end)
  const sql = calls.sql(
    `SELECT a.num::float8, a.fence::float8, j.id FROM {active} a JOIN {job} j ON j.num = a.num
     WHERE a.session = $1::int8 AND a.abort`
  )
  const latch = Latch.makeUnsafe(false)
  yield* Effect.acquireRelease(
    Effect.sync(() => wake.on(topicOf.aborts, () => void latch.openUnsafe())),
    (leave) => Effect.sync(leave)
  )
  /** told already, by number and fence */
  let told = new Set<string>()
  const look = Effect.suspend(() => {
    latch.closeUnsafe()
    return Effect.map(calls.run("aborts", sql, [number(session)]), (rows) => {
      const next = new Set<string>()
      for (const [num, fence, id] of rows) {
        const key = `${num as number}:${fence as number}`
        next.add(key)
        if (!told.has(key)) Queue.offerUnsafe(hints, id as string)
      }
      told = next
    })
  })
  yield* Effect.forkScoped(Effect.forever(
    Effect.raceFirst(latch.await, Effect.sleep(longest)).pipe(
      Effect.andThen(look),
      Effect.catch((error) => Effect.logDebug("windlass: looking for abort requests failed", error))
    )
  ))
  return Stream.fromQueue(hints)
})
