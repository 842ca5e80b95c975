/**
 * One request to run a task, as its handler and its middleware see it while an attempt runs.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Backend, BackendError, Destination, Origin, Settlement } from "./Backend.ts"
import { type Inspect, Reroute } from "./Capability.ts"
import type { Outcome } from "./Outcome.ts"

/**
 * The facts of a job and of its current attempt. Times are milliseconds since the epoch.
 *
 * @category models
 * @since 0.1.0
 */
export interface Info {
  readonly id: string
  /** the task's name, as the definition has it now (an alias is resolved) */
  readonly task: string
  readonly queue: string
  /** number of this attempt, from 1 */
  readonly attempt: number
  /** true when a failure of this attempt cannot be followed by another one, because `maxAttempts` is reached */
  readonly lastAttempt: boolean
  readonly origin: Origin
  readonly headers: Readonly<Record<string, string>>
  /** on the engine's clock; undefined where the engine does not keep it */
  readonly enqueuedAt: number | undefined
  /** when this attempt began, on the worker's clock */
  readonly startedAt: number
  /** when it was to start, if it was delayed on purpose */
  readonly scheduledFor: number | undefined
  readonly priority: number
  readonly group: string | undefined
  /** the worker that ran it before and was lost, if this delivery was reclaimed */
  readonly lostFrom: string | undefined
}

/**
 * The job that is running, and what its handler may ask of it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Job extends Info {
  /** why this attempt should stop, once that is so: for handlers that poll instead of being interrupted */
  readonly stopping: "aborted" | "shutdown" | "lost" | "timeout" | undefined
  /**
   * what is left until the nearest of the task's `timeout` and `deadline`, and of the end of the invocation where the
   * job came with one (AWS Lambda); none when there is no such limit
   */
  readonly remaining: Effect.Effect<Option.Option<Duration.Duration>>
  /** the worker that runs this job; `stop` asks it to drain and returns at once */
  readonly worker: { readonly id: string; readonly stop: Effect.Effect<void> }
}

/**
 * The running job, available to every handler and every middleware of the run point.
 *
 * @category services
 * @since 0.1.0
 */
export class Current extends Context.Service<Current, Job>()("windlass/Job") {}

/**
 * True once this attempt was asked to stop: by an abort request, a shutdown, a time-out, or because its lease was lost.
 * A handler that ignores interruption (or masks a critical part) asks this between steps.
 *
 * @category accessors
 * @since 0.1.0
 */
export const isStopping: Effect.Effect<boolean, never, Current> = Effect.map(
  Current,
  (job) => job.stopping !== undefined
)

/**
 * Ends a cooperative handler that has seen {@link isStopping}: the attempt counts as interrupted for the reason that was
 * asked. Does nothing when nobody asked.
 *
 * @category combinators
 * @since 0.1.0
 */
export const checkpoint: Effect.Effect<void, never, Current> = Effect.flatMap(
  Current,
  (job) => job.stopping !== undefined ? Effect.interrupt : Effect.void
)

/**
 * What a middleware of the delivery point may ask about the outcome of the job that it stands around.
 *
 * @internal
 */
export interface Election {
  /** the outcome that a settlement of `next` stands for */
  readonly outcomeOf: (settlement: Settlement) => Outcome
  /** decoded; undefined when it cannot be */
  readonly payload: () => unknown
  /** the settlement that stands for this outcome */
  readonly elect: (outcome: Outcome) => Settlement
  /** a failure that is to be none, with a value if there is one */
  readonly suppress: (
    outcome: Outcome,
    value: { readonly value: unknown } | undefined,
    by: string
  ) => Effect.Effect<Outcome>
  /** a failure in place of the outcome */
  readonly replace: (outcome: Outcome, cause: Cause.Cause<unknown>) => Effect.Effect<Outcome>
}

/**
 * What {@link progress}, {@link reroute} and {@link fork} need of the runtime; provided with every job, not for direct use.
 *
 * @internal
 */
export interface Controls {
  readonly election: Election | undefined
  readonly progress: (value: string) => Effect.Effect<void, BackendError>
  readonly reroute: (to: Destination) => void
  readonly fork: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<Fiber.Fiber<A, E>, never, R>
}

/** @internal */
export const controls = (job: Job): Controls => (job as Job & { readonly controls: Controls }).controls

/**
 * Stores a JSON value with the running job, where anyone can read it through `Inspect` while the job runs and after it
 * ended. Replaces the previous value. When the lease was lost meanwhile nothing is stored.
 *
 * @category combinators
 * @since 0.1.0
 */
