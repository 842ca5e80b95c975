/**
 * Effect metrics about jobs: how many came to what, how long they waited and ran, how many run now. An observer; it needs
 * nothing, and whatever exports Effect's metrics (OTLP, Prometheus) exports these.
 *
 * | name | kind | unit | attributes |
 * | --- | --- | --- | --- |
 * | `windlass_jobs_total` | counter | hand-outs that ended | `queue`, `task`, `outcome` |
 * | `windlass_jobs_retried_total` | counter | failed attempts that are followed by another one | `queue`, `task` |
 * | `windlass_jobs_dead_total` | counter | jobs that went to the dead letters | `queue`, `task`, `reason` |
 * | `windlass_jobs_running` | gauge | jobs handed out and not over, in this process | `queue` |
 * | `windlass_job_wait_seconds` | histogram | from claimable to handed out, first attempts only | `queue`, `task` |
 * | `windlass_job_run_seconds` | histogram | from handed out to the outcome | `queue`, `task` |
 *
 * `outcome` is one of `succeeded`, `discarded`, `retried`, `snoozed`, `interrupted`, `aborted`, `released`, `dead`;
 * `reason` is that of the dead letter. A task that this worker does not know is counted as `<unknown>`, so that strangers
 * in the queue cannot make new time series.
 *
 * ```ts
 * import * as Metrics from "windlass/middleware/Metrics"
 *
 * export const metrics = Metrics.observer({ attributes: { service: "mailer" } })
 * // Worker.layer(App, { middleware: [metrics] })
 * ```
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Middleware from "../Middleware.ts"
import { nowOf, waitOf } from "./internal/times.ts"

/**
 * The upper bounds of the histograms' buckets unless they are set, in seconds: 5 ms to 1 hour.
 *
 * @category defaults
 * @since 0.1.0
 */
export const defaultBoundaries: ReadonlyArray<number> = [
  0.005,
  0.01,
  0.025,
  0.05,
  0.1,
  0.25,
  0.5,
  1,
  2.5,
  5,
  10,
  30,
  60,
  300,
  900,
  3_600
]

/**
 * Counts every hand-out once, when its outcome is known and before it is settled; a settlement that turns out to be lost
 * is counted all the same.
 *
 * @category constructors
 * @since 0.1.0
 */
export const observer = (options?: {
  /** added to every metric */
  readonly attributes?: Readonly<Record<string, string>> | undefined
  /** upper bounds of the histograms' buckets, in seconds */
  readonly boundaries?: ReadonlyArray<number> | undefined
}): Middleware.Observer => {
  const metrics = make(options?.attributes ?? {}, options?.boundaries ?? defaultBoundaries)
  return Middleware.observe<number>({
    name: "windlass/Metrics",
    before: (job) =>
      recording((context) => {
        metrics.running(job.delivery.queue).modifyUnsafe(1, context)
        return nowOf(job)
      }),
    after: (outcome, begun, job) =>
      recording((context) => {
        const { queue } = job.delivery
        const task = job.definition === undefined ? "<unknown>" : job.task
        const run = nowOf(job) - begun
        const wait = waitOf(job)
        metrics.running(queue).modifyUnsafe(-1, context)
        metrics.total(queue, task, outcome._tag.toLowerCase()).updateUnsafe(1, context)
        metrics.run(queue, task).updateUnsafe(run / 1_000, context)
        if (wait !== undefined) metrics.wait(queue, task).updateUnsafe(wait / 1_000, context)
        if (outcome._tag === "Retried") metrics.retried(queue, task).updateUnsafe(1, context)
        if (outcome._tag === "Dead") metrics.dead(queue, task, outcome.reason).updateUnsafe(1, context)
      })
  })
}

/** Metrics live in a registry that is a service of the fiber. */
const recording = <A>(record: (context: Context.Context<never>) => A): Effect.Effect<A> =>
  Effect.withFiber((fiber) => Effect.succeed(record(fiber.context as Context.Context<never>)))

const make = (attributes: Readonly<Record<string, string>>, boundaries: ReadonlyArray<number>) => {
  const histogram = { boundaries: Metric.boundariesFromIterable(boundaries) }
  return {
    running: family(
      ["queue"],
      attributes,
      Metric.gauge("windlass_jobs_running", {
        description: "jobs that were handed out and are not over"
      })
    ),
    total: family(
      ["queue", "task", "outcome"],
      attributes,
      Metric.counter("windlass_jobs_total", {
        description: "hand-outs by what they came to",
        incremental: true
      })
    ),
    retried: family(
      ["queue", "task"],
      attributes,
      Metric.counter("windlass_jobs_retried_total", {
        description: "failed attempts that are followed by another one",
        incremental: true
      })
    ),
    dead: family(
      ["queue", "task", "reason"],
      attributes,
      Metric.counter("windlass_jobs_dead_total", {
        description: "jobs that went to the dead letters",
        incremental: true
      })
    ),
    wait: family(
      ["queue", "task"],
      attributes,
      Metric.histogram("windlass_job_wait_seconds", {
        description: "seconds from claimable to handed out, first attempts only",
        ...histogram
      })
    ),
    run: family(
      ["queue", "task"],
      attributes,
      Metric.histogram("windlass_job_run_seconds", {
        description: "seconds from handed out to the outcome",
        ...histogram
      })
    )
  }
}

/** One metric per combination of attribute values, made once: making one costs more than updating it. */
const family = <I, S>(
  names: ReadonlyArray<string>,
  attributes: Readonly<Record<string, string>>,
  metric: Metric.Metric<I, S>
) => {
  const made = new Map<string, Metric.Metric<I, S>>()
  return (...values: ReadonlyArray<string>): Metric.Metric<I, S> => {
    const key = values.join("\u0000")
    let one = made.get(key)
    if (one === undefined) {
      const own = Object.fromEntries(names.map((name, i) => [name, values[i]!]))
      made.set(key, one = Metric.withAttributes(metric, { ...attributes, ...own }))
    }
    return one
  }
}
