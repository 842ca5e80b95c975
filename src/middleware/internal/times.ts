/** What can be measured of one hand-out. */
import type { Observed } from "../../Middleware.ts"

/**
 * Milliseconds from when the job first became claimable to this hand-out; undefined after the first attempt, because
 * nobody keeps when a retry became due, and where the engine does not keep the time of an enqueue. Two clocks are
 * compared, the engine's and the worker's, so a negative difference counts as none.
 */
export const waitOf = (job: Observed): number | undefined => {
  const { attempt, enqueuedAt, scheduledFor } = job.delivery
  if (attempt > 1 || enqueuedAt === undefined) return undefined
  return Math.max(0, job.startedAt - Math.max(enqueuedAt, scheduledFor ?? 0))
}

/** Milliseconds on a clock that only goes forward; fractions where the clock has them. */
export const nowOf = (job: Observed): number => Number(job.clock.monotonicTimeNanosUnsafe()) / 1_000_000
