/**
 * From a payload to a stored job: encode, pass the enqueue point, publish. Every new job goes through here exactly once
 * (law L7); retries are moves of the stored envelope and never do.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import * as Backend from "../Backend.ts"
import { GroupLimit, Inspect, Results } from "../Capability.ts"
import * as Enqueue from "../Enqueue.ts"
import * as Job from "../Job.ts"
import { isService } from "../Middleware.ts"
import type * as Task from "../Task.ts"
import { type Stored, toStored } from "./codecs.ts"
import { uuidV7 } from "./id.ts"
import { describe } from "./line.ts"
import { enqueueKey } from "./middleware/declared.ts"
import type { Options } from "./options.ts"
import * as trace from "./trace.ts"

/** @internal */
export const defaultQueue = "default"

/** how long the result of an `execute` is kept unless its caller says otherwise, in milliseconds @internal */
export const keepResultMillis = 3_600_000

const utf8 = new TextEncoder()

/** The id of a new job and why a middleware dropped it if one did, or the id of the job that was there before. */
interface Accepted {
  readonly id: string
  readonly dropped: string | undefined
  readonly isNew: boolean
}

const submit = (
  task: Task.Any,
  payloads: ReadonlyArray<unknown>,
  options: Options
): Effect.Effect<ReadonlyArray<Accepted>, any, any> =>
  Effect.withFiber((fiber) => {
    const context = fiber.context as Context.Context<Backend.Backend>
    const backend = Context.get(context, Backend.Backend)
    const common = commonOf(task, options, context, backend, fiber.getRef(Clock.Clock).currentTimeMillisUnsafe())
    const items: Array<Backend.Item> = []
    for (let i = 0; i < payloads.length; i++) {
      const item = makeItem(task, payloads[i], i, options, common)
      if (item instanceof Enqueue.InvalidEnqueue) return Effect.fail(item)
      items.push(item)
    }
    if (items.length === 0) return Effect.succeed([])
    const queue = options.queue ?? task.settings.queue ?? defaultQueue
    const unique = options.unique
    const atomic = options.atomic === true || (unique?.onConflict === "fail" && items.length > 1)
    if (atomic && items.length > backend.limits.publishBatch) {
      return Effect.fail(
        invalid(
          task,
          "Option",
          `${items.length} jobs cannot be stored as one: ${backend.name} takes ${backend.limits.publishBatch} at once. Enqueue fewer at a time`
        )
      )
    }
    const published = pass(task, context)({ task: task._tag, queue, items }, (batch) => publish(backend, batch, atomic))
    return Effect.flatMap(published, (answers) => {
      const skipped = answers.some((answer) => answer._tag === "Skipped")
      const accepted: Array<Accepted> = []
      for (let i = 0; i < answers.length; i++) {
        const answer = answers[i]!
        const id = items[i]!.envelope.id
        if (answer._tag === "Dropped") {
          accepted.push({ id, dropped: answer.reason, isNew: true })
        } else if (answer._tag !== "Duplicate") {
          accepted.push({ id, dropped: undefined, isNew: true })
        } else if (skipped || (answer.existing !== id && unique?.onConflict === "fail")) {
          return Effect.fail(new Enqueue.AlreadyEnqueued({ task: task._tag, existing: answer.existing }))
        } else {
          accepted.push({ id: answer.existing, dropped: undefined, isNew: false })
        }
      }
      return Effect.succeed(accepted)
    })
  })

/** @internal */
export const enqueueOne = (task: Task.Any, payload: unknown, options: Options): Effect.Effect<string, any, any> =>
  Effect.map(submit(task, [payload], options), (accepted) => accepted[0]!.id)

/** @internal */
export const enqueueAll = (
  task: Task.Any,
  payloads: ReadonlyArray<unknown>,
  options: Options
): Effect.Effect<ReadonlyArray<string>, any, any> =>
  Effect.map(submit(task, payloads, options), (accepted) => accepted.map(({ id }) => id))

const invalid = (task: Task.Any, reason: Enqueue.InvalidEnqueue["reason"], message: string) =>
  new Enqueue.InvalidEnqueue({ task: task._tag, reason, message: `task ${task._tag}: ${message}` })

