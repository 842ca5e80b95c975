/**
 * 12: handlers in processes of their own. A user's pattern goes through more ways to match than there is time; its process
 * is killed, and the other searches, the worker and its leases do not notice.
 */
import { Console, Effect, Fiber, Layer, References } from "effect"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Isolated from "windlass/isolation/Isolated"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { Search } from "./tasks.ts"

const SearchLive = Isolated.toLayer(Search, {
  module: new URL("./search.isolate.ts", import.meta.url),
  pool: 2,
  memory: "128 MiB",
  // from the time-out of the task to the kill: a loop would not hear a polite word anyway
  grace: "100 millis"
})

const search = (pattern: string, text: string) =>
  Search.execute({ pattern, text }).pipe(
    Effect.map((found) => found === null ? "nothing" : `found ${found}`),
    Effect.catchTags({
      BadPattern: ({ reason }) => Effect.succeed(reason),
      "windlass/Dead": ({ detail, reason }) => Effect.succeed(`given up (${reason}): ${detail}`)
    })
  )

const program = Effect.gen(function*() {
  const evil = yield* Effect.forkChild(search("^(a+)+$", `${"a".repeat(50)}!`))
  yield* Console.log(`a number: ${yield* search("\\d+", "order 66")}`)
  yield* Console.log(`a letter: ${yield* search("[a-z]", "12345")}`)
  yield* Console.log(`no pattern: ${yield* search("(", "")}`)
  yield* Console.log(`for ever: ${yield* Fiber.join(evil)}`)
  yield* Console.log(`and after that: ${yield* search("o+", "moon")}`)
})

await Effect.runPromise(program.pipe(
  Effect.provide(
    Worker.layer(TaskGroup.make(Search), { concurrency: 2 }).pipe(
      Layer.provide(SearchLive),
      Layer.provideMerge(MemoryBackend.layer)
    )
  ),
  Effect.provideService(References.MinimumLogLevel, "Fatal")
))
