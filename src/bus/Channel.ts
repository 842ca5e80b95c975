/**
 * A channel is a task with an address: what is sent to the address is a job of the task. Its handler receives the parts
 * of the message, each by its schema: the parameters of the address, the headers, the payload.
 *
 * ```ts
 * class OrderPlaced extends Channel.make("orders.{region}.{id}", {
 *   parameters: { id: Schema.FiniteFromString },
 *   headers: { "x-tenant": Schema.String },
 *   payload: { total: Schema.Number },
 *   emits: [InvoiceDue]
 * }) {}
 *
 * const OrderPlacedLive = OrderPlaced.toLayer(Effect.fnUntraced(function*({ headers, parameters, payload }) {
 *   yield* Channel.emit(InvoiceDue, { parameters: { id: parameters.id }, payload: { total: payload.total } })
 * }))
 *
 * OrderPlaced.enqueue({ parameters: { region: "eu", id: 12 }, headers: { "x-tenant": "acme" }, payload: { total: 9 } })
 * ```
 *
 * Everything that holds for a task holds for a channel: it stands in a `TaskGroup`, has middleware and a retry policy,
 * and what a broker calls bindings are options of `Enqueue` on the way out and `Job.Current` on the way in. The payload is
 * stored as the job's payload, the headers as its headers, the concrete address as the header `windlass-address`.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Backend } from "../Backend.ts"
import * as Enqueue from "../Enqueue.ts"
import { makeShared } from "../internal/task.ts"
import type * as Middleware from "../Middleware.ts"
import type * as Task from "../Task.ts"
import type * as TaskGroup from "../TaskGroup.ts"
import { format, InvalidAddress, parse } from "./internal/address.ts"
import { addressHeader, type Facts, factsOf, finder, type Found, wire } from "./internal/message.ts"
import { Router } from "./Router.ts"

export { InvalidAddress } from "./internal/address.ts"
export type { Facts, Found } from "./internal/message.ts"

// ------------------------------------------------------------------------------------------------------------- models

/**
 * The names in an address: `"region" | "id"` of `"orders.{region}.{id}"`.
 *
 * @category type facts
 * @since 0.1.0
 */
export type ParametersOf<Address extends string> = Address extends `${string}{${infer Name}}${infer Rest}`
  ? Name | ParametersOf<Rest>
  : never

/**
 * A schema whose encoded form is a string: what stands in an address or in a header.
 *
 * @category models
 * @since 0.1.0
 */
export type Text = Task.PlainSchema & { readonly Encoded: string }

/**
 * Schemas whose encoded form is a string, or nothing.
 *
 * @category models
 * @since 0.1.0
 */
export type HeaderFields = { readonly [name: string]: Task.PlainSchema & { readonly Encoded: string | undefined } }

type HeaderSchema = Task.PlainSchema & { readonly Encoded: { readonly [name: string]: string | undefined } }

type Fields = { readonly [field: string]: Task.PlainSchema }

type ToSchema<P> = P extends Schema.Struct.Fields ? Schema.Struct<P> : P extends Task.PlainSchema ? P : never

type ParameterSchema<Names extends string, Ps> = Schema.Struct<
  { readonly [Name in Names]: Name extends keyof Ps ? Ps[Name] extends Text ? Ps[Name] : Schema.String : Schema.String }
>

/**
 * The schema of a channel's message: only the parts that it has.
 *
 * @category type facts
 * @since 0.1.0
 */
export type Message<Address extends string, Ps, H, P> = AsPlain<
  Schema.Struct<
    {
      readonly [
        Part in
          | ([ParametersOf<Address>] extends [never] ? never : "parameters")
          | ([H] extends [never] ? never : "headers")
          | ([P] extends [never] ? never : "payload")
      ]: Part extends "parameters" ? ParameterSchema<ParametersOf<Address>, Ps>
        : Part extends "headers" ? ToSchema<H>
        : ToSchema<P>
    }
  >
>

type AsPlain<S> = S extends Task.PlainSchema ? S : never

/**
 * The evidence that a handler may emit to the channel of this name, because its own declares so (`emits`).
 *
 * @category models
 * @since 0.1.0
 */
export interface Emission<in out Name extends string> {
  readonly "~windlass/bus/Emission": Name
}

type EmissionsOf<Emits extends ReadonlyArray<Any>> = Emits[number] extends infer C
  ? C extends { readonly _tag: infer Name extends string } ? Emission<Name> : never
  : never

