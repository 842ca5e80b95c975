/**
 * The signal that ends a job without an invented result: a middleware or a handler fails with a `Decide`, every wrap
 * outside of it sees that as an ordinary failure, and the worker settles the job as decided. It is allowed everywhere
 * and never appears among a task's errors.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"

/**
 * What was decided. `after` in milliseconds.
 *
 * @category models
 * @since 0.1.0
 */
export const Decision = Schema.Union([
  Schema.TaggedStruct("Discard", { reason: Schema.String }),
  Schema.TaggedStruct("Dead", { reason: Schema.String }),
  Schema.TaggedStruct("Retry", { after: Schema.UndefinedOr(Schema.Number), reason: Schema.String }),
  Schema.TaggedStruct("Snooze", { after: Schema.Number, reason: Schema.String })
])

/**
 * @category models
 * @since 0.1.0
 */
export type Decision = typeof Decision.Type

/**
 * The declared signal. Make one with {@link discard}, {@link dead}, {@link retry} or {@link snooze} and fail with it:
 * `return yield* Decide.snooze("5 minutes")`.
 *
 * @category models
 * @since 0.1.0
 */
export class Decide extends Schema.TaggedError<Decide>()("windlass/Decide", { decision: Decision }) {
  override get message(): string {
    return `decided to ${this.decision._tag.toLowerCase()} the job: ${this.decision.reason}`
  }
}

/**
 * @category guards
 * @since 0.1.0
 */
export const isDecide = (u: unknown): u is Decide => u instanceof Decide

/**
 * The job is over and nothing was wrong: it is no longer wanted. Counted as discarded, never as a success.
 *
 * @category constructors
 * @since 0.1.0
 */
export const discard = (reason = "no longer wanted"): Decide => new Decide({ decision: { _tag: "Discard", reason } })

/**
 * The job goes to the dead letters now, whatever its retry policy says.
 *
 * @category constructors
 * @since 0.1.0
 */
export const dead = (reason = "decided"): Decide => new Decide({ decision: { _tag: "Dead", reason } })

/**
 * The attempt failed: spend it and try again, after the given delay or after what the task's schedule says. A job whose
 * attempts are used up goes to the dead letters.
 *
 * @category constructors
 * @since 0.1.0
 */
export const retry = (options?: {
  readonly after?: Duration.Input | undefined
  readonly reason?: string | undefined
}): Decide =>
  new Decide({
    decision: {
      _tag: "Retry",
      after: options?.after === undefined ? undefined : Duration.toMillis(options.after),
      reason: options?.reason ?? "asked for a retry"
    }
  })

/**
 * Not now: the job comes back after the delay and no attempt is spent.
 *
 * @category constructors
 * @since 0.1.0
 */
export const snooze = (after: Duration.Input, reason = "snoozed"): Decide =>
  new Decide({ decision: { _tag: "Snooze", after: Duration.toMillis(after), reason } })
