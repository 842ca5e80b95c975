/** Putting a worker together: resolve the tasks, subscribe to the queues, start the fibers, and the handle to all that. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import { Backend, type BackendError } from "../../Backend.ts"
import { Inspect } from "../../Capability.ts"
import { prepare } from "../../Cron.ts"
import type { Gate } from "../../Gate.ts"
import * as Middleware from "../../Middleware.ts"
import type { InvalidTask } from "../../Task.ts"
import type * as TaskGroup from "../../TaskGroup.ts"
import type * as Worker from "../../Worker.ts"
import { run as runCron } from "../cron/run.ts"
import { continued } from "../graph/advance.ts"
import { none } from "./ahead.ts"
import { nothingBeside } from "./beside.ts"
import { over } from "./defaults.ts"
import { deliver } from "./deliver.ts"
import { emit, stream } from "./events.ts"
import { admit } from "./gates.ts"
import { run } from "./lifecycle.ts"
import { observed } from "./observe.ts"
import { settingsOf, wrongSettings } from "./options.ts"
import { checkWorkerList, resolve } from "./resolve.ts"
import type { Run } from "./run.ts"
import { Runs } from "./runs.ts"
import { around } from "./span.ts"
import { unbegun } from "./start.ts"
import { type Lane, monotonic, type State, wakeAll } from "./state.ts"

/** @internal */
export const make = (
  group: TaskGroup.TaskGroup<string>,
  own: Worker.Options,
  invalid: (message: string) => Worker.InvalidWorker
): Effect.Effect<
  Worker.Worker["Service"],
  BackendError | InvalidTask | Worker.InvalidWorker,
  Backend | Scope.Scope
> =>
  Effect.gen(function*() {
    const { context, options } = over(
      own,
      Context.omit(Scope.Scope)(yield* Effect.context<Backend>()) as Context.Context<never>
    )
    const backend = yield* Backend
    const clock = yield* Clock.Clock
    const list = options.middleware ?? []
    const settings = settingsOf(group, options, clock.currentTimeMillisUnsafe())
    const wrong = checkWorkerList(list) ?? wrongSettings(settings, options.queues)
    if (wrong !== undefined) return yield* invalid(wrong)
    const tasks = yield* resolve(group, list, context)
    const plans = yield* Effect.mapError(prepare(options.crons ?? []), ({ message }) => invalid(message))

    const state: State = {
      id: settings.id,
      settings,
      backend,
      clock,
      context,
      tasks,
      lanes: [],
      crons: plans.map((plan) => ({
        name: plan.name,
        // the worker's needs name what its entries need
        run: Effect.orDie(Effect.provideContext(runCron(plan), context as Context.Context<any>))
      })),
      handle: { id: settings.id, stop: Effect.suspend(() => request) },
      deliver: (fiber, run) => hand(fiber, run),
      progressTo: (receipt, value) => {
        const inspect = Context.getOrUndefined(context as Context.Context<Inspect>, Inspect)
        return inspect === undefined
          ? Effect.die(new Error(`${backend.name} has no Inspect: progress cannot be stored`))
          : Effect.asVoid(inspect.progress(receipt, value))
      },
      running: 0,
      reserved: 0,
      tickets: 0,
      draining: false,
      claimed: 0,
      moved: 0,
      counts: {
        Succeeded: 0,
        Discarded: 0,
        Retried: 0,
        Snoozed: 0,
        Interrupted: 0,
        Aborted: 0,
        Released: 0,
        Dead: 0,
        Lost: 0,
        Stuck: 0
      },
      listeners: new Set(),
      hurry: Latch.makeUnsafe(false),
      stopping: Latch.makeUnsafe(false),
      failure: undefined,
      ended: Deferred.makeUnsafe()
    }
    const request = Effect.sync(() => {
      state.draining = true
      state.stopping.openUnsafe()
      wakeAll(state)
    })
    const keyed = Array.from(settings.queues.keys()).some((queue) =>
      gatesOf(options.gates, queue).some((gate) => gate.admit !== undefined)
    )
    const hand = point(state, list, keyed)

    for (const [queue, concurrency] of settings.queues) {
      yield* backend.declare(queue)
      const subscription = yield* backend.subscribe(queue, { worker: state.id, thorough: settings.drain })
      state.lanes.push({
        queue,
        concurrency,
        gates: gatesOf(options.gates, queue).map((gate) => provided(gate, context)),
        subscription,
        live: new Runs("livePlace"),
        held: new Runs("heldPlace"),
        ahead: none(),
        beside: nothingBeside(),
        reserved: 0,
        ended: [],
        unsaid: 0,
        changed: Latch.makeUnsafe(false),
        holding: Latch.makeUnsafe(false),
        poll: options.pollInterval === undefined ? subscription.pollMillis : settings.pollInterval,
        waiting: false,
        gated: false,
        ticket: undefined,
        failures: 0,
        claimedAt: monotonic(state),
        emptyAt: -1
      })
    }
    yield* run(state)
    const ended = Effect.map(Deferred.await(state.ended), () => report(state))
    const stop = Effect.andThen(request, ended)
    yield* Effect.addFinalizer(() => stop)
    return {
      id: state.id,
      stop,
      interrupt: Effect.andThen(Effect.sync(() => state.hurry.openUnsafe()), stop),
      await: ended,
      health: health(state),
      events: stream(state)
    }
  })

