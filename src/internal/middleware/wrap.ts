/** The concept: a function around a function, for every task or with fixed types. */
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Job from "../../Job.ts"

/**
 * The concept, for every task: because it is generic in the payload, the result and the failures of what it
 * wraps, it cannot invent a result, swallow a failure, forget to provide `P`, or fail with what is not in `E`.
 *
 * It runs once per attempt, uninterruptibly: a shutdown, an abort or a lost lease interrupts the handler's body and
 * nothing else. Mark a wait that may be cut short with `Effect.interruptible`. What it acquires in its `Scope` is
 * released when its effect ends, before the middleware outside of it sees the exit. `next` may be run again after it has
 * ended; running it while it is open, or after the wrap returned, dies with {@link NextMisused}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Wrap<P = never, E = never, R = never> {
  <Input, Result, Failure>(
    next: (input: Input) => Effect.Effect<Result, Failure, P>,
    input: Input,
    job: Job.Job
  ): Effect.Effect<Result, Failure | E, R | Scope.Scope | Job.Current>
}

/**
 * The same concept with fixed types: one point, or one task. It may replace the input and the output, answer without
 * `next`, and turn failures into successes.
 *
 * @category models
 * @since 0.1.0
 */
export interface At<I, O, E0 = never, P = never, E = never, R = never> {
  (
    next: (input: I) => Effect.Effect<O, E0, P>,
    input: I,
    job: Job.Job
  ): Effect.Effect<O, E0 | E, R | Scope.Scope | Job.Current>
}

/**
 * A defect: `next` was run while an earlier run of it was open, or after the wrap that got it had returned.
 *
 * @category errors
 * @since 0.1.0
 */
export class NextMisused extends Schema.TaggedError<NextMisused>()("windlass/NextMisused", {
  middleware: Schema.String,
  reason: Schema.Literals(["StillOpen", "AfterReturn"])
}) {
  override get message(): string {
    return this.reason === "StillOpen"
      ? `middleware ${this.middleware} ran next while an earlier run of it was open: run it again only after it ended`
      : `middleware ${this.middleware} ran next after it had returned: next belongs to the wrap that received it`
  }
}
