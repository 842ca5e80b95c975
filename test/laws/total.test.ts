/**
 * Total: every hand-out ends in one settlement, also of a job that cannot be decoded, that nobody knows, that is too
 * late, that takes its workers down or was to be aborted, and also under a delivery middleware that dies, interrupts
 * itself, answers without asking, or says that all is well.
 */
import { assert, describe } from "@effect/vitest"
import { Context, Effect, Layer, Option, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import { Backend, type Settlement } from "windlass/Backend"
import * as Capability from "windlass/Capability"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import { Faults } from "windlass/testing"
import * as Worker from "windlass/Worker"
import { backends } from "./kit/backends.ts"
import { settlementLine } from "./kit/decide.ts"
import { ended } from "./kit/end.ts"
import { forAll, law, runs } from "./kit/law.ts"
import type { Services } from "./kit/run.ts"
import { lease } from "./kit/spec.ts"

const fates = [
  "is well",
  "is malformed",
  "has the wrong shape",
  "is of an unknown task",
  "has a newer version",
  "is too late",
  "takes its workers down",
  "was to be aborted",
  "is aborted while it runs",
  "was lost before"
] as const
type Fate = (typeof fates)[number]

const manners = [
  "none",
  "passes on",
  "dies before",
  "dies after",
  "interrupts itself",
  "answers alone",
  "says done"
] as const
type Manner = (typeof manners)[number]

interface Trial {
  readonly fates: ReadonlyArray<Fate>
  readonly manner: Manner
  readonly observed: boolean
}

const trial: fc.Arbitrary<Trial> = fc.record({
  fates: fc.uniqueArray(fc.constantFrom(...fates), { minLength: 1, maxLength: 5 }),
  manner: fc.constantFrom(...manners),
  observed: fc.boolean()
})

const done: Settlement = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }
const discarded: Settlement = { _tag: "Complete", how: "discarded", exit: undefined, reason: "seen enough" }

const around = (manner: Manner) =>
  Middleware.delivery(manner, (next, delivery) => {
    switch (manner) {
      case "none":
      case "passes on":
        return next(delivery)
      case "dies before":
        return Effect.die("before")
      case "dies after":
        return Effect.andThen(next(delivery), Effect.die("after"))
      case "interrupts itself":
        return Effect.andThen(next(delivery), Effect.interrupt)
      case "answers alone":
        return Effect.succeed(discarded)
      case "says done":
        return Effect.as(next(delivery), done)
    }
  })

/** what becomes of a job in the end */
const expected = (fate: Fate, manner: Manner): string => {
  if (manner === "answers alone") return "Complete discarded"
  // an interruption that comes after somebody asked for a stop is that stop
  if (manner === "interrupts itself" && fate === "is aborted while it runs") return "Complete aborted"
  const unknown = fate === "is of an unknown task"
  if (manner === "dies before" || manner === "dies after" || manner === "interrupts itself") {
    return unknown ? "Dead unknown-task" : "Dead failed"
  }
  // a run that was cut short is no success, whoever says so
  if (fate === "is aborted while it runs") return "Complete aborted"
  if (manner === "says done") return "Complete succeeded"
  switch (fate) {
    case "is well":
      return "Complete succeeded"
    case "is malformed":
    case "has the wrong shape":
      return "Dead undecodable"
    case "is of an unknown task":
    case "has a newer version":
      return "Dead unknown-task"
    case "is too late":
      return "Dead expired"
    case "takes its workers down":
      return "Dead poison"
    case "was to be aborted":
      return "Complete aborted"
    case "was lost before":
      return "Dead lost"
  }
}

class Failed extends Schema.TaggedError<Failed>()("Failed", {}) {}

