/**
 * Background tasks on replies: effects that run after the last byte of a reply was sent, in this process. A handler, a
 * service that it uses, or a middleware adds them; the client does not wait for them, nor does any other request.
 *
 * ```ts
 * const signup = Effect.gen(function*() {
 *   const user = yield* createUser
 *   yield* BackgroundTasks.add(warmCache(user))                                  // after the reply, in this process
 *   yield* BackgroundTasks.enqueue(SendWelcome.enqueue({ to: user.email }))      // stored before the reply, run by a worker
 *   return yield* HttpServerResponse.json({ id: user.id })
 * })
 *
 * HttpRouter.serve(
 *   HttpRouter.add("POST", "/signup", signup).pipe(Layer.provide(BackgroundTasks.layer()))
 * )
 * ```
 *
 * A task that was added lives as long as this process: a crash loses it. What must not be lost is a job: see
 * {@link enqueue}.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { Supervising } from "./internal/supervisor.ts"

// ------------------------------------------------------------------------------------------------------------- models

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * when a task fails: `continue` runs the others, `failFast` skips those after it (as Starlette does). Either way the
   * failure is logged and reported. `continue` unless set
   */
  readonly policy?: "continue" | "failFast" | undefined
  /**
   * when the request fails: `drop` forgets the tasks that were added and logs their names (Starlette does so, and is
   * silent), `run` runs them after the reply that says so. A request fails with a failure or a defect that reaches the
   * background tasks' middleware, or with a reply that is one (`isFailure`). A client that went away is none: what was
   * added runs. `drop` unless set; a task may say otherwise for itself
   */
  readonly onFailure?: "drop" | "run" | undefined
  /**
   * whether a reply that was returned says that the request failed: then its tasks are as `onFailure` says, and its
   * enqueues are not done. Those with a status of 400 and more unless set (the errors that an endpoint of an `HttpApi`
   * declares are such replies); `() => false` as Starlette has it
   */
  readonly isFailure?: ((response: HttpServerResponse) => boolean) | undefined
  /** how long a shutdown waits for background work, all together, before it cuts it; 30 seconds unless set */
  readonly shutdownGrace?: Duration.Input | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface AddOptions {
  /** what logs and reports call it; `task 1`, `task 2`, ... unless set */
  readonly name?: string | undefined
  /** for this task, instead of {@link Options.onFailure} */
  readonly onFailure?: "drop" | "run" | undefined
  /** before those that were added so far: for a middleware that adds when it has seen the reply. Off unless set */
  readonly first?: boolean | undefined
}

/**
 * A task that failed, or a finalizer of the request (`the request's scope`).
 *
 * @category models
 * @since 0.1.0
 */
export interface TaskFailure {
  readonly task: string
  readonly cause: Cause.Cause<unknown>
}

/**
 * What became of the background work of one request. The lists hold the names of tasks.
 *
 * @category models
 * @since 0.1.0
 */
export interface Report {
  readonly request: HttpServerRequest
  /** tasks that ran to their end, well or not */
  readonly ran: number
  readonly failures: ReadonlyArray<TaskFailure>
  /** did not run, because one before them failed and the policy is `failFast` */
  readonly skipped: ReadonlyArray<string>
  /** did not run, because the request failed */
  readonly dropped: ReadonlyArray<string>
  /** interrupted or not begun, because a shutdown's deadline was over */
  readonly cut: ReadonlyArray<string>
}

/**
 * Asked when a request arrives; what it returns is called once, when the background work of that request is over.
 *
 * @category models
 * @since 0.1.0
 */
export type Observer = (request: HttpServerRequest) => ((report: Report) => void) | undefined

// ------------------------------------------------------------------------------------------------------------- errors

/**
 * Background work of a request failed. The reply was not changed by it. This is what a `TestClient` fails with.
 *
 * @category errors
 * @since 0.1.0
 */
export class BackgroundTasksFailed extends Schema.TaggedError<BackgroundTasksFailed>()(
  "windlass/BackgroundTasksFailed",
  {
    message: Schema.String,
    failures: Schema.Array(Schema.Struct({
      task: Schema.String,
      cause: Schema.Cause(Schema.Unknown, Schema.Defect())
    }))
  }
) {}

/**
 * A job that was to be stored with the reply could not be stored, so the request dies with this and is answered with a
 * 500. `cause` is the reason.
 *
 * @category errors
 * @since 0.1.0
 */
export class EnqueueFailed extends Schema.TaggedError<EnqueueFailed>()("windlass/EnqueueFailed", {
  message: Schema.String,
  cause: Schema.Defect()
}) {}

// ----------------------------------------------------------------------------------------------------------- services

/**
 * The background tasks of the request that is being handled.
 *
 * @category services
 * @since 0.1.0
 */
export class BackgroundTasks extends Context.Service<BackgroundTasks, {
  readonly add: <A, E, R>(
    task: Effect.Effect<A, E, R>,
    options?: AddOptions
  ) => Effect.Effect<void, never, Exclude<R, Scope.Scope>>
  readonly enqueue: <A, E, R>(call: Effect.Effect<A, E, R>) => Effect.Effect<void, never, R>
}>()("windlass/http/BackgroundTasks") {}

/**
 * Runs the background work of all requests. When its scope closes it waits for what is under way.
 *
 * @category services
 * @since 0.1.0
 */
