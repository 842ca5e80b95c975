/**
 * The law of graphs, over random ones: whatever fails and whoever dies, a node runs after those before it have ended as it
 * wants them to, its job is stored exactly once, what is to run runs, and nothing else does. Then everything dead is
 * redriven, and the same holds for what it held up. Counts of what was generated are printed and have floors.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import { BackendError } from "windlass/Backend"
import * as Capability from "windlass/Capability"
import * as Decide from "windlass/Decide"
import * as Enqueue from "windlass/Enqueue"
import * as Graph from "windlass/Graph"
import * as Job from "windlass/Job"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import { Faults } from "windlass/testing"
import * as Worker from "windlass/Worker"
import { memory, startWorker } from "../support/backends.ts"

type End = "succeeded" | "discarded" | "dead"

interface Plan {
  readonly nodes: ReadonlyArray<{
    readonly after: ReadonlyArray<number>
    readonly when: "succeeded" | "ended"
    readonly queue: "default" | "others"
    readonly end: End
    /** attempts that fail before that */
    readonly failures: number
    /** the lease is lost at the end of the first run: the worker's settlement will have no effect */
    readonly lost: boolean
    /** milliseconds that it takes */
    readonly takes: number
  }>
  /** what becomes of each move of a cursor, in order */
  readonly moves: ReadonlyArray<"fine" | "refused" | "fails" | "unknown">
  readonly workers: number
}

const plans: fc.Arbitrary<Plan> = fc.record({
  nodes: fc.array(
    fc.record({
      before: fc.array(fc.nat(8), { maxLength: 4 }),
      when: fc.constantFrom("succeeded" as const, "succeeded" as const, "ended" as const),
      queue: fc.constantFrom("default" as const, "default" as const, "others" as const),
      end: fc.oneof(
        { weight: 8, arbitrary: fc.constant<End>("succeeded") },
        { weight: 1, arbitrary: fc.constant<End>("discarded") },
        { weight: 2, arbitrary: fc.constant<End>("dead") }
      ),
      failures: fc.constantFrom(0, 0, 0, 1, 2),
      lost: fc.constantFrom(false, false, true),
      takes: fc.constantFrom(0, 0, 10, 2_000)
    }),
    { minLength: 1, maxLength: 9 }
  ).map((nodes) =>
    nodes.map(({ before, ...node }, at) => ({
      ...node,
      after: at === 0 ? [] : Array.from(new Set(before.map((n) => n % at)))
    }))
  ),
  moves: fc.array(
    fc.constantFrom("fine" as const, "fine" as const, "refused" as const, "fails" as const, "unknown" as const),
    {
      maxLength: 30
    }
  ),
  workers: fc.constantFrom(1, 2)
})

/** what runs, given how nodes end */
const expected = (plan: Plan, endOf: (at: number) => End): ReadonlySet<number> => {
  const runs = new Set<number>()
  plan.nodes.forEach((node, at) => {
    const all = node.after.every((before) =>
      runs.has(before) && (node.when === "ended" || endOf(before) === "succeeded")
    )
    if (all) runs.add(at)
  })
  return runs
}

const counts = { graphs: 0, nodes: 0, joins: 0, lost: 0, dead: 0, discarded: 0, redriven: 0, moves: 0, again: 0 }

class Node extends Task.make("Node", {
  payload: { at: Schema.Number },
  retry: { schedule: Schedule.spaced("1 second"), maxAttempts: 4 }
}) {}

const nameOf = (at: number) => `n${at}`

