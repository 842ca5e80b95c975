import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Layer, Logger, Option, Redacted, References, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import { Backend } from "../../src/Backend.ts"
import * as MemoryBackend from "../../src/backends/MemoryBackend.ts"
import * as Decide from "../../src/Decide.ts"
import * as Enqueue from "../../src/Enqueue.ts"
import * as Logging from "../../src/middleware/Logging.ts"
import * as Task from "../../src/Task.ts"
import * as TaskGroup from "../../src/TaskGroup.ts"
import * as Worker from "../../src/Worker.ts"
import { Boom, dead, deliveryOf, envelopeOf, observe, retried } from "./support.ts"

const lines = <R = never>(options?: Omit<Parameters<typeof Logging.observer<R>>[0], "sink">) => {
  const written: Array<Logging.Line> = []
  const observer = Logging.observer({ payload: true, ...options, sink: (line) => void written.push(line) })
  return { written, observer }
}

/** every string of a value, keys included */
const strings = (value: unknown): ReadonlyArray<string> =>
  typeof value === "string"
    ? [value]
    : typeof value === "object" && value !== null
    ? Object.entries(value).flatMap(([key, inner]) => [key, ...strings(inner)])
    : []

class Card extends Schema.Class<Card>("Card")({
  holder: Schema.String,
  number: Schema.String.pipe(Logging.secret)
}) {}

class Refused extends Schema.TaggedError<Refused>()("Refused", {
  reason: Schema.String,
  code: Schema.String.pipe(Logging.secret)
}) {
  override get message(): string {
    return `refused with ${this.code}: ${this.reason}`
  }
}

class Charge extends Task.make("Charge", {
  payload: {
    order: Schema.String,
    note: Schema.optional(Schema.String),
    card: Card,
    plain: Schema.Struct({ key: Schema.String.pipe(Logging.secret), open: Schema.String }),
    list: Schema.Array(Schema.Struct({ code: Schema.String.check(Schema.isMinLength(1)).pipe(Logging.secret) })),
    pair: Schema.Tuple([Schema.String, Schema.String.pipe(Logging.secret)]),
    named: Schema.Record(Schema.String, Schema.String.pipe(Logging.secret)),
    either: Schema.Union([
      Schema.TaggedStruct("A", { value: Schema.String.pipe(Logging.secret) }),
      Schema.TaggedStruct("B", { count: Schema.Number })
    ]),
    maybe: Schema.Option(Schema.String.pipe(Logging.secret)),
    marked: Schema.optionalKey(Schema.String.annotateKey({ "windlass/secret": true })),
    wrapped: Schema.Redacted(Schema.String),
    number: Schema.Number.pipe(Logging.secret),
    decoded: Schema.String.pipe(Logging.secret, Schema.decodeTo(Schema.Trim)),
    any: Schema.Unknown
  },
  error: Refused,
  retry: Schedule.spaced("1 minute").pipe(Schedule.upTo({ times: 1 }))
}) {}

interface Hidden {
  readonly [name: string]: string
}

const charge = (s: Hidden, number: number): typeof Charge.payloadSchema.Type => ({
  order: "order-1",
  note: `they gave ${s["card"]} on the phone, url ${encodeURIComponent(s["key"]!)}`,
  card: new Card({ holder: "Ada", number: s["card"]! }),
  plain: { key: s["key"]!, open: "open" },
  list: [{ code: s["first"]! }, { code: s["second"]! }],
  pair: ["left", s["right"]!],
  named: { x: s["named"]! },
  either: { _tag: "A", value: s["either"]! },
  maybe: Option.some(s["maybe"]!),
  marked: s["marked"]!,
  wrapped: Redacted.make(s["wrapped"]!),
  number,
  decoded: s["decoded"]!,
  any: { deep: [{ Access_Token: { inner: [s["token"]] }, kept: "kept" }], self: new Error(`no ${s["card"]}`) }
})

const names = [
  "card",
  "key",
  "first",
  "second",
  "right",
  "named",
  "either",
  "maybe",
  "marked",
  "wrapped",
  "decoded",
  "token",
  "code"
]

/** a failure that quotes everything everywhere */
const failure = (s: Hidden) => {
  const inner = new TypeError(`inner ${JSON.stringify(s)}`)
  return Object.defineProperty(
    new Refused({ reason: `all of ${Object.values(s).join(", ")}`, code: s["code"]! }),
    "cause",
    { value: inner }
  )
}

