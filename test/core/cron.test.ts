/** Recurring tasks on the memory backend, under the test's clock. What holds on every backend is in the scenarios. */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as EffectCron from "effect/Cron"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { BackendError } from "windlass/Backend"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Capability from "windlass/Capability"
import * as Cron from "windlass/Cron"
import * as Enqueue from "windlass/Enqueue"
import * as Header from "windlass/Header"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { make as rhythmOf } from "../../src/internal/cron/rhythm.ts"
import { startWorker } from "../support/backends.ts"

class Work extends Task.make("Work") {}
class Tick extends Task.make("Tick", { payload: { at: Schema.String } }) {}

const at = (tick: Date) => ({ at: tick.toISOString().slice(0, 16) })
const minutely = Cron.make("minutely", { task: Tick, cron: "* * * * *", payload: at })

const program = (name: string, body: () => Effect.Effect<void, any, any>, time = "2026-01-01T00:00:00Z") =>
  it.effect(name, () =>
    Effect.andThen(TestClock.setTime(Date.parse(time)), Effect.scoped(body())).pipe(
      Effect.provide(MemoryBackend.layer)
    ) as Effect.Effect<void>)

/** the jobs of a queue, oldest first */
const jobs = (queue = "default") =>
  Effect.flatMap(Capability.Inspect, (inspect) => Stream.runCollect(inspect.list({ queue })))

/** starts schedulers, up to where they sleep */
const start = (...entries: ReadonlyArray<Cron.Entry<any>>) =>
  Effect.andThen(Layer.build(Cron.layer(...entries)), TestClock.adjust(0))

/** the lines that are logged, by level */
const logged = <A, E, R>(effect: Effect.Effect<A, E, R>) => {
  const lines: Array<string> = []
  const logger = Logger.make<unknown, void>(({ logLevel, message }) =>
    void lines.push(`${logLevel} ${Array.isArray(message) ? message[0] : message}`)
  )
  return Effect.as(Effect.provide(effect, Logger.layer([logger])), lines)
}

describe("setting up", () => {
  const wrong: ReadonlyArray<readonly [what: string, message: string, entry: Cron.Entry<any>]> = [
    ["does not parse", "\"61 * * * *\" does not parse", Cron.make("bad", { task: Work, cron: "61 * * * *" })],
    ["has four fields", "does not parse", Cron.make("bad", { task: Work, cron: "* * * *" })],
    ["never comes", "never comes: \"0 0 30 2 *\"", Cron.make("bad", { task: Work, cron: "0 0 30 2 *" })],
    [
      "names no zone",
      "\"Mars/Base\" is no time zone",
      Cron.make("bad", { task: Work, cron: "* * * * *", tz: "Mars/Base" })
    ],
    [
      "has two zones",
      "say it once",
      Cron.make("bad", { task: Work, cron: EffectCron.parseUnsafe("* * * * *", "UTC"), tz: "UTC" })
    ],
    ["catches up none", "catchUp.max is 0", Cron.make("bad", { task: Work, cron: "* * * * *", catchUp: { max: 0 } })],
    [
      "is unique twice",
      "it is a singleton and has a uniqueBy",
      Cron.make("bad", { task: Work, cron: "* * * * *", singleton: true, enqueue: Enqueue.uniqueBy("k") })
    ]
  ]
  for (const [what, message, entry] of wrong) {
    program(`PROC-44 an entry that ${what} fails the layer and the worker, and is named`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Effect.asVoid(Layer.build(Cron.layer(minutely, entry))))
        assert.instanceOf(error, Cron.InvalidCron)
        assert.strictEqual(error.entry, "bad")
        assert.include(error.message, "cron bad: ")
        assert.include(error.message, message)
        const worker = Worker.layer(TaskGroup.make(Work), { crons: [minutely, entry] }).pipe(
          Layer.provide(Work.toLayer(() => Effect.void))
        )
        const invalid = yield* Effect.flip(Effect.asVoid(Layer.build(worker)))
        assert.instanceOf(invalid, Worker.InvalidWorker)
        assert.strictEqual((invalid as Worker.InvalidWorker).message, error.message)
        assert.deepStrictEqual(yield* jobs(), [])
      }))
  }

  program("PROC-44 one name twice in a list is refused", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.asVoid(Layer.build(Cron.layer(minutely, minutely))))
      assert.include(error.message, "cron minutely: stands twice")
    }))
})

