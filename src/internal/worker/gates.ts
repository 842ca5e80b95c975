/** Capacity before the claim: free slots of the lane and of the worker, then the permits of every gate. */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { Admission, Gate } from "../../Gate.ts"
import type { Run } from "./run.ts"
import { freed, type Lane, type State } from "./state.ts"

/** What one run holds of keyed gates, given back at its settlement. */
const admissions = new WeakMap<Run, Array<Extract<Admission, { readonly _tag: "Admitted" }>>>()

/**
 * How many jobs may be claimed now; reserves that many slots, until the claim is {@link answered}.
 * Waiting for a gate ends early when the lane has something else to do, and holds no slot: the other lanes go on.
 *
 * @internal
 */
export const permits = (worker: State, lane: Lane): Effect.Effect<number> =>
  Effect.suspend(() => {
    const free = slots(worker, lane)
    const acquiring = lane.gates.filter((gate) => gate.acquire !== undefined)
    if (free === 0 || acquiring.length === 0) {
      return Effect.succeed(reserve(worker, lane, free))
    }
    return Effect.flatMap(acquireAll(lane, acquiring, free), (granted) => {
      if (granted === 0) return zero
      // while a gate was waited for others may have taken slots, or a stop may have come
      const room = reserve(worker, lane, Math.min(granted, slots(worker, lane)))
      return Effect.as(giveBack(worker, lane, granted - room), room)
    })
  })

const reserve = (worker: State, lane: Lane, room: number): number => {
  worker.reserved += room
  lane.reserved += room
  return room
}

/** After a claim for `room` slots: they are no longer reserved, and what it did not use is there for others. @internal */
export const answered = (worker: State, lane: Lane, room: number, claimed: number): Effect.Effect<void> => {
  worker.reserved -= room
  lane.reserved -= room
  worker.claimed += claimed
  if (room > 0) lane.beside.dry = claimed < room
  if (claimed < room) freed(worker)
  return giveBack(worker, lane, room - claimed)
}

/** Slots that the lane may take now; with none it gets a place among those that wait for one. */
const slots = (worker: State, lane: Lane): number => {
  if (worker.draining) return 0
  const own = lane.concurrency - lane.live.size - lane.reserved
  if (own <= 0) return 0
  // one slot is left to every lane that has waited longer: a busy queue cannot starve the others
  const before = worker.lanes.filter((other) => other.ticket !== undefined && other.ticket < (lane.ticket ?? Infinity))
  const shared = worker.settings.concurrency - worker.running - worker.reserved -
    before.filter((other) => other !== lane).length
  const free = Math.min(own, shared, worker.backend.limits.takeBatch)
  if (free <= 0) {
    lane.ticket ??= worker.tickets++
    return 0
  }
  lane.ticket = undefined
  return free
}

const zero = Effect.succeed(0)

/** Every gate is asked for what the ones before it granted; what a later one refuses goes back to the earlier. */
const acquireAll = (lane: Lane, gates: ReadonlyArray<Gate>, free: number): Effect.Effect<number> =>
  Effect.gen(function*() {
    let granted = free
    const held: Array<readonly [Gate, number]> = []
    for (const gate of gates) {
      const got = yield* waitFor(lane, gate, granted)
      for (const [earlier, count] of held) {
        if (count > got) yield* release(earlier, count - got, false)
      }
      held.forEach(([earlier], i) => held[i] = [earlier, got])
      held.push([gate, got])
      granted = got
      if (granted === 0) break
    }
    return granted
  })

/** Nothing while there is something to settle: a gate that is closed must not hold up a settlement. */
const waitFor = (lane: Lane, gate: Gate, max: number): Effect.Effect<number> => {
  const acquire = gate.acquire!(max)
  const given = { count: 0 }
  const counted = Effect.uninterruptibleMask((restore) =>
    Effect.map(restore(acquire), (count) => {
      given.count = Math.min(max, count)
      return given.count
    })
  )
  const otherwise = lane.ended.length > 0 ? zero : Effect.as(lane.changed.await, 0)
  lane.gated = true
  // a gate that answered while the race was lost keeps its answer: its permits are counted, never forgotten
  return Effect.map(Effect.raceFirst(counted, otherwise), () => {
    lane.gated = false
    return given.count
  })
}

const release = (gate: Gate, count: number, started: boolean): Effect.Effect<void> =>
  gate.release === undefined || count === 0 ? Effect.void : gate.release(count, started)

/** Permits that were not used. */
const giveBack = (worker: State, lane: Lane, count: number): Effect.Effect<void> => {
  if (count <= 0 || lane.gates.length === 0) return Effect.void
  const all = Effect.forEach(
    lane.gates.filter((gate) => gate.acquire !== undefined),
    (gate) => release(gate, count, false),
    { discard: true }
  )
  // a gate that dies stops the worker, once: what is open is still settled when it dies again
  return Effect.catchCause(all, (cause) => worker.failure === undefined ? Effect.failCause(cause) : Effect.void)
}

/** A gate that dies is no fault of the job: it comes back a little later, and has paid nothing. */
const undecided = (gate: Gate, cause: Cause.Cause<never>): Effect.Effect<Admission> =>
  Effect.as(Effect.logError(`gate ${gate.name} failed to decide about a job, which goes back`, cause), {
    _tag: "Later",
    millis: 1_000
  })

/** Asks the keyed gates about one claimed job; undefined when all admit it. @internal */
export const admit = (
  lane: Lane,
  run: Run
): Effect.Effect<{ readonly gate: string; readonly millis: number } | undefined> =>
  Effect.gen(function*() {
    for (const gate of lane.gates) {
      if (gate.admit === undefined) continue
      const admission = yield* Effect.catchCause(gate.admit(run), (cause) => undecided(gate, cause))
      if (admission._tag === "Later") return { gate: gate.name, millis: admission.millis }
      const held = admissions.get(run)
      if (held === undefined) admissions.set(run, [admission])
      else held.push(admission)
    }
    return undefined
  })

/** At the settlement, or when the job was lost: everything that the run held. @internal */
export const returnPermits = (worker: State, lane: Lane, run: Run): void => {
  if (lane.gates.length === 0) return
  const started = run.entered
  const held = admissions.get(run) ?? []
  const all = [
    ...lane.gates.filter((gate) => gate.acquire !== undefined).map((gate) => release(gate, 1, started)),
    ...held.map((admission) => admission.release(started))
  ]
  // one that dies keeps no other from getting its permits back
  const said = (cause: Cause.Cause<never>) => Effect.logError("a gate failed to take back its permits", cause)
  Effect.runForkWith(worker.context)(
    Effect.forEach(all, (effect) => Effect.catchCause(effect, said), { discard: true })
  )
}
