/**
 * A worker with two processes. `node parent.ts spin`: one job runs in an endless loop; `node parent.ts hold`: one job runs
 * until this process reads a line. Prints `busy PID` once the job runs, and what becomes of each.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { once } from "node:events"
import type { Backend } from "windlass/Backend"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Capability from "windlass/Capability"
import * as Isolated from "windlass/isolation/Isolated"
import * as Middleware from "windlass/Middleware"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { Again, Odd, Quick } from "./tasks.ts"

const what = process.argv[2] === "spin" ? "spin" : "hold"

/** the job reports its process, and then waits for an answer that comes when this process is told to give it */
const told = Layer.effect(
  Capability.Inspect,
  Effect.map(Effect.context<Backend | Capability.Inspect | Capability.Results>(), (context) => {
    const inspect = Context.get(context, Capability.Inspect)
    return {
      ...inspect,
      progress: (receipt: Parameters<typeof inspect.progress>[0], value: string) =>
        Effect.gen(function*() {
          if (value === "\"hold\"") yield* Effect.promise(() => once(process.stdin, "data"))
          else {
            // the second process is there, and idle
            yield* Effect.orDie(Effect.provideContext(Quick.execute({ n: 0 }), context))
            process.stdout.write(`busy ${value}\n`)
          }
          return yield* inspect.progress(receipt, value)
        })
    }
  })
)

const jobs = Layer.effectDiscard(Effect.andThen(Odd.enqueue({ what }), Effect.sync(() => process.stdin.unref())))

const report = Middleware.observe({
  name: "report",
  after: (outcome, _, { task }) => void process.stdout.write(`${task}: ${outcome._tag}\n`)
})

Worker.layer(TaskGroup.make(Odd, Again, Quick), { middleware: [report] }).pipe(
  Layer.merge(jobs),
  Layer.provide(Isolated.toLayer([Odd, Again, Quick], {
    module: new URL("./handlers.isolate.ts", import.meta.url),
    pool: 2,
    startTimeout: "1 minute"
  })),
  Layer.provide(Layer.provideMerge(told, MemoryBackend.layer)),
  Worker.run
)
