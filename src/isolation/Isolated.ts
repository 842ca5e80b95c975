/**
 * Handlers in processes of their own, for code that may hang, burn the CPU or run out of memory. The worker stays what it
 * is: it claims, runs the middleware, renews the leases and settles; only the handler's body runs elsewhere, and can be
 * killed there without anything of the worker being touched.
 *
 * ```ts
 * import * as Schema from "effect/Schema"
 * import * as Isolated from "windlass/isolation/Isolated"
 * import * as Task from "windlass/Task"
 *
 * export class Render extends Task.make("Render", { payload: { url: Schema.String }, timeout: "1 minute" }) {}
 *
 * // in the worker, in place of Render.toLayer(...)
 * export const RenderLive = Isolated.toLayer(Render, {
 *   module: new URL("./render.isolate.ts", import.meta.url),
 *   pool: 2,
 *   memory: "512 MiB"
 * })
 *
 * // render.isolate.ts, the module that the processes run:
 * //   Isolated.serve(Isolated.handler(Render, ({ url }) => render(url)).pipe(Layer.provide(BrowserLive)))
 * ```
 *
 * - Payload, success and typed failures cross by the task's own schemas; defects, interruptions and a `Decide` cross too.
 *   `Job.Current` is there, `Job.fork` and `Job.checkpoint` work, {@link progress} reports. Logs go through the parent's
 *   loggers, with the job's annotations; the handler's spans are children of the parent's, and go where a tracer of the
 *   module's own layer sends them.
 * - **Middleware runs in the parent**, and what it provides cannot cross: a handler that asks for it is one whose layer
 *   lacks a service, and does not compile until the module provides it. What it needs of a middleware it gets in headers.
 * - **A stop** (the task's `timeout`, a shutdown, an abort, a lost lease) interrupts the handler: its finalizers run. A
 *   process that has not ended it within `grace` is killed (`SIGKILL`). Until then the job stays active.
 * - **A process that dies** fails the attempt with {@link IsolateDied}, which is retried as the task says; a new one is
 *   started for the next job. Finalizers of a process that is killed do not run.
 * - A process never outlives its parent, whatever that dies of and whatever the process is doing.
 * - A job that waits for a free process does so within its `timeout`: let the worker claim no more of them than there are
 *   processes (a queue of their own with `queues: { render: 2 }`, or a `Concurrency.gate`).
 *
 * Not built on threads: one that runs out of memory or exits takes the worker with it.
 *
 * @since 0.1.0
 */
import * as ByteSize from "effect/ByteSize"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Pool from "effect/Pool"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { availableParallelism } from "node:os"
import type { BackendError } from "../Backend.ts"
import type { Decide } from "../Decide.ts"
import * as Job from "../Job.ts"
import type * as Task from "../Task.ts"
import { type Child, type Settings, start } from "./internal/child.ts"
import { inherited } from "./internal/inherited.ts"
import { failure, log, run } from "./internal/run.ts"
import { type Entry, handlers, serve as serveLayer } from "./internal/serve.ts"
import type { IsolateDied } from "./IsolateDied.ts"

export { IsolateDied } from "./IsolateDied.ts"

// ----------------------------------------------------------------------------------------------------------- the parent

/**
 * How processes are started and kept.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** what they run: a module that calls {@link serve} */
  readonly module: URL | string
  /** processes at most, and so jobs at once; the number of CPUs unless set. One is kept, more come when they are needed */
  readonly pool?: number | undefined
  /**
   * of one process's heap (`--max-old-space-size`), rounded up to MiB; Node's own limit unless set. One that needs more
   * dies. Buffers and native memory are not counted
   */
  readonly memory?: ByteSize.Input | undefined
  /** a process is replaced after so many jobs; never unless set */
  readonly recycleAfter?: number | undefined
  /** from the start of a process until it has called {@link serve} and built its layer; 10 seconds unless set */
  readonly startTimeout?: Duration.Input | undefined
  /**
   * between the interruption of a handler and the kill of its process; 5 seconds unless set. Keep it below the worker's
   * `stuckAfter`, and below what `runTimeout` has beyond `timeout` (10 seconds, both)
   */
  readonly grace?: Duration.Input | undefined
  /** options of Node itself; unless set those of this process that are not about its own program or debugger */
  readonly execArgv?: ReadonlyArray<string> | undefined
  /** the environment; this process's unless set */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
}

/**
 * What the layer of these tasks requires: the implementations of their middleware, which runs in the parent.
 *
 * @category type facts
 * @since 0.1.0
 */
export type Needs<T> = T extends Task.Task<any, any, any, any, infer Ms, infer WP, infer WR>
  ? Task.Needs<Ms, WP, WR, never>
  : never

/**
 * The evidence of their handlers, one for each.
 *
 * @category type facts
 * @since 0.1.0
 */
export type HandlersOf<T> = T extends { readonly _tag: infer Name extends string } ? Task.Handler<Name> : never

/** how long a process beyond the first may be idle */
const idle = "1 minute"