export class Supervisor extends Context.Service<Supervisor, {
  /** see {@link middleware} */
  readonly handle: <E, R>(
    app: Effect.Effect<HttpServerResponse, E, R>
  ) => Effect.Effect<HttpServerResponse, E, Exclude<R, BackgroundTasks> | HttpServerRequest | Scope.Scope>
  /** looks on until the scope closes; must neither throw nor block */
  readonly observe: (observer: Observer) => Effect.Effect<void, never, Scope.Scope>
}>()("windlass/http/Supervisor") {}

// ----------------------------------------------------------------------------------------------------------- accessors

/**
 * Runs an effect after the last byte of the reply was sent, or after the client is gone.
 *
 * - Tasks run one after another, in the order in which they were added, whoever added them. So those of a middleware that
 *   adds before it runs what is inside of it come before the handler's, the outer middleware's first.
 * - A task may add tasks; they run in the same pass.
 * - A task keeps the services, log annotations and span of the place where it was added, but no database transaction that
 *   was open there: that is over. What it acquires itself is released when it ends.
 * - What the request acquired in its scope is open until the last task is over. What was acquired in a narrower scope
 *   (`Effect.scoped` in a handler) is released before the reply.
 * - A failure is logged and given to `effect/ErrorReporter`. It cannot change the reply, and nothing around the handler
 *   can catch it.
 *
 * @category accessors
 * @since 0.1.0
 */
export const add = <A, E, R>(
  task: Effect.Effect<A, E, R>,
  options?: AddOptions
): Effect.Effect<void, never, BackgroundTasks | Exclude<R, Scope.Scope>> =>
  Effect.flatMap(BackgroundTasks, (tasks) => tasks.add(task, options))

/**
 * Makes an enqueue part of the reply: **a reply that says that the request succeeded is sent only when the job is
 * stored, and a request that fails stores nothing.**
 *
 * - Inside of a transaction that enqueues join (`Transactional` of the backend, `sql.withTransaction` of the client that
 *   it was built with) the job is enqueued at once, in that transaction: it is stored if and only if it commits.
 * - Else the enqueue waits until the handler has succeeded, and is done before the first byte is sent. Several are done
 *   one after another; when one fails, those before it are stored nevertheless. `enqueueMany` is one call.
 * - Once the reply is decided (in a background task, in a streamed body) the job is enqueued at once.
 *
 * A failure is not the handler's to catch: the request dies with {@link EnqueueFailed}, and is answered with a 500. A
 * failure that is none (`AlreadyEnqueued`) is handled in the effect that is given. A client that goes away before the
 * handler has succeeded has interrupted it: nothing is stored. What was not done is logged. Later it interrupts nothing:
 * bound an enqueue with `Effect.timeout` if its backend may be slow to answer.
 *
 * @category accessors
 * @since 0.1.0
 */
export const enqueue = <A, E, R>(call: Effect.Effect<A, E, R>): Effect.Effect<void, never, BackgroundTasks | R> =>
  Effect.flatMap(BackgroundTasks, (tasks) => tasks.enqueue(call))

// -------------------------------------------------------------------------------------------------------------- layers

/**
 * What {@link middleware} needs, for servers that are built without a router. Put it outside of the server, so that it
 * closes after it: then it waits for background work, for `shutdownGrace` at most, interrupts what is left, and logs the
 * names of what it cut.
 *
 * @category layers
 * @since 0.1.0
 */
export const supervisor = (options: Options = {}): Layer.Layer<Supervisor> =>
  Layer.effect(
    Supervisor,
    Effect.gen(function*() {
      const supervising = new Supervising(
        options,
        BackgroundTasks,
        (cause) =>
          new EnqueueFailed({
            message: "a job that the reply answers for could not be enqueued, so the request failed",
            cause
          })
      )
      const grace = Duration.fromInputUnsafe(options.shutdownGrace ?? "30 seconds")
      yield* Effect.addFinalizer(() => supervising.shutdown(grace))
      return Supervisor.of(supervising)
    })
  )

/**
 * Gives an app background tasks: everything inside may add them. Use it once per request, outside of the middleware whose
 * resources the tasks use, and inside of what sends the reply: around the app that `HttpServer.serve` gets, not as its
 * `middleware` option, which surrounds the sending. With a router {@link layer} does that.
 *
 * @category middleware
 * @since 0.1.0
 */
export const middleware = <E, R>(
  app: Effect.Effect<HttpServerResponse, E, R>
): Effect.Effect<
  HttpServerResponse,
  E,
  Supervisor | Exclude<R, BackgroundTasks> | HttpServerRequest | Scope.Scope
> => Effect.flatMap(Supervisor, ({ handle }) => handle(app))

/**
 * {@link middleware} for some routes of a router, and for their middleware: `mine.combine(BackgroundTasks.forRoutes).layer`
 * is a middleware of routes that adds background tasks. Within {@link layer} it changes nothing but that.
 *
 * @category middleware
 * @since 0.1.0
 */
export const forRoutes = HttpRouter.middleware<{ provides: BackgroundTasks }>()(
  Effect.map(Supervisor, ({ handle }) => (app) => handle(app))
)

/**
 * Background tasks for every route of a router, and for its middleware. Provide it last, so that it is the outermost: a
 * middleware that is provided after it is outside of it, and its resources are closed before the tasks run. A shutdown
 * ends the server first, and then waits as {@link supervisor} says.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}) =>
  HttpRouter.middleware<{ provides: BackgroundTasks }>()(
    Effect.map(Supervisor, ({ handle }) => (app) => handle(app)),
    { global: true }
  ).pipe(Layer.provideMerge(supervisor(options)))
