/**
 * A program that uses the published package and nothing else: pack.test.ts copies it into a scratch project, compiles it
 * there against the tarball's types and runs it. In the checkout it compiles against the sources.
 */
import * as Effect from "effect/Effect"
import { Backend } from "windlass/Backend"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Capability from "windlass/Capability"

const program = Effect.gen(function*() {
  const backend = yield* Backend
  yield* backend.declare("default")
  yield* backend.publish("default", [{
    envelope: { id: "1", task: "Greet", version: 1, payload: "\"world\"", headers: {}, origin: "user" }
  }])
  const subscription = yield* backend.subscribe("default", { worker: "w" })
  const [delivery] = yield* subscription.take(10)
  const settled = yield* subscription.settle([[
    delivery!.receipt,
    { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }
  ]])
  const counts = yield* Effect.flatMap(Capability.Inspect, (inspect) => inspect.counts("default"))
  return `${delivery!.envelope.task}: ${settled[0]}, ${counts.ready + counts.active} left`
})

const line = await Effect.runPromise(Effect.provide(Effect.scoped(program), MemoryBackend.layer))
process.stdout.write(`${line}\n`)
