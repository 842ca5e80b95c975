/**
 * 07: the middleware guide of Procrastinate, in Windlass: middleware of a worker, of one task, and a worker that is
 * stopped by its middleware.
 *
 * | there | here |
 * | --- | --- |
 * | `middleware(process_task, context, worker)` | `Middleware.make(name, (next, payload, job) => ...)` |
 * | `await process_task()` | `yield* next(payload)` |
 * | `context.job` | `job` |
 * | `worker.stop()` | `job.worker.stop` |
 * | `app.run_worker(middleware=...)` | `Worker.layer(App, { middleware: [...] })` |
 * | `@app.task(middleware=...)`, of a sync task or an async one | `Task.make(name, { middleware: [...] })` or `Task.wrap` |
 *
 *     node --conditions=windlass-source examples/07-worker-middleware/main.ts
 */
import { Console, Effect, Layer, Option, References, Schema, Stream } from "effect"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Capability from "windlass/Capability"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"

// ------------------------------------------------------------------------------------------------ worker middleware

/** where the job stands in the queue, as anybody else would see it */
const stateOf = (id: string) =>
  Effect.gen(function*() {
    const inspect = yield* Capability.Inspect
    return Option.getOrUndefined(yield* Effect.orDie(inspect.get(id)))?.state
  })

// around every task of the worker. The job is claimed already, and its final state is written after the outermost
// middleware is over: it is `active` before and after, whatever it comes to
const custom = Middleware.make("custom", (next, payload, job) =>
  Effect.gen(function*() {
    yield* Console.log(`${job.task}: before, ${yield* stateOf(job.id)}`)
    const result = yield* next(payload)
    yield* Console.log(`${job.task}: after, ${yield* stateOf(job.id)}`)
    return result
  }))

// stops the worker once the jobs that it is running now are finished; the others stay in the queue
let left = 3
const three = Middleware.make("three", (next, payload, job) =>
  Effect.gen(function*() {
    left--
    if (left === 0) {
      yield* Console.log(`${job.task}: the third, so the worker stops after it`)
      yield* job.worker.stop
    }
    return yield* next(payload)
  }))

// -------------------------------------------------------------------------------------------------- task middleware

// a middleware is the same for a sync task and an async one: both are effects
const announce = Middleware.make(
  "announce",
  (next, payload, job) => Effect.andThen(Console.log(`  ${job.task}: at the beginning of the task`), next(payload))
)

class MySyncTask extends Task.make("my_sync_task", {
  payload: { n: Schema.Number },
  success: Schema.Number,
  middleware: [announce]
}) {}

// one that knows the task's types may change the result
class MyAsyncTask extends Task.make("my_async_task", { payload: { n: Schema.Number }, success: Schema.Number }) {}
const MyAsyncTaskDoubled = MyAsyncTask.wrap((next, payload) =>
  Effect.gen(function*() {
    const result = yield* next(payload)
    yield* Console.log(`  my_async_task: ${result} becomes ${2 * result}`)
    return 2 * result
  })
)

const App = TaskGroup.make(MySyncTask, MyAsyncTaskDoubled)
const AppLive = Layer.merge(
  MySyncTask.toLayer(({ n }) => Effect.as(Console.log(`  my_sync_task runs with ${n}`), n)),
  MyAsyncTaskDoubled.toLayer(({ n }) =>
    Effect.promise(async () => {
      await Promise.resolve()
      console.log(`  my_async_task runs with ${n}`)
      return n
    })
  )
)

// -------------------------------------------------------------------------------------------------------------- main

const worker = Worker.layer(App, { concurrency: 1, middleware: [custom, three] }).pipe(Layer.provide(AppLive))

const program = Effect.gen(function*() {
  for (const n of [1, 2]) {
    yield* MySyncTask.enqueue({ n })
    yield* MyAsyncTask.enqueue({ n })
  }
  const { claimed, succeeded } = yield* Worker.launch(worker)
  yield* Console.log(`the worker is over: ${claimed} claimed, ${succeeded} succeeded`)
  const inspect = yield* Capability.Inspect
  const jobs = yield* Stream.runCollect(inspect.list({ queue: "default" }))
  yield* Console.log(jobs.map(({ envelope, state }) => `${envelope.task} ${envelope.payload} is ${state}`).join("\n"))
})

await Effect.runPromise(program.pipe(
  Effect.provide(MemoryBackend.layer),
  Effect.provideService(References.MinimumLogLevel, "Fatal")
))
