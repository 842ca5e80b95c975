/**
 * Where messages go: a router leads each address to a sender. A sender is the publishing half of a backend: a backend of
 * this library, the tasks of other services that subscribe to the address, or a few lines of your own for a broker that
 * is none.
 *
 * ```ts
 * Router.layer({
 *   routes: {
 *     "invoices.{id}": Router.backendOf(PostgresBackend.layer()),
 *     "audit.{kind}": Router.sender({ name: "syslog", send: ({ address, payload }) => ... })
 *   },
 *   default: Router.backend
 * })
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Backend, BackendError, type Item, type Limits, type Published, type Shape } from "../Backend.ts"
import type * as TaskGroup from "../TaskGroup.ts"
import type { InvalidAddress } from "./internal/address.ts"
import { addressHeader, routes } from "./internal/message.ts"
import { fanOut } from "./internal/subscribers.ts"

/**
 * The routes of a program.
 *
 * @category services
 * @since 0.1.0
 */
export class Router extends Context.Service<Router, {
  /** where a concrete address leads; undefined when no route covers it and there is no default */
  readonly to: (address: string) => Context.Context<Backend> | undefined
}>()("windlass/bus/Router") {}

/**
 * Opens a way out: run once, when the router starts, in the scope of its layer.
 *
 * @category models
 * @since 0.1.0
 */
export type Sender<E = never, R = never> = Effect.Effect<Shape, E, R>

type ErrorOf<S> = S extends Effect.Effect<any, infer E, any> ? E : never
type NeedsOf<S> = S extends Effect.Effect<any, any, infer R> ? Exclude<R, Scope.Scope> : never

/**
 * A router with these routes, by address. Every sender is opened when the layer is built, one after another, and all are
 * closed with it, in reverse; when one fails to open, those before it are closed and the layer fails. The exact address
 * is taken first, then the most specific one, then `default`; two routes of which neither is the more specific are an
 * `InvalidAddress`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <
  const Routes extends Readonly<Record<string, Sender<any, any>>> = {},
  Default extends Sender<any, any> = never
>(options: {
  readonly routes?: Routes | undefined
  /** for an address that no route covers: without one, sending there fails */
  readonly default?: Default | undefined
}): Layer.Layer<
  Router,
  InvalidAddress | ErrorOf<Routes[keyof Routes]> | ErrorOf<Default>,
  NeedsOf<Routes[keyof Routes]> | NeedsOf<Default>
> => {
  const entries = Object.entries<Sender<unknown, any>>(options.routes ?? {})
  const otherwise = options.default as Sender<unknown, any> | undefined
  return Layer.effect(
    Router,
    Effect.gen(function*() {
      // before anything is opened
      const index = yield* Effect.try({
        try: () => routes(entries.map(([pattern], i) => [pattern, i] as const)),
        catch: (error) => error as InvalidAddress
      })
      const open = yield* Effect.forEach(entries, ([, sender]) => opened(sender))
      const fallback = otherwise === undefined ? undefined : yield* opened(otherwise)
      return {
        to: (address) => {
          const found = index(address)
          return found === undefined ? fallback : open[found]
        }
      }
    })
  ) as never
}

const opened = <E, R>(sender: Sender<E, R>): Effect.Effect<Context.Context<Backend>, E, R> =>
  Effect.map(sender, (shape) => Context.make(Backend, shape))

// ------------------------------------------------------------------------------------------------------------- senders

/**
 * The backend of the program: a message becomes a job in the queue of its channel.
 *
 * @category senders
 * @since 0.1.0
 */
export const backend: Sender<never, Backend> = Effect.map(Backend, (shape) => shape)

/**
 * A backend of the route's own, opened and closed with the router.
 *
 * @category senders
 * @since 0.1.0
 */
export const backendOf = <Out, E, R>(
  backend: Layer.Layer<Backend | Out, E, R>
): Sender<E, R | Scope.Scope> => Effect.map(Layer.build(backend), (context) => Context.get(context, Backend))

/**
 * A message on its way out, as another system takes it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Outgoing {
  readonly id: string
  readonly address: string
  readonly headers: Readonly<Record<string, string>>
  /** JSON */
  readonly payload: string
  /** the options of `Enqueue` that the message was sent with, and its envelope */
  readonly item: Item
}

