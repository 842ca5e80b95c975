/**
 * Failures of jobs for Sentry and its like, on what Effect ships for that: every reporter that `effect/ErrorReporter`'s
 * `layer` has registered around the worker gets them, with the job as attributes. An observer; it needs nothing, and a
 * reporter that dies or hangs changes no job.
 *
 * Reported are final failures (jobs that go to the dead letters), retried ones if asked; never a discard, a snooze, an
 * abort or a shutdown, and no error that says so itself with `[ErrorReporter.ignore]` or is on the list. Reports are
 * copies in which secrets are masked as in `windlass/middleware/Logging`: messages, stacks, causes and fields.
 *
 * ```ts
 * import * as Reporter from "effect/ErrorReporter"
 * import * as ErrorReporter from "windlass/middleware/ErrorReporter"
 *
 * declare const captureException: (error: Error, context: object) => void
 *
 * export const toSentry = Reporter.layer([
 *   Reporter.make(({ attributes, error, severity }) => captureException(error, { level: severity, extra: attributes }))
 * ])
 * export const errors = ErrorReporter.observer({ ignore: ["MailRejected"] })
 * // Worker.layer(App, { middleware: [errors] }).pipe(Layer.provide(toSentry))
 * ```
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Reporter from "effect/ErrorReporter"
import type * as LogLevel from "effect/LogLevel"
import * as Middleware from "../Middleware.ts"
import type { DeadReason, Outcome } from "../Outcome.ts"
import { fieldSet, mask, shorten } from "./internal/mask.ts"
import { errorsOf, isMalformed, malformed, secretsOf } from "./internal/report.ts"
import type { Secrets } from "./internal/secrets.ts"

/**
 * One reported error. A cause with several errors makes several reports.
 *
 * @category models
 * @since 0.1.0
 */
export interface Report {
  /** a copy of the error without secrets: its name, message, stack, causes and own fields */
  readonly error: Error
  /** what the error asks for, else `Error` for a final failure and `Warn` for a retried one */
  readonly severity: LogLevel.Severity
  /**
   * `job`, `task`, `queue`, `attempt`, `worker`, `outcome` (`dead` or `retried`), `reason` (of a dead letter),
   * `afterMillis` (of a retry), `payload` if asked for, and the error's own attributes
   */
  readonly attributes: Readonly<Record<string, unknown>>
}

/**
 * The error that is reported for a job that is dead without one: expired, poison, of an unknown task.
 *
 * @category errors
 * @since 0.1.0
 */
export class DeadJob extends Error {
  override readonly name = "DeadJob"
  readonly reason: DeadReason
  constructor(reason: DeadReason, message: string) {
    super(message)
    this.reason = reason
  }
}

/**
 * Reports when the outcome is known, before it is settled.
 *
 * @category constructors
 * @since 0.1.0
 */
export const observer = <R = never>(options?: {
  /** reports failed attempts that are tried again, too; off unless set */
  readonly retried?: boolean | undefined
  /** errors that are not reported: names or tags, or a predicate on the original error */
  readonly ignore?: ReadonlyArray<string> | ((error: unknown) => boolean) | undefined
  /** adds the decoded payload, masked, to the attributes; off unless set */
  readonly payload?: boolean | undefined
  /** names of fields that are secret everywhere, instead of `Logging.defaultFields` */
  readonly fields?: ReadonlyArray<string> | undefined
  /** a hook of its own, beside the registered reporters */
  readonly onReport?: ((report: Report) => Effect.Effect<void, never, R> | void) | undefined
}): Middleware.Observer<R> => {
  const names = fieldSet(options?.fields)
  const ignored = ignoring(options?.ignore)
  return Middleware.observe<void, never, R>({
    name: "windlass/ErrorReporter",
    after: (outcome, _, job) => {
      if (outcome._tag !== "Dead" && (outcome._tag !== "Retried" || options?.retried !== true)) return
      const errors = failuresOf(outcome).filter(({ original }) => !ignored(original))
      if (errors.length === 0) return
      const { payload, secrets } = secretsOf(job, outcome, names)
      const attributes = {
        ...attributesOf(job, outcome),
        ...(options?.payload === true && payload !== undefined ? { payload: shorten(payload) } : {})
      }
      const fallback = outcome._tag === "Dead" ? "Error" : "Warn"
      const schemas = errorsOf(job)
      const clean = (value: unknown) => shorten(secrets.scrubAll(mask(value, schemas, names, secrets)))
      const reports = errors.map((found) => reportOf(found, attributes, fallback, secrets, clean))
      return Effect.forEach(reports, (report) => {
        const told = options?.onReport?.(report)
        const registered = Reporter.report(Cause.die(report.error))
        return told === undefined ? registered : Effect.andThen(registered, told)
      }, { discard: true })
    }
  })
}

