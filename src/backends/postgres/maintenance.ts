/**
 * What nobody waits for: forgetting what was kept long enough, a bounded number at a time. Every process does it, none
 * waits for another.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { BackendError } from "../../Backend.ts"
import type { Engine } from "./engine.ts"

/** forgotten in one statement: a few milliseconds */
const step = 500
/** milliseconds */
const every = 30_000

export const sweep = ({ calls }: Engine): Effect.Effect<never> => {
  const once: Effect.Effect<void, BackendError> = Effect.flatMap(
    calls.one<number>("retention", calls.sql(`SELECT {sweep}(${step})`)),
    (swept) => swept >= step ? Effect.andThen(Effect.sleep(10), Effect.suspend(() => once)) : Effect.void
  )
  return Effect.forever(
    // processes that started together do not all do it together
    Effect.suspend(() => Effect.sleep(every * (0.5 + Math.random()))).pipe(
      Effect.andThen(once),
      // it is tried again
      Effect.catch((error) => Effect.logDebug("windlass: retention was put off", error))
    )
  )
}
