/** A worker's clock that jumps, under a clock that the test moves: what the suite does to real processes, exactly. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import * as Faults from "../../src/testing/Faults.ts"

class Work extends Task.make("Work") {}

describe("a clock that jumps", () => {
  for (const [direction, offset] of [["ahead", "1 hour"], ["back", "-1 hours"]] as const) {
    it.effect(`L16 L9 an hour ${direction}: the lease is measured by elapsed time, so a settlement is tried again and the job runs once`, () =>
      Effect.gen(function*() {
        const faults = yield* Faults.Faults
        let runs = 0
        yield* Work.enqueue()
        const failed = yield* faults.failNext(["settle", "exchange"], { where: (input) => input.items.length > 0 })
        const live = Work.toLayer(() =>
          Effect.andThen(
            Effect.sync(() => void runs++),
            faults.skewClock(offset)
          )
        )
        const ending = yield* Effect.forkChild(
          Worker.launch(
            Worker.layer(TaskGroup.make(Work), { mode: "drain", concurrency: 1 }).pipe(Layer.provide(live))
          ),
          { startImmediately: true }
        )
        yield* failed.hit
        yield* TestClock.adjust("40 seconds")
        const report = yield* Fiber.join(ending)
        assert.deepStrictEqual([runs, report.succeeded, report.lost], [1, 1, 0])
      }).pipe(Effect.provide(Faults.layer(MemoryBackend.layer))))
  }
})
