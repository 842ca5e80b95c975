/**
 * `npm run bench:latency`: how long an idle worker takes to begin a job that another process enqueues, on every engine
 * that answers here. From just before the enqueue until the handler's first step, so the enqueue's own round trip is
 * in it. The queue is empty and the worker waits before every one.
 *
 * The memory engine has one process only: there the worker is in the producer's.
 */
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Deferred, Effect, Fiber, Layer, Logger, Redacted, Schema } from "effect"
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Backend } from "windlass/Backend"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as PostgresBackend from "windlass/backends/PostgresBackend"
import * as RedisBackend from "windlass/backends/RedisBackend"
import * as SqliteBackend from "windlass/backends/SqliteBackend"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"

const samples = Number(process.env["BENCH_SAMPLES"] ?? 500)
/** milliseconds that the worker has been idle for before each */
const idle = Number(process.env["BENCH_IDLE"] ?? 3)

class Ping extends Task.make("Ping", { payload: { n: Schema.Number } }) {}

/** milliseconds, the same clock in every process of a machine */
const now = () => performance.timeOrigin + performance.now()

const run = `bench_${process.env["BENCH_RUN"] ?? process.pid}`
const engines: Record<string, (place: string) => Layer.Layer<Backend, unknown>> = {
  sqlite: (place) => SqliteBackend.layer({ filename: join(place, "queue.db") }),
  postgres: () =>
    PostgresBackend.layer({ schema: run }).pipe(
      Layer.provide(
        PgClient.layer({ url: Redacted.make(process.env["PGURL"] ?? "postgres://postgres@127.0.0.1:5432/test") })
      )
    ),
  redis: () =>
    RedisBackend.layer({ prefix: run }).pipe(
      Layer.provide(NodeRedis.layer({ url: process.env["REDIS_URL"] ?? "redis://127.0.0.1:6379" }))
    )
}

const worker = (onRun: (n: number, at: number) => void) =>
  Worker.layer(TaskGroup.make(Ping), { concurrency: 10 }).pipe(
    Layer.provide(Ping.toLayer(({ n }) => Effect.sync(() => onRun(n, now()))))
  )

const percentile = (values: ReadonlyArray<number>, share: number) =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))]!

const arrivals = new Map<number, (at: number) => void>()
const arrived = (n: number, at: number) => arrivals.get(n)?.(at)

const produce = Effect.gen(function*() {
  const latencies: Array<number> = []
  for (let n = 0; n < samples + 20; n++) {
    yield* Effect.sleep(idle)
    const began = Deferred.makeUnsafe<number>()
    arrivals.set(n, (at) => Deferred.doneUnsafe(began, Effect.succeed(at)))
    const start = now()
    yield* Ping.enqueue({ n })
    latencies.push((yield* Deferred.await(began)) - start)
  }
  // the first ones compile code
  return latencies.slice(20)
})

const quiet = Effect.provide(Logger.layer([]))

const inOneProcess = produce.pipe(
  (program) =>
    Effect.scoped(Effect.gen(function*() {
      const fiber = yield* Effect.forkScoped(Worker.launch(worker(arrived)))
      const latencies = yield* program
      yield* Fiber.interrupt(fiber)
      return latencies
    })),
  Effect.provide(MemoryBackend.layer)
)

const inTwo = (engine: string, place: string) =>
  Effect.gen(function*() {
    const child: ChildProcess = yield* Effect.promise(async () => {
      const child = fork(import.meta.filename, [engine, place], {
        execArgv: process.execArgv,
        env: { ...process.env, BENCH_RUN: String(process.pid) }
      })
      await once(child, "message")
      return child
    })
    child.on("message", ([n, at]: [number, number]) => arrived(n, at))
    const latencies = yield* produce
    child.kill()
    yield* Effect.promise(() => once(child, "exit"))
    return latencies
  }).pipe(Effect.provide(engines[engine]!(place)))

const [engine, place] = process.argv.slice(2)
if (engine !== undefined && place !== undefined) {
  process.once("SIGTERM", () => process.exit(0))
  await Effect.runPromise(
    Effect.gen(function*() {
      const it = yield* Worker.Worker
      process.send!("ready")
      return yield* it.await
    }).pipe(
      Effect.provide(worker((n, at) => process.send!([n, at])).pipe(Layer.provide(engines[engine]!(place)))),
      quiet
    )
  )
} else {
  const folder = mkdtempSync(join(tmpdir(), "windlass-latency-"))
  const rows: Record<string, object> = {}
  const row = (latencies: ReadonlyArray<number>) =>
    Object.fromEntries(
      ([["p50", 0.5], ["p95", 0.95], ["p99", 0.99]] as const).map(([name, share]) => [
        `${name} (ms)`,
        Number(percentile(latencies, share).toFixed(3))
      ])
    )
  rows["memory"] = row(await Effect.runPromise(quiet(inOneProcess)))
  for (const name of Object.keys(engines)) {
    rows[name] = row(await Effect.runPromise(quiet(inTwo(name, folder))))
  }
  console.log(`${samples} jobs, one at a time, each after ${idle} ms of nothing; Node ${process.version}`)
  console.table(rows)
  rmSync(folder, { recursive: true })
}
