/**
 * Observers are harmless: a case with observers that die, throw, hang, take their time, interrupt themselves or refuse to
 * be interrupted comes to what it comes to without them, and is held up by a second a hook at most.
 */
import { assert, describe } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import * as Middleware from "windlass/Middleware"
import { backends } from "./kit/backends.ts"
import { anyCase } from "./kit/generate.ts"
import { forAll, law, runs } from "./kit/law.ts"
import { same } from "./kit/observe.ts"
import { run, type Services } from "./kit/run.ts"

const manners = [
  "well",
  "plain",
  "dies",
  "throws",
  "hangs",
  "slow",
  "too slow",
  "interrupts",
  "refuses to end"
] as const
type Manner = (typeof manners)[number]

const behave = (manner: Manner): Effect.Effect<void> | undefined => {
  switch (manner) {
    case "plain":
      return undefined
    case "well":
      return Effect.void
    case "dies":
      return Effect.die("observer")
    case "throws":
      throw new Error("observer")
    case "hangs":
      return Effect.never
    case "slow":
      return Effect.sleep("400 millis")
    case "too slow":
      return Effect.sleep("1 hour")
    case "interrupts":
      return Effect.interrupt
    case "refuses to end":
      return Effect.uninterruptible(Effect.sleep("1 minute"))
  }
}

/** milliseconds that a hook may hold a job up */
const holdsUp = (manner: Manner): number =>
  manner === "slow" ? 400 : manner === "hangs" || manner === "too slow" || manner === "refuses to end" ? 1_000 : 0

const completes = (manner: Manner): boolean => manner === "well" || manner === "plain" || manner === "slow"

const pairs = fc.array(fc.tuple(fc.constantFrom(...manners), fc.constantFrom(...manners)), {
  minLength: 1,
  maxLength: 4
})

// what is lost is lost at a time: a job that starts later would be at another step by then
const cases = anyCase.filter((spec) => spec.stimulus.what !== "lost")

describe("observers", () => {
  for (const [name, backend] of Object.entries(backends)) {
    let queues = 0
    law<Services>(
      "L11 observers are harmless: whatever they do, the outcome stands and comes in time",
      manners,
      name,
      (tally) =>
        forAll(fc.tuple(cases, pairs), { numRuns: runs * 4 }, ([spec, pairs]) =>
          Effect.gen(function*() {
            const calls = pairs.map(() => ({ before: 0, after: 0 }))
            const observers = pairs.map(([before, after], i) =>
              Middleware.observe({
                name: `guest ${i}`,
                before: () => {
                  calls[i]!.before++
                  return behave(before) as Effect.Effect<void>
                },
                after: () => {
                  calls[i]!.after++
                  return behave(after) as Effect.Effect<void>
                }
              })
            )
            const watched = yield* run(spec, `watched${++queues}`, { observers })
            const alone = yield* run(spec, `alone${queues}`)
            same(watched.trace, alone.trace)
            assert.strictEqual(watched.result, alone.result)
            assert.strictEqual(watched.record.state, alone.record.state)
            assert.deepStrictEqual(watched.submitted.map((s) => s.answer), alone.submitted.map((s) => s.answer))
            // an after runs exactly when its before completed
            const handed = watched.taken.length
            for (const [i, [before]] of pairs.entries()) {
              assert.deepStrictEqual(
                calls[i],
                { before: handed, after: completes(before) ? handed : 0 },
                `calls of guest ${i}`
              )
            }
            // from each claim to its settlement: what it takes alone, and the time that the hooks may have
            const spans = (seen: typeof alone) =>
              seen.trace.flatMap((event, n) => event.startsWith("claim") ? [seen.times[n]!] : []).map((from, n) =>
                seen.times[ends(seen.trace)[n]!]! - from
              )
            const allowed = pairs.reduce(
              (sum, [before, after]) => sum + holdsUp(before) + (completes(before) ? holdsUp(after) : 0),
              0
            )
            const own = spans(alone)
            spans(watched).forEach((span, n) => assert.isAtMost(span - own[n]!, allowed, "held up"))
            tally.add(...new Set(pairs.flat()))
          })),
      (effect) => Effect.provide(effect, backend())
    )
  }
})

const ends = (trace: ReadonlyArray<string>): ReadonlyArray<number> =>
  trace.flatMap((event, n) => event.startsWith("settle") ? [n] : [])
