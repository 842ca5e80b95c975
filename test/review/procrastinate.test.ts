/** Strange input to the options of an enqueue and to `Job.reroute`: refused by name or carried out, never lost or ignored. */
import { assert, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type { Destination } from "windlass/Backend"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Capability from "windlass/Capability"
import * as Cron from "windlass/Cron"
import * as Enqueue from "windlass/Enqueue"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { type Engine, record } from "../support/backends.ts"
import { everywhere } from "../support/everywhere.ts"

class Work extends Task.make("Work", {
  payload: { n: Schema.Number },
  error: Schema.String,
  retry: { schedule: Schedule.forever, maxAttempts: 3 }
}) {}
const group = TaskGroup.make(Work)
class Tick extends Task.make("Tick") {}
class Who extends Context.Service<Who, { readonly name: string }>()("test/Who") {}

const stored = Effect.gen(function*() {
  const { ready, scheduled } = yield* (yield* Capability.Inspect).counts("default")
  return ready + scheduled
})

everywhere(
  "a delay, a time and a window that are no numbers are refused, and so is a delay without an end",
  () =>
    Effect.gen(function*() {
      const work = Work.enqueue({ n: 1 })
      const refused: ReadonlyArray<
        readonly [
          enqueue: Effect.Effect<string, Enqueue.EnqueueError | Enqueue.AlreadyEnqueued, Engine>,
          reason: Enqueue.InvalidEnqueue["reason"] | undefined,
          message: RegExp
        ]
      > = [
        [work.pipe(Enqueue.delay(NaN)), "Option", /delay is not a number/],
        [work.pipe(Enqueue.at(NaN)), "Option", /not a valid date/],
        [work.pipe(Enqueue.delay(Duration.infinity)), "DelayTooLong", /Infinity ms is longer than/],
        [work.pipe(Enqueue.at(Infinity)), "DelayTooLong", /Infinity ms is longer than/],
        [work.pipe(Enqueue.uniqueBy("k", { until: NaN })), undefined, /NaN ms, which is no duration/]
      ]
      for (const [enqueue, reason, message] of refused) {
        const error = yield* Effect.flip(enqueue)
        if (reason !== undefined) assert.deepInclude(error, { _tag: "windlass/InvalidEnqueue", reason })
        assert.match(error.message, message)
      }
      assert.strictEqual(yield* stored, 0)
    })
)

/** a first attempt that asks to go there, beside a job that succeeds, so that one batch may settle both */
const sent = (to: Destination, queues: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const live = Work.toLayer(({ n }) =>
      Effect.gen(function*() {
        if (n !== 1 || (yield* Job.Current).attempt > 1) return
        yield* Effect.ignore(Job.reroute(to))
        return yield* Effect.fail("again")
      })
    )
    const [id, other] = yield* Work.enqueueMany([{ n: 1 }, { n: 2 }])
    const report = yield* Worker.launch(Worker.layer(group, { mode: "drain", queues }).pipe(Layer.provide(live)))
    assert.deepInclude(report, { retried: 1, succeeded: 2, lost: 0, dead: 0 })
    assert.strictEqual((yield* record(other!)).state, "succeeded")
    return yield* record(id!)
  })

everywhere(
  "a reroute to a queue whose name is half a character is refused or done, and no settlement is lost over it",
  () =>
    Effect.gen(function*() {
      const half = "half \udc00"
      const subscribes = yield* Effect.exit(Worker.launch(
        Worker.layer(group, { mode: "drain", queues: [half] }).pipe(Layer.provide(Work.toLayer(() => Effect.void)))
      ))
      const queues = subscribes._tag === "Success" ? ["default", half] : ["default"]
      assert.strictEqual((yield* sent({ queue: half }, queues)).state, "succeeded")
    })
)

everywhere(
  "a null out of untyped code is no place: the job stays in its queue and keeps its priority",
  () =>
    Effect.gen(function*() {
      const job = yield* sent({ queue: null, priority: null } as unknown as Destination, ["default"])
      assert.deepInclude(job, { state: "succeeded", queue: "default", priority: 0 })
      const moved = yield* sent({ queue: null } as unknown as Destination, ["default"])
      assert.deepInclude(moved, { state: "succeeded", queue: "default" })
    })
)

it.effect("an entry whose ticks are all too old to be enqueued is refused at the start", () =>
  Effect.gen(function*() {
    const every = (olderThan: number) => Cron.make("c", { task: Tick, every: "1 second", catchUp: { olderThan } })
    for (const olderThan of [0, -5, NaN]) {
      const error = yield* Effect.flip(Effect.scoped(Layer.build(Cron.layer(every(olderThan)))))
      assert.match(error.message, /^cron c: catchUp.olderThan is -?\d+ ms/)
    }
  }).pipe(Effect.provide(MemoryBackend.layer)))

it.effect("a service that the worker has itself wins over the one that came with the list of the defaults", () =>
  Effect.gen(function*() {
    const seen: Array<string> = []
    const says = Middleware.make(
      "says",
      (next, input) => Effect.andThen(Effect.map(Who, ({ name }) => void seen.push(name)), next(input))
    )
    const who = (name: string) => Layer.succeed(Who, { name })
    const defaults = Worker.defaults({ mode: "drain", middleware: [says] }).pipe(Layer.provide(who("the defaults")))
    const worker = Worker.layer(TaskGroup.make(Tick)).pipe(
      Layer.provide([Tick.toLayer(() => Effect.void), defaults])
    )
    yield* Tick.enqueue()
    yield* Worker.launch(worker)
    yield* Tick.enqueue()
    yield* Worker.launch(worker.pipe(Layer.provide(who("the worker"))))
    assert.deepStrictEqual(seen, ["the defaults", "the worker"])
  }).pipe(Effect.provide(MemoryBackend.layer)))
