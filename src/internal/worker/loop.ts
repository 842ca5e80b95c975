/**
 * The run loop of one queue, whole: gate -> claim -> run -> settle. What is over is settled in the same round trip that
 * claims what comes next.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { goesAhead, startClaimed } from "./ahead.ts"
import { exchange } from "./exchange.ts"
import { giveBack, permits } from "./gates.ts"
import { idle } from "./idle.ts"
import { changes, freed, type Lane, monotonic, type State } from "./state.ts"

const atOnce = { startImmediately: true, uninterruptible: true } as const

/** Ends when the worker is drained and everything that this lane claimed is settled. @internal */
export const loop = (worker: State, lane: Lane): Effect.Effect<void> =>
  Effect.gen(function*() {
    while (true) {
      lane.changed.closeUnsafe()
      const room = yield* permits(worker, lane) //                          capacity first: free slots, then the gates
      const ended = lane.ended.splice(0, worker.backend.limits.settleBatch)
      if (ended.length === 0 && room === 0) {
        if (startClaimed(worker, lane, true)) continue
        if (worker.draining && lane.live.size === 0 && lane.ended.length === 0 && lane.unsaid === 0) return
        yield* lane.changed.await
        continue
      }
      const asked = monotonic(worker) //                                    a lease may begin at any moment from here on
      const quietAt = worker.running === 0 && lane.ahead.deliveries.length === 0 ? changes(worker) : -1
      const call = yield* Effect.forkChild(exchange(worker, lane, ended, room), atOnce) // settle those, claim these
      const isNear = call.pollUnsafe() !== undefined
      const waited = startClaimed(worker, lane, true) //                    what the last round claimed ahead runs meanwhile
      const claimed = yield* Fiber.join(call)
      worker.reserved -= room
      worker.claimed += claimed.length
      lane.ahead.deliveries = claimed
      lane.ahead.asked = asked
      if (claimed.length < room) freed(worker)
      yield* giveBack(lane, room - claimed.length)
      if (claimed.length > 0 && !isNear && goesAhead(worker, lane, room)) continue
      startClaimed(worker, lane, waited)
      if (claimed.length > 0 || room === 0 || lane.ended.length > 0) yield* Effect.yieldNow
      else yield* idle(worker, lane, room, quietAt)
    }
  })
