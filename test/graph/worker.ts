/**
 * `node worker.ts FILE`: works on the queue in the file, and prints `run NODE` and `done NODE`, each before it goes on. It is
 * killed over and over, so nothing is poison.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { writeSync } from "node:fs"
import * as SqliteBackend from "windlass/backends/SqliteBackend"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { Step } from "./tasks.ts"

const say = (line: string) => Effect.sync(() => void writeSync(1, `${line}\n`))

/** long enough that a kill at any line finds most of the graph undone */
const takes = Effect.sleep("50 millis")

Worker.layer(TaskGroup.make(Step), { concurrency: 3, poisonLimit: 1_000 }).pipe(
  Layer.provide(
    Step.toLayer(({ name }) => Effect.all([say(`run ${name}`), takes, say(`done ${name}`)], { discard: true }))
  ),
  Layer.provide(
    SqliteBackend.layer({ filename: process.argv[2]!, lease: "1 second", retention: { successes: "1 day" } })
  ),
  Worker.run
)
