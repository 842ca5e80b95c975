/**
 * From a payload to a stored job: encode, pass the enqueue point, publish. Every new job goes through here exactly once
 * (law L7); retries are moves of the stored envelope and never do.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Backend from "../Backend.ts"
import * as Enqueue from "../Enqueue.ts"
import { isService } from "../Middleware.ts"
import type * as Task from "../Task.ts"
import { Common, invalid, makeItem } from "./item.ts"
import { enqueueKey } from "./middleware/declared.ts"
import type { Options } from "./options.ts"

/** @internal */
export const defaultQueue = "default"

const utf8 = new TextEncoder()

const whole = Object.freeze({ atomic: true })
const each = Object.freeze({ atomic: false })

/** The id of a new job and why a middleware dropped it if one did, or the id of the job that was there before. */
class Accepted {
  readonly id: string
  readonly dropped: string | undefined
  readonly isNew: boolean

  constructor(id: string, dropped: string | undefined, isNew: boolean) {
    this.id = id
    this.dropped = dropped
    this.isNew = isNew
  }
}

/** @internal */
export const submit = <A>(
  task: Task.Any,
  payloads: ReadonlyArray<unknown>,
  options: Options,
  answer: (accepted: ReadonlyArray<Accepted>) => A
): Effect.Effect<A, any, any> =>
  Effect.withFiber((fiber) => {
    const context = fiber.context as Context.Context<Backend.Backend>
    const backend = Context.get(context, Backend.Backend)
    const now = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
    const common = new Common(task, options, context, backend, now)
    let wrong: unknown
    const items = payloads.map((payload, i) => {
      const item = wrong === undefined ? makeItem(task, payload, i, options, common) : undefined
      if (item instanceof Enqueue.InvalidEnqueue) wrong = item
      return item as Backend.Item
    })
    if (wrong !== undefined) return Effect.fail(wrong)
    if (items.length === 0) return Effect.succeed(answer([]))
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
    const wraps = wrapsOf(task, context)
    const published: Effect.Effect<ReadonlyArray<Enqueue.Enqueued>, Enqueue.EnqueueError, any> = wraps.length === 0
      ? publish(backend, queue, items, atomic)
      : pass(task, wraps, { task: task._tag, queue, items }, (batch) =>
        publish(backend, batch.queue, batch.items, atomic))
    return Effect.flatMap(published, (answers) => {
      const skipped = answers.some(({ _tag }) =>
        _tag === "Skipped"
      )
      let clash: Enqueue.AlreadyEnqueued | undefined
      const accepted = answers.map((answer, i) => {
        const id = items[i]!.envelope.id
        if (answer._tag !== "Duplicate") {
          return new Accepted(id, answer._tag === "Dropped" ? answer.reason : undefined, true)
        }
        const { existing } = answer
        if (skipped || (existing !== id && unique?.onConflict === "fail")) {
          clash ??= new Enqueue.AlreadyEnqueued({ task: task._tag, existing })
        }
        return new Accepted(existing, undefined, false)
      })
      return clash === undefined ? Effect.succeed(answer(accepted)) : Effect.fail(clash)
    })
  })

/** by `map`, because an array literal is a literal (see `item.ts`), and `Array.of` is ten times as slow */
const one = [undefined]

const first = (accepted: ReadonlyArray<Accepted>): string => accepted[0]!.id

const all = (accepted: ReadonlyArray<Accepted>): ReadonlyArray<string> => accepted.map(({ id }) => id)

/** @internal */
export const enqueueOne = (task: Task.Any, payload: unknown, options: Options): Effect.Effect<string, any, any> =>
  submit(task, one.map(() => payload), options, first)

/** @internal */
export const enqueueAll = (
  task: Task.Any,
  payloads: ReadonlyArray<unknown>,
  options: Options
): Effect.Effect<ReadonlyArray<string>, any, any> => submit(task, payloads, options, all)

type Next = (batch: Enqueue.Batch) => Effect.Effect<ReadonlyArray<Enqueue.Enqueued>, Enqueue.EnqueueError>

/** The program's middleware around the task's own halves, the outermost first. */
const wrapsOf = (task: Task.Any, context: Context.Context<never>): ReadonlyArray<Enqueue.Wrap> => {
  let wraps = Context.get(context, Enqueue.CurrentMiddleware)
  for (const m of task.middleware) {
    if (!isService(m) || !m.enqueue) continue
    wraps = [...wraps, Context.getUnsafe(context as Context.Context<unknown>, enqueueKey(m))]
  }
  return wraps
}

/** Through the wraps to the backend. */
const pass = (task: Task.Any, wraps: ReadonlyArray<Enqueue.Wrap>, batch: Enqueue.Batch, inner: Next) => {
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
  queue: string,
  items: ReadonlyArray<Backend.Item>,
  atomic: boolean
): Effect.Effect<ReadonlyArray<Enqueue.Enqueued>, Enqueue.EnqueueError> => {
  for (const item of items) {
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
  if (items.length <= size) return backend.publish(queue, items, atomic ? whole : each)
  const parts: Array<ReadonlyArray<Backend.Item>> = []
  for (let i = 0; i < items.length; i += size) parts.push(items.slice(i, i + size))
  const publishPart = (part: ReadonlyArray<Backend.Item>, n: number) => {
    const call = backend.publish(queue, part, atomic ? whole : each)
    return n === 0 ? call : Effect.mapError(call, (error) => partly(error, n * size, items.length))
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
