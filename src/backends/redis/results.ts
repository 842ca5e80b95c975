/**
 * What jobs came to. Who waits hears of an end in this process at once, of one elsewhere through a hint, and looks now and
 * then in case the hint was lost.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import type { BackendError } from "../../Backend.ts"
import type { Result, Results } from "../../Capability.ts"
import type { Engine } from "./engine.ts"
import { topicOf } from "./wake.ts"

/** milliseconds between two looks of one who waits */
const longest = 5_000

const toResult = (json: string): Result => {
  const { r, s, x } = JSON.parse(json) as { readonly s: Result["state"]; readonly r?: string; readonly x?: string }
  return { state: s, reason: r, exit: x }
}

export const results = ({ calls, queues, wake }: Engine): Context.Service.Shape<typeof Results> => {
  const look = (id: string, any: boolean): Effect.Effect<Option.Option<Result>, BackendError> =>
    Effect.map(
      queues.ask(
        (queue) => calls.run<string>("poll", "result", queue, [id, any ? "1" : "0"]),
        (answer) => answer === ""
      ),
      (found) => found === undefined ? Option.none() : Option.some(toResult(found.answer))
    )
  return {
    poll: (id) => look(id, false),
    await: (id) =>
      Effect.suspend(() => {
        const latch = Latch.makeUnsafe(false)
        let told: Result | undefined
        const leave = [
          wake.on(topicOf.result(id), () => void latch.openUnsafe()),
          wake.onEnd(id, (result) => {
            told = result
            latch.openUnsafe()
          })
        ]
        const loop: Effect.Effect<Result, BackendError> = Effect.suspend(() => {
          latch.closeUnsafe()
          return told !== undefined ? Effect.succeed(told) : Effect.flatMap(look(id, true), (found) => {
            if (told !== undefined) return Effect.succeed(told)
            if (Option.isSome(found)) return Effect.succeed(found.value)
            return Effect.andThen(Effect.raceFirst(latch.await, Effect.sleep(Duration.millis(longest))), loop)
          })
        })
        return Effect.ensuring(loop, Effect.sync(() => leave.forEach((run) => run())))
      })
  }
}
