/** One invocation: its deadline, its records, its answer. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Settlement } from "../../Backend.ts"
import type { Direct, How } from "../../internal/worker/direct.ts"
import type { Options } from "../Lambda.ts"
import { runBatch } from "./batch.ts"
import { receive } from "./delivery.ts"
import { type Element, elementsOf, isFifo } from "./event.ts"
import { BatchFailed, type BatchResponse, Current, InvalidEvent, type Invocation, unknownIdentifier } from "./model.ts"

type AnyOptions = Options<string, any, unknown, unknown>

/** Fails with what the caller of the function is to see. `closing` is done when the environment closes. @internal */
export const invoke = (
  worker: Direct,
  options: AnyOptions,
  invocation: Invocation,
  closing: Deferred.Deferred<void>,
  margin: number
): Effect.Effect<BatchResponse, BatchFailed | InvalidEvent, any> =>
  Effect.gen(function*() {
    const elements = elementsOf(invocation.event)
    // an empty answer would acknowledge what nobody has looked at
    if (typeof elements === "string") {
      return yield* new InvalidEvent({
        message: `this is no batch of SQS messages: ${elements}. Expected { Records: [...] }, or a list of records`
      })
    }
    const left = invocation.context.getRemainingTimeInMillis?.()
    const limited = left !== undefined && Number.isFinite(left)
    const now = yield* Clock.currentTimeMillis
    const until = limited ? now + left - margin : undefined
    if (until !== undefined && until <= now && elements.length > 0) {
      yield* warn(`nothing is begun: ${left} ms are left, and the margin is ${margin} ms`)
    }
    const answered = Deferred.makeUnsafe<BatchResponse, BatchFailed>()
    const process = Effect.onExit(
      Effect.flatMap(processAll(worker, options, elements, invocation, until, closing), answer(options)),
      (exit) => Deferred.done(answered, exit)
    )
    let begun = false
    // a batch is run once: an `around` that asks again gets the same answer
    const once = Effect.suspend(() => {
      if (begun) return Deferred.await(answered)
      begun = true
      return process
    })
    // an `around` that has not come to `next` by the end: nothing is begun any more
    const atLast = Effect.suspend(() => {
      if (begun) return Deferred.await(answered)
      begun = true
      return answer(options)(elements)
    })
    const all = options.around === undefined
      ? process
      : Effect.catchCause(options.around(once, invocation), (cause) => {
        if (!Deferred.isDoneUnsafe(answered)) return Effect.failCause(cause)
        // the jobs are over: what dies around them is no reason to have all of them delivered again
        const died = cause.reasons.some(Cause.isDieReason)
        return Effect.andThen(
          died ? warn("what stands around the invocation died: the answer stands", cause) : Effect.void,
          Deferred.await(answered)
        )
      })
    return yield* until === undefined ? all : inTime(all, atLast, left! - margin / 4)
  })

/** A logger that dies must not take an answer with it. */
const warn = (...message: ReadonlyArray<unknown>): Effect.Effect<void> =>
  Effect.ignoreCause(Effect.logWarning(...message))

/** Whatever an `around` still does then, what the jobs came to is said while there is time to say it. */
const inTime = <A, E, R>(
  all: Effect.Effect<A, E, R>,
  atLast: Effect.Effect<A, E>,
  millis: number
): Effect.Effect<A, E, R> =>
  Effect.flatMap(Effect.forkDetach(all, { startImmediately: true }), (fiber) =>
    Effect.raceFirst(
      Effect.onInterrupt(Fiber.join(fiber), () => Effect.sync(() => fiber.interruptUnsafe())),
      Effect.andThen(
        Effect.sleep(millis),
        Effect.tap(
          atLast,
          () => warn("what stands around the invocation did not end in time: the answer is given without it")
        )
      )
    ))

const processAll = (
  worker: Direct,
  options: AnyOptions,
  elements: ReadonlyArray<Element>,
  invocation: Invocation,
  until: number | undefined,
  closing: Deferred.Deferred<void>
): Effect.Effect<ReadonlyArray<Element>> =>
  Effect.scoped(Effect.gen(function*() {
    let stopped = false
    const over = Deferred.makeUnsafe<void>()
    const limit = until === undefined ? Effect.never : Effect.sleep(until - (yield* Clock.currentTimeMillis))
    yield* Effect.forkScoped(
      Effect.andThen(Effect.raceFirst(limit, Deferred.await(closing)), Deferred.succeed(over, undefined))
    )
    const how: How = {
      until,
      over: Deferred.await(over),
      stop: Effect.sync(() => {
        stopped = true
      })
    }
    const run = (element: Element): Effect.Effect<boolean> =>
      Effect.clockWith((clock) => {
        if (stopped || Deferred.isDoneUnsafe(closing)) return Effect.succeed(false)
        const { delivery, refused } = receive(element, options.routes, clock.currentTimeMillisUnsafe())
        const services = Context.make(Current, { ...invocation, record: element.record ?? {} })
        return Effect.map(
          worker.deliver(delivery, { ...how, refused, services }),
          ({ settlement }) => isDone(settlement)
        )
      })
    const order = options.order ?? (isFifo(elements) ? "isolateGroups" : "concurrent")
    return yield* runBatch(elements, order, options.concurrency ?? 10, run)
  }))

/** SQS knows two answers. What was aborted on request is over as well; nobody can ask for that here but a middleware. */
const isDone = (settlement: Settlement): boolean => settlement._tag === "Complete"

const answer = (options: AnyOptions) => (failed: ReadonlyArray<Element>): Effect.Effect<BatchResponse, BatchFailed> => {
  const ids = failed.map(({ messageId }) => messageId ?? unknownIdentifier)
  const nameless = failed.filter(({ messageId }) => messageId === undefined).map(({ index }) => index)
  const said = nameless.length === 0 ? Effect.void : Effect.ignoreCause(Effect.logError(
    `records without a usable messageId failed, at ${nameless.join(", ")} of the event: they are reported as ` +
      `${unknownIdentifier}, by which SQS cannot find them`
  ))
  return Effect.andThen(
    said,
    options.partialFailures === false && ids.length > 0
      ? Effect.fail(
        new BatchFailed({ ids, message: `${ids.length} messages of the batch are not done: ${ids.join(", ")}` })
      )
      : Effect.succeed({ batchItemFailures: ids.map((itemIdentifier) => ({ itemIdentifier })) })
  )
}
