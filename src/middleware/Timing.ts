/**
 * How long jobs wait and how long they run. An observer of plain functions, the cheapest kind there is: it stands at the
 * delivery point, so the run time covers decoding, every middleware and the handler, and undecodable jobs are measured
 * too. It needs nothing and cannot change or delay a job.
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Timing from "windlass/middleware/Timing"
 *
 * export const slow = Timing.observer({
 *   onTiming: (t) => t.runMillis > 1_000 ? Effect.logWarning(`${t.task} took ${t.runMillis} ms`) : undefined
 * })
 * // Worker.layer(App, { middleware: [slow] })
 * ```
 *
 * {@link collector} keeps the numbers in memory and sums them up: for a report at the end of a batch, or a test.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import * as Middleware from "../Middleware.ts"
import type { Outcome } from "../Outcome.ts"
import { nowOf, waitOf } from "./internal/times.ts"

/**
 * The times of one hand-out, in milliseconds.
 *
 * @category models
 * @since 0.1.0
 */
export interface Timing {
  readonly id: string
  /** the task's name, with aliases resolved */
  readonly task: string
  readonly queue: string
  /** from 1 */
  readonly attempt: number
  /**
   * from when the job first became claimable until it was handed out. Known for the first attempt only (nobody keeps when
   * a retry became due); a job that was snoozed or released before counts the time since then too. Compares the engine's
   * clock with the worker's and is never negative
   */
  readonly waitMillis: number | undefined
  /** from the hand-out to the outcome: decoding, the whole chain, the handler; on a monotonic clock, with fractions */
  readonly runMillis: number
  readonly outcome: Outcome["_tag"]
}

/**
 * Calls `onTiming` once per hand-out, when its outcome is known and before it is settled. What it returns is run as every
 * observer's effect: for at most one second, and its defects are logged.
 *
 * @category constructors
 * @since 0.1.0
 */
export const observer = <R = never>(options: {
  readonly onTiming: (timing: Timing) => Effect.Effect<void, never, R> | void
}): Middleware.Observer<R> =>
  Middleware.observe<number, never, R>({
    name: "windlass/Timing",
    before: nowOf,
    after: (outcome, begun, job) =>
      options.onTiming({
        id: job.delivery.envelope.id,
        task: job.task,
        queue: job.delivery.queue,
        attempt: job.delivery.attempt,
        waitMillis: waitOf(job),
        runMillis: nowOf(job) - begun,
        outcome: outcome._tag
      })
  })

/**
 * Percentiles of many times, in milliseconds (nearest rank). Zero when nothing was measured.
 *
 * @category models
 * @since 0.1.0
 */
export interface Percentiles {
  /** how many were measured, those that are no longer kept included */
  readonly count: number
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly max: number
}

/**
 * What a {@link collector} has seen of one task.
 *
 * @category models
 * @since 0.1.0
 */
export interface Summary {
  readonly task: string
  readonly outcomes: Readonly<Partial<Record<Outcome["_tag"], number>>>
  readonly wait: Percentiles
  readonly run: Percentiles
}

/**
 * An observer that remembers, and the summary of what it has seen so far, tasks in alphabetical order. Percentiles are of
 * the last `keep` hand-outs of a task (10,000 unless set); counts and maxima are of all.
 *
 * @category constructors
 * @since 0.1.0
 */
export const collector = (options?: { readonly keep?: number | undefined }): {
  readonly observer: Middleware.Observer
  readonly summary: () => ReadonlyArray<Summary>
} => {
  const keep = Math.max(1, options?.keep ?? 10_000)
  const tasks = new Map<string, {
    readonly outcomes: Partial<Record<Outcome["_tag"], number>>
    readonly wait: Samples
    readonly run: Samples
  }>()
  return {
    observer: observer({
      onTiming: (timing) => {
        let seen = tasks.get(timing.task)
        if (seen === undefined) tasks.set(timing.task, seen = { outcomes: {}, wait: samples(), run: samples() })
        seen.outcomes[timing.outcome] = (seen.outcomes[timing.outcome] ?? 0) + 1
        if (timing.waitMillis !== undefined) add(seen.wait, timing.waitMillis, keep)
        add(seen.run, timing.runMillis, keep)
      }
    }),
    summary: () =>
      Array.from(tasks, ([task, { outcomes, run, wait }]): Summary => ({
        task,
        outcomes: { ...outcomes },
        wait: percentiles(wait),
        run: percentiles(run)
      })).sort((a, b) => a.task < b.task ? -1 : 1)
  }
}

/** A ring of the last ones. */
interface Samples {
  readonly ring: Array<number>
  count: number
  max: number
}

const samples = (): Samples => ({ ring: [], count: 0, max: 0 })

const add = (self: Samples, value: number, keep: number): void => {
  self.ring[self.count++ % keep] = value
  if (value > self.max) self.max = value
}

const percentiles = ({ count, max, ring }: Samples): Percentiles => {
  const sorted = ring.toSorted((a, b) => a - b)
  const at = (p: number) => sorted.length === 0 ? 0 : sorted[Math.max(0, Math.ceil(sorted.length * p) - 1)]!
  return { count, p50: at(0.5), p95: at(0.95), p99: at(0.99), max }
}
