/**
 * Settling when the backend fails: calls that are refused, whose answer is lost, that hang or come late, in random order,
 * with and without renewals of the lease, with and without a stop that is waiting.
 */
import { assert, describe } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Layer, Option, Schedule, Schema, type Scope } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import { Backend } from "windlass/Backend"
import * as Capability from "windlass/Capability"
import * as Decide from "windlass/Decide"
import * as Enqueue from "windlass/Enqueue"
import * as Job from "windlass/Job"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import { Faults } from "windlass/testing"
import * as Worker from "windlass/Worker"
import { backends } from "./kit/backends.ts"
import { ended } from "./kit/end.ts"
import { forAll, law as named, runs, type Tally } from "./kit/law.ts"
import type { Services } from "./kit/run.ts"
import { lease } from "./kit/spec.ts"

const ends = ["succeed", "fail and retry", "fail for good", "discard", "snooze"] as const
const troubles = ["refused", "answer lost", "hangs", "slow"] as const

interface Trial {
  readonly end: (typeof ends)[number]
  /** what happens to the first, second, ... call that settles */
  readonly troubles: ReadonlyArray<(typeof troubles)[number]>
  /** no renewal reaches the engine either */
  readonly cutOff: boolean
  /** a stop, or a second signal, comes while it settles */
  readonly stop: "none" | "stop" | "interrupt"
}

const trial = (cutOff: boolean): fc.Arbitrary<Trial> =>
  fc.record({
    end: fc.constantFrom(...ends),
    troubles: fc.array(fc.constantFrom(...troubles), { minLength: 1, maxLength: 4 }),
    cutOff: fc.constant(cutOff),
    stop: fc.constantFrom("none", "none", "stop", "interrupt")
  })

/** what the engine did already is renewed no longer: then two calls that hang take more time than there is */
const renewable = ({ troubles }: Trial): boolean =>
  !troubles.includes("answer lost") || !troubles.slice(troubles.indexOf("answer lost")).includes("hangs")

class Failed extends Schema.TaggedError<Failed>()("Failed", {}) {}

const scenario = (spec: Trial, queue: string) =>
  Effect.gen(function*() {
    const engine = yield* Backend
    const inspect = yield* Capability.Inspect
    const one = yield* Faults.wrap(engine)
    const other = yield* Faults.wrap(engine)
    const { faults } = one
    const running = yield* Deferred.make<void>()
    const ran: Array<string> = []

    const task = Task.make("Settle", {
      error: Failed,
      queue,
      retry: { schedule: Schedule.spaced("90 seconds"), while: () => spec.end === "fail and retry" }
    })
    const plan = Effect.forEach(spec.troubles, (trouble, i) => {
      const target = {
        nth: i + 1,
        where: (input: { readonly items: ReadonlyArray<unknown> }) => input.items.length > 0
      }
      const calls = ["settle", "exchange"] as const
      switch (trouble) {
        case "refused":
          return faults.failNext(calls, target)
        case "answer lost":
          return faults.dropAnswer(calls, target)
        case "hangs":
          return faults.hangNext(calls, target)
        case "slow":
          return faults.delayNext(calls, "12 seconds", target)
      }
    })
    const handler = task.toLayer(() =>
      Effect.gen(function*() {
        const job = yield* Job.Current
        ran.push(job.worker.id)
        if (ran.length > 1) return
        yield* plan
        if (spec.cutOff) yield* faults.failNext("extend", { times: Infinity })
        yield* Deferred.succeed(running, undefined)
        switch (spec.end) {
          case "succeed":
            return
          case "fail and retry":
          case "fail for good":
            return yield* new Failed()
          case "discard":
            return yield* Decide.discard()
          case "snooze":
            return yield* Decide.snooze("90 seconds")
        }
      })
    )
    const start = (id: string, backend: Backend["Service"], scope: Scope.Scope) =>
      Layer.buildWithScope(
        Worker.layer(TaskGroup.make(task), { id, concurrency: 1 }).pipe(
          Layer.provide(handler),
          Layer.provide(Layer.succeed(Backend, backend))
        ),
        scope
      ).pipe(Effect.map(Context.get(Worker.Worker)), Effect.orDie)

    const scope = yield* Effect.scope
    const first = yield* start("first", one.backend, scope)
    const id = yield* task.enqueue(undefined).pipe(Enqueue.id(`${queue}-job`), Effect.provideService(Backend, engine))
    yield* Deferred.await(running)
    const second = yield* start("second", other.backend, scope)
    const stopping = spec.stop === "none"
      ? undefined
      : yield* Effect.forkChild(spec.stop === "stop" ? first.stop : first.interrupt, { startImmediately: true })
    const over = Effect.map(
      inspect.get(id),
      (record) => !["scheduled", "ready", "active"].includes(Option.getOrThrow(record).state)
    )
    for (let n = 0; n < 60 && !(yield* over); n++) yield* TestClock.adjust("5 seconds")
    const inTime = yield* over
    // a worker that still tries, tries no longer than the lease
    yield* TestClock.adjust("60 seconds")
    const record = Option.getOrThrow(yield* inspect.get(id))
    const stopped = stopping?.pollUnsafe()
    // a call that hangs for ever must not hold up the end of the test
    yield* faults.heal
    const reports = [yield* ended(first.stop), yield* ended(second.stop)] as const
    return {
      inTime,
      record,
      ran,
      reports,
      stopped: stopped === undefined ? "waits" : Exit.isSuccess(stopped) ? "stopped" : "failed",
      calls: (yield* faults.calls("settle", "exchange")).filter((call) => call.input.items.length > 0),
      mine: yield* faults.settlementsOf(id),
      theirs: yield* other.faults.settlementsOf(id)
    }
  })