describe("when it ticks", () => {
  const zones = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kolkata", "UTC"]
  const stable = new Set(["America/Sao_Paulo", "Asia/Kolkata", "UTC"])
  const year = [Date.parse("2025-12-31T00:00:00Z"), Date.parse("2027-01-01T00:00:00Z")] as const
  const forward = (cron: string, zone: string, [from, until]: readonly [number, number] = year) => {
    const rhythm = rhythmOf({ cron, tz: zone }, 0)
    if (typeof rhythm === "string") throw new Error(rhythm)
    const ticks: Array<number> = []
    for (let tick = rhythm.next(from); tick <= until; tick = rhythm.next(tick)) ticks.push(tick)
    return { rhythm, ticks }
  }

  for (const zone of zones) {
    it(`RT-21 a daily time runs once on every day of a year in ${zone}, whatever the clocks do`, () => {
      for (const time of ["0 0", "30 1", "15 2", "30 2", "59 2", "0 3"]) {
        const { rhythm, ticks } = forward(`${time} * * *`, zone)
        const days = ticks.map((tick) => DateTime.formatIsoDate(DateTime.makeZonedUnsafe(tick, { timeZone: zone })))
        assert.strictEqual(new Set(days).size, days.length, `${time} comes twice on a day`)
        assert.isAtLeast(days.length, 366, `${time} is left out on a day`)
        // what catches up sees the same ticks as what waits for them
        const { more, ticks: back } = rhythm.between(year[0], year[1], 1_000)
        assert.deepStrictEqual([back, more], [ticks, false])
      }
    })

    it(`RT-21 an entry of every hour goes on through the hours that change in ${zone}`, () => {
      const day = 86_400_000
      const offset = (millis: number) => DateTime.zonedOffset(DateTime.makeZonedUnsafe(millis, { timeZone: zone }))
      const changes: Array<number> = []
      for (let at = year[0]; at < year[1]; at += day) if (offset(at) !== offset(at + day)) changes.push(at)
      assert.strictEqual(changes.length, stable.has(zone) ? 0 : 2)
      for (const at of stable.has(zone) ? [year[0]] : changes) {
        for (const [cron, step] of [["*/15 * * * *", 15], ["7 * * * *", 60], ["0 */10 * * * *", 10]] as const) {
          const { rhythm, ticks } = forward(cron, zone, [at - day, at + 2 * day])
          const gaps = ticks.slice(1).map((tick, i) => (tick - ticks[i]!) / 60_000)
          // where the clocks change by half an hour, wall times of one minute are once as much nearer or further
          const odd = gaps.filter((gap) => gap !== step)
          if (zone === "Australia/Lord_Howe" && step === 60) assert.isAtMost(odd.length, 2, `${cron}: ${odd}`)
          else assert.deepStrictEqual(odd, [], cron)
          assert.deepStrictEqual(rhythm.between(at - day, at + 2 * day, 1_000).ticks, ticks)
        }
      }
    })
  }

  it("RT-21 the latest ticks of a span, and whether there are more", () => {
    const rhythm = rhythmOf({ cron: "*/10 * * * * *" }, 0)
    if (typeof rhythm === "string") throw new Error(rhythm)
    assert.deepStrictEqual(rhythm.between(0, 30_000, 2), { ticks: [20_000, 30_000], more: true })
    assert.deepStrictEqual(rhythm.between(10_000, 30_000, 2), { ticks: [20_000, 30_000], more: false })
    assert.deepStrictEqual(rhythm.between(10_000, 19_999, 2), { ticks: [], more: false })
  })

  program(
    "PROC-44 wall times are UTC unless a zone is named, also those of a Cron without one",
    () =>
      Effect.gen(function*() {
        const cron = EffectCron.make({ minutes: [30], hours: [2], days: [], months: [], weekdays: [] })
        const zoned = EffectCron.parseUnsafe("30 2 * * *", "Asia/Kolkata")
        yield* start(
          Cron.make("text", { task: Tick, cron: "30 2 * * *", payload: at }),
          Cron.make("value", { task: Tick, cron, payload: at }),
          Cron.make("value in a zone", { task: Tick, cron, tz: "Asia/Tokyo", payload: at }),
          Cron.make("zoned value", { task: Tick, cron: zoned, payload: at })
        )
        yield* TestClock.adjust("1 day")
        const found = (yield* jobs()).map(({ envelope }) => envelope.id)
        assert.sameMembers(found, [
          "cron:text:2026-01-01T02:30:00.000Z",
          "cron:value:2026-01-01T02:30:00.000Z",
          "cron:value in a zone:2026-01-01T17:30:00.000Z",
          "cron:zoned value:2026-01-01T21:00:00.000Z"
        ])
      })
  )

  program(
    "PROC-44 a tick that is months away comes on time",
    () =>
      Effect.gen(function*() {
        yield* start(Cron.make("yearly", { task: Tick, cron: "0 12 25 12 *", payload: at }))
        yield* TestClock.setTime(Date.parse("2026-12-25T11:59:59Z"))
        assert.strictEqual((yield* jobs()).length, 0)
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* jobs()).length, 1)
      })
  )
})

