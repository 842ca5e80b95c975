/** Claims that are asked for before the last batch has run (`src/internal/worker/ahead.ts`). */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Backend, type Subscription } from "windlass/Backend"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import { Inspect } from "windlass/Capability"
import type * as Gate from "windlass/Gate"
import * as Job from "windlass/Job"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"

class A extends Task.make("A", { payload: { n: Schema.Number } }) {}
const App = TaskGroup.make(A)
const many = (count: number) => Array.from({ length: count }, (_, n) => ({ n }))

/** what happened, in order: a call as it is made, and every job as it starts */
type Seen = { readonly asked: number; readonly settles: number } | { readonly ran: number }

/** Memory, with calls that take a turn of the scheduler when `far`: as over a network, the answer comes later. */
const watched = (seen: Array<Seen>, far: boolean) => {
  const over = <A, E>(call: Effect.Effect<A, E>) => far ? Effect.andThen(Effect.yieldNow, call) : call
  const watch = (subscription: Subscription): Subscription => ({
    ...subscription,
    take: (max) => {
      seen.push({ asked: max, settles: 0 })
      return over(subscription.take(max))
    },
    settle: (items) => {
      seen.push({ asked: 0, settles: items.length })
      return over(subscription.settle(items))
    },
    exchange: (items, max) => {
      seen.push({ asked: max, settles: items.length })
      return over(subscription.exchange(items, max))
    }
  })
  return Layer.effect(
    Backend,
    Effect.map(Backend, (backend) => ({
      ...backend,
      subscribe: (queue: string, options: Parameters<typeof backend.subscribe>[1]) =>
        Effect.map(backend.subscribe(queue, options), watch)
    }))
  )
}

const drain = (
  seen: Array<Seen>,
  far: boolean,
  handler: (n: number) => Effect.Effect<void, never, Job.Current>,
  options: Partial<Worker.Options> = {}
) =>
  Worker.launch(
    Worker.layer(App, { mode: "drain", concurrency: 4, ...options as object }).pipe(
      Layer.provide(A.toLayer(({ n }) => {
        seen.push({ ran: n })
        return handler(n)
      })),
      Layer.provide(watched(seen, far))
    )
  )

const ran = (seen: ReadonlyArray<Seen>) => seen.flatMap((one) => "ran" in one ? [one.ran] : [])

/** how many jobs had been claimed and were not started, when each call was made */
const waiting = (seen: ReadonlyArray<Seen>, claimed: ReadonlyArray<number>) => {
  let started = 0
  let asked = 0
  return seen.flatMap((one) => {
    if ("ran" in one) {
      started++
      return []
    }
    if (one.asked === 0) return []
    const before = claimed.slice(0, asked++).reduce((sum, n) => sum + n, 0)
    return [before - started]
  })
}

const provided = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provide(effect, MemoryBackend.layer)