const acknowledged = (report: Worker.Report): number =>
  report.succeeded + report.discarded + report.dead + report.retried + report.snoozed + report.aborted

describe("settling when the backend fails", () => {
  for (const [name, backend] of Object.entries(backends)) {
    let queues = 0
    const law = (
      law: string,
      kinds: ReadonlyArray<string>,
      body: (tally: Tally) => Effect.Effect<void, unknown, Services>
    ) => named<Services>(law, kinds, name, body, (effect) => Effect.provide(effect, backend(lease)))
    const kindsOf = (spec: Trial) => [spec.end, ...new Set(spec.troubles), ...(spec.stop === "none" ? [] : ["stop"])]

    law(
      "L4 no swallowed settlement: what the engine did not do is never reported as done",
      [...ends, ...troubles, "cut off"],
      (tally) =>
        forAll(
          fc.oneof(trial(true), trial(false)),
          { numRuns: runs * 8 },
          (spec) =>
            Effect.scoped(Effect.gen(function*() {
              const { inTime, mine, record, reports, theirs } = yield* scenario(spec, `settle${++queues}`)
              assert.isTrue(inTime, "over in time")
              const done = (list: typeof mine) => list.filter((s) => s.answer === "Settled" || s.answer === "Aborted")
              assert.isAtMost(acknowledged(reports[0]), done(mine).length, "acknowledged by the first worker")
              assert.strictEqual(acknowledged(reports[1]), done(theirs).length, "acknowledged by the second worker")
              const final = [...done(mine), ...done(theirs)].filter((s) => s.settlement._tag !== "Retry")
              assert.strictEqual(final.length, 1, "settlements that ended the job")
              const settlement = final[0]!.settlement
              assert.strictEqual(record.state, settlement._tag === "Complete" ? settlement.how : "dead")
              // the first settlement is of what the run came to, whatever happened to it on the way
              const expected = {
                "succeed": "succeeded",
                "fail and retry": "failed",
                "fail for good": "failed",
                "discard": "discarded",
                "snooze": "snoozed"
              }
              for (const { settlement } of mine.filter((s) => s.receipt === mine[0]!.receipt)) {
                const word = settlement._tag === "Complete"
                  ? settlement.how
                  : settlement._tag === "Dead"
                  ? settlement.reason
                  : settlement.why
                assert.strictEqual(word, expected[spec.end])
              }
              tally.add(...kindsOf(spec), ...(spec.cutOff ? ["cut off"] : []))
            }))
        )
    )

    law(
      "L9 settlement is its own: tried again while the lease lasts, each try with a deadline, and no stop cuts it",
      [
        ...ends,
        ...troubles,
        "stop"
      ],
      (tally) =>
        forAll(
          trial(false).filter(renewable),
          { numRuns: runs * 7, shift: 1 },
          (spec) =>
            Effect.scoped(Effect.gen(function*() {
              const { calls, inTime, mine, ran, reports, stopped, theirs } = yield* scenario(spec, `settle${++queues}`)
              assert.isTrue(inTime, "over in time")
              // which try is the last one: the first that comes through
              const through = spec.troubles.findIndex((trouble) => trouble === "slow")
              const tries = (through < 0 ? spec.troubles.length : through) + 1
              const receipt = mine[0]!.receipt
              assert.strictEqual(mine.filter((s) => s.receipt === receipt).length, tries, "tries")
              assert.strictEqual(reports[0].lost, 0, "lost")
              // no try waits for more than its deadline, no pause is longer than the longest
              const at = calls.slice(0, tries).map((call) => call.at)
              for (const [i, time] of at.entries()) {
                assert.isAtMost(time - (at[i - 1] ?? time), 30_000, `before try ${i + 1}`)
              }
              // it was settled by who ran it: only a job that goes on runs again
              const again = spec.end === "fail and retry" || spec.end === "snooze"
              assert.strictEqual(ran.length, again ? 2 : 1, "runs")
              assert.strictEqual(ran[0], "first")
              if (!again) assert.strictEqual(theirs.length, 0)
              assert.isAtLeast(acknowledged(reports[0]), 1)
              if (spec.stop !== "none") {
                assert.strictEqual(stopped, "stopped")
                assert.strictEqual(reports[0].failure, undefined)
              }
              tally.add(...kindsOf(spec))
            }))
        )
    )
  }
})
