/**
 * Part E of the scenarios: groups, unique keys, atomic batches, recurring tasks; on every backend, in real time. Recurring
 * tasks follow a clock of the test's own.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import type { BackendError } from "windlass/Backend"
import * as Capability from "windlass/Capability"
import * as Cron from "windlass/Cron"
import * as Enqueue from "windlass/Enqueue"
import * as Job from "windlass/Job"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { record, startWorker } from "../support/backends.ts"
import { clockAt, everywhere, type Hands } from "../support/everywhere.ts"

class Work extends Task.make("Work", { payload: { name: Schema.String } }) {}

/** a handler that says when it starts, waits to be let go, and counts how many run at once */
const held = Effect.gen(function*() {
  const started = yield* Queue.unbounded<string>()
  const letGo = yield* Queue.unbounded<void>()
  const state = { running: 0, most: 0 }
  const live = Work.toLayer(({ name }) =>
    Effect.gen(function*() {
      state.most = Math.max(state.most, ++state.running)
      yield* Queue.offer(started, name)
      yield* Queue.take(letGo)
      state.running--
    })
  )
  const worker = (concurrency: number) =>
    startWorker(Worker.layer(TaskGroup.make(Work), { concurrency }).pipe(Layer.provide(live)))
  return { started: Queue.take(started), letGo: Queue.offer(letGo, undefined), state, worker }
})

const enqueue = (name: string) => Work.enqueue({ name })

describe("groups", () => {
  everywhere(
    "PROC-40 jobs of one group: one at a time, priority before age, a running one of low priority is not pre-empted",
    () =>
      Effect.gen(function*() {
        const { letGo, started, state, worker } = yield* held
        const grouped = Enqueue.group("lock")
        yield* enqueue("low").pipe(grouped)
        yield* worker(4)
        assert.strictEqual(yield* started, "low")
        yield* enqueue("middle, first").pipe(grouped, Enqueue.priority(5))
        yield* enqueue("middle, second").pipe(grouped, Enqueue.priority(5))
        const high = yield* enqueue("high").pipe(grouped, Enqueue.priority(9))
        // a job without a group has free slots, and passes them all
        yield* enqueue("alone")
        assert.strictEqual(yield* started, "alone")
        assert.strictEqual((yield* record(high)).state, "blocked")
        yield* letGo
        yield* letGo
        const order: Array<string> = []
        for (let i = 0; i < 3; i++) {
          order.push(yield* started)
          assert.strictEqual(state.running, 1)
          yield* letGo
        }
        assert.deepStrictEqual(order, ["high", "middle, first", "middle, second"])
        assert.strictEqual(state.most, 2)
      })
  )

  everywhere(
    "PROC-41 the oldest job of a group is scheduled: the others of the group wait, jobs of none do not",
    () =>
      Effect.gen(function*() {
        const { letGo, started, worker } = yield* held
        const cancel = yield* Capability.Cancel
        const far = yield* enqueue("far head").pipe(Enqueue.group("far"), Enqueue.delay("1 hour"))
        const waiting = yield* enqueue("far second").pipe(Enqueue.group("far"))
        yield* worker(10)
        yield* enqueue("delayed").pipe(Enqueue.delay("1 hour"))
        yield* enqueue("alone")
        assert.strictEqual(yield* started, "alone")
        assert.deepStrictEqual(
          [(yield* record(far)).state, (yield* record(waiting)).state],
          ["scheduled", "blocked"]
        )
        yield* letGo
        assert.strictEqual(yield* cancel.request(far), "Cancelled")
        assert.strictEqual(yield* started, "far second")
        yield* letGo
        // a head that comes due goes first
        yield* enqueue("near head").pipe(Enqueue.group("near"), Enqueue.delay("300 millis"))
        yield* enqueue("near second").pipe(Enqueue.group("near"))
        assert.strictEqual(yield* started, "near head")
        yield* letGo
        assert.strictEqual(yield* started, "near second")
        yield* letGo
      })
  )
})

