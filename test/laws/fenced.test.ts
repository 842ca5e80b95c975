/**
 * Fenced: leases that really run out. A worker that cannot renew gives up by itself before anybody else may start the
 * job, and whoever comes back late finds that nothing it says has an effect.
 */
import { assert, describe } from "@effect/vitest"
import { Clock, Context, Effect, Layer, Option, type Scope } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import { Backend, type Delivery, type Settlement, type Subscription } from "windlass/Backend"
import * as Capability from "windlass/Capability"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import { Faults } from "windlass/testing"
import * as Worker from "windlass/Worker"
import { backends } from "./kit/backends.ts"
import { ended } from "./kit/end.ts"
import { forAll, law, runs } from "./kit/law.ts"
import type { Services } from "./kit/run.ts"
import { lease } from "./kit/spec.ts"

// ------------------------------------------------------------------------------------------------------ cut off

const bodies = ["waits", "refuses", "catches", "in time"] as const
const lines = ["fails", "hangs", "is late"] as const

interface Trial {
  readonly body: (typeof bodies)[number]
  /** what happens to renewals, after so many that went well */
  readonly line: (typeof lines)[number]
  readonly beats: number
  /** the middleware's own after takes so long, in seconds */
  readonly after: number
}

const trial: fc.Arbitrary<Trial> = fc.record({
  body: fc.constantFrom(...bodies),
  line: fc.constantFrom(...lines),
  beats: fc.integer({ min: 0, max: 3 }),
  after: fc.constantFrom(0, 0, 3)
})

const cutOff = (spec: Trial, queue: string) =>
  Effect.scoped(Effect.gen(function*() {
    const engine = yield* Backend
    const { backend, faults } = yield* Faults.wrap(engine)
    const start = yield* Clock.currentTimeMillis
    const seconds = Effect.map(Clock.currentTimeMillis, (now) => (now - start) / 1_000)
    const log: Array<readonly [event: string, at: number]> = []
    const say = (event: string) => Effect.map(seconds, (at) => void log.push([event, at]))
    const task = Task.make("Fenced", { queue })
    const handler = task.toLayer(() =>
      Effect.gen(function*() {
        const { worker } = yield* Job.Current
        yield* say(`${worker.id} starts`)
        if (worker.id === "second") return
        switch (spec.body) {
          case "waits":
            return yield* Effect.onExit(Effect.never, () => say("first ends"))
          case "catches":
            return yield* Effect.never.pipe(
              Effect.catchCause(() => Effect.void),
              Effect.onExit(() => say("first ends"))
            )
          case "refuses":
            return yield* Effect.uninterruptible(Effect.andThen(Effect.sleep("100 seconds"), say("first ends")))
          case "in time":
            return yield* Effect.andThen(Effect.sleep("5 seconds"), say("first ends"))
        }
      })
    )
    const after = Middleware.make(
      "after",
      Middleware.hooks({
        after: (_, __, job) => job.worker.id === "first" ? Effect.sleep(spec.after * 1_000) : Effect.void
      })
    )
    const worker = (id: string, backend: Backend["Service"]) =>
      Layer.build(
        Worker.layer(TaskGroup.make(task), { id, concurrency: 1, middleware: [after] }).pipe(
          Layer.provide(handler),
          Layer.provide(Layer.succeed(Backend, backend))
        )
      ).pipe(Effect.map(Context.get(Worker.Worker)), Effect.orDie)
    const target = { nth: spec.beats + 1, times: Infinity }
    if (spec.line === "fails") yield* faults.failNext("extend", target)
    else if (spec.line === "hangs") yield* faults.hangNext("extend", target)
    else yield* faults.delayNext("extend", "15 seconds", target)
    const id = yield* Effect.provideService(task.enqueue(undefined), Backend, engine)
    const first = yield* worker("first", backend)
    // it has the job before the other one looks
    yield* waitFor(() => log.length > 0)
    const second = yield* worker("second", engine)
    yield* TestClock.adjust("5 minutes")
    const record = Option.getOrThrow(yield* Effect.flatMap(Capability.Inspect, (inspect) => inspect.get(id)))
    return {
      log,
      record,
      settled: yield* faults.settlementsOf(id),
      reports: [yield* ended(first.stop), yield* ended(second.stop)] as const
    }
  }))

const waitFor = (condition: () => boolean): Effect.Effect<void> =>
  Effect.suspend(() => condition() ? Effect.void : Effect.andThen(Effect.yieldNow, waitFor(condition)))

// -------------------------------------------------------------------------------------------------- stale owners

const settlements: ReadonlyArray<Settlement> = [
  { _tag: "Complete", how: "succeeded", exit: "\"mine\"", reason: undefined },
  { _tag: "Complete", how: "discarded", exit: undefined, reason: "mine" },
  { _tag: "Complete", how: "aborted", exit: undefined, reason: "mine" },
  { _tag: "Retry", why: "failed", after: 0, attempt: "spent", place: "back", error: "mine" },
  { _tag: "Retry", why: "snoozed", after: 60_000, attempt: "kept", place: "back", error: undefined },
  { _tag: "Retry", why: "interrupted", after: 0, attempt: "kept", place: "front", error: undefined },
  { _tag: "Dead", reason: "failed", error: "mine", exit: undefined }
]
const acts = ["settle", "exchange", "extend", "progress"] as const
const nows = ["nobody holds it", "another holds it", "the same holds it again", "it is over", "it is dead"] as const

