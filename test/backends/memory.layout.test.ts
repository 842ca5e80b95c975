/** Jobs that wait in memory keep the layout that V8 gave them, through a claim, a settlement and what is kept of it. */
import { assert, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"

const program = `
  import * as Effect from "effect/Effect"
  import * as Fiber from "effect/Fiber"
  import * as Schema from "effect/Schema"
  import * as Layer from "effect/Layer"
  import * as MemoryBackend from "windlass/backends/MemoryBackend"
  import * as Task from "windlass/Task"
  import * as TaskGroup from "windlass/TaskGroup"
  import * as Worker from "windlass/Worker"

  let runs = 0
  const Note = Task.make("Note", { payload: { i: Schema.Number } })
  const worker = Worker.layer(TaskGroup.make(Note), { mode: "drain", concurrency: 10 }).pipe(
    Layer.provide(Note.toLayer(({ i }) => i % 2 === 0 ? Effect.sync(() => runs++) : Effect.die("odd")))
  )
  await Effect.runPromise(Effect.gen(function*() {
    yield* Note.enqueueMany(Array.from({ length: 100 }, (_, i) => ({ i })))
    // of these the results are kept
    const asked = Array.from({ length: 100 }, (_, i) => Effect.exit(Note.execute({ i })))
    const asking = yield* Effect.forkChild(Effect.all(asked, { concurrency: "unbounded" }), { startImmediately: true })
    yield* Worker.launch(worker)
    yield* Fiber.join(asking)
  }).pipe(Effect.provide(MemoryBackend.layer)))
  console.log("handled " + runs)
`

it("no job is laid out anew when it is claimed or ends", async () => {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--trace-migration", "--conditions=windlass-source", "--input-type=module", "--eval", program],
    { cwd: join(import.meta.dirname, "../.."), maxBuffer: 1 << 24 }
  )
  assert.include(stdout, "handled 100")
  const jobs = stdout.split("\n").filter((line) => /^\[migrating\].*(leaseEnd|time|resultUntil|finishedAt)/.test(line))
  assert.deepStrictEqual(jobs, [])
})
