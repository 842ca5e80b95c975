/** Everything about the worker's tasks that can be known before the first job: resolved once, when the worker starts. */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Middleware from "../../Middleware.ts"
import * as Task from "../../Task.ts"
import type * as TaskGroup from "../../TaskGroup.ts"
import { defaultQueue } from "../producer.ts"
import { type HandlerEntry, handlerKey } from "../task.ts"
import { body } from "./body.ts"
import { compose, type Named } from "./chain.ts"
import type { Enter } from "./layer.ts"

/** attempts of a task whose retry policy sets no cap @internal */
export const defaultMaxAttempts = 25

/** @internal */
export interface Resolved {
  readonly task: Task.Any
  readonly chain: Enter
  /** the services of the worker and of the handler's layer */
  readonly context: Context.Context<never>
  readonly policy: Policy | undefined
  readonly maxAttempts: number
  /** milliseconds, all of them */
  readonly timeout: number | undefined
  readonly runTimeout: number | undefined
  readonly deadline: number | undefined
  readonly onInterrupted: Task.CutShort
  readonly onLost: Task.CutShort
}

/** @internal */
export interface Policy {
  readonly schedule: Schedule.Schedule<unknown, any, unknown>
  readonly while: ((failure: any) => boolean) | undefined
}

/** One entry of a resolved chain, as `Worker.describe` shows it. @internal */
export interface Entry {
  readonly name: string
  /** `worker`, `group <name>`, `task` or `own` */
  readonly scope: string
  readonly point: "delivery" | "observe" | "run"
}

/** The lists of a definition as one, outermost first; pure, so that `describe` needs no worker. @internal */
export const entries = (worker: ReadonlyArray<Middleware.ForWorker>, task: Task.Any): ReadonlyArray<Entry> => {
  const ofWorker = worker.map((m): Entry => ({
    name: nameOf(m),
    scope: "worker",
    point: Middleware.isObserver(m) ? "observe" : Middleware.isDelivery(m) ? "delivery" : "run"
  }))
  return [
    ...ofWorker.filter((e) => e.point === "observe"),
    ...ofWorker.filter((e) => e.point === "delivery"),
    ...ofWorker.filter((e) => e.point === "run"),
    ...task.middleware.map((m, i): Entry => ({ name: nameOf(m), scope: task.middlewareScopes[i]!, point: "run" })),
    ...task.wraps.map((_, i): Entry => ({
      name: `${task._tag}.wrap ${task.wraps.length - i}`,
      scope: "own",
      point: "run"
    }))
  ]
}

/** @internal */
export const nameOf = (middleware: Middleware.Any | Middleware.ForWorker): string =>
  Middleware.isService(middleware) ? middleware.key : (middleware as { readonly name: string }).name

/** @internal */
export const queueOf = (task: Task.Any): string => task.settings.queue ?? defaultQueue

const wrapOf = (middleware: Middleware.Any, context: Context.Context<never>): Named => ({
  name: nameOf(middleware),
  wrap: Middleware.isService(middleware)
    ? Context.getUnsafe(context as Context.Context<any>, middleware) as Named["wrap"]
    : middleware.wrap as unknown as Named["wrap"]
})

/** A worker has a task and no layer for its handler; `main` does not compile then, unless types were cast away. */
const entryOf = (task: Task.Any, context: Context.Context<never>): HandlerEntry =>
  Context.getUnsafe(context as Context.Context<Task.Handler<string>>, handlerKey(task._tag))

const millis = (input: Duration.Input | undefined) => input === undefined ? undefined : Duration.toMillis(input)

