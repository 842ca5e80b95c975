/**
 * 13: jobs that come after other jobs. A release is built, tested and linted, and published when both have gone well; the
 * machine is cleaned whatever happened. The linter fails for good: what comes after it waits with the dead letter, and goes
 * on when that is redriven.
 */
import { Console, Effect, Layer, References, Schema, Stream } from "effect"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Capability from "windlass/Capability"
import * as Graph from "windlass/Graph"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"

class LintFailed extends Schema.TaggedError<LintFailed>()("LintFailed", { warnings: Schema.Number }) {}

const ref = { ref: Schema.String }
class Build extends Task.make("Build", { payload: ref }) {}
class Test extends Task.make("Test", { payload: ref }) {}
class Lint extends Task.make("Lint", { payload: ref, error: LintFailed }) {}
class Publish extends Task.make("Publish", { payload: ref }) {}
class Clean extends Task.make("Clean", { payload: ref }) {}

const release = (ref: string) =>
  Graph.make({
    build: { enqueue: Build.enqueue({ ref }) },
    test: { enqueue: Test.enqueue({ ref }), after: ["build"] },
    lint: { enqueue: Lint.enqueue({ ref }), after: ["build"] },
    publish: { enqueue: Publish.enqueue({ ref }), after: ["test", "lint"] },
    clean: { enqueue: Clean.enqueue({ ref }), after: ["test", "lint"], when: "ended" }
  })

let warnings = 3
const say = (what: string) => ({ ref }: { readonly ref: string }) => Console.log(`${what} ${ref}`)
const HandlersLive = Layer.mergeAll(
  Build.toLayer(say("build")),
  Test.toLayer(say("test")),
  Lint.toLayer(({ ref }) =>
    warnings === 0
      ? Console.log(`lint ${ref}`)
      : Effect.andThen(Console.log(`lint ${ref}: ${warnings} warnings`), Effect.fail(new LintFailed({ warnings })))
  ),
  Publish.toLayer(say("publish")),
  Clean.toLayer(say("clean"))
)

/** a worker that ends when nothing is left to do */
const work = Worker.launch(
  Worker.layer(TaskGroup.make(Build, Test, Lint, Publish, Clean), { mode: "drain", concurrency: 1 }).pipe(
    Layer.provide(HandlersLive)
  )
)

const program = Effect.gen(function*() {
  const id = yield* Graph.enqueue(release("v1.0"), { id: "release-v1.0" })
  yield* Console.log(`enqueued ${id}`)
  yield* work

  const deadLetter = yield* Capability.DeadLetter
  for (const job of yield* Stream.runCollect(deadLetter.list("default"))) {
    yield* Console.log(`dead: ${job.envelope.id}`)
  }
  yield* Console.log("the warnings are mended")
  warnings = 0
  yield* deadLetter.redrive("default")
  yield* work

  // one after the other, without names
  yield* Graph.enqueue(Graph.chain(Build.enqueue({ ref: "v1.1" }), Publish.enqueue({ ref: "v1.1" })))
  yield* work
})

await Effect.runPromise(program.pipe(
  Effect.provide(MemoryBackend.layer),
  Effect.provideService(References.MinimumLogLevel, "Fatal")
))