describe("unique keys and atomic batches", () => {
  everywhere(
    "PROC-42 unique until started: a second waiting job is refused with a typed error, one beside the running job is not",
    () =>
      Effect.gen(function*() {
        const { letGo, started, worker } = yield* held
        const once = Enqueue.uniqueBy("report", { until: "started" })
        const first = yield* enqueue("first").pipe(once)
        const refused = yield* Effect.flip(enqueue("refused").pipe(once))
        assert.instanceOf(refused, Enqueue.AlreadyEnqueued)
        assert.deepStrictEqual([refused.task, refused.existing], ["Work", first])
        yield* worker(1)
        assert.strictEqual(yield* started, "first")
        const second = yield* enqueue("second").pipe(once)
        const again = yield* Effect.flip(enqueue("refused").pipe(once))
        assert.instanceOf(again, Enqueue.AlreadyEnqueued)
        assert.strictEqual(again.existing, second)
        const existing = enqueue("refused").pipe(
          Enqueue.uniqueBy("report", { until: "started", onConflict: "existing" })
        )
        assert.strictEqual(yield* existing, second)
        yield* letGo
        assert.strictEqual(yield* started, "second")
        yield* letGo
      })
  )

  everywhere(
    "PROC-43 a batch with a clash of unique keys, or of ids in an atomic call, stores none of its jobs",
    () =>
      Effect.gen(function*() {
        const inspect = yield* Capability.Inspect
        const byName = Enqueue.uniqueBy((payload) => payload.name, { until: "started" })
        const b = yield* enqueue("b").pipe(byName)
        const clash = yield* Effect.flip(Work.enqueueMany([{ name: "a" }, { name: "b" }, { name: "c" }]).pipe(byName))
        assert.instanceOf(clash, Enqueue.AlreadyEnqueued)
        assert.strictEqual(clash.existing, b)
        const within = yield* Effect.flip(Work.enqueueMany([{ name: "d" }, { name: "e" }, { name: "d" }]).pipe(byName))
        assert.instanceOf(within, Enqueue.AlreadyEnqueued)
        const ids = Work.enqueueMany([{ name: "f" }, { name: "g" }]).pipe(
          Enqueue.id(({ name }, i) => i === 0 ? name : b),
          Enqueue.atomic
        )
        assert.instanceOf(yield* Effect.flip(ids), Enqueue.AlreadyEnqueued)
        assert.deepStrictEqual(yield* inspect.counts("default"), { ready: 1, scheduled: 0, active: 0, dead: 0 })
        // without the clash all of them are there
        yield* Work.enqueueMany([{ name: "a" }, { name: "c" }]).pipe(byName)
        assert.strictEqual((yield* inspect.counts("default")).ready, 3)
      })
  )
})

class Tick extends Task.make("Tick", { payload: { at: Schema.String } }) {}

/** a worker that writes down the ticks that it runs, as the payload and as the job's own value have them */
const ticking = Effect.gen(function*() {
  const ran = yield* Queue.unbounded<string>()
  const all: Array<string> = []
  const live = Tick.toLayer(({ at }) =>
    Effect.gen(function*() {
      const tick = yield* Effect.orDie(Cron.tick)
      const { origin } = yield* Job.Current
      assert.deepStrictEqual([tick.toISOString(), origin], [at, "cron"])
      all.push(at)
      yield* Queue.offer(ran, at)
    })
  )
  yield* startWorker(Worker.layer(TaskGroup.make(Tick), { concurrency: 1 }).pipe(Layer.provide(live)))
  return { all, ran: Queue.take(ran) }
})

const entry = (cron: string, options: { readonly tz?: string; readonly max?: number } = {}) =>
  Cron.make("entry", {
    task: Tick,
    cron,
    tz: options.tz,
    payload: (tick) => ({ at: tick.toISOString() }),
    catchUp: { max: options.max }
  })

/** waits until the ticks of an entry are decided up to a time: what a scheduler that enqueues nothing does all the same */
const decided = (name: string, time: string): Effect.Effect<void, BackendError, Capability.Cursor> =>
  Effect.flatMap(
    Capability.Cursor,
    (cursor) =>
      Effect.flatMap(cursor.get("default", name), (at) =>
        at === Date.parse(time)
          ? Effect.void
          : Effect.andThen(Effect.promise(() => new Promise((resolve) => setImmediate(resolve))), decided(name, time)))
  )

/** two processes' schedulers, in a scope of their own */
const start = (hands: Hands, ...entries: ReadonlyArray<Cron.Entry<any>>) =>
  Effect.gen(function*() {
    const scope = yield* Scope.fork(yield* Effect.scope)
    for (let i = 0; i < 2; i++) {
      yield* Effect.forkIn(hands.launch(...entries), scope)
    }
    return { stop: Scope.close(scope, Exit.void) }
  })

