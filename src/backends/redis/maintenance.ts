/**
 * What nobody waits for: forgetting what was kept long enough, a bounded number at a time. Every process does it for the
 * queues that it has met, none waits for another. Claims that find nothing do a little of it as well.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { BackendError } from "../../Backend.ts"
import type { Engine } from "./engine.ts"

/** forgotten in one script: a few milliseconds */
const step = 500
/** milliseconds */
const every = 15_000

const sweepQueue = ({ calls }: Engine, queue: string): Effect.Effect<void, BackendError> => {
  const once: Effect.Effect<void, BackendError> = Effect.flatMap(
    calls.run<number>("retention", "retention", queue, [String(step)]),
    (swept) =>
      swept >= step ? Effect.andThen(Effect.sleep(Duration.millis(10)), Effect.suspend(() => once)) : Effect.void
  )
  return once
}

export const sweep = (engine: Engine): Effect.Effect<never> =>
  Effect.forever(
    // processes that started together do not all do it together
    Effect.suspend(() => Effect.sleep(Duration.millis(every * (0.5 + Math.random())))).pipe(
      Effect.andThen(engine.queues.registerAll),
      Effect.andThen(Effect.suspend(() =>
        Effect.forEach(Array.from(engine.queues.known), (queue) => sweepQueue(engine, queue), { discard: true })
      )),
      // it is tried again
      Effect.catch((error) =>
        Effect.logDebug("windlass: retention was put off", error)
      )
    )
  )
