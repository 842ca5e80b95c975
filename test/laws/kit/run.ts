/**
 * Runs a case through a real worker on a real backend, under `TestClock`: one job, from its enqueue to its end, over as
 * many deliveries and workers as it takes.
 */
import { Clock, Context, Effect, Exit, Fiber, Layer, Option, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Backend, type Delivery, type Settlement } from "windlass/Backend"
import * as Capability from "windlass/Capability"
import * as Worker from "windlass/Worker"
import { build, type Writing } from "./build.ts"
import { ended as over } from "./end.ts"
import { nameOf } from "./exits.ts"
import type { Case } from "./spec.ts"
import { recording, type Submitted, World } from "./world.ts"

export interface Observation {
  readonly trace: ReadonlyArray<string>
  /** for every event of the trace, milliseconds on the clock */
  readonly times: ReadonlyArray<number>
  readonly taken: ReadonlyArray<Delivery>
  readonly submitted: ReadonlyArray<Submitted>
  /** what `execute` yielded */
  readonly result: string
  /** of every worker that took part */
  readonly reports: ReadonlyArray<Worker.Report>
  readonly events: ReadonlyArray<Worker.Event>
  readonly record: Capability.JobRecord
  /** the trace's length when the thing from outside happened */
  readonly struckAt: number | undefined
  readonly names: ReadonlyArray<string>
  readonly described: ReadonlyArray<string>
}

export type Services = Backend | Capability.AllButTransactional

const giveBack: Settlement = {
  _tag: "Retry",
  why: "released",
  after: 0,
  attempt: "kept",
  place: "front",
  error: undefined
}

export const queue = "laws"

/** the queue is a new one for every case, so that many of them may share an engine */
export const run = (spec: Case, name: string, writing?: Writing): Effect.Effect<Observation, never, Services> =>
  Effect.scoped(
    Effect.gen(function*() {
      const backend = yield* Backend
      const cancel = yield* Capability.Cancel
      const inspect = yield* Capability.Inspect
      const clock = yield* Clock.clockWith(Effect.succeed)
      const world = new World(spec, () => clock.currentTimeMillisUnsafe())
      const built = build(world, name, writing)
      yield* backend.declare(name)
      const thief = yield* backend.subscribe(name, { worker: "thief" })
      const reports: Array<Worker.Report> = []
      const events: Array<Worker.Event> = []

      // somebody else takes the job away from its owner, who learns it from the next renewal at the earliest
      let loot: Delivery | undefined
      const steal = Effect.gen(function*() {
        yield* thief.settle([[world.taken.at(-1)!.receipt, giveBack]])
        loot = (yield* thief.take(1))[0]
      })
      const giveUp = Effect.suspend(() => {
        world.note("lost")
        return loot === undefined ? Effect.void : thief.settle([[loot.receipt, giveBack]])
      })

      const layer = Worker.layer({ tasks: [built.task] } as never, {
        middleware: built.middleware,
        concurrency: writing?.concurrency ?? 1,
        shutdownGrace: "1 day",
        stuckAfter: "10 days",
        id: "worker"
      }).pipe(
        Layer.provide(built.live),
        Layer.provide(Layer.succeed(Backend, recording(backend, world)))
      ) as Layer.Layer<Worker.Worker, unknown>

      const execute = Effect.provideService(Effect.exit(built.task.execute({ value: "p" })), Backend, backend)
      let result: Fiber.Fiber<Exit.Exit<string, unknown>, unknown> | undefined

      while (!world.over) {
        if (reports.length > 3) throw new Error(`the job did not end:\n${world.trace.join("\n")}`)
        const scope = yield* Scope.make()
        const worker = Context.get(yield* Layer.buildWithScope(layer, scope).pipe(Effect.orDie), Worker.Worker)
        yield* Effect.forkIn(
          Stream.runForEach(worker.events, (event) => {
            events.push(event)
            return event._tag === "Lost" ? Effect.orDie(giveUp) : Effect.void
          }),
          scope,
          { startImmediately: true }
        )
        const ended = yield* Effect.forkIn(worker.await, scope, { startImmediately: true })
        world.strike = strike(
          spec,
          Effect.suspend(() => cancel.request(world.taken[0]!.envelope.id)),
          worker.interrupt,
          steal
        )
        // after all else is ready: a job may run at once
        result ??= yield* Effect.forkChild(execute, { startImmediately: true })
        for (let n = 0; n < 60 && !world.over && ended.pollUnsafe() === undefined; n++) {
          // what was woken by the clock the clock waits for; what began by itself it does not
          yield* world.quiet
          yield* TestClock.adjust("30 seconds")
        }
        reports.push(yield* over(worker.stop))
        yield* Scope.close(scope, Exit.void)
      }
      const record = Option.getOrThrow(yield* inspect.get(world.taken[0]!.envelope.id))
      return {
        trace: world.trace,
        times: world.times,
        taken: world.taken,
        submitted: world.submitted,
        result: resultOf(yield* Fiber.join(result!)),
        reports,
        events,
        record,
        struckAt: world.struckAt,
        names: built.names,
        described: Worker.describe({ tasks: [built.task] } as never, { middleware: built.middleware })[0]!.chain.map((
          e
        ) => e.name)
      }
    }).pipe(Effect.orDie)
  )

const strike = (
  spec: Case,
  abort: Effect.Effect<unknown, unknown>,
  interrupt: Effect.Effect<unknown>,
  steal: Effect.Effect<unknown, unknown>
): Effect.Effect<void> => {
  switch (spec.stimulus.what) {
    case "none":
      return Effect.void
    case "abort":
      return Effect.asVoid(Effect.orDie(abort))
    case "shutdown":
      // it waits for the end of the job that asks for it
      return Effect.asVoid(Effect.forkDetach(interrupt, { startImmediately: true }))
    case "lost":
      return Effect.asVoid(Effect.orDie(steal))
  }
}

const resultOf = (exit: Exit.Exit<string, unknown>): string => {
  if (Exit.isSuccess(exit)) return `ok ${exit.value}`
  const error = exit.cause.reasons[0]
  if (error?._tag !== "Fail") return `unexpected ${error?._tag}`
  const { _tag, reason } = error.error as { readonly _tag: string; readonly reason?: string }
  switch (_tag) {
    case "windlass/Discarded":
      return "Discarded"
    case "windlass/Aborted":
      return "Aborted"
    case "windlass/Dead":
      return `Dead:${reason}`
    default:
      return `F:${nameOf(error.error)}`
  }
}
