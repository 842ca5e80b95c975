/**
 * From a payload and the options of its enqueue to the item that a backend stores.
 *
 * Items are made by classes and not as object literals, here and wherever something is made for every job and is garbage
 * soon after: V8 remembers by the place of a literal how long lives what is made there, and once it has seen a hundred live
 * through a collection (a burst of enqueues, one `enqueueMany`) it makes all that come from there old. Each of them would be
 * kept then, with all that it refers to, until the next full collection: a tenth to a fifth of a busy producer's processor time.
 */
import * as Context from "effect/Context"
import * as Tracer from "effect/Tracer"
import type * as Backend from "../Backend.ts"
import { GroupLimit } from "../Capability.ts"
import * as Enqueue from "../Enqueue.ts"
import * as Job from "../Job.ts"
import type * as Task from "../Task.ts"
import { type Stored, toStored } from "./codecs.ts"
import { uuidV7 } from "./id.ts"
import type { Options } from "./options.ts"
import * as trace from "./trace.ts"

class Envelope implements Backend.Envelope {
  readonly id: string
  readonly task: string
  readonly version: number
  readonly payload: string
  readonly headers: Backend.Envelope["headers"]
  readonly origin: Backend.Origin

  constructor(id: string, task: Task.Any, stored: Stored, options: Options, common: Common) {
    this.id = id
    this.task = task._tag
    this.version = task.version
    this.payload = stored.payload
    this.headers = headersOf(options, stored, common)
    this.origin = common.origin
  }
}

class Item implements Backend.Item {
  readonly envelope: Backend.Envelope
  readonly due: Backend.Item["due"]
  readonly priority: Backend.Item["priority"]
  readonly unique: Backend.Item["unique"]
  readonly group: Backend.Item["group"]
  readonly groupLimit: Backend.Item["groupLimit"]
  readonly keepResult: Backend.Item["keepResult"]

  constructor(envelope: Backend.Envelope, unique: Backend.Item["unique"], options: Options) {
    this.envelope = envelope
    this.due = options.due
    this.priority = options.priority
    this.unique = unique
    this.group = options.group
    this.groupLimit = options.groupLimit
    this.keepResult = options.keepResult
  }
}

/** What the items of a call share. @internal */
export class Common {
  readonly now: number
  readonly origin: Backend.Origin
  /** of the span that they are enqueued in */
  readonly trace: string | undefined
  /** why none of them may be stored, if so */
  readonly refused: Enqueue.InvalidEnqueue | undefined

  constructor(
    task: Task.Any,
    options: Options,
    context: Context.Context<never>,
    backend: Backend.Shape,
    now: number
  ) {
    const span = Context.getOrUndefined(context as Context.Context<Tracer.ParentSpan>, Tracer.ParentSpan)
    const job = Context.getOrUndefined(context as Context.Context<Job.Current>, Job.Current)
    this.now = now
    this.origin = options.origin ?? (job === undefined ? "user" : "handler")
    this.trace = span === undefined ? undefined : trace.encode(span)
    this.refused = refusedOptions(task, options, context, backend, now)
  }
}

/** @internal */
export const makeItem = (
  task: Task.Any,
  input: unknown,
  index: number,
  options: Options,
  common: Common
): Backend.Item | Enqueue.InvalidEnqueue => {
  let stored: Stored
  try {
    stored = toStored(task.codecs, input)
  } catch (cause) {
    return invalid(
      task,
      "Payload",
      `the payload does not fit its schema: ${cause instanceof Error ? cause.message : cause}`
    )
  }
  if (common.refused !== undefined) return common.refused
  const id = options.id === undefined ? uuidV7(common.now) : options.id(input, index)
  const unique = options.unique === undefined
    ? undefined
    : { key: `${task._tag}:${options.unique.key(input)}`, until: options.unique.until }
  return new Item(new Envelope(id, task, stored, options, common), unique, options)
}

const headersOf = (options: Options, stored: Stored, common: Common): Backend.Envelope["headers"] => {
  if (options.headers === undefined && stored.headers === undefined && common.trace === undefined) return {}
  const headers: Record<string, string> = { ...options.headers, ...stored.headers }
  if (common.trace !== undefined) headers[trace.header] ??= common.trace
  return headers
}

/** @internal */
export const invalid = (task: Task.Any, reason: Enqueue.InvalidEnqueue["reason"], message: string) =>
  new Enqueue.InvalidEnqueue({ task: task._tag, reason, message: `task ${task._tag}: ${message}` })

/** what is wrong with the options, whatever the payload */
const refusedOptions = (
  task: Task.Any,
  options: Options,
  context: Context.Context<never>,
  backend: Backend.Shape,
  now: number
): Enqueue.InvalidEnqueue | undefined => {
  const { delayMillis } = backend.limits
  const after = options.due === undefined
    ? 0
    : options.due._tag === "After"
    ? options.due.millis
    : options.due.time - now
  if (Number.isNaN(after)) {
    const what = options.due?._tag === "After" ? "the delay is not a number" : "the time to run at is not a valid date"
    return invalid(task, "Option", what)
  }
  // a job that never becomes due would wait unseen, also where an engine sets no limit
  if (after > delayMillis || after === Number.POSITIVE_INFINITY) {
    const most = Number.isFinite(delayMillis) ? `the ${delayMillis} ms` : "any"
    return invalid(
      task,
      "DelayTooLong",
      `a delay of ${after} ms is longer than ${most} that ${backend.name} can keep: enqueue it later or use another backend`
    )
  }
  const { group, groupLimit } = options
  // an untyped caller's: an engine that stores text would look for the job in a group of another name
  if (group !== undefined && typeof group !== "string") {
    return invalid(task, "Option", `the group is the ${typeof group} ${String(group)}: name it with a string`)
  }
  const badLimit = groupLimit === undefined ? undefined : wrongLimit(groupLimit, context, backend)
  if (badLimit !== undefined) {
    return invalid(task, "Option", `group "${group}" has a limit of ${groupLimit}, ${badLimit}`)
  }
  return undefined
}

/** what is wrong with the limit of a group, if anything; its capability is not there when the types were got round */
const wrongLimit = (
  limit: number,
  context: Context.Context<never>,
  backend: Backend.Shape
): string | undefined => {
  const ability = Context.getOrUndefined(context as Context.Context<GroupLimit>, GroupLimit)
  if (ability === undefined && limit > 1) {
    return `and ${backend.name} runs the jobs of a group one at a time: use a backend that has GroupLimit`
  }
  const max = ability?.max ?? 1
  return Number.isInteger(limit) && limit >= 1 && limit <= max ? undefined : `not a whole number from 1 to ${max}`
}
