/**
 * The one exception to balance: a chain that outlives its `runTimeout` or the shutdown's deadline. It cannot be ended
 * from outside, so it is declared stuck: no longer renewed, counted, logged, and the worker stops with a failure.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { emit } from "./events.ts"
import { returnPermits } from "./gates.ts"
import type { Run } from "./run.ts"
import { type Lane, type State, wakeAll } from "./state.ts"

/** Why a worker that had to give up a chain failed. @internal */
export class Stuck extends Error {
  override readonly name = "Stuck"
}

/** @internal */
export const declareStuck = (worker: State, lane: Lane, run: Run, why: string): void => {
  if (run.stuck || !lane.live.has(run)) return
  run.stuck = true
  run.stop("lost")
  lane.live.delete(run)
  lane.held.delete(run)
  worker.running--
  worker.counts.Stuck++
  returnPermits(worker, lane, run)
  emit(worker, "Stuck", run, why)
  worker.failure ??= Cause.die(new Stuck(`job ${run.id} of task ${run.task} is stuck: ${why}`))
  Effect.runForkWith(worker.context)(
    Effect.logError(`job stuck: ${why}; its lease is left to run out and the worker stops`).pipe(
      Effect.annotateLogs({ job: run.id, task: run.task, attempt: run.attempt, queue: run.queue })
    )
  )
  worker.stopping.openUnsafe()
  wakeAll(worker)
}

/** @internal */
export const watch = (worker: State, lane: Lane, run: Run, millis: number): void => {
  const timer = Effect.runForkWith(worker.context)(Effect.andThen(
    Effect.sleep(millis),
    Effect.sync(() => declareStuck(worker, lane, run, `its chain is open after its runTimeout of ${millis} ms`))
  ))
  run.root?.addObserver(() => timer.interruptUnsafe())
}
