/**
 * The run loop of one queue, whole: gate -> claim -> run -> settle. What is over is settled in the same round trip that
 * claims what comes next.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { asks, goesAhead, startClaimed } from "./ahead.ts"
import { depart, goesBeside, land, mayCall } from "./beside.ts"
import { exchange } from "./exchange.ts"
import { answered, permits } from "./gates.ts"
import { idle } from "./idle.ts"
import { changes, type Lane, monotonic, type State } from "./state.ts"

const atOnce = { startImmediately: true, uninterruptible: true } as const

/** Ends when the worker is drained and everything that this lane claimed is settled. @internal */
export const loop = (worker: State, lane: Lane): Effect.Effect<void> =>
  Effect.gen(function*() {
    while (true) {
      lane.changed.closeUnsafe()
      if (lane.beside.flights.size > 0) yield* land(worker, lane)
      const may = mayCall(lane)
      const room = may ? yield* permits(worker, lane) : 0 //                capacity first: free slots, then the gates
      const ended = may ? lane.ended.splice(0, worker.backend.limits.settleBatch) : []
      if (ended.length === 0 && room === 0) {
        if (startClaimed(worker, lane, "started") !== "nothing") continue
        if (worker.draining && isOver(lane)) return
        yield* lane.changed.await
        continue
      }
      if (goesBeside(worker, lane, ended, room)) { //                       batches are small: others go beside this one
        yield* depart(worker, lane, ended, room)
        continue
      }
      const asked = monotonic(worker) //                                    a lease may begin at any moment from here on
      const quietAt = worker.running === 0 && lane.ahead.deliveries.length === 0 ? changes(worker) : -1
      const call = yield* Effect.forkChild(exchange(worker, lane, ended, asks(worker, lane, room)), atOnce) // settle those, claim these
      const isNear = call.pollUnsafe() !== undefined
      if (!isNear && lane.ahead.deliveries.length > 0) yield* Effect.yieldNow // a client that gathers what it sends sends it now
      const before = startClaimed(worker, lane, "started") //               what the last round claimed ahead runs meanwhile
      const claimed = yield* Fiber.join(call)
      lane.ahead.deliveries = claimed
      lane.ahead.asked = asked
      lane.ahead.room = room
      yield* answered(worker, lane, room, claimed.length)
      if (claimed.length > 0 && !isNear && goesAhead(worker, lane)) continue
      startClaimed(worker, lane, before)
      if (claimed.length > 0 || room === 0 || lane.ended.length > 0) yield* Effect.yieldNow
      else yield* idle(worker, lane, room, quietAt)
    }
  })

const isOver = (lane: Lane): boolean =>
  lane.live.size === 0 && lane.ended.length === 0 && lane.unsaid === 0 && lane.beside.flights.size === 0
