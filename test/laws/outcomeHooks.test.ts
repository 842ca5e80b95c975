/**
 * Outcome hooks, for random lists of them and random ends of a run: from the inside out, every one, each sees what the
 * ones inside of it made of the outcome, a run that was cut short is never a success (L13), and only the task itself has
 * a result for a job that failed (L14). What should come is worked out by a model that knows nothing of the code.
 */
import { assert } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as fc from "fast-check"
import * as Decide from "windlass/Decide"
import * as Middleware from "windlass/Middleware"
import * as OutcomeHook from "windlass/middleware/OutcomeHook"
import type { Outcome } from "windlass/Outcome"
import * as Task from "windlass/Task"
import { Harness } from "windlass/testing"
import { forAll, law } from "./kit/law.ts"

class Declared extends Schema.TaggedError<Declared>()("Declared", { at: Schema.Number }) {}
class Foreign extends Schema.TaggedError<Foreign>()("Foreign", { at: Schema.Number }) {}

const Nothing = Task.make("Nothing", { error: Declared, onInterrupted: "fail" })
const Text = Task.make("Text", { success: Schema.String, error: Declared, onInterrupted: "fail" })

const answers = [
  "stands",
  "suppresses",
  "succeeds",
  "fails as declared",
  "fails as something else",
  "dies",
  "discards"
] as const
type Answer = (typeof answers)[number]

const ends = [
  "is well",
  "fails",
  "fails, and is retried",
  "breaks",
  "is discarded",
  "is undecodable",
  "is cut short",
  "is aborted",
  "is requeued",
  "is snoozed"
] as const

interface Case {
  readonly text: boolean
  readonly end: (typeof ends)[number]
  /** first = outermost */
  readonly hooks: ReadonlyArray<Answer>
}

const arbitrary: fc.Arbitrary<Case> = fc.record({
  text: fc.boolean(),
  end: fc.constantFrom(...ends),
  hooks: fc.array(fc.constantFrom(...answers), { maxLength: 5 })
})

/** what is known of an outcome, in a word or two */
const line = (outcome: Outcome): string => {
  switch (outcome._tag) {
    case "Dead":
      return `Dead ${outcome.reason}`
    case "Succeeded":
      return `Succeeded ${outcome.exit._tag === "Success" ? JSON.stringify(outcome.exit.value) ?? "nothing" : "badly"}`
    default:
      return outcome._tag
  }
}

const began = ({ end, text }: Case): string => {
  switch (end) {
    case "is well":
      return text ? "Succeeded \"done\"" : "Succeeded nothing"
    case "fails, and is retried":
      return "Retried"
    case "fails":
    case "breaks":
      return "Dead failed"
    case "is discarded":
      return "Discarded"
    case "is undecodable":
      return "Dead undecodable"
    case "is cut short":
      return "Dead interrupted"
    case "is aborted":
      return "Aborted"
    case "is requeued":
      return "Interrupted"
    case "is snoozed":
      return "Snoozed"
  }
}

const after = (state: string, answer: Answer, { end, text }: Case): string => {
  if (state === "Aborted" || answer === "stands") return state
  const failure = state === "Retried" || state.startsWith("Dead")
  const fixed = state === "Dead undecodable" || state === "Dead interrupted"
  switch (answer) {
    case "suppresses":
      if (!failure) return state
      return text || end === "is undecodable" || end === "is cut short" ? "Discarded" : "Succeeded nothing"
    case "succeeds":
      if (!failure) return state
      return end === "is cut short" ? "Discarded" : text ? "Succeeded \"rescued\"" : "Succeeded nothing"
    case "discards":
      return "Discarded"
    default:
      if (fixed) return state
      return end === "fails, and is retried" ? "Retried" : "Dead failed"
  }
}

