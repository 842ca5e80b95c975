/**
 * Traces across the queue, beyond what the core does by itself. The core writes `traceparent` where a job is enqueued
 * and opens a span per run whose parent it is (or to which it is linked, when the job was delayed on purpose), as soon as
 * a tracer is installed. This module adds, each part on its own:
 *
 * - {@link enqueue}, at the enqueue point: a producer span per call, which becomes the parent of the runs, and the headers
 *   `tracestate` and `baggage`
 * - {@link run}, at the run point: what came in `tracestate` and `baggage` is there for the handler, and passed on to the
 *   jobs that it enqueues
 * - {@link delivery}, at the delivery point: what the job came to on the span of its run, and a span for hand-outs that
 *   never ran (undecodable, unknown, poison)
 *
 * It needs a tracer (`effect/Tracer`: Effect's OTLP exporter, or the OpenTelemetry SDK); without one only the headers are
 * passed on. Attributes follow the OpenTelemetry conventions for messaging.
 *
 * ```ts
 * import * as Layer from "effect/Layer"
 * import * as Enqueue from "windlass/Enqueue"
 * import * as Tracing from "windlass/middleware/Tracing"
 *
 * export const producer = Enqueue.layer(Tracing.enqueue)
 * export const worker = { middleware: [Tracing.delivery, Tracing.run] }
 * // Worker.layer(App, worker).pipe(Layer.provide(producer), Layer.provide(tracer))
 * ```
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import type { Delivery, Item, Settlement } from "../Backend.ts"
import type * as Enqueue from "../Enqueue.ts"
import * as trace from "../internal/trace.ts"
import * as Middleware from "../Middleware.ts"
import * as baggage from "./internal/baggage.ts"

/**
 * What goes with a request through every service and job, as W3C `baggage`. {@link enqueue} writes it into the headers of
 * new jobs, {@link run} provides what came with a job. Do not put secrets in: headers are stored as they are.
 *
 * @category references
 * @since 0.1.0
 */
export const Baggage: Context.Reference<Readonly<Record<string, string>>> = Context.Reference<
  Readonly<Record<string, string>>
>("windlass/middleware/Tracing/Baggage", { defaultValue: () => ({}) })

/**
 * The tracing system's own part of the trace context, W3C `tracestate`: passed on as it came.
 *
 * @category references
 * @since 0.1.0
 */
export const TraceState: Context.Reference<string | undefined> = Context.Reference<string | undefined>(
  "windlass/middleware/Tracing/TraceState",
  { defaultValue: () => undefined }
)

const installed = (context: Context.Context<never>) => Context.get(context, Tracer.Tracer) !== Tracer.nativeTracer

const attributesOf = (operation: "send" | "process", queue: string, task: string) => ({
  "messaging.system": "windlass",
  "messaging.operation.type": operation,
  "messaging.destination.name": queue,
  "windlass.task": task
})

/**
 * For `Enqueue.layer`: one span of kind `producer` around every call, child of the caller's, with the number of jobs and,
 * for a single one, its id. Jobs get it as `traceparent`, unless the caller chose another one with `Enqueue.headers`;
 * `tracestate` and `baggage` likewise, from {@link TraceState} and {@link Baggage}. Put it first in the list, so that the
 * span covers the others.
 *
 * @category middleware
 * @since 0.1.0
 */
export const enqueue: Enqueue.Wrap = (next, batch) =>
  Effect.withFiber((fiber) => {
    const context = fiber.context as Context.Context<never>
    const outer = Context.getOption(context, Tracer.ParentSpan)
    const written = Option.isNone(outer) ? undefined : trace.encode(outer.value)
    const passed = {
      tracestate: Context.get(context, TraceState),
      baggage: baggage.print(Context.get(context, Baggage))
    }
    const add = (item: Item, traceparent: string | undefined): Item => {
      const { headers } = item.envelope
      const added: Record<string, string> = {}
      // the core wrote the caller's span; anything else is the caller's choice
      if (traceparent !== undefined && (headers[trace.header] === undefined || headers[trace.header] === written)) {
        added[trace.header] = traceparent
      }
      for (const [name, value] of Object.entries(passed)) {
        if (value !== undefined && headers[name] === undefined) added[name] = value
      }
      return { ...item, envelope: { ...item.envelope, headers: { ...headers, ...added } } }
    }
    const pass = (traceparent: string | undefined) =>
      next({ ...batch, items: batch.items.map((item) => add(item, traceparent)) })
    if (!installed(context)) return pass(undefined)
    const attributes = {
      ...attributesOf("send", batch.queue, batch.task),
      ...(batch.items.length === 1
        ? { "messaging.message.id": batch.items[0]!.envelope.id }
        : { "messaging.batch.message_count": batch.items.length })
    }
    return Effect.withSpan(
      Effect.flatMap(Effect.orDie(Effect.currentSpan), (span) => pass(trace.encode(span))),
      `send ${batch.task}`,
      { kind: "producer", attributes, captureStackTrace: false }
    )
  })

/**
 * Provides {@link Baggage} and {@link TraceState} with what came in the job's headers, for the handler, for the middleware
 * inside, and for {@link enqueue} of the jobs that they enqueue. Malformed headers count as none.
 *
 * @category middleware
 * @since 0.1.0
 */
