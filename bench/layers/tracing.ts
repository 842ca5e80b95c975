/** What a trace costs: off, on with a tracer that keeps nothing, and what Effect alone asks for one span. */
import { Effect, Layer, Tracer } from "effect"
import * as Tracing from "windlass/middleware/Tracing"
import { application, handlers, work } from "./app.ts"
import { type Cell, type Contenders, payloads } from "./contender.ts"

/** as an exporter's: spans with all that is put on them, and nobody takes them */
const nothing: Tracer.Tracer = Tracer.make({ span: (options) => new Tracer.NativeSpan(options) })
const tracer = Layer.succeed(Tracer.Tracer, nothing)

/** from a producer with a trace of its own */
const headers = { traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" }
const middleware = [Tracing.delivery, Tracing.run]

const counts = { in: 0, out: 0 } as const

export const contenders: Contenders = {
  "no tracer": { counts, run: (cell) => work(cell, { headers }) },
  "no tracer, Tracing in the list": { counts, run: (cell) => work(cell, { headers, worker: middleware }) },
  "a tracer": { counts, run: (cell) => work(cell, { headers, services: tracer }) },
  "a tracer, Tracing in the list": {
    counts,
    run: (cell) => work(cell, { headers, services: tracer, worker: middleware })
  },
  "Effect.runFork, no span": { counts, run: (cell) => bare(cell, false) },
  "Effect.runFork, Effect.withSpan": { counts, run: (cell) => bare(cell, true) }
}

const bare = async (cell: Cell, traced: boolean) => {
  const handle = handlers.sync(cell)
  const parent = Tracer.externalSpan({
    traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
    spanId: "00f067aa0ba902b7",
    sampled: true
  })
  const attributes = { task: "Bench", attempt: 1 }
  const runFork = Effect.runForkWith(application)
  for (let n = 0; n < cell.jobs; n++) {
    const job = handle(payloads[n % payloads.length]!)
    runFork(
      traced
        ? Effect.provideService(
          Effect.withSpan(job, "Bench", { kind: "consumer", attributes, parent, captureStackTrace: false }),
          Tracer.Tracer,
          nothing
        )
        : job
    )
  }
}
