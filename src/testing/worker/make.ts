/**
 * The worker under test: the production worker behind a valve, started with the layer and again after a job stopped it.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { Backend, type BackendError } from "../../Backend.ts"
import * as Capability from "../../Capability.ts"
import type { Gate } from "../../Gate.ts"
import { CurrentDefaults } from "../../internal/worker/defaults.ts"
import { queueOf } from "../../internal/worker/resolve.ts"
import type * as Task from "../../Task.ts"
import type * as TaskGroup from "../../TaskGroup.ts"
import * as Worker from "../../Worker.ts"
import { NotRun, type Ran } from "./ran.ts"
import { Records, type Stored } from "./records.ts"
import { Valve } from "./valve.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Shape {
  /** one certain job, before all others */
  readonly job: (id: string) => Effect.Effect<Ran, NotRun>
  readonly next: Effect.Effect<Ran | undefined>
  readonly drain: Effect.Effect<ReadonlyArray<Ran>>
  readonly adjust: (duration: Duration.Input) => Effect.Effect<ReadonlyArray<Ran>>
  readonly stored: Effect.Effect<ReadonlyArray<Stored>>
  readonly ran: Effect.Effect<ReadonlyArray<Ran>>
  /** ids of jobs of which one hand-out was settled twice */
  readonly settledTwice: Effect.Effect<ReadonlyArray<string>>
  readonly clear: Effect.Effect<void>
}

type Options = Omit<Worker.Options, "mode" | "pollInterval">

export const make = Effect.fnUntraced(function*(group: TaskGroup.TaskGroup<string>, options: Options) {
  const base = yield* Backend
  const inspect = yield* Capability.Inspect
  const cancel = yield* Capability.Cancel
  const deadLetter = yield* Capability.DeadLetter
  const records = yield* Records
  const scope = yield* Effect.scope
  const context = yield* Effect.context<Backend>()
  const valve = new Valve()
  const { context: theirs, middleware: listed } = Context.get(context, CurrentDefaults)
  const production = Worker.layer(group, {
    concurrency: 1,
    ...options,
    middleware: [valve.observer, ...(options.middleware ?? listed ?? [])],
    gates: gatesOf(group, options, valve.gate)
  }) as Layer.Layer<Worker.Worker, BackendError | Task.InvalidTask | Worker.InvalidWorker, Backend>

  const services = options.middleware === undefined && theirs !== undefined ? Context.merge(theirs, context) : context
  let worker: Worker.Worker["Service"] | undefined
  const start = Effect.gen(function*() {
    valve.reset()
    const own = yield* Scope.fork(scope)
    const started = Context.get(
      yield* Layer.buildWithScope(production, own).pipe(
        Effect.provideContext(Context.add(services, Backend, valve.backend(base)))
      ),
      Worker.Worker
    )
    // a test that ends does not wait for handlers that sleep: its clock has stopped
    yield* Scope.addFinalizer(own, started.interrupt)
    yield* Effect.forkIn(Effect.andThen(started.await, Effect.sync(() => valve.end())), own)
    worker = started
  })
  /** a job may have stopped the worker: the next call starts another, as a supervisor would */
  const use = <A>(effect: Effect.Effect<A>): Effect.Effect<A> =>
    Effect.gen(function*() {
      if (valve.ended) yield* Effect.orDie(start)
      const value = yield* effect
      const report = valve.ended ? yield* worker!.await : undefined
      if (report?.failure !== undefined) return yield* Effect.die(Cause.squash(report.failure))
      return value
    })
  const during = (effect: Effect.Effect<unknown>) =>
    use(Effect.suspend(() => {
      const from = valve.ran.length
      return Effect.map(effect, (): ReadonlyArray<Ran> => valve.ran.slice(from))
    }))

  yield* start
  return {
    job: (id) =>
      Effect.gen(function*() {
        const found = Option.getOrUndefined(yield* Effect.orDie(inspect.get(id)))
        const cannot = whyNot(found, valve)
        if (cannot !== undefined) return yield* new NotRun({ id, message: `job ${id} was not run: ${cannot}` })
        const ran = yield* during(valve.one({ id, queue: found!.queue }))
        const own = ran.findLast((one) => one.id === id)
        return own ?? (yield* new NotRun({ id, message: `job ${id} was not run: queue ${found!.queue} is paused` }))
      }),
    next: Effect.suspend(() => {
      const from = valve.ran.length
      return Effect.map(use(valve.one(undefined)), (id) => valve.ran.slice(from).find((one) => one.id === id))
    }),
    drain: during(valve.opened(valve.idle)),
    adjust: (duration) =>
      during(valve.opened(Effect.gen(function*() {
        yield* quiet(valve)
        yield* TestClock.adjust(duration)
        yield* quiet(valve)
      }))),
    stored: Effect.sync(() => records.stored.slice()),
    ran: Effect.sync(() => valve.ran.slice()),
    settledTwice: Effect.sync(() => valve.settledTwice.slice()),
    clear: Effect.gen(function*() {
      for (const queue of yield* inspect.queues) {
        const waiting = yield* Stream.runCollect(inspect.list({ queue, states: ["ready", "scheduled", "blocked"] }))
        for (const job of waiting) yield* cancel.request(job.envelope.id)
        yield* deadLetter.purge(queue)
      }
      records.stored.length = 0
      valve.ran = []
    }).pipe(Effect.orDie)
  } satisfies Shape
})

/** The valve's gate first in every queue. */
const gatesOf = (group: TaskGroup.TaskGroup<string>, options: Options, own: Gate): Worker.Options["gates"] => {
  const { gates, queues } = options
  if (gates === undefined) return [own]
  if (Array.isArray(gates)) return [own, ...gates]
  const names = queues === undefined ? group.tasks.map(queueOf) : Array.isArray(queues) ? queues : Object.keys(queues)
  const each = gates as Readonly<Record<string, ReadonlyArray<Gate<any>>>>
  return Object.fromEntries(names.map((name: string) => [name, [own, ...(each[name] ?? [])]]))
}

const whyNot = (job: Capability.JobRecord | undefined, valve: Valve): string | undefined => {
  if (job === undefined) return "it is not in the queue (a middleware of the enqueue point dropped it?)"
  if (!valve.hasQueue(job.queue)) return `this worker does not work on queue ${job.queue}`
  switch (job.state) {
    case "ready":
      return undefined
    case "scheduled":
      return `it is due at ${new Date(job.dueAt ?? 0).toISOString()}: let time pass with TestWorker.adjust`
    case "blocked":
      return `another job of its group ${job.group} is before it`
    default:
      return `it is ${job.state}`
  }
}

/** Until the worker has nothing to do but wait: for jobs, or for handlers that sleep. */
const quiet = (valve: Valve): Effect.Effect<void> =>
  Effect.raceFirst(
    valve.idle,
    Effect.gen(function*() {
      for (let still = 0, seen = valve.activity; still < 100; still++) {
        yield* Effect.yieldNow
        if (valve.activity !== seen) {
          seen = valve.activity
          still = 0
        }
      }
    })
  )
