import { Context, Effect, Layer, Schema } from "effect"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
class T extends Context.Service<T, { readonly id: string }>()("t/T") {}
class P extends Middleware.Service<P, { provides: T }>()("t/P") {}
let n = 0
class Bare extends Task.make("Bare", { payload: { to: Schema.String, n: Schema.Number } }) {}
class Three extends Task.make("Three", {
  payload: { to: Schema.String, n: Schema.Number },
  middleware: [P, Middleware.make("pass", (next, i) => next(i))]
}) {}
const N = 100_000
const go = (name: string, task: any, layer: any) =>
  Effect.gen(function*() {
    const items = Array.from({ length: N }, (_, i) => ({ to: "a@b", n: i }))
    const t0 = performance.now()
    for (let i = 0; i < N; i += 1000) yield* task.enqueueMany(items.slice(i, i + 1000))
    const t1 = performance.now()
    n = 0
    const report: Worker.Report = yield* (Worker.launch(
      Worker.layer(TaskGroup.make(task), {
        concurrency: 50,
        mode: "drain",
        middleware: name === "three"
          ? [Middleware.observe({
            name: "t",
            before: () => performance.now(),
            after: (_o, b) => {
              n += b * 0
            }
          })]
          : []
      }).pipe(Layer.provide(layer))
    ) as any)
    const t2 = performance.now()
    console.log(
      name,
      "enqueue/s",
      Math.round(N / (t1 - t0) * 1000),
      "process/s",
      Math.round(N / (t2 - t1) * 1000),
      n,
      report.succeeded
    )
  }).pipe(Effect.provide(MemoryBackend.layer)) as Effect.Effect<void>
await Effect.runPromise(Effect.gen(function*() {
  for (let i = 0; i < 3; i++) {
    yield* go(
      "bare",
      Bare,
      Bare.toLayer(() =>
        Effect.sync(() => {
          n++
        })
      )
    )
    yield* go(
      "three",
      Three,
      Three.toLayer(() =>
        Effect.map(T, () => {
          n++
        })
      ).pipe(
        Layer.provide(
          Layer.succeed(
            P,
            (next, i) =>
              Effect.acquireUseRelease(
                Effect.succeed({ id: "1" }),
                (t) => Effect.provideService(next(i), T, t),
                () => Effect.void
              )
          )
        )
      )
    )
  }
}))
