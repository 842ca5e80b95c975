/**
 * The other side of a broker, for tests of channels: sends a message to an address as another system would, runs it
 * through the real worker, and says whether it was acknowledged, and what its handler emitted. On the memory backend and
 * the clock of the test; what the program builds at its start (its layers) is built and closed around it.
 *
 * ```ts
 * const TestLive = TestProducer.layer(App).pipe(Layer.provide(OrderPlacedLive), Layer.provideMerge(TestProducer.router))
 *
 * it.effect("an order leads to an invoice", () =>
 *   Effect.gen(function*() {
 *     const answer = yield* TestProducer.send("orders.eu.12", { total: 9 }, { headers: { "x-tenant": "acme" } })
 *     yield* TestProducer.acknowledged(answer)
 *     const [invoice] = yield* TestProducer.emitted(answer, InvoiceDue)
 *     assert.strictEqual(invoice.payload.total, 9)
 *   }).pipe(Effect.provide(TestLive)))
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import { Backend, type BackendError } from "../Backend.ts"
import { type Any, find, type InvalidAddress } from "../bus/Channel.ts"
import * as Router from "../bus/Router.ts"
import type * as Capability from "../Capability.ts"
import type { Gate } from "../Gate.ts"
import { fromEnvelope } from "../internal/codecs.ts"
import { queueOf } from "../internal/worker/resolve.ts"
import type * as Middleware from "../Middleware.ts"
import type * as Task from "../Task.ts"
import type * as TaskGroup from "../TaskGroup.ts"
import type * as Worker from "../Worker.ts"
import * as TestWorker from "./TestWorker.ts"

/**
 * What a message came to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Answer {
  readonly address: string
  /** the hand-out: its outcome, and what the backend said to the settlement */
  readonly ran: TestWorker.Ran
  /** the jobs that were stored while it ran, oldest first */
  readonly stored: ReadonlyArray<TestWorker.Stored>
}

/**
 * A message did not come to what the test says. `message` has what it came to instead.
 *
 * @category errors
 * @since 0.1.0
 */
export class Unexpected extends Data.TaggedError("windlass/testing/Unexpected")<{
  readonly message: string
  readonly answer: Answer
}> {}

/**
 * The producer. Use the functions of this module.
 *
 * @category services
 * @since 0.1.0
 */
export class TestProducer extends Context.Service<TestProducer, {
  readonly send: (
    address: string,
    payload: Schema.Json,
    options: { readonly headers?: Readonly<Record<string, string>> | undefined; readonly id?: string | undefined }
  ) => Effect.Effect<Answer, TestWorker.NotRun>
  readonly settledTwice: Effect.Effect<ReadonlyArray<string>>
}>()("windlass/testing/TestProducer") {}

type Provided = Backend | Capability.AllButTransactional | TestWorker.Records

/**
 * A router for what handlers emit under test: everything goes into the queue of the test, where {@link emitted} finds it.
 *
 * @category layers
 * @since 0.1.0
 */
export const router: Layer.Layer<Router.Router | Provided, InvalidAddress> = Router.layer({
  default: Router.backend
}).pipe(Layer.provideMerge(TestWorker.backend))

/**
 * A `TestWorker` of the group, and a producer that sends to its addresses.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <
  Names extends string,
  const Ms extends ReadonlyArray<Middleware.ForWorker> = readonly [],
  const Gs extends ReadonlyArray<Gate<any>> = readonly []
>(
  group: TaskGroup.TaskGroup<Names>,
  options?: TestWorker.Options<Ms, Gs>
): Layer.Layer<
  TestProducer | TestWorker.TestWorker | Provided,
  BackendError | Task.InvalidTask | Worker.InvalidWorker | InvalidAddress,
  Exclude<Worker.Needs<Names, Ms, Gs>, Provided>
> =>
  Layer.effect(
    TestProducer,
    Effect.gen(function*() {
      const worker = yield* TestWorker.TestWorker
      const backend = yield* Backend
      const records = yield* TestWorker.Records
      const channels = yield* Effect.try({ try: () => find(group), catch: (error) => error as InvalidAddress })
      let count = 0
      return {
        settledTwice: worker.settledTwice,
        send: (address, payload, { headers = {}, id = `message-${++count}` }) =>
          Effect.gen(function*() {
            const found = channels(address)?.task
            // one that nobody knows still arrives, where the others do
            const queue = queueOf(found ?? group.tasks[0]!)
            yield* Effect.orDie(backend.publish(queue, [{
              envelope: {
                id,
                task: found?._tag ?? address,
                version: found?.version ?? 1,
                payload: JSON.stringify(payload),
                headers: { ...headers, "windlass-address": address },
                origin: "user"
              }
            }]))
            const from = records.stored.length
            const ran = yield* worker.job(id)
            return { address, ran, stored: records.stored.slice(from) }
          })
      }
    })
  ).pipe(Layer.provideMerge(TestWorker.layer(group, options)))

/**
 * Sends one message and runs one attempt of it: delivery point, decoding, the whole chain, settlement. The payload is the
 * JSON that another system would have written, and so are the headers.
 *
 * @category sending
 * @since 0.1.0
 */