/** What the items of a call share. */
interface Common {
  readonly now: number
  readonly origin: Backend.Origin
  /** of the span that they are enqueued in */
  readonly trace: string | undefined
  /** why none of them may be stored, if so */
  readonly refused: Enqueue.InvalidEnqueue | undefined
}

const commonOf = (
  task: Task.Any,
  options: Options,
  context: Context.Context<never>,
  backend: Backend.Shape,
  now: number
): Common => {
  const span = Context.getOrUndefined(context as Context.Context<Tracer.ParentSpan>, Tracer.ParentSpan)
  const job = Context.getOrUndefined(context as Context.Context<Job.Current>, Job.Current)
  return {
    now,
    origin: options.origin ?? (job === undefined ? "user" : "handler"),
    trace: span === undefined ? undefined : trace.encode(span),
    refused: refusedOptions(task, options, context, backend, now)
  }
}

const makeItem = (
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
  const headers: Record<string, string> = { ...options.headers, ...stored.headers }
  if (common.trace !== undefined) headers[trace.header] ??= common.trace
  return {
    envelope: {
      id: options.id === undefined ? uuidV7(common.now) : options.id(input, index),
      task: task._tag,
      version: task.version,
      payload: stored.payload,
      headers,
      origin: common.origin
    },
    due: options.due,
    priority: options.priority,
    unique: options.unique === undefined
      ? undefined
      : { key: `${task._tag}:${options.unique.key(input)}`, until: options.unique.until },
    group: options.group,
    groupLimit: options.groupLimit,
    keepResult: options.keepResult
  }
}

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

type Next = (batch: Enqueue.Batch) => Effect.Effect<ReadonlyArray<Enqueue.Enqueued>, Enqueue.EnqueueError>

/** The program's middleware around the task's own halves around the backend. */
const pass = (task: Task.Any, context: Context.Context<never>) => (batch: Enqueue.Batch, inner: Next) => {
  let wraps = Context.get(context, Enqueue.CurrentMiddleware)
  for (const m of task.middleware) {
    if (!isService(m) || !m.enqueue) continue
    wraps = [...wraps, Context.getUnsafe(context as Context.Context<unknown>, enqueueKey(m))]
  }
  if (wraps.length === 0) return inner(batch)
  const misused = (what: string) => Effect.die(new Error(`enqueue middleware of task ${task._tag} ${what}`))
  const ids = new Set(batch.items.map((item) => item.envelope.id))
  const chain = wraps.reduceRight<Next>(
    (next, wrap) => (batch) =>
      Effect.flatMap(
        Effect.scoped(wrap(next, batch)),
        (answers) =>
          answers.length === batch.items.length ? Effect.succeed(answers) : misused(
            `answered ${answers.length} of ${batch.items.length} jobs: a wrap answers one Enqueued per item, in order`
          )
      ),
    (batch) => {
      if (batch.items.length === 0) return Effect.succeed([])
      // a job that the caller does not know of has passed no wrap outside of this one, and nobody would find it (L7)
      const foreign = batch.items.find((item) => !ids.has(item.envelope.id))
      return foreign === undefined ? inner(batch) : misused(
        `passed on job ${foreign.envelope.id}, which is none of the call: a wrap keeps the ids of its items and adds none`
      )
    }
  )
  return chain(batch)
}

const publish = (
  backend: Backend.Shape,
  batch: Enqueue.Batch,
  atomic: boolean
): Effect.Effect<ReadonlyArray<Enqueue.Enqueued>, Enqueue.EnqueueError> => {
  for (const item of batch.items) {
    // after the middleware, which may have made it larger: three bytes a character are the most that UTF-8 takes
    const { headers, payload, task } = item.envelope
    const printed = print(headers)
    const limit = backend.limits.payloadBytes
    if ((payload.length + printed.length) * 3 > limit) {
      const bytes = utf8.encode(payload).length + utf8.encode(printed).length
      if (bytes > limit) {
        return Effect.fail(
          new Enqueue.InvalidEnqueue({
            task,
            reason: "TooLarge",
            message:
              `task ${task}: a job of ${bytes} bytes is larger than the ${limit} that ${backend.name} carries: ` +
              "store the data elsewhere and enqueue a reference"
          })
        )
      }
    }
  }
  const size = backend.limits.publishBatch
  if (batch.items.length <= size) return backend.publish(batch.queue, batch.items, { atomic })
  const parts: Array<ReadonlyArray<Backend.Item>> = []
  for (let i = 0; i < batch.items.length; i += size) parts.push(batch.items.slice(i, i + size))
  const publishPart = (part: ReadonlyArray<Backend.Item>, n: number) => {
    const call = backend.publish(batch.queue, part, { atomic })
    return n === 0 ? call : Effect.mapError(call, (error) => partly(error, n * size, batch.items.length))
  }
  return Effect.map(Effect.forEach(parts, publishPart), (all) => all.flat())
}

