/**
 * Structured: a wrap that forks `next`, returns before it ended, runs it twice at once or keeps it for later. Whatever it
 * does, what stands inside of it has ended before anything outside goes on.
 */
import { assert, describe } from "@effect/vitest"
import { Context, Effect, Layer, Option, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import { Backend } from "windlass/Backend"
import * as Capability from "windlass/Capability"
import * as Enqueue from "windlass/Enqueue"
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

const manners = [
  "forks and returns",
  "forks without a start",
  "detaches",
  "forks into its scope",
  "forks and joins",
  "runs it twice at once",
  "runs it twice in a row",
  "keeps it for later"
] as const
const bodies = ["at once", "slow", "never", "refuses", "forks children", "forks for the job"] as const

interface Trial {
  readonly manner: (typeof manners)[number]
  readonly body: (typeof bodies)[number]
  readonly outside: number
  readonly inside: number
  readonly abort: boolean
}

const trial: fc.Arbitrary<Trial> = fc.record({
  manner: fc.constantFrom(...manners),
  body: fc.constantFrom(...bodies),
  outside: fc.integer({ min: 0, max: 2 }),
  inside: fc.integer({ min: 0, max: 2 }),
  abort: fc.constantFrom(false, false, true)
})

type Next = (input: void) => Effect.Effect<string, any, any>

const wrapOf = (manner: Trial["manner"]) => (next: Next): Effect.Effect<string, any, any> => {
  switch (manner) {
    case "forks and returns":
      return Effect.as(Effect.forkChild(next(), { startImmediately: true }), "early")
    case "forks without a start":
      return Effect.as(Effect.forkChild(next()), "early")
    case "detaches":
      return Effect.as(Effect.forkDetach(next(), { startImmediately: true }), "early")
    case "forks into its scope":
      return Effect.as(Effect.forkScoped(next(), { startImmediately: true }), "early")
    case "forks and joins":
      return Effect.flatMap(
        Effect.forkChild(next(), { startImmediately: true }),
        (fiber) => Effect.flatten(awaited(fiber))
      )
    case "runs it twice at once":
      return Effect.map(Effect.all([next(), next()], { concurrency: "unbounded" }), ([one]) => one)
    case "runs it twice in a row":
      return Effect.andThen(Effect.exit(next()), next())
    case "keeps it for later":
      return Effect.as(
        Effect.forkDetach(Effect.andThen(Effect.sleep("1 hour"), next()), { startImmediately: true }),
        "early"
      )
  }
}

const awaited = (fiber: { readonly addObserver: (f: (exit: any) => void) => unknown }) =>
  Effect.callback<Effect.Effect<string, any>>((resume) => {
    fiber.addObserver((exit) => resume(Effect.succeed(exit)))
  })

/** yields until the job was asked to stop; a yield more, at which it is cut short */
const stopping: Effect.Effect<void, never, Job.Current> = Effect.flatMap(
  Job.isStopping,
  (asked) => Effect.andThen(Effect.yieldNow, asked ? Effect.void : stopping)
)

const scenario = (spec: Trial, queue: string) =>
  Effect.scoped(Effect.gen(function*() {
    const engine = yield* Backend
    const cancel = yield* Capability.Cancel
    const inspect = yield* Capability.Inspect
    const { backend, faults } = yield* Faults.wrap(engine)
    const trace: Array<string> = []
    const say = (event: string) => Effect.sync(() => void trace.push(event))
    const resource = (name: string) => Effect.acquireRelease(say(`acq ${name}`), () => say(`rel ${name}`))
    const layer = (name: string): any =>
      Middleware.make(name, Middleware.hooks({ before: () => resource(name), after: () => say(`aft ${name}`) }))
    const base = Task.make("Structured", {
      success: Schema.String,
      queue,
      middleware: Array.from({ length: spec.outside }, (_, i) => layer(`out ${i}`))
    })
    const inner = Array.from({ length: spec.inside }, (_, i) => (next: Next) =>
      Effect.andThen(resource(`in ${i}`), Effect.onExit(next(), () => say(`aft in ${i}`))))
    const task = [...inner, wrapOf(spec.manner)].reduce<typeof base>((task, wrap) =>
      task.wrap(wrap as never) as never, base)
    const body = Effect.suspend((): Effect.Effect<unknown, never, Job.Current> => {
      switch (spec.body) {
        case "at once":
          return Effect.void
        case "slow":
          return Effect.sleep("3 seconds")
        case "never":
          return Effect.sleep("10 minutes")
        case "refuses":
          return Effect.uninterruptible(Effect.sleep("5 seconds"))
        case "forks children":
          return Effect.andThen(
            Effect.forkChild(
              Effect.onExit(Effect.never, () =>
                say("end child")),
              { startImmediately: true }
            ),
            Effect.sleep("1 second")
          )
        case "forks for the job":
          return Job.fork(Effect.onExit(Effect.sleep("2 seconds"), () =>
            say("end child")))
      }
    })
    const handler = task.toLayer(() =>
      Effect.gen(function*() {
        yield* say("h>")
        yield* resource("h")
        const asked = spec.abort ? Effect.andThen(cancel.request(`${queue}-job`), stopping) : Effect.void
        yield* Effect.onExit(Effect.andThen(asked, body), () =>
          say("h<"))
        return "done"
      }).pipe(Effect.catchTag("windlass/BackendError", Effect.die))
    ) as Layer.Layer<Task.Handler<"Structured">>
    const worker = yield* Layer.build(
      Worker.layer(TaskGroup.make(task), { concurrency: 1 }).pipe(
        Layer.provide(handler),
        Layer.provide(Layer.succeed(Backend, {
          ...backend,
          subscribe: (queue, options) =>
            Effect.map(backend.subscribe(queue, options), (inner) => ({
              ...inner,
              settle: (items) => Effect.andThen(say("settle"), inner.settle(items)),
              exchange: (items, max) =>
                Effect.andThen(items.length > 0 ? say("settle") : Effect.void, inner.exchange(items, max))
            }))
        }))
      )
    ).pipe(Effect.map(Context.get(Worker.Worker)), Effect.orDie)
    const enqueue = task.enqueue(undefined).pipe(Enqueue.id(`${queue}-job`)) as Effect.Effect<string, unknown, Backend>
    yield* Effect.provideService(enqueue, Backend, engine)
    yield* TestClock.adjust("30 minutes")
    // what was kept for later comes later
    yield* TestClock.adjust("2 hours")
    const report = yield* ended(worker.stop)
    const record = Option.getOrThrow(yield* inspect.get(`${queue}-job`))
    return { trace, report, record, settled: yield* faults.settlementsOf(`${queue}-job`) }
  }))

describe("structured", () => {
  for (const [name, backend] of Object.entries(backends)) {
    let queues = 0
    law<Services>(
      "L15 structured: a forked, doubled or kept next is over before anything outside of its wrap goes on",
      [...manners, ...bodies, "aborted"],
      name,
      (tally) =>
        forAll(trial, { numRuns: runs * 14 }, (spec) =>
          Effect.gen(function*() {
            const { record, report, settled, trace } = yield* scenario(spec, `structured${++queues}`)
            assert.strictEqual(settled.length, 1, "settlements")
            assert.strictEqual(report.stuck, 0)
            assert.strictEqual(report.failure, undefined)
            const inside = /^(h[<>]|end child|(acq|rel|aft) (in|h))/
            const outer = trace.findIndex((event) => event === "settle" || event.startsWith("aft out"))
            const late = trace.slice(outer).filter((event) => inside.test(event))
            assert.deepStrictEqual(late, [], "inside, after what stands outside")
            assert.strictEqual(trace.at(-1), "settle")
            for (const event of new Set(trace.filter((e) => e.startsWith("acq ")))) {
              const count = (of: string) => trace.filter((e) => e === of).length
              assert.strictEqual(count(event.replace("acq", "rel")), count(event), event)
            }
            assert.strictEqual(trace.filter((e) => e === "aft out 0").length, Math.min(1, spec.outside))
            const runs = trace.filter((e) => e === "h>").length
            switch (spec.manner) {
              case "runs it twice at once":
                // the second one died, and with it the attempt
                if (spec.body === "at once" && !spec.abort) break
                assert.include(["dead", "aborted"], record.state)
                assert.isAtMost(runs, 1)
                break
              case "keeps it for later":
                assert.strictEqual(runs, 0)
                assert.strictEqual(record.state, "succeeded")
                break
              case "forks and joins":
                assert.strictEqual(runs, 1)
                assert.strictEqual(record.state, spec.abort ? "aborted" : "succeeded")
                break
              case "runs it twice in a row":
                assert.isAtLeast(runs, 1)
                break
              default:
                assert.isAtMost(runs, 1)
            }
            tally.add(spec.manner, spec.body, ...(spec.abort && runs > 0 ? ["aborted"] : []))
          })),
      (effect) => Effect.provide(effect, backend())
    )
  }
})
