/** Any `Schedule` as a retry policy that survives between attempts: the replay, and the policy on a running worker. */
import { assert, describe, it } from "@effect/vitest"
import * as Cron from "effect/Cron"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import type { Failure } from "windlass/Task"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { nextDelay } from "../../src/internal/worker/retry.ts"
import { follow, record, scenario, startWorker } from "../support/backends.ts"

class Broken extends Schema.TaggedError<Broken>()("Broken", { wait: Schema.Number }) {}

type AnySchedule = Schedule.Schedule<unknown, any, unknown>

/** the delays after failures 1, 2, ... when every attempt fails at once; ends with undefined when it is exhausted */
const delays = (schedule: AnySchedule, count: number, options: { id?: string; took?: number; error?: unknown } = {}) =>
  Effect.gen(function*() {
    const found: Array<number | undefined> = []
    let now = 0
    for (let n = 1; n <= count; n++) {
      const delay = yield* nextDelay(schedule, { count: n, firstAt: 0, now }, options.error, options.id ?? "id")
      found.push(delay)
      if (delay === undefined) break
      now += delay + (options.took ?? 0)
    }
    return found
  })

/** what the schedule itself says, step after step, without a queue between */
const direct = (schedule: Schedule.Schedule<unknown, unknown>, count: number, took = 0) =>
  Effect.gen(function*() {
    const step = yield* Schedule.toStep(schedule)
    const found: Array<number | undefined> = []
    let now = 0
    for (let n = 1; n <= count; n++) {
      const exit = yield* Effect.exit(step(now, undefined))
      if (exit._tag === "Failure") {
        found.push(undefined)
        break
      }
      found.push(Duration.toMillis(exit.value[1]))
      now += Duration.toMillis(exit.value[1]) + took
    }
    return found
  })

describe("the replay of a retry schedule", () => {
  it.effect("exponential, bounded in times", () =>
    Effect.gen(function*() {
      const schedule = Schedule.exponential("1 second").pipe(Schedule.upTo({ times: 4 }))
      assert.deepStrictEqual(yield* delays(schedule, 9), [1_000, 2_000, 4_000, 8_000, undefined])
    }))

  it.effect("bounded in time since the first failure", () =>
    Effect.gen(function*() {
      const schedule = Schedule.max([Schedule.spaced("20 minutes"), Schedule.during("1 hour")])
      const minutes = 60_000
      assert.deepStrictEqual(yield* delays(schedule, 9), [
        20 * minutes,
        20 * minutes,
        20 * minutes,
        20 * minutes,
        undefined
      ])
      // attempts that take their time use it up
      assert.deepStrictEqual(yield* delays(schedule, 9, { took: 25 * minutes }), [
        20 * minutes,
        20 * minutes,
        undefined
      ])
    }))

  it.effect("a cron: the next tick from now, in its time zone", () =>
    Effect.gen(function*() {
      const nightly = Schedule.cron(Cron.parseUnsafe("0 3 * * *", "UTC"))
      const at = (time: string) => nextDelay(nightly, { count: 2, firstAt: 0, now: Date.parse(time) }, undefined, "id")
      assert.strictEqual(yield* at("2024-05-01T02:59:00Z"), 60_000)
      assert.strictEqual(yield* at("2024-05-01T03:30:00Z"), 23.5 * 3_600_000)
    }))

  for (
    const [name, schedule] of Object.entries({
      fixed: Schedule.fixed("10 seconds"),
      windowed: Schedule.windowed("10 seconds"),
      fibonacci: Schedule.fibonacci("1 second"),
      spaced: Schedule.spaced("3 seconds"),
      "concat": Schedule.concat(Schedule.recurs(2), Schedule.spaced("1 minute")),
      "min of two": Schedule.min([Schedule.exponential("1 second"), Schedule.spaced("5 seconds")])
    })
  ) {
    it.effect(`${name} gives the delays that it gives without a queue between, also when attempts take time`, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* delays(schedule, 8), yield* direct(schedule, 8))
        assert.deepStrictEqual(yield* delays(schedule, 2, { took: 1_234 }), yield* direct(schedule, 2, 1_234))
      }))
  }

  it.effect("jitter comes from the job's id: the same on every replay, different between jobs and attempts", () =>
    Effect.gen(function*() {
      const schedule = Schedule.jittered(Schedule.spaced("1000 seconds"))
      const first = yield* delays(schedule, 5, { id: "job 1" })
      assert.deepStrictEqual(yield* delays(schedule, 5, { id: "job 1" }), first)
      const second = yield* delays(schedule, 5, { id: "job 2" })
      assert.notDeepEqual(second, first)
      assert.strictEqual(new Set([...first, ...second]).size, 10)
      for (const delay of [...first, ...second]) {
        assert.isAtLeast(delay!, 800_000)
        assert.isAtMost(delay!, 1_200_000)
      }
    }))

  it.effect("the current error may choose the delay", () =>
    Effect.gen(function*() {
      const schedule = Schedule.forever.pipe(
        Schedule.setInputType<Broken>(),
        Schedule.modifyDelay(({ input }) => Effect.succeed(Duration.millis(input.wait)))
      )
      assert.deepStrictEqual(yield* delays(schedule, 2, { error: new Broken({ wait: 7 }) }), [7, 7])
    }))
})

