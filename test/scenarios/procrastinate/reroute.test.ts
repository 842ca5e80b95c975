/** A retry that changes the queue, the priority or the lock: asked for by the handler, a wrap or a middleware. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import type { Destination } from "windlass/Backend"
import { BackendError } from "windlass/Backend"
import * as Capability from "windlass/Capability"
import * as Decide from "windlass/Decide"
import * as Enqueue from "windlass/Enqueue"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import { Harness, TestWorker } from "windlass/testing"
import * as Worker from "windlass/Worker"
import { follow, record, scenario, startWorker } from "../../support/backends.ts"
import { everywhere } from "../../support/everywhere.ts"

class TooBig extends Schema.TaggedError<TooBig>()("TooBig", {}) {}

class Import extends Task.make("Import", {
  payload: { name: Schema.String },
  success: Schema.String,
  error: TooBig,
  retry: { schedule: Schedule.forever, maxAttempts: 3 }
}) {}
const group = TaskGroup.make(Import)
const queues = { queues: ["default", "slow"], mode: "drain" } as const

const here = Effect.map(Job.Current, ({ attempt, group, priority, queue }) => ({ attempt, group, priority, queue }))

/** what each attempt saw of its place */
const placesOf = (ask: Effect.Effect<void, BackendError, Job.Current | Capability.Reroute>) =>
  Effect.gen(function*() {
    const seen: Array<unknown> = []
    const live = Import.toLayer(() =>
      Effect.gen(function*() {
        const place = yield* here
        seen.push(place)
        if (place.attempt > 1) return place.queue
        yield* Effect.orDie(ask)
        return yield* new TooBig()
      })
    )
    yield* Import.enqueue({ name: "a" }).pipe(Enqueue.group("tenant"))
    const report = yield* Worker.launch(Worker.layer(group, queues).pipe(Layer.provide(live)))
    assert.deepStrictEqual([report.retried, report.succeeded, report.dead], [1, 1, 0])
    return seen
  })

