/**
 * Two phases: a permit is taken before the claim and comes back at the settlement, whatever became of the job in
 * between; a rate token comes back only when the job's chain was not entered.
 */
import { assert, describe } from "@effect/vitest"
import { Context, Effect, Latch, Layer, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import { Backend } from "windlass/Backend"
import * as Capability from "windlass/Capability"
import * as Decide from "windlass/Decide"
import * as Gate from "windlass/Gate"
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

const fates = ["succeeds", "fails", "dies", "is discarded", "never ends", "is aborted", "loses its lease"] as const
const strangers = ["is malformed", "is of an unknown task"] as const
type Fate = (typeof fates)[number] | (typeof strangers)[number]

interface Trial {
  readonly jobs: ReadonlyArray<{ readonly fate: Fate; readonly slow: number; readonly later: boolean }>
  readonly concurrency: number
  /** permits of each gate */
  readonly gates: ReadonlyArray<number>
  /** seconds until the worker is stopped at once */
  readonly stopAfter: number
}

const trial: fc.Arbitrary<Trial> = fc.record({
  jobs: fc.array(
    fc.record({
      fate: fc.constantFrom(...fates, ...strangers),
      slow: fc.constantFrom(0, 0, 1_000, 4_000),
      later: fc.constantFrom(false, false, true)
    }),
    { minLength: 1, maxLength: 10 }
  ),
  concurrency: fc.integer({ min: 1, max: 5 }),
  gates: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 3 }),
  stopAfter: fc.constantFrom(0, 2, 15, 120)
})

class Failed extends Schema.TaggedError<Failed>()("Failed", {}) {}

/** a gate that keeps books: what is out, what came back and how */
class Books {
  out = 0
  most = 0
  granted = 0
  backStarted = 0
  backUnstarted = 0
  readonly free = Latch.makeUnsafe(false)
  readonly capacity: number

  constructor(capacity: number) {
    this.capacity = capacity
  }

  gate(name: string): Gate.Gate {
    const acquire = (max: number): Effect.Effect<number> =>
      Effect.suspend(() => {
        const count = Math.min(max, this.capacity - this.out)
        if (count === 0) {
          this.free.closeUnsafe()
          return Effect.andThen(this.free.await, acquire(max))
        }
        this.out += count
        this.granted += count
        this.most = Math.max(this.most, this.out)
        return Effect.succeed(count)
      })
    return Gate.make({
      name,
      acquire,
      release: (count, started) =>
        Effect.sync(() => {
          this.out -= count
          if (started) this.backStarted += count
          else this.backUnstarted += count
          this.free.openUnsafe()
        })
    })
  }
}