describe("a retry policy on a worker", () => {
  const failing = (retry?: Task.Retry<Broken>) =>
    Task.make("Fails", { payload: { wait: Schema.Number }, error: Broken, ...(retry === undefined ? {} : { retry }) })

  /** when the attempts of one job began, in milliseconds from its enqueue */
  const starts = (task: ReturnType<typeof failing>, payload = { wait: 0 }) =>
    Effect.gen(function*() {
      const live = task.toLayer(({ wait }) => Effect.fail(new Broken({ wait })))
      const worker = yield* startWorker(Worker.layer(TaskGroup.make(task)).pipe(Layer.provide(live)))
      const events = yield* follow(worker)
      const id = yield* task.enqueue(payload)
      yield* events.until("Started")
      for (let day = 0; day < 60 && !events.tags.includes("Dead"); day++) yield* TestClock.adjust("1 day")
      yield* events.until("Dead")
      yield* worker.stop
      const job = yield* record(id)
      return events.all.filter((event) => event._tag === "Started").map((event) => event.at - job.enqueuedAt)
    })

  const day = 86_400_000

  scenario("an exponential schedule of days runs in no time", () =>
    Effect.gen(function*() {
      const task = failing(Schedule.exponential("1 day").pipe(Schedule.upTo({ times: 3 })))
      assert.deepStrictEqual(yield* starts(task), [0, day, 3 * day, 7 * day])
    }))

  scenario("fixed keeps to its raster, during ends it", () =>
    Effect.gen(function*() {
      const task = failing(Schedule.max([Schedule.fixed("1 day"), Schedule.during("3 days")]))
      assert.deepStrictEqual(yield* starts(task), [0, day, 2 * day, 3 * day, 4 * day])
    }))

  scenario("a cron", () =>
    Effect.gen(function*() {
      const task = failing({
        schedule: Schedule.cron(Cron.parseUnsafe("0 3 * * *", "UTC")),
        maxAttempts: 3
      })
      assert.deepStrictEqual(yield* starts(task), [0, day / 8, day + day / 8])
    }))

  scenario("an error may choose its delay, and which errors are tried again", () =>
    Effect.gen(function*() {
      const schedule = Schedule.forever.pipe(
        Schedule.setInputType<Failure<Broken>>(),
        Schedule.modifyDelay(({ input }) => Effect.succeed(Duration.millis(input._tag === "Broken" ? input.wait : 1)))
      )
      const asked: Array<string> = []
      const task = failing({
        schedule,
        while: (failure) => {
          asked.push(failure._tag)
          return failure._tag === "Broken" && failure.wait > 0
        },
        maxAttempts: 3
      })
      assert.deepStrictEqual(yield* starts(task, { wait: 5_000 }), [0, 5_000, 10_000])
      assert.deepStrictEqual(asked, ["Broken", "Broken"]) // not asked when no attempt is left
      assert.deepStrictEqual(yield* starts(task, { wait: 0 }), [0])
    }))

  scenario("jitter differs between jobs and is what a replay says", () =>
    Effect.gen(function*() {
      const schedule = Schedule.jittered(Schedule.spaced("1 hour"))
      const task = failing({ schedule, maxAttempts: 2 })
      const live = task.toLayer(({ wait }) => Effect.fail(new Broken({ wait })))
      const worker = yield* startWorker(Worker.layer(TaskGroup.make(task)).pipe(Layer.provide(live)))
      const events = yield* follow(worker)
      const ids = yield* task.enqueueMany([{ wait: 1 }, { wait: 2 }])
      yield* events.until("Retried", { count: 2 })
      const due = yield* Effect.forEach(ids, (id) => Effect.map(record(id), (job) => job.dueAt!))
      const replayed = yield* Effect.forEach(ids, (id) =>
        nextDelay(schedule, { count: 1, firstAt: 0, now: 0 }, undefined, id))
      assert.notStrictEqual(due[0], due[1])
      // an engine may keep whole milliseconds
      due.forEach((time, i) =>
        assert.approximately(time, replayed[i]!, 1)
      )
    }))

  scenario(
    "maxAttempts caps any schedule, at 25 unless set; without a policy nothing is tried again",
    () =>
      Effect.gen(function*() {
        const count = (task: ReturnType<typeof failing>) =>
          Effect.gen(function*() {
            const id = yield* task.enqueue({ wait: 0 })
            const live = task.toLayer(() => Effect.fail(new Broken({ wait: 0 })))
            yield* Worker.launch(Worker.layer(TaskGroup.make(task), { mode: "drain" }).pipe(Layer.provide(live)))
            return (yield* record(id)).attempt
          })
        assert.strictEqual(yield* count(failing({ schedule: Schedule.forever, maxAttempts: 4 })), 4)
        assert.strictEqual(yield* count(failing(Schedule.forever)), 25)
        assert.strictEqual(yield* count(failing()), 1)
      })
  )

  it.effect("a cron that does not parse keeps the worker from starting", () =>
    Effect.gen(function*() {
      const task = failing(Schedule.cron("not a cron") as never)
      const live = task.toLayer(() => Effect.void)
      const { layer } = yield* Effect.promise(() => import("windlass/backends/MemoryBackend"))
      const error = yield* Effect.flip(
        startWorker(Worker.layer(TaskGroup.make(task)).pipe(Layer.provide(live), Layer.provide(layer)))
      )
      assert.strictEqual(error._tag, "windlass/InvalidTask")
      assert.include(error.message, "task Fails: its retry schedule is no valid cron")
    }))
})
