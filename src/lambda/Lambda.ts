/**
 * A group of tasks as the handler of an AWS Lambda function behind an SQS queue. What happens to one record is what
 * happens to a job in a worker: observers, delivery point, decode, the whole run chain. The answer to SQS names the
 * messages that are not done, and no others (`ReportBatchItemFailures` has to be on in the event source mapping).
 *
 * ```ts
 * export const handler = Lambda.handler(App, {
 *   layer: SendEmailLive.pipe(Layer.provide([RequireTenantLive, MailboxLive]))
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
import type * as Duration from "effect/Duration"
import type * as Layer from "effect/Layer"
import type * as Middleware from "../Middleware.ts"
import type * as Task from "../Task.ts"
import type * as TaskGroup from "../TaskGroup.ts"
import type * as Worker from "../Worker.ts"
import { makeHandler } from "./internal/handler.ts"
import type { Around, BatchResponse, InvocationContext, Order } from "./internal/model.ts"
import type { Routes } from "./Routes.ts"

export {
  type Around,
  BatchFailed,
  type BatchResponse,
  Current,
  InvalidEvent,
  type Invocation,
  type InvocationContext,
  type Order,
  type Received,
  type Record,
  type SystemAttributes,
  unknownIdentifier
} from "./internal/model.ts"

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
