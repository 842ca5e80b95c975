/**
 * effect-mq 0.7. A taker fiber claims one job per call and there is no batch to set (`RegisterOptions.concurrency` in its
 * Worker.ts); workers are woken by LISTEN or by pub/sub, polling is the fallback. Ended jobs are kept for ever unless `keep`
 * says otherwise (README, "History retention"). Removing them is faster in memory and slower in the other two stores, so
 * that is how it is set.
 */
import { NodeRedis } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Logger, ManagedRuntime, Redacted, Schema } from "effect"
import { Job, MemoryJobStore, Worker } from "effect-mq"
import * as tables from "effect-mq/drizzle-postgres"
import { RedisJobStore } from "effect-mq/redis"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import type { Contender, Engine, Payload, Place } from "../../contender.ts"

/** as `bench/lanes.ts`, by the Effect that this package is tested with */
const lanes = <A, E, R>(items: ReadonlyArray<A>, inFlight: number, f: (item: A) => Effect.Effect<unknown, E, R>) =>
  Effect.suspend(() => {
    let next = 0
    const lane = Effect.whileLoop({ while: () => next < items.length, body: () => f(items[next++]!), step: () => {} })
    const count = Math.min(inFlight, items.length)
    return Effect.all(Array.from({ length: count }, () => lane), { concurrency: "unbounded", discard: true })
  })

const payload = { i: Schema.Number, to: Schema.String, t: Schema.Number }

class Send extends Job.make("Send", { payload }) {}
class SendAndForget extends Job.make("Send", { payload, defaults: { keep: { count: 0 } } }) {}

const postgres = ({ name, postgres }: Place) => {
  const table = (what: string) => `${name}_${what}`
  const jobs = tables.mqJobs(table("jobs"))
  const store = tables.DrizzleJobStore.layer({
    jobs,
    attempts: tables.mqJobAttempts(jobs, table("attempts")),
    schedules: tables.mqSchedules(table("schedules")),
    queues: tables.mqQueueControl(table("queues")),
    dedupe: tables.mqDedupe(table("dedupe")),
    flowChildren: tables.mqFlowChildren(table("flow_children")),
    flowOutbox: tables.mqFlowOutbox(table("flow_outbox"))
  })
  const statements = readFileSync(join(import.meta.dirname, "tables.sql"), "utf8").replace(/^--.*\n/gm, "")
    .replaceAll("@", name).split(/;\s*\n/).filter((one) => one.trim() !== "")
  return Layer.unwrap(Effect.gen(function*() {
    const client = yield* PgClient.PgClient
    for (const statement of statements) yield* client.unsafe(statement)
    return store
  })).pipe(
    Layer.provide(PgClient.layer({ url: Redacted.make(postgres), maxConnections: 25 }))
  )
}

const stores: Partial<Record<Engine, (place: Place) => Layer.Layer<any, any>>> = {
  memory: () => MemoryJobStore.layer,
  postgres,
  redis: ({ name, redis }) =>
    RedisJobStore.layer({ prefix: name, indexes: false }).pipe(
      Layer.provide(NodeRedis.layer({ url: `redis://${redis.host}:${redis.port}` }))
    )
}

const settings: Partial<Record<Engine, string>> = {
  memory: "keep.count 0",
  postgres: "maxConnections 25",
  redis: "no list indexes"
}

export const contenders: ReadonlyArray<Contender> = Object.entries(stores).map(([engine, store]) => ({
  name: "effect-mq",
  engine: engine as Engine,
  settings: `${settings[engine as Engine]}; Effect 4.0.0-rc.111, which it is tested with and which compiles no schemas`,
  open: async (place) => {
    const runtime = ManagedRuntime.make(Layer.merge(store(place), Logger.layer([])))
    const job = engine === "memory" ? SendAndForget : Send
    await runtime.context()
    return {
      enqueueEach: (payloads, inFlight) =>
        runtime.runPromise(
          lanes(payloads, inFlight, (payload) => job.enqueue(payload))
        ),
      // chunks by itself
      enqueueMany: (payloads) => runtime.runPromise(job.enqueueMany(payloads)),
      work: async (concurrency, onJob) => {
        const worker = ManagedRuntime.make(
          job.toLayer((payload: Payload) => Effect.sync(() => onJob(payload)), { concurrency }).pipe(
            Layer.provide(Worker.layer()),
            Layer.provide(Layer.effectContext(Effect.promise(() => runtime.context())))
          )
        )
        await worker.context()
        return { stop: () => worker.dispose() }
      },
      close: () => runtime.dispose()
    }
  }
}))