export const run: Middleware.Inline = Middleware.make("windlass/Tracing", (next, input, job) =>
  next(input).pipe(
    Effect.provideService(Baggage, baggage.parse(job.headers["baggage"])),
    Effect.provideService(TraceState, job.headers["tracestate"])
  ))

/**
 * Writes what became of the job on the span of its run: `windlass.outcome` (`succeeded`, `discarded`, `aborted`,
 * `retried`, `snoozed`, `interrupted`, `released`, `dead`), `windlass.reason`, and `windlass.after_ms` when it comes back.
 * The span ends with the time at which the run ended. A hand-out that never reached the run (undecodable, unknown task,
 * expired) gets a span of its own, in the same place of the trace.
 *
 * @category middleware
 * @since 0.1.0
 */
export const delivery: Middleware.Delivery = Middleware.delivery(
  "windlass/Tracing/delivery",
  (next, delivery) =>
    Effect.withFiber((fiber) => {
      const context = fiber.context as Context.Context<never>
      if (!installed(context)) return next(delivery)
      const clock = Context.get(context, Clock.Clock)
      const tracer = Context.get(context, Tracer.Tracer)
      const begun = clock.currentTimeNanosUnsafe()
      const held = new Holding(tracer)
      return Effect.onExit(Effect.provideService(next(delivery), Tracer.Tracer, held), (exit) =>
        Effect.sync(() => {
          const settlement = Exit.isSuccess(exit) ? exit.value : undefined
          if (held.release(settlement) || settlement === undefined) {
            return
          }
          const span = tracer.span({
            name: delivery.envelope.task,
            startTime: begun,
            kind: "consumer",
            ...placeOf(delivery)
          })
          const { queue, attempt, envelope } = delivery
          const attributes = {
            ...attributesOf("process", queue, envelope.task),
            "messaging.message.id": envelope.id,
            "windlass.attempt": attempt
          }
          for (const [key, value] of Object.entries(attributes)) {
            span.attribute(key, value)
          }
          record(span, settlement)
          const failure = settlement._tag === "Dead"
            ? Exit.die(new Error(settlement.error ?? settlement.reason))
            : Exit.void
          span.end(clock.currentTimeNanosUnsafe(), failure)
        }))
    })
)

/** As the core places the span of a run. */
const placeOf = (delivery: Delivery) => {
  const producer = trace.decode(delivery.envelope.headers)
  const delayed = delivery.scheduledFor !== undefined && Option.isSome(producer)
  return {
    annotations: Context.empty(),
    links: delayed ? [{ span: producer.value, attributes: { "windlass.link": "enqueued by" } }] : [],
    parent: delayed ? Option.none() : producer,
    root: delayed || Option.isNone(producer),
    sampled: true
  }
}

const record = (span: Tracer.Span, settlement: Settlement): void => {
  const outcome = settlement._tag === "Complete"
    ? settlement.how
    : settlement._tag === "Dead"
    ? "dead"
    : ({ failed: "retried", unknown: "released", lost: "interrupted" } as Record<string, string>)[settlement.why]
      ?? settlement.why
  span.attribute("windlass.outcome", outcome)
  const reason = settlement._tag === "Retry" ? settlement.error : settlement.reason
  if (reason !== undefined) span.attribute("windlass.reason", reason)
  if (settlement._tag === "Retry") span.attribute("windlass.after_ms", settlement.after)
}

/** where a span that is held has its {@link Holding} */
const HeldBy = Symbol("windlass/middleware/Tracing/HeldBy")

interface Held extends Tracer.Span {
  [HeldBy]: Holding
}

/** `end` of a span that is held: one function for all of them, so that a span is not tied to its run by a closure */
function keepEnd(this: Held, time: bigint, exit: Exit.Exit<unknown, unknown>): void {
  this[HeldBy].ended ??= { time, exit }
}

/**
 * A tracer whose first span of kind `consumer`, the one of the run, stays open until its outcome is known: its end is
 * kept, with the time, and done by `release`.
 */
class Holding implements Tracer.Tracer {
  readonly tracer: Tracer.Tracer
  /** Effect runs every step through it where there is one, so it is absent where there is none */
  declare readonly context?: NonNullable<Tracer.Tracer["context"]>
  held: Held | undefined = undefined
  end: Tracer.Span["end"] | undefined = undefined
  ended: { readonly time: bigint; readonly exit: Exit.Exit<unknown, unknown> } | undefined = undefined

  constructor(tracer: Tracer.Tracer) {
    this.tracer = tracer
    if (tracer.context !== undefined) this.context = tracer.context
  }

  span(options: Parameters<Tracer.Tracer["span"]>[0]): Tracer.Span {
    const span = this.tracer.span(options) as Held
    if (options.kind === "consumer" && this.held === undefined) {
      this.held = span
      this.end = span.end
      span[HeldBy] = this
      span.end = keepEnd
    }
    return span
  }

  /** false when there was no such span */
  release(settlement: Settlement | undefined): boolean {
    if (this.held === undefined) return false
    if (settlement !== undefined) record(this.held, settlement)
    if (this.ended !== undefined) this.end!.call(this.held, this.ended.time, this.ended.exit)
    return true
  }
}