/** Tasks by every name that a stored job may carry. @internal */
export const resolve = (
  group: TaskGroup.TaskGroup<string>,
  worker: ReadonlyArray<Middleware.ForWorker>,
  context: Context.Context<never>
): Effect.Effect<ReadonlyMap<string, Resolved>, Task.InvalidTask> =>
  Effect.gen(function*() {
    const ofWorker = worker.filter((m): m is Middleware.Any & Middleware.ForWorker =>
      Middleware.isService(m) || Middleware.isInline(m)
    )
    const byName = new Map<string, Resolved>()
    for (const task of group.tasks) {
      const entry = entryOf(task, context)
      if (entry.task !== task) {
        return yield* new Task.InvalidTask({
          task: task._tag,
          message:
            `task ${task._tag}: its handler was made from another definition than the one in the worker's group, ` +
            "so wraps would be ignored or lack their services: put the definition whose toLayer is used into the group"
        })
      }
      const timeout = millis(task.settings.timeout)
      const runTimeout = millis(task.settings.runTimeout)
      const retry = task.retry
      const policy = retry === undefined ? undefined : Schedule.isSchedule(retry)
        ? { schedule: retry as Policy["schedule"], while: undefined, maxAttempts: undefined }
        : { while: undefined, maxAttempts: undefined, ...retry }
      if (policy !== undefined) yield* checkSchedule(task, policy.schedule)
      const taskContext = Context.merge(context, entry.context)
      const wraps = [
        ...ofWorker.map((m) => wrapOf(m, context)),
        ...task.middleware.map((m) => wrapOf(m, entry.context)),
        ...task.wraps.map((wrap, i) => ({ name: `${task._tag}.wrap ${i + 1}`, wrap: wrap as Named["wrap"] })).reverse()
      ]
      const resolved: Resolved = {
        task,
        chain: compose(wraps, body(entry.run, timeout ?? runTimeout)),
        // room for what middleware provides on top: a context that outgrows its overlays is copied at every run
        context: Context.makeUnsafe(new Map(taskContext.mapUnsafe), { maxDepth: 64 }),
        policy,
        maxAttempts: policy === undefined ? 1 : policy.maxAttempts ?? defaultMaxAttempts,
        timeout: timeout ?? runTimeout,
        runTimeout: timeout === undefined
          ? runTimeout === undefined ? undefined : runTimeout + 10_000
          : runTimeout ?? timeout + 10_000,
        deadline: millis(task.settings.deadline),
        onInterrupted: task.settings.onInterrupted ?? "requeue",
        onLost: task.settings.onLost ?? "requeue"
      }
      for (const name of [task._tag, ...task.aliases]) byName.set(name, resolved)
    }
    return byName
  })

/** A cron expression is parsed by the schedule's first step: ask it now, so that a typo stops the worker at its start. */
const checkSchedule = (task: Task.Any, schedule: Policy["schedule"]): Effect.Effect<void, Task.InvalidTask> =>
  Effect.gen(function*() {
    const step = yield* Schedule.toStep(schedule)
    const exit = yield* Effect.exit(step(0, undefined))
    const reason = Exit.isFailure(exit) ? exit.cause.reasons.find((r) => r._tag === "Fail") : undefined
    if (reason !== undefined && (reason.error as { readonly _tag?: string } | undefined)?._tag === "CronParseError") {
      return yield* new Task.InvalidTask({
        task: task._tag,
        message: `task ${task._tag}: its retry schedule is no valid cron: ${reason.error}`
      })
    }
  }) as Effect.Effect<void, Task.InvalidTask>

/** @internal */
export const checkWorkerList = (worker: ReadonlyArray<Middleware.ForWorker>): string | undefined => {
  for (const [i, m] of worker.entries()) {
    if (!Middleware.isService(m) && !Middleware.isInline(m) && !Middleware.isDelivery(m) && !Middleware.isObserver(m)) {
      return `entry ${i} of the worker's middleware list is no middleware (${typeof m})`
    }
    if (Middleware.isService(m) && m.error !== Schema.Never) {
      return `middleware ${nameOf(m)} adds an error that the types of the tasks do not know: ` +
        "name it in the list of a task or a group, not of the worker"
    }
    if (worker.indexOf(m) !== i) return `middleware ${nameOf(m)} stands twice in the worker's list: name it once`
  }
  return undefined
}