describe("Job.reroute", () => {
  everywhere(
    "a failed attempt is followed by one in another queue, with another priority, out of its group",
    () =>
      Effect.gen(function*() {
        const seen = yield* placesOf(Job.reroute({ queue: "slow", priority: -3, group: null }))
        assert.deepStrictEqual(seen, [
          { attempt: 1, queue: "default", priority: 0, group: "tenant" },
          { attempt: 2, queue: "slow", priority: -3, group: undefined }
        ])
      })
  )

  everywhere(
    "what is not named stays; asked twice, the later answer counts field by field",
    () =>
      Effect.gen(function*() {
        const seen = yield* placesOf(
          Effect.andThen(Job.reroute({ queue: "nowhere", priority: 7 }), Job.reroute({ queue: "slow", group: "other" }))
        )
        assert.deepStrictEqual(seen[1], { attempt: 2, queue: "slow", priority: 7, group: "other" })
      })
  )

  everywhere("whoever waits for the result gets it from wherever the job went", () =>
    Effect.gen(function*() {
      const live = Import.toLayer(() =>
        Effect.gen(function*() {
          const { attempt, queue } = yield* Job.Current
          if (attempt > 1) return `done in ${queue}`
          yield* Effect.orDie(Job.reroute({ queue: "slow" }))
          return yield* new TooBig()
        })
      )
      yield* startWorker(Worker.layer(group, { queues: ["default", "slow"] }).pipe(Layer.provide(live)))
      assert.strictEqual(yield* Import.execute({ name: "a" }), "done in slow")
    }))

  scenario(
    "a task's own wrap and a middleware may ask as well, and a snooze goes there too",
    () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const demote = Middleware.make("demote", (next, input, job) =>
          Effect.andThen(
            job.attempt === 2 ? Effect.orDie(Job.reroute({ priority: -1 })) : Effect.void,
            next(input)
          ))
        class Ask extends Task.make("Ask", {
          error: TooBig,
          middleware: [demote],
          retry: { schedule: Schedule.forever, maxAttempts: 5 }
        }) {}
        const wrapped = Ask.wrap((next, payload, job) =>
          Effect.andThen(job.attempt === 1 ? Effect.orDie(Job.reroute({ queue: "slow" })) : Effect.void, next(payload))
        )
        let snoozed = false
        const live = wrapped.toLayer(() =>
          Effect.gen(function*() {
            const { attempt, priority, queue } = yield* Job.Current
            seen.push(`${attempt} ${queue} ${priority}`)
            if (attempt < 3) return yield* new TooBig()
            if (snoozed) return
            snoozed = true
            yield* Effect.orDie(Job.reroute({ queue: "default", priority: 4 }))
            return yield* Decide.snooze("1 minute", "not yet")
          })
        )
        yield* Ask.enqueue()
        const worker = yield* startWorker(
          Worker.layer(TaskGroup.make(wrapped), { queues: ["default", "slow"] }).pipe(Layer.provide(live))
        )
        const events = yield* follow(worker)
        yield* events.until("Snoozed")
        yield* TestClock.adjust("1 minute")
        yield* events.until("Succeeded")
        assert.deepStrictEqual(seen, ["1 default 0", "2 slow 0", "3 slow -1", "3 default 4"])
      })
  )

  scenario(
    "a job that ends goes nowhere, and one that a shutdown gives back comes back where it was",
    () =>
      Effect.gen(function*() {
        const inspect = yield* Capability.Inspect
        const live = Import.toLayer(({ name }) =>
          Effect.gen(function*() {
            yield* Effect.orDie(Job.reroute({ queue: "slow" }))
            if (name === "ends") return "over"
            if (name === "dies") return yield* Decide.dead("no use")
            return yield* Effect.never
          })
        )
        const ids = yield* Import.enqueueMany([{ name: "ends" }, { name: "dies" }, { name: "waits" }])
        const worker = yield* startWorker(
          Worker.layer(group, { shutdownGrace: 0, queues: ["default", "slow"] }).pipe(Layer.provide(live))
        )
        const events = yield* follow(worker)
        yield* events.until("Succeeded", { id: ids[0]! })
        yield* events.until("Dead", { id: ids[1]! })
        const report = yield* worker.interrupt
        assert.strictEqual(report.interrupted, 1)
        const jobs = yield* Effect.forEach(ids, (id) => record(id))
        assert.deepStrictEqual(jobs.map(({ queue, state }) => [queue, state]), [
          ["default", "succeeded"],
          ["default", "dead"],
          ["default", "ready"]
        ])
        assert.strictEqual((yield* inspect.counts("slow")).ready, 0)
      })
  )

  scenario(
    "a place that the engine does not have fails the call, typed, and the job stays where it was",
    () =>
      Effect.gen(function*() {
        let error: unknown
        const live = Import.toLayer(() =>
          Effect.gen(function*() {
            if ((yield* Job.Current).attempt > 1) return "again"
            error = yield* Effect.orDie(Effect.flip(Job.reroute({ queue: "slow", priority: 1e9 })))
            return yield* new TooBig()
          })
        )
        const id = yield* Import.enqueue({ name: "a" })
        const report = yield* Worker.launch(Worker.layer(group, queues).pipe(Layer.provide(live)))
        assert.strictEqual(report.succeeded, 1)
        assert.instanceOf(error, BackendError)
        assert.match((error as BackendError).message, /priority 1000000000.*whole numbers from -\d+ to \d+/)
        assert.strictEqual((yield* record(id)).queue, "default")
      })
  )

  everywhere(
    "a group or a queue that is no string is a defect that names it, and the job stays where it was",
    () =>
      Effect.gen(function*() {
        const defects: Array<string> = []
        const refused = (to: unknown) =>
          Job.reroute(to as Destination).pipe(
            Effect.orDie,
            Effect.catchDefect((defect) => Effect.sync(() => void defects.push(String(defect))))
          )
        const seen = yield* placesOf(
          Effect.andThen(refused({ group: 7, queue: "slow" }), refused({ queue: { name: "slow" } }))
        )
        assert.deepStrictEqual(seen, [
          { attempt: 1, queue: "default", priority: 0, group: "tenant" },
          { attempt: 2, queue: "default", priority: 0, group: "tenant" }
        ])
        assert.match(
          defects[0]!,
          /^TypeError: Job\.reroute of job \S+: the group is the number 7: name it with a string/
        )
        assert.match(defects[1]!, /the queue is the object .*: name it with a string$/)
        assert.strictEqual(defects.length, 2)
      })
  )

  it.effect("under test: a drain follows the job into the other queue", () =>
    Effect.gen(function*() {
      const live = Import.toLayer(() =>
        Effect.gen(function*() {
          const { attempt, queue } = yield* Job.Current
          if (attempt > 1) return queue
          yield* Effect.orDie(Job.reroute({ queue: "slow" }))
          return yield* new TooBig()
        })
      )
      yield* Effect.gen(function*() {
        yield* Import.enqueue({ name: "a" })
        const ran = yield* TestWorker.drain({ outcomes: true })
        assert.deepStrictEqual(ran.map(({ attempt, outcome, queue }) => [attempt, queue, outcome._tag]), [
          [1, "default", "Retried"],
          [2, "slow", "Succeeded"]
        ])
      }).pipe(Effect.provide(
        TestWorker.layer(group, { queues: ["default", "slow"] }).pipe(
          Layer.provide(live),
          Layer.provideMerge(TestWorker.backend)
        )
      ))
    }))

  it.effect("in the harness: the settlement says where the job goes", () =>
    Effect.gen(function*() {
      const asked: Array<Destination> = []
      const reroute = Layer.succeed(Capability.Reroute, {
        prepare: (_, to) => Effect.sync(() => void asked.push(to))
      })
      const demote = Middleware.make("demote", (next, input) =>
        Effect.andThen(Effect.orDie(Job.reroute({ queue: "slow" })), next(input)))
      const run = Harness.run(demote, {
        inner: () =>
          Effect.fail(Decide.retry({ after: "1 second" }))
      })
      const played = yield* Effect.provide(run, reroute)
      assert.deepInclude(played.settlement, { _tag: "Retry", after: 1_000, to: { queue: "slow" } })
      assert.deepStrictEqual(asked, [{ queue: "slow" }])
    }))
})