/**
 * A channel of any type.
 *
 * @category models
 * @since 0.1.0
 */
export interface Any extends Task.Any {
  readonly channel: Facts
}

/**
 * A task with an address. Its payload is the message: `parameters`, `headers` and `payload`, as far as it has them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Channel<
  Name extends string,
  Address extends string,
  M extends Task.PlainSchema,
  A extends Task.PlainSchema,
  E extends Task.PlainSchema,
  Ms extends ReadonlyArray<Middleware.Any>,
  WP = never,
  WR = never
> extends Task.Task<Name, M, A, E, Ms, WP, WR> {
  readonly channel: Facts & { readonly address: Address }

  readonly wrap: <P2 = never, R2 = never>(
    wrap: Task.OwnWrap<M["Type"], A["Type"], E["Type"], P2, R2>
  ) => Channel<Name, Address, M, A, E, Ms, WP | P2, Exclude<WR, P2> | R2>
}

/**
 * @category guards
 * @since 0.1.0
 */
export const isChannel = (task: Task.Any): task is Any => factsOf(task) !== undefined

// ------------------------------------------------------------------------------------------------------- constructors

/**
 * All that a task has, and the parts of the message.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<
  Name extends string,
  Address extends string,
  Ps extends { readonly [P in ParametersOf<Address>]?: Text },
  H extends HeaderFields | HeaderSchema,
  P extends Task.PlainSchema | Schema.Struct.Fields,
  A extends Task.PlainSchema,
  E extends Task.PlainSchema,
  Ms extends ReadonlyArray<Middleware.Any>,
  Emits extends ReadonlyArray<Any>
> extends Task.Options<P, A, E, Ms> {
  /** the task's name, under which its jobs are stored; the address unless set */
  readonly name?: Name | undefined
  /** schemas of the parameters of the address; a string unless set */
  readonly parameters?: Ps | undefined
  /**
   * the headers that the handler reads, by their names as they travel, or a schema of them: `Schema.encodeKeys` gives a
   * header another name in the handler, `Schema.withDecodingDefaultKey` a value where it is absent
   */
  readonly headers?: H | undefined
  /** the channels that its handler may emit to with {@link emit} */
  readonly emits?: Emits | undefined
  /** one line for the AsyncAPI document */
  readonly title?: string | undefined
  readonly description?: string | undefined
  /** bindings of the channel in the AsyncAPI document, by protocol: `{ sqs: { queue: { ... } } }` */
  readonly bindings?: Readonly<Record<string, Schema.Json>> | undefined
}

/**
 * Defines a channel. Throws {@link InvalidAddress} when the address is malformed, and `InvalidTask` as `Task.make` does.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <
  const Address extends string,
  const Name extends string = Address,
  const Ps extends { readonly [P in ParametersOf<Address>]?: Text } = {},
  H extends HeaderFields | HeaderSchema = never,
  P extends Task.PlainSchema | Fields = never,
  A extends Task.PlainSchema = Schema.Void,
  E extends Task.PlainSchema = Schema.Never,
  const Ms extends ReadonlyArray<Middleware.Any> = readonly [],
  const Emits extends ReadonlyArray<Any> = readonly []
>(
  address: Address,
  options?: Options<Name, Address, Ps, H, P, A, E, Ms, Emits>
): Channel<
  Name,
  Address,
  Message<Address, Ps, H, P>,
  A,
  E,
  Ms,
  EmissionsOf<Emits>,
  Emits extends readonly [] ? never : Router
> => {
  const parsed = parse(address)
  const declared = (options?.parameters ?? {}) as Readonly<Record<string, Text>>
  for (const name of Object.keys(declared)) {
    if (!parsed.parameters.includes(name)) {
      throw new InvalidAddress({
        address,
        message: `address ${JSON.stringify(address)}: it has no parameter {${name}}, and a schema was given for one`
      })
    }
  }
  const schemaOf = (part: HeaderFields | Task.PlainSchema | Schema.Struct.Fields | undefined) =>
    (part === undefined ? undefined : Schema.isSchema(part) ? part : Schema.Struct(part)) as
      | Task.PlainSchema
      | undefined
  const facts: Facts = {
    address,
    parsed,
    parameters: parsed.parameters.length === 0
      ? undefined
      : Schema.Struct(
        Object.fromEntries(parsed.parameters.map((name): [string, Text] => [name, declared[name] ?? Schema.String]))
      ),
    headers: schemaOf(options?.headers),
    payload: schemaOf(options?.payload),
    emits: options?.emits ?? [],
    title: options?.title,
    description: options?.description,
    bindings: options?.bindings
  }
  const parts = { parameters: facts.parameters, headers: facts.headers, payload: facts.payload }
  const message = Schema.Struct(
    Object.fromEntries(Object.entries(parts).filter(([, schema]) => schema !== undefined)) as Schema.Struct.Fields
  )
  return makeShared(
    options?.name ?? address,
    { ...options, payload: message } as unknown as Task.Options<any, any, any, any>,
    { middleware: [], scopes: [], settings: {} },
    { wire: wire(facts), channel: facts }
  ) as never
}

// ------------------------------------------------------------------------------------------------------------- sending

/** A channel, as far as sending to it goes. */
type Sendable = Any & { readonly enqueue: (message: never) => Enqueue.Enqueue<string, unknown, unknown> }

