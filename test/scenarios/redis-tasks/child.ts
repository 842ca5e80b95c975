/** A worker process that says what it does: `idle`, with a job that runs until it is interrupted, or with one that is stuck. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"

const what = process.argv[2]
const say = (line: string) => Effect.sync(() => void process.stdout.write(`${line}\n`))

class Work extends Task.make("Work") {}

const live = Work.toLayer(() => {
  const body = Effect.onInterrupt(Effect.andThen(say("runs"), Effect.never), () => say("interrupted"))
  return what === "stuck" ? Effect.uninterruptible(body) : body
})

Worker.run(
  Layer.effect(
    Worker.Worker,
    Effect.gen(function*() {
      const worker = Context.get(
        yield* Layer.build(Worker.layer(TaskGroup.make(Work), { shutdownGrace: "1 hour", stuckAfter: "1 hour" })),
        Worker.Worker
      )
      yield* Effect.addFinalizer(() => Effect.flatMap(worker.health, ({ running }) => say(`over, ${running} running`)))
      yield* what === "idle" ? say("idle") : Work.enqueue()
      const told = Effect.suspend((): Effect.Effect<void> =>
        Effect.flatMap(
          worker.health,
          ({ stopping }) => stopping ? say("stopping") : Effect.andThen(Effect.sleep(5), told)
        )
      )
      yield* Effect.forkScoped(told)
      return worker
    })
  ).pipe(Layer.provide(live), Layer.provide(MemoryBackend.layer))
)
