/**
 * One holder per name among all processes: a key that goes by itself, on the server's clock, unless it is renewed. A
 * holder that stalls for longer loses it to the next, whose epoch is greater. When the server loses its last moments in a
 * crash, or a replica takes over that had not heard of the holder, two may hold a name until the first one's next renewal.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import { randomUUID } from "node:crypto"
import type { BackendError } from "../../Backend.ts"
import type { Leader } from "../../Capability.ts"
import type { Engine } from "./engine.ts"
import { seats } from "./scripts.ts"
import { topicOf } from "./wake.ts"

/** milliseconds between two tries, in case the hint that the seat is free was lost */
const longest = 1_000

export const leader = ({ calls, lease, wake }: Engine): Context.Service.Shape<typeof Leader> => {
  const { keys } = calls
  const millis = String(lease)

  const hold = Effect.fnUntraced(function*(name: string) {
    const holder = randomUUID()
    const seat = keys.seat(name)
    let held = false
    const release = Effect.suspend(() => {
      if (!held) return Effect.void
      held = false
      return calls.eval("leader", seats.giveUp, [seat], [holder, keys.channel, name]).pipe(
        Effect.map(() => wake.signal(topicOf.leader(name))),
        Effect.catch((error) => Effect.logWarning(`windlass: leader "${name}" is free when its lease ends`, error))
      )
    })
    const sit: Effect.Effect<{ readonly epoch: number }, BackendError> = Effect.suspend(() => {
      const latch = Latch.makeUnsafe(false)
      const leave = wake.on(topicOf.leader(name), () => void latch.openUnsafe())
      const ask = Effect.tap(
        calls.eval<readonly [epoch: number, left: number]>("leader", seats.sit, [seat, keys.epochs], [
          holder,
          millis,
          name
        ]),
        ([epoch]) =>
          Effect.sync(() => {
            held = epoch > 0
          })
      )
      return Effect.flatMap(Effect.uninterruptible(ask), ([epoch, left]) =>
        epoch > 0
          ? Effect.succeed({ epoch })
          : Effect.andThen(
            Effect.raceFirst(latch.await, Effect.sleep(Duration.millis(Math.min(longest, Math.max(1, left))))),
            sit
          )).pipe(Effect.ensuring(Effect.sync(leave)))
    })
    const renew: Effect.Effect<void> = Effect.suspend(() =>
      Effect.sleep(Duration.millis(lease / 3)).pipe(
        Effect.andThen(calls.eval<number>("leader", seats.renew, [seat], [holder, millis])),
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
    const seated = yield* Effect.onInterrupt(sit, () => release)
    yield* Effect.forkScoped(renew)
    return seated
  })
  return { hold }
}