describe("catching up", () => {
  program(
    "PROC-44 at a cold start a tick of ten minutes ago is enqueued, an older one is not; olderThan says otherwise",
    () =>
      Effect.gen(function*() {
        const every = (name: string, cron: string, olderThan?: "1 minute" | "1 hour") =>
          Cron.make(name, { task: Tick, cron, payload: at, catchUp: { olderThan } })
        yield* start(
          every("ten", "0 0 * * *"),
          every("eleven", "59 23 * * *"),
          every("short", "58 23 * * *", "1 minute"),
          every("long", "30 23 * * *", "1 hour")
        )
        assert.sameMembers((yield* jobs()).map(({ envelope }) => envelope.id.split(":")[1]), ["ten", "long"])
      }),
    "2026-01-01T00:10:00Z"
  )

  program(
    "RT-20 missed ticks older than olderThan are left out, and so are those above max, which is logged",
    () =>
      Effect.gen(function*() {
        const entry = (catchUp: { readonly max?: number; readonly olderThan?: "150 seconds" }) =>
          Cron.make("entry", { task: Tick, cron: "* * * * *", payload: at, catchUp })
        const payloads = Effect.map(
          jobs(),
          (all) => all.map(({ envelope }) => JSON.parse(envelope.payload).at.slice(11))
        )
        const session = (catchUp: Parameters<typeof entry>[0]) => logged(Effect.scoped(start(entry(catchUp))))
        yield* session({})
        assert.deepStrictEqual(yield* payloads, ["00:00"])
        yield* TestClock.adjust("10 minutes")
        assert.deepStrictEqual(yield* session({ olderThan: "150 seconds" }), [])
        assert.deepStrictEqual(yield* payloads, ["00:00", "00:08", "00:09", "00:10"])
        yield* TestClock.adjust("10 minutes")
        assert.deepStrictEqual(yield* session({ max: 2 }), [
          "Warn cron entry has missed more ticks than it catches up: those before 2026-01-01T00:19:00.000Z are left out"
        ])
        assert.deepStrictEqual((yield* payloads).slice(4), ["00:19", "00:20"])
      })
  )

  program(
    "RT-20 a singleton is one run for all that was missed; a skipped tick is not made up for",
    () =>
      Effect.gen(function*() {
        const single = Cron.make("single", { task: Tick, cron: "* * * * *", payload: at, singleton: true })
        const cancel = yield* Capability.Cancel
        yield* Effect.scoped(start(single))
        const [first] = yield* jobs()
        yield* TestClock.adjust("5 minutes")
        assert.deepStrictEqual(yield* logged(Effect.scoped(start(single))), [])
        assert.strictEqual((yield* jobs()).length, 1)
        yield* cancel.request(first!.envelope.id)
        yield* TestClock.adjust("30 seconds")
        yield* start(single)
        assert.strictEqual((yield* (yield* Capability.Inspect).counts("default")).ready, 0)
        yield* TestClock.adjust("30 seconds")
        const last = (yield* jobs()).filter(({ state }) => state === "ready")
        assert.deepStrictEqual(last.map(({ envelope }) => envelope.id), ["cron:single:2026-01-01T00:06:00.000Z"])
      })
  )
})

