/**
 * Tasks that belong together: what a worker runs ({@link make}), and what tasks share ({@link shared}: middleware around
 * each of them, a queue, a retry policy, time limits).
 *
 * @since 0.1.0
 */
import type * as Schema from "effect/Schema"
import { checkMiddleware, makeShared, type Shared } from "./internal/task.ts"
import type * as Middleware from "./Middleware.ts"
import * as Task from "./Task.ts"

/**
 * @category type ids
 * @since 0.1.0
 */
export const TypeId = "~windlass/TaskGroup"

/**
 * A set of tasks; a worker of it needs a handler for each.
 *
 * @category models
 * @since 0.1.0
 */
export interface TaskGroup<out Names extends string> {
  readonly [TypeId]: Names
  readonly tasks: ReadonlyArray<Task.Any>
}

/**
 * The set of the given tasks and groups. Two tasks of one name (or alias) are an `InvalidTask`, thrown here.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <const Members extends ReadonlyArray<Task.Any | TaskGroup<any>>>(
  ...members: Members
): TaskGroup<NameOf<Members[number]>> => {
  const tasks = members.flatMap((member) => Task.isTask(member) ? [member] : (member as TaskGroup<any>).tasks)
  const owner = new Map<string, Task.Any>()
  for (const task of tasks) {
    for (const name of [task._tag, ...task.aliases]) {
      const other = owner.get(name)
      if (other !== undefined) {
        throw new Task.InvalidTask({
          task: task._tag,
          message: `task ${task._tag}: the name ${name} belongs to task ${other._tag} already: a group may have it once`
        })
      }
      owner.set(name, task)
    }
  }
  return { [TypeId]: undefined as never, tasks: Object.freeze(tasks) }
}

/**
 * @category type facts
 * @since 0.1.0
 */
export type NameOf<M> = M extends { readonly _tag: infer N extends string } ? N
  : M extends TaskGroup<infer N> ? N
  : never

/**
 * What tasks share. Its middleware stands around the task's own.
 *
 * @category models
 * @since 0.1.0
 */
export interface SharedTasks<out Ms extends ReadonlyArray<Middleware.Any>> {
  readonly name: string
  readonly middleware: Ms

  /** `Task.make` with what is shared: the task's settings win, its middleware stands inside */
  readonly make: <
    const Name extends string,
    P extends Task.PlainSchema | { readonly [field: string]: Task.PlainSchema } = Schema.Void,
    A extends Task.PlainSchema = Schema.Void,
    E extends Task.PlainSchema = Schema.Never,
    const Own extends ReadonlyArray<Middleware.Any> = readonly []
  >(
    name: Name,
    options?: Task.Options<P, A, E, Own>
  ) => Task.Task<
    Name,
    P extends Schema.Struct.Fields ? Schema.Struct<P> : P extends Task.PlainSchema ? P : never,
    A,
    E,
    readonly [...Ms, ...Own]
  >

  /** a group inside this one. With `inherit: false` it takes nothing from this one, neither middleware nor settings */
  readonly shared: {
    <const Own extends ReadonlyArray<Middleware.Any> = readonly []>(
      name: string,
      options: SharedOptions<Own> & { readonly inherit: false }
    ): SharedTasks<Own>
    <const Own extends ReadonlyArray<Middleware.Any> = readonly []>(
      name: string,
      options: SharedOptions<Own> & { readonly inherit?: true }
    ): SharedTasks<readonly [...Ms, ...Own]>
  }
}

/**
 * @category models
 * @since 0.1.0
 */
export interface SharedOptions<Ms extends ReadonlyArray<Middleware.Any>> extends Task.Settings {
  /** first = outermost */
  readonly middleware?: Middleware.InOrder<Ms> & Ms
  readonly retry?: Task.Retry<unknown> | undefined
}

/**
 * Starts a group whose tasks share middleware and settings:
 *
 * ```ts
 * const Emails = TaskGroup.shared("emails", { middleware: [RequireTenant], queue: "emails" })
 * class SendEmail extends Emails.make("SendEmail", { payload: { to: Schema.String } }) {}
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const shared = <const Ms extends ReadonlyArray<Middleware.Any> = readonly []>(
  name: string,
  options: SharedOptions<Ms>
): SharedTasks<Ms> => build(name, options, { middleware: [], scopes: [], settings: {} }) as never

const build = (
  name: string,
  options: SharedOptions<any> & { readonly inherit?: boolean },
  outer: Shared
): SharedTasks<any> => {
  const parent: Shared = options.inherit === false ? { middleware: [], scopes: [], settings: {} } : outer
  const own = (options.middleware ?? []) as ReadonlyArray<Middleware.Any>
  const all: Shared = {
    middleware: [...parent.middleware, ...own],
    scopes: [...parent.scopes, ...own.map(() => `group ${name}`)],
    settings: {
      queue: options.queue ?? parent.settings.queue,
      timeout: options.timeout ?? parent.settings.timeout,
      runTimeout: options.runTimeout ?? parent.settings.runTimeout,
      deadline: options.deadline ?? parent.settings.deadline,
      onInterrupted: options.onInterrupted ?? parent.settings.onInterrupted,
      onLost: options.onLost ?? parent.settings.onLost,
      retry: options.retry ?? parent.settings.retry
    }
  }
  checkMiddleware(`group ${name}`, own)
  return {
    name,
    middleware: all.middleware,
    make: (task: string, taskOptions: any) => makeShared(task, taskOptions, all) as never,
    shared: ((inner: string, innerOptions: any) => build(inner, innerOptions, all)) as never
  }
}