describe("claiming ahead", () => {
  it.effect("after two batches that ended at once the next claim is on its way while a batch runs; each job runs once", () =>
    provided(Effect.gen(function*() {
      const seen: Array<Seen> = []
      yield* A.enqueueMany(many(40))
      const report = yield* drain(seen, true, () => Effect.void)
      assert.strictEqual(report.succeeded, 40)
      assert.strictEqual(report.released, 0)
      assert.deepStrictEqual(ran(seen), many(40).map(({ n }) => n))
      const claims = [...Array.from({ length: 10 }, () => 4), 0, 0, 0]
      const ahead = waiting(seen, claims)
      assert.deepStrictEqual(ahead.slice(0, 3), [0, 0, 0])
      // never more than one batch
      assert.deepStrictEqual(ahead.slice(3, 10), [4, 4, 4, 4, 4, 4, 4])
      // and a batch is settled with the claim after the one that it ran beside
      assert.isAtMost(seen.filter((one) => "asked" in one).length, 13)
    })))

  it.effect("an engine that answers at once is never asked ahead", () =>
    provided(Effect.gen(function*() {
      const seen: Array<Seen> = []
      yield* A.enqueueMany(many(40))
      const report = yield* drain(seen, false, () => Effect.void)
      assert.strictEqual(report.succeeded, 40)
      const ahead = waiting(seen, [...Array.from({ length: 10 }, () => 4), 0])
      assert.deepStrictEqual(new Set(ahead), new Set([0]))
    })))

  it.effect("nor does a worker that is told not to", () =>
    provided(Effect.gen(function*() {
      const seen: Array<Seen> = []
      yield* A.enqueueMany(many(40))
      const report = yield* drain(seen, true, () => Effect.void, { claimAhead: false })
      assert.strictEqual(report.succeeded, 40)
      const ahead = waiting(seen, [...Array.from({ length: 10 }, () => 4), 0, 0])
      assert.deepStrictEqual(new Set(ahead), new Set([0]))
    })))

  it.effect("jobs that take time are never claimed before there is a slot for them", () =>
    provided(Effect.gen(function*() {
      const seen: Array<Seen> = []
      let running = 0
      yield* A.enqueueMany(many(40))
      const report = yield* drain(seen, true, () =>
        Effect.suspend(() => {
          assert.isAtMost(++running, 4)
          return Effect.andThen(Effect.yieldNow, Effect.sync(() => void running--))
        }))
      assert.strictEqual(report.succeeded, 40)
      assert.strictEqual(report.released, 0)
    })))

  it.effect("jobs that begin to take time: what was claimed ahead goes back, the concurrency holds, each job runs once", () =>
    provided(Effect.gen(function*() {
      const seen: Array<Seen> = []
      const slow = yield* Deferred.make<void>()
      let running = 0
      let most = 0
      yield* A.enqueueMany(many(60))
      const report = yield* drain(seen, true, (n) =>
        Effect.suspend(() => {
          most = Math.max(most, ++running)
          // the batch of 20 waits until all that could be started with it has been
          const wait = n >= 20 && n < 24
            ? n === 23 ? Effect.andThen(settleDown, Deferred.succeed(slow, undefined)) : Deferred.await(slow)
            : Effect.void
          return Effect.andThen(wait, Effect.sync(() => void running--))
        }))
      assert.strictEqual(most, 4)
      assert.strictEqual(report.succeeded, 60)
      assert.strictEqual(report.released, 4)
      assert.deepStrictEqual(ran(seen).toSorted((a, b) => a - b), many(60).map(({ n }) => n))
      // they go back to the front: nobody is overtaken
      assert.deepStrictEqual(ran(seen), many(60).map(({ n }) => n))
    })))

  it.effect("a stop while a batch waits: it goes back and costs no attempt", () =>
    provided(Effect.gen(function*() {
      const seen: Array<Seen> = []
      yield* A.enqueueMany(many(40))
      const report = yield* drain(seen, true, (n) =>
        n === 17
          ? Effect.flatMap(Job.Current, (job) => job.worker.stop)
          : Effect.void)
      const handled = ran(seen)
      assert.strictEqual(report.succeeded, handled.length)
      assert.isAtLeast(report.released, 4)
      const inspect = yield* Inspect
      const { active, ready } = yield* inspect.counts("default")
      assert.deepStrictEqual([active, ready], [0, 40 - handled.length])
      const again: Array<Seen> = []
      const rest = yield* drain(again, true, () => Effect.map(Job.Current, (job) => assert.strictEqual(job.attempt, 1)))
      assert.strictEqual(rest.succeeded, 40 - handled.length)
      assert.deepStrictEqual([...handled, ...ran(again)].toSorted((a, b) => a - b), many(40).map(({ n }) => n))
    })))

  it.effect("a batch that blocks for long: what was claimed behind it goes back before its lease is in doubt (L16)", () =>
    provided(Effect.gen(function*() {
      const seen: Array<Seen> = []
      const clock = yield* Clock.Clock
      let blocked = 0n
      // the worker's clock: a handler that blocks the event loop moves it
      const worker: Clock.Clock = Object.assign(Object.create(clock), {
        monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe() + blocked
      })
      yield* A.enqueueMany(many(40))
      const report = yield* drain(seen, true, (n) =>
        Effect.sync(() => {
          if (n === 17) blocked += 20_000_000_000n
        })).pipe(Effect.provideService(Clock.Clock, worker))
      assert.strictEqual(report.succeeded, 40)
      assert.strictEqual(report.released, 4)
      assert.deepStrictEqual(ran(seen).toSorted((a, b) => a - b), many(40).map(({ n }) => n))
    })))

  it.effect("behind a gate nothing is claimed ahead: its permits are for what starts", () =>
    provided(Effect.gen(function*() {
      const seen: Array<Seen> = []
      const gate: Gate.Gate = { name: "open", acquire: (max) => Effect.succeed(max) }
      yield* A.enqueueMany(many(40))
      const report = yield* drain(seen, true, () => Effect.void, { gates: [gate] })
      assert.strictEqual(report.succeeded, 40)
      assert.deepStrictEqual(
        new Set(waiting(seen, [...Array.from({ length: 10 }, () => 4), 0, 0])),
        new Set([0])
      )
    })))
})

/** enough turns for everything that can go on to have gone on */
const settleDown = Effect.forEach(Array.from({ length: 50 }), () => Effect.yieldNow, { discard: true })
