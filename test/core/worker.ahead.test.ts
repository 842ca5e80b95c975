/** Claims that are asked for before the last batch has run (`src/internal/worker/ahead.ts`). */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Backend, BackendError, type Delivery, type Limits, type Subscription } from "windlass/Backend"
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

/** what happened, in order: a call as it is made (and how many jobs it brought later), and every job as it starts */
type Seen =
  | { readonly asked: number; readonly settles: number; readonly lostWait: number; got: number }
  | { readonly ran: number }

interface Engine {
  /** calls take a turn of the scheduler: as over a network, the answer comes later */
  readonly far: boolean
  readonly limits?: Partial<Limits>
  /** what its subscriptions say of claiming ahead; they want it unless set */
  readonly ahead?: boolean
  /** calls that lose their answer */
  readonly fails?: (asked: number) => boolean
  /** jobs that their last owner was lost with */
  readonly lost?: (n: number) => boolean
}

const noAnswer = Effect.fail(
  new BackendError({
    backend: "memory",
    operation: "exchange",
    message: "too large",
    retryable: true,
    outcome: "NotApplied"
  })
)

/** Memory, watched. */
const watched = (seen: Array<Seen>, { ahead = true, fails = () => false, far, limits, lost = () => false }: Engine) => {
  const over = <A, E>(call: Effect.Effect<A, E>) => far ? Effect.andThen(Effect.yieldNow, call) : call
  const numberOf = ({ envelope }: Delivery) => (JSON.parse(envelope.payload) as { readonly n: number }).n
  /** lost jobs that were handed out and not settled, by id */
  const out = new Map<string, number>()
  const marked = (delivery: Delivery): Delivery => {
    if (!lost(numberOf(delivery))) return delivery
    out.set(delivery.receipt.id, numberOf(delivery))
    return { ...delivery, unsettled: 1 }
  }
  const note = (asked: number, items: Parameters<Subscription["settle"]>[0]) => {
    for (const [{ id }] of items) out.delete(id)
    const started = new Set(ran(seen))
    const lostWait = [...out.values()].filter((n) => !started.has(n)).length
    const call = { asked, settles: items.length, lostWait, got: 0 }
    seen.push(call)
    return (deliveries: ReadonlyArray<Delivery>) => {
      call.got = deliveries.length
      return deliveries.map(marked)
    }
  }
  const watch = (subscription: Subscription): Subscription => ({
    ...subscription,
    claimAhead: ahead,
    take: (max) => {
      const answered = note(max, [])
      return over(fails(max) ? noAnswer : Effect.map(subscription.take(max), answered))
    },
    settle: (items) => {
      note(0, items)
      return over(subscription.settle(items))
    },
    exchange: (items, max) => {
      const answered = note(max, items)
      return over(
        fails(max)
          ? noAnswer
          : Effect.map(subscription.exchange(items, max), ([settled, taken]) => [settled, answered(taken)])
      )
    }
  })
  return Layer.effect(
    Backend,
    Effect.map(Backend, (backend) => ({
      ...backend,
      limits: { ...backend.limits, ...limits },
      subscribe: (queue: string, options: Parameters<typeof backend.subscribe>[1]) =>
        Effect.map(backend.subscribe(queue, options), watch)
    }))
  )
}

const drain = (
  seen: Array<Seen>,
  engine: Engine,
  handler: (n: number) => Effect.Effect<void, never, Job.Current>,
  options: Partial<Worker.Options> = {}
) =>
  Worker.launch(
    Worker.layer(App, { mode: "drain", concurrency: 4, ...options as object }).pipe(
      Layer.provide(A.toLayer(({ n }) => {
        seen.push({ ran: n })
        return handler(n)
      })),
      Layer.provide(watched(seen, engine))
    )
  )

const ran = (seen: ReadonlyArray<Seen>) => seen.flatMap((one) => "ran" in one ? [one.ran] : [])

/** how many jobs had been claimed and were not started, when each call was made */
const waiting = (seen: ReadonlyArray<Seen>) => {
  let claimed = 0
  let started = 0
  let before = 0
  return seen.flatMap((one) => {
    if ("ran" in one) {
      started++
      return []
    }
    claimed += before
    before = one.got
    return one.asked === 0 ? [] : [claimed - started]
  })
}

const asked = (seen: ReadonlyArray<Seen>) => seen.flatMap((one) => "asked" in one && one.asked > 0 ? [one.asked] : [])

const provided = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provide(effect, MemoryBackend.layer)

