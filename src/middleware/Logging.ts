/**
 * Structured log lines about jobs, one `action` per event, and never a secret in them. An observer: it needs nothing,
 * stands at the delivery point (so undecodable jobs and unknown tasks are logged too), and cannot change a job.
 *
 * Secret is a field whose schema says so ({@link secret}, `Schema.Redacted`), a field whose name is listed
 * ({@link defaultFields} unless set), and what such fields hold wherever it is quoted: in another field, in the message
 * of an error, in its causes and stacks. A secret shorter than four characters is removed from texts only where it
 * stands as a word. Job ids, task and queue names are written as they are: put no secret into them.
 *
 * ```ts
 * import * as Schema from "effect/Schema"
 * import * as Logging from "windlass/middleware/Logging"
 * import * as Task from "windlass/Task"
 *
 * export class Charge extends Task.make("Charge", {
 *   payload: { order: Schema.String, card: Schema.String.pipe(Logging.secret) }
 * }) {}
 *
 * export const logging = Logging.observer({ payload: true, levels: { start_job: "None" } })
 * // Worker.layer(App, { middleware: [logging] })
 * // level=INFO message="job Charge succeeded" action=job_success job=... payload={"order":"o-1","card":"<secret>"}
 * ```
 *
 * The worker itself logs when a job is retried or dead; those lines do not know what is secret. Where that matters set
 * the worker's `logJobs` to false.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as LogLevel from "effect/LogLevel"
import * as Middleware from "../Middleware.ts"
import type { Outcome } from "../Outcome.ts"
import { fieldSet, shorten } from "./internal/mask.ts"
import { reportOf, secretsOf } from "./internal/report.ts"
import { nowOf, waitOf } from "./internal/times.ts"

export {
  /**
   * Names of fields that are masked wherever they stand, compared without case, `-` and `_`.
   *
   * @category masking
   * @since 0.1.0
   */
  defaultFields,
  /**
   * Marks the values of a schema as secret, for logs and error reports: `Schema.String.pipe(Logging.secret)`. Annotates
   * with `windlass/secret`; what is stored and what the handler gets is unchanged.
   *
   * @category annotations
   * @since 0.1.0
   */
  secret
} from "./internal/mask.ts"

/**
 * What happened.
 *
 * - `start_job`: handed out; nothing is decoded yet
 * - `job_success`, `job_discarded`, `job_aborted`: over
 * - `job_error_retry`: an attempt failed, another one follows; `job_error`: it went to the dead letters
 * - `job_snoozed`, `job_released`: given back, no attempt spent; `job_interrupted`: cut short by a shutdown or a lost lease
 * - `task_not_found`: given back because this worker does not know the task, or that version of its payload
 *
 * @category models
 * @since 0.1.0
 */
export type Action =
  | "start_job"
  | "job_success"
  | "job_discarded"
  | "job_error_retry"
  | "job_error"
  | "job_snoozed"
  | "job_interrupted"
  | "job_aborted"
  | "job_released"
  | "task_not_found"

/**
 * The level of every action unless it is set: errors are for final failures alone. `"None"` writes no line.
 *
 * @category levels
 * @since 0.1.0
 */
export const defaultLevels: Readonly<Record<Action, Level>> = {
  start_job: "Debug",
  job_success: "Info",
  job_discarded: "Info",
  job_error_retry: "Info",
  job_error: "Error",
  job_snoozed: "Debug",
  job_interrupted: "Info",
  job_aborted: "Info",
  job_released: "Debug",
  task_not_found: "Warn"
}

/**
 * @category models
 * @since 0.1.0
 */
export type Level = LogLevel.Severity | "None"

/**
 * One log line. `fields` is plain data: `action`, `job`, `task`, `queue`, `attempt`, `worker`, and where they apply
 * `waitMillis`, `runMillis`, `afterMillis` (until it comes back), `reason`, `error`, `cause`, `payload`, `lostFrom`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Line {
  readonly action: Action
  readonly level: LogLevel.Severity
  readonly message: string
  readonly fields: Readonly<Record<string, unknown>>
}

/**
 * Where lines go. An effect is run as every observer's: for at most one second.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sink<out R = never> {
  (line: Line): Effect.Effect<void, never, R> | void
}

/**
 * Effect's own loggers, with the fields as annotations: the sink unless another one is set.
 *
 * @category sinks
 * @since 0.1.0
 */
