/** Making the value that a task is: its checks, its methods, and the handler's entry that its layer supplies. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Enqueue from "../Enqueue.ts"
import * as Middleware from "../Middleware.ts"
import type { Any, Handler, Options, OwnWrap, PlainSchema, Retry, Settings } from "../Task.ts"
import { makeCodecs, type Wire } from "./codecs.ts"
import { execute } from "./execute.ts"
import { enqueueAll, enqueueOne } from "./producer.ts"

export const TypeId = "~windlass/Task"

/**
 * A task was defined in a way that cannot work. Thrown where the definition stands, before any job is claimed.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidTask extends Schema.TaggedError<InvalidTask>()("windlass/InvalidTask", {
  task: Schema.String,
  message: Schema.String
}) {}

/**
 * A handler as the worker finds it: the definition, the function, and the services that its layer was built with.
 *
 * @internal
 */
export interface HandlerEntry {
  readonly task: Any
  readonly run: (payload: unknown) => Effect.Effect<unknown, unknown, unknown>
  readonly context: Context.Context<never>
}

/** @internal */
export const handlerKey = (name: string): Context.Key<Handler<string>, HandlerEntry> =>
  Context.Service<Handler<string>, HandlerEntry>(`windlass/Task/Handler/${name}`)

/** What a group adds to the tasks that are made in it. @internal */
export interface Shared {
  readonly middleware: ReadonlyArray<Middleware.Any>
  readonly scopes: ReadonlyArray<string>
  readonly settings: Settings & { readonly retry?: Retry<any> | undefined }
}

/** @internal */
export const makeShared = (
  name: string,
  options: Options<any, any, any, any> | undefined,
  shared: Shared,
  message?: { readonly wire: Wire; readonly channel: unknown }
): Any => {
  const own = (options?.middleware ?? []) as ReadonlyArray<Middleware.Any>
  const payload = options?.payload ?? Schema.Void
  const definition = {
    _tag: name,
    version: options?.version ?? 1,
    payloadSchema: Schema.isSchema(payload)
      ? payload as PlainSchema
      : Schema.Struct(payload) as Schema.Top as PlainSchema,
    successSchema: options?.success ?? Schema.Void,
    errorSchema: options?.error ?? Schema.Never,
    aliases: options?.aliases ?? [],
    settings: {
      queue: options?.queue ?? shared.settings.queue,
      timeout: options?.timeout ?? shared.settings.timeout,
      runTimeout: options?.runTimeout ?? shared.settings.runTimeout,
      deadline: options?.deadline ?? shared.settings.deadline,
      onInterrupted: options?.onInterrupted ?? shared.settings.onInterrupted,
      onLost: options?.onLost ?? shared.settings.onLost
    },
    retry: options?.retry ?? shared.settings.retry,
    middleware: Object.freeze([...shared.middleware, ...own]),
    middlewareScopes: Object.freeze([...shared.scopes, ...own.map(() => "task")]),
    wraps: Object.freeze([]),
    channel: message?.channel
  }
  check(definition, own, options?.upcast ?? {})
  return define({ ...definition, codecs: makeCodecs(definition, options?.upcast ?? {}, message?.wire) })
}

const check = (
  task: { readonly _tag: string; readonly version: number },
  own: ReadonlyArray<Middleware.Any>,
  upcast: { readonly [version: number]: unknown }
): void => {
  const invalid = (message: string) => new InvalidTask({ task: task._tag, message: `task ${task._tag}: ${message}` })
  if (task._tag === "") throw invalid("a task needs a name")
  if (!Number.isInteger(task.version) || task.version < 1) {
    throw invalid(`version ${task.version} is not a number from 1`)
  }
  for (const version of Object.keys(upcast).map(Number)) {
    if (version >= task.version) {
      throw invalid(
        `up-cast of version ${version} leads past the version ${task.version} that the task has: raise version`
      )
    }
  }
  checkMiddleware(`task ${task._tag}`, own)
}

/** Whether a list holds middleware, each once. `owner` is what the message calls the list. @internal */
export const checkMiddleware = (owner: string, own: ReadonlyArray<Middleware.Any>): void => {
  for (const [i, middleware] of own.entries()) {
    if (!Middleware.isService(middleware) && !Middleware.isInline(middleware)) {
      throw new InvalidTask({
        task: owner,
        message: `${owner}: entry ${i} of its middleware list is no middleware (${typeof middleware}): ` +
          "declare one with Middleware.Service or write one with Middleware.make"
      })
    }
    if (own.indexOf(middleware) !== i) {
      throw new InvalidTask({
        task: owner,
        message: `${owner}: middleware ${nameOf(middleware)} stands twice in one list: name it once`
      })
    }
  }
}

const nameOf = (middleware: Middleware.Any): string =>
  "key" in middleware ? middleware.key : (middleware as { readonly name: string }).name

const Proto = {
  [TypeId]: TypeId,
  enqueue(this: Any, payload: unknown) {
    return Enqueue.fromRun((options) => enqueueOne(this, payload, options))
  },
  enqueueMany(this: Any, payloads: Iterable<unknown>) {
    return Enqueue.fromRun((options) => enqueueAll(this, Array.from(payloads), options))
  },
  execute(this: Any, payload: unknown) {
    return Enqueue.fromRun((options) => execute(this, payload, options))
  },
  wrap(this: Any, wrap: OwnWrap<any, any, any, any, any>) {
    return define({ ...fieldsOf(this), wraps: Object.freeze([...this.wraps, wrap]) })
  },
  toLayer(this: Any, handler: unknown) {
    return Layer.effectContext(Effect.gen({ self: this }, function*() {
      const context = yield* Effect.context<never>()
      const run = Effect.isEffect(handler) ? yield* handler as Effect.Effect<HandlerEntry["run"]> : handler
      return Context.make(handlerKey(this._tag), { task: this, run: run as HandlerEntry["run"], context })
    }))
  }
}

/** The three ways into the queue, for what is left of a payload. @internal */
export const preset = (task: Any, fields: object) => {
  const whole = (rest: object) => ({ ...fields, ...rest })
  return {
    enqueue: (rest: object) => Proto.enqueue.call(task, whole(rest)),
    enqueueMany: (rests: Iterable<object>) => Proto.enqueueMany.call(task, Array.from(rests, whole)),
    execute: (rest: object) => Proto.execute.call(task, whole(rest))
  }
}

const fieldsOf = (task: Any): Omit<Any, typeof TypeId> => ({
  _tag: task._tag,
  version: task.version,
  payloadSchema: task.payloadSchema,
  successSchema: task.successSchema,
  errorSchema: task.errorSchema,
  aliases: task.aliases,
  settings: task.settings,
  retry: task.retry,
  middleware: task.middleware,
  middlewareScopes: task.middlewareScopes,
  wraps: task.wraps,
  codecs: task.codecs,
  channel: task.channel
})

/**
 * A class, so that `class SendEmail extends Task.make(...) {}` gives the contract a type name of its own. Frozen: a
 * middleware that is added to it later would be ignored by the workers that run already.
 */
const define = (fields: Omit<Any, typeof TypeId>): Any => {
  function Task() {}
  Object.setPrototypeOf(Task, Proto)
  return Object.freeze(Object.assign(Task, fields)) as unknown as Any
}
