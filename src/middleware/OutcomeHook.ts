/**
 * A hook on what a job came to, however it came to that: also when its handler, or anything of its run chain, was never
 * entered. It may let the outcome stand, turn a failure into none, or put a failure in its place; the hooks outside of it
 * see the new state.
 *
 * It stands in a worker's list, at the delivery point, so it runs after the whole run chain. Hooks run from the inside out:
 * the last of the list first, each of them, one after another. They run when an attempt has ended: it succeeded, failed (to
 * be retried or not), ran out of time, died, was discarded or aborted; when the payload could not be decoded, the job is
 * expired or poison, its task unknown for too long; and when a worker was lost or stopped and the task's `onLost` or
 * `onInterrupted` is not `requeue`. A job that is merely given back has not ended, and no hook runs: requeued by a
 * shutdown or after the loss of its worker, snoozed, not yet known. Nor for one that was cancelled while it waited.
 *
 * - A hook that succeeds with {@link suppress} turns a failure into none. The job counts as succeeded if it was run and
 *   its task succeeds with nothing (its success schema takes `undefined`); in all other cases it is discarded, and
 *   `execute` fails with `Job.Discarded`: nobody but the task itself has a result for it. A hook {@link forTask} is the
 *   task's own and may {@link succeed} with one.
 * - A hook that fails or dies puts that in the place of the outcome, a success included: the attempt has failed with it.
 *   A failure that the task declares keeps its type, a `Decide` is decided, any other one is a defect of the attempt
 *   (`Job.Died`), and the retry policy is asked as always. A job that is dead because it could not be run or was cut
 *   short (`undecodable`, `lost`, ...) stays dead for that reason, with the new error; `Decide.discard` lets go of it.
 * - A run that was cut short by a shutdown or a loss is never made a success, only discarded; an abort on request stands.
 *
 * A hook is not interrupted; it takes as long as it takes while the lease is renewed, up to the `runTimeout` of the task. Hooks
 * that only report need none of this: an observer cannot change anything, nor hold it up.
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as OutcomeHook from "windlass/middleware/OutcomeHook"
 *
 * declare const report: (line: string) => Effect.Effect<void>
 *
 * export const reports = OutcomeHook.make("reports", (outcome, job) =>
 *   outcome._tag === "Dead" ? report(`${job.task} ${job.id}: ${outcome.error}`) : Effect.void)
 *
 * export const lenient = OutcomeHook.make("lenient", (outcome, job) =>
 *   outcome._tag === "Dead" && job.headers["optional"] === "yes" ? Effect.succeed(OutcomeHook.suppress) : Effect.void)
 *
 * // Worker.layer(App, { middleware: [reports, lenient] }): lenient first
 * ```
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Decide from "../Decide.ts"
import * as Job from "../Job.ts"
import * as Middleware from "../Middleware.ts"
import type { Outcome } from "../Outcome.ts"
import type * as Task from "../Task.ts"

/**
 * The outcome of an attempt that has ended, for a hook to look at.
 *
 * @category models
 * @since 0.1.0
 */
export type Ended = Extract<
  Outcome,
  { readonly _tag: "Succeeded" | "Discarded" | "Retried" | "Dead" | "Aborted" }
>

/**
 * What a hook answers when a failure is to be none; see the head of the module for what the job is then. Of an outcome
 * that is no failure it changes nothing.
 *
 * @category models
 * @since 0.1.0
 */
export interface Suppress {
  readonly _tag: "Suppress"
}

/**
 * What a task's own hook answers when a failure is to be this success.
 *
 * @category models
 * @since 0.1.0
 */
export interface Succeed<out A> {
  readonly _tag: "Succeed"
  readonly value: A
}

/**
 * @category answers
 * @since 0.1.0
 */
export const suppress: Suppress = { _tag: "Suppress" }

/**
 * @category answers
 * @since 0.1.0
 */
export const succeed = <A>(value: A): Succeed<A> => ({ _tag: "Succeed", value })

/**
 * A hook for the jobs of all tasks. What it needs is provided with the worker. `payload` is decoded; undefined where it
 * cannot be read or its task is not known here.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <R = never>(
  name: string,
  hook: (outcome: Ended, job: Job.Info, payload: unknown) => Effect.Effect<Suppress | void, unknown, R>
): Middleware.Delivery<Exclude<R, Scope.Scope>> => made(name, () => true, hook)

/**
 * A hook for the jobs of one task (aliases included), which knows what it takes, succeeds and fails with. `payload` is
 * undefined where it cannot be read.
 *
 * @category constructors
 * @since 0.1.0
 */
export const forTask = <T extends Task.Any, R = never>(
  name: string,
  task: T,
  hook: (
    outcome: Ended,
    job: Job.Info,
    payload: Task.PayloadOf<T> | undefined
  ) => Effect.Effect<Suppress | Succeed<Task.SuccessOf<T>> | void, Task.ErrorOf<T> | Decide.Decide, R>
): Middleware.Delivery<Exclude<R, Scope.Scope>> =>
  made(name, (job) => job.task === task._tag || task.aliases.includes(job.task), hook as Hook<R>)

interface Hook<R> {
  (
    outcome: Ended,
    job: Job.Info,
    payload: unknown
  ): Effect.Effect<Suppress | Succeed<unknown> | void, unknown, R>
}

const made = <R>(
  name: string,
  mine: (job: Job.Info) => boolean,
  hook: Hook<R>
): Middleware.Delivery<Exclude<R, Scope.Scope>> =>
  Middleware.delivery<R>(name, (next, delivery) =>
    Effect.gen(function*() {
      const job = yield* Job.Current
      const settlement = yield* next(delivery)
      const { election } = Job.controls(job)
      const outcome = election?.outcomeOf(settlement)
      // a job whose lease was lost is another worker's: it ends there, and its hooks run there
      if (outcome === undefined || !hasEnded(outcome) || !mine(job) || job.stopping === "lost") return settlement
      const changed = (to: Outcome) => to === outcome ? settlement : election!.elect(to)
      const exit = yield* Effect.exit(Effect.scoped(Effect.suspend(() => hook(outcome, job, election!.payload()))))
      if (exit._tag === "Success") {
        const answer = exit.value
        if (answer === undefined) return settlement
        const value = answer._tag === "Succeed" ? answer : undefined
        return changed(yield* election!.suppress(outcome, value, name))
      }
      if (Cause.hasInterruptsOnly(exit.cause)) {
        // a wait in it was marked as interruptible, and the worker is stopped: the run itself is over
        yield* Effect.logWarning(`outcome hook ${name} was interrupted; the outcome stands`)
        return settlement
      }
      return changed(yield* election!.replace(outcome, exit.cause))
    })) as Middleware.Delivery<Exclude<R, Scope.Scope>>

const hasEnded = (outcome: Outcome): outcome is Ended => {
  switch (outcome._tag) {
    case "Succeeded":
    case "Discarded":
    case "Retried":
    case "Dead":
    case "Aborted":
      return true
    case "Snoozed":
    case "Interrupted":
    case "Released":
      return false
  }
}