describe("the job of a tick", () => {
  program(
    "PROC-44 it has its tick, the origin cron, an id of its own, and the options of the entry",
    () =>
      Effect.gen(function*() {
        const entry = Cron.make("reports", {
          task: Tick,
          cron: "0 0 * * *",
          payload: at,
          enqueue: (job) =>
            job.pipe(
              Enqueue.priority(7),
              Enqueue.queue("other"),
              Enqueue.group("g"),
              Enqueue.headers({ a: "b" }),
              Enqueue.uniqueBy("k"),
              Enqueue.delay("1 minute")
            )
        })
        yield* start(entry)
        const [job] = yield* jobs("other")
        assert.deepStrictEqual(
          [job!.envelope.id, job!.envelope.origin, job!.priority, job!.group, job!.uniqueKey, job!.state],
          ["cron:reports:2026-01-01T00:00:00.000Z", "cron", 7, "g", "Tick:k", "scheduled"]
        )
        assert.strictEqual(job!.envelope.headers["a"], "b")
        const tick = yield* Cron.scheduledFor.parse(job!.envelope.headers)
        assert.deepStrictEqual(tick, yield* Effect.succeedSome(new Date("2026-01-01T00:00:00Z")))
        // its own key is taken: skipped quietly, and the next one is due
        assert.deepStrictEqual(yield* logged(TestClock.adjust("1 day")), [])
        assert.strictEqual((yield* jobs("other")).length, 1)
        yield* (yield* Capability.Cancel).request(job!.envelope.id)
        yield* TestClock.adjust("1 day")
        assert.strictEqual((yield* jobs("other")).length, 2)
      })
  )

  program("PROC-44 Cron.tick fails with a typed error in a job that no entry enqueued", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const live = Tick.toLayer(() =>
        Effect.match(Cron.tick, { onFailure: (error) => void seen.push(error), onSuccess: () => {} })
      )
      yield* Tick.enqueue({ at: "now" })
      yield* Worker.launch(Worker.layer(TaskGroup.make(Tick), { mode: "drain" }).pipe(Layer.provide(live)))
      assert.deepStrictEqual(seen.map((error) => (error as Header.HeaderError).reason), ["Missing"])
      assert.instanceOf(seen[0], Header.HeaderError)
    }))

  program(
    "L7 a tick passes the enqueue point once; one that is dropped or refused there is decided all the same",
    () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const point: Enqueue.Wrap = (next, batch) => {
          seen.push(batch.items.map(({ envelope }) => `${envelope.origin} ${envelope.id.slice(-13, -8)}`).join())
          return seen.length === 1
            ? Effect.succeed([{ _tag: "Dropped", reason: "not now" }])
            : seen.length === 2
            ? Effect.fail(new Enqueue.Refused({ by: "quota", reason: "used up" }))
            : next(batch)
        }
        const lines = yield* logged(Effect.gen(function*() {
          yield* start(minutely).pipe(Effect.provide(Enqueue.layer(point)))
          yield* TestClock.adjust("2 minutes")
        }))
        assert.deepStrictEqual(seen, ["cron 00:00", "cron 00:01", "cron 00:02"])
        assert.deepStrictEqual(lines, [
          "Error cron minutely enqueued nothing for 2026-01-01T00:01:00.000Z: a middleware refused it"
        ])
        assert.deepStrictEqual((yield* jobs()).map(({ envelope }) => envelope.id), [
          "cron:minutely:2026-01-01T00:02:00.000Z"
        ])
      })
  )

  program("PROC-44 a middleware that sends the job to another queue: it comes once", () =>
    Effect.gen(function*() {
      const elsewhere: Enqueue.Wrap = (next, batch) => next({ ...batch, queue: "elsewhere" })
      const two = start(minutely).pipe(Effect.provide(Enqueue.layer(elsewhere)))
      yield* two
      yield* two
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* jobs(), [])
      assert.deepStrictEqual((yield* jobs("elsewhere")).map(({ envelope }) => envelope.id.slice(-13, -8)), [
        "00:00",
        "00:01"
      ])
    }))
})

