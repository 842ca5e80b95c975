/**
 * The capabilities that are a few calls: cancel, pause, dead letters.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type * as Capability from "../../Capability.ts"
import type { Engine } from "./engine.ts"
import type { Reader } from "./inspect.ts"
import { rerouteRefused } from "./limits.ts"
import { number } from "./params.ts"
import { topicOf } from "./wake.ts"

/** dead letters looked at in one statement: a few milliseconds */
const page = 200

export const cancel = (engine: Engine): Context.Service.Shape<typeof Capability.Cancel> => {
  const { calls, retention, wake } = engine
  const sql = calls.sql("SELECT {cancel}($1::text, $2::int8, $3::int8)")
  return {
    request: (id) =>
      Effect.map(
        calls.one<"Cancelled" | "Requested" | "TooLate" | "NotFound">("cancel", sql, [
          id,
          number(retention.failures),
          number(retention.successes)
        ]),
        (answer) => {
          if (answer === "Requested") wake.signal(topicOf.aborts)
          // it may have been the head of a group: which one, nobody here knows
          if (answer === "Cancelled") wake.signalAll()
          return answer
        }
      )
  }
}

export const reroute = ({ calls, queues }: Engine): Context.Service.Shape<typeof Capability.Reroute> => ({
  prepare: (queue, to) => {
    const refused = rerouteRefused(calls.name, to)
    return refused === undefined ? Effect.asVoid(queues.awaiting(to.queue ?? queue, to)) : Effect.fail(refused)
  }
})

export const pause = (engine: Engine): Context.Service.Shape<typeof Capability.Pause> => {
  const { calls, queues } = engine
  const set = calls.sql("UPDATE {queue} SET paused = $2::bool WHERE num = $1::int4")
  const get = calls.sql("SELECT paused FROM {queue} WHERE num = $1::int4")
  return {
    set: (name, paused) =>
      Effect.flatMap(
        queues.number(name),
        (queue) => Effect.map(calls.run("pause", set, [number(queue), paused]), () => announce(engine, queue))
      ),
    get: (name) =>
      Effect.flatMap(
        queues.lookUp(name),
        (queue) => queue === undefined ? Effect.succeed(false) : calls.one<boolean>("pause", get, [number(queue)])
      )
  }
}

export const cursor = ({ calls, publish, queues }: Engine): Context.Service.Shape<typeof Capability.Cursor> => {
  const sql = calls.sql("SELECT (SELECT at::float8 FROM {cursor} WHERE queue = $1::int4 AND name = $2::text)")
  const forget = calls.sql("DELETE FROM {cursor} WHERE queue = $1::int4 AND name = ANY ($2::text[])")
  return {
    get: (name, cursor) =>
      Effect.flatMap(queues.lookUp(name), (queue) =>
        queue === undefined
          ? Effect.undefined
          : Effect.map(calls.one<number | null>("cursor", sql, [number(queue), cursor]), (at) => at ?? undefined)),
    advance: (cursor, items) => Effect.suspend(() => publish.advance(cursor, items)),
    forget: (name, cursors) =>
      Effect.flatMap(queues.lookUp(name), (queue) =>
        queue === undefined
          ? Effect.void
          : Effect.asVoid(calls.run("cursor", forget, [number(queue), cursors])))
  }
}

export const deadLetter = (engine: Engine, reader: Reader): Context.Service.Shape<typeof Capability.DeadLetter> => {
  const { calls, queues } = engine
  const retrySql = calls.sql(
    "SELECT queue, {revive}(num) FROM {job} WHERE id = $1::text"
  )
  const lastSql = calls.sql(
    "SELECT coalesce(max(num), 0)::float8 FROM {ended} WHERE state = 'dead' AND queue = $1::int4"
  )
  const redriveSql = calls.sql("SELECT * FROM {redrive}($1::int4, $2::int8, $3::int8, $4::text, $5::text, $6::int4)")
  const purgeSql = calls.sql("SELECT {purge}($1::int4, $2::int8, $3::int4)")
  return {
    list: (name) =>
      Stream.unwrap(Effect.map(
        queues.lookUp(name),
        (queue) => queue === undefined ? Stream.empty : reader.deadPages(queue)
      )),
    retry: (id) =>
      Effect.map(calls.run("retry", retrySql, [id]), (rows) => {
        if (rows[0]?.[1] !== true) return false
        announce(engine, rows[0][0] as number)
        return true
      }),
    redrive: (name, options) =>
      Effect.gen(function*() {
        const queue = yield* queues.lookUp(name)
        if (queue === undefined) return 0
        // those that die meanwhile are not meant
        const last = yield* calls.one<number>("redrive", lastSql, [number(queue)])
        let after: number | null = 0
        let total = 0
        while (after !== null) {
          const [row]: ReadonlyArray<ReadonlyArray<unknown>> = yield* calls.run("redrive", redriveSql, [
            number(queue),
            number(after),
            number(last),
            options?.task ?? null,
            options?.reason ?? null,
            number(page)
          ])
          const [end, done, seen] = row as unknown as readonly [number | null, number, number]
          total += done
          if (done > 0) announce(engine, queue)
          after = seen < page ? null : end
        }
        return total
      }),
    purge: (name, options) =>
      Effect.gen(function*() {
        const queue = yield* queues.lookUp(name)
        if (queue === undefined) return 0
        const older = options?.olderThanMillis
        let total = 0
        for (;;) {
          const done = yield* calls.one<number>("purge", purgeSql, [
            number(queue),
            older === undefined ? null : number(Math.ceil(older)),
            number(page)
          ])
          total += done
          if (done < page) return total
        }
      })
  }
}

const announce = ({ hints, wake }: Engine, queue: number): void => {
  wake.signal(topicOf.queue(queue))
  hints.later(topicOf.queue(queue))
}
