/**
 * A worker without a queue: somebody else hands out the deliveries (an event of AWS Lambda, a CloudEvent over HTTP) and
 * settles them by its own answer. What happens to one delivery is what happens in a worker: observers, delivery point,
 * decode, run chain, outcome. What a subscription adds (claims, leases, gates, polling) is not there.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type { Delivery } from "../../Backend.ts"
import * as Middleware from "../../Middleware.ts"
import { type Outcome, toSettlement } from "../../Outcome.ts"
import type * as Task from "../../Task.ts"
import type * as TaskGroup from "../../TaskGroup.ts"
import type * as Worker from "../../Worker.ts"
import { deliver } from "./deliver.ts"
import type { Delivered } from "./delivered.ts"
import { logOutcome } from "./log.ts"
import { observed } from "./observe.ts"
import { settingsOf } from "./options.ts"
import { checkWorkerList, resolve } from "./resolve.ts"
import { Run } from "./run.ts"
import { around } from "./span.ts"
import { broken, contextOf } from "./start.ts"

/** What a worker's settings mean without a queue. @internal */
export interface Options<Ms extends ReadonlyArray<Middleware.ForWorker> = ReadonlyArray<Middleware.ForWorker>>
  extends Pick<Worker.Settings, "id" | "logJobs" | "poisonLimit" | "stuckAfter" | "unknownFor">
{
  readonly middleware?: (Middleware.FitsWorker<Ms> & Ms) | undefined
}

/** @internal */
export type Needs<Names extends string, Ms extends ReadonlyArray<unknown>> =
  | { readonly [N in Names]: Task.Handler<N> }[Names]
  | Middleware.RequiresOfWorker<Ms[number]>

/** What is particular to one hand-out. @internal */
export interface How {
  /** when its time is over, milliseconds since the epoch: part of what `Job.remaining` says; `over` has to hold it */
  readonly until?: number | undefined
  /** when this returns the run is cut short, as by a shutdown; a job that was not begun by then is not begun */
  readonly over?: Effect.Effect<void> | undefined
  /** what a job's `worker.stop` asks for */
  readonly stop?: Effect.Effect<void> | undefined
  /** services of this hand-out, for its middleware and its handler */
  readonly services?: Context.Context<never> | undefined
  /** found wrong by the source: it passes the delivery point, where observers see it, and ends so without a look at it */
  readonly refused?: Outcome | undefined
}

/** @internal */
export interface Direct {
  readonly id: string
  /**
   * Runs one delivery and says what it came to; never fails. Interrupting it interrupts the handler's body, and waits
   * until the chain has unwound. A chain that is still open after its `runTimeout`, or `stuckAfter` after it was cut
   * short, is given up: it counts as lost, whatever it comes to.
   */
  readonly deliver: (delivery: Delivery, how?: How) => Effect.Effect<Delivered>
}

const notBegun: Outcome = { _tag: "Released", why: "released", after: 0, reason: "its time was over before it began" }
const lost: Outcome = { _tag: "Interrupted", by: "lost", then: "requeue", after: 0 }
const settled = (outcome: Outcome): Delivered => ({ outcome, settlement: toSettlement(outcome) })

const noProgress = () => Effect.die(new Error("a job that came without a queue backend has no place for its progress"))