type MessageOf<C extends Sendable> = Parameters<C["enqueue"]>[0]

type Left<C extends Sendable> = Exclude<Effect.Services<ReturnType<C["enqueue"]>>, Backend>

/**
 * Sends a message to a channel that the running handler's own declares in `emits`, and returns its id. The `Router` of
 * the program says where the address leads; the message is there when this returns, and a failure is raised here, where
 * the handler may catch it. Takes the options of `Enqueue`. A channel that is not declared leaves its
 * {@link Emission} among what the handler's layer requires, and nobody provides that.
 *
 * @category sending
 * @since 0.1.0
 */
export const emit = <C extends Sendable>(
  channel: C,
  message: MessageOf<C>
): Enqueue.Enqueue<string, Enqueue.EnqueueError, Emission<C["_tag"]> | Left<C>> => routed(channel, message)

/**
 * {@link emit} for a program that is no handler: needs the `Router` itself.
 *
 * @category sending
 * @since 0.1.0
 */
export const send = <C extends Sendable>(
  channel: C,
  message: MessageOf<C>
): Enqueue.Enqueue<string, Enqueue.EnqueueError, Router | Left<C>> => routed(channel, message)

const routed = (channel: Sendable, message: unknown): Enqueue.Enqueue<string, any, any, any> =>
  Enqueue.fromRun((options) =>
    Effect.contextWith((context: Context.Context<Router>) => {
      const to = addressOf(channel, message)
      if (to instanceof Enqueue.InvalidEnqueue) return Effect.fail(to)
      const backend = Context.get(context, Router).to(to)
      if (backend === undefined) {
        return Effect.fail(
          new Enqueue.InvalidEnqueue({
            task: channel._tag,
            reason: "Option",
            message: `channel ${channel._tag}: the router has no route for address ${to}: add one, or a default`
          })
        )
      }
      const enqueue = channel.enqueue(message as never)
      return Effect.provide(enqueue.run(options), backend)
    })
  )

const addressOf = (channel: Any, message: unknown): string | Enqueue.InvalidEnqueue => {
  try {
    return channel.codecs.message!.encode(message).headers![addressHeader]!
  } catch (cause) {
    return new Enqueue.InvalidEnqueue({
      task: channel._tag,
      reason: "Payload",
      message: `channel ${channel._tag}: the message does not fit: ${cause instanceof Error ? cause.message : cause}`
    })
  }
}

/**
 * The concrete address for these parameters. Values are escaped, so that a separator within one is found again. Throws
 * {@link InvalidAddress} when a value is empty.
 *
 * @category conversions
 * @since 0.1.0
 */
export const address = <C extends Any & { readonly payloadSchema: Task.PlainSchema }>(
  channel: C,
  parameters: C["payloadSchema"]["Type"] extends { readonly parameters: infer P } ? P : Record<never, never>
): string => {
  const { parameters: schema, parsed } = channel.channel
  const encoded = schema === undefined
    ? {}
    : Schema.encodeUnknownSync(schema as Schema.Codec<any, any, never, never>)(parameters)
  return format(parsed, encoded as Readonly<Record<string, unknown>>)
}

/**
 * Finds the channel of a group for a concrete address, and the parameters in it: the exact address first, then the most
 * specific one, whatever the order in the group. A task that is no channel is found by its name and its aliases. Throws
 * {@link InvalidAddress} when two channels cover the same address and neither is the more specific.
 *
 * @category conversions
 * @since 0.1.0
 */
export const find = (group: TaskGroup.TaskGroup<string>): (address: string) => Found | undefined => finder(group)
