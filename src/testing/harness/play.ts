/**
 * One hand-out through the worker's own pipeline (observers, delivery point, decoding, chain, body, outcome) with a
 * played handler. Nothing of the pipeline is written again here, so what a harness shows is what production does.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import type { Delivery, Settlement } from "../../Backend.ts"
import { toStored } from "../../internal/codecs.ts"
import { body } from "../../internal/worker/body.ts"
import { compose, type Named } from "../../internal/worker/chain.ts"
import { deliver } from "../../internal/worker/deliver.ts"
import { observed } from "../../internal/worker/observe.ts"
import type { Resolved } from "../../internal/worker/resolve.ts"
import { Run } from "../../internal/worker/run.ts"
import * as Job from "../../Job.ts"
import type * as Middleware from "../../Middleware.ts"
import type { Outcome } from "../../Outcome.ts"
import * as Task from "../../Task.ts"
import * as events from "./events.ts"

/** The middleware by what it is to the pipeline. */
export type Part =
  | { readonly point: "run"; readonly named: Named }
  | { readonly point: "delivery"; readonly wrap: Middleware.DeliveryWrap<any> }
  | { readonly point: "observe"; readonly observer: Middleware.Observer<any> }

export interface Script {
  readonly inner: (payload: any) => Effect.Effect<unknown, unknown, any>
  readonly payload: unknown
  readonly encoded: string | undefined
  readonly task: Task.Any | undefined
  readonly job: Partial<Job.Info>
  readonly stop:
    | { readonly why: NonNullable<Job.Job["stopping"]>; readonly when: Effect.Effect<unknown> | undefined }
    | undefined
}

export interface Played {
  readonly exit: Exit.Exit<unknown, unknown> | undefined
  readonly outcome: Outcome
  readonly settlement: Settlement | undefined
  readonly delivery: Delivery
  readonly next: ReadonlyArray<{
    readonly input: unknown
    readonly exit: Exit.Exit<unknown, unknown>
    readonly context: Context.Context<never>
  }>
  readonly events: ReadonlyArray<string>
}

const definition = Task.make("harness")

/** observers are given up after so many milliseconds, as by a worker */
const observerLimit = 1_000

export const play = (part: Part, script: Script): Effect.Effect<Played> =>
  Effect.gen(function*() {
    const notes: Array<string> = []
    const next: Array<Played["next"][number]> = []
    const started = Latch.makeUnsafe(false)
    const services = yield* Effect.context<Scope.Scope>() as Effect.Effect<Context.Context<Scope.Scope>>
    const context: Context.Context<never> = Context.add(Context.omit(Scope.Scope)(services), events.Current, notes)
    const now = Context.get(context, Clock.Clock).currentTimeMillisUnsafe()
    let exit: Exit.Exit<unknown, unknown> | undefined

    const handler = (input: unknown) =>
      Effect.withFiber((fiber) => {
        notes.push("inner")
        started.openUnsafe()
        const { context } = fiber
        return Effect.onExitPrimitive(Effect.suspend(() => script.inner(input)), (exit) => {
          notes.push(`inner: ${events.endedOf(exit)}`)
          next.push({ input, exit, context })
          return undefined
        })
      })
    const task = resolved(script, part.point === "run" ? [noting(part.named)] : [], handler)
    const pipeline = observed(
      part.point === "observe" ? [noticed(part.observer)] : [],
      context,
      "harness",
      observerLimit,
      deliver({
        tasks: new Map([[task.task._tag, task]]),
        wraps: part.point === "delivery" ? [closing(part.wrap)] : [],
        limits: { poison: Number.POSITIVE_INFINITY, unknownFor: Number.POSITIVE_INFINITY },
        around: (_, chain) =>
          Effect.onExitPrimitive(chain, (ended) => {
            exit = ended
            notes.push(`outer: ${events.endedOf(ended)}`)
            return undefined
          }),
        onEnter: () => {}
      })
    )

    const run = new Run(
      deliveryOf(script, task.task, now),
      script.job.startedAt ?? now,
      { id: "harness", stop: Effect.void },
      () => Effect.void
    )
    const ofJob = Context.make(Job.Current, run as Job.Job).pipe(Context.add(References.CurrentLogAnnotations, {
      ...Context.get(context, References.CurrentLogAnnotations),
      job: run.id,
      task: task.task._tag,
      attempt: run.attempt,
      queue: run.queue
    }))
    const { stop } = script
    // masked, so that an interruption of the test finds the pipeline waited for, and what it holds is given back
    const delivered = yield* Effect.uninterruptibleMask((restore) => {
      const fiber = Effect.runForkWith(Context.merge(context, ofJob))(
        Effect.withFiber((fiber) => pipeline(fiber, run)),
        { uninterruptible: true }
      )
      run.root = fiber
      const stopper = stop === undefined
        ? undefined
        : Effect.runForkWith(context)(Effect.andThen(stop.when ?? started.await, Effect.sync(() => run.stop(stop.why))))
      return restore(Fiber.join(fiber)).pipe(
        Effect.onInterrupt(() => Effect.andThen(Effect.sync(() => run.stop("shutdown")), Fiber.await(fiber))),
        Effect.ensuring(Effect.sync(() => stopper?.interruptUnsafe()))
      )
    })
    return {
      exit,
      outcome: delivered.outcome,
      // whoever lost the lease has nothing to say any more
      settlement: run.stopping === "lost" ? undefined : delivered.settlement,
      delivery: run.delivery,
      next,
      events: notes
    }
  })

