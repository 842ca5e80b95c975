/**
 * Storing jobs: one script for a batch, so it is stored whole or not at all when the server answers.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { BackendError, Item, Published } from "../../Backend.ts"
import type { Engine } from "./engine.ts"
import { publishRefused } from "./limits.ts"
import { write } from "./record.ts"
import { topicOf } from "./wake.ts"

const stored: Published = { _tag: "Stored" }
const skipped: Published = { _tag: "Skipped" }

const toPublished = (answer: string): Published =>
  answer === "" ? stored : answer === "s" ? skipped : { _tag: "Duplicate", existing: answer.slice(1) }

export const publish = (
  { calls, limits, queues, wake }: Engine,
  queue: string,
  items: ReadonlyArray<Item>,
  atomic: boolean
): Effect.Effect<ReadonlyArray<Published>, BackendError> =>
  Effect.suspend(() => {
    const refused = publishRefused(calls.name, limits, queue, items, Date.now())
    if (refused !== undefined) return Effect.fail(refused)
    if (items.length === 0) return Effect.succeed([])
    const args: Array<string> = [atomic ? "1" : "0"]
    for (const item of items) write(item, args)
    return Effect.map(
      Effect.andThen(queues.register(queue), calls.run<ReadonlyArray<string>>("publish", "publish", queue, args)),
      (answers) => {
        wake.signal(topicOf.queue(queue))
        return answers.map(toPublished)
      }
    )
  })
