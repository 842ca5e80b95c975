/** Jobs that this worker does not know, queues that it could never claim from, and the end of a drain. */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Backend } from "windlass/Backend"
import { DeadLetter } from "windlass/Capability"
import * as Gate from "windlass/Gate"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { publishRaw, record, scenario, spy, startWorker } from "../support/backends.ts"

class Work extends Task.make("Work", { payload: { n: Schema.Number }, aliases: ["OldName"] }) {}
const group = TaskGroup.make(Work)
const live = Work.toLayer(() => Effect.void)

describe("unknownFor begins when a worker meets the job, so a rolling deploy loses nothing", () => {
  const survives = (id: string) =>
    Effect.gen(function*() {
      yield* TestClock.adjust("59 minutes")
      assert.include(["ready", "scheduled"], (yield* record(id)).state)
      yield* TestClock.adjust("3 minutes")
      assert.strictEqual((yield* record(id)).reason, "unknown-task")
    })

  scenario("of a job that was delayed for longer", () =>
    Effect.gen(function*() {
      yield* startWorker(Worker.layer(group).pipe(Layer.provide(live)))
      yield* (yield* Backend).publish("default", [{
        envelope: { id: "later", task: "Work", version: 2, payload: "{}", headers: {}, origin: "user" },
        due: { _tag: "After", millis: 7_200_000 }
      }])
      yield* TestClock.adjust("2 hours")
      yield* survives("later")
    }))

  scenario("of a job that waited in a backlog for longer", () =>
    Effect.gen(function*() {
      yield* publishRaw({ id: "old", task: "Newer" })
      yield* TestClock.adjust("2 hours")
      yield* startWorker(Worker.layer(group).pipe(Layer.provide(live)))
      yield* survives("old")
    }))

  scenario("once more, after it was dead and redriven", () =>
    Effect.gen(function*() {
      yield* startWorker(Worker.layer(group).pipe(Layer.provide(live)))
      yield* publishRaw({ id: "old", task: "Newer" })
      yield* TestClock.adjust("2 hours")
      assert.isTrue(yield* Effect.flatMap(DeadLetter, (dead) => dead.retry("old")))
      yield* survives("old")
    }))
})

scenario("a queue with a concurrency that would never claim is refused at the start", () =>
  Effect.gen(function*() {
    for (const own of [0, -1, Number.NaN, 1.5]) {
      const error = yield* Effect.flip(
        Worker.launch(Worker.layer(group, { mode: "drain", queues: { default: own } }).pipe(Layer.provide(live)))
      )
      assert.strictEqual(error._tag, "windlass/InvalidWorker")
      assert.include(error.message, "default")
    }
  }))

scenario(
  "drain: what a job enqueued into another queue is run, also when that queue's empty answer was on its way",
  () =>
    Effect.gen(function*() {
      class Second extends Task.make("Second", { queue: "second" }) {}
      class First extends Task.make("First", { queue: "first" }) {}
      const slow = yield* spy((subscription, queue) =>
        queue === "second"
          ? { ...subscription, take: (max) => Effect.tap(subscription.take(max), () => Effect.sleep("2 seconds")) }
          : subscription
      )
      const handlers = Layer.mergeAll(
        First.toLayer(() => Effect.andThen(Effect.sleep("1 second"), Effect.orDie(Second.enqueue()))),
        Second.toLayer(() => Effect.void)
      )
      yield* First.enqueue()
      const fiber = yield* Effect.forkScoped(
        Worker.launch(
          Worker.layer(TaskGroup.make(First, Second), { mode: "drain" })
            .pipe(Layer.provide(handlers), Layer.provide(slow.layer))
        ),
        { startImmediately: true }
      )
      yield* TestClock.adjust("1 minute")
      const report = yield* fiber.pollUnsafe() ?? Effect.die("it does not end")
      assert.strictEqual(report.succeeded, 2)
    })
)

scenario("a gate that is asked about a job sees the task's name as it is now", () =>
  Effect.gen(function*() {
    const seen: Array<string> = []
    const gate = Gate.make({
      name: "sees",
      admit: (job) =>
        Effect.sync(() => {
          seen.push(job.task)
          return { _tag: "Admitted" as const, release: () => Effect.void }
        })
    })
    yield* publishRaw({ id: "a", task: "OldName", payload: "{\"n\":1}" })
    yield* Worker.launch(Worker.layer(group, { mode: "drain", gates: [gate] }).pipe(Layer.provide(live)))
    assert.deepStrictEqual(seen, ["Work"])
  }))