export const toLogger: Sink = ({ fields, level, message }) =>
  Effect.annotateLogs(Effect.logWithLevel(level)(message), fields)

/**
 * One JSON object a line: `level`, `message` and the fields.
 *
 * @category sinks
 * @since 0.1.0
 */
export const toJson = (write: (line: string) => void): Sink => ({ fields, level, message }) =>
  write(JSON.stringify({ level, message, ...fields }))

/**
 * Writes a line when a job is handed out and one when its outcome is known, before it is settled.
 *
 * @category constructors
 * @since 0.1.0
 */
export const observer = <R = never>(options?: {
  /** levels that differ from {@link defaultLevels} */
  readonly levels?: Readonly<Partial<Record<Action, Level>>> | undefined
  /** adds the decoded payload, masked, to the line about the outcome; off unless set */
  readonly payload?: boolean | undefined
  /** names of fields that are secret in every payload, error and header, instead of {@link defaultFields} */
  readonly fields?: ReadonlyArray<string> | undefined
  /** headers that are written as they are; none unless set */
  readonly headers?: ReadonlyArray<string> | undefined
  readonly sink?: Sink<R> | undefined
}): Middleware.Observer<R> => {
  const levels = { ...defaultLevels, ...options?.levels }
  const names = fieldSet(options?.fields)
  const sink = options?.sink ?? toLogger
  const identity = (job: Middleware.Observed) => {
    const { envelope, attempt, lostFrom, queue } = job.delivery
    const fields: Record<string, unknown> = { job: envelope.id, task: job.task, queue, attempt, worker: job.worker }
    if (lostFrom !== undefined) fields["lostFrom"] = lostFrom.worker
    for (const header of options?.headers ?? []) {
      if (envelope.headers[header] !== undefined) fields[`header.${header}`] = envelope.headers[header]
    }
    return fields
  }
  const write = (action: Action, message: string, fields: Record<string, unknown>) => {
    const level = levels[action]
    return level === "None" ? undefined : sink({ action, level, message, fields: { action, ...fields } })
  }
  return Middleware.observe<number, R, R>({
    name: "windlass/Logging",
    before: (job): Effect.Effect<number, never, R> | number => {
      const begun = nowOf(job)
      if (levels.start_job === "None") return begun
      const wait = waitOf(job)
      const fields = { ...identity(job), ...(wait === undefined ? {} : { waitMillis: wait }) }
      const written = write("start_job", `job ${job.task} started`, fields)
      return written === undefined ? begun : Effect.as(written, begun)
    },
    after: (outcome, begun, job) => {
      const action = actionOf(outcome)
      if (levels[action] === "None") return
      const fields: Record<string, unknown> = { ...identity(job), runMillis: nowOf(job) - begun }
      if ("after" in outcome) fields["afterMillis"] = outcome.after
      if (outcome._tag === "Interrupted") fields["reason"] = outcome.by
      const report = reportOf(outcome)
      if (report !== undefined || options?.payload === true) {
        const { payload, secrets } = secretsOf(job, outcome, names)
        Object.assign(fields, shorten(secrets.scrubAll(report)))
        if (options?.payload === true && payload !== undefined) fields["payload"] = shorten(payload)
      }
      return write(action, `job ${job.task} ${said[action]}`, fields)
    }
  })
}

const actionOf = (outcome: Outcome): Exclude<Action, "start_job"> => {
  switch (outcome._tag) {
    case "Succeeded":
      return "job_success"
    case "Discarded":
      return "job_discarded"
    case "Retried":
      return "job_error_retry"
    case "Dead":
      return "job_error"
    case "Snoozed":
      return "job_snoozed"
    case "Interrupted":
      return "job_interrupted"
    case "Aborted":
      return "job_aborted"
    case "Released":
      return outcome.why === "unknown" ? "task_not_found" : "job_released"
  }
}

const said: Readonly<Record<Exclude<Action, "start_job">, string>> = {
  job_success: "succeeded",
  job_discarded: "was discarded",
  job_error_retry: "failed and is tried again",
  job_error: "is dead",
  job_snoozed: "was snoozed",
  job_interrupted: "was cut short",
  job_aborted: "was aborted",
  job_released: "was given back",
  task_not_found: "was given back: this worker does not know it"
}