describe("Logging", () => {
  it.effect("an action and a level per outcome, alone", () =>
    Effect.gen(function*() {
      const { observer, written } = lines()
      const error = new Boom({ why: "x" })
      yield* observe(observer, { _tag: "Succeeded", exit: undefined as never, encoded: undefined })
      yield* observe(observer, { _tag: "Discarded", reason: "old", cause: Cause.fail(Decide.discard("old")) })
      yield* observe(observer, retried(error))
      yield* observe(observer, dead(error))
      yield* observe(observer, { _tag: "Snoozed", after: 5, reason: "later" })
      yield* observe(observer, { _tag: "Interrupted", by: "shutdown", then: "requeue", after: 0 })
      yield* observe(observer, { _tag: "Aborted", cause: undefined })
      yield* observe(observer, { _tag: "Released", why: "released", after: 9, reason: "gate x" })
      yield* observe(observer, { _tag: "Released", why: "unknown", after: 9, reason: "no worker knows task Send" })
      assert.deepStrictEqual(
        written.filter((line) => line.action !== "start_job").map((l) => [l.action, l.level, l.fields["reason"]]),
        [
          ["job_success", "Info", undefined],
          ["job_discarded", "Info", "old"],
          ["job_error_retry", "Info", undefined],
          ["job_error", "Error", "failed"],
          ["job_snoozed", "Debug", "later"],
          ["job_interrupted", "Info", "shutdown"],
          ["job_aborted", "Info", undefined],
          ["job_released", "Debug", "gate x"],
          ["task_not_found", "Warn", "no worker knows task Send"]
        ]
      )
      assert.strictEqual(written.filter((line) => line.action === "start_job" && line.level === "Debug").length, 9)
    }))

  it.effect("levels, fields, headers and the clock", () =>
    Effect.gen(function*() {
      const { observer, written } = lines({
        payload: false,
        headers: ["tenant"],
        levels: { start_job: "None", job_error_retry: "Warn" }
      })
      yield* TestClock.setTime(500)
      yield* observe(observer, retried(new Boom({ why: "x" })), {
        delivery: deliveryOf({
          attempt: 3,
          lostFrom: { worker: "w0", claimedAt: 1 },
          envelope: { headers: { tenant: "t1", authorization: "Bearer abc" } }
        }),
        payload: { a: 1 },
        inside: TestClock.adjust(40)
      })
      assert.deepStrictEqual(written, [{
        action: "job_error_retry",
        level: "Warn",
        message: "job Send failed and is tried again",
        fields: {
          action: "job_error_retry",
          job: "job-1",
          task: "Send",
          queue: "default",
          attempt: 3,
          worker: "worker-1",
          lostFrom: "w0",
          "header.tenant": "t1",
          runMillis: 40,
          afterMillis: 1000,
          error: "Boom: it went wrong: x"
        }
      }])
    }))

  it.effect("masks by annotation, by Redacted and by name, and leaves the rest", () =>
    Effect.gen(function*() {
      const { observer, written } = lines()
      const hidden = Object.fromEntries(names.map((name) => [name, `hidden-${name}`]))
      yield* observe(observer, dead(failure(hidden)), { payload: charge(hidden, 424242), definition: Charge })
      const blot = "<secret>"
      assert.deepStrictEqual(written[1]!.fields["payload"], {
        order: "order-1",
        note: `they gave ${blot} on the phone, url ${blot}`,
        card: { holder: "Ada", number: blot },
        plain: { key: blot, open: "open" },
        list: [{ code: blot }, { code: blot }],
        pair: ["left", blot],
        named: { x: blot },
        either: { _tag: "A", value: blot },
        maybe: blot,
        marked: blot,
        wrapped: blot,
        number: blot,
        decoded: blot,
        any: {
          deep: [{ Access_Token: blot, kept: "kept" }],
          self: { name: "Error", message: `no ${blot}` }
        }
      })
      assert.match(String(written[1]!.fields["error"]), /^Refused: refused with <secret>: all of <secret>, /)
      assert.match(String(written[1]!.fields["cause"]), /cause.*inner/)
    }))

  it.effect("never a secret, whatever it is, wherever it stands, whoever quotes it", () =>
    Effect.promise(() => {
      const secret = fc.oneof(
        fc.string({ minLength: 4, maxLength: 24 }),
        fc.string({ minLength: 4, maxLength: 12, unit: "grapheme" }),
        fc.constantFrom("a+b.c*(d)[e]", "\"quoted\"", "back\\slash\n", "$&$1", "p4ss w0rd/=?", "2024-01-01")
      ).filter((text) => text.trim().length >= 4)
      let cases = 0
      const base = Object.fromEntries(names.map((name, i) => [name, `\u0001${i}\u0001${i}`]))
      const write = (hidden: Hidden, number: number, how: number) =>
        Effect.gen(function*() {
          const { observer, written } = lines()
          const error = failure(hidden)
          const outcome = how === 0
            ? dead(error)
            : how === 1
            ? retried(error)
            : how === 2
            ? { ...dead(error), cause: Cause.combine(Cause.die(error), Cause.fail("typed")) } as const
            : { _tag: "Discarded", reason: `not ${hidden["card"]}`, cause: Cause.empty } as const
          yield* observe(observer, outcome, {
            payload: charge(hidden, number),
            definition: Charge,
            delivery: deliveryOf({ envelope: { headers: { authorization: hidden["token"]! } } })
          })
          return written.flatMap((line) => strings(line))
        }).pipe(Effect.provide(TestClock.layer()))
      return fc.assert(
        fc.asyncProperty(
          fc.array(secret, { minLength: names.length, maxLength: names.length }),
          fc.integer({ min: 10_000_000, max: 99_999_999 }),
          fc.nat(3),
          async (values, number, how) => {
            const hidden = Object.fromEntries(names.map((name, i) => [name, values[i]!]))
            const all = [...values, String(number)]
            // what stands in every line of any job is no secret
            const common = (await Effect.runPromise(write(base, 10_000_001, how))).join("\n")
            const told = (await Effect.runPromise(write(hidden, number, how))).join("\n")
            for (const text of all) {
              if (common.includes(text) || "<secret>".includes(text)) continue
              cases++
              assert.notInclude(told, text)
              // nor quoted in a URI or in JSON
              for (const form of [encodeURIComponent(text), JSON.stringify(text).slice(1, -1)]) {
                if (!common.includes(form)) assert.notInclude(told, form)
              }
            }
          }
        ),
        { numRuns: 300 }
      ).then(() => {
        process.stdout.write(`secrets looked for: ${cases}\n`)
        assert.isAbove(cases, 3_000)
      })
    }))

  it.effect("a short secret goes where it stands as a word, and a blank one blots nothing", () =>
    Effect.gen(function*() {
      const { observer, written } = lines()
      yield* observe(observer, retried("pin 12 of 1200 was 7a, not 7ab"), {
        payload: { pin: 12, token: "7a", secret: " " }
      })
      assert.strictEqual(written[1]!.fields["error"], "pin <secret> of 1200 was <secret>, not 7ab")
    }))

  it.effect("what could not be decoded quotes nothing of a payload that may have secrets", () =>
    Effect.gen(function*() {
      const { observer, written } = lines()
      const undecodable = (payload: string, error: unknown) =>
        observe(observer, dead(error, "undecodable"), {
          delivery: deliveryOf({ envelope: { task: "Charge", payload } }),
          definition: Charge
        })
      const text = `{"card": "4242-4242", "note": ["sesame"`
      yield* undecodable(
        text,
        (() => {
          try {
            return JSON.parse(text)
          } catch (error) {
            return error
          }
        })()
      )
      yield* undecodable(
        `{"card": "4242-4242", "note": ["sesame"]}`,
        new Error(`expected an object, got "4242-4242" and ["sesame"]`)
      )
      const told = written.filter((line) => line.action === "job_error")
      assert.deepStrictEqual(told.map((line) => line.fields["error"]), [
        "the payload is not JSON",
        `Error: expected an object, got "<secret>" and ["<secret>"]`
      ])
      for (const line of told) {
        assert.notInclude(strings(line).join("\n"), "4242-4242")
        assert.notInclude(strings(line).join("\n"), "sesame")
      }
    }))

  it.effect("large, deep and circular payloads are cut, and what cannot be searched is withheld", () =>
    Effect.gen(function*() {
      const { observer, written } = lines()
      const circular: Record<string, unknown> = {
        long: "x".repeat(5_000),
        many: Array.from({ length: 150 }, (_, i) => i)
      }
      circular["self"] = circular
      yield* observe(observer, retried("failed"), { payload: circular })
      const payload = written[1]!.fields["payload"] as any
      assert.strictEqual(payload.self, "<circular>")
      assert.strictEqual(payload.many.length, 101)
      assert.strictEqual(payload.many[100], "<50 more>")
      assert.isBelow(payload.long.length, 2_100)
      yield* observe(observer, retried("the 30000th is s-29999"), {
        payload: { password: Array.from({ length: 30_000 }, (_, i) => `s-${i}`) }
      })
      assert.strictEqual(written[3]!.fields["error"], "<withheld>")
      assert.strictEqual(written[3]!.fields["payload"], "<withheld>")
      assert.strictEqual(written[3]!.fields["task"], "Send")
    }))

  it.effect("with a worker: lines of a retried and then dead job, of an undecodable one and an unknown one", () =>
    Effect.gen(function*() {
      const { observer, written } = lines()
      const hidden = Object.fromEntries(names.map((name) => [name, `hidden-${name}`]))
      const group = TaskGroup.make(Charge)
      yield* Effect.gen(function*() {
        yield* Charge.enqueue({ ...charge(hidden, 424242), any: { token: hidden["token"]! } }).pipe(Enqueue.id("c-1"))
        yield* TestClock.adjust("10 minutes")
        const backend = yield* Backend
        yield* backend.publish("default", [
          { envelope: envelopeOf({ id: "c-2", task: "Charge", payload: "{\"order\":1}" }) },
          { envelope: envelopeOf({ id: "c-3", task: "Nobody" }) }
        ])
        yield* TestClock.adjust(0)
        yield* Worker.stop
      }).pipe(Effect.provide(
        Worker.layer(group, { middleware: [observer] }).pipe(
          Layer.provide(Charge.toLayer(() => Effect.fail(failure(hidden)))),
          Layer.provideMerge(MemoryBackend.layer)
        )
      ))
      assert.deepStrictEqual(
        written.map((line) => [line.fields["job"], line.action]),
        [
          ["c-1", "start_job"],
          ["c-1", "job_error_retry"],
          ["c-1", "start_job"],
          ["c-1", "job_error"],
          ["c-2", "start_job"],
          ["c-2", "job_error"],
          ["c-3", "start_job"],
          ["c-3", "task_not_found"]
        ]
      )
      for (const name of names) assert.notInclude(written.flatMap((line) => strings(line)).join("\n"), `hidden-${name}`)
      assert.strictEqual(written[5]!.fields["reason"], "undecodable")
    }))

  it.effect("sinks: Effect's loggers with annotations, or JSON", () =>
    Effect.gen(function*() {
      const logged: Array<unknown> = []
      const logger = Logger.make((options) => {
        logged.push([options.logLevel, options.message, options.fiber.getRef(References.CurrentLogAnnotations)])
      })
      const json: Array<string> = []
      yield* Effect.gen(function*() {
        const silent = { start_job: "None" } as const
        yield* observe(Logging.observer({ levels: silent }), retried("x"))
        yield* observe(
          Logging.observer({ levels: silent, sink: Logging.toJson((line) => json.push(line)) }),
          retried("x")
        )
      }).pipe(Effect.provide(Logger.layer([logger])))
      const fields = {
        action: "job_error_retry",
        job: "job-1",
        task: "Send",
        queue: "default",
        attempt: 1,
        worker: "worker-1",
        runMillis: 0,
        afterMillis: 1000,
        error: "x"
      }
      assert.deepStrictEqual(logged, [["Info", ["job Send failed and is tried again"], fields]])
      assert.deepStrictEqual(json.map((line) => JSON.parse(line)), [
        { level: "Info", message: "job Send failed and is tried again", ...fields }
      ])
    }))

  it.effect("L11: a sink that dies or hangs does not hold up the job", () =>
    Effect.gen(function*() {
      class Plain extends Task.make("Plain", { success: Schema.Number }) {}
      for (
        const sink of [() => Effect.die("sink"), () => Effect.never, () => {
          throw new Error("sink")
        }]
      ) {
        const result = yield* Effect.gen(function*() {
          const fiber = yield* Effect.forkChild(Plain.execute(undefined), { startImmediately: true })
          yield* TestClock.adjust("10 seconds")
          return fiber.pollUnsafe()
        }).pipe(
          Effect.provide(
            Worker.layer(TaskGroup.make(Plain), { middleware: [Logging.observer({ sink })] }).pipe(
              Layer.provide(Plain.toLayer(() => Effect.succeed(7))),
              Layer.provideMerge(MemoryBackend.layer)
            )
          ),
          Effect.provideService(References.MinimumLogLevel, "None")
        )
        assert.deepStrictEqual(result?._tag === "Success" ? result.value : result, 7)
      }
    }))
})
