/**
 * `npm run bench`: enqueue and process figures of this machine, now. Each engine bare and with three middlewares (a
 * provider that holds a resource, a wrap, an observer), payloads decoded by their schema; and bare Effect running the
 * same handler, to see what the runtime adds. Rounds alternate; medians are printed. Machines are noisy: compare within
 * one run only.
 */
import { Context, Effect, Layer, Logger, Schema } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Backend } from "windlass/Backend"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as SqliteBackend from "windlass/backends/SqliteBackend"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"

const jobs = Number(process.env["BENCH_JOBS"] ?? 50_000)
const rounds = Number(process.env["BENCH_ROUNDS"] ?? 3)
const concurrency = 100

class Tenant extends Context.Service<Tenant, { readonly id: string }>()("bench/Tenant") {}
class Provide extends Middleware.Service<Provide, { provides: Tenant }>()("bench/Provide") {}
const payload = { to: Schema.String, n: Schema.Number }
class Bare extends Task.make("Bare", { payload }) {}
class Three extends Task.make("Three", {
  payload,
  middleware: [Provide, Middleware.make("pass", (next, input) => next(input))]
}) {}

let ran = 0
const handler = Effect.sync(() => {
  ran++
})
const timing = Middleware.observe({ name: "timing", before: () => performance.now(), after: () => {} })
const BareLive = Bare.toLayer(() => handler)
const ThreeLive = Three.toLayer(() => Effect.andThen(Tenant, handler)).pipe(
  Layer.provide(Layer.succeed(Provide, (next, input) =>
    Effect.acquireUseRelease(
      Effect.succeed({ id: "t" }),
      (tenant) => Effect.provideService(next(input), Tenant, tenant),
      () => Effect.void
    )))
)

interface Figures {
  readonly enqueue: number
  readonly process: number
}

const perSecond = (millis: number) => jobs / millis * 1000

const measure = <E>(
  enqueue: (items: ReadonlyArray<{ readonly to: string; readonly n: number }>) => Effect.Effect<unknown, E, Backend>,
  worker: Layer.Layer<Worker.Worker, unknown, Backend>
) =>
  Effect.gen(function*() {
    const items = Array.from({ length: jobs }, (_, n) => ({ to: "ann@example.org", n }))
    const start = performance.now()
    for (let i = 0; i < jobs; i += 1_000) yield* enqueue(items.slice(i, i + 1_000))
    const enqueued = performance.now()
    ran = 0
    const report = yield* Worker.launch(worker)
    const processed = performance.now()
    if (ran !== jobs || report.succeeded !== jobs) {
      return yield* Effect.die(new Error(`${ran} of ${jobs} jobs ran, ${report.succeeded} succeeded`))
    }
    return { enqueue: perSecond(enqueued - start), process: perSecond(processed - enqueued) }
  })

const sqlite = Layer.unwrap(Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "windlass-bench-"))),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  ),
  (folder) => SqliteBackend.layer({ filename: join(folder, "queue.db") })
))

const options = { concurrency, mode: "drain" } as const
const bare = measure(
  (items) => Bare.enqueueMany(items),
  Worker.layer(TaskGroup.make(Bare), options).pipe(Layer.provide(BareLive))
)
const three = measure(
  (items) => Three.enqueueMany(items),
  Worker.layer(TaskGroup.make(Three), { ...options, middleware: [timing] }).pipe(Layer.provide(ThreeLive))
)

const contenders: Record<string, Effect.Effect<Figures, unknown>> = {
  "memory, bare": bare.pipe(Effect.provide(MemoryBackend.layer)),
  "memory, three middlewares": three.pipe(Effect.provide(MemoryBackend.layer)),
  "sqlite, bare": bare.pipe(Effect.provide(sqlite)),
  "sqlite, three middlewares": three.pipe(Effect.provide(sqlite)),
  "bare Effect, runFork of the handler": Effect.sync(() => {
    const start = performance.now()
    for (let i = 0; i < jobs; i++) Effect.runFork(handler)
    return { enqueue: Number.NaN, process: perSecond(performance.now() - start) }
  })
}

const median = (figures: ReadonlyArray<number>) => figures.toSorted((a, b) => a - b)[Math.floor(figures.length / 2)]!
const show = (figure: number) => Number.isNaN(figure) ? "" : Math.round(figure).toLocaleString("en")

const program = Effect.gen(function*() {
  const seen = new Map<string, Array<Figures>>()
  for (let round = 0; round < rounds; round++) {
    for (const [name, run] of Object.entries(contenders)) {
      const figures = yield* run
      seen.set(name, [...seen.get(name) ?? [], figures])
    }
  }
  console.log(`${jobs} jobs, concurrency ${concurrency}, median of ${rounds} rounds, Node ${process.version}`)
  console.table(Object.fromEntries(Array.from(seen, ([name, figures]) => [name, {
    "enqueued/s": show(median(figures.map((f) => f.enqueue))),
    "processed/s": show(median(figures.map((f) => f.process)))
  }])))
})

await Effect.runPromise(program.pipe(Effect.provide(Logger.layer([]))))