const scenario = (spec: Trial, queue: string) =>
  Effect.scoped(Effect.gen(function*() {
    const engine = yield* Backend
    const cancel = yield* Capability.Cancel
    const { backend, faults } = yield* Faults.wrap(engine)
    const books = spec.gates.map((capacity) => new Books(capacity))
    const admissions: Array<{ readonly id: string; readonly back: Array<boolean> }> = []
    const entered = { count: 0, open: 0, most: 0 }
    const turnedAway = new Set<string>()
    const jobOf = (id: string) => spec.jobs[Number(id.split("-").at(-1))]!
    const task = Task.make("Gated", {
      payload: { n: Schema.Number },
      error: Failed,
      queue,
      retry: Schedule.spaced("3 seconds").pipe(Schedule.upTo({ times: 1 }))
    })
    const inside = Middleware.make("inside", (next, input, job) =>
      Effect.suspend(() => {
        entered.count++
        entered.most = Math.max(entered.most, ++entered.open)
        const act = jobOf(job.id).fate === "is aborted"
          ? cancel.request(job.id)
          : jobOf(job.id).fate === "loses its lease" && entered.count < 40
          ? faults.loseLease(job.id)
          : Effect.void
        return Effect.andThen(Effect.orDie(act), next(input))
      }).pipe(Effect.ensuring(Effect.sync(() => {
        entered.open--
      }))))
    const handler = task.toLayer(({ n }) =>
      Effect.gen(function*() {
        const { fate, slow } = spec.jobs[n]!
        yield* Effect.sleep(slow)
        switch (fate) {
          case "fails":
            return yield* new Failed()
          case "dies":
            return yield* Effect.die("dies")
          case "is discarded":
            return yield* Decide.discard()
          case "never ends":
          case "is aborted":
            return yield* Effect.never
        }
      })
    )
    const byJob = Gate.make({
      name: "by job",
      admit: (job) => {
        const last = job.id.split("-").at(-1)!
        if (jobOf(job.id).later && !turnedAway.has(last)) {
          turnedAway.add(last)
          return Effect.succeed<Gate.Admission>({ _tag: "Later", millis: 700 })
        }
        const admission = { id: job.id, back: [] as Array<boolean> }
        admissions.push(admission)
        return Effect.succeed<Gate.Admission>({
          _tag: "Admitted",
          release: (started) => Effect.sync(() => void admission.back.push(started))
        })
      }
    })
    yield* backend.publish(
      queue,
      spec.jobs.map(({ fate }, n) => ({
        envelope: {
          id: `${queue}-${n}`,
          task: fate === "is of an unknown task" ? "Unknown" : "Gated",
          version: 1,
          payload: fate === "is malformed" ? "{" : JSON.stringify({ n }),
          headers: {},
          origin: "user"
        }
      }))
    )
    const worker = yield* Layer.build(
      Worker.layer(TaskGroup.make(task), {
        concurrency: spec.concurrency,
        middleware: [inside],
        gates: [...books.map((book, i) => book.gate(`gate ${i}`)), byJob]
      }).pipe(Layer.provide(handler), Layer.provide(Layer.succeed(Backend, backend)))
    ).pipe(Effect.map(Context.get(Worker.Worker)), Effect.orDie)
    yield* TestClock.adjust(`${spec.stopAfter} seconds`)
    const report = yield* ended(worker.interrupt)
    // what a release does is forked: it has no say in the loop
    yield* TestClock.adjust("1 second")
    return { books, admissions, entered, report, turnedAway }
  }))

describe("gates", () => {
  for (const [name, backend] of Object.entries(backends)) {
    let queues = 0
    law<Services>(
      "L10 two-phase: permits come back whatever happened, rate tokens only from what did not start",
      [...fates, ...strangers, "turned away", "stopped while running"],
      name,
      (tally) =>
        forAll(trial, { numRuns: runs * 4 }, (spec) =>
          Effect.gen(function*() {
            const { admissions, books, entered, report, turnedAway } = yield* scenario(spec, `gates${++queues}`)
            assert.strictEqual(report.failure, undefined)
            assert.strictEqual(report.stuck, 0)
            for (const book of books) {
              assert.strictEqual(book.out, 0, "permits that are out when all is over")
              assert.isAtMost(book.most, book.capacity, "permits out at once")
              // every hand-out held one of each gate; the rest of what was granted found no job
              assert.strictEqual(book.backStarted, entered.count, "permits of what started")
              assert.strictEqual(book.granted, book.backStarted + book.backUnstarted)
            }
            assert.isAtMost(entered.most, Math.min(spec.concurrency, ...spec.gates), "jobs at once")
            for (const { back, id } of admissions) assert.strictEqual(back.length, 1, `releases of ${id}`)
            assert.strictEqual(admissions.filter(({ back }) => back[0]).length, entered.count, "admitted and started")
            assert.strictEqual(report.claimed, admissions.length + turnedAway.size, "claims")
            tally.add(
              ...new Set(spec.jobs.map(({ fate }) => fate)),
              ...(turnedAway.size > 0 ? ["turned away"] : []),
              ...(report.interrupted > 0 ? ["stopped while running"] : [])
            )
          })),
      (effect) => Effect.provide(effect, backend(lease))
    )
  }
})
