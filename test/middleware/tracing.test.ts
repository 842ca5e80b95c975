import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Option, Schedule, Schema, Tracer } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import { Backend, type Item } from "../../src/Backend.ts"
import * as MemoryBackend from "../../src/backends/MemoryBackend.ts"
import { Inspect } from "../../src/Capability.ts"
import * as Decide from "../../src/Decide.ts"
import * as Enqueue from "../../src/Enqueue.ts"
import * as Job from "../../src/Job.ts"
import * as baggage from "../../src/middleware/internal/baggage.ts"
import * as Tracing from "../../src/middleware/Tracing.ts"
import * as Task from "../../src/Task.ts"
import * as TaskGroup from "../../src/TaskGroup.ts"
import * as Worker from "../../src/Worker.ts"
import { Boom, envelopeOf } from "./support.ts"

class Second extends Task.make("Second", { success: Schema.String }) {}
class First extends Task.make("First", {
  payload: { how: Schema.String },
  success: Schema.String,
  error: Boom,
  retry: Schedule.spaced("1 minute").pipe(Schedule.upTo({ times: 1 }))
}) {}
const App = TaskGroup.make(First, Second)

/** records what a tracing system would be sent */
const recorder = () => {
  const spans: Array<Tracer.NativeSpan> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  const named = (name: string) => spans.filter((span) => span.name === name)
  return { spans, named, layer: Layer.succeed(Tracer.Tracer, tracer) }
}

const parentOf = (span: Tracer.Span | undefined) =>
  span === undefined ? undefined : Option.getOrUndefined(span.parent)?.spanId

const traceparent = /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/

const live = Layer.mergeAll(
  First.toLayer(({ how }) =>
    Effect.gen(function*() {
      yield* Effect.sleep("100 millis")
      switch (how) {
        case "fail":
          return yield* new Boom({ why: "asked to" })
        case "discard":
          return yield* Decide.discard("not wanted")
        case "snooze":
          return (yield* Job.Current).attempt === 1 ? yield* Decide.snooze("1 day") : "late"
        case "chain":
          return (yield* Effect.orDie(Second.enqueue(undefined))) + JSON.stringify(yield* Tracing.Baggage)
        default:
          return "ok"
      }
    })
  ),
  Second.toLayer(() =>
    Effect.gen(function*() {
      return JSON.stringify([yield* Tracing.Baggage, yield* Tracing.TraceState])
    })
  )
)

/** a worker and a producer with all three parts, under a recording tracer */
const traced = (recorded: ReturnType<typeof recorder>) =>
  Worker.layer(App, { middleware: [Tracing.delivery, Tracing.run] }).pipe(
    Layer.provide(live),
    Layer.provideMerge(MemoryBackend.layer),
    Layer.provideMerge(Enqueue.layer(Tracing.enqueue)),
    Layer.provideMerge(recorded.layer)
  )

const storedHeaders = (id: string) =>
  Effect.map(Effect.flatMap(Inspect, (inspect) => inspect.get(id)), (job) => Option.getOrThrow(job).envelope.headers)

