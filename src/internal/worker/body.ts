/**
 * The innermost layer: the handler, in a fiber and a scope of its own. This fiber is the only thing that a shutdown, an
 * abort, a lost lease or the task's `timeout` interrupts (L17), and what it forked ends with it (L15). A mask around the
 * middleware would not do: under a `timeout` or a `race` of a middleware the interruption would arrive late.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { identity } from "effect/Function"
import * as Scope from "effect/Scope"
import { TimedOut } from "../../Job.ts"
import { finalize } from "../finalize.ts"
import { close } from "../lean.ts"
import type { HandlerEntry } from "../task.ts"
import { begin, isMasked } from "./layer.ts"
import type { Run } from "./run.ts"

/** @internal */
export const body =
  (handler: HandlerEntry["run"], timeout: number | undefined) =>
  (parent: Fiber.Fiber<unknown, unknown>, payload: unknown, job: Run): Effect.Effect<unknown, unknown> => {
    const start = (wait: typeof Effect.interruptible): Effect.Effect<unknown, unknown> => {
      if (job.stopping !== undefined) {
        job.cut = true
        return Effect.interrupt
      }
      // a fork is the handler's: fresh for every run of the body
      job.forks = undefined
      job.inBody = true
      const { context } = parent
      const scope = Scope.makeUnsafe()
      const fiber = Effect.runForkWith(Context.add(context, Scope.Scope, scope))(
        finalize(begin(() => joinForks(job, handler(payload))), (exit) => end(job, scope, exit))
      )
      const done = fiber.pollUnsafe()
      if (done !== undefined) { // it ran synchronously: nothing to interrupt
        if (job.stopping !== undefined && Exit.hasInterrupts(done)) job.cut = true
        return done
      }
      job.body = fiber
      if (job.stopping !== undefined) fiber.interruptUnsafe() // asked for within its first synchronous stretch
      const limit = timeout === undefined ? undefined : startLimit(context, job, fiber, timeout)
      const over = (exit: Exit.Exit<unknown, unknown>): undefined => {
        job.body = undefined
        // a time-out is of this run of the body alone: the next one within the attempt may have its own
        if (job.stopping === "timeout") job.stopping = undefined
        if (job.stopping !== undefined && limit?.fired !== true && Exit.hasInterrupts(exit)) job.cut = true
        job.interrupted = Exit.hasInterrupts(exit)
      }
      const joined = Effect.onExitPrimitive(wait(Fiber.join(fiber)), () => {
        limit?.timer.interruptUnsafe()
        const exit = fiber.pollUnsafe()
        if (exit !== undefined) return over(exit)
        // a timeout or race outside of it cut the join
        return Effect.andThen(Fiber.interrupt(fiber), Effect.sync(() => over(fiber.pollUnsafe()!)))
      })
      return limit === undefined ?
        joined :
        Effect.catchCause(joined, (cause) =>
          limit.fired && Cause.hasInterrupts(cause)
            ? Effect.fail(new TimedOut({ task: job.task, limit: "timeout", millis: limit.millis }))
            : Effect.failCause(cause))
    }
    // between its start and the wait for it nothing may come
    return isMasked(parent) ? start(identity) : Effect.uninterruptibleMask(start)
  }

/**
 * The end of the handler, in its fiber: what it acquired is released while what it forked with `forkChild` still runs, as by
 * `Effect.scoped`; a release may tell such a fiber to end, and wait for it. `Job.fork` was waited for before.
 */
const end = (job: Run, scope: Scope.Closeable, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> | undefined => {
  job.inBody = false
  job.ended(exit)
  const forks = job.forks?.interrupt()
  if (forks === undefined && scope.state._tag === "Empty") return Scope.closeUnsafe(scope, exit)
  // what still runs may use the scope, and add to it, until it has ended
  const released = Effect.withFiber((fiber) => close(fiber, scope, exit) ?? Effect.void)
  return forks === undefined ? released : Effect.andThen(forks, released)
}

interface Limit {
  readonly millis: number
  readonly timer: Fiber.Fiber<void>
  fired: boolean
}

/** The task's `timeout`. A body that was asked to stop already has its reason. */
const startLimit = (
  context: Context.Context<never>,
  job: Run,
  body: Fiber.Fiber<unknown, unknown>,
  millis: number
): Limit => {
  const timer = Effect.runForkWith(context)(Effect.andThen(
    Effect.sleep(millis),
    Effect.sync(() => {
      if (job.body !== body || job.stopping !== undefined) return
      limit.fired = true
      job.stop("timeout")
    })
  ))
  const limit: Limit = { millis, timer, fired: false }
  return limit
}

/** The handler is over when its forks are, and fails when one of them fails. */
const joinForks = <A, E, R>(job: Run, handler: Effect.Effect<A, E, R>): Effect.Effect<A, unknown, R> =>
  Effect.flatMap(
    handler,
    (value) => job.forks === undefined ? Effect.succeed(value) : Effect.as(job.forks.join, value)
  )
