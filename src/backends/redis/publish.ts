/**
 * Storing jobs: one script for a batch, so it is stored whole or not at all when the server answers.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { BackendError, Item, Published } from "../../Backend.ts"
import type { Advanced, Cursor } from "../../Capability.ts"
import { Coalesce, sizeOfJob } from "../internal/coalesce.ts"
import type { Engine } from "./engine.ts"
import { publishRefused } from "./limits.ts"
import { write } from "./record.ts"
import { topicOf } from "./wake.ts"

const stored: Published = { _tag: "Stored" }
const skipped: Published = { _tag: "Skipped" }

const toPublished = (items: ReadonlyArray<Item>, answers: ReadonlyArray<string>): ReadonlyArray<Published> =>
  answers.length === 0
    ? items.map(() => stored)
    : answers.map((answer) =>
      answer === "" ? stored : answer === "s" ? skipped : { _tag: "Duplicate", existing: answer.slice(1) }
    )

/** the arguments of a publish */
const argsOf = (items: ReadonlyArray<Item>, atomic: boolean): Array<string> => {
  const args: Array<string> = [atomic ? "1" : "0"]
  write(items, args)
  return args
}

/** calls under way at once that carry what several callers publish: the server runs one script after the other */
const flights = 2

/** single enqueues share a script */
export const singles = (engine: Engine): Coalesce<Item, Published, BackendError> =>
  new Coalesce({
    run: (queue, items) => store(engine, queue, items, false),
    most: engine.limits.publishBatch,
    sizeOf: sizeOfJob,
    flights,
    gathers: true,
    isOnes: (error) => !error.retryable && error.outcome === "NotApplied"
  })

export const publish = (
  engine: Engine,
  singles: Coalesce<Item, Published, BackendError>,
  queue: string,
  items: ReadonlyArray<Item>,
  atomic: boolean
): Effect.Effect<ReadonlyArray<Published>, BackendError> =>
  Effect.suspend(() => {
    const { calls, limits } = engine
    const refused = publishRefused(calls.name, limits, queue, items, Date.now())
    if (refused !== undefined) return Effect.fail(refused)
    if (items.length === 0) return Effect.succeed([])
    return atomic ? store(engine, queue, items, true) : singles.submit(queue, items)
  })

const store = (
  { calls, pairs, queues, wake }: Engine,
  queue: string,
  items: ReadonlyArray<Item>,
  atomic: boolean
): Effect.Effect<ReadonlyArray<Published>, BackendError> => {
  const topic = topicOf.queue(queue)
  const signal = () => wake.signal(topic)
  const alone = (args: ReadonlyArray<string>) =>
    Effect.tap(
      // an idle worker of this process need not wait for the answer: its claim goes right behind the jobs
      calls.run<ReadonlyArray<string>>("publish", "publish", queue, args, [], signal),
      () => Effect.sync(signal)
    )
  return Effect.map(
    Effect.andThen(
      queues.register(queue),
      Effect.suspend(() => {
        const args = argsOf(items, atomic)
        const paired = wake.isListened(topic) ? pairs.offer(queue, items.length, args, signal) : undefined
        return paired ?? alone(args)
      })
    ),
    (answers) => toPublished(items, answers)
  )
}

type Moved = readonly [moved: 1, answers: ReadonlyArray<string>] | readonly [moved: 0, at: string]

const positionOf = (at: string | null): number | undefined => at === null || at === "" ? undefined : Number(at)

export const cursor = ({ calls, limits, queues, wake }: Engine): Context.Service.Shape<typeof Cursor> => ({
  get: (queue, name) =>
    Effect.map(calls.send<string | null>("cursor", "HGET", calls.keys.key(queue, "cursor"), name), positionOf),
  advance: ({ from, name, queue, to }, items) =>
    Effect.suspend(() => {
      const refused = publishRefused(calls.name, limits, queue, items, Date.now())
      if (refused !== undefined) return Effect.fail(refused)
      const args = [name, from === undefined ? "" : String(from), String(to), ...argsOf(items, false)]
      return Effect.map(
        Effect.andThen(queues.register(queue), calls.run<Moved>("cursor", "advance", queue, args)),
        (moved): Advanced => {
          if (moved[0] === 0) return { _tag: "Stale", at: positionOf(moved[1]) }
          if (items.length > 0) wake.signal(topicOf.queue(queue))
          return { _tag: "Advanced", published: toPublished(items, moved[1]) }
        }
      )
    }),
  forget: (queue, names) =>
    names.length === 0
      ? Effect.void
      : Effect.asVoid(calls.send("cursor", "HDEL", calls.keys.key(queue, "cursor"), ...names))
})
