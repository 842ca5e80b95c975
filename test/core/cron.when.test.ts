/** Entries by interval and by time of the day: when they tick, over any stretch of time and in zones whose clocks change. */
import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Capability from "windlass/Capability"
import * as Cron from "windlass/Cron"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { make as rhythmOf, type Rhythm } from "../../src/internal/cron/rhythm.ts"

class Work extends Task.make("Work") {}

const rhythm = (when: Cron.When): Rhythm => {
  const made = rhythmOf(when, 0)
  if (typeof made === "string") throw new Error(made)
  return made
}

/** what waits for one tick after another sees of a stretch, without its beginning and with its end */
const forward = ({ next }: Rhythm, after: number, until: number): ReadonlyArray<number> => {
  const ticks: Array<number> = []
  for (let tick = next(after); tick <= until; tick = next(tick)) ticks.push(tick)
  return ticks
}

const year = [Date.parse("2025-12-31T00:00:00Z"), Date.parse("2027-01-02T00:00:00Z")] as const
const day = 86_400_000
const zones = [
  "Europe/Berlin",
  "Europe/London",
  "America/New_York",
  "America/St_Johns",
  "Australia/Lord_Howe", // half an hour
  "Pacific/Auckland",
  "Africa/Casablanca", // back for Ramadan
  "Asia/Beirut", // at midnight
  "Asia/Kolkata", // never
  "UTC"
]
const zone = fc.constantFrom(...zones)
const inZone = (millis: number, timeZone: string) => DateTime.makeZonedUnsafe(millis, { timeZone })
const two = (n: number) => String(n).padStart(2, "0")

describe("every", () => {
  it("RT-21 ticks lie on its grid, none skipped or doubled, whatever stretch is looked at and whoever looks", () => {
    let nothing = 0
    let several = 0
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 * day }),
        fc.date({ min: new Date(0), max: new Date(year[1]), noInvalidDate: true }),
        fc.double({ min: -15, max: 1_000, noNaN: true }),
        fc.integer({ min: 0, max: 1_200 }),
        fc.integer({ min: 1, max: 15 }),
        (step, from, begin, steps, max) => {
          const entry = rhythm({ every: step, from })
          const after = from.getTime() + Math.floor(begin * step)
          const until = after + Math.floor(steps * step / 100)
          const expected: Array<number> = []
          // counted from `from` by steps, with none of the arithmetic of the code
          const first = Math.max(0, Math.floor((after - from.getTime()) / step) - 1)
          for (let k = first; from.getTime() + k * step <= until; k++) {
            const tick = from.getTime() + k * step
            if (tick > after) expected.push(tick)
          }
          assert.deepStrictEqual(forward(entry, after, until), expected)
          assert.deepStrictEqual(entry.between(after, until, max), {
            ticks: expected.slice(-max),
            more: expected.length > max
          })
          if (expected.length === 0) nothing++
          if (expected.length > 2) several++
        }
      ),
      { numRuns: 500, seed: 21 }
    )
    // the stretches were not all of one kind
    assert.isAbove(nothing, 20)
    assert.isAbove(several, 100)
  })

  it("RT-21 ticks before from do not exist, from itself is one, and without from the grid is that of 1970 in UTC", () => {
    const from = new Date("2026-03-01T10:20:00Z")
    const entry = rhythm({ every: "90 minutes", from })
    assert.strictEqual(entry.next(0), from.getTime())
    assert.strictEqual(entry.next(from.getTime() - 1), from.getTime())
    assert.strictEqual(entry.next(from.getTime()), Date.parse("2026-03-01T11:50:00Z"))
    assert.deepStrictEqual(entry.between(0, from.getTime() - 1, 5), { ticks: [], more: false })
    assert.deepStrictEqual(entry.between(0, from.getTime(), 5), { ticks: [from.getTime()], more: false })
    assert.strictEqual(rhythm({ every: "1 hour" }).next(from.getTime()), Date.parse("2026-03-01T11:00:00Z"))
    assert.strictEqual(rhythm({ every: "1 day" }).next(from.getTime()), Date.parse("2026-03-02T00:00:00Z"))
  })
})

describe("daily", () => {
  it("RT-21 once on every day of a year, at its wall time unless the clocks skip that, in any zone", () => {
    let moved = 0
    fc.assert(
      fc.property(
        zone,
        // the hours in which clocks change, more often than the others
        fc.oneof({ weight: 3, arbitrary: fc.integer({ min: 0, max: 2 }) }, fc.integer({ min: 0, max: 23 })),
        fc.integer({ min: 0, max: 59 }),
        fc.option(fc.integer({ min: 0, max: 59 }), { nil: undefined }),
        (tz, hour, minute, second) => {
          const time = `${two(hour)}:${two(minute)}`
          const entry = rhythm({ daily: second === undefined ? time : `${time}:${two(second)}`, tz })
          const ticks = forward(entry, ...year)
          const days = ticks.map((tick) => DateTime.formatIsoDate(inZone(tick, tz)))
          assert.strictEqual(new Set(days).size, days.length, `${time} twice on a day in ${tz}`)
          assert.isAtLeast(days.length, 366, `${time} left out on a day in ${tz}`)
          for (const [i, tick] of ticks.entries()) {
            const { hour: h, minute: m, second: s } = DateTime.toParts(inZone(tick, tz))
            assert.strictEqual(s, second ?? 0)
            const late = (h - hour) * 60 + m - minute
            if (late !== 0) {
              moved++
              // by as much as the clocks are put on that night, and never early
              const put = (DateTime.zonedOffset(inZone(tick, tz)) - DateTime.zonedOffset(inZone(ticks[i - 1]!, tz))) /
                60_000
              assert.deepStrictEqual([tz, late], [tz, put])
              assert.isAbove(put, 0)
            }
          }
          assert.deepStrictEqual(entry.between(...year, 1_000), { ticks, more: false })
        }
      ),
      { numRuns: 60, seed: 21 }
    )
    assert.isAbove(moved, 5, "no wall time that is skipped was tried")
  })

  it("RT-21 is the cron of that time of the day", () => {
    for (const tz of zones) {
      assert.deepStrictEqual(
        forward(rhythm({ daily: "02:30", tz }), ...year),
        forward(rhythm({ cron: "30 2 * * *", tz }), ...year)
      )
    }
  })
})

