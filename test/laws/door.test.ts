/**
 * One door: jobs that retry, snooze, are released, die and are redriven, and jobs that handlers enqueue. Whatever happens
 * to a job later, it passes the enqueue point when it is new and never again.
 */
import { assert, describe } from "@effect/vitest"
import { Effect, Layer, Schedule, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import * as Capability from "windlass/Capability"
import * as Decide from "windlass/Decide"
import * as Enqueue from "windlass/Enqueue"
import * as Gate from "windlass/Gate"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { backends } from "./kit/backends.ts"
import { forAll, law, runs } from "./kit/law.ts"
import type { Services } from "./kit/run.ts"

/** what a job does, carried in its payload */
interface Plan {
  /** goes wrong so often before it succeeds */
  readonly fails: number
  readonly snoozes: number
  /** turned away by the gate once, before it ran */
  readonly released: boolean
  /** its failures are for good: dead, redriven, and then well */
  readonly dies: boolean
  /** enqueued in every run of its handler, one by one or as a batch */
  readonly children: ReadonlyArray<Plan>
  readonly batch: boolean
  readonly dropped: boolean
  /** shares its unique key with every other root that says so */
  readonly unique: boolean
}

const planOf = (depth: number): fc.Arbitrary<Plan> =>
  fc.record({
    fails: fc.constantFrom(0, 0, 1, 2),
    snoozes: fc.constantFrom(0, 0, 1),
    released: fc.boolean(),
    dies: fc.constantFrom(false, false, true),
    children: depth === 0 ? fc.constant([]) : fc.array(planOf(depth - 1), { maxLength: 2 }),
    batch: fc.boolean(),
    dropped: fc.constantFrom(false, false, false, true),
    unique: fc.boolean()
  })

/** how often the handler of a job runs */
const bodies = (plan: Plan): number => plan.dies ? 2 : plan.fails + plan.snoozes + 1

/** jobs that a job brings with it: itself, and what its handler enqueues in every run */
const passesOf = (plan: Plan): number =>
  1 + (plan.dropped ? 0 : bodies(plan) * plan.children.reduce((sum, child) => sum + passesOf(child), 0))

const storedOf = (plan: Plan): number =>
  plan.dropped ? 0 : 1 + bodies(plan) * plan.children.reduce((sum, child) => sum + storedOf(child), 0)

class Failed extends Schema.TaggedError<Failed>()("Failed", {}) {}
class Stamp extends Middleware.Service<Stamp>()("laws/Stamp", { enqueue: true }) {}

const kinds = ["retried", "snoozed", "released", "redriven", "enqueued by a handler", "batch", "dropped", "duplicate"]

const kindsOf = (plans: ReadonlyArray<Plan>): ReadonlyArray<string> => {
  const found = new Set<string>()
  const visit = (plan: Plan, root: boolean) => {
    if (plan.dropped) return void found.add("dropped")
    if (plan.dies) found.add("redriven")
    else {
      if (plan.fails > 0) found.add("retried")
      if (plan.snoozes > 0) found.add("snoozed")
    }
    if (plan.released) found.add("released")
    if (!root) found.add("enqueued by a handler")
    if (plan.batch && plan.children.length > 1) found.add("batch")
    for (const child of plan.children) visit(child, false)
  }
  for (const plan of plans) visit(plan, true)
  if (plans.filter((plan) => plan.unique && !plan.dropped).length > 1) found.add("duplicate")
  return Array.from(found)
}

interface Pass {
  readonly id: string
  readonly origin: string
  readonly plan: Plan
}

const scenario = (plans: ReadonlyArray<Plan>, queue: string) =>
  Effect.gen(function*() {
    const inspect = yield* Capability.Inspect
    const dead = yield* Capability.DeadLetter
    const outer: Array<Pass> = []
    const halves: Array<string> = []
    const Laws = Task.make("Door", {
      payload: { plan: Schema.String },
      error: Failed,
      middleware: [Stamp],
      queue,
      retry: Schedule.spaced("1 second")
    })
    const runsOf = new Map<string, number>()
    const payloadOf = (plan: Plan) => ({ plan: JSON.stringify(plan) })

    const handler = Laws.toLayer(({ plan: text }) =>
      Effect.gen(function*() {
        const plan = JSON.parse(text) as Plan
        const job = yield* Job.Current
        const run = (runsOf.get(job.id) ?? 0) + 1
        runsOf.set(job.id, run)
        if (plan.batch) yield* Laws.enqueueMany(plan.children.map(payloadOf))
        else for (const child of plan.children) yield* Laws.enqueue(payloadOf(child))
        if (plan.dies) return run === 1 ? yield* Decide.dead() : undefined
        if (run <= plan.snoozes) return yield* Decide.snooze("3 seconds")
        if (run <= plan.snoozes + plan.fails) return yield* new Failed()
      }).pipe(Effect.catchTags({
        "windlass/BackendError": Effect.die,
        "windlass/Refused": Effect.die,
        "windlass/InvalidEnqueue": Effect.die
      }))
    ).pipe(Layer.provide(Layer.succeed(Stamp, (next, input) => next(input))))

    const door = Enqueue.layer(
      (next, batch) => {
        for (const item of batch.items) {
          const { plan } = JSON.parse(item.envelope.payload) as { readonly plan: string }
          outer.push({ id: item.envelope.id, origin: item.envelope.origin, plan: JSON.parse(plan) as Plan })
        }
        return next(batch)
      },
      Enqueue.dropWhen((item) => {
        const { plan } = JSON.parse(item.envelope.payload) as { readonly plan: string }
        return Effect.succeed((JSON.parse(plan) as Plan).dropped ? "not wanted" : undefined)
      })
    )
    const half = Middleware.layerEnqueue(Stamp, (next, batch) => {
      for (const item of batch.items) halves.push(item.envelope.id)
      return next(batch)
    })
    const turnedAway = new Set<string>()
    const gate = Gate.make({
      name: "first time no",
      admit: (job) => {
        const plan = outer.find((pass) => pass.id === job.id)!.plan
        if (!plan.released || turnedAway.has(job.id)) {
          return Effect.succeed({ _tag: "Admitted", release: () => Effect.void } as const)
        }
        turnedAway.add(job.id)
        return Effect.succeed({ _tag: "Later", millis: 500 } as const)
      }
    })

    const empty = Effect.map(inspect.counts(queue), (c) => c.ready + c.scheduled + c.active === 0)
    const drain = Effect.gen(function*() {
      for (let n = 0; n < 200; n++) {
        yield* TestClock.adjust("1 second")
        if (yield* empty) return
      }
      return yield* Effect.die(new Error("the queue did not become empty"))
    })

    const program = Effect.gen(function*() {
      for (const plan of plans) {
        const one = Laws.enqueue(payloadOf(plan))
        yield* plan.unique ? one.pipe(Enqueue.uniqueBy("the same", { until: "1 day", onConflict: "existing" })) : one
      }
      // what a redriven job enqueues may die as well, once
      do yield* drain
      while ((yield* dead.redrive(queue)) > 0)
    })
    yield* Effect.provide(
      program,
      Worker.layer(TaskGroup.make(Laws), { concurrency: 4, gates: [gate] }).pipe(
        Layer.provide(handler),
        Layer.provideMerge(Layer.merge(door, half))
      )
    )
    const stored = yield* Stream.runCollect(inspect.list({ queue }))
    return { outer, halves, stored }
  })

describe("one door", () => {
  for (const [name, backend] of Object.entries(backends)) {
    law<Services>(
      "L7 one door: every new job passes the enqueue point once, and no move of it does",
      kinds,
      name,
      (tally) => {
        let queues = 0
        return forAll(
          fc.array(planOf(1), { minLength: 1, maxLength: 4 }),
          { numRuns: runs * 6 },
          (plans) =>
            Effect.gen(function*() {
              // of those with one key the first is stored, the others are told so
              const seenUnique = { value: false }
              const fates = plans.map((plan) => {
                if (plan.dropped || !plan.unique) return "own"
                if (seenUnique.value) return "duplicate"
                seenUnique.value = true
                return "own"
              })
              const { halves, outer, stored } = yield* scenario(plans, `door${++queues}`)
              const expected = plans.reduce((sum, plan, i) => sum + (fates[i] === "own" ? passesOf(plan) : 1), 0)
              const kept = plans.reduce((sum, plan, i) => sum + (fates[i] === "own" ? storedOf(plan) : 0), 0)
              assert.strictEqual(outer.length, expected, "passes of the program's enqueue point")
              assert.strictEqual(new Set(outer.map((pass) => pass.id)).size, outer.length, "ids that passed twice")
              assert.strictEqual(stored.length, kept, "stored jobs")
              const passed = new Set(outer.map((pass) => pass.id))
              for (const record of stored) {
                assert.isTrue(passed.has(record.envelope.id), "a stored job that never passed")
              }
              // the declared half stands inside: it sees what was not dropped, once
              assert.deepStrictEqual(
                halves,
                outer.filter((pass) => !pass.plan.dropped).map((pass) => pass.id)
              )
              const roots = outer.filter((pass) => pass.origin === "user")
              assert.strictEqual(roots.length, plans.length, "jobs of the caller")
              assert.isTrue(outer.every((pass) => pass.origin === "user" || pass.origin === "handler"))
              for (const record of stored) assert.strictEqual(record.state, "succeeded")
              tally.add(...kindsOf(plans))
            })
        )
      },
      (effect) => Effect.provide(effect, backend())
    )
  }
})