const scenario = (spec: Trial, queue: string) =>
  Effect.scoped(Effect.gen(function*() {
    const engine = yield* Backend
    const inspect = yield* Capability.Inspect
    const cancel = yield* Capability.Cancel
    const { backend, faults } = yield* Faults.wrap(engine)
    const id = (fate: Fate) => `${queue}-${fates.indexOf(fate)}`
    const asked: Array<unknown> = []
    const seen: Array<string> = []
    const settings = {
      payload: { fate: Schema.Literals(fates) },
      error: Failed,
      queue,
      // whether to retry is asked about failures of the kinds that are documented, and about nothing else
      retry: { schedule: Schedule.spaced("1 second"), while: (failure: unknown) => asked.push(failure) < 0 }
    }
    const Plain = Task.make("Plain", settings)
    const Late = Task.make("Late", { ...settings, deadline: "1 minute" })
    const Losing = Task.make("Losing", { ...settings, onLost: "fail" })
    const taskOf: Partial<Record<Fate, string>> = {
      "is of an unknown task": "Unknown",
      "is too late": "Late",
      "was lost before": "Losing"
    }
    const run = ({ fate }: { readonly fate: Fate }) =>
      fate === "is aborted while it runs"
        ? Effect.orDie(Effect.andThen(cancel.request(id(fate)), Effect.never))
        : Effect.void
    yield* engine.publish(
      queue,
      spec.fates.map((fate) => ({
        envelope: {
          id: id(fate),
          task: taskOf[fate] ?? "Plain",
          version: fate === "has a newer version" ? 2 : 1,
          payload: fate === "is malformed"
            ? "{"
            : fate === "has the wrong shape"
            ? "{\"fate\":7}"
            : JSON.stringify({ fate }),
          headers: {},
          origin: "user" as const
        }
      }))
    )
    // what went before: claims of workers that were never heard of again
    const before = yield* engine.subscribe(queue, { worker: "gone" })
    const back: Settlement = {
      _tag: "Retry",
      why: "released",
      after: 0,
      attempt: "kept",
      place: "back",
      error: undefined
    }
    for (let n = 0; n < 5; n++) {
      const taken = yield* before.take(100)
      const kept = taken.filter(({ envelope }) =>
        envelope.id === id("takes its workers down") ||
        (n === 4 && (envelope.id === id("was to be aborted") || envelope.id === id("was lost before")))
      )
      yield* before.settle(taken.filter((one) => !kept.includes(one)).map((one) => [one.receipt, back] as const))
      if (n === 4 && spec.fates.includes("was to be aborted")) yield* cancel.request(id("was to be aborted"))
      yield* TestClock.adjust(lease)
    }
    const observer = Middleware.observe({
      name: "seen",
      before: (job) => void seen.push(`> ${job.delivery.envelope.id}`),
      after: (outcome, _, job) => void seen.push(`< ${job.delivery.envelope.id} ${outcome._tag}`)
    })
    const worker = yield* Layer.build(
      Worker.layer(TaskGroup.make(Plain, Late, Losing), {
        concurrency: 2,
        middleware: [...(spec.observed ? [observer] : []), ...(spec.manner === "none" ? [] : [around(spec.manner)])]
      }).pipe(
        Layer.provide([Plain.toLayer(run), Late.toLayer(run), Losing.toLayer(run)]),
        Layer.provide(Layer.succeed(Backend, backend))
      )
    ).pipe(Effect.map(Context.get(Worker.Worker)), Effect.orDie)
    yield* TestClock.adjust("3 hours")
    const report = yield* ended(worker.stop)
    const jobs = yield* Effect.forEach(spec.fates, (fate) =>
      Effect.gen(function*() {
        return {
          fate,
          id: id(fate),
          record: Option.getOrThrow(yield* inspect.get(id(fate))),
          deliveries: yield* faults.deliveriesOf(id(fate)),
          settled: yield* faults.settlementsOf(id(fate))
        }
      }))
    return { report, jobs, asked, seen }
  }))

describe("total", () => {
  for (const [name, backend] of Object.entries(backends)) {
    let queues = 0
    law<Services>(
      "L13 total: one settlement for every hand-out, the right one, whatever the job and whoever stands around it",
      [...fates, ...manners, "observed"],
      name,
      (tally) =>
        forAll(trial, { numRuns: runs * 12 }, (spec) =>
          Effect.gen(function*() {
            const { asked, jobs, report, seen } = yield* scenario(spec, `total${++queues}`)
            assert.strictEqual(report.failure, undefined)
            assert.strictEqual(report.claimed, jobs.reduce((sum, job) => sum + job.deliveries.length, 0))
            for (const { deliveries, fate, id, record, settled } of jobs) {
              assert.strictEqual(settled.length, deliveries.length, `${fate}: settlements`)
              settled.forEach((one, n) => {
                assert.strictEqual(one.receipt, deliveries[n]!.receipt, `${fate}: settled out of turn`)
                assert.include(["Settled", "Aborted"], one.answer)
                assert.strictEqual(one.settlement._tag === "Retry", n < settled.length - 1, `${fate}: ended twice`)
              })
              assert.strictEqual(settlementLine(settled.at(-1)!.settlement), expected(fate, spec.manner), fate)
              assert.include(["succeeded", "discarded", "aborted", "dead"], record.state)
              if (spec.observed) {
                assert.strictEqual(seen.filter((event) => event === `> ${id}`).length, deliveries.length)
                assert.strictEqual(seen.filter((event) => event.startsWith(`< ${id} `)).length, deliveries.length)
              }
            }
            for (const failure of asked) {
              assert.isTrue(
                failure instanceof Failed || failure instanceof Job.Died || failure instanceof Job.TimedOut,
                `a retry policy was asked about ${String(failure)}`
              )
            }
            tally.add(...spec.fates, spec.manner, ...(spec.observed ? ["observed"] : []))
          })),
      (effect) => Effect.provide(effect, backend(lease))
    )
  }
})