const closed = Effect.addFinalizer(() => events.note("closed"))

/** registered before all that the middleware acquires, so released after all of it */
const noting = ({ name, wrap }: Named): Named => ({
  name,
  wrap: (next, input, job) => Effect.andThen(closed, Effect.suspend(() => wrap(next, input, job)))
})

const closing = (wrap: Middleware.DeliveryWrap<any>): Middleware.DeliveryWrap => (next, delivery) =>
  Effect.andThen(closed, Effect.suspend(() => wrap(next, delivery)))

/** an observer has no say and no scope: that its hooks ran, and how they ended, is all there is to see */
const noticed = (observer: Middleware.Observer<any>): Middleware.Observer<any> => {
  const noticing = <Args extends ReadonlyArray<any>>(
    name: string,
    hook: ((...args: Args) => Effect.Effect<unknown, never, any> | void) | undefined
  ) =>
    hook === undefined ?
      undefined :
      (...args: Args): Effect.Effect<unknown, never, any> =>
        Effect.withFiber((fiber) => {
          const notes = Context.get(fiber.context, events.Current)
          notes?.push(name)
          return Effect.onExitPrimitive(
            Effect.suspend(() => {
              const result = hook(...args)
              return Effect.isEffect(result) ? result : Effect.succeed(result)
            }),
            (exit) => {
              notes?.push(`${name}: ${events.endedOf(exit)}`)
              return undefined
            }
          )
        })
  return { ...observer, before: noticing("before", observer.before), after: noticing("after", observer.after) }
}

const resolved = (
  script: Script,
  wraps: ReadonlyArray<Named>,
  handler: (input: unknown) => Effect.Effect<unknown, unknown, unknown>
): Resolved => {
  const { attempt = 1, lastAttempt = true } = script.job
  const task = taskOf(script)
  return {
    task,
    chain: compose(wraps, body(handler, undefined)),
    context: Context.empty(),
    policy: lastAttempt ? undefined : { schedule: Schedule.forever, while: undefined },
    maxAttempts: lastAttempt ? attempt : attempt + 1,
    timeout: undefined,
    runTimeout: undefined,
    deadline: undefined,
    onInterrupted: task.settings.onInterrupted ?? "requeue",
    onLost: task.settings.onLost ?? "requeue"
  }
}

const taskOf = ({ encoded, job, payload, task }: Script): Task.Any => {
  if (task !== undefined) return task
  const stored = encoded ?? jsonOf(payload)
  return {
    ...definition,
    [Task.TypeId]: Task.TypeId,
    _tag: job.task ?? definition._tag,
    codecs: {
      ...definition.codecs,
      encodePayload: jsonOf,
      // the payload itself, unless a delivery middleware has changed what is stored
      decodePayload: (text) => {
        if (text === stored && encoded === undefined) return Exit.succeed(payload)
        try {
          return Exit.succeed(JSON.parse(text))
        } catch (error) {
          return Exit.fail(error)
        }
      }
    }
  }
}

const jsonOf = (payload: unknown): string => JSON.stringify(payload) ?? "null"

const deliveryOf = (script: Script, task: Task.Any, now: number): Delivery => {
  const { job } = script
  const id = job.id ?? "harness-job"
  const stored = script.encoded === undefined
    ? toStored(task.codecs, script.payload)
    : { payload: script.encoded, headers: undefined }
  return {
    envelope: {
      id,
      task: task._tag,
      version: task.version,
      payload: stored.payload,
      headers: { ...job.headers, ...stored.headers },
      origin: job.origin ?? "user"
    },
    receipt: { id, fence: 1 },
    queue: job.queue ?? "default",
    attempt: job.attempt ?? 1,
    unsettled: 0,
    lostFrom: job.lostFrom === undefined ? undefined : { worker: job.lostFrom, claimedAt: now },
    enqueuedAt: "enqueuedAt" in job ? job.enqueuedAt : now,
    scheduledFor: job.scheduledFor,
    firstFailedAt: undefined,
    priority: job.priority ?? 0,
    group: job.group,
    abortRequested: false,
    keepsResult: false
  }
}
