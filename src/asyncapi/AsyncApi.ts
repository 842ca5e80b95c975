/**
 * The tasks of a program as an AsyncAPI 3 document: what it receives, what it sends, and what the messages look like.
 *
 * ```ts
 * const document = AsyncApi.fromGroup(App, { title: "Orders", version: "1.4.0" })
 * ```
 *
 * From a shell: `npx windlass-asyncapi ./app.ts#App --title Orders --version 1.4.0`.
 *
 * | in the program | in the document |
 * |---|---|
 * | a channel | a channel with its address and parameters, a message, a `receive` operation |
 * | a task that is no channel | the same; its address is its name |
 * | `emits` of a channel | a `send` operation for each |
 * | the payload's and headers' schemas | JSON Schema (draft 07) of their encoded form |
 * | a success, and the errors of the task and its middleware | the `reply` of the operation: what `execute` ends with |
 * | `title`, `description`, `bindings` of a channel | the same of the channel |
 *
 * The same group gives the same document, whatever the order of its tasks.
 *
 * @since 0.1.0
 */
import type * as JsonSchema from "effect/JsonSchema"
import type * as Schema from "effect/Schema"
import * as Channel from "../bus/Channel.ts"
import type * as Task from "../Task.ts"
import type * as TaskGroup from "../TaskGroup.ts"
import { compile, type Compiled, unique } from "./internal/schemas.ts"

// ------------------------------------------------------------------------------------------------------------- options

/**
 * Where the messages travel.
 *
 * @category models
 * @since 0.1.0
 */
export interface Server {
  /** host and port, without a protocol */
  readonly host: string
  /** `postgres`, `redis`, `sqs`, `https`, ... */
  readonly protocol: string
  readonly pathname?: string | undefined
  readonly title?: string | undefined
  readonly description?: string | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly title: string
  /** of the program, not of AsyncAPI */
  readonly version: string
  readonly description?: string | undefined
  /** by name */
  readonly servers?: Readonly<Record<string, Server>> | undefined
}

// ------------------------------------------------------------------------------------------------------------ document

/**
 * A reference within the document.
 *
 * @category models
 * @since 0.1.0
 */
export interface Ref {
  readonly $ref: string
}

/**
 * @category models
 * @since 0.1.0
 */