const program = (name: string, body: () => Effect.Effect<void, any, any>, time: string) =>
  it.effect(name, () =>
    Effect.andThen(TestClock.setTime(Date.parse(time)), Effect.scoped(body())).pipe(
      Effect.provide(MemoryBackend.layer)
    ) as Effect.Effect<void>)

const ticks = Effect.flatMap(
  Capability.Inspect,
  (inspect) =>
    Effect.map(
      Stream.runCollect(inspect.list({ queue: "default" })),
      (all) => all.map(({ envelope }) => envelope.id.slice("cron:".length, -".000Z".length))
    )
)

describe("entries", () => {
  program(
    "RT-20 an interval and a daily time go through the same cursor: once, caught up after a pause, in order",
    () =>
      Effect.gen(function*() {
        const polling = Cron.make("polling", {
          task: Work,
          every: "20 minutes",
          from: new Date("2026-03-28T22:10:00Z"),
          catchUp: { max: 2 }
        })
        const nightly = Cron.make("nightly", { task: Work, daily: "02:30", tz: "Europe/Berlin" })
        const session = Effect.andThen(Layer.build(Cron.layer(polling, nightly)), TestClock.adjust(0))
        yield* Effect.scoped(Effect.gen(function*() {
          yield* session
          yield* session // a second process with the same entries
          yield* TestClock.adjust("25 minutes")
        }))
        assert.deepStrictEqual(yield* ticks, ["polling:2026-03-28T22:10:00", "polling:2026-03-28T22:30:00"])
        yield* TestClock.adjust("3 hours") // the clocks are put on, and nobody is there
        yield* session
        assert.sameOrderedMembers((yield* ticks).slice(2).filter((id) => id.startsWith("polling")), [
          "polling:2026-03-29T01:10:00",
          "polling:2026-03-29T01:30:00"
        ])
        // half past two does not exist on that night: half past three, which is half past one in UTC
        assert.deepStrictEqual((yield* ticks).filter((id) => id.startsWith("nightly")), ["nightly:2026-03-29T01:30:00"])
      }),
    "2026-03-28T22:05:00Z"
  )

  program("PROC-44 what cannot tick fails the layer and the worker, and is named", () =>
    Effect.gen(function*() {
      const wrong: ReadonlyArray<readonly [string, Cron.Entry<any>]> = [
        ["its interval of 0 ms is none", Cron.make("bad", { task: Work, every: 0 })],
        ["its interval of -1000 ms is none", Cron.make("bad", { task: Work, every: "-1 seconds" as "1 seconds" })],
        ["its interval of Infinity ms is none", Cron.make("bad", { task: Work, every: "Infinity" })],
        ["its interval of 0.5 ms is none", Cron.make("bad", { task: Work, every: 0.5 })],
        ["its from is no date", Cron.make("bad", { task: Work, every: "1 hour", from: new Date("tomorrow") })],
        [
          "beyond what a date can say",
          Cron.make("bad", { task: Work, every: "1 hour", from: new Date(8.64e15) })
        ],
        ["its daily time \"2:30\" is none", Cron.make("bad", { task: Work, daily: "2:30" })],
        ["its daily time \"24:00\" is none", Cron.make("bad", { task: Work, daily: "24:00" })],
        ["its daily time \"02:30 \" is none", Cron.make("bad", { task: Work, daily: "02:30 " })],
        ["\"Mars/Base\" is no time zone", Cron.make("bad", { task: Work, daily: "02:30", tz: "Mars/Base" })],
        ["its times nowhere", Cron.make("bad", { task: Work } as unknown as { task: typeof Work; every: "1 hour" })],
        [
          "its times twice",
          Cron.make("bad", { task: Work, every: "1 hour", cron: "* * * * *" } as unknown as {
            task: typeof Work
            every: "1 hour"
          })
        ]
      ]
      for (const [words, entry] of wrong) {
        const error = yield* Effect.flip(Effect.asVoid(Layer.build(Cron.layer(entry))))
        assert.instanceOf(error, Cron.InvalidCron)
        assert.include(error.message, "cron bad: ")
        assert.include(error.message, words)
        const worker = Worker.layer(TaskGroup.make(Work), { crons: [entry] }).pipe(
          Layer.provide(Work.toLayer(() => Effect.void))
        )
        assert.instanceOf(yield* Effect.flip(Effect.asVoid(Layer.build(worker))), Worker.InvalidWorker)
      }
      assert.deepStrictEqual(yield* ticks, [])
    }), "2026-01-01T00:00:00Z")
})