const ignoring =
  (ignore: ReadonlyArray<string> | ((error: unknown) => boolean) | undefined) => (error: unknown): boolean => {
    if (Reporter.isIgnored(error)) return true
    if (ignore === undefined) return false
    if (typeof ignore === "function") return ignore(error)
    const { _tag, name } = Object(error) as { readonly _tag?: unknown; readonly name?: unknown }
    return ignore.some((one) => one === _tag || one === name)
  }

type Failed = Extract<Outcome, { readonly _tag: "Dead" | "Retried" }>

interface Found {
  readonly original: unknown
  readonly pretty: Error
}

/** The errors of the cause in order, or one that says why the job is dead. */
const failuresOf = (outcome: Failed): ReadonlyArray<Found> => {
  if (isMalformed(outcome)) return alone(new SyntaxError(malformed))
  const found = (outcome.cause?.reasons ?? []).flatMap((reason): ReadonlyArray<Found> => {
    if (Cause.isInterruptReason(reason)) return []
    const original = Cause.isFailReason(reason) ? reason.error : reason.defect
    return [{ original, pretty: Cause.prettyErrors(Cause.fromReasons([reason]))[0]! }]
  })
  if (found.length > 0 || outcome._tag !== "Dead") return found
  return alone(new DeadJob(outcome.reason, outcome.error))
}

const alone = (error: Error): ReadonlyArray<Found> => [{ original: error, pretty: error }]

const attributesOf = (job: Middleware.Observed, outcome: Failed): Record<string, unknown> => ({
  job: job.delivery.envelope.id,
  task: job.task,
  queue: job.delivery.queue,
  attempt: job.delivery.attempt,
  worker: job.worker,
  ...(outcome._tag === "Dead"
    ? { outcome: "dead", reason: outcome.reason }
    : { outcome: "retried", afterMillis: outcome.after })
})

const reportOf = (
  { original, pretty }: Found,
  attributes: Readonly<Record<string, unknown>>,
  fallback: LogLevel.Severity,
  secrets: Secrets,
  clean: (value: unknown) => unknown
): Report => {
  const known = typeof original === "object" && original !== null
  const own = known ? clean(Reporter.getAttributes(original)) as object : {}
  const severity = known && Reporter.severity in original ? Reporter.getSeverity(original) : fallback
  const error = copy(original, pretty, secrets, clean)
  const all = { ...own, ...attributes }
  // this is how a reporter of Effect gets them
  Object.defineProperty(error, Reporter.attributes, { value: all })
  Object.defineProperty(error, Reporter.severity, { value: severity })
  return { error, severity, attributes: all }
}

const standard = ["name", "message", "stack", "cause"]

/** An error that reads the same, without secrets. */
const copy = (original: unknown, pretty: Error, secrets: Secrets, clean: (value: unknown) => unknown): Error => {
  const made = new Error(secrets.scrub(pretty.message))
  made.name = pretty.name
  made.stack = secrets.scrub(pretty.stack ?? `${pretty.name}: ${pretty.message}`)
  if (pretty.cause !== undefined) {
    made.cause = pretty.cause instanceof Error ? copy(pretty.cause, pretty.cause, secrets, clean) : clean(pretty.cause)
  }
  if (typeof original !== "object" || original === null) return made
  const own = Object.entries(clean(original) as object).filter(([key]) => !standard.includes(key))
  return Object.assign(made, Object.fromEntries(own))
}
