/**
 * The core of the contract on the engine.
 *
 * @since 0.1.0
 */
import * as Sqs from "@aws-sdk/client-sqs"
import * as Effect from "effect/Effect"
import type { BackendError, Shape } from "../../Backend.ts"
import type { Engine } from "./engine.ts"
import { isMissingQueue } from "./errors.ts"
import { publish, singles } from "./publish.ts"
import * as Subscription from "./subscription.ts"

/** asked for its address when no queue is known yet: any answer will do */
const anyQueue = "windlass-ping"

const ping = ({ calls, queues }: Engine): Effect.Effect<void, BackendError> =>
  Effect.suspend(() => {
    const url = queues.some
    const answer = url === undefined
      ? calls.call<unknown>("ping", undefined, (client, abortSignal) =>
        client.send(new Sqs.GetQueueUrlCommand({ QueueName: anyQueue }), { abortSignal }))
      : calls.call<unknown>("ping", undefined, (client, abortSignal) =>
        client.send(new Sqs.GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: ["QueueArn"] }), {
          abortSignal
        }))
    return Effect.catch(
      Effect.asVoid(answer),
      (error) =>
        url === undefined && isMissingQueue(error.cause) ? Effect.void : Effect.fail(error)
    )
  })

export const core = (engine: Engine): Shape => {
  const alone = singles(engine)
  return {
    name: engine.calls.name,
    limits: engine.limits,
    fence: "weak",
    declare: (queue) => Effect.asVoid(engine.queues.declare(queue)),
    publish: (queue, items) => publish(engine, alone, queue, items),
    subscribe: (queue) => Subscription.make(engine, queue),
    ping: ping(engine)
  }
}
