/**
 * The child's end: builds the layer of handlers, says that it is ready, and runs one job after another as the innermost
 * layer of a chain whose rest is in the parent.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import type * as LogLevel from "effect/LogLevel"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as Tracer from "effect/Tracer"
import { BackendError, type Delivery } from "../../Backend.ts"
import { isDecide } from "../../Decide.ts"
import { describe } from "../../internal/line.ts"
import * as trace from "../../internal/trace.ts"
import { body } from "../../internal/worker/body.ts"
import { entered } from "../../internal/worker/layer.ts"
import type { Resolved } from "../../internal/worker/resolve.ts"
import { Run } from "../../internal/worker/run.ts"
import * as Job from "../../Job.ts"
import type * as Task from "../../Task.ts"
import { mark } from "./preload.ts"
import type { Answer, Request, ToChild, ToParent } from "./protocol.ts"

/** A handler as the child finds it. */
export interface Entry {
  readonly task: Task.Any
  readonly run: (payload: unknown) => Effect.Effect<unknown, unknown, unknown>
  readonly context: Context.Context<never>
}

/** the key of a handler is this and the task's name */
export const handlers = "windlass/isolation/Handler/"

const send = (message: ToParent): void => void process.send?.(message, undefined, undefined, () => {})

/** Questions that the parent has not answered yet. */
const open = new Map<number, (answer: Answer) => void>()
let calls = 0

const decodeError = Schema.decodeUnknownSync(Schema.toCodecJson(BackendError))

const progress = (value: string): Effect.Effect<void, BackendError> =>
  Effect.callback((resume) => {
    const call = ++calls
    open.set(call, (answer) => {
      open.delete(call)
      resume(
        answer._tag === "Ok"
          ? Effect.void
          : answer._tag === "Error"
          ? Effect.fail(decodeError(answer.error))
          : Effect.die(new Error(answer.message))
      )
    })
    send({ _tag: "Progress", call, value })
  })

const text = (part: unknown): string => typeof part === "string" ? part : describe(part)

/** Lines go to the parent, which knows the job that they belong to and what becomes of logs. */
const logger = Logger.make<unknown, void>(({ cause, fiber, logLevel, message }) => {
  const parts = (Array.isArray(message) ? message : [message]).map(text)
  if (cause.reasons.length > 0) parts.push(Cause.pretty(cause))
  const annotations = fiber.getRef(References.CurrentLogAnnotations)
  send({
    _tag: "Log",
    line: {
      level: logLevel === "All" || logLevel === "None" ? "Info" : logLevel,
      message: parts,
      annotations: Object.fromEntries(Object.entries(annotations).map(([key, value]) => [key, text(value)]))
    }
  })
})

/** The job as its worker has it, without its payload and its fence. */
const runOf = ({ job, remaining, task: name }: Request, task: Task.Any, receivedAt: number): Run => {
  const delivery: Delivery = {
    envelope: {
      id: job.id,
      task: name,
      version: task.version,
      payload: "",
      headers: job.headers,
      origin: job.origin
    },
    receipt: { id: job.id, fence: undefined },
    queue: job.queue,
    attempt: job.attempt,
    unsettled: 0,
    lostFrom: job.lostFrom === undefined ? undefined : { worker: job.lostFrom, claimedAt: 0 },
    enqueuedAt: job.enqueuedAt,
    scheduledFor: job.scheduledFor,
    firstFailedAt: undefined,
    priority: job.priority,
    group: job.group,
    abortRequested: false,
    keepsResult: false
  }
  const worker: Job.Job["worker"] = { id: job.worker, stop: Effect.sync(() => send({ _tag: "StopWorker" })) }
  const run = new Run(delivery, job.startedAt, worker, (_, value) => progress(value))
  const resolved: Pick<Resolved, "task" | "maxAttempts" | "timeout" | "deadline"> = {
    task,
    maxAttempts: job.lastAttempt ? job.attempt : Number.POSITIVE_INFINITY,
    // both limits of the job as one; the parent's clock holds them, this one only tells how much is left
    timeout: remaining === undefined ? undefined : receivedAt + remaining - job.startedAt,
    deadline: undefined
  }
  run.resolved = resolved as Resolved
  return run
}