interface Stale {
  readonly act: (typeof acts)[number]
  readonly settlement: Settlement
  readonly now: (typeof nows)[number]
  readonly result: boolean
}

const stale: fc.Arbitrary<Stale> = fc.record({
  act: fc.constantFrom(...acts),
  settlement: fc.constantFrom(...settlements),
  now: fc.constantFrom(...nows),
  result: fc.boolean()
})

const comeBack = (spec: Stale, queue: string): Effect.Effect<void, unknown, Services | Scope.Scope> =>
  Effect.gen(function*() {
    const engine = yield* Backend
    const inspect = yield* Capability.Inspect
    const id = `${queue}-job`
    const mine = yield* engine.subscribe(queue, { worker: "mine" })
    const theirs = yield* engine.subscribe(queue, { worker: "theirs" })
    yield* engine.publish(queue, [{
      envelope: { id, task: "T", version: 1, payload: "1", headers: {}, origin: "user" },
      keepResult: spec.result ? 3_600_000 : undefined
    }])
    const one = (taken: ReadonlyArray<Delivery>) => {
      assert.strictEqual(taken.length, 1, "hand-outs")
      return taken[0]!
    }
    const old = one(yield* mine.take(1))
    yield* TestClock.adjust(lease)
    let holder: readonly [Subscription, Delivery] | undefined
    if (spec.now !== "nobody holds it") {
      const by = spec.now === "the same holds it again" ? mine : theirs
      const again = one(yield* by.take(1))
      assert.notDeepEqual(again.receipt, old.receipt)
      assert.strictEqual(again.unsettled, 1)
      holder = [by, again]
      if (spec.now === "it is over") yield* by.settle([[again.receipt, settlements[0]!]])
      if (spec.now === "it is dead") yield* by.settle([[again.receipt, settlements.at(-1)!]])
    }
    const before = yield* inspect.get(id)
    const answer = spec.act === "settle"
      ? (yield* mine.settle([[old.receipt, spec.settlement]]))[0]
      : spec.act === "exchange"
      ? (yield* mine.exchange([[old.receipt, spec.settlement]], 0))[0][0]
      : spec.act === "extend"
      ? mine.lease._tag === "Timed" ? (yield* mine.lease.extend([old.receipt]))[0] : "Lost"
      : yield* inspect.progress(old.receipt, "\"mine\"")
    if (spec.now === "nobody holds it") {
      // the engine may not have noticed yet that the lease ran out: then it is still the owner's
      if (answer !== "Lost") return
    }
    assert.strictEqual(answer, "Lost")
    assert.deepStrictEqual(yield* inspect.get(id), before)
    // and the one who holds it goes on undisturbed
    if (holder !== undefined && !spec.now.startsWith("it is")) {
      const [by, delivery] = holder
      assert.deepStrictEqual(yield* by.settle([[delivery.receipt, settlements[0]!]]), ["Settled"])
      const state = Option.map(yield* inspect.get(id), (record) => record.state)
      assert.deepStrictEqual(state, spec.result ? Option.some("succeeded" as const) : Option.none())
    }
  })

describe("fenced", () => {
  for (const [name, backend] of Object.entries(backends)) {
    let queues = 0
    law<Services>(
      "L16 fenced: a worker without renewals interrupts its handler before another may start, and settles nothing",
      [...bodies, ...lines],
      name,
      (tally) =>
        forAll(trial, { numRuns: runs * 6 }, (spec) =>
          Effect.gen(function*() {
            const { log, record, reports, settled } = yield* cutOff(spec, `fenced${++queues}`)
            const at = (event: string) => log.find(([name]) => name === event)?.[1]
            const held = log.length
            assert.isAtLeast(held, 2)
            assert.strictEqual(record.state, "succeeded")
            const effective = settled.filter((one) => one.answer === "Settled")
            if (spec.body === "in time") {
              // it was done while it held the job: nobody else ran it
              assert.strictEqual(effective.length, 1)
              assert.strictEqual(at("second starts"), undefined)
            } else {
              assert.strictEqual(effective.length, 0, "settlements of the one that was cut off")
              assert.deepStrictEqual([reports[0].lost, reports[0].succeeded], [1, 0])
              assert.strictEqual(reports[1].succeeded, 1)
              // the last renewal that it knows of was at most a third of the lease ago when the line went dead
              const last = (spec.beats * lease) / 3_000
              assert.isAtLeast(at("second starts")!, last + lease / 1_000)
              if (spec.body !== "refuses") {
                assert.isAtMost(at("first ends")!, last + (2 * lease) / 3_000 + 0.001, "interrupted")
                assert.isBelow(at("first ends")!, at("second starts")!)
              }
            }
            tally.add(spec.body, spec.line)
          })),
      (effect) => Effect.provide(effect, backend(lease))
    )

    law<Services>(
      "L16 fenced: what a stale owner says has no effect and is answered Lost",
      [...acts, ...nows],
      name,
      (tally) =>
        forAll(stale, { numRuns: runs * 8, shift: 1 }, (spec) =>
          Effect.gen(function*() {
            yield* Effect.scoped(comeBack(spec, `stale${++queues}`))
            tally.add(spec.act, spec.now)
          })),
      (effect) => Effect.provide(effect, backend(lease, false))
    )
  }
})
