/**
 * The core of the contract on the engine: refuse what is above the limits, then one transaction.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { statSync } from "node:fs"
import type { Limits, Shape } from "../../Backend.ts"
import type { Engine } from "./engine.ts"
import { refusal } from "./errors.ts"
import { publishRefused } from "./limits.ts"
import * as Subscription from "./subscription.ts"
import type { Waits } from "./waiting.ts"

export const core = (engine: Engine, waits: Waits, limits: Limits, path: string | undefined): Shape => {
  const { connection, queues } = engine
  const { name } = connection
  const probe = connection.rows<readonly [number]>("SELECT value FROM sequence WHERE one = 1")
  const opened = inode(path)
  return {
    name,
    limits,
    fence: "strict",
    declare: (queue) =>
      Effect.suspend(() =>
        queues.known(queue) === undefined
          ? Effect.asVoid(connection.write("declare", () => queues.number(queue)))
          : Effect.void
      ),
    publish: (queue, items, options) =>
      Effect.suspend(() => {
        const refused = publishRefused(connection, limits, queue, items, connection.now())
        return refused !== undefined
          ? Effect.fail(refused)
          : connection.write("publish", (now) => engine.publish(queue, items, options?.atomic === true, now))
      }),
    subscribe: (queue, { worker }) => Subscription.make(engine, waits, limits, queue, worker),
    ping: Effect.andThen(
      connection.peek("ping", () => void probe.get()),
      Effect.suspend(() =>
        path === undefined || inode(path) === opened
          ? Effect.void
          : Effect.fail(refusal(
            name,
            "ping",
            `${path} was deleted or replaced while it was open, so what is stored now is lost with this process: ` +
              `restart it, and stop whatever removes the file`
          ))
      )
    )
  }
}

const inode = (path: string | undefined): number | undefined =>
  path === undefined ? undefined : statSync(path, { throwIfNoEntry: false })?.ino