const settingsOf = (tasks: ReadonlyArray<Task.Any>, options: Options): Settings => ({
  module: options.module,
  memory: options.memory === undefined
    ? undefined
    : Math.max(1, Math.ceil(ByteSize.toNumberUnsafe(ByteSize.fromInputUnsafe(options.memory)) / 1_048_576)),
  startTimeout: Duration.toMillis(options.startTimeout ?? "10 seconds"),
  grace: Duration.toMillis(options.grace ?? "5 seconds"),
  recycleAfter: options.recycleAfter,
  execArgv: options.execArgv ?? inherited(process.execArgv),
  env: options.env ?? process.env,
  tasks: new Map(tasks.map((task) => [task._tag, task.version]))
})

type Processes = Pool.Pool<Child, IsolateDied>

/** One that is alive: a process may die while it has nothing to do. */
const free = (pool: Processes): Effect.Effect<Child, IsolateDied, Scope.Scope> =>
  Effect.flatMap(
    Pool.get(pool),
    (child) => child.alive ? Effect.succeed(child) : Effect.andThen(Pool.invalidate(pool, child), free(pool))
  )

/** A task's `toLayer`, whose handler needs nothing but the running job. */
type Handled = Task.Any & {
  readonly toLayer: (
    handler: (payload: unknown) => Effect.Effect<unknown, unknown, Job.Current>
  ) => Layer.Layer<Task.Handler<string>>
}

/**
 * Supplies the handlers of these tasks, in processes of one pool: what `toLayer` of a task is for a handler in this
 * process. The first process is started with the layer, which fails when it does not come up or does not serve one of
 * the tasks. The layer's end asks the processes to end, kills those that do not, and returns when all of them are gone.
 *
 * @category layers
 * @since 0.1.0
 */
export const toLayer = <T extends Task.Any>(
  tasks: T | ReadonlyArray<T>,
  options: Options
): Layer.Layer<HandlersOf<T>, IsolateDied, Needs<T>> =>
  Layer.unwrap(Effect.gen(function*() {
    const all: ReadonlyArray<Task.Any> = Array.isArray(tasks) ? tasks : [tasks as T]
    const settings = settingsOf(all, options)
    const context = yield* Effect.context<never>()
    const pool: Processes = yield* Pool.makeWithTTL({
      acquire: start(settings, (line) => log(context, line)),
      min: 1,
      max: Math.max(1, options.pool ?? availableParallelism()),
      timeToLive: idle,
      timeToLiveStrategy: "usage"
    })
    yield* Effect.scoped(free(pool))
    const layers = (all as ReadonlyArray<Handled>).map((task) =>
      task.toLayer((payload) =>
        Effect.scoped(Effect.flatMap(
          Effect.catch(free(pool), (died) => failure(task, died)),
          (child) =>
            Effect.ensuring(
              run(child, task, payload, settings.grace),
              Effect.suspend(() =>
                child.alive && !(child.jobs >= (settings.recycleAfter ?? Number.POSITIVE_INFINITY))
                  ? Effect.void
                  : Pool.invalidate(pool, child)
              )
            )
        ))
      )
    )
    return Layer.mergeAll(Layer.empty, ...layers)
  })) as never

// ------------------------------------------------------------------------------------------------------------ the child

/**
 * The evidence that a module has a handler for the task of this name.
 *
 * @category models
 * @since 0.1.0
 */
export interface Handler<in out Name extends string> {
  readonly "~windlass/isolation/Handler": Name
}

/** What a handler of the task gets and gives. */
type Handles<T extends Task.Any, R> = (
  payload: T["payloadSchema"]["Type"]
) => Effect.Effect<T["successSchema"]["Type"], Schema.Schema.Type<T["errorSchema"]> | Decide, R>

/**
 * The handler of a task for {@link serve}: what `toLayer` of a task is in the worker, without the task's middleware. What
 * the handler needs is provided by the module, whatever a middleware provides. An effect instead of a function is run
 * once per process, when the layer is built, and returns the handler.
 *
 * @category layers
 * @since 0.1.0
 */
export const handler = <T extends Task.Any, R, EX = never, RX = never>(
  task: T,
  handler: Handles<T, R> | Effect.Effect<Handles<T, R>, EX, RX>
): Layer.Layer<Handler<T["_tag"]>, EX, Exclude<R, Scope.Scope | Job.Current> | Exclude<RX, Scope.Scope>> =>
  Layer.effectContext(Effect.gen(function*() {
    const context = yield* Effect.context<never>()
    const run = Effect.isEffect(handler) ? yield* handler : handler
    const key = Context.Service<Handler<string>, Entry>(`${handlers}${task._tag}`)
    return Context.make(key, { task, run: run as Entry["run"], context })
  })) as never

/**
 * Makes this process one that runs handlers: builds the layer, takes jobs from the parent one at a time, and ends with it.
 * Throws in a process that {@link toLayer} did not start.
 *
 * @category running
 * @since 0.1.0
 */
export const serve = <Names extends string, E>(layer: Layer.Layer<Handler<Names>, E>): void =>
  serveLayer(layer as never)

/**
 * `Job.progress` for a handler in a process of its own: the backend is the parent's, so that nothing of it is required
 * here. Where that has no `Inspect` it dies.
 *
 * @category combinators
 * @since 0.1.0
 */
export const progress = (value: Schema.Json): Effect.Effect<void, BackendError, Job.Current> =>
  Effect.flatMap(Job.Current, (job) => Job.controls(job).progress(JSON.stringify(value)))