describe("when something fails", () => {
  const failing = (failures: ReadonlyArray<BackendError>, applied: boolean) =>
    Effect.map(Capability.Cursor, (cursor) => {
      const left = [...failures]
      return {
        forget: cursor.forget,
        get: cursor.get,
        advance: (move, items) =>
          Effect.suspend(() => {
            const failure = left.shift()
            if (failure === undefined) return cursor.advance(move, items)
            return Effect.andThen(
              applied ? Effect.asVoid(cursor.advance(move, items)) : Effect.void,
              Effect.fail(failure)
            )
          })
      } satisfies Capability.Cursor["Service"]
    })
  const error = (retryable: boolean) =>
    new BackendError({ backend: "b", operation: "cursor", message: "broken", retryable, outcome: "Unknown" })

  for (const applied of [true, false]) {
    program(
      `PROC-44 a call that fails is tried again and its tick comes once, whether it had been applied (${applied})`,
      () =>
        Effect.gen(function*() {
          const cursor = yield* failing([error(true), error(true)], applied)
          const lines = yield* logged(Effect.gen(function*() {
            yield* Effect.provideService(start(minutely), Capability.Cursor, cursor)
            yield* TestClock.adjust("1 minute")
          }))
          assert.isAbove(lines.length, 0)
          assert.isTrue(
            lines.every((line) => line === "Warn the backend failed for cron minutely; its ticks are caught up")
          )
          assert.deepStrictEqual((yield* jobs()).map(({ envelope }) => envelope.id.slice(-13, -8)), ["00:00", "00:01"])
        })
    )
  }

  program("PROC-30 what cannot be tried again ends the schedulers, and says so", () =>
    Effect.gen(function*() {
      const cursor = yield* failing([error(false)], false)
      const on = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provideService(effect, Capability.Cursor, cursor)
      const failure = yield* Effect.flip(on(Cron.launch(minutely)))
      assert.instanceOf(failure, BackendError)
      const again = yield* failing([error(false)], false)
      const lines = yield* logged(Effect.provideService(start(minutely), Capability.Cursor, again))
      assert.deepStrictEqual(lines, ["Fatal a cron failed; minutely stop"])
    }))

  program("PROC-30 an entry that dies stops the worker it belongs to, loudly", () =>
    Effect.gen(function*() {
      const bad = Cron.make("bad", {
        task: Tick,
        cron: "* * * * *",
        payload: (tick) => {
          if (tick.getUTCMinutes() === 1) throw new Error("no payload")
          return at(tick)
        }
      })
      const lines = yield* logged(Effect.gen(function*() {
        const live = Tick.toLayer(() => Effect.void)
        const worker = yield* startWorker(
          Worker.layer(TaskGroup.make(Tick), { id: "w", crons: [bad] }).pipe(Layer.provide(live))
        )
        yield* TestClock.adjust("1 minute")
        const report = yield* worker.await
        assert.include(Cause.pretty(report.failure!), "no payload")
        assert.strictEqual(report.succeeded, 1)
      }))
      assert.include(lines, "Fatal the cron bad failed; worker w stops")
    }))

  program("PROC-28 a worker that is asked to stop enqueues no more ticks", () =>
    Effect.gen(function*() {
      const live = Tick.toLayer(() => Effect.void)
      const scope = yield* Scope.make()
      const layer = Worker.layer(TaskGroup.make(Tick), { crons: [minutely] }).pipe(Layer.provide(live))
      const worker = yield* Scope.provide(startWorker(layer), scope)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* worker.stop).succeeded, 2)
      yield* TestClock.adjust("5 minutes")
      assert.deepStrictEqual(yield* jobs(), [])
      assert.strictEqual(
        yield* (yield* Capability.Cursor).get("default", "minutely"),
        Date.parse("2026-01-01T00:01:00Z")
      )
      yield* Scope.close(scope, Exit.void)
    }))
})
