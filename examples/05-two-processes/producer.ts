/** Enqueues forty greetings and ends. A job is on the disk when its enqueue returns; no worker needs to be there. */
import { Console, Effect } from "effect"
import { Greet, QueueLive } from "./tasks.ts"

const program = Effect.gen(function*() {
  const names = Array.from({ length: 40 }, (_, i) => `guest ${i + 1}`)
  const ids = yield* Greet.enqueueMany(names.map((name) => ({ name })))
  yield* Console.log(`enqueued ${ids.length}`)
})

await Effect.runPromise(Effect.provide(program, QueueLive))
