/**
 * The capabilities that are a few lines on the engine: results, cancel, pause, dead letters.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { BackendError } from "../../Backend.ts"
import type * as Capability from "../../Capability.ts"
import type { Connection } from "./connection.ts"
import type { Engine } from "./engine.ts"
import type { Reader } from "./inspect.ts"
import { rerouteRefused } from "./limits.ts"
import { type Answer, until, type Waits } from "./waiting.ts"
import { Wake } from "./wake.ts"

/** dead letters looked at in one transaction: a few milliseconds */
const page = 200

type EndRow = readonly [state: Capability.Result["state"], reason: string | null, exit: string | null, until: number]

export const results = (engine: Engine, waits: Waits): Context.Service.Shape<typeof Capability.Results> => {
  const { connection, wake } = engine
  const ended = connection.rows<EndRow>(
    `SELECT e.state, e.reason, e.exit, e.result_until FROM job j CROSS JOIN ended e ON e.num = j.num
     WHERE j.id = ? AND e.expires > ?`
  )
  const toResult = ([state, reason, exit]: EndRow): Capability.Result => ({
    state,
    reason: reason ?? undefined,
    exit: exit ?? undefined
  })
  return {
    poll: (id) =>
      connection.peek("poll", (now) => {
        const row = ended.get(id, now)
        return row !== undefined && row[3] > now ? Option.some(toResult(row)) : Option.none()
      }),
    await: (id) =>
      Effect.suspend(() => {
        let heard: Capability.Result | undefined
        const topic = Wake.result(id)
        // what ends in this process is told directly, so that it need not be kept
        const leave = wake.onEnd(id, (result) => {
          heard = result
          wake.signal(topic)
        })
        const ask = connection.peek("await", (now): Answer<Capability.Result> => {
          if (heard !== undefined) return { value: heard }
          const row = ended.get(id, now)
          return row === undefined ? { at: Infinity } : { value: toResult(row) }
        })
        return Effect.ensuring(until(waits, topic, ask), Effect.sync(leave))
      })
  }
}

export const cancel = (engine: Engine): Context.Service.Shape<typeof Capability.Cancel> => ({
  request: (id) => engine.connection.write("cancel", (now) => engine.cancel(id, now))
})

export const reroute = (connection: Connection): Context.Service.Shape<typeof Capability.Reroute> => ({
  prepare: (_, to) => {
    const refused = rerouteRefused(connection, to)
    return refused === undefined ? Effect.void : Effect.fail(refused)
  }
})

export const pause = (engine: Engine): Context.Service.Shape<typeof Capability.Pause> => ({
  set: (queue, paused) => engine.connection.write("pause", () => engine.pause(queue, paused)),
  get: (queue) => engine.connection.peek("pause", () => engine.queues.isPaused(queue))
})

export const deadLetter = (engine: Engine, reader: Reader): Context.Service.Shape<typeof Capability.DeadLetter> => {
  const { connection, queues, redrive } = engine
  const find = (name: string) => connection.peek("dead letters", () => queues.find(name))
  /** one bounded transaction after another, so that neither the event loop nor another writer waits for long */
  const inPages = (
    name: string,
    step: (queue: number, after: number, youngest: number, now: number) => { last: number | undefined; done: number }
  ): Effect.Effect<number, BackendError> =>
    Effect.gen(function*() {
      const queue = yield* find(name)
      if (queue === undefined) return 0
      const youngest = yield* connection.peek("dead letters", () => redrive.youngest(queue))
      let after: number | undefined = 0
      let total = 0
      while (after !== undefined) {
        const from: number = after
        const { done, last } = yield* connection.write("dead letters", (now) => {
          const moved = step(queue, from, youngest, now)
          if (moved.done > 0) engine.wakeQueue(queue)
          return moved
        })
        total += done
        after = last
        yield* Effect.yieldNow
      }
      return total
    })
  return {
    list: (name) =>
      Stream.unwrap(
        Effect.map(find(name), (queue) => queue === undefined ? Stream.empty : reader.pages(queue, {}, true))
      ),
    retry: (id) =>
      connection.write("retry", (now) => {
        const job = engine.jobs.byId(id, now)
        if (job === undefined || job.state !== "dead") return false
        redrive.one(job, now)
        engine.wakeQueue(job.queue)
        return true
      }),
    redrive: (name, options) =>
      inPages(name, (queue, after, youngest, now) => redrive.page(queue, after, youngest, options ?? {}, page, now)),
    purge: (name, options) =>
      inPages(name, (queue, after, youngest, now) => {
        const { olderThanMillis } = options ?? {}
        const finished = olderThanMillis === undefined ? Number.MAX_SAFE_INTEGER : now - olderThanMillis
        return redrive.purgePage(queue, after, youngest, finished, page)
      })
  }
}