export const progress = (value: Schema.Json): Effect.Effect<void, BackendError, Current | Backend | Inspect> =>
  Effect.flatMap(Current, (job) => controls(job).progress(JSON.stringify(value)))

/**
 * If this attempt is followed by another one, that one goes there: to another queue, with another priority, into another
 * group (`null`: out of its group). Asked again, the later answer counts, field by field. It holds for an attempt that
 * failed and for one that a `Decide` retries or snoozes; a job that is merely given back (a shutdown, a lost worker, a
 * closed gate) comes back where it was, and one that has ended goes nowhere. The move is one step with the settlement;
 * attempts, history and unique key go along.
 *
 * Make sure that a worker claims from the queue. Fails when a job cannot go there: a priority out of range, another queue
 * in a Redis Cluster. A queue or a group that is no string, out of untyped code, is a defect. Needs {@link Reroute}.
 *
 * @category combinators
 * @since 0.1.0
 */
export const reroute = (to: Destination): Effect.Effect<void, BackendError, Current | Reroute> =>
  Effect.flatMap(Current, (job) => {
    const wrong = misplaced(to)
    if (wrong !== undefined) return Effect.die(new TypeError(`Job.reroute of job ${job.id}: ${wrong}`))
    return Effect.flatMap(Reroute, ({ prepare }) => Effect.map(prepare(job.queue, to), () => controls(job).reroute(to)))
  })

/** what got round the types; no engine is given it, as the settlement could not be refused any more */
const misplaced = ({ group, queue }: Destination): string | undefined => {
  const show = (value: unknown) => `${typeof value} ${String(value)}`
  if (group !== undefined && group !== null && typeof group !== "string") {
    return `the group is the ${show(group)}: name it with a string, or null to leave it`
  }
  // null is no place to go to, and changes nothing
  return queue === undefined || queue === null || typeof queue === "string"
    ? undefined
    : `the queue is the ${show(queue)}: name it with a string`
}

/**
 * Forks work that belongs to the job: the attempt is not over before the fiber is. If the fiber fails, the attempt fails
 * once the handler has returned; if the handler fails or is interrupted, the fiber is interrupted first. A fork may fork
 * more; one that the handler itself interrupts is over, not failed. (A plain `forkChild` is interrupted when the handler
 * returns, and its failure is nobody's.)
 *
 * @category combinators
 * @since 0.1.0
 */
export const fork = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<Fiber.Fiber<A, E>, never, R | Current> =>
  Effect.flatMap(Current, (job) => controls(job).fork(effect))

/**
 * What `execute` fails with when the job was discarded by a `Decide`, or dropped by a middleware of the enqueue point.
 *
 * @category errors
 * @since 0.1.0
 */
export class Discarded extends Schema.TaggedError<Discarded>()("windlass/Discarded", {
  id: Schema.String,
  reason: Schema.String
}) {}

/**
 * What `execute` fails with when the job was cancelled before it ran, or aborted while it ran.
 *
 * @category errors
 * @since 0.1.0
 */
export class Aborted extends Schema.TaggedError<Aborted>()("windlass/Aborted", {
  id: Schema.String,
  reason: Schema.String
}) {}

/**
 * What `execute` fails with when the job went to the dead letters for another reason than a failure that the task
 * declares: a defect, a time-out, a payload that could not be decoded, a lost worker. Also when there is no result to
 * have: `undecodable`, one that does not fit the success schema; `no-result`, that of a job which held the unique key
 * (`onConflict: "existing"`) and which nobody had asked to keep.
 *
 * @category errors
 * @since 0.1.0
 */
export class Dead extends Schema.TaggedError<Dead>()("windlass/Dead", {
  id: Schema.String,
  reason: Schema.String,
  detail: Schema.UndefinedOr(Schema.String)
}) {}

/**
 * The failure of an attempt whose handler (or whole chain) took longer than the task allows. `millis` is the limit.
 *
 * @category errors
 * @since 0.1.0
 */
export class TimedOut extends Schema.TaggedError<TimedOut>()("windlass/TimedOut", {
  task: Schema.String,
  limit: Schema.Literals(["timeout", "runTimeout"]),
  millis: Schema.Number
}) {
  override get message(): string {
    return `task ${this.task} ran longer than its ${this.limit} of ${this.millis} ms`
  }
}

/**
 * The failure of an attempt that ended with a defect: what a retry policy is asked about.
 *
 * @category errors
 * @since 0.1.0
 */
export class Died extends Schema.TaggedError<Died>()("windlass/Died", { defect: Schema.Defect() }) {}