law(
  "L13 L14 outcome hooks: every one, from the inside out, and none invents a result",
  [...ends, ...answers, "changed twice"],
  "harness",
  (tally) =>
    forAll(arbitrary, { numRuns: 1_200 }, (one) =>
      Effect.gen(function*() {
        const { end, hooks, text } = one
        const task = end === "is requeued"
          ? Task.make("Again", { ...(text ? { success: Schema.String } : {}), error: Declared })
          : text
          ? Text
          : Nothing
        const seen: Array<string> = []
        const hook = (answer: Answer, i: number) => {
          const note = (outcome: Outcome) => Effect.sync(() => void seen.push(`${i} ${line(outcome)}`))
          const all = (then: Effect.Effect<OutcomeHook.Suppress | void, unknown>) =>
            OutcomeHook.make(`hook ${i}`, (outcome) => Effect.andThen(note(outcome), then))
          switch (answer) {
            case "stands":
              return all(Effect.void)
            case "suppresses":
              return all(Effect.succeed(OutcomeHook.suppress))
            case "fails as declared":
              return all(Effect.fail(new Declared({ at: i })))
            case "fails as something else":
              return all(Effect.fail(new Foreign({ at: i })))
            case "dies":
              return all(Effect.die(`hook ${i}`))
            case "discards":
              return all(Effect.fail(Decide.discard(`hook ${i}`)))
            case "succeeds":
              return OutcomeHook.forTask(
                `hook ${i}`,
                task as typeof Text,
                (outcome) => Effect.as(note(outcome), OutcomeHook.succeed(text ? "rescued" : undefined as never))
              )
          }
        }
        // nested by hand, as a worker nests its list
        const nested = Middleware.delivery("nested", (next, delivery) =>
          hooks.map(hook).reduceRight<typeof next>(
            (inner, { wrap }) => (given) => Effect.scoped(wrap(inner, given)) as ReturnType<typeof next>,
            next
          )(delivery) as ReturnType<typeof next>)
        const stop = end === "is aborted"
          ? "aborted"
          : end === "is cut short" || end === "is requeued"
          ? "shutdown"
          : undefined
        const inner: Effect.Effect<unknown, unknown> = stop !== undefined
          ? Effect.never
          : end === "is well"
          ? Effect.succeed(text ? "done" : undefined)
          : end === "breaks"
          ? Effect.die("boom")
          : end === "is discarded"
          ? Effect.fail(Decide.discard())
          : end === "is snoozed"
          ? Effect.fail(Decide.snooze("1 minute"))
          : Effect.fail(new Declared({ at: -1 }))
        const { outcome, settlement } = yield* Harness.run(nested, {
          task,
          job: { lastAttempt: end !== "fails, and is retried" },
          ...(end === "is undecodable" ? { encoded: "{" } : {}),
          ...(stop === undefined ? {} : { stop }),
          inner
        })

        let state = began(one)
        const expected: Array<string> = []
        let changes = 0
        if (state !== "Interrupted" && state !== "Snoozed") {
          for (let i = hooks.length - 1; i >= 0; i--) {
            expected.push(`${i} ${state}`)
            const next = after(state, hooks[i]!, one)
            if (next !== state) changes++
            state = next
          }
        }
        assert.deepStrictEqual(seen, expected)
        assert.strictEqual(line(outcome), state)
        // what the backend is told agrees with the outcome, and a job that was cut short has not succeeded
        const how = settlement?._tag === "Complete" ? settlement.how : settlement?._tag
        assert.strictEqual(
          how,
          state.startsWith("Succeeded")
            ? "succeeded"
            : state.startsWith("Dead")
            ? "Dead"
            : state === "Discarded" || state === "Aborted"
            ? state.toLowerCase()
            : "Retry"
        )
        if (stop !== undefined) assert.notStrictEqual(how, "succeeded")
        tally.add(end, ...new Set(hooks), ...(changes > 1 ? ["changed twice"] : []))
      })),
  <A>(effect: Effect.Effect<A, unknown, never>): Effect.Effect<A, unknown> => effect
)
