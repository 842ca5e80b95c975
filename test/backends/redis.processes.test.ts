/**
 * The Redis backend among processes: wake-ups, and `kill -9` of workers at any moment.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import { Backend } from "windlass/Backend"
import * as Capability from "windlass/Capability"
import { type Child, start } from "./redis/process.ts"
import { backend, freshPrefix, keysOf } from "./redis/server.ts"

const quiet = Layer.succeed(References.MinimumLogLevel, "Error" as const)
const wordsOf = (children: ReadonlyArray<Child>, begin: string) =>
  children.flatMap(({ lines }) =>
    lines.filter((line) => line.startsWith(begin)).flatMap((line) => line.split(" ").slice(1))
  )
    .filter((word) => word !== "")

describe("redis among processes", () => {
  it.live("an idle worker is woken by another process's publish, not by its poll", () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      yield* Effect.gen(function*() {
        const queue = yield* Backend
        const subscription = yield* queue.subscribe("q", { worker: "w" })
        const child = yield* start("ping", prefix, "j")
        yield* child.line("begin")
        const rounds = 60
        const latencies: Array<number> = []
        for (let round = 0; round < rounds; round++) {
          yield* subscription.take(1)
          const woken = yield* Effect.forkChild(
            Effect.gen(function*() {
              for (;;) {
                const deliveries = yield* subscription.take(1)
                if (deliveries.length > 0) return { at: process.hrtime.bigint(), deliveries }
                yield* subscription.await(1)
              }
            }),
            { startImmediately: true }
          )
          // long enough for it to wait
          yield* Effect.sleep(5)
          yield* child.order
          const published = BigInt((yield* child.line("published", round + 1)).split(" ")[1]!)
          const { at, deliveries } = yield* Fiber.join(woken)
          latencies.push(Number(at - published) / 1e6)
          yield* subscription.settle(deliveries.map(({ receipt }) => [
            receipt,
            { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }
          ]))
        }
        const sorted = latencies.toSorted((a, b) => a - b)
        const median = sorted[rounds / 2]!
        if (process.env["WINDLASS_MEASURE"] !== undefined) {
          process.stdout.write(`publish to delivery, ms: p50 ${median.toFixed(2)}, p95 ${sorted[56]!.toFixed(2)}\n`)
        }
        // the poll would need ten seconds
        assert.isBelow(median, 250)
      }).pipe(Effect.scoped, Effect.provide(backend({ prefix, pollInterval: "10 seconds" }).pipe(Layer.provide(quiet))))
    }), 30_000)

  it.live(
    "L16 L13 jobs of three publishers through workers that are killed over and over: each is done, once",
    () =>
      Effect.gen(function*() {
        const prefix = freshPrefix()
        const [publishers, each] = [3, 400]
        yield* Effect.gen(function*() {
          const inspect = yield* Capability.Inspect
          const steady = [yield* start("work", prefix, "steady-1"), yield* start("work", prefix, "steady-2")]
          const producing = yield* Effect.forEach(
            Array.from({ length: publishers }, (_, n) => n),
            (n) => start("publish", prefix, `p${n}`, String(each), "20")
          )
          const killed: Array<Child> = []
          for (let round = 0; round < 4; round++) {
            const worker = yield* start("work", prefix, `victim-${round}`)
            killed.push(worker)
            // in the middle of a batch, if there is one
            yield* Effect.race(worker.line("run", 2), Effect.sleep(1_500)).pipe(Effect.ignore)
            yield* worker.kill
          }
          yield* Effect.forEach(producing, (child) => child.line("end"))
          const left = Effect.map(inspect.counts("q"), ({ active, ready, scheduled }) => active + ready + scheduled)
          while ((yield* left) > 0) yield* Effect.sleep(50)
          // the last answers are written after the server has them
          const workers = [...steady, ...killed]
          const ran = new Set(wordsOf(workers, "run"))
          const done = wordsOf(workers, "done")
          assert.strictEqual(ran.size, publishers * each)
          assert.strictEqual(new Set(done).size, done.length, "done twice")
          // what a killed worker settled and could not tell: a batch each
          assert.isAtLeast(done.length, publishers * each - 10 * (killed.length + steady.length))
          yield* Effect.forEach(steady, (child) => child.kill)
          assert.deepStrictEqual(yield* keysOf(prefix), [`{${prefix}:q}:meta`, `{${prefix}}:queues`])
        }).pipe(Effect.scoped, Effect.provide(backend({ prefix }).pipe(Layer.provide(quiet))))
      }),
    60_000
  )
})