describe("recurring tasks", () => {
  everywhere(
    "PROC-44 two schedulers, one job per tick; missed ticks are caught up, at a cold start one that is too old is dropped; the job has its tick",
    () =>
      Effect.gen(function*() {
        const { all, ran } = yield* ticking
        const hands = yield* clockAt("2026-01-01T00:09:59Z")
        const hourly = entry("0 * * * *")
        const { stop } = yield* start(hands, hourly)
        // the tick of midnight is not ten minutes old
        assert.strictEqual(yield* ran, "2026-01-01T00:00:00.000Z")
        yield* hands.adjust("1 hour")
        assert.strictEqual(yield* ran, "2026-01-01T01:00:00.000Z")
        yield* hands.adjust("1 hour")
        assert.strictEqual(yield* ran, "2026-01-01T02:00:00.000Z")
        yield* stop
        yield* hands.adjust("3 hours")
        const again = yield* start(hands, hourly)
        for (const hour of [3, 4, 5]) assert.strictEqual(yield* ran, `2026-01-01T0${hour}:00:00.000Z`)
        yield* again.stop

        // a cold start of another entry, half an hour after its tick
        yield* hands.adjust("30 minutes")
        const daily = Cron.make("daily", {
          task: Tick,
          cron: "10 5 * * *",
          payload: (tick) => ({ at: tick.toISOString() })
        })
        yield* start(hands, daily)
        yield* decided("daily", "2026-01-01T05:39:59Z")
        yield* hands.adjust("1 day")
        assert.strictEqual(yield* ran, "2026-01-02T05:10:00.000Z")
        assert.strictEqual(all.length, 7)
      }),
    { kept: false }
  )

  everywhere("RT-20 every missed tick is enqueued, no more than the latest so many", () =>
    Effect.gen(function*() {
      const { all, ran } = yield* ticking
      const hands = yield* clockAt("2026-01-01T00:00:00Z")
      const minutely = entry("* * * * *", { max: 4 })
      const { stop } = yield* start(hands, minutely)
      assert.strictEqual(yield* ran, "2026-01-01T00:00:00.000Z")
      yield* stop
      yield* hands.adjust("1 hour")
      yield* start(hands, minutely)
      for (const minute of ["00:57", "00:58", "00:59", "01:00"]) {
        assert.strictEqual(yield* ran, `2026-01-01T${minute}:00.000Z`)
      }
      yield* hands.adjust("1 minute")
      assert.strictEqual(yield* ran, "2026-01-01T01:01:00.000Z")
      assert.strictEqual(all.length, 6)
    }), { kept: false })

  everywhere(
    "RT-20 a singleton skips ticks while its last job waits or runs, and catches up the latest missed one",
    () =>
      Effect.gen(function*() {
        const { letGo, started, worker } = yield* held
        const hands = yield* clockAt("2026-01-01T00:00:00Z")
        const single = Cron.make("single", {
          task: Work,
          cron: "* * * * *",
          payload: (tick) => ({ name: tick.toISOString().slice(11, 16) }),
          singleton: true
        })
        const { stop } = yield* start(hands, single)
        yield* decided("single", "2026-01-01T00:00:00Z")
        yield* hands.adjust("1 minute")
        yield* decided("single", "2026-01-01T00:01:00Z") // skipped: the first one waits
        yield* worker(5)
        assert.strictEqual(yield* started, "00:00")
        yield* hands.adjust("1 minute")
        yield* decided("single", "2026-01-01T00:02:00Z") // skipped: the first one runs
        yield* letGo
        const inspect = yield* Capability.Inspect
        yield* empty(inspect)
        yield* stop
        yield* hands.adjust("10 minutes")
        yield* start(hands, single)
        assert.strictEqual(yield* started, "00:12")
        yield* decided("single", "2026-01-01T00:12:00Z")
        assert.deepStrictEqual(yield* inspect.counts("default"), { ready: 0, scheduled: 0, active: 1, dead: 0 })
        yield* letGo
      }),
    { kept: false }
  )

  const changes = [
    ["forward", "2026-03-27T12:00:00Z", ["28T01:30", "29T01:30", "30T00:30", "31T00:30"]],
    ["back", "2026-10-23T12:00:00Z", ["24T00:30", "25T00:30", "26T01:30", "27T01:30"]]
  ] as const
  for (const [change, from, ticks] of changes) {
    everywhere(
      `RT-21 a daily 02:30 runs exactly once on each day while the clocks are put ${change}`,
      () =>
        Effect.gen(function*() {
          const { all, ran } = yield* ticking
          const hands = yield* clockAt(from)
          yield* start(hands, entry("30 2 * * *", { tz: "Europe/Berlin" }))
          yield* decided("entry", from)
          for (const tick of ticks) {
            // half an hour at a time: a scheduler that would come twice has every opportunity
            for (let i = 0; i < 48; i++) yield* hands.adjust("30 minutes")
            assert.strictEqual(yield* ran, `${from.slice(0, 8)}${tick}:00.000Z`)
          }
          yield* decided("entry", `${from.slice(0, 8)}${ticks.at(-1)}:00Z`)
          assert.strictEqual(all.length, 4)
        }),
      { kept: false }
    )
  }
})

/** waits until no job is there */
const empty = (inspect: Capability.Inspect["Service"]): Effect.Effect<void, BackendError> =>
  Effect.flatMap(inspect.counts("default"), ({ active, ready }) =>
    active + ready === 0
      ? Effect.void
      : Effect.andThen(Effect.promise(() => new Promise((resolve) => setImmediate(resolve))), empty(inspect)))
