/**
 * Capacity first, claim second: a worker asks its gates for permits before it claims jobs, holds one permit per job until
 * the job is settled, and gives back what an empty claim did not use. Rate limits, concurrency limits, circuit breakers
 * and pauses are gates.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Job from "./Job.ts"

/**
 * The answer of a gate about one claimed job. `Later`: the job goes back for so many milliseconds, no attempt spent.
 *
 * @category models
 * @since 0.1.0
 */
export type Admission =
  | {
    readonly _tag: "Admitted"
    /** runs once, when the job is settled; `started` tells whether its chain was entered */
    readonly release: (started: boolean) => Effect.Effect<void>
  }
  | { readonly _tag: "Later"; readonly millis: number }

/**
 * A gate has no error: one that cannot decide (its store is down) waits or says `Later`. It runs outside of any job, with
 * the worker's services: neither `Job.Current` nor a scope is there.
 *
 * @category models
 * @since 0.1.0
 */
export interface Gate<out R = never> {
  readonly name: string
  /**
   * Waits until at least one permit is free and returns how many of `max` it grants. Interruptible, and then nothing is
   * held. Runs before every claim.
   */
  readonly acquire?: ((max: number) => Effect.Effect<number, never, R>) | undefined
  /**
   * Gives back `count` permits of `acquire`. `started` is false when the claim found no job for them or the job's chain
   * was not entered: a rate token comes back only then, a concurrency permit always.
   */
  readonly release?: ((count: number, started: boolean) => Effect.Effect<void, never, R>) | undefined
  /** asked with every claimed job, for limits by key; does not wait: answers `Later` instead */
  readonly admit?: ((job: Job.Info) => Effect.Effect<Admission, never, R>) | undefined
}

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = <R = never>(gate: Gate<R>): Gate<R> => gate