const run = (plan: Plan) =>
  Effect.gen(function*() {
    const faults = yield* Faults.Faults
    const engine = yield* Capability.Cursor
    const stored = new Map<string, number>()
    let move = 0
    const cursor: Capability.Cursor["Service"] = {
      ...engine,
      advance: (to, items) =>
        Effect.suspend(() => {
          const how = plan.moves[move++] ?? "fine"
          const error = new BackendError({
            backend: "memory",
            operation: "cursor",
            message: how,
            retryable: how !== "refused",
            outcome: how === "unknown" ? "Unknown" : "NotApplied"
          })
          if (how !== "fine") counts.moves++
          if (how === "refused" || how === "fails") return Effect.fail(error)
          const moved = Effect.tap(engine.advance(to, items), (advanced) =>
            Effect.sync(() => {
              if (advanced._tag === "Stale") return
              items.forEach(({ envelope }, i) => {
                if (advanced.published[i]!._tag !== "Stored") return
                stored.set(envelope.id, (stored.get(envelope.id) ?? 0) + 1)
              })
            }))
          return how === "unknown" ? Effect.andThen(moved, Effect.fail(error)) : moved
        })
    }

    let redriven = false
    const endOf = (at: number): End => redriven && plan.nodes[at]!.end === "dead" ? "succeeded" : plan.nodes[at]!.end
    const begun = new Map<number, ReadonlyArray<string>>()
    /** nodes whose handler has come to its end, and how */
    const over = new Map<number, End>()
    const runs = new Map<number, number>()
    const problems: Array<string> = []

    const handler = ({ at }: { readonly at: number }) =>
      Effect.gen(function*() {
        const node = plan.nodes[at]!
        const job = yield* Job.Current
        runs.set(at, (runs.get(at) ?? 0) + 1)
        if (!begun.has(at)) {
          begun.set(at, node.after.map(nameOf))
          for (const before of node.after) {
            const end = over.get(before)
            if (end === undefined || (node.when === "succeeded" && end !== "succeeded")) {
              problems.push(`${nameOf(at)} began while ${nameOf(before)} was ${end ?? "not over"}`)
            }
          }
        }
        yield* Effect.sleep(node.takes)
        if (job.attempt <= node.failures) return yield* Effect.die(new Error("not yet"))
        over.set(at, endOf(at))
        if (node.lost && runs.get(at) === node.failures + 1) {
          counts.lost++
          yield* Effect.orDie(faults.loseLease(job.id))
        }
        if (endOf(at) === "dead") return yield* Decide.dead()
        if (endOf(at) === "discarded") return yield* Decide.discard()
      })

    const live = Node.toLayer(handler)
    for (let n = 0; n < plan.workers; n++) {
      const options = { queues: ["default", "others"], logJobs: false, concurrency: 4, id: `w${n}` } as const
      yield* Effect.provideService(
        startWorker(Layer.fresh(Worker.layer(TaskGroup.make(Node), options)).pipe(Layer.provide(live))),
        Capability.Cursor,
        cursor
      )
    }
    const graph = Graph.make(
      Object.fromEntries(plan.nodes.map(({ after, queue, when }, at): [string, Graph.Node<never>] => [
        nameOf(at),
        {
          enqueue: Enqueue.queue(queue)(Node.enqueue({ at })) as Graph.Node<never>["enqueue"],
          after: after.map(nameOf),
          when
        }
      ]))
    )
    yield* Graph.enqueue(graph, { id: "g" })

    const inspect = yield* Capability.Inspect
    /** until nothing is under way any more */
    const settle = Effect.gen(function*() {
      for (let n = 0;; n++) {
        const all = yield* Effect.forEach(["default", "others"], (queue) => inspect.counts(queue))
        if (all.every(({ active, ready, scheduled }) => active + ready + scheduled === 0)) return
        if (n > 600) throw new Error(`never over: ${JSON.stringify(all)}`)
        yield* TestClock.adjust("1 second")
      }
    })
    const check = (when: string) => {
      const wanted = expected(plan, endOf)
      const names = (all: Iterable<number>) => Array.from(all).toSorted((a, b) => a - b).map(nameOf)
      assert.deepStrictEqual(problems, [], when)
      assert.deepStrictEqual(names(over.keys()), names(wanted), `what ran, ${when}`)
      const twice = Array.from(stored).filter(([, times]) => times !== 1)
      assert.deepStrictEqual(twice, [], `stored more than once, ${when}`)
      // the first job comes by an ordinary publish
      const roots = plan.nodes.filter(({ after }) => after.length === 0).length
      const moved = names(wanted).filter((name) => roots > 1 || name !== "n0").map((name) => `g/${name}`)
      assert.deepStrictEqual(Array.from(stored.keys()).toSorted(), moved.toSorted(), `what was stored, ${when}`)
    }
    yield* settle
    check("at first")
    redriven = true
    const deadLetter = yield* Capability.DeadLetter
    for (const queue of ["default", "others"]) counts.redriven += yield* deadLetter.redrive(queue)
    yield* settle
    check("after the redrive")

    counts.graphs++
    counts.nodes += plan.nodes.length
    counts.joins += plan.nodes.filter(({ after }) => after.length > 1).length
    counts.dead += plan.nodes.filter((_, at) => over.has(at) && plan.nodes[at]!.end === "dead").length
    counts.discarded += plan.nodes.filter((_, at) => over.has(at) && plan.nodes[at]!.end === "discarded").length
    counts.again += Array.from(runs.values()).filter((times) => times > 1).length
  }).pipe(
    Effect.scoped,
    Effect.provide(Layer.provideMerge(Faults.layer(memory()), TestClock.layer())),
    Effect.provideService(References.MinimumLogLevel, "None")
  )

describe("random graphs", () => {
  it(
    "a node runs after those before it, its job is stored once, and what is to run runs, whatever fails (L4, L7)",
    async () => {
      await fc.assert(fc.asyncProperty(plans, (plan) => Effect.runPromise(run(plan))), { numRuns: 300 })
      process.stdout.write(`graphs: ${JSON.stringify(counts)}\n`)
      const floors = {
        graphs: 300,
        nodes: 500,
        joins: 60,
        lost: 60,
        dead: 30,
        discarded: 15,
        redriven: 20,
        moves: 300,
        again: 100
      }
      for (const [what, floor] of Object.entries(floors)) {
        assert.isAtLeast(counts[what as keyof typeof counts], floor, `generated: ${what}`)
      }
    },
    120_000
  )
})
