/**
 * Named times of a queue that move in one transaction with a publish.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Limits } from "../../Backend.ts"
import type { Advanced, Cursor } from "../../Capability.ts"
import type { Engine } from "./engine.ts"
import { publishRefused } from "./limits.ts"

export const cursor = (engine: Engine, limits: Limits): Context.Service.Shape<typeof Cursor> => {
  const { connection, queues } = engine
  const read = connection.rows<readonly [number]>("SELECT at FROM cursor WHERE queue = ? AND name = ?")
  const write = connection.statement("INSERT OR REPLACE INTO cursor (queue, name, at) VALUES (?, ?, ?)")
  const remove = connection.statement("DELETE FROM cursor WHERE queue = ? AND name = ?")
  return {
    get: (queue, name) =>
      connection.peek("cursor", () => {
        const number = queues.find(queue)
        return number === undefined ? undefined : read.get(number, name)?.[0]
      }),
    advance: ({ from, name, queue, to }, items) =>
      Effect.suspend(() => {
        const refused = publishRefused(connection, limits, queue, items, connection.now())
        return refused !== undefined ? Effect.fail(refused) : connection.write("cursor", (now): Advanced => {
          const number = queues.number(queue)
          const at = read.get(number, name)?.[0]
          if (at !== from) return { _tag: "Stale", at }
          write.run(number, name, to)
          return { _tag: "Advanced", published: engine.publish(queue, items, false, now) }
        })
      }),
    forget: (queue, names) =>
      connection.write("cursor", () => {
        const number = queues.find(queue)
        if (number !== undefined) { for (const name of names) remove.run(number, name) }
      })
  }
}
