/**
 * The capabilities that are a script each: cancel, pause, dead letters.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { BackendError } from "../../Backend.ts"
import type * as Capability from "../../Capability.ts"
import type { Engine } from "./engine.ts"
import type { Reader } from "./inspect.ts"
import { rerouteRefused } from "./limits.ts"
import { readable, taskLine } from "./record.ts"
import { topicOf } from "./wake.ts"

/** dead letters moved by one script: a few milliseconds */
const page = 200

type Answer = "Cancelled" | "Requested" | "TooLate" | "NotFound"

export const cancel = ({ calls, queues, wake }: Engine): Context.Service.Shape<typeof Capability.Cancel> => ({
  request: (id) =>
    Effect.map(
      queues.find((queue) => calls.run<Answer>("cancel", "cancel", queue, [id]), (answer) => answer === "NotFound"),
      (found) => {
        if (found === undefined) return "NotFound"
        if (found.answer === "Cancelled") {
          if (wake.isAwaited(id)) wake.ended(id, { state: "aborted", reason: "cancelled", exit: undefined })
          wake.signal(topicOf.queue(found.queue))
        }
        return found.answer
      }
    )
})

export const reroute = ({ calls, cluster, queues }: Engine): Context.Service.Shape<typeof Capability.Reroute> => ({
  prepare: (queue, to) => {
    const refused = rerouteRefused(calls.name, cluster, queue, to)
    return refused === undefined ? queues.register(to.queue ?? queue) : Effect.fail(refused)
  }
})

export const pause = ({ calls, queues, wake }: Engine): Context.Service.Shape<typeof Capability.Pause> => ({
  set: (queue, paused) =>
    queues.register(queue).pipe(
      Effect.andThen(calls.run("pause", "pause", queue, [paused ? "1" : "0"])),
      Effect.map(() => wake.signal(topicOf.queue(queue)))
    ),
  get: (queue) =>
    Effect.map(
      calls.send<number>("pause", "HEXISTS", calls.keys.key(queue, "meta"), "paused"),
      (paused) => paused === 1
    )
})

interface Filter {
  readonly task?: string | undefined
  readonly reason?: string | undefined
  readonly olderThanMillis?: number | undefined
}

export const deadLetter = (engine: Engine, reader: Reader): Context.Service.Shape<typeof Capability.DeadLetter> => {
  const { calls, queues, wake } = engine

  /** what dies meanwhile is left for the next time */
  const youngest = (queue: string) => calls.run<string>("dead letters", "youngestDead", queue, [])

  /** ids after the dead letter of that number, and the number from which to go on, unless that was all */
  const next = (
    queue: string,
    after: string,
    last: string,
    { olderThanMillis, reason, task }: Filter
  ): Effect.Effect<readonly [ids: ReadonlyArray<string>, rest: Option.Option<string>], BackendError> =>
    Effect.map(
      calls.run<ReadonlyArray<string>>("dead letters", "deadPage", queue, [
        after,
        last,
        String(page),
        task === undefined ? "" : `=${taskLine(task)}`,
        reason === undefined ? "" : `=${readable(reason)}`,
        olderThanMillis === undefined ? "-1" : String(Math.max(0, olderThanMillis))
      ]),
      ([more, ...ids]) => [ids, more === "" ? Option.none() : Option.some(more!)] as const
    )

  /** one bounded script after another, so that the server is not held up */
  const inPages = (queue: string, script: "revive" | "purge", filter: Filter): Effect.Effect<number, BackendError> =>
    Effect.flatMap(youngest(queue), (last) => {
      const from = (after: string, total: number): Effect.Effect<number, BackendError> =>
        Effect.flatMap(next(queue, after, last, filter), ([ids, rest]) =>
          Effect.flatMap(
            ids.length === 0 ? Effect.succeed(0) : calls.run<number>("dead letters", script, queue, ids),
            (moved) => {
              if (moved > 0 && script === "revive") wake.signal(topicOf.queue(queue))
              return Option.isSome(rest) ? from(rest.value, total + moved) : Effect.succeed(total + moved)
            }
          ))
      return from("0", 0)
    })

  return {
    list: (queue) =>
      Stream.unwrap(
        Effect.map(youngest(queue), (last) =>
          Stream.paginate("0", (after: string) =>
            Effect.flatMap(next(queue, after, last, {}), ([ids, rest]) =>
              Effect.map(
                ids.length === 0 ? Effect.succeed([]) : reader.records(queue, ids),
                (records) =>
                  [
                    records.filter(({ state }) =>
                      state === "dead"
                    ),
                    rest
                  ] as const
              ))))
      ),
    retry: (id) =>
      Effect.map(
        queues.ask((queue) => calls.run<number>("retry", "revive", queue, [id]), (revived) => revived === 0),
        (found) => {
          if (found !== undefined) wake.signal(topicOf.queue(found.queue))
          return found !== undefined
        }
      ),
    redrive: (queue, options) => inPages(queue, "revive", options ?? {}),
    purge: (queue, options) => inPages(queue, "purge", options ?? {})
  }
}
