/**
 * At most so many jobs at once: gates, so a job that may not run yet is not claimed at all, and no slot of the worker is
 * spent on waiting. They need nothing and hold for this process; a limit for all processes is a matter of the queue (one
 * `group` per key).
 *
 * - {@link gate}: all jobs of the workers, or of the queues, that have the gate in their list. One gate in the lists of
 *   several is one limit for all of them.
 * - {@link byKey}: the jobs of each key, for example of each tenant.
 *
 * A permit is held from before the claim until the job is settled, and always comes back (law L10): after a failure, an
 * interruption, a lost lease, an empty claim.
 *
 * ```ts
 * import * as Concurrency from "windlass/middleware/Concurrency"
 *
 * const mailbox = Concurrency.gate({ permits: 5, name: "mailbox" })
 * const perTenant = Concurrency.byKey({ permits: 1, key: (job) => job.headers["tenant"] })
 * export const options = { concurrency: 50, gates: { emails: [mailbox, perTenant], newsletters: [mailbox] } }
 * // Worker.layer(App, options)
 * ```
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type { Admission, Gate } from "../Gate.ts"
import type * as Job from "../Job.ts"

/**
 * A gate with a number of permits.
 *
 * @category models
 * @since 0.1.0
 */
export interface Concurrency extends Gate {
  /** permits that nobody holds now */
  readonly free: () => number
}

/**
 * At most `permits` jobs at once through this gate, whichever workers of the process it belongs to. Throws a `RangeError`
 * when `permits` is not a whole number from 1.
 *
 * @category constructors
 * @since 0.1.0
 */
export const gate = (options: { readonly permits: number; readonly name?: string | undefined }): Concurrency => {
  let free = checked(options.permits)
  const some = Latch.makeUnsafe(true)
  // taken in the last step, with nothing after it that an interruption could come between
  const acquire = (max: number): Effect.Effect<number> =>
    Effect.suspend(() => {
      if (free === 0) return Effect.flatMap(some.await, () => acquire(max))
      const taken = Math.min(free, max)
      free -= taken
      if (free === 0) some.closeUnsafe()
      return Effect.succeed(taken)
    })
  return {
    name: options.name ?? "windlass/Concurrency",
    acquire,
    release: (count) =>
      Effect.sync(() => {
        free += count
        if (free > 0) some.openUnsafe()
      }),
    free: () => free
  }
}

/**
 * A limit per key.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeyedConcurrency extends Gate {
  /** jobs of a key that hold a permit now */
  readonly held: (key: string) => number
}

/**
 * At most `permits` jobs of one key at once. A job whose key is full goes back to the front of its queue for `retryAfter`
 * (1 second unless set), no attempt spent; one without a key passes. For keys that are busy all the time a `group` per
 * key at the enqueue is cheaper: its jobs are not even claimed. Throws a `RangeError` when `permits` is not a whole number
 * from 1.
 *
 * @category constructors
 * @since 0.1.0
 */
export const byKey = (options: {
  readonly permits: number
  readonly key: (job: Job.Info) => string | undefined
  readonly retryAfter?: Duration.Input | undefined
  readonly name?: string | undefined
}): KeyedConcurrency => {
  const permits = checked(options.permits)
  const later: Admission = { _tag: "Later", millis: Duration.toMillis(options.retryAfter ?? "1 second") }
  const held = new Map<string, number>()
  const giveBack = (key: string) => {
    let open = true
    return Effect.sync(() => {
      if (!open) return
      open = false
      const left = held.get(key)! - 1
      if (left === 0) held.delete(key)
      else held.set(key, left)
    })
  }
  return {
    name: options.name ?? "windlass/Concurrency/byKey",
    admit: (job) =>
      Effect.sync((): Admission => {
        const key = options.key(job)
        if (key === undefined) return { _tag: "Admitted", release: () => Effect.void }
        const now = held.get(key) ?? 0
        if (now >= permits) return later
        held.set(key, now + 1)
        const back = giveBack(key)
        return { _tag: "Admitted", release: () => back }
      }),
    held: (key) => held.get(key) ?? 0
  }
}

const checked = (permits: number): number => {
  if (!Number.isInteger(permits) || permits < 1) {
    throw new RangeError(`a concurrency gate needs a whole number of permits from 1, got ${permits}`)
  }
  return permits
}
