import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger } from "effect"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"

class Leak extends Task.make("Leak") {}

const linesOf = (logJobs: boolean) =>
  Effect.gen(function*() {
    const lines: Array<string> = []
    const logger = Logger.layer([Logger.map(Logger.formatLogFmt, (line) => void lines.push(line))])
    yield* Effect.gen(function*() {
      yield* Leak.enqueue()
      const report = yield* Worker.launch(
        Worker.layer(TaskGroup.make(Leak), { mode: "drain", logJobs }).pipe(
          Layer.provide(Leak.toLayer(() => Effect.die(new Error("password hunter2"))))
        )
      )
      assert.strictEqual(report.dead, 1)
    }).pipe(Effect.provide(Layer.merge(MemoryBackend.layer, logger)))
    return lines.join("\n")
  })

describe("the worker's own lines about jobs", () => {
  it.effect("quote the cause of a dead job, unless logJobs is off", () =>
    Effect.gen(function*() {
      assert.include(yield* linesOf(true), "hunter2")
      const quiet = yield* linesOf(false)
      assert.notInclude(quiet, "hunter2")
      assert.include(quiet, "is over after 1 jobs")
    }))
})
