/**
 * The core of the contract on the engine.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { Shape } from "../../Backend.ts"
import type { Engine } from "./engine.ts"
import * as Subscription from "./subscription.ts"

export const core = (engine: Engine): Shape => {
  const { calls, limits } = engine
  const ping = calls.sql("SELECT count(*) FROM (SELECT FROM {queue} LIMIT 1) x")
  return {
    name: calls.name,
    limits,
    fence: "strict",
    declare: (queue) => Effect.asVoid(engine.queues.number(queue)),
    publish: (queue, items, options) =>
      Effect.suspend(() => engine.publish.publish(queue, items, options?.atomic === true)),
    subscribe: (queue, { thorough, worker }) => Subscription.make(engine, queue, worker, thorough === true),
    ping: Effect.asVoid(calls.run("ping", ping))
  }
}
