/** A claimed job gets a fiber; the fiber's end puts it among what is to be settled. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as References from "effect/References"
import type { Delivery, Settlement } from "../../Backend.ts"
import { Current } from "../../Job.ts"
import { type Outcome, toSettlement } from "../../Outcome.ts"
import { describe } from "../line.ts"
import type { Delivered } from "./delivered.ts"
import { emit } from "./events.ts"
import { returnPermits } from "./gates.ts"
import { Run } from "./run.ts"
import { Ended, freed, type Lane, type State } from "./state.ts"
import { watch } from "./stuck.ts"

const uninterruptible = { uninterruptible: true }

/** It goes back as if it had never been claimed. @internal */
export const unbegun = (after: number, reason: string): Delivered => {
  const outcome: Outcome = { _tag: "Released", why: "released", after, reason }
  return { outcome, settlement: { ...toSettlement(outcome) as Settlement.Retry, unbegun: true } }
}

/**
 * `asked`: monotonic milliseconds at which the claim was asked for. `back`: why it goes back as if it had never been
 * claimed, if it does.
 *
 * @internal
 */
export const start = (worker: State, lane: Lane, delivery: Delivery, asked: number, back?: string): void => {
  const run = new Run(delivery, worker.clock.currentTimeMillisUnsafe(), worker.handle, worker.progressTo)
  const { lease } = lane.subscription
  if (lease._tag === "Timed") run.heldUntil = asked + lease.millis
  lane.live.add(run)
  lane.held.add(run)
  lane.holding.openUnsafe()
  worker.running++
  const task = worker.tasks.get(delivery.envelope.task)
  run.resolved = task
  emit(worker, "Claimed", run)
  // a stop may have come while the claim was under way
  const reason = worker.draining ? "the worker stops" : back
  if (reason !== undefined) return end(worker, lane, run, Exit.succeed(unbegun(0, reason)))
  const fiber = Effect.runForkWith(contextOf(task?.context ?? worker.context, run, task?.task._tag))(
    Effect.withFiber((fiber) => worker.deliver(fiber, run)),
    uninterruptible
  )
  const exit = fiber.pollUnsafe()
  if (exit !== undefined) return end(worker, lane, run, exit)
  run.root = fiber
  // asked for within its first synchronous stretch
  if (run.stopping !== undefined && run.stopping !== "timeout") fiber.interruptUnsafe()
  if (task?.runTimeout !== undefined) watch(worker, lane, run, task.runTimeout)
  fiber.addObserver((exit) => end(worker, lane, run, exit))
}

/** The job, and what every log line of its run carries. @internal */
export const contextOf = (base: Context.Context<never>, run: Run, task: string | undefined) =>
  Context.add(
    Context.add(base, Current, run),
    References.CurrentLogAnnotations,
    {
      ...Context.get(base, References.CurrentLogAnnotations),
      job: run.id,
      task: task ?? run.task,
      attempt: run.attempt,
      queue: run.queue
    }
  )

/** Runs outside of any fiber, so it must not throw. @internal */
export const end = (worker: State, lane: Lane, run: Run, exit: Exit.Exit<Delivered, never>): void => {
  if (run.stuck) return
  lane.live.delete(run)
  worker.running--
  if (run.stopping === "lost") {
    // somebody else owns it now: nothing to say to the backend
    lane.held.delete(run)
    worker.counts.Lost++
    emit(worker, "Lost", run)
    returnPermits(worker, lane, run)
  } else {
    lane.ended.push(new Ended(run, exit._tag === "Success" ? exit.value : broken(run, exit)))
  }
  lane.changed.openUnsafe()
  freed(worker)
}

/** The runtime itself failed around a job: the job pays an attempt, so that it cannot go round for ever. @internal */
export const broken = (run: Run, exit: Exit.Failure<Delivered, never>): Delivered => {
  const error = `the worker failed around the job: ${describe(exit.cause)}`
  const outcome: Outcome = run.lastAttempt
    ? { _tag: "Dead", reason: "failed", cause: exit.cause, error, encoded: undefined }
    : { _tag: "Retried", cause: exit.cause, after: 1_000, error }
  return { outcome, settlement: toSettlement(outcome) }
}
