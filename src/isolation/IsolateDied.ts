/**
 * The failure of an attempt whose process died. A module of its own without any import of Node, so that the contract of a
 * task may name it wherever the contract goes.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * The process that ran a handler ended before the handler did: it crashed, was killed, ran out of memory, or called
 * `process.exit`; or it could not be started. One of `exitCode` and `signal` is there, and none when it was given up
 * while it started. `detail` is what is known beside that: the limit of its memory that it ran into, or the last that it
 * wrote to its standard error.
 *
 * A task that declares it among its errors gets it as one: `retry.while`, the task's wraps and the caller of `execute`
 * see it with its type. For a task that does not it is a defect of the attempt (`Job.Died` for a retry policy).
 *
 * @category errors
 * @since 0.1.0
 */
export class IsolateDied extends Schema.TaggedError<IsolateDied>()("windlass/IsolateDied", {
  /** the module that the process ran */
  module: Schema.String,
  /** `start`: before it was ready for a job */
  phase: Schema.Literals(["start", "run"]),
  exitCode: Schema.NullOr(Schema.Number),
  signal: Schema.NullOr(Schema.String),
  detail: Schema.String
}) {
  override get message(): string {
    const how = this.signal !== null
      ? `was killed by ${this.signal}`
      : this.exitCode !== null
      ? `ended with exit code ${this.exitCode}`
      : "was given up"
    const when = this.phase === "start" ? "while it started" : "while it ran the job"
    return `the process of ${this.module} ${how} ${when}${this.detail === "" ? "" : `: ${this.detail}`}`
  }
}