/** @internal */
export const make = <Names extends string, Ms extends ReadonlyArray<Middleware.ForWorker>>(
  group: TaskGroup.TaskGroup<Names>,
  options: Options<Ms>,
  invalid: (message: string) => Worker.InvalidWorker
): Effect.Effect<Direct, Task.InvalidTask | Worker.InvalidWorker, Needs<Names, Ms>> =>
  Effect.gen(function*() {
    const context = Context.omit(Scope.Scope)(yield* Effect.context<never>()) as Context.Context<never>
    const clock = yield* Clock.Clock
    const list: ReadonlyArray<Middleware.ForWorker> = options.middleware ?? []
    const { middleware: _, ...own } = options
    const settings = settingsOf(group, own, clock.currentTimeMillisUnsafe())
    const wrong = checkWorkerList(list)
    if (wrong !== undefined) return yield* invalid(wrong)
    const tasks = yield* resolve(group, list, context)
    const point = observed(
      list.filter(Middleware.isObserver),
      context,
      settings.id,
      settings.observerLimit,
      deliver({
        tasks,
        wraps: list.filter(Middleware.isDelivery).map((m) => m.wrap as Middleware.DeliveryWrap),
        limits: settings,
        around: around(context),
        onEnter: () => {}
      })
    )

    /** starts the run; the deferred is done when it is over, or given up */
    const start = (delivery: Delivery, how: How): Started => {
      const handle = { id: settings.id, stop: how.stop ?? Effect.void }
      const run = new Run(delivery, clock.currentTimeMillisUnsafe(), handle, noProgress)
      run.until = how.until
      run.refused = how.refused
      const task = tasks.get(delivery.envelope.task)
      run.resolved = task
      const base = task?.context ?? context
      const services = how.services === undefined ? base : Context.merge(base, how.services)
      const done = Deferred.makeUnsafe<Delivered>()
      const timers: Array<Fiber.Fiber<unknown>> = []
      const after = (wait: Effect.Effect<void>, then: () => void) => {
        timers.push(Effect.runForkWith(context)(Effect.andThen(wait, Effect.sync(then))))
      }
      const finish = (delivered: Delivered) => {
        if (!Deferred.doneUnsafe(done, Effect.succeed(delivered))) return
        for (const timer of timers) timer.interruptUnsafe()
      }
      const giveUp = (why: string) => {
        if (Deferred.isDoneUnsafe(done)) return
        run.stuck = true
        // first: what the interruption ends at once must not be its answer
        finish(settled(lost))
        run.stop("lost")
        Effect.runForkWith(context)(
          Effect.ignoreCause(
            Effect.logError(`job stuck: ${why}; it is given up`).pipe(
              Effect.annotateLogs({ job: run.id, task: run.task, attempt: run.attempt, queue: run.queue })
            )
          )
        )
      }
      let stopped = false
      const stop = () => {
        if (stopped || Deferred.isDoneUnsafe(done)) return
        stopped = true
        run.stop("shutdown")
        after(
          Effect.sleep(settings.stuckAfter),
          () => giveUp(`its chain is open ${settings.stuckAfter} ms after it was cut short`)
        )
      }
      const fiber = Effect.runForkWith(contextOf(services, run, task?.task._tag))(
        Effect.withFiber((fiber) => point(fiber, run)),
        { uninterruptible: true }
      )
      const end = (exit: Exit.Exit<Delivered, never>) => finish(Exit.isSuccess(exit) ? exit.value : broken(run, exit))
      const exit = fiber.pollUnsafe()
      if (exit !== undefined) {
        end(exit)
      } else {
        run.root = fiber
        if (run.asked) fiber.interruptUnsafe() // asked for within its first synchronous stretch
        fiber.addObserver(end)
        if (how.over !== undefined) after(how.over, stop)
        const limit = task?.runTimeout
        if (limit !== undefined) {
          after(Effect.sleep(limit), () => giveUp(`its chain is open after its runTimeout of ${limit} ms`))
        }
      }
      return { run, done, stop }
    }

    return {
      id: settings.id,
      deliver: (delivery, how = {}) =>
        Effect.uninterruptibleMask((restore) =>
          Effect.suspend(() => {
            if (how.until !== undefined && how.until <= clock.currentTimeMillisUnsafe()) {
              return Effect.succeed(settled(notBegun))
            }
            const { done, run, stop } = start(delivery, how)
            const ended = Effect.onInterrupt(
              restore(Deferred.await(done)),
              () => Effect.asVoid(Effect.andThen(Effect.sync(stop), Deferred.await(done)))
            )
            if (!settings.logJobs) return ended
            return Effect.tap(ended, ({ outcome }) => {
              const log = logOutcome(run, outcome)
              // a logger that dies must not change what became of the job
              return log === undefined ? Effect.void : Effect.ignoreCause(log)
            })
          })
        )
    }
  })

interface Started {
  readonly run: Run
  readonly done: Deferred.Deferred<Delivered>
  readonly stop: () => void
}
