/** A message as a job: which part of it is stored where, and how the channel of an address is found. */
import type * as Schema from "effect/Schema"
import type { Wire } from "../../internal/codecs.ts"
import type * as Task from "../../Task.ts"
import type * as TaskGroup from "../../TaskGroup.ts"
import type { Any } from "../Channel.ts"
import { type Address, format, match, parse, table } from "./address.ts"

/** the header that has the concrete address of a message @internal */
export const addressHeader = "windlass-address"

/**
 * What a channel says of itself.
 *
 * @category models
 * @since 0.1.0
 */
export interface Facts {
  /** with its parameters in braces */
  readonly address: string
  /** @internal */
  readonly parsed: Address
  readonly parameters: Task.PlainSchema | undefined
  readonly headers: Task.PlainSchema | undefined
  readonly payload: Task.PlainSchema | undefined
  readonly emits: ReadonlyArray<Any>
  readonly title: string | undefined
  readonly description: string | undefined
  readonly bindings: Readonly<Record<string, Schema.Json>> | undefined
}

/** @internal */
export const factsOf = (task: Task.Any): Facts | undefined => task.channel as Facts | undefined

interface Encoded {
  readonly parameters?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string | undefined>>
  readonly payload?: unknown
}

/** @internal */
export const wire = (facts: Facts): Wire => ({
  split: (encoded) => {
    const { headers = {}, parameters = {}, payload } = encoded as Encoded
    const present = Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== undefined)
    return { payload, headers: { ...Object.fromEntries(present), [addressHeader]: format(facts.parsed, parameters) } }
  },
  join: (payload, headers) => {
    const message: { -readonly [K in keyof Encoded]: Encoded[K] } = {}
    if (facts.parameters !== undefined) message.parameters = parametersIn(facts, headers)
    if (facts.headers !== undefined) message.headers = headers
    if (facts.payload !== undefined) message.payload = payload
    return message
  }
})

const parametersIn = (facts: Facts, headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> => {
  const address = headers[addressHeader]
  if (address === undefined) {
    throw new Error(`channel ${facts.address}: the job has no header ${addressHeader}, which has its address`)
  }
  const found = match(facts.parsed, address)
  if (found === undefined) throw new Error(`channel ${facts.address} does not cover the address ${address} of the job`)
  return found
}

/**
 * What belongs to a concrete address.
 *
 * @category models
 * @since 0.1.0
 */
export interface Found {
  /** a channel, or a task whose name is the address */
  readonly task: Task.Any
  /** as they stand in the address, before their schemas */
  readonly parameters: Readonly<Record<string, string>>
}

/** @internal */
export const finder = (group: TaskGroup.TaskGroup<string>): (address: string) => Found | undefined => {
  const plain = new Map<string, Task.Any>()
  const channels: Array<readonly [Address, Task.Any]> = []
  for (const task of group.tasks) {
    const facts = factsOf(task)
    if (facts !== undefined) channels.push([facts.parsed, task])
    else for (const name of [task._tag, ...task.aliases]) plain.set(name, task)
  }
  const find = table([...channels, ...Array.from(plain, ([name, task]) => [exactly(name), task] as const)])
  return (address) => {
    const found = find(address)
    return found === undefined ? undefined : { task: found.value, parameters: found.parameters }
  }
}

/** the name of a task may be anything: none of it is a parameter */
const exactly = (name: string): Address => ({
  text: name,
  segments: [{ separator: "", before: name, parameter: undefined, after: "" }],
  parameters: []
})

/** the routes of a router @internal */
export const routes = <A>(
  entries: ReadonlyArray<readonly [string, A]>
): (address: string) => A | undefined => {
  const find = table(entries.map(([pattern, value]) => [parse(pattern), value] as const))
  return (address) => find(address)?.value
}
