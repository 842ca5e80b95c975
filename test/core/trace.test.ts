/** Spans: one for every run, child of the producer's; a link where the job was delayed on purpose. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Tracer from "effect/Tracer"
import * as Enqueue from "windlass/Enqueue"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import * as trace from "../../src/internal/trace.ts"
import { follow, publishRaw, record, scenario, startWorker } from "../support/backends.ts"

class Broken extends Schema.TaggedError<Broken>()("Broken", {}) {}

/** a tracer that keeps every span, and how each ended */
const recording = () => {
  const spans: Array<Tracer.NativeSpan> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  return {
    spans,
    layer: Layer.succeed(Tracer.Tracer, tracer),
    find: (name: string) => spans.filter((span) => span.name === name)
  }
}

describe("the span of a run", () => {
  scenario(
    "is a child of the span that enqueued, one for every attempt, with the run's facts and its exit",
    () =>
      Effect.gen(function*() {
        const { find, layer } = recording()
        class Work extends Task.make("Work", { queue: "q", error: Broken, retry: Schedule.recurs(1) }) {}
        let runs = 0
        const live = Work.toLayer(() =>
          Effect.withSpan(Effect.suspend(() => ++runs === 1 ? Effect.fail(new Broken()) : Effect.void), "inside")
        )
        const id = yield* Work.enqueue().pipe(Effect.withSpan("producer"), Effect.provide(layer))
        const [producer] = find("producer")
        assert.strictEqual((yield* record(id)).envelope.headers["traceparent"], trace.encode(producer!))
        yield* Effect.provide(
          Worker.launch(Worker.layer(TaskGroup.make(Work), { mode: "drain" }).pipe(Layer.provide(live))),
          layer
        )
        const spans = find("Work")
        assert.lengthOf(spans, 2)
        for (const [i, span] of spans.entries()) {
          assert.strictEqual(Option.getOrThrow(span.parent).spanId, producer!.spanId)
          assert.strictEqual(span.traceId, producer!.traceId)
          assert.strictEqual(span.kind, "consumer")
          assert.deepStrictEqual(span.links, [])
          assert.deepInclude(Object.fromEntries(span.attributes), {
            "messaging.destination.name": "q",
            "messaging.message.id": id,
            "windlass.task": "Work",
            "windlass.attempt": i + 1
          })
          assert.strictEqual(span.status._tag, "Ended")
          if (span.status._tag === "Ended") assert.strictEqual(Exit.isSuccess(span.status.exit), i === 1)
          assert.strictEqual(Option.getOrThrow(find("inside")[i]!.parent).spanId, span.spanId)
        }
      })
  )

  scenario(
    "of a job that was delayed on purpose is a root with a link to the producer's",
    () =>
      Effect.gen(function*() {
        const { find, layer } = recording()
        class Work extends Task.make("Work") {}
        const live = Work.toLayer(() => Effect.void)
        yield* Work.enqueue().pipe(Enqueue.delay("1 hour"), Effect.withSpan("producer"), Effect.provide(layer))
        const worker = yield* Effect.provide(
          startWorker(Worker.layer(TaskGroup.make(Work)).pipe(Layer.provide(live))),
          layer
        )
        const events = yield* follow(worker)
        yield* TestClock.adjust("1 hour")
        yield* events.until("Succeeded")
        const [span] = find("Work")
        assert.isTrue(Option.isNone(span!.parent))
        assert.notStrictEqual(span!.traceId, find("producer")[0]!.traceId)
        assert.deepStrictEqual(span!.links.map((link) => link.span.spanId), [find("producer")[0]!.spanId])
      })
  )

  scenario(
    "is a root where nobody traced the enqueue, or the header is malformed; the job runs all the same",
    () =>
      Effect.gen(function*() {
        const { find, layer } = recording()
        class Work extends Task.make("Work") {}
        yield* Work.enqueue()
        yield* publishRaw({ id: "malformed", task: "Work", headers: { traceparent: "00-zz-1-01" } })
        const live = Work.toLayer(() => Effect.void)
        const report = yield* Effect.provide(
          Worker.launch(Worker.layer(TaskGroup.make(Work), { mode: "drain" }).pipe(Layer.provide(live))),
          layer
        )
        assert.strictEqual(report.succeeded, 2)
        for (const span of find("Work")) {
          assert.isTrue(Option.isNone(span.parent))
          assert.deepStrictEqual(span.links, [])
        }
        assert.lengthOf(find("Work"), 2)
      })
  )

  it("traceparent: written as W3C says, read back, refused when it is malformed or all zero", () => {
    const span = Tracer.externalSpan({ traceId: "ab".repeat(16), spanId: "cd".repeat(8), sampled: false })
    const header = trace.encode(span)
    assert.strictEqual(header, `00-${"ab".repeat(16)}-${"cd".repeat(8)}-00`)
    const read = Option.getOrThrow(trace.decode({ traceparent: header }))
    assert.deepInclude(read, { traceId: span.traceId, spanId: span.spanId, sampled: false })
    for (
      const wrong of [
        "",
        "00-1-2-01",
        `00-${"0".repeat(32)}-${"cd".repeat(8)}-01`,
        `00-${"ab".repeat(16)}-${"0".repeat(16)}-01`
      ]
    ) {
      assert.isTrue(Option.isNone(trace.decode({ traceparent: wrong })))
    }
    assert.isTrue(Option.isNone(trace.decode({})))
  })
})