/** Gates that know the job, observers, what comes after it in its graph, delivery middleware, then the chain of its task. */
const point = (state: State, list: ReadonlyArray<Middleware.ForWorker>, keyed: boolean): State["deliver"] => {
  const inner = observed(
    list.filter(Middleware.isObserver),
    state.context,
    state.id,
    state.settings.observerLimit,
    continued(
      state.context,
      deliver({
        tasks: state.tasks,
        wraps: list.filter(Middleware.isDelivery).map((m) => m.wrap as Middleware.DeliveryWrap),
        limits: state.settings,
        around: around(state.context),
        onEnter: (run) => emit(state, "Started", run)
      })
    )
  )
  if (!keyed) return inner
  const laneOf = (run: Run) => state.lanes.find((lane) => lane.queue === run.queue)!
  return (fiber, run) => {
    const lane = laneOf(run)
    return Effect.flatMap(admit(lane, run), (later) => {
      if (later === undefined) return inner(fiber, run)
      return Effect.succeed(unbegun(later.millis, `gate ${later.gate}`))
    })
  }
}

const gatesOf = (gates: Worker.Options["gates"], queue: string): ReadonlyArray<Gate<any>> =>
  gates === undefined
    ? []
    : Array.isArray(gates)
    ? gates
    : (gates as Record<string, ReadonlyArray<Gate<any>>>)[queue] ?? []

/** A gate runs outside of any job, with the worker's services. */
const provided = (gate: Gate<any>, context: Context.Context<never>): Gate => {
  const { acquire, admit, name, release } = gate
  const provide = <A>(effect: Effect.Effect<A, never, any>): Effect.Effect<A> =>
    Effect.provideContext(effect as Effect.Effect<A>, context)
  return {
    name,
    acquire: acquire === undefined ? undefined : (max) => provide(acquire(max)),
    release: release === undefined ? undefined : (count, started) => provide(release(count, started)),
    admit: admit === undefined ? undefined : (job) => provide(admit(job))
  }
}

const report = (state: State): Worker.Report => {
  const { counts } = state
  return {
    worker: state.id,
    claimed: state.claimed,
    succeeded: counts.Succeeded,
    discarded: counts.Discarded,
    retried: counts.Retried,
    snoozed: counts.Snoozed,
    dead: counts.Dead,
    aborted: counts.Aborted,
    interrupted: counts.Interrupted,
    released: counts.Released,
    lost: counts.Lost,
    stuck: counts.Stuck,
    failure: state.failure
  }
}

/**
 * An idle lane looks again at least every `poll`; one that has not for three of them is stuck, unless it is full. Where
 * hints are exact a lane may wait for as long as nothing comes, and everywhere for as long as a gate is closed.
 */
const health = (state: State): Effect.Effect<Worker.Health> =>
  Effect.gen(function*() {
    const now = monotonic(state)
    const over = yield* Deferred.isDone(state.ended)
    const queues = state.lanes.map((lane: Lane) => ({
      queue: lane.queue,
      running: lane.live.size,
      concurrency: lane.concurrency,
      claimedAgo: now - lane.claimedAt,
      failures: lane.failures
    }))
    const inTime = (lane: Lane) =>
      lane.gated || (lane.poll === undefined
        ? lane.waiting || now - lane.claimedAt < 3 * state.settings.callTimeout
        : now - lane.claimedAt < 3 * lane.poll + state.settings.callTimeout)
    const full = state.running >= state.settings.concurrency
    const live = !over && state.failure === undefined &&
      state.lanes.every((lane) => inTime(lane) || full || lane.live.size >= lane.concurrency || state.draining)
    const answers = yield* Effect.exit(Effect.timeout(state.backend.ping, state.settings.callTimeout))
    return {
      live,
      ready: live && !state.draining && Exit.isSuccess(answers),
      stopping: state.draining,
      running: state.running,
      queues
    }
  })
