/** Leases in an SQLite file are counted on the machine's steady clock: setting the time of day touches none of them. */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { Backend, type Item } from "windlass/Backend"
import * as SqliteBackend from "windlass/backends/SqliteBackend"
import * as Capability from "windlass/Capability"
import { skewed } from "../../src/testing/faults/clock.ts"
import { folder } from "./sqlite/process.ts"

const hour = 3_600_000

const item: Item = { envelope: { id: "a", task: "T", version: 1, payload: "{}", headers: {}, origin: "user" } }

const newFile = Effect.map(folder, (path) => join(path, "queue.db"))

/** a connection of its own, as another process has one */
const open = (filename: string) => Layer.build(Layer.fresh(SqliteBackend.layer({ filename, lease: "30 seconds" })))

/** gives a body the time of day into its hands: elapsed time stays the test clock's */
const settable = <A, E, R>(body: (set: (offset: number) => Effect.Effect<void>) => Effect.Effect<A, E, R>) =>
  Clock.clockWith((clock) => {
    let offset = 0
    const set = (by: number) => Effect.sync(() => void (offset = by))
    return Effect.provideService(body(set), Clock.Clock, skewed(clock, () => offset))
  })

const subscribed = (context: Context.Context<Backend>, worker: string) =>
  Context.get(context, Backend).subscribe("q", { worker })

for (const [direction, jump] of [["ahead", hour], ["back", -hour]] as const) {
  describe(`the machine's clock is set an hour ${direction}`, () => {
    const start = 100 * hour

    it.effect("L16 a lease that is held stays with its owner, and one that is not renewed ends in time", () =>
      settable(Effect.fnUntraced(function*(set) {
        yield* TestClock.setTime(start)
        const filename = yield* newFile
        const mine = yield* open(filename)
        yield* Context.get(mine, Backend).publish("q", [item])
        const owner = yield* subscribed(mine, "owner")
        const [held] = yield* owner.take(1)
        yield* set(jump)
        const other = yield* subscribed(yield* open(filename), "other")
        assert.deepStrictEqual(yield* other.take(1), [])
        assert.deepStrictEqual(
          owner.lease._tag === "Timed" ? yield* owner.lease.extend([held!.receipt]) : undefined,
          ["Held"]
        )
        yield* TestClock.adjust("29 seconds")
        assert.deepStrictEqual(yield* other.take(1), [])
        // who waits for work is woken by the end of the lease, whatever the time of day is by now
        const woken = yield* Effect.forkChild(other.await(1), { startImmediately: true })
        yield* set(0)
        yield* TestClock.adjust("1 seconds")
        yield* Fiber.join(woken)
        assert.deepStrictEqual((yield* other.take(1)).map(({ lostFrom }) => lostFrom?.worker), ["owner"])
      })))

    it.effect("a leader stays the leader, and one that is gone is followed in time", () =>
      settable(Effect.fnUntraced(function*(set) {
        yield* TestClock.setTime(start)
        const filename = yield* newFile
        const [one, two] = [yield* open(filename), yield* open(filename)]
        const epochs: Array<number> = []
        const hold = (context: Context.Context<Capability.Leader>) =>
          Effect.andThen(
            Effect.tap(Context.get(context, Capability.Leader).hold("tick"), ({ epoch }) =>
              Effect.sync(() => void epochs.push(epoch))),
            Effect.never
          ).pipe(Effect.scoped, (holding) =>
            Effect.forkChild(holding, { startImmediately: true }))
        const first = yield* hold(one)
        yield* hold(two)
        yield* set(jump)
        yield* TestClock.adjust("2 minutes")
        assert.deepStrictEqual(epochs, [1])
        yield* Fiber.interrupt(first)
        yield* TestClock.adjust("30 seconds")
        assert.deepStrictEqual(epochs, [1, 2])
      })))
  })
}

describe("the machine starts again", () => {
  it.effect("leases that were held before are over: nobody is left to renew them", () =>
    Effect.gen(function*() {
      const filename = yield* newFile
      yield* TestClock.adjust("30 days")
      yield* Effect.scoped(Effect.gen(function*() {
        const before = yield* open(filename)
        yield* Context.get(before, Backend).publish("q", [item])
        yield* (yield* subscribed(before, "before")).take(1)
      }))
      // the same start of the machine: the lease holds
      const same = yield* Effect.scoped(Effect.gen(function*() {
        return yield* (yield* subscribed(yield* open(filename), "same")).take(1)
      }))
      assert.deepStrictEqual(same, [])
      const database = new DatabaseSync(filename)
      database.exec("UPDATE boot SET id = 'another', began = 0")
      database.close()
      const after = yield* subscribed(yield* open(filename), "after")
      assert.deepStrictEqual((yield* after.take(1)).map(({ lostFrom }) => lostFrom?.worker), ["before"])
    }))
})