export const send = (
  address: string,
  payload: Schema.Json = null,
  options?: {
    readonly headers?: Readonly<Record<string, string>> | undefined
    /** of the job; a number unless set */
    readonly id?: string | undefined
  }
): Effect.Effect<Answer, TestWorker.NotRun, TestProducer> =>
  Effect.flatMap(TestProducer, (producer) => producer.send(address, payload, options ?? {}))

/**
 * Fails unless the message was taken: it succeeded, or was discarded on purpose, and that was settled once.
 *
 * @category assertions
 * @since 0.1.0
 */
export const acknowledged = (answer: Answer): Effect.Effect<Answer, Unexpected, TestProducer> => {
  const { outcome } = answer.ran
  return outcome._tag === "Succeeded" || outcome._tag === "Discarded"
    ? settledOnce(answer)
    : unexpected(answer, `was not acknowledged, but ${lineOf(answer)}`)
}

/**
 * Fails unless the message was refused (it failed, for this attempt or for good, could not be decoded, or nobody knows its
 * address), and that was settled once. With a text or an expression, what it failed with must match.
 *
 * @category assertions
 * @since 0.1.0
 */
export const refused = (answer: Answer, match?: string | RegExp): Effect.Effect<Answer, Unexpected, TestProducer> => {
  const { outcome } = answer.ran
  if (outcome._tag === "Succeeded" || outcome._tag === "Discarded") {
    return unexpected(answer, "was acknowledged, and should have been refused")
  }
  const why = whyOf(answer)
  const fits = match === undefined || (typeof match === "string" ? why.includes(match) : match.test(why))
  return fits ? settledOnce(answer) : unexpected(answer, `was refused otherwise than by ${match}: ${lineOf(answer)}`)
}

/**
 * The messages for this channel that were sent while the message ran, oldest first, decoded.
 *
 * @category assertions
 * @since 0.1.0
 */
export const emitted = <C extends Any>(
  answer: Answer,
  channel: C
): Effect.Effect<ReadonlyArray<Task.PayloadOf<C>>> =>
  Effect.forEach(
    answer.stored.filter(({ item }) => item.envelope.task === channel._tag),
    ({ item }) => {
      const message = fromEnvelope(channel.codecs, item.envelope)
      return Exit.isSuccess(message)
        ? Effect.succeed(message.value as Task.PayloadOf<C>)
        : Effect.die(
          new Error(`message ${item.envelope.id} of channel ${channel._tag} does not fit it`, { cause: message.cause })
        )
    }
  )

const settledOnce = (answer: Answer): Effect.Effect<Answer, Unexpected, TestProducer> =>
  Effect.gen(function*() {
    const { settledTwice } = yield* TestProducer
    const { id, settled } = answer.ran
    if ((yield* settledTwice).includes(id)) return yield* unexpected(answer, "was settled twice")
    if (settled !== "Settled" && settled !== "Aborted") {
      return yield* unexpected(answer, `was not settled: the backend said ${settled ?? "nothing"}`)
    }
    return answer
  })

const unexpected = (answer: Answer, what: string): Effect.Effect<never, Unexpected> =>
  Effect.fail(new Unexpected({ message: `message ${answer.ran.id} to ${answer.address} ${what}`, answer }))

const whyOf = ({ ran: { outcome } }: Answer): string =>
  outcome._tag === "Retried" || outcome._tag === "Dead"
    ? outcome.error
    : "reason" in outcome
    ? outcome.reason
    : outcome._tag

const lineOf = (answer: Answer): string => `${answer.ran.outcome._tag}: ${whyOf(answer)}`
