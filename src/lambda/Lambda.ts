/**
 * A group of tasks as the handler of an AWS Lambda function behind an SQS queue. What happens to one record is what
 * happens to a job in a worker: observers, delivery point, decode, the whole run chain. The answer to SQS names the
 * messages that are not done, and no others (`ReportBatchItemFailures` has to be on in the event source mapping).
 *
 * ```ts
 * export const handler = Lambda.handler(App, {
 *   layer: Layer.provide([SendEmailLive, RequireTenantLive], MailboxLive)
 * })
 * ```
 *
 * | outcome of the job | what the queue is told |
 * |---|---|
 * | succeeded, discarded | done: the message is deleted |
 * | failed, snoozed, dead, undecodable, no route, cut short, not begun | failed: it comes back when its visibility timeout is over, and goes to the dead letter queue when the queue's redrive policy says so |
 *
 * The queue counts the attempts (`ApproximateReceiveCount` is `job.attempt`) and decides about the next one. A task's
 * `retry` still tells its middleware and its logs whether an attempt is the last, but it can neither delay a message nor
 * bury it: an answer to SQS has no words for that. A delivery middleware can, with a client of its own, and then elect
 * `Complete`.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Middleware from "../Middleware.ts"
import type * as Task from "../Task.ts"
import type * as TaskGroup from "../TaskGroup.ts"
import type * as Worker from "../Worker.ts"
import { makeHandler } from "./internal/handler.ts"
import type { Routes } from "./Routes.ts"

// ------------------------------------------------------------------------------------------------------------- models

/**
 * One message as SQS hands it to a function; fields that nothing here reads may be there too.
 *
 * @category models
 * @since 0.1.0
 */
export interface Record {
  readonly messageId: string
  readonly receiptHandle: string
  readonly body: string
  readonly attributes: { readonly [name: string]: string | undefined }
  readonly messageAttributes: {
    readonly [name: string]: { readonly stringValue?: string | undefined; readonly dataType: string }
  }
  readonly md5OfBody: string
  readonly eventSourceARN: string
}

/**
 * What the function's runtime says of an invocation, as far as it is used here.
 *
 * @category models
 * @since 0.1.0
 */
export interface InvocationContext {
  readonly awsRequestId?: string | undefined
  readonly getRemainingTimeInMillis?: (() => number) | undefined
}

/**
 * The answer to SQS: the messages that are not done.
 *
 * @category models
 * @since 0.1.0
 */
export interface BatchResponse {
  batchItemFailures: Array<{ itemIdentifier: string }>
}

/**
 * In which order the records of one batch run.
 *
 * - `concurrent`: side by side, at most `concurrency` at once
 * - `isolateGroups`: the records of one message group one after another, in their order, the groups side by side and all
 *   of them at once; after a failure the rest of its group is reported without being run
 * - `haltBatch`: one after another; after a failure everything behind it is reported without being run
 *
 * @category models
 * @since 0.1.0
 */
export type Order = "concurrent" | "isolateGroups" | "haltBatch"

/**
 * What a running job came with.
 *
 * @category models
 * @since 0.1.0
 */
