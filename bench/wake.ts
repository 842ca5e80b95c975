/**
 * `npm run bench:wake`: how long an idle worker takes to begin a job that another process enqueues, on every engine that
 * answers here. *stored* is from the moment at which the enqueue has returned (the job is durable) to the handler's first
 * step: the wake-up. *asked* is from just before the enqueue, so its round trip and its commit are in it as well. The queue
 * is empty and the worker waits before every one.
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
import { tidy } from "./tidy.ts"

const samples = Number(process.env["BENCH_SAMPLES"] ?? 500)
/** milliseconds that the worker has been idle for before each */
const idle = Number(process.env["BENCH_IDLE"] ?? 3)

class Ping extends Task.make("Ping", { payload: { n: Schema.Number } }) {}

/** milliseconds, the same clock in every process of a machine */
const now = () => performance.timeOrigin + performance.now()

const postgres = process.env["WINDLASS_POSTGRES_URL"] ?? "postgres://postgres@127.0.0.1:5432/postgres"
const redis = process.env["WINDLASS_REDIS_URL"] ?? "redis://127.0.0.1:6379"
const run = `bench_${process.env["BENCH_RUN"] ?? process.pid}`
const engines: Record<string, (place: string) => Layer.Layer<Backend, unknown>> = {
  sqlite: (place) => SqliteBackend.layer({ filename: join(place, "queue.db") }),
  postgres: () =>
    PostgresBackend.layer({ schema: run }).pipe(
      Layer.provide(
        PgClient.layer({ url: Redacted.make(postgres) })
      )
    ),
  redis: () =>
    RedisBackend.layer({ prefix: run }).pipe(
      Layer.provide(NodeRedis.layer({ url: redis }))
    )
}

const worker = (onRun: (n: number, at: number) => void) =>
  Worker.layer(TaskGroup.make(Ping), { concurrency: 10 }).pipe(
    Layer.provide(Ping.toLayer(({ n }) => Effect.sync(() => onRun(n, now()))))
  )

const percentile = (values: ReadonlyArray<number>, share: number) =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))]!

/** milliseconds */
interface Latency {
  readonly asked: number
  readonly stored: number
}

const arrivals = new Map<number, (at: number) => void>()
const arrived = (n: number, at: number) => arrivals.get(n)?.(at)

const produce = Effect.gen(function*() {
  const latencies: Array<Latency> = []
  for (let n = 0; n < samples + 20; n++) {
    yield* Effect.sleep(idle)
    const began = Deferred.makeUnsafe<number>()
    arrivals.set(n, (at) => Deferred.doneUnsafe(began, Effect.succeed(at)))
    const start = now()
    yield* Ping.enqueue({ n })
    const stored = now()
    const at = yield* Deferred.await(began)
    // it may have begun before the producer heard that it is stored
    latencies.push({ asked: at - start, stored: Math.max(0, at - stored) })
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
  const row = (latencies: ReadonlyArray<Latency>) =>
    Object.fromEntries(
      (["stored", "asked"] as const).flatMap((from) =>
        ([["p50", 0.5], ["p95", 0.95], ["p99", 0.99]] as const).map(([name, share]) => [
          `${from} ${name}`,
          Number(percentile(latencies.map((one) => one[from]), share).toFixed(3))
        ])
      )
    )
  rows["memory"] = row(await Effect.runPromise(quiet(inOneProcess)))
  for (const name of Object.keys(engines)) {
    const exit = await Effect.runPromiseExit(quiet(inTwo(name, folder)))
    if (exit._tag === "Success") rows[name] = row(exit.value)
    else console.log(`${name}: nobody answers, left out`)
  }
  console.log(`${samples} jobs, one at a time, each after ${idle} ms of nothing; milliseconds; Node ${process.version}`)
  console.table(rows)
  rmSync(folder, { recursive: true })
  await tidy({ postgres: "postgres" in rows, redis: "redis" in rows }, { postgres, redis: new URL(redis), prefix: run })
}
