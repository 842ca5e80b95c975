/** What one has of a worker from outside: its settings, its events. */
import { assert } from "@effect/vitest"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { scenario, startWorker } from "../support/backends.ts"

class Work extends Task.make("Work") {}
const group = TaskGroup.make(Work)
const live = Work.toLayer(() => Effect.void)

scenario("a setting that the configuration leaves open keeps its value from the code", () =>
  Effect.gen(function*() {
    const open = Config.withDefault(Config.Int("WINDLASS_TEST_NOT_SET"), undefined)
    const worker = yield* startWorker(
      Worker.layerConfig(group, { concurrency: open }, { concurrency: 7 }).pipe(Layer.provide(live))
    )
    assert.strictEqual((yield* worker.health).queues[0]!.concurrency, 7)
  }))

scenario("the stream of events ends with the worker, and what came before is in it", () =>
  Effect.gen(function*() {
    const worker = yield* startWorker(Worker.layer(group).pipe(Layer.provide(live)))
    const fiber = yield* Effect.forkScoped(Stream.runCollect(worker.events), { startImmediately: true })
    yield* Effect.yieldNow
    yield* Work.enqueue()
    yield* TestClock.adjust("1 second")
    yield* worker.stop
    yield* TestClock.adjust("1 second")
    const events = yield* fiber.pollUnsafe() ?? Effect.die("it does not end")
    assert.deepStrictEqual(Array.from(events, (event) => event._tag), ["Claimed", "Started", "Succeeded"])
  }))

scenario("a worker ends in time also when its logger dies", () =>
  Effect.gen(function*() {
    let broken = false
    const logger = Logger.make(() => {
      if (broken) throw new Error("EPIPE")
    })
    const stays = Work.toLayer(() => Effect.never)
    const worker = yield* startWorker(
      Worker.layer(group).pipe(Layer.provide(stays), Layer.provide(Logger.layer([logger])))
    )
    yield* Work.enqueue()
    yield* TestClock.adjust("1 second")
    broken = true
    const fiber = yield* Effect.forkScoped(worker.stop, { startImmediately: true })
    yield* TestClock.adjust("31 seconds")
    const report = yield* fiber.pollUnsafe() ?? Effect.die("it does not end")
    assert.deepStrictEqual([report.interrupted, report.failure], [1, undefined])
  }))