export interface Invocation {
  /** the event of the invocation, as it came */
  readonly event: unknown
  readonly context: InvocationContext
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Received extends Invocation {
  /** as it came: nothing of it has been checked */
  readonly record: Partial<Record>
}

/**
 * The record and the invocation that the running job came with, for its handler and its middleware of the delivery and the
 * run point; undefined when it did not come through Lambda. (An observer sees the delivery: its `receipt.fence` is the
 * receipt handle.)
 *
 * @category services
 * @since 0.1.0
 */
export const Current = Context.Reference<Received | undefined>("windlass/lambda/Current", {
  defaultValue: () => undefined
})

/**
 * Around a whole invocation. It sees it end and cannot change what it comes to. What it does after `next` has the part of
 * the margin that the jobs left: when the function's time is nearly over the answer is given without waiting for it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Around<R = never> {
  <A, E>(next: Effect.Effect<A, E>, invocation: Invocation): Effect.Effect<A, E, R>
}

// ------------------------------------------------------------------------------------------------------------- errors

/**
 * The function was called with something that is no batch of messages. Nothing was run and nothing is acknowledged.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidEvent extends Schema.TaggedError<InvalidEvent>()("windlass/lambda/InvalidEvent", {
  message: Schema.String
}) {}

/**
 * With `partialFailures: false`: something of the batch is not done, so the invocation fails and all of it comes back.
 * `ids` are the messages that are not done, as they would have been reported.
 *
 * @category errors
 * @since 0.1.0
 */
export class BatchFailed extends Schema.TaggedError<BatchFailed>()("windlass/lambda/BatchFailed", {
  ids: Schema.Array(Schema.String),
  message: Schema.String
}) {}

/**
 * What is reported in the place of a message that has no identifier. An empty one would make SQS take the whole batch for
 * failed; the message itself can be named by nothing, so it is logged as an error as well.
 *
 * @category models
 * @since 0.1.0
 */
export const unknownIdentifier = "UNKNOWN"

// ------------------------------------------------------------------------------------------------------------ handler

/**
 * What the function's layer must provide: a handler per task, and what its own list requires.
 *
 * @category type facts
 * @since 0.1.0
 */
export type Needs<Names extends string, Ms extends ReadonlyArray<unknown>> =
  | { readonly [N in Names]: Task.Handler<N> }[Names]
  | Middleware.RequiresOfWorker<Ms[number]>

/**
 * @category models
 * @since 0.1.0
 */
export interface Options<
  Names extends string,
  Ms extends ReadonlyArray<Middleware.ForWorker> = ReadonlyArray<Middleware.ForWorker>,
  RA = never,
  E = never
> extends Pick<Worker.Settings, "logJobs"> {
  /**
   * the handlers of the tasks and what `middleware` and `around` need. Built once, at the first invocation (or by
   * `build`), and kept while the function's environment lives; when the build fails the invocation fails, and the next
   * one builds again
   */
  readonly layer: Layer.Layer<NoInfer<Needs<Names, Ms> | RA>, E>
  /** around every record, as in a worker's list: first = outermost */
  readonly middleware?: (Middleware.FitsWorker<Ms> & Ms) | undefined
  /** around every invocation: a flush of telemetry, a log line */
  readonly around?: Around<RA> | undefined
  /** for messages that were not enqueued by this library; without routes such a message is undeliverable */
  readonly routes?: Routes<NoInfer<Names>> | undefined
  /** `isolateGroups` for an event of a `.fifo` queue and `concurrent` for any other unless set */
  readonly order?: Order | undefined
  /** records that run at once where the order is `concurrent`; 10 unless set */
  readonly concurrency?: number | undefined
  /** false: any failure fails the invocation with {@link BatchFailed}, for mappings that know no partial answer */
  readonly partialFailures?: boolean | undefined
  /**
   * how long before the function's time-out bodies are interrupted and no more records are begun: what is left to unwind,
   * to flush and to answer. Half of it later a chain that is still open is given up. 1 second unless set. Without an
   * answer in time SQS takes the whole batch for failed, what was done included
   */
  readonly margin?: Duration.Input | undefined
}

/**
 * The function's entry point.
 *
 * @category models
 * @since 0.1.0
 */
export interface Handler {
  (event: unknown, context?: InvocationContext): Promise<BatchResponse>
  /** builds the layer now: awaited at the top level of the module it runs in the init phase of a cold start */
  readonly build: () => Promise<void>
  /**
   * interrupts what runs (its records are reported), waits for it, and closes the layer; asking again changes nothing. A
   * later call of the handler builds it anew. SIGTERM asks for it too, and ends the process unless somebody else listens
   */
  readonly close: () => Promise<void>
}

/**
 * The handler of a function for these tasks. A list of middleware that cannot work fails at the first build.
 *
 * @category constructors
 * @since 0.1.0
 */
export const handler = <
  Names extends string,
  const Ms extends ReadonlyArray<Middleware.ForWorker> = readonly [],
  RA = never,
  E = never
>(
  group: TaskGroup.TaskGroup<Names>,
  options: Options<Names, Ms, RA, E>
): Handler => makeHandler(group, options as unknown as Options<string, any, unknown, unknown>)