describe("Tracing", () => {
  it.effect("enqueue, alone: a producer span becomes the parent, what the caller chose stays", () =>
    Effect.gen(function*() {
      const recorded = recorder()
      const sent: Array<Item> = []
      const next = (batch: Enqueue.Batch) =>
        Effect.sync((): ReadonlyArray<Enqueue.Enqueued> => {
          sent.push(...batch.items)
          return batch.items.map(() => ({ _tag: "Stored" }))
        })
      const item = (headers: Record<string, string>): Item => ({ envelope: envelopeOf({ headers }) })
      const own = "00-11111111111111111111111111111111-2222222222222222-01"
      yield* Effect.scoped(Tracing.enqueue(next, {
        task: "First",
        queue: "default",
        items: [item({}), item({ traceparent: own, tracestate: "mine=1", baggage: "a=b" })]
      })).pipe(
        Effect.withSpan("outer"),
        Effect.provideService(Tracing.Baggage, { tenant: "t 1", "not a token": "x" }),
        Effect.provideService(Tracing.TraceState, "vendor=7"),
        Effect.provide(recorded.layer)
      )
      const [outer, send] = recorded.spans
      assert.deepStrictEqual([send!.name, send!.kind, parentOf(send)], ["send First", "producer", outer!.spanId])
      assert.deepStrictEqual(Object.fromEntries(send!.attributes), {
        "messaging.system": "windlass",
        "messaging.operation.type": "send",
        "messaging.destination.name": "default",
        "windlass.task": "First",
        "messaging.batch.message_count": 2
      })
      assert.deepStrictEqual(sent.map((one) => one.envelope.headers), [
        { traceparent: `00-${send!.traceId}-${send!.spanId}-01`, tracestate: "vendor=7", baggage: "tenant=t%201" },
        { traceparent: own, tracestate: "mine=1", baggage: "a=b" }
      ])
    }))

  it.effect("without a tracer there are no spans and the headers are passed on all the same", () =>
    Effect.gen(function*() {
      const result = yield* Effect.gen(function*() {
        const id = yield* First.enqueue({ how: "ok" }).pipe(Effect.provideService(Tracing.Baggage, { a: "1" }))
        const headers = yield* storedHeaders(id)
        const fiber = yield* Effect.forkChild(
          Effect.provideService(Second.execute(undefined), Tracing.Baggage, { b: "ü, =" }),
          { startImmediately: true }
        )
        yield* TestClock.adjust("1 second")
        return [headers, fiber.pollUnsafe()] as const
      }).pipe(Effect.provide(
        Worker.layer(App, { middleware: [Tracing.delivery, Tracing.run] }).pipe(
          Layer.provide(live),
          Layer.provideMerge(MemoryBackend.layer),
          Layer.provideMerge(Enqueue.layer(Tracing.enqueue))
        )
      ))
      assert.deepStrictEqual(result[0], { baggage: "a=1" })
      assert.deepStrictEqual(result[1], Exit.succeed(JSON.stringify([{ b: "ü, =" }, null])))
    }))

  it.effect("with a worker: caller -> send -> run -> send -> run is one trace", () =>
    Effect.gen(function*() {
      const recorded = recorder()
      yield* Effect.gen(function*() {
        const id = yield* First.enqueue({ how: "chain" }).pipe(
          Effect.provideService(Tracing.Baggage, { tenant: "t1" }),
          Effect.provideService(Tracing.TraceState, "vendor=7"),
          Effect.withSpan("caller")
        )
        assert.match((yield* storedHeaders(id))["traceparent"]!, traceparent)
        yield* TestClock.adjust("1 second")
      }).pipe(Effect.provide(traced(recorded)))
      const [caller] = recorded.named("caller")
      const [send] = recorded.named("send First")
      const [first] = recorded.named("First")
      const [again] = recorded.named("send Second")
      const [second] = recorded.named("Second")
      assert.deepStrictEqual(
        [send, first, again, second].map(parentOf),
        [caller, send, first, again].map((span) => span!.spanId)
      )
      assert.strictEqual(new Set(recorded.spans.map((span) => span.traceId)).size, 1)
      assert.deepStrictEqual([send!.kind, first!.kind], ["producer", "consumer"])
      assert.strictEqual(first!.attributes.get("windlass.outcome"), "succeeded")
      // tracestate and baggage came to the second job through the first
      assert.strictEqual(second!.attributes.get("windlass.outcome"), "succeeded")
    }))

  it.effect("a delayed job starts a trace of its own, linked to the one of its producer", () =>
    Effect.gen(function*() {
      const recorded = recorder()
      yield* Effect.gen(function*() {
        yield* First.enqueue({ how: "ok" }).pipe(Enqueue.delay("1 hour"), Effect.withSpan("caller"))
        yield* TestClock.adjust("2 hours")
      }).pipe(Effect.provide(traced(recorded)))
      const [send] = recorded.named("send First")
      const [run] = recorded.named("First")
      assert.isTrue(Option.isNone(run!.parent))
      assert.deepStrictEqual(run!.links.map((link) => link.span.spanId), [send!.spanId])
      assert.notStrictEqual(run!.traceId, send!.traceId)
    }))

  it.effect("the outcome is on the span of the run, which ends when the run ended", () =>
    Effect.gen(function*() {
      const recorded = recorder()
      yield* Effect.gen(function*() {
        for (const how of ["ok", "discard", "fail", "snooze"]) {
          yield* First.enqueue({ how })
          yield* TestClock.adjust("10 seconds")
        }
        yield* TestClock.adjust("1 hour")
      }).pipe(Effect.provide(traced(recorded)))
      const runs = recorded.named("First")
      assert.deepStrictEqual(
        runs.map((run) => [
          run.attributes.get("windlass.attempt"),
          run.attributes.get("windlass.outcome"),
          run.attributes.get("windlass.reason"),
          run.attributes.get("windlass.after_ms")
        ]),
        [
          [1, "succeeded", undefined, undefined],
          [1, "discarded", "not wanted", undefined],
          [1, "retried", "Boom: it went wrong: asked to", 60_000],
          [1, "snoozed", "snoozed", 86_400_000],
          [2, "dead", "failed", undefined]
        ]
      )
      for (const { status } of runs) {
        assert.strictEqual(status._tag, "Ended")
        if (status._tag === "Ended") assert.strictEqual(status.endTime - status.startTime, 100_000_000n)
      }
    }))

  it.effect("a tracer that stands around every step still does so inside of a run, and has its own spans back", () =>
    Effect.gen(function*() {
      const ended: Array<string> = []
      const inside = new Set<string>()
      // as the one of OpenTelemetry: it asks the fiber whose span it is in, and its spans need their own `this` to end
      class Span extends Tracer.NativeSpan {
        readonly own = this.name
        override end(time: bigint, exit: Exit.Exit<unknown, unknown>): void {
          ended.push(`${this.own} ${exit._tag} ${this.attributes.get("windlass.outcome")}`)
          super.end(time, exit)
        }
      }
      const tracer = Tracer.make({
        span: (options) => new Span(options),
        context: (primitive, fiber) => {
          const span = Context.getOrUndefined(fiber.context, Tracer.ParentSpan)
          if (span?._tag === "Span") inside.add(span.name)
          return primitive["~effect/Effect/evaluate"](fiber)
        }
      })
      yield* Effect.andThen(First.enqueue({ how: "ok" }), TestClock.adjust("1 second")).pipe(
        Effect.provide(traced({ ...recorder(), layer: Layer.succeed(Tracer.Tracer, tracer) }))
      )
      assert.deepStrictEqual(ended, ["send First Success undefined", "First Success succeeded"])
      assert.deepStrictEqual([...inside], ["send First", "First"])
    }))

  it.effect("a hand-out that never ran has a span too, in its producer's trace", () =>
    Effect.gen(function*() {
      const recorded = recorder()
      const parent = "00-11111111111111111111111111111111-2222222222222222-01"
      yield* Effect.gen(function*() {
        const backend = yield* Backend
        yield* backend.publish("default", [
          { envelope: envelopeOf({ id: "u-1", task: "First", payload: "{", headers: { traceparent: parent } }) },
          { envelope: envelopeOf({ id: "u-2", task: "Nobody" }) }
        ])
        yield* TestClock.adjust(0)
      }).pipe(Effect.provide(traced(recorded)))
      const [undecodable] = recorded.named("First")
      assert.strictEqual(parentOf(undecodable), "2222222222222222")
      assert.strictEqual(undecodable!.attributes.get("windlass.outcome"), "dead")
      assert.strictEqual(undecodable!.attributes.get("windlass.reason"), "undecodable")
      assert.isTrue(undecodable!.status._tag === "Ended" && Exit.isFailure(undecodable!.status.exit))
      const [unknown] = recorded.named("Nobody")
      assert.deepStrictEqual(
        [unknown!.attributes.get("windlass.outcome"), unknown!.status._tag, Option.isNone(unknown!.parent)],
        ["released", "Ended", true]
      )
    }))

  it.effect("baggage is parsed as it was printed, and malformed baggage is none", () =>
    Effect.sync(() => {
      const key = fc.stringMatching(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,10}$/).filter((text) => text !== "__proto__")
      let printed = 0
      fc.assert(
        fc.property(
          fc.dictionary(key, fc.string({ maxLength: 20 }), { maxKeys: 10, noNullPrototype: true }),
          (record) => {
            const text = baggage.print(record)
            if (text !== undefined) printed++
            assert.deepStrictEqual(baggage.parse(text), record)
          }
        ),
        { numRuns: 500 }
      )
      assert.isAbove(printed, 300)
      fc.assert(fc.property(fc.string(), (text) => {
        baggage.parse(text)
      }))
      assert.deepStrictEqual(baggage.parse("a = 1 ;prop=x, =2,b,c==%ZZ,d=%C3%BC"), { a: "1", c: "=%ZZ", d: "ü" })
      const much = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`k${i}`, "v".repeat(100)]))
      assert.isAtMost(baggage.print(much)!.length, 8_192)
      assert.strictEqual(Object.keys(baggage.parse(baggage.print(much))).length, 64)
    }))
})
