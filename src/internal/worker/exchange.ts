/**
 * Settling and claiming, and what happens when the backend does not answer. A settlement is uninterruptible, has its own
 * deadline, and is tried again while the lease lasts (L9); what cannot be settled is never called settled (L4).
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { BackendError, type Delivery, type Settled } from "../../Backend.ts"
import { emit, emitOutcome } from "./events.ts"
import { returnPermits } from "./gates.ts"
import { logOutcome } from "./log.ts"
import { type Ended, type Lane, monotonic, type State } from "./state.ts"

/** One round trip if the backend answers: settles `ended`, claims up to `room`. Never fails. @internal */
export const exchange = (
  worker: State,
  lane: Lane,
  ended: ReadonlyArray<Ended>,
  room: number
): Effect.Effect<ReadonlyArray<Delivery>> => {
  const { subscription } = lane
  const items = ended.map((e) => [e.run.receipt, e.settlement] as const)
  const call = ended.length === 0
    ? Effect.map(subscription.take(room), (taken) => [[], taken] as const)
    : room === 0
    ? Effect.map(subscription.settle(items), (settled) => [settled, []] as const)
    : subscription.exchange(items, room)
  return Effect.matchCauseEffect(bounded(worker, "exchange", call), {
    onSuccess: ([settled, taken]) => {
      lane.failures = 0
      if (room > 0) lane.claimedAt = monotonic(worker)
      return Effect.as(confirm(worker, lane, ended, settled), taken)
    },
    onFailure: (cause) => {
      lane.failures++
      const error = errorOf(worker, cause)
      if (error.outcome === "Unknown") { for (const e of ended) e.ambiguous = true }
      return Effect.logWarning(`the backend failed while ${ended.length} jobs were to be settled`, error).pipe(
        Effect.andThen(ended.length === 0 ? Effect.void : settleWhileHeld(worker, lane, ended)),
        Effect.as([])
      )
    }
  })
}

/** A call that hangs counts as one whose answer was lost. */
const bounded = <A>(
  worker: State,
  operation: string,
  call: Effect.Effect<A, BackendError>
): Effect.Effect<A, BackendError> =>
  Effect.timeoutOrElse(call, {
    duration: worker.settings.callTimeout,
    orElse: () =>
      Effect.fail(
        new BackendError({
          backend: worker.backend.name,
          operation,
          message: `no answer within ${worker.settings.callTimeout} ms`,
          retryable: true,
          outcome: "Unknown"
        })
      )
  })

const errorOf = (worker: State, cause: Cause.Cause<BackendError>): BackendError => {
  const error = Cause.squash(cause)
  return error instanceof BackendError ? error : new BackendError({
    backend: worker.backend.name,
    operation: "exchange",
    message: "the backend died",
    retryable: true,
    outcome: "Unknown",
    cause: error
  })
}

/** Milliseconds to wait after so many failures in a row. @internal */
export const backOff = (failures: number): number => Math.min(10_000, 50 * 2 ** Math.min(failures, 8))

/** how long a settlement is tried, in calls that hang: an engine may renew leases for ever and settle nothing */
const patience = 6

/** Whether the settlement is still worth a try; its deadline begins with the first one that failed. */
const isHopeless = (worker: State, e: Ended): boolean => {
  const now = monotonic(worker)
  e.until ??= now + patience * worker.settings.callTimeout
  return e.run.heldUntil <= now || e.until <= now || e.run.stopping === "lost"
}

/**
 * Settles alone, again and again, until it is said, nobody of them holds a lease any more, or it took too long. One that
 * the engine refuses for good must not keep the others from being settled: the batch is halved until it stands alone.
 */
const settleWhileHeld = (worker: State, lane: Lane, ended: ReadonlyArray<Ended>): Effect.Effect<void> =>
  Effect.gen(function*() {
    let open = ended
    for (let tries = 1; open.length > 0; tries++) {
      const now = monotonic(worker)
      const gone = open.filter((e) => isHopeless(worker, e))
      for (const e of gone) lose(worker, lane, e)
      open = open.filter((e) => !gone.includes(e))
      if (open.length === 0) return
      yield* Effect.sleep(Math.min(backOff(tries), Math.max(1, Math.min(...open.map((e) => e.run.heldUntil)) - now)))
      const batch = open
      open = yield* Effect.matchCauseEffect(
        bounded(worker, "settle", lane.subscription.settle(batch.map((e) => [e.run.receipt, e.settlement] as const))),
        {
          onSuccess: (settled) => Effect.as(confirm(worker, lane, batch, settled), [] as ReadonlyArray<Ended>),
          onFailure: (cause) => {
            const error = errorOf(worker, cause)
            if (error.outcome === "Unknown") { for (const e of batch) e.ambiguous = true }
            const said = Effect.logWarning(`settling ${batch.length} jobs failed (try ${tries})`, error)
            if (error.retryable) return Effect.as(said, batch)
            if (batch.length === 1) {
              for (const e of batch) lose(worker, lane, e)
              return Effect.as(said, [])
            }
            const half = batch.length >>> 1
            return Effect.as(
              Effect.andThen(
                said,
                Effect.andThen(
                  settleWhileHeld(worker, lane, batch.slice(0, half)),
                  settleWhileHeld(worker, lane, batch.slice(half))
                )
              ),
              []
            )
          }
        }
      )
    }
  })

/** What the backend said about each: done, gone, or unsaid (which is said again after a while). */
const confirm = (
  worker: State,
  lane: Lane,
  ended: ReadonlyArray<Ended>,
  settled: ReadonlyArray<Settled>
): Effect.Effect<void> => {
  const logs: Array<Effect.Effect<void>> = []
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
  return logs.length === 0 ? Effect.void : Effect.forEach(logs, (log) => log, { discard: true })
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
  lane.held.delete(e.run)
  returnPermits(worker, lane, e.run)
}

/** The run ended and its lease was gone by then: its outcome has no effect, somebody else runs the job. */
const lose = (worker: State, lane: Lane, e: Ended): void => {
  release(worker, lane, e)
  worker.counts.Lost++
  emit(worker, "Lost", e.run, `its outcome was ${e.outcome._tag}`)
}
