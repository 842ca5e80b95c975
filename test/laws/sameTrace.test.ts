/**
 * The same trace: whatever the backend, and however the same stack is written down.
 */
import { assert, describe } from "@effect/vitest"
import { type Context, Effect, Layer } from "effect"
import * as fc from "fast-check"
import { backends } from "./kit/backends.ts"
import type { Writing } from "./kit/build.ts"
import { anyCase, caseOf } from "./kit/generate.ts"
import { forAll, law as named, runs, type Tally } from "./kit/law.ts"
import { predict } from "./kit/model.ts"
import { same } from "./kit/observe.ts"
import { kinds } from "./kit/prediction.ts"
import { type Observation, run, type Services } from "./kit/run.ts"
import { type Case, type Mid, normal } from "./kit/spec.ts"

type Engine = keyof typeof backends

/** runs a case on a backend, in a queue of its own */
type On = (engine: Engine, spec: Case, writing?: Writing) => Effect.Effect<Observation>

const law = (
  name: string,
  kinds: ReadonlyArray<string>,
  body: (tally: Tally, on: On) => Effect.Effect<void, unknown>
) =>
  named<never>(name, kinds, "memory and sqlite", (tally) =>
    Effect.scoped(Effect.gen(function*() {
      const memory = yield* Layer.build(backends.memory())
      const sqlite = yield* Layer.build(backends.sqlite())
      let queues = 0
      const on: On = (engine, spec, writing) =>
        Effect.suspend(() =>
          Effect.provideContext(
            run(spec, `same${++queues}`, writing),
            (engine === "memory" ? memory : sqlite) as Context.Context<Services>
          )
        )
      yield* body(tally, on)
    })), (effect) => effect)

const cases = runs * 6

/** what must be the same: the trace, what the backend was told and keeps, what a caller gets, what a listener hears */
const sameOf = (one: Observation, other: Observation) => {
  same(one.trace, other.trace)
  assert.strictEqual(one.result, other.result)
  assert.deepStrictEqual(one.submitted.map((s) => s.answer), other.submitted.map((s) => s.answer))
  assert.deepStrictEqual(
    one.record.history.map((h) => [h.event, h.attempt]),
    other.record.history.map((h) => [h.event, h.attempt])
  )
  assert.strictEqual(one.record.state, other.record.state)
  assert.deepStrictEqual(one.events.map((e) => e._tag), other.events.map((e) => e._tag))
}

const kindsOf = (spec: Case) => Array.from(predict(spec)!.kinds)

/** middleware that may stand in any list but among the task's own wraps */
const inline: fc.Arbitrary<Case> = anyCase
  .map((spec) =>
    normal({
      ...spec,
      mids: spec.mids.map((m) => ({ ...m, place: m.place === "own" ? "task" : m.place, declared: false }))
    })
  )
  .filter((spec) => predict(spec) !== undefined && spec.mids.length > 1)

const placeAt = (i: number, cuts: readonly [number, number]): Mid["place"] =>
  i < cuts[0] ? "worker" : i < cuts[1] ? "group" : "task"

describe("the same trace", () => {
  law(
    "L12 same trace: a job meets the same points in the same order on memory and on SQLite",
    kinds,
    (tally, on) =>
      Effect.forEach(
        kinds,
        (kind) =>
          forAll(caseOf(kind), { shift: 100 + kinds.indexOf(kind) }, (spec) =>
            Effect.gen(function*() {
              sameOf(yield* on("sqlite", spec), yield* on("memory", spec))
              tally.add(...kindsOf(spec))
            })),
        { discard: true }
      )
  )

  law(
    "L12 same trace: more room in the worker changes nothing for one job",
    ["success", "release dies"],
    (tally, on) =>
      forAll(anyCase, { numRuns: cases, shift: 1 }, (spec) =>
        Effect.gen(function*() {
          sameOf(yield* on("memory", spec, { concurrency: 7 }), yield* on("memory", spec))
          tally.add(...kindsOf(spec))
        }))
  )

  for (const engine of ["memory", "sqlite"] as const) {
    law(
      `L6 monoid: middleware that only runs next changes nothing, in any list (${engine})`,
      ["1 identity", "2 identities", "3 identities"],
      (tally, on) =>
        forAll(
          fc.tuple(anyCase, fc.constantFrom(1, 2, 3)),
          { numRuns: cases, shift: 2 },
          ([spec, identities]) =>
            Effect.gen(function*() {
              sameOf(yield* on(engine, spec, { identities }), yield* on(engine, spec))
              tally.add(`${identities} ${identities === 1 ? "identity" : "identities"}`)
            })
        )
    )

    law(`L6 monoid: the same middleware in other lists is the same stack (${engine})`, [
      "worker",
      "group",
      "task",
      "moved"
    ], (tally, on) =>
      forAll(
        fc.tuple(inline, fc.nat({ max: 6 }), fc.nat({ max: 6 }), fc.constantFrom(1, 2, 3)),
        { numRuns: cases, shift: 3 },
        ([spec, one, other, groups]) =>
          Effect.gen(function*() {
            const cuts = [Math.min(one, other), Math.max(one, other)] as const
            const moved = normal({ ...spec, mids: spec.mids.map((mid, i) => ({ ...mid, place: placeAt(i, cuts) })) })
            sameOf(yield* on(engine, moved, { groups }), yield* on(engine, spec))
            tally.add(
              ...new Set(moved.mids.map((mid) => mid.place)),
              ...(moved.mids.some((mid, i) => mid.place !== spec.mids[i]!.place) ? ["moved"] : [])
            )
          })
      ))
  }

  law(
    "L6 monoid: without middleware there is the handler and nothing else",
    ["case"],
    (tally, on) =>
      forAll(anyCase, { shift: 4 }, (spec) =>
        Effect.gen(function*() {
          const bare = normal({ ...spec, observers: 0, arounds: [], mids: [], stimulus: { what: "none", at: 0 } })
          if (predict(bare) === undefined) return tally.add("case")
          const { trace } = yield* on("sqlite", bare)
          same(trace, predict(bare)!.trace)
          const strangers = trace.filter((e) => !/^(claim|settle|h[<>.]|acq h|rel h|fork|child|job)/.test(e))
          assert.deepStrictEqual(strangers, [])
          tally.add("case")
        }))
  )
})
