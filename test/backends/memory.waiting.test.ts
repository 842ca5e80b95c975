/** Waiting for work on the memory engine: nothing that comes is missed, and nobody waits on who has left. */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import type { Item } from "windlass/Backend"
import { Engine } from "../../src/backends/memory/engine.ts"
import { forWork } from "../../src/backends/memory/waiting.ts"

const item = (id: string, options: Partial<Item> = {}): Item => ({
  envelope: { id, task: "T", version: 1, payload: "{}", headers: {}, origin: "user" },
  ...options
})

const setUp = Effect.map(Clock.clockWith(Effect.succeed), (clock) => {
  const engine = new Engine({ lease: 1_000, keepFailures: 0, keepSuccesses: 0 })
  const publish = (...items: ReadonlyArray<Item>) =>
    engine.outbox.sync(() => engine.publish("q", items, false, clock.currentTimeMillisUnsafe()))
  return { clock, engine, publish, queue: engine.queue("q") }
})

describe("waiting for work in memory", () => {
  it.effect("who is woken waits no more, who is interrupted neither", () =>
    Effect.gen(function*() {
      const { clock, publish, queue } = yield* setUp
      const fork = () => Effect.forkChild(forWork(queue, clock), { startImmediately: true })
      const woken = [yield* fork(), yield* fork()]
      const cut = yield* fork()
      assert.strictEqual(queue.waiters.size, 3)
      yield* Fiber.interrupt(cut)
      assert.strictEqual(queue.waiters.size, 2)
      yield* publish(item("a"))
      yield* Effect.forEach(woken, Fiber.join)
      assert.strictEqual(queue.waiters.size, 0)
    }))

  it.effect("a job that comes between the look and the wait is not missed", () =>
    Effect.gen(function*() {
      const { clock, engine, queue } = yield* setUp
      let published = false
      // the last thing that is read before the wait
      const late: Clock.Clock = {
        ...clock,
        currentTimeMillisUnsafe: () => {
          if (!published) engine.publish("q", [item("a")], false, 0)
          published = true
          return 0
        }
      }
      yield* forWork(queue, late)
      assert.strictEqual(queue.waiters.size, 0)
    }))

  it.effect("a job that is due sooner than what is waited for wakes, and the time of the first one does", () =>
    Effect.gen(function*() {
      const { clock, publish, queue } = yield* setUp
      yield* publish(item("late", { due: { _tag: "After", millis: 10_000 } }))
      const fiber = yield* Effect.forkChild(forWork(queue, clock), { startImmediately: true })
      yield* publish(item("soon", { due: { _tag: "After", millis: 2_000 } }))
      yield* TestClock.adjust("1999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(fiber)
      assert.strictEqual(queue.waiters.size, 0)
    }))
})
