/**
 * Memory, in a process of its own: bytes of the heap that a waiting job takes in the memory engine, and what is left on the heap
 * when jobs were processed, which should be nothing. Prints a line of JSON. Needs `--expose-gc`.
 */
import { Context, Effect, Fiber, Layer, Logger, ManagedRuntime, Schedule } from "effect"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import * as Timing from "windlass/middleware/Timing"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { payloadSchema } from "./app.ts"
import { payloads } from "./contender.ts"

export interface Found {
  /** bytes of the heap per waiting job */
  readonly waiting: number
  /** of them, the text of its payload */
  readonly payload: number
  /** bytes of the heap after each stretch of processed jobs, empty queue, above the first */
  readonly after: ReadonlyArray<number>
  readonly stretch: number
}

const { stretch, stretches, waiting } = JSON.parse(process.argv[2]!) as {
  readonly waiting: number
  readonly stretch: number
  readonly stretches: number
}

const heap = () => {
  for (let n = 0; n < 4; n++) globalThis.gc!()
  return process.memoryUsage().heapUsed
}

interface Value {
  readonly n: number
}
const Held = Context.Service<Value, Value>("bench/Value")
const Holding = Middleware.Service<unknown, { provides: Value }>()("bench/Provider")

const Bench = Task.make("Bench", {
  payload: payloadSchema,
  middleware: [
    Holding,
    Middleware.make("hooks", Middleware.hooks({ before: () => Effect.succeed(1), after: () => Effect.void }))
  ],
  retry: Schedule.recurs(3)
})

/** every tenth job fails the first time */
let open = 0
let handled = 0
let arrived = () => {}
const HoldingLive = Layer.succeed(
  Holding,
  Middleware.hooks({
    provides: Held,
    before: () => Effect.acquireRelease(Effect.sync(() => ({ n: ++open })), () => Effect.sync(() => void open--))
  })
)
const live = Bench.toLayer((payload) =>
  Effect.flatMap(Job.Current, (job) => {
    if (job.attempt === 1 && payload.i % 10 === 0) return Effect.die(new Error("the first time"))
    handled++
    arrived()
    return Effect.as(Held, undefined)
  })
) as Layer.Layer<Task.Handler<"Bench">, never, unknown>

const runtime = ManagedRuntime.make(Layer.merge(MemoryBackend.layer, Logger.layer([])))
await runtime.context()
// a thousand at a time, so that none is twice in the queue
const enqueue = async (count: number) => {
  for (let n = 0; n < count; n += payloads.length) await runtime.runPromise(Bench.enqueueMany(payloads))
}

/** waits until so many were handled, and the worker has settled them: it then waits for work */
const processed = async (count: number) => {
  for (let n = 0; n < count; n += payloads.length) {
    const target = handled + payloads.length
    const all = new Promise<void>((resolve) => arrived = () => handled === target ? resolve() : undefined)
    await enqueue(payloads.length)
    await all
  }
  await new Promise((resolve) => setTimeout(resolve, 50))
}

// once, for what is compiled and made on first use
await enqueue(payloads.length)
const empty = heap()
await enqueue(waiting)
const bytes = (heap() - empty) / waiting

const fiber = runtime.runFork(Worker.launch(
  Worker.layer(TaskGroup.make(Bench), {
    concurrency: 50,
    middleware: [Timing.observer({ onTiming: () => undefined })]
  }).pipe(Layer.provide(live), Layer.provide(HoldingLive as Layer.Layer<never>)) as Layer.Layer<
    Worker.Worker,
    never,
    MemoryBackend.Services
  >
))
while (handled < waiting + payloads.length) await new Promise((resolve) => setTimeout(resolve, 20))
await processed(stretch)
const first = heap()
const after: Array<number> = []
for (let n = 0; n < stretches; n++) {
  await processed(stretch)
  after.push(heap() - first)
}
await Effect.runPromise(Fiber.interrupt(fiber))
if (open !== 0) throw new Error(`${open} resources are open`)
const found: Found = {
  waiting: bytes,
  payload: payloads.reduce((sum, payload) => sum + JSON.stringify(payload).length, 0) / payloads.length,
  after,
  stretch
}
process.stdout.write(`${JSON.stringify(found)}\n`)
process.exit(0)
