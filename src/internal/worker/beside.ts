/**
 * Calls beside each other. With batches that are smaller than the free slots a queue would be as slow as one round trip
 * after the other; where the engine answers several calls of a subscription at a time, the next is made without waiting for
 * the last. Each has its slots and permits before it goes, and what it brings is started by the loop. As soon as one finds
 * less than it asked for no other goes until all are back: whether anything is left, and so whether to wait for work, is
 * for a claim that is alone to say. Settlements wait for it too, and go with it: one after the other, each beside the last,
 * they would put it off for as long as jobs end.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Delivery } from "../../Backend.ts"
import { exchange } from "./exchange.ts"
import { answered } from "./gates.ts"
import { start } from "./start.ts"
import { type Ended, freed, type Lane, monotonic, type State } from "./state.ts"

/** @internal */
export interface Beside {
  readonly flights: Set<Flight>
  /** the last claim that came back found less than it asked for */
  dry: boolean
}

/** A call under way that the loop does not wait for. */
interface Flight {
  readonly fiber: Fiber.Fiber<ReadonlyArray<Delivery>>
  readonly room: number
  /** monotonic milliseconds at which it was asked for */
  readonly asked: number
}

/** @internal */
export const nothingBeside = (): Beside => ({ flights: new Set(), dry: true })

/** Whether another call may be made now. @internal */
export const mayCall = ({ beside, subscription }: Lane): boolean =>
  beside.flights.size === 0 || (!beside.dry && beside.flights.size < (subscription.exchanges ?? 1))

/**
 * Whether nobody waits for this call: it is as large as a batch may be, so that there may be more to say or to ask for; or
 * others are under way.
 *
 * @internal
 */
export const goesBeside = (worker: State, lane: Lane, ended: ReadonlyArray<Ended>, room: number): boolean => {
  const { ahead, beside, concurrency, subscription } = lane
  if (beside.flights.size > 0) return true
  if ((subscription.exchanges ?? 1) <= 1 || beside.dry || ahead.deliveries.length > 0) return false
  const { settleBatch, takeBatch } = worker.backend.limits
  return (room === takeBatch && takeBatch < concurrency) || (ended.length === settleBatch && settleBatch < concurrency)
}

/** Makes the call. @internal */
export const depart = (
  worker: State,
  lane: Lane,
  ended: ReadonlyArray<Ended>,
  room: number
): Effect.Effect<void> => {
  const asked = monotonic(worker)
  const call = Effect.forkChild(exchange(worker, lane, ended, room), { startImmediately: true, uninterruptible: true })
  return Effect.map(call, (fiber) => {
    lane.ahead.quick = 0
    lane.beside.flights.add({ fiber, room, asked })
    fiber.addObserver(() => lane.changed.openUnsafe())
  })
}

/** Starts what those brought that are back. @internal */
export const land = (worker: State, lane: Lane): Effect.Effect<void> =>
  Effect.gen(function*() {
    for (const flight of lane.beside.flights) {
      if (flight.fiber.pollUnsafe() === undefined) continue
      lane.beside.flights.delete(flight)
      const claimed = yield* Fiber.join(flight.fiber)
      // first of all: until they run their slots are reserved, and a lane that is woken by one that ends at once sees it; nor
      // does a gate that dies as it takes back what was not used take them with it
      for (const delivery of claimed) start(worker, lane, delivery, flight.asked)
      const unused = answered(worker, lane, flight.room, claimed.length)
      freed(worker)
      yield* unused
    }
  })
