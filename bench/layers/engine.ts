/**
 * An engine that costs next to nothing, written against the public contract as a third party would: it hands out deliveries
 * that were made beforehand and forgets their settlements. So the worker is the one of production, claims, decoding, leases
 * and settlements included, and what is measured is not an engine. Everything that is said twice ends the process.
 */
import { Effect, Layer } from "effect"
import { Backend, type Delivery, type Shape } from "windlass/Backend"
import { payloads } from "./contender.ts"

/** more than run at once, so that no job is out twice at the same time */
const ring = (task: string, headers: Readonly<Record<string, string>>): ReadonlyArray<Delivery> =>
  payloads.map((payload, i) => ({
    envelope: {
      id: `0190b5a0-0000-7000-8000-${String(i).padStart(12, "0")}`,
      task,
      version: 1,
      payload: JSON.stringify(payload),
      headers,
      origin: "user"
    },
    receipt: { id: `0190b5a0-0000-7000-8000-${String(i).padStart(12, "0")}`, fence: i },
    queue: "default",
    attempt: 1,
    unsettled: 0,
    lostFrom: undefined,
    enqueuedAt: Date.now(),
    scheduledFor: undefined,
    firstFailedAt: undefined,
    priority: 0,
    group: undefined,
    abortRequested: false,
    keepsResult: false
  }))

const unbounded = 1_000_000

/** so many jobs of one task, and then none; a worker in drain mode ends when all are settled as succeeded */
export const engine = (
  task: string,
  jobs: number,
  headers: Readonly<Record<string, string>> = {}
): Layer.Layer<Backend> => {
  const deliveries = ring(task, headers)
  let next = 0
  const take = (max: number) => {
    const count = Math.min(max, jobs - next, deliveries.length)
    const taken = new Array<Delivery>(count)
    for (let n = 0; n < count; n++) taken[n] = deliveries[next++ % deliveries.length]!
    return taken
  }
  const settle: Shape["subscribe"] extends (...args: any) => Effect.Effect<infer S, any, any>
    ? S extends { readonly settle: infer F } ? F : never
    : never = (items) =>
      Effect.succeed(items.map(([receipt, settlement]) => {
        if (settlement._tag !== "Complete" || settlement.how !== "succeeded") {
          throw new Error(`job ${receipt.id} ended otherwise: ${JSON.stringify(settlement)}`)
        }
        return "Settled" as const
      }))
  return Layer.succeed(Backend, {
    name: "nothing",
    limits: {
      payloadBytes: unbounded,
      delayMillis: unbounded,
      publishBatch: unbounded,
      takeBatch: unbounded,
      settleBatch: unbounded
    },
    fence: "strict",
    declare: () => Effect.void,
    publish: () => Effect.die("nothing is published here"),
    subscribe: () =>
      Effect.succeed({
        lease: {
          _tag: "Timed",
          millis: 30_000,
          extend: (receipts) => Effect.succeed(receipts.map(() => "Held" as const))
        },
        take: (max) => Effect.sync(() => take(max)),
        settle,
        exchange: (items, max) => Effect.map(settle(items), (settled) => [settled, take(max)] as const),
        await: () => Effect.never,
        pollMillis: undefined,
        aborts: undefined
      }),
    ping: Effect.void
  })
}