/** mostly there are none */
const print = (headers: Readonly<Record<string, string>>): string => {
  for (const _ in headers) return JSON.stringify(headers)
  return "{}"
}

/** Whatever became of this part, the call as a whole has taken effect: a caller must not take it for one that has not. */
const partly = (error: Backend.BackendError, stored: number, of: number) =>
  new Backend.BackendError({
    backend: error.backend,
    operation: error.operation,
    message: `${error.message} (the first ${stored} of ${of} jobs are stored)`,
    retryable: error.retryable,
    outcome: "Unknown",
    cause: error
  })

/** @internal */
export const execute = (task: Task.Any, payload: unknown, options: Options): Effect.Effect<any, any, any> =>
  Effect.gen(function*() {
    const results = yield* Results
    const [accepted] = yield* submit(task, [payload], { keepResult: keepResultMillis, ...options })
    const { dropped, id, isNew } = accepted!
    // nothing will ever run, so there is nothing to wait for
    if (dropped !== undefined) return yield* new Job.Discarded({ id, reason: dropped })
    const result = yield* isNew ? results.await(id) : Effect.raceFirst(results.await(id), gone(id))
    const decoded = result.exit === undefined ? undefined : task.codecs.decodeExit(result.exit)
    const exit = decoded !== undefined && Exit.isSuccess(decoded) ? decoded.value : undefined
    if (result.state === "succeeded" && exit !== undefined && Exit.isSuccess(exit)) return exit.value
    if (result.state === "dead" && exit !== undefined && Exit.hasFails(exit)) return yield* exit
    switch (result.state) {
      case "discarded":
        return yield* new Job.Discarded({ id, reason: result.reason ?? "discarded" })
      case "aborted":
        return yield* new Job.Aborted({ id, reason: result.reason ?? "aborted" })
      case "dead":
        return yield* new Job.Dead({
          id,
          reason: result.reason ?? "dead",
          detail: detailOf(exit) ?? result.exit
        })
      case "succeeded":
        if (result.exit === undefined) return yield* noResult(id)
        return yield* new Job.Dead({
          id,
          reason: "undecodable",
          detail: detailOf(exit) ??
            `the stored result of task ${task._tag} does not fit the schemas that this program has: ${result.exit}`
        })
    }
  })

const detailOf = (exit: Exit.Exit<unknown, unknown> | undefined): string | undefined =>
  exit !== undefined && Exit.isFailure(exit) ? describe(Cause.squash(exit.cause)) : undefined

const noResult = (id: string) =>
  new Job.Dead({
    id,
    reason: "no-result",
    detail: `job ${id}, which holds the unique key, is over and its result was not kept: nobody had asked for it`
  })

/** how often a job that somebody else enqueued is looked for, in milliseconds */
const lookAgain = 5_000

/**
 * Fails once a job that was there before is there no more. Nobody may have asked to keep its result, and its key may
 * outlive it: then there is nothing to wait for.
 */
const gone = (id: string): Effect.Effect<never, Job.Dead | Backend.BackendError> =>
  Effect.gen(function*() {
    const context = yield* Effect.context<never>()
    const inspect = Context.getOrUndefined(context as Context.Context<Inspect>, Inspect)
    if (inspect === undefined) return yield* Effect.never
    while (Option.isSome(yield* inspect.get(id))) yield* Effect.sleep(lookAgain)
    // it may have ended this moment, and the answer may be under way
    yield* Effect.sleep(1_000)
    return yield* noResult(id)
  })
