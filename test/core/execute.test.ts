import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"

class Slow extends Task.make("Slow", { timeout: "10 millis" }) {}

describe("execute", () => {
  it.effect("a time-out is Dead with its reason and a line that says what happened", () =>
    Effect.gen(function*() {
      const waiting = yield* Effect.forkChild(Effect.flip(Slow.execute()), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      const failure = yield* waiting.pollUnsafe()!
      assert.strictEqual(failure._tag, "windlass/Dead")
      if (failure._tag !== "windlass/Dead") return
      assert.strictEqual(failure.reason, "timeout")
      assert.include(failure.detail, "task Slow ran longer than its timeout of 10 ms")
    }).pipe(
      Effect.provide(
        Worker.layer(TaskGroup.make(Slow)).pipe(
          Layer.provide(Slow.toLayer(() => Effect.never)),
          Layer.provideMerge(MemoryBackend.layer)
        )
      )
    ))
})
