/**
 * One holder per name among all processes: a row with an epoch and a time at which the hold ends unless it is renewed, by
 * the server's clock. A holder that stalls for longer loses it to the next, whose epoch is greater.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type { BackendError } from "../../Backend.ts"
import type { Leader } from "../../Capability.ts"
import type { Engine } from "./engine.ts"
import { number } from "./params.ts"
import { topicOf } from "./wake.ts"

/** milliseconds between two tries, since the holder may give it up where no hints are heard */
const longest = 500

export const leader = ({ calls, hints, lease, wake }: Engine): Context.Service.Shape<typeof Leader> => {
  const sitSql = calls.sql("SELECT * FROM {sit}($1::text, $2::int8, $3::int8)")
  const idSql = calls.sql("SELECT nextval('{seq}')::float8")
  const renewSql = calls.sql(
    `UPDATE {leader} SET expires = {now}() + $3::int8 WHERE name = $1::text AND holder = $2::int8 RETURNING true`
  )
  const giveUpSql = calls.sql(
    "UPDATE {leader} SET holder = NULL, expires = 0 WHERE name = $1::text AND holder = $2::int8"
  )

  const hold = Effect.fnUntraced(function*(name: string) {
    const holder = yield* calls.one<number>("leader", idSql)
    let held = false
    const release = Effect.suspend(() => {
      if (!held) return Effect.void
      held = false
      return calls.run("leader", giveUpSql, [name, number(holder)]).pipe(
        Effect.map(() => {
          wake.signal(topicOf.leaders)
          hints.later(topicOf.leaders)
        }),
        Effect.catch((error) => Effect.logWarning(`windlass: leader "${name}" is free when its lease ends`, error))
      )
    })
    const sit: Effect.Effect<{ readonly epoch: number }, BackendError> = Effect.suspend(() => {
      const latch = Latch.makeUnsafe(false)
      const leave = wake.on(topicOf.leaders, () => void latch.openUnsafe())
      return Effect.flatMap(
        Effect.tap(calls.run("leader", sitSql, [name, number(holder), number(lease)]), (rows) =>
          Effect.sync(() => {
            held = rows[0]![0] !== null
          })),
        (rows): Effect.Effect<{ readonly epoch: number }, BackendError> => {
          const [epoch, millis] = rows[0] as readonly [number | null, number | null]
          if (epoch !== null) return Effect.succeed({ epoch })
          return Effect.andThen(
            Effect.raceFirst(latch.await, Effect.sleep(Math.min(longest, Math.max(5, millis ?? 0)))),
            sit
          )
        }
      ).pipe(Effect.ensuring(Effect.sync(leave)))
    })
    const renew: Effect.Effect<void> = Effect.suspend(() =>
      Effect.sleep(lease / 3).pipe(
        Effect.andThen(calls.run("leader", renewSql, [name, number(holder), number(lease)])),
        Effect.map((rows) => rows.length > 0),
        // whatever it was, the lease may still be there at the next third
        Effect.catch((error) =>
          Effect.as(Effect.logWarning(`windlass: leader "${name}" was not renewed`, error), true)
        ),
        Effect.flatMap((renewed) => {
          if (renewed) return renew
          held = false
          return Effect.logWarning(`windlass: leader "${name}" was lost: its lease ran out before it was renewed`)
        })
      )
    )
    yield* Effect.addFinalizer(() => release)
    const seat = yield* Effect.onInterrupt(sit, () => release)
    yield* Effect.forkScoped(renew)
    return seat
  })
  return { hold }
}
