import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, ErrorReporter as Reporter, Layer, References, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import * as MemoryBackend from "../../src/backends/MemoryBackend.ts"
import * as Decide from "../../src/Decide.ts"
import * as Enqueue from "../../src/Enqueue.ts"
import * as ErrorReporter from "../../src/middleware/ErrorReporter.ts"
import * as Logging from "../../src/middleware/Logging.ts"
import type { Outcome } from "../../src/Outcome.ts"
import * as Task from "../../src/Task.ts"
import * as TaskGroup from "../../src/TaskGroup.ts"
import * as Worker from "../../src/Worker.ts"
import { Boom, dead, deliveryOf, observe, retried } from "./support.ts"

class Quiet extends Schema.TaggedError<Quiet>()("Quiet", {}) {
  override readonly [Reporter.ignore] = true
}

class Refused extends Schema.TaggedError<Refused>()("Refused", {
  code: Schema.Number.pipe(Logging.secret),
  reason: Schema.String
}) {
  override get message(): string {
    return `refused with ${this.code}: ${this.reason}`
  }
  override readonly [Reporter.severity] = "Fatal"
  override get [Reporter.attributes]() {
    return { reason: "mine", told: `code ${this.code}`, apiKey: "k-123456" }
  }
}

class Charge extends Task.make("Charge", {
  payload: { card: Schema.String.pipe(Logging.secret), how: Schema.String },
  error: Schema.Union([Refused, Quiet, Boom]),
  retry: { schedule: Schedule.spaced("1 minute").pipe(Schedule.upTo({ times: 2 })) }
}) {}

/** a reporter as users write them */
const reporter = () => {
  const got: Array<{ readonly error: Error; readonly severity: string; readonly attributes: any }> = []
  return {
    got,
    layer: Reporter.layer([
      Reporter.make(({ attributes, error, severity }) => got.push({ attributes, error, severity }))
    ])
  }
}

const told = (error: unknown): string =>
  error instanceof Error
    ? [error.name, error.message, error.stack, JSON.stringify(error), told(error.cause)].join("\n")
    : JSON.stringify(error) ?? ""

