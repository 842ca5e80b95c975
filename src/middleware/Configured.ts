/**
 * A worker's middleware by name: the code says which there are, the configuration which of them run, and in which order.
 * Middleware is code with types, so a name stands for an entry of a registry and never for a module to load.
 *
 * ```ts
 * import * as Config from "effect/Config"
 * import * as Effect from "effect/Effect"
 * import * as Schema from "effect/Schema"
 * import * as Configured from "windlass/middleware/Configured"
 * import * as Logging from "windlass/middleware/Logging"
 * import * as OutcomeHook from "windlass/middleware/OutcomeHook"
 * import * as Task from "windlass/Task"
 * import * as TaskGroup from "windlass/TaskGroup"
 * import * as Worker from "windlass/Worker"
 *
 * class Work extends Task.make("Work") {}
 * declare const connect: Effect.Effect<{ readonly send: (line: string) => Effect.Effect<void> }>
 *
 * export const WorkerLive = Configured.layer(
 *   Config.Array(Schema.String, "MIDDLEWARE"), // MIDDLEWARE=logging,reports
 *   {
 *     logging: Logging.observer(),
 *     // made once, when the worker starts, and only if it is in the list
 *     reports: Effect.map(connect, (mail) =>
 *       OutcomeHook.make("reports", (outcome, job) => mail.send(`${job.task} ${outcome._tag}`)))
 *   },
 *   (middleware) => Worker.layer(TaskGroup.make(Work), { middleware })
 * )
 * ```
 *
 * Everything is resolved when the worker starts and before it claims anything: a name that is unknown or stands twice, an
 * entry that cannot be made, and a declared middleware whose layer fails keep it from starting.
 *
 * @since 0.1.0
 */
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Middleware from "../Middleware.ts"

/**
 * The configured list cannot be made: `middleware` is a name that is not in the registry, or stands twice. `known` are the
 * names of the registry. Nothing was claimed.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidList extends Schema.TaggedError<InvalidList>()("windlass/InvalidMiddlewareList", {
  middleware: Schema.String,
  known: Schema.Array(Schema.String),
  message: Schema.String
}) {}

/**
 * What a name stands for: a middleware of a worker's list, or an effect that makes one. Its scope is that of the worker.
 *
 * @category models
 * @since 0.1.0
 */
export type Entry = Middleware.ForWorker | Effect.Effect<Middleware.ForWorker, any, any>

/**
 * The middleware that an entry stands for.
 *
 * @category type facts
 * @since 0.1.0
 */
export type Made<E> = E extends Middleware.ForWorker ? E
  : E extends Effect.Effect<infer M extends Middleware.ForWorker, any, any> ? M
  : never

type MakingFails<E> = E extends Middleware.ForWorker ? never : E extends Effect.Effect<any, infer X, any> ? X : never

type MakingNeeds<E> = E extends Middleware.ForWorker ? never : E extends Effect.Effect<any, any, infer R> ? R : never

/**
 * The registry itself, or a sentence where an entry may not stand in a worker's list.
 *
 * @category type facts
 * @since 0.1.0
 */
export type Fits<Registry> = {
  readonly [K in keyof Registry]: Middleware.FitsWorker<readonly [Made<Registry[K]>]>[0] extends infer F
    ? F extends string ? F : Registry[K]
    : never
}

/**
 * The middleware of the configured names, in their order: first = outermost. Blanks around a name are not part of it,
 * and an empty name is none. Entries that are effects run here, those that are not in the list never do.
 *
 * @category constructors
 * @since 0.1.0
 */
export const list = <const Registry extends Readonly<Record<string, Entry>> & Fits<Registry>>(
  names: Config.Config<ReadonlyArray<string>>,
  registry: Registry
): Effect.Effect<
  ReadonlyArray<Made<Registry[keyof Registry]>>,
  Config.ConfigError | InvalidList | MakingFails<Registry[keyof Registry]>,
  MakingNeeds<Registry[keyof Registry]>
> =>
  Effect.gen(function*() {
    const configured = (yield* names).map((name) => name.trim()).filter((name) => name !== "")
    const known = Object.keys(registry)
    for (const [i, middleware] of configured.entries()) {
      const problem = !Object.hasOwn(registry, middleware)
        ? `is not known here: write one of ${known.map((name) => `"${name}"`).join(", ")}, or add it to the registry`
        : configured.indexOf(middleware) !== i
        ? "stands twice in the configured list: name it once"
        : undefined
      if (problem !== undefined) {
        return yield* new InvalidList({ middleware, known, message: `middleware "${middleware}" ${problem}` })
      }
    }
    return yield* Effect.forEach(configured, (name) => {
      const entry: Entry = registry[name]!
      // a declared middleware is a service key, and as such an effect too
      return Middleware.isService(entry) || !Effect.isEffect(entry) ? Effect.succeed(entry) : entry
    })
  }) as Effect.Effect<any, any, any>

/**
 * A worker with the configured middleware. `worker` may put more into its list, before or after.
 *
 * It needs what every entry of the registry needs, in the list or not: which ones run is known only when it starts.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <const Registry extends Readonly<Record<string, Entry>> & Fits<Registry>, A, E, R>(
  names: Config.Config<ReadonlyArray<string>>,
  registry: Registry,
  worker: (middleware: ReadonlyArray<Made<Registry[keyof Registry]>>) => Layer.Layer<A, E, R>
): Layer.Layer<
  A,
  E | Config.ConfigError | InvalidList | MakingFails<Registry[keyof Registry]>,
  R | Exclude<MakingNeeds<Registry[keyof Registry]>, Scope.Scope>
> => Layer.unwrap(Effect.map(list<Registry>(names, registry), worker))
