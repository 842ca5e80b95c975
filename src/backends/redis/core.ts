/**
 * The core of the contract on the engine.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { Shape } from "../../Backend.ts"
import type { Engine } from "./engine.ts"
import { publish, singles } from "./publish.ts"
import * as Subscription from "./subscription.ts"

export const core = (engine: Engine): Shape => {
  const alone = singles(engine)
  return {
    name: engine.calls.name,
    limits: engine.limits,
    fence: "strict",
    declare: (queue) => engine.queues.register(queue),
    publish: (queue, items, options) => publish(engine, alone, queue, items, options?.atomic === true),
    subscribe: (queue, { worker }) => Subscription.make(engine, queue, worker),
    ping: Effect.asVoid(engine.calls.send("ping", "PING"))
  }
}