describe("ErrorReporter", () => {
  it.effect("a dead job, alone: attributes, severity, the error's own fields, nothing secret", () =>
    Effect.gen(function*() {
      const { got, layer } = reporter()
      const error = new Refused({ code: 77_420, reason: "card 4242-4242 is stolen" })
      yield* observe(ErrorReporter.observer({ payload: true }), dead(error), {
        delivery: deliveryOf({ attempt: 3 }),
        payload: { card: "4242-4242", how: "x" },
        definition: Charge
      }).pipe(Effect.provide(layer))
      assert.strictEqual(got.length, 1)
      const [one] = got
      assert.deepStrictEqual([one!.severity, one!.error.name, one!.error.message], [
        "Fatal",
        "Refused",
        "refused with <secret>: card <secret> is stolen"
      ])
      assert.deepStrictEqual(one!.attributes, {
        told: "code <secret>",
        apiKey: "<secret>",
        job: "job-1",
        task: "Send",
        queue: "default",
        attempt: 3,
        worker: "worker-1",
        outcome: "dead",
        reason: "failed",
        payload: { card: "<secret>", how: "x" }
      })
      assert.deepInclude(one!.error, { _tag: "Refused", code: "<secret>", reason: "card <secret> is stolen" } as never)
    }))

  it.effect("which outcomes are reported", () =>
    Effect.gen(function*() {
      const outcomes: ReadonlyArray<Outcome> = [
        { _tag: "Succeeded", exit: undefined as never, encoded: undefined },
        { _tag: "Discarded", reason: "old", cause: Cause.fail(Decide.discard("old")) },
        { _tag: "Snoozed", after: 1, reason: "later" },
        { _tag: "Aborted", cause: Cause.die("aborted") },
        { _tag: "Interrupted", by: "shutdown", then: "requeue", after: 0 },
        { _tag: "Released", why: "unknown", after: 1, reason: "unknown" },
        retried(new Boom({ why: "again" })),
        dead(new Boom({ why: "over" })),
        { _tag: "Dead", reason: "expired", cause: undefined, error: "its deadline passed", encoded: undefined },
        { _tag: "Dead", reason: "interrupted", cause: Cause.interrupt(), error: "cut short", encoded: undefined },
        dead(Decide.dead("no such user"), "decided")
      ]
      const reported = (options?: Parameters<typeof ErrorReporter.observer<never>>[0]) =>
        Effect.gen(function*() {
          const { got, layer } = reporter()
          const observer = ErrorReporter.observer(options)
          for (const outcome of outcomes) yield* observe(observer, outcome).pipe(Effect.provide(layer))
          return got.map((one) => `${one.severity} ${one.error.name}: ${one.error.message}`)
        })
      const final = [
        "Error Boom: it went wrong: over",
        "Error DeadJob: its deadline passed",
        "Error DeadJob: cut short",
        "Error windlass/Decide: decided to dead the job: no such user"
      ]
      assert.deepStrictEqual(yield* reported(), final)
      assert.deepStrictEqual(yield* reported({ retried: true }), ["Warn Boom: it went wrong: again", ...final])
      assert.deepStrictEqual(yield* reported({ ignore: ["Boom", "windlass/Decide"] }), final.slice(1, 3))
      assert.deepStrictEqual(yield* reported({ ignore: (e) => e instanceof ErrorReporter.DeadJob }), [
        final[0],
        final[3]
      ])
    }))

  it.effect("every error of a cause, with its causes; what ignores itself is left out", () =>
    Effect.gen(function*() {
      const { got, layer } = reporter()
      const hooked: Array<ErrorReporter.Report> = []
      const cause = Cause.fromReasons<unknown>([
        ...Cause.fail(new Quiet()).reasons,
        ...Cause.fail("plain").reasons,
        ...Cause.die(new TypeError("outer", { cause: new RangeError("inner") })).reasons,
        ...Cause.interrupt().reasons
      ])
      yield* observe(
        ErrorReporter.observer({ onReport: (report) => void hooked.push(report) }),
        { _tag: "Dead", reason: "failed", cause, error: "x", encoded: undefined }
      ).pipe(Effect.provide(layer))
      assert.deepStrictEqual(got.map((one) => one.error.message), ["plain", "outer"])
      assert.strictEqual((got[1]!.error.cause as Error).message, "inner")
      assert.deepStrictEqual(hooked.map((one) => [one.error.message, one.severity, one.attributes["outcome"]]), [
        ["plain", "Error", "dead"],
        ["outer", "Error", "dead"]
      ])
    }))

  it.effect("never a secret, however an error quotes it", () =>
    Effect.promise(() => {
      let cases = 0
      return fc.assert(
        fc.asyncProperty(
          fc.string({ minLength: 6, maxLength: 20 }).filter((text) => text.trim().length > 5),
          fc.constantFrom("fail", "die", "nested", "field", "thrown text"),
          async (card, how) => {
            const { got, layer } = reporter()
            const hooked: Array<ErrorReporter.Report> = []
            const quote = `card ${card}, ${JSON.stringify({ card })}\nand ${card}`
            const cause = how === "fail"
              ? Cause.fail(new Boom({ why: quote }))
              : how === "die"
              ? Cause.die(new TypeError(quote))
              : how === "nested"
              ? Cause.die(new Error("outer", { cause: new Error("middle", { cause: { quote, list: [card] } }) }))
              : how === "field"
              ? Cause.fail(Object.assign(new Error("x"), { request: { body: quote, parts: [card] } }))
              : Cause.fail(quote)
            await Effect.runPromise(
              observe(
                ErrorReporter.observer({ payload: true, onReport: (report) => void hooked.push(report) }),
                { _tag: "Dead", reason: "failed", cause, error: "x", encoded: undefined },
                { payload: { card, how: "ok" }, definition: Charge }
              ).pipe(Effect.provide(layer))
            )
            const text = [...got, ...hooked].map((one) => told(one.error) + JSON.stringify(one.attributes)).join("\n")
            assert.strictEqual(got.length, 1)
            if (import.meta.url.includes(card) || "<secret>".includes(card)) return
            cases++
            assert.notInclude(text, card)
          }
        ),
        { numRuns: 300 }
      ).then(() => {
        process.stdout.write(`secrets looked for: ${cases}\n`)
        assert.isAbove(cases, 250)
      })
    }))

  it.effect("with a worker: one report per dead job, or per attempt if asked; discards never", () =>
    Effect.gen(function*() {
      const run = (options?: Parameters<typeof ErrorReporter.observer<never>>[0]) =>
        Effect.gen(function*() {
          const { got, layer } = reporter()
          yield* Effect.gen(function*() {
            for (const how of ["fail", "quiet", "discard", "ok", "die"]) {
              yield* Charge.enqueue({ card: "4242-4242", how }).pipe(Enqueue.id(how))
            }
            yield* TestClock.adjust("1 hour")
          }).pipe(
            Effect.provide(
              Worker.layer(TaskGroup.make(Charge), { middleware: [ErrorReporter.observer(options)] }).pipe(
                Layer.provide(Charge.toLayer(({ card, how }) => {
                  switch (how) {
                    case "fail":
                      return Effect.fail(new Boom({ why: `${card} refused` }))
                    case "quiet":
                      return Effect.fail(new Quiet())
                    case "discard":
                      return Effect.fail(Decide.discard())
                    case "die":
                      return Effect.die(new Error("a bug"))
                    default:
                      return Effect.void
                  }
                })),
                Layer.provideMerge(MemoryBackend.layer),
                Layer.provide(layer)
              )
            ),
            Effect.provideService(References.MinimumLogLevel, "None")
          )
          return got.map((one) => [one.attributes.job, one.attributes.attempt, one.severity, one.error.message])
        })
      const last = [["fail", 3, "Error", "it went wrong: <secret> refused"], ["die", 3, "Error", "a bug"]]
      assert.sameDeepMembers(yield* run(), last)
      assert.sameDeepMembers(yield* run({ retried: true }), [
        ...[1, 2].map((attempt) => ["fail", attempt, "Warn", "it went wrong: <secret> refused"]),
        ...[1, 2].map((attempt) => ["die", attempt, "Warn", "a bug"]),
        ...last
      ])
    }))
})