describe("claiming ahead", () => {
  it.effect("after two batches that ended at once the next claim is on its way while a batch runs; each job runs once", () =>
    provided(Effect.gen(function*() {
      const seen: Array<Seen> = []
      yield* A.enqueueMany(many(40))
      // without room to grow
      const report = yield* drain(seen, { far: true, limits: { takeBatch: 4 } }, () => Effect.void)
      assert.strictEqual(report.succeeded, 40)
      assert.strictEqual(report.released, 0)
      assert.deepStrictEqual(ran(seen), many(40).map(({ n }) => n))
      const ahead = waiting(seen)
      assert.deepStrictEqual(ahead.slice(0, 3), [0, 0, 0])
      // never more than one batch
      assert.deepStrictEqual(ahead.slice(3, 10), [4, 4, 4, 4, 4, 4, 4])
      // and a batch is settled with the claim after the one that it ran beside
      assert.isAtMost(seen.filter((one) => "asked" in one).length, 13)
    })))

  it.effect("jobs that end as they start need one slot after the other: batches grow, one waits at most, in order", () =>
    provided(Effect.gen(function*() {
      const seen: Array<Seen> = []
      let running = 0
      yield* A.enqueueMany(many(400))
      const report = yield* drain(seen, { far: true }, () =>
        Effect.suspend(() => {
          assert.strictEqual(++running, 1)
          return Effect.sync(() => void running--)
        }), { concurrency: 1 })
      assert.strictEqual(report.succeeded, 400)
      assert.strictEqual(report.released, 0)
      assert.deepStrictEqual(ran(seen), many(400).map(({ n }) => n))
      assert.deepStrictEqual(asked(seen).slice(0, 9), [1, 1, 2, 2, 4, 4, 8, 8, 16])
      const gots = seen.flatMap((one) => "got" in one ? [one.got] : [])
      for (const ahead of waiting(seen)) assert.isAtMost(ahead, Math.max(...gots))
    })))

  it.effect.each<{ readonly limits: Partial<Limits>; readonly largest: number }>([
    { limits: { takeBatch: 6 }, largest: 6 },
    // two batches that go back do so in one call
    { limits: { settleBatch: 12 }, largest: 6 },
    { limits: {}, largest: 250 }
  ])(
    "no batch is larger than the engine's, or than 250: $limits",
    ({ largest, limits }) =>
      provided(Effect.gen(function*() {
        const seen: Array<Seen> = []
        yield* A.enqueueMany(many(2_000))
        const report = yield* drain(seen, { far: true, limits }, () => Effect.void)
        assert.strictEqual(report.succeeded, 2_000)
        assert.strictEqual(Math.max(...asked(seen)), largest)
      }))
  )

  it.effect("no batch is larger than what is done in five milliseconds, or than the free slots", () =>
    provided(Effect.gen(function*() {
      const seen: Array<Seen> = []
      const { clock, spend } = yield* workersClock
      yield* A.enqueueMany(many(100))
      const report = yield* drain(seen, { far: true }, () => spend(0.7)).pipe(Effect.provideService(Clock.Clock, clock))
      assert.strictEqual(report.succeeded, 100)
      assert.strictEqual(Math.max(...asked(seen)), 7)
    })))

  it.effect("jobs that begin to block: one batch does not hold up the worker, the rest of it goes back", () =>
    provided(Effect.gen(function*() {
      const seen: Array<Seen> = []
      const { clock, spend } = yield* workersClock
      yield* A.enqueueMany(many(1_000))
      let blocking = 0
      let worst = 0
      let since = 0
      const report = yield* drain(seen, { far: true }, (n) =>
        Effect.suspend(() => {
          if (n < 300) return Effect.void
          // the worker goes round between two batches
          const call = seen.findLastIndex((one) => "asked" in one)
          if (call !== since) blocking = 0
          since = call
          worst = Math.max(worst, ++blocking)
          return spend(10)
        })).pipe(Effect.provideService(Clock.Clock, clock))
      assert.strictEqual(report.succeeded, 1_000)
      assert.isAbove(report.released, 0)
      // once: after that it asks for as many as there are slots
      assert.isAtMost(report.released, 512)
      assert.deepStrictEqual(ran(seen), many(1_000).map(({ n }) => n))
    })))

  it.effect("jobs whose owner was lost are claimed for a slot or go back, and nothing waits with them: one of them may be why", () =>
    provided(Effect.gen(function*() {
      const seen: Array<Seen> = []
      yield* A.enqueueMany(many(200))
      const lost = (n: number) => n >= 100 && n < 150
      const report = yield* drain(seen, { far: true, lost }, () => Effect.void)
      assert.strictEqual(report.succeeded, 200)
      assert.deepStrictEqual(ran(seen), many(200).map(({ n }) => n))
      // the batch that brought the first of them had more of them than slots
      assert.isAtLeast(report.released, 20)
      const calls = seen.flatMap((one, i) => "asked" in one ? [i] : [])
      calls.forEach((call, i) => {
        const run = ran(seen.slice(call, calls[i + 1])).filter(lost)
        assert.isAtMost(run.length, 4)
      })
      // nor is anything claimed while one of them waits
      assert.deepStrictEqual(new Set(seen.flatMap((one) => "asked" in one ? [one.lostWait] : [])), new Set([0]))
    })))

  it.effect("an engine that answers at once is never asked while a batch waits", () =>
    provided(Effect.gen(function*() {
      const seen: Array<Seen> = []
      yield* A.enqueueMany(many(40))
      const report = yield* drain(seen, { far: false }, () => Effect.void)
      assert.strictEqual(report.succeeded, 40)
      assert.deepStrictEqual(new Set(waiting(seen)), new Set([0]))
      assert.deepStrictEqual(asked(seen).slice(0, 4), [4, 4, 8, 16])
    })))

  it.effect.each([true, false])(
    "one that does not say that it wants it never is (far: %s)",
    (far) =>
      provided(Effect.gen(function*() {
        const seen: Array<Seen> = []
        yield* A.enqueueMany(many(40))
        const report = yield* drain(seen, { far, ahead: false }, () => Effect.void)
        assert.strictEqual(report.succeeded, 40)
        assert.deepStrictEqual(new Set(waiting(seen)), new Set([0]))
        assert.deepStrictEqual(new Set(asked(seen)), new Set([4]))
      }))
  )

  it.live("a claim that fails is not asked for again in that size", () =>
    provided(Effect.gen(function*() {
      const seen: Array<Seen> = []
      yield* A.enqueueMany(many(300))
      const report = yield* drain(seen, { far: true, fails: (asked) => asked > 20 }, () => Effect.void)
      assert.strictEqual(report.succeeded, 300)
      const failed = asked(seen).filter((max) => max > 20)
      assert.isAtLeast(failed.length, 1)
      asked(seen).forEach((max, i) => {
        if (max > 20) assert.strictEqual(asked(seen)[i + 1], 4)
      })
    })))

  it.effect.each([1, 4])(
    "two batches that go back keep their order, whatever a call settles (concurrency %d)",
    (concurrency) =>
      provided(Effect.gen(function*() {
        const seen: Array<Seen> = []
        const { clock, spend } = yield* workersClock
        yield* A.enqueueMany(many(3_000))
        const limits = { takeBatch: 100, settleBatch: 100 }
        const report = yield* drain(
          seen,
          { far: true, limits },
          (n) => n % 700 === 699 ? spend(80) : n % 700 === 350 ? Effect.yieldNow : Effect.void,
          { concurrency }
        ).pipe(Effect.provideService(Clock.Clock, clock))
        assert.strictEqual(report.succeeded, 3_000)
        assert.isAbove(report.released, 0)
        assert.deepStrictEqual(ran(seen), many(3_000).map(({ n }) => n))
      }))
  )

  it.effect("a worker whose jobs take time now and then soon claims no more than it has slots", () =>
    provided(Effect.gen(function*() {
      const seen: Array<Seen> = []
      const { clock, spend } = yield* workersClock
      yield* A.enqueueMany(many(20_000))
      const report = yield* drain(
        seen,
        { far: true },
        (n) => n % 500 === 499 ? Effect.andThen(spend(0.02), Effect.yieldNow) : spend(0.02),
        { concurrency: 1 }
      ).pipe(Effect.provideService(Clock.Clock, clock))
      assert.strictEqual(report.succeeded, 20_000)
      // 40 of them do: the first few send batches back, and it takes longer after each until they are large again
      assert.isAtMost(report.released, 500)
      assert.deepStrictEqual(ran(seen), many(20_000).map(({ n }) => n))
    })))

  it.effect("no job starts when its lease may end, however long those before it block (L16)", () =>
    provided(Effect.gen(function*() {
      const seen: Array<Seen> = []
      const { clock, millis, spend } = yield* workersClock
      yield* A.enqueueMany(many(1_000))
      let called = 0
      let calls = 0
      const report = yield* drain(seen, { far: false }, (n) =>
        Effect.suspend(() => {
          const count = seen.filter((one) => "asked" in one).length
          if (count !== calls) called = millis()
          calls = count
          // the lease is 30 seconds; its own slots are another matter
          assert.isBelow(millis() - called, 10_001)
          return n > 300 ? spend(4_500) : Effect.void
        }), { concurrency: 1 }).pipe(Effect.provideService(Clock.Clock, clock))
      assert.strictEqual(report.succeeded, 1_000)
      assert.isAbove(report.released, 0)
    })))

  it.effect("nor does a worker that is told not to", () =>
    provided(Effect.gen(function*() {
      const seen: Array<Seen> = []
      yield* A.enqueueMany(many(40))
      const report = yield* drain(seen, { far: true }, () => Effect.void, { claimAhead: false })
      assert.strictEqual(report.succeeded, 40)
      assert.deepStrictEqual(new Set(waiting(seen)), new Set([0]))
      assert.deepStrictEqual(new Set(asked(seen)), new Set([4]))
    })))

  it.effect("jobs that take time are never claimed before there is a slot for them", () =>
    provided(Effect.gen(function*() {
      const seen: Array<Seen> = []
      let running = 0
      yield* A.enqueueMany(many(40))
      const report = yield* drain(seen, { far: true }, () =>
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
      const report = yield* drain(seen, { far: true }, (n) =>
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
      // of 4, 4, 8, 8, 16 the last begins with 24 and was claimed ahead
      assert.strictEqual(report.released, 16)
      assert.deepStrictEqual(ran(seen).toSorted((a, b) => a - b), many(60).map(({ n }) => n))
      // they go back to the front: nobody is overtaken
      assert.deepStrictEqual(ran(seen), many(60).map(({ n }) => n))
    })))

  it.effect("a stop while a batch waits: it goes back and costs no attempt", () =>
    provided(Effect.gen(function*() {
      const seen: Array<Seen> = []
      yield* A.enqueueMany(many(40))
      const report = yield* drain(seen, { far: true }, (n) =>
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
      const rest = yield* drain(again, { far: true }, () =>
        Effect.map(Job.Current, (job) =>
          assert.strictEqual(job.attempt, 1)))
      assert.strictEqual(rest.succeeded, 40 - handled.length)
      assert.deepStrictEqual(
        [...handled, ...ran(again)].toSorted((a, b) =>
          a - b
        ),
        many(40).map(({ n }) => n)
      )
    })))

  it.effect("a batch that blocks for long: what was claimed behind it goes back before its lease is in doubt (L16)", () =>
    provided(Effect.gen(function*() {
      const seen: Array<Seen> = []
      const { clock, spend } = yield* workersClock
      yield* A.enqueueMany(many(40))
      const report = yield* drain(seen, { far: true }, (n) => n === 17 ? spend(20_000) : Effect.void).pipe(
        Effect.provideService(Clock.Clock, clock)
      )
      assert.strictEqual(report.succeeded, 40)
      assert.isAbove(report.released, 0)
      assert.deepStrictEqual(ran(seen).toSorted((a, b) => a - b), many(40).map(({ n }) => n))
    })))

  it.effect("behind a gate nothing is claimed ahead: its permits are for what starts", () =>
    provided(Effect.gen(function*() {
      const seen: Array<Seen> = []
      const gate: Gate.Gate = { name: "open", acquire: (max) => Effect.succeed(max) }
      yield* A.enqueueMany(many(40))
      const report = yield* drain(seen, { far: true }, () => Effect.void, { gates: [gate] })
      assert.strictEqual(report.succeeded, 40)
      assert.deepStrictEqual(new Set(waiting(seen)), new Set([0]))
      assert.deepStrictEqual(new Set(asked(seen)), new Set([4]))
    })))
})

/** The worker's clock: a handler that blocks the event loop moves it, by milliseconds. */
const workersClock = Effect.map(Clock.Clock, (clock) => {
  let spent = 0
  const own: Clock.Clock = Object.assign(Object.create(clock), {
    monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe() + BigInt(Math.round(spent * 1e6))
  })
  return {
    clock: own,
    millis: () => Number(own.monotonicTimeNanosUnsafe()) / 1e6,
    spend: (millis: number) =>
      Effect.sync(() => {
        spent += millis
      })
  }
})

/** enough turns for everything that can go on to have gone on */
const settleDown = Effect.forEach(Array.from({ length: 50 }), () => Effect.yieldNow, { discard: true })
