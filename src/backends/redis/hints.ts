/**
 * Hints of other processes, through one channel: a job ended, an abort was requested, a leader gave its seat up, something
 * is due sooner than was known. Pub/sub loses what is sent while the connection is down, so whoever waits for a hint also
 * looks by itself.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type { Calls } from "./calls.ts"
import { topicOf, type Wake } from "./wake.ts"

/** milliseconds until the next try when there is no connection */
const again = 500

type Hint =
  | readonly [kind: "q", queue: string]
  | readonly [kind: "r", queue: string, id: string]
  | readonly [kind: "a", queue: string, id: string, worker: string]
  | readonly [kind: "l", name: string]

const heard = (wake: Wake, message: string): void => {
  let hint: Hint
  try {
    hint = JSON.parse(message) as Hint
  } catch {
    // nothing that this backend sent
    return
  }
  switch (hint[0]) {
    case "q":
      return wake.signal(topicOf.queue(hint[1]))
    case "r":
      return wake.isListened(topicOf.result(hint[2])) ? wake.signal(topicOf.result(hint[2])) : undefined
    case "a":
      return wake.aborted(hint[1], hint[3], hint[2])
    case "l":
      return wake.isListened(topicOf.leader(hint[1])) ? wake.signal(topicOf.leader(hint[1])) : undefined
  }
}

export const hear = ({ keys, redis }: Calls, wake: Wake): Effect.Effect<never> =>
  Effect.forever(
    Effect.scoped(Effect.flatMap(redis.subscribe(keys.channel), (messages) => {
      wake.signalAll()
      return Effect.forever(Effect.map(Queue.take(messages), ({ message }) => heard(wake, message)))
    })).pipe(
      Effect.catch((error) => Effect.logDebug("windlass: the connection for hints broke", error)),
      Effect.andThen(Effect.sleep(Duration.millis(again)))
    )
  )