/**
 * A sender for a broker that is no backend. `send` returns when the broker has the message; what it fails with is raised
 * where the message was emitted. It may ask for a scope of the router (`acquireRelease` a connection, then return the
 * sender).
 *
 * @category senders
 * @since 0.1.0
 */
export const sender = <R = never>(options: {
  /** for errors and spans */
  readonly name: string
  readonly send: (message: Outgoing) => Effect.Effect<unknown, BackendError, R>
  /** what the broker carries: 1 MiB and no delay unless set */
  readonly limits?: Partial<Limits> | undefined
}): Sender<never, R> =>
  Effect.map(
    Effect.context<R>(),
    (context) =>
      publishing(options.name, options.limits ?? {}, (_, items) =>
        Effect.forEach(items, (item): Effect.Effect<Published, BackendError> => {
          const { headers, id, payload } = item.envelope
          const { [addressHeader]: address = item.envelope.task, ...others } = headers
          const message = { id, address, headers: others, payload, item }
          return Effect.as(Effect.provideContext(options.send(message), context), { _tag: "Stored" })
        }))
  )

/**
 * The services that subscribe: each is a group of channels, by its name. A message goes to every service that has a
 * channel for its address, as a job in the queue of that channel, on the backend of the program: all of them, or the
 * emission fails and sending the same id again reaches those that are left. What only one needs to do stands in one
 * service; a queue is worked on by the workers of one.
 *
 * Fails to open with `InvalidAddress` when a channel of two services has the same name and queue, when a group is
 * undecided about an address, or when the middleware of a channel has a half at the enqueue point.
 *
 * @category senders
 * @since 0.1.0
 */
export const subscribers = (
  services: Readonly<Record<string, TaskGroup.TaskGroup<any>>>,
  options?: {
    /** what becomes of a message that no service has a channel for: `fail` unless set */
    readonly unheard?: "fail" | "drop" | undefined
  }
): Sender<InvalidAddress, Backend> =>
  Effect.flatMap(Backend, (base) =>
    Effect.map(
      Effect.try({ try: () => fanOut(services), catch: (error) => error as InvalidAddress }),
      (spread) =>
        publishing(base.name, base.limits, (_, items) =>
          Effect.gen(function*() {
            const answers: Array<Published> = []
            for (const item of items) {
              const address = item.envelope.headers[addressHeader] ?? item.envelope.task
              const copies = spread(address, item)
              if (copies.length === 0 && options?.unheard !== "drop") {
                return yield* new BackendError({
                  backend: base.name,
                  operation: "publish",
                  message: `no service subscribes to address ${address}: add a channel for it, or say unheard: "drop"`,
                  retryable: false,
                  outcome: "NotApplied"
                })
              }
              const answered: Array<Published> = []
              for (const [queue, copy] of copies) answered.push(...(yield* base.publish(queue, [copy])))
              answers.push(asOne(item.envelope.id, answered))
            }
            return answers
          }))
    ))

/** A message that every service has already is a duplicate; one that is new to any of them is stored. */
const asOne = (id: string, answers: ReadonlyArray<Published>): Published => {
  const [first] = answers
  if (first?._tag !== "Duplicate" || answers.some(({ _tag }) => _tag === "Stored")) return { _tag: "Stored" }
  const { existing } = first
  return {
    _tag: "Duplicate",
    existing: existing.startsWith(`${id}/`) ? id : existing.slice(0, existing.lastIndexOf("/"))
  }
}

const unlimited: Limits = {
  payloadBytes: 1_048_576,
  delayMillis: 0,
  publishBatch: 100,
  takeBatch: 1,
  settleBatch: 1
}

/** A backend that nobody subscribes to: the other half is never asked for. */
const publishing = (name: string, limits: Partial<Limits>, publish: Shape["publish"]): Shape => ({
  name,
  limits: { ...unlimited, ...limits },
  fence: "weak",
  declare: () => Effect.void,
  publish,
  subscribe: () =>
    Effect.fail(
      new BackendError({
        backend: name,
        operation: "subscribe",
        message: `${name} is a sender of a router: nothing can be received from it`,
        retryable: false,
        outcome: "NotApplied"
      })
    ),
  ping: Effect.void
})