export interface ChannelItem {
  /** null where only the running system knows it: the replies */
  readonly address: string | null
  readonly title?: string
  readonly description?: string
  readonly parameters?: Readonly<Record<string, Parameter>>
  readonly messages: Readonly<Record<string, Ref>>
  readonly bindings?: Readonly<Record<string, Schema.Json>>
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Parameter {
  readonly description?: string
  readonly enum?: ReadonlyArray<string>
  readonly default?: string
  readonly examples?: ReadonlyArray<string>
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Operation {
  readonly action: "receive" | "send"
  readonly channel: Ref
  readonly summary?: string
  readonly messages: ReadonlyArray<Ref>
  readonly reply?: { readonly channel: Ref; readonly messages: ReadonlyArray<Ref> }
}

/**
 * @category models
 * @since 0.1.0
 */
export interface MessageItem {
  readonly name: string
  readonly summary?: string
  readonly contentType?: string
  readonly headers?: JsonSchema.JsonSchema
  readonly payload?: JsonSchema.JsonSchema
}

/**
 * An AsyncAPI 3 document; plain JSON.
 *
 * @category models
 * @since 0.1.0
 */
export interface Document {
  readonly asyncapi: "3.0.0"
  readonly info: { readonly title: string; readonly version: string; readonly description?: string }
  readonly defaultContentType: "application/json"
  readonly servers?: Readonly<Record<string, Server>>
  readonly channels: Readonly<Record<string, ChannelItem>>
  readonly operations: Readonly<Record<string, Operation>>
  readonly components: {
    readonly messages: Readonly<Record<string, MessageItem>>
    readonly schemas?: Readonly<Record<string, JsonSchema.JsonSchema>>
  }
}

// --------------------------------------------------------------------------------------------------------- constructors

/** A task, with everything of it that becomes a schema. */
interface Entry {
  readonly id: string
  readonly task: Task.Any
  readonly receives: boolean
  readonly sends: boolean
  readonly payload: Schema.Top | undefined
  readonly headers: Schema.Top | undefined
  readonly parameters: ReadonlyArray<readonly [name: string, schema: Schema.Top]>
  /** what `execute` ends with; empty when it says nothing */
  readonly reply: ReadonlyArray<{ readonly name: string; readonly summary: string; readonly schema: Schema.Top }>
}

/**
 * The document of a group of tasks and channels.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromGroup = (group: TaskGroup.TaskGroup<string>, options: Options): Document => {
  const entries = entriesOf(group)
  const asked = new Map<Schema.Top, number>()
  const ask = (schema: Schema.Top | undefined) => {
    if (schema !== undefined && !asked.has(schema)) asked.set(schema, asked.size)
  }
  for (const { headers, parameters, payload, reply } of entries) {
    ask(payload)
    ask(headers)
    for (const [, schema] of parameters) ask(schema)
    for (const { schema } of reply) ask(schema)
  }
  const compiled: Compiled = compile(Array.from(asked.keys()))
  const json = (schema: Schema.Top): JsonSchema.JsonSchema => compiled.schemas[asked.get(schema)!]!

  const channels: Record<string, ChannelItem> = {}
  const operations: Record<string, Operation> = {}
  const messages: Record<string, MessageItem> = {}
  for (const entry of entries) {
    const { id, parameters, reply, task } = entry
    const facts = Channel.isChannel(task) ? task.channel : undefined
    const message = (key: string) => ({ [key]: { $ref: `#/components/messages/${key}` } })
    channels[id] = defined<ChannelItem>({
      address: facts?.address ?? task._tag,
      title: facts?.title,
      description: facts?.description,
      parameters: parameters.length === 0
        ? undefined
        : Object.fromEntries(parameters.map(([name, schema]) => [name, parameterOf(json(schema), compiled)])),
      messages: message(id),
      bindings: facts?.bindings
    })
    messages[id] = defined<MessageItem>({
      name: task._tag,
      contentType: entry.payload === undefined ? undefined : "application/json",
      headers: entry.headers === undefined ? undefined : json(entry.headers),
      payload: entry.payload === undefined ? undefined : json(entry.payload)
    })
    const common = {
      channel: { $ref: `#/channels/${id}` },
      summary: facts?.title,
      messages: [{ $ref: `#/channels/${id}/messages/${id}` }]
    }
    if (entry.sends) operations[`send-${id}`] = defined<Operation>({ action: "send", ...common })
    if (!entry.receives) continue
    const answers = `${id}-reply`
    if (reply.length > 0) {
      channels[answers] = {
        address: null,
        messages: Object.assign({}, ...reply.map(({ name }) => message(name))) as Record<string, Ref>
      }
      for (const { name, schema, summary } of reply) {
        messages[name] = { name, summary, contentType: "application/json", payload: json(schema) }
      }
    }
    operations[`receive-${id}`] = defined<Operation>({
      action: "receive",
      ...common,
      reply: reply.length === 0 ? undefined : {
        channel: { $ref: `#/channels/${answers}` },
        messages: reply.map(({ name }) => ({ $ref: `#/channels/${answers}/messages/${name}` }))
      }
    })
  }
  const { description, servers, title, version } = options
  return defined<Document>({
    asyncapi: "3.0.0",
    info: defined({ title, version, description }),
    defaultContentType: "application/json",
    servers: servers === undefined
      ? undefined
      : Object.fromEntries(Object.entries(servers).map(([name, server]) => [name, defined<Server>(server)])),
    channels,
    operations,
    components: defined<Document["components"]>({
      messages,
      schemas: Object.keys(compiled.definitions).length === 0 ? undefined : compiled.definitions
    })
  })
}

/** The group's tasks and what they emit, by name, so that the order of the group does not show. */
const entriesOf = (group: TaskGroup.TaskGroup<string>): ReadonlyArray<Entry> => {
  const received = new Map(group.tasks.map((task) => [task._tag, task]))
  const emitted = new Map(
    group.tasks.flatMap((task) => Channel.isChannel(task) ? task.channel.emits : []).map((task) => [task._tag, task])
  )
  const names = Array.from(new Set([...received.keys(), ...emitted.keys()])).sort()
  const taken = new Set<string>()
  return names.map((name): Entry => {
    const task = received.get(name) ?? emitted.get(name)!
    const plain = name.replace(/[{}]/g, "").replace(/[^\w.-]+/g, "-") || "task"
    const id = unique(plain, (candidate) => taken.has(candidate) || derived.some((end) => taken.has(candidate + end)))
    for (const end of ["", ...derived]) taken.add(id + end)
    const facts = Channel.isChannel(task) ? task.channel : undefined
    const parameters = facts?.parameters as Schema.Struct<Readonly<Record<string, Schema.Top>>> | undefined
    return {
      id,
      task,
      receives: received.has(name),
      sends: emitted.has(name),
      payload: facts === undefined ? given(task.payloadSchema) : facts.payload,
      headers: facts?.headers,
      parameters: Object.entries(parameters?.fields ?? {}),
      reply: received.has(name) ? replyOf(id, task) : []
    }
  })
}

/** what else is named after a task; further failures have a number behind them */
const derived = ["-reply", "-success", "-failure"]

/** a schema that says that there is nothing */
const given = (schema: Schema.Top): Schema.Top | undefined =>
  schema.ast._tag === "Void" || schema.ast._tag === "Never" ? undefined : schema

const replyOf = (id: string, task: Task.Any): Entry["reply"] => {
  const errors = [
    task.errorSchema,
    ...task.middleware.flatMap((middleware) => "error" in middleware ? [middleware.error] : [])
  ].flatMap((schema) => given(schema) ?? [])
  const success = given(task.successSchema)
  return [
    ...(success === undefined
      ? []
      : [{ name: `${id}-success`, summary: "what the task came to", schema: success }]),
    ...Array.from(new Set(errors), (schema, i) => ({
      name: `${id}-failure${i === 0 ? "" : `.${i + 1}`}`,
      summary: "what the task, or its middleware, failed with",
      schema
    }))
  ]
}

/** A parameter is a string: of its schema AsyncAPI takes the words and the choice. */
const parameterOf = (schema: JsonSchema.JsonSchema, { definitions }: Compiled): Parameter => {
  const name = typeof schema["$ref"] === "string" ? schema["$ref"].slice("#/components/schemas/".length) : undefined
  const { default: otherwise, description, enum: choice, examples } = { ...schema, ...definitions[name ?? ""] }
  const texts = (values: unknown) =>
    Array.isArray(values) ? values.filter((value): value is string => typeof value === "string") : undefined
  return defined<Parameter>({
    description: typeof description === "string" ? description : undefined,
    enum: texts(choice),
    default: typeof otherwise === "string" ? otherwise : undefined,
    examples: texts(examples)
  })
}

/** Without the keys that are not set: JSON has no undefined, and neither has the document. */
const defined = <A extends object>(value: { readonly [K in keyof A]: A[K] | undefined }): A =>
  Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as A
