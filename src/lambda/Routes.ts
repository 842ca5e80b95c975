/**
 * Which task a message is for that was not enqueued by this library: its JSON body is an object, and one of its fields
 * says what it is. Jobs that were enqueued carry the name of their task and need no routes.
 *
 * ```ts
 * const routes = Routes.make({
 *   key: "type",
 *   tasks: [OrderCreated, OrderShipped],   // by their names: OrderCreated, order_created, orderCreated, order-created
 *   names: "flexible",
 *   values: {
 *     "refund.v2": Refund,                 // by a value of `type`
 *     invoice: Routes.make({ key: "action", values: { open: OpenInvoice, close: CloseInvoice } })
 *   },
 *   otherwise: Unrouted                    // what is left, and what says no type
 * })
 * ```
 *
 * The task receives the whole body as its payload: its schema picks and checks the fields. A body's field is compared as
 * a string, so `7` and `"7"` are one value. Two routes of one value are an `InvalidRoutes`, thrown here.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import * as Task from "../Task.ts"
import type * as TaskGroup from "../TaskGroup.ts"

/**
 * @category type ids
 * @since 0.1.0
 */
export const TypeId = "~windlass/lambda/Routes"

/**
 * Routes to tasks of these names.
 *
 * @category models
 * @since 0.1.0
 */
export interface Routes<out Names extends string> {
  readonly [TypeId]: Names
  /** the field of the body that says what a message is */
  readonly key: string
  /** by the value of that field, every spelling that is taken */
  readonly entries: ReadonlyMap<string, Task.Any | Routes<string>>
  /** the values as they were written, without other spellings of them */
  readonly known: ReadonlyArray<string>
  readonly otherwise: Task.Any | undefined
}

/**
 * Routes that cannot work: two of them have one value, or there is nothing to route to. Thrown where they are made.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidRoutes extends Schema.TaggedError<InvalidRoutes>()("windlass/lambda/InvalidRoutes", {
  key: Schema.String,
  message: Schema.String
}) {}

/**
 * No route takes this message, and there is no `otherwise`. `value` is what its field says, undefined when it has none;
 * `known` are the values that would have been taken.
 *
 * @category errors
 * @since 0.1.0
 */
export class RouteNotFound extends Schema.TaggedError<RouteNotFound>()("windlass/lambda/RouteNotFound", {
  key: Schema.String,
  value: Schema.UndefinedOr(Schema.String),
  known: Schema.Array(Schema.String),
  message: Schema.String
}) {}

type Target = Task.Any | Routes<string>

type NamesOf<T> = T extends Routes<infer N> ? N : TaskGroup.NameOf<T>

/**
 * @category models
 * @since 0.1.0
 */
export interface Options<
  Tasks extends ReadonlyArray<Task.Any>,
  Values extends { readonly [value: string | number]: Target },
  Otherwise extends Task.Any
> {
  /** the field of the body that says what a message is */
  readonly key: string
  /** tasks that are routed to by their names and aliases */
  readonly tasks?: Tasks | undefined
  /**
   * `flexible`: the names of `tasks` are also taken as `PascalCase`, `camelCase`, `snake_case` and `kebab-case`. `exact`
   * unless set
   */
  readonly names?: "exact" | "flexible" | undefined
  /** tasks by values of the field, or further routes, which look at another field of the same body */
  readonly values?: Values | undefined
  /** takes what no route takes: a value that is unknown, null or absent. Routes within routes fall back to the outer one */
  readonly otherwise?: Otherwise | undefined
}

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = <
  const Tasks extends ReadonlyArray<Task.Any> = readonly [],
  const Values extends { readonly [value: string | number]: Target } = {},
  Otherwise extends Task.Any = never
>(
  options: Options<Tasks, Values, Otherwise>
): Routes<NamesOf<Tasks[number]> | NamesOf<Values[keyof Values]> | NamesOf<Otherwise>> => {
  const { key, names = "exact", otherwise, tasks = [], values = {} } = options
  const invalid = (message: string) => new InvalidRoutes({ key, message: `routes by ${key}: ${message}` })
  if (key === "") throw new InvalidRoutes({ key, message: "routes need the name of a field: key is empty" })
  const entries = new Map<string, Target>()
  const known: Array<string> = []
  const add = (value: string, target: Target) => {
    const other = entries.get(value)
    if (other !== undefined && other !== target) {
      throw invalid(
        `${show(target)} and ${show(other)} both take the value "${value}": rename one, or give it a value of its own`
      )
    }
    entries.set(value, target)
  }
  const listed = new Set<Task.Any>()
  for (const task of tasks) {
    if (!Task.isTask(task)) throw invalid(`an entry of tasks is no task (${typeof task})`)
    if (listed.has(task)) throw invalid(`task ${task._tag} is in tasks twice: name it once`)
    listed.add(task)
    for (const name of [task._tag, ...task.aliases]) {
      known.push(name)
      for (const spelling of names === "flexible" ? spellings(name) : [name]) add(spelling, task)
    }
  }
  for (const [value, target] of Object.entries(values)) {
    if (!Task.isTask(target) && !isRoutes(target)) throw invalid(`the route of "${value}" is no task and no routes`)
    // one value in both ways is a mistake also when both lead to the same task
    if (entries.has(value)) throw invalid(`the value "${value}" is taken twice, by tasks and by values: name it once`)
    known.push(value)
    add(value, target)
  }
  if (entries.size === 0 && otherwise === undefined) throw invalid("there is no route and no otherwise")
  return { [TypeId]: undefined as never, key, entries, known: Object.freeze(known.sort()), otherwise }
}

