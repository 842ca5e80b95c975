/** Starting a worker's fibers, watching over them, and the phases of its end: stop claiming, drain, interrupt, settle. */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import { aborts, heartbeat } from "./heartbeat.ts"
import { loop } from "./loop.ts"
import { type State, wakeAll } from "./state.ts"
import { declareStuck } from "./stuck.ts"

/** Forks everything; the worker is over when `state.ended` is done. @internal */
export const run = (state: State): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function*() {
    const sides = yield* FiberSet.make<void>()
    const queues = state.lanes.map((lane) => lane.queue).join(", ")
    yield* Effect.logInfo(`worker ${state.id} starts on ${queues}, ${state.settings.concurrency} jobs at once`)
    for (const lane of state.lanes) {
      yield* FiberSet.run(sides, watched(state, `heartbeat of queue ${lane.queue}`, heartbeat(state, lane)))
      yield* FiberSet.run(sides, watched(state, `abort listener of queue ${lane.queue}`, aborts(lane)))
    }
    for (const { name, run } of state.crons) {
      yield* FiberSet.run(sides, watched(state, `cron ${name}`, Effect.raceFirst(run, state.stopping.await)))
    }
    const loops = state.lanes.map((lane) => {
      const watchedLoop = watched(state, `run loop of queue ${lane.queue}`, loop(state, lane))
      // what a loop that failed left open is still waited for and settled, by one that claims nothing and asks no gate
      return Effect.runForkWith(state.context)(Effect.andThen(watchedLoop, watchedLoop), { uninterruptible: true })
    })
    const phases = Effect.runForkWith(state.context)(shutdown(state), { uninterruptible: true })
    const over = Effect.gen(function*() {
      for (const fiber of loops) yield* awaitFiber(fiber)
      state.draining = true
      phases.interruptUnsafe()
      yield* say(`worker ${state.id} is over after ${state.claimed} jobs`)
      yield* Deferred.succeed(state.ended, undefined)
    })
    Effect.runForkWith(state.context)(over, { uninterruptible: true })
  })

/** A logger that dies (its pipe is closed) must not keep a worker from ending. */
const say = (line: string): Effect.Effect<void> => Effect.ignoreCause(Effect.logInfo(line))

const awaitFiber = (fiber: Fiber.Fiber<unknown>): Effect.Effect<void> =>
  Effect.callback((resume) => {
    fiber.addObserver(() => resume(Effect.void))
  })

/** A fiber of the worker that fails stops the worker, loudly: a worker without its heartbeat is a zombie. */
const watched = (state: State, name: string, effect: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.catchCause(effect, (cause) => {
    if (Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause)
    state.failure ??= cause
    state.draining = true
    state.stopping.openUnsafe()
    wakeAll(state)
    return Effect.ignoreCause(Effect.logFatal(`the ${name} failed; worker ${state.id} stops`, cause))
  })

/** The phases after somebody asked for a stop. */
const shutdown = (state: State): Effect.Effect<void> =>
  Effect.gen(function*() {
    yield* Effect.interruptible(state.stopping.await)
    state.draining = true
    wakeAll(state)
    const open = () => state.lanes.reduce((n, lane) => n + lane.live.size, 0)
    yield* say(`worker ${state.id} drains ${open()} running jobs for up to ${state.settings.grace} ms`)
    yield* Effect.interruptible(Effect.raceFirst(Effect.sleep(state.settings.grace), state.hurry.await))
    for (const lane of state.lanes) {
      for (const job of lane.live) job.stop("shutdown")
    }
    yield* say(`worker ${state.id} interrupts ${open()} running jobs`)
    yield* Effect.interruptible(Effect.sleep(state.settings.stuckAfter))
    for (const lane of state.lanes) {
      for (const job of lane.live) {
        declareStuck(
          state,
          lane,
          job,
          `its chain is open ${state.settings.stuckAfter} ms after the shutdown interrupted it`
        )
      }
    }
  })
