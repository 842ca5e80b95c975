/**
 * 04: a scoped resource as middleware.
 *
 * Two middlewares around every job: a connection from a pool, and inside of it a transaction on that connection, which
 * commits when the run succeeds and rolls back when it does not. The output shows the order on a success, a failure, a
 * defect and an abort while the handler runs: what was acquired is always released, the last first, and before the job is
 * settled.
 *
 *     node --conditions=windlass-source examples/04-scoped-resource/main.ts
 */
import { Console, Context, Deferred, Effect, Exit, Fiber, Layer, References, Schema } from "effect"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Capability from "windlass/Capability"
import * as Enqueue from "windlass/Enqueue"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"

class Connection extends Context.Service<Connection, { readonly query: (sql: string) => Effect.Effect<void> }>()(
  "example/Connection"
) {}

// it provides what the next one requires: the list reads from the outside in, and the other order does not compile
class WithConnection extends Middleware.Service<WithConnection, { provides: Connection }>()("example/WithConnection") {}
class InTransaction extends Middleware.Service<InTransaction, { requires: Connection }>()("example/InTransaction") {}

class Conflict extends Schema.TaggedError<Conflict>()("Conflict", {}) {}

class Import extends Task.make("Import", {
  payload: { file: Schema.String },
  error: Conflict,
  middleware: [WithConnection, InTransaction]
}) {}

/** A wrap gets `next`, which runs all that stands inside. What it acquires lives as long as its own run. */
const WithConnectionLive = Layer.succeed(WithConnection, (next, input) =>
  Effect.gen(function*() {
    yield* Effect.acquireRelease(
      Console.log("  open connection"),
      () => Console.log("  close connection")
    )
    return yield* Effect.provideService(next(input), Connection, { query: (sql) => Console.log(`    ${sql}`) })
  }))

/** The release is told how the run ended. */
const InTransactionLive = Layer.succeed(InTransaction, (next, input) =>
  Effect.gen(function*() {
    const connection = yield* Connection
    yield* Effect.acquireRelease(
      connection.query("begin"),
      (_, exit) => connection.query(Exit.isSuccess(exit) ? "commit" : "rollback")
    )
    return yield* next(input)
  }))

/** opened when the handler of `endless.csv` is at work */
const importing = Deferred.makeUnsafe<void>()

const ImportLive = Import.toLayer(Effect.fnUntraced(function*({ file }) {
  const { query } = yield* Connection
  yield* query(`  insert ${file}`)
  if (file === "conflict.csv") return yield* new Conflict()
  if (file === "broken.csv") return yield* Effect.die(new Error("a bug"))
  if (file === "endless.csv") {
    yield* Deferred.succeed(importing, undefined)
    return yield* Effect.never
  }
}))

const show = <R>(file: string, end: Effect.Effect<string, never, R>) =>
  Effect.andThen(Console.log(file), Effect.flatMap(end, (line) => Console.log(`  => ${line}`)))

/** the tag of what `execute` failed with */
const endOf = (file: string) =>
  Effect.match(Import.execute({ file }).pipe(Enqueue.id(file)), {
    onSuccess: () => "succeeded",
    onFailure: (error) => error._tag
  })

const program = Effect.gen(function*() {
  for (const file of ["good.csv", "conflict.csv", "broken.csv"]) yield* show(file, endOf(file))

  yield* show(
    "endless.csv",
    Effect.gen(function*() {
      const cancel = yield* Capability.Cancel
      const end = yield* Effect.forkChild(endOf("endless.csv"))
      yield* Deferred.await(importing)
      // the handler's body is interrupted, and nothing else: the middlewares unwind in peace
      yield* Effect.orDie(cancel.request("endless.csv"))
      return yield* Fiber.join(end)
    })
  )
})

await Effect.runPromise(program.pipe(
  Effect.provide(
    Worker.layer(TaskGroup.make(Import)).pipe(
      Layer.provide(ImportLive),
      Layer.provide([WithConnectionLive, InTransactionLive]),
      Layer.provideMerge(MemoryBackend.layer)
    )
  ),
  Effect.provideService(References.MinimumLogLevel, "Fatal")
))