/**
 * @category guards
 * @since 0.1.0
 */
export const isRoutes = (u: unknown): u is Routes<string> => typeof u === "object" && u !== null && TypeId in u

/**
 * The task that takes this body.
 *
 * @category accessors
 * @since 0.1.0
 */
export const find = (routes: Routes<string>, body: unknown): Effect.Effect<Task.Any, RouteNotFound> =>
  Effect.suspend(() => {
    const found = route(routes, body)
    return found instanceof RouteNotFound ? Effect.fail(found) : Effect.succeed(found)
  })

/**
 * Every task that the routes lead to, each once.
 *
 * @category accessors
 * @since 0.1.0
 */
export const tasks = (routes: Routes<string>): ReadonlyArray<Task.Any> =>
  Array.from(
    new Set([
      ...Array.from(routes.entries.values()).flatMap((target) => isRoutes(target) ? tasks(target) : [target]),
      ...(routes.otherwise === undefined ? [] : [routes.otherwise])
    ])
  )

/**
 * The same routes for a polling worker: what the SQS backend is given as `foreign`. A message that they do not take, or that
 * cannot be read, asks for no job there.
 *
 * ```ts
 * SqsBackend.layer({ foreign: Routes.foreign(routes) })
 * ```
 *
 * @category conversions
 * @since 0.1.0
 */
export const foreign = (routes: Routes<string>) =>
(message: {
  readonly body: string
  readonly attributes: { readonly [name: string]: string }
}): (Job & { readonly headers: { readonly [name: string]: string } }) | undefined => {
  const job = jobOf(routes, message.body)
  return job instanceof Error ? undefined : { ...job, headers: message.attributes }
}

interface Job {
  readonly task: string
  readonly version: number
  readonly payload: string
}

/** The job that a body asks for, or why it asks for none. @internal */
export const jobOf = (routes: Routes<string>, body: string): Job | Error => {
  let json: unknown
  try {
    json = JSON.parse(body)
  } catch (cause) {
    return new Error("its body is no JSON", { cause })
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) return new Error("its body is no JSON object")
  const task = route(routes, json)
  if (task instanceof RouteNotFound) return task
  // a task without a payload takes any body: there is nothing in it for it
  const payload = SchemaAST.isVoid(task.payloadSchema.ast) ? "null" : body
  return { task: task._tag, version: task.version, payload }
}

/** {@link find} without an effect around it. */
const route = (routes: Routes<string>, body: unknown): Task.Any | RouteNotFound => {
  const value = fieldOf(body, routes.key)
  const target = value === undefined ? undefined : routes.entries.get(value)
  if (target === undefined) return routes.otherwise ?? notFound(routes, value)
  if (!isRoutes(target)) return target
  const inner = route(target, body)
  return inner instanceof RouteNotFound && routes.otherwise !== undefined ? routes.otherwise : inner
}

/** What the field says; an object or a list is no value, and an inherited property is no field. */
const fieldOf = (body: unknown, key: string): string | undefined => {
  if (typeof body !== "object" || body === null || !Object.hasOwn(body, key)) return undefined
  const value = (body as Readonly<Record<string, unknown>>)[key]
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean"
    ? String(value)
    : undefined
}

const notFound = (routes: Routes<string>, value: string | undefined): RouteNotFound => {
  const { known } = routes
  const says = value === undefined ? `the message has no usable field "${routes.key}"` : `no route takes "${value}"`
  return new RouteNotFound({
    key: routes.key,
    value,
    known,
    message: `routes by ${routes.key}: ${says}; known are ${known.join(", ")}. Add a route, or an otherwise`
  })
}

const show = (target: Target): string => isRoutes(target) ? `the routes by ${target.key}` : `task ${target._tag}`

/** `OrderCreated`: itself, orderCreated, order_created, order-created. */
const spellings = (name: string): ReadonlySet<string> => {
  const words = name
    .replace(/([\p{Ll}\p{N}])(\p{Lu})/gu, "$1 $2")
    .replace(/(\p{Lu}+)(\p{Lu}\p{Ll})/gu, "$1 $2")
    .split(/[^\p{L}\p{M}\p{N}]+/u)
    .filter((word) => word !== "")
    .map((word) => word.toLowerCase())
  const pascal = words.map((word) => word[0]!.toUpperCase() + word.slice(1)).join("")
  return new Set([
    name,
    ...(words.length === 0
      ? []
      : [pascal, pascal[0]!.toLowerCase() + pascal.slice(1), words.join("_"), words.join("-")])
  ])
}
