/** What the backend said about each settlement, and what follows for the job that was settled. */
import * as Effect from "effect/Effect"
import type { BackendError, Settled } from "../../Backend.ts"
import { tidied } from "../graph/advance.ts"
import { backOff, bounded } from "./call.ts"
import { emit, emitOutcome } from "./events.ts"
import { returnPermits } from "./gates.ts"
import { logOutcome } from "./log.ts"
import { type Ended, type Lane, monotonic, type State } from "./state.ts"

/** how long a settlement is tried, in calls that hang: an engine may renew leases for ever and settle nothing */
const patience = 6

/** Whether the settlement is not worth another try; its deadline begins with the first one that failed. @internal */
export const isHopeless = (worker: State, e: Ended): boolean => {
  const now = monotonic(worker)
  e.until ??= now + patience * worker.settings.callTimeout
  return e.run.heldUntil <= now || e.until <= now || e.run.stopping === "lost"
}

/** What the backend said about each: done, gone, or unsaid (which is said again after a while). @internal */
export const confirm = (
  worker: State,
  lane: Lane,
  ended: ReadonlyArray<Ended>,
  settled: ReadonlyArray<Settled>
): Effect.Effect<void> => {
  const logs: Array<Effect.Effect<void>> = []
  const tidies: Array<Effect.Effect<void, BackendError>> = []
  for (let i = 0; i < ended.length; i++) {
    const e = ended[i]!
    switch (settled[i]) {
      case "Settled":
      case "Aborted": {
        const outcome = settled[i] === "Aborted" ? { _tag: "Aborted", cause: undefined } as const : e.outcome
        worker.counts[outcome._tag]++
        release(worker, lane, e)
        emitOutcome(worker, e.run, outcome)
        const log = worker.settings.logJobs ? logOutcome(e.run, outcome) : undefined
        if (log !== undefined) logs.push(log)
        const tidy = tidied(worker.context, e.run, e.settlement)
        if (tidy !== undefined) tidies.push(bounded(worker, "graph", tidy))
        break
      }
      case "Lost":
        // nobody can have taken it while its lease is held, so an earlier try has settled it; after that nobody knows
        if (e.ambiguous && e.run.heldUntil > monotonic(worker)) {
          worker.counts[e.outcome._tag]++
          release(worker, lane, e)
          emitOutcome(worker, e.run, e.outcome)
        } else {
          lose(worker, lane, e)
        }
        break
      default:
        if (isHopeless(worker, e)) lose(worker, lane, e)
        else sayAgain(worker, lane, e)
    }
  }
  const said = logs.length === 0 ? Effect.void : Effect.forEach(logs, (log) => log, { discard: true })
  if (tidies.length === 0) return said
  return Effect.andThen(said, Effect.forEach(tidies, (tidy) => Effect.ignore(tidy), { concurrency: 16, discard: true }))
}

/** An engine that does not say is not asked at once: the lane would go round without a pause. */
const sayAgain = (worker: State, lane: Lane, e: Ended): void => {
  lane.unsaid++
  Effect.runForkWith(worker.context)(Effect.andThen(
    Effect.sleep(backOff(e.tries)),
    Effect.sync(() => {
      lane.unsaid--
      lane.ended.push({ ...e, ambiguous: true, tries: e.tries + 1 })
      lane.changed.openUnsafe()
    })
  ))
}

const release = (worker: State, lane: Lane, e: Ended): void => {
  if (e.settlement._tag === "Retry" && e.settlement.to?.queue !== undefined) worker.moved++
  lane.held.delete(e.run)
  returnPermits(worker, lane, e.run)
}

/** The run ended and its lease was gone by then: its outcome has no effect, somebody else runs the job. @internal */
export const lose = (worker: State, lane: Lane, e: Ended): void => {
  release(worker, lane, e)
  worker.counts.Lost++
  emit(worker, "Lost", e.run, `its outcome was ${e.outcome._tag}`)
}