const encode = (task: Task.Any, exit: Exit.Exit<unknown, unknown>): ToParent => {
  const decide = Exit.isFailure(exit)
    ? exit.cause.reasons.flatMap((reason) => Cause.isFailReason(reason) && isDecide(reason.error) ? [reason.error] : [])
    : []
  if (decide[0] !== undefined) return { _tag: "Decided", decision: decide[0].decision }
  try {
    return { _tag: "Done", exit: task.codecs.encodeExit(exit) }
  } catch (defect) {
    const error = new Error(`the result of task ${task._tag} does not fit its schema`, { cause: defect })
    return { _tag: "Done", exit: task.codecs.encodeExit(Exit.die(error)) }
  }
}

const runJob = (
  entries: ReadonlyMap<string, Entry>,
  context: Context.Context<never>,
  request: Request
): Run | undefined => {
  const entry = entries.get(request.task)!
  const { task } = entry
  const payload = task.codecs.decodePayload(request.payload, task.version)
  if (Exit.isFailure(payload)) {
    send(encode(task, Exit.die(Cause.squash(payload.cause))))
    return undefined
  }
  const run = runOf(request, task, Date.now())
  const span = trace.decode(request.trace === undefined ? {} : { [trace.header]: request.trace })
  const level = Context.add(
    Context.merge(context, entry.context),
    References.MinimumLogLevel,
    request.logLevel as LogLevel.LogLevel
  )
  const inside = Context.add(level, Job.Current, run)
  // masked, as the chain is in a worker: the body has a fiber of its own, and that is what a stop interrupts
  const fiber = Effect.runForkWith(
    span._tag === "Some" ? Context.add(inside, Tracer.ParentSpan, span.value) : inside
  )(entered(body(entry.run, undefined), payload.value, run), { uninterruptible: true })
  fiber.addObserver((exit) => {
    if (run.to !== undefined) send({ _tag: "Reroute", to: run.to })
    send(encode(task, exit))
  })
  return run
}

const program = (layer: Layer.Layer<never, unknown>): Effect.Effect<void, unknown> =>
  Effect.scoped(Effect.gen(function*() {
    const built = yield* Layer.build(layer)
    const context = yield* Effect.context<never>()
    const entries = new Map<string, Entry>()
    for (const [key, entry] of built.mapUnsafe) {
      if (key.startsWith(handlers)) entries.set(key.slice(handlers.length), entry as Entry)
    }
    const bye = Deferred.makeUnsafe<void>()
    let running: Run | undefined
    process.on("message", (message: ToChild) => {
      switch (message._tag) {
        case "Run":
          running = runJob(entries, context, message.request)
          return
        case "Stop":
          // a middleware of the parent that cut the body itself (a limit, a race) has no reason that the job would know
          if (message.why === undefined) running?.body?.interruptUnsafe()
          else running?.stop(message.why)
          return
        case "Answer":
          return open.get(message.call)?.(message.answer)
        case "Bye":
          return void Deferred.doneUnsafe(bye, Exit.void)
      }
    })
    send({ _tag: "Ready", tasks: Object.fromEntries(Array.from(entries, ([name, { task }]) => [name, task.version])) })
    yield* Deferred.await(bye)
  })).pipe(Effect.provide(Logger.layer([logger])))

export const serve = (layer: Layer.Layer<never, unknown>): void => {
  if ((globalThis as { readonly [key: symbol]: unknown })[Symbol.for(mark)] !== true) {
    throw new Error(
      "Isolated.serve was called outside of a process that Isolated.toLayer started: name this module there, do not import it"
    )
  }
  Effect.runFork(program(layer)).addObserver((exit) => {
    if (Exit.isSuccess(exit)) return process.exit(0)
    process.send?.(
      { _tag: "Failed", error: Cause.pretty(exit.cause) } satisfies ToParent,
      undefined,
      undefined,
      () => process.exit(1)
    )
  })
}
