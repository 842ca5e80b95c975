/**
 * One holder per name among all processes on the file: a row with an epoch and a time at which the hold ends unless it
 * is renewed. A holder whose process stalls for longer loses it to the next, whose epoch is greater.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { randomUUID } from "node:crypto"
import type { BackendError } from "../../Backend.ts"
import type { Leader } from "../../Capability.ts"
import type { Engine } from "./engine.ts"
import { type Answer, until, type Waits } from "./waiting.ts"
import { Wake } from "./wake.ts"

/** `expires`: on the steady clock */
type Seat = readonly [holder: string | null, epoch: number, expires: number]

export const leader = (engine: Engine, waits: Waits): Context.Service.Shape<typeof Leader> => {
  const { connection, wake } = engine
  const { lease } = engine.settings
  const seatOf = connection.rows<Seat>("SELECT holder, epoch, expires FROM leader WHERE name = ?")
  const take = connection.statement(
    "INSERT OR REPLACE INTO leader (name, holder, epoch, expires) VALUES (?, ?, ?, ?)"
  )
  const extend = connection.statement("UPDATE leader SET expires = ? WHERE name = ? AND holder = ?")
  const giveUp = connection.statement("UPDATE leader SET holder = NULL, expires = 0 WHERE name = ? AND holder = ?")
  const isFree = (seat: Seat | undefined) => seat === undefined || seat[0] === null || seat[2] <= connection.steady()
  const freeAt = (seat: Seat, now: number) => ({ at: now + seat[2] - connection.steady() })

  const hold = Effect.fnUntraced(function*(name: string) {
    const holder = randomUUID()
    let held = false
    const release = Effect.suspend(() => {
      if (!held) return Effect.void
      held = false
      return connection.write("leader", () => {
        giveUp.run(name, holder)
        connection.tell(() => wake.signal(Wake.leader(name)))
      }).pipe(
        Effect.catch((error) => Effect.logWarning(`windlass: leader "${name}" is free when its lease ends`, error))
      )
    })
    const sit = connection.write("leader", (now): Answer<{ readonly epoch: number }> => {
      const seat = seatOf.get(name)
      if (!isFree(seat)) return freeAt(seat!, now)
      const epoch = (seat?.[1] ?? 0) + 1
      take.run(name, holder, epoch, connection.steady() + lease)
      connection.after(() => {
        held = true
      })
      return { value: { epoch } }
    })
    // a look without the write lock first: those who wait look often
    const ask: Effect.Effect<Answer<{ readonly epoch: number }>, BackendError> = Effect.flatMap(
      connection.peek("leader", (now): Answer<never> | undefined => {
        const seat = seatOf.get(name)
        return isFree(seat) ? undefined : freeAt(seat!, now)
      }),
      (busy) => busy === undefined ? sit : Effect.succeed(busy)
    )
    const renew: Effect.Effect<void> = Effect.suspend(() =>
      connection.clock.sleep(Duration.millis(lease / 3)).pipe(
        Effect.andThen(
          connection.write("leader", () => Number(extend.run(connection.steady() + lease, name, holder).changes))
        ),
        // whatever it was, the lease may still be there at the next third
        Effect.catch((error) => Effect.as(Effect.logWarning(`windlass: leader "${name}" was not renewed`, error), 1)),
        Effect.flatMap((renewed) => {
          if (renewed > 0) return renew
          held = false
          return Effect.logWarning(`windlass: leader "${name}" was lost: its lease ran out before it was renewed`)
        })
      )
    )
    yield* Effect.addFinalizer(() => release)
    const seat = yield* Effect.onInterrupt(until(waits, Wake.leader(name), ask), () => release)
    yield* Effect.forkScoped(renew)
    return seat
  })
  return { hold }
}
