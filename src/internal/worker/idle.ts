/** A lane with room and nothing to run: it waits for work, for its own jobs to end, or for the worker to stop. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { backOff } from "./call.ts"
import { changes, type Lane, type State, wakeAll } from "./state.ts"

/** `quietAt`: {@link changes} of the worker when this lane asked for work, -1 if one of them ran. @internal */
export const idle = (worker: State, lane: Lane, room: number, quietAt: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (lane.failures > 0) return Effect.raceFirst(Effect.sleep(backOff(lane.failures)), worker.stopping.await)
    if (worker.settings.drain && worker.running === 0) {
      // what ran while the claim was on its way may have enqueued here after it looked
      if (quietAt !== changes(worker) || drained(worker, lane)) return Effect.void
    }
    const work = Effect.catch(lane.subscription.await(room), (error) =>
      Effect.andThen(
        Effect.logWarning(`waiting for jobs of queue ${lane.queue} failed`, error),
        Effect.sleep(backOff(++lane.failures))
      ))
    // the poll is the floor under every hint: a missed wake-up costs at most this long
    const woken = lane.poll === undefined ? work : Effect.raceFirst(work, Effect.sleep(lane.poll))
    lane.waiting = true
    // no race, which forks both of its sides and interrupts one of them while a job waits already
    return Effect.flatMap(Effect.forkChild(woken, { startImmediately: true }), (waiter) => {
      waiter.addObserver(() => lane.changed.openUnsafe())
      return Effect.ensuring(
        lane.changed.await,
        Effect.suspend(() => {
          lane.waiting = false
          return waiter.pollUnsafe() ?? Fiber.interrupt(waiter)
        })
      )
    })
  })

/**
 * Drain mode ends when every lane found its queue empty since the last job was claimed or moved anywhere: a job may enqueue
 * into another lane's queue, or go there itself.
 */
const drained = (worker: State, lane: Lane): boolean => {
  const first = lane.emptyAt !== changes(worker)
  lane.emptyAt = changes(worker)
  const all = worker.lanes.every((other) =>
    other.emptyAt === changes(worker) && other.ended.length === 0 && other.unsaid === 0 &&
    other.beside.flights.size === 0
  )
  if (all) {
    worker.draining = true
    wakeAll(worker)
  } else if (first) {
    wakeAll(worker)
  }
  return all
}
