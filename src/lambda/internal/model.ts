/** What comes into a function, what goes out of it, and how it may fail: the vocabulary of `Lambda`. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

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
  readonly attributes: SystemAttributes
  readonly messageAttributes: {
    readonly [name: string]: { readonly stringValue?: string | undefined; readonly dataType: string }
  }
  readonly md5OfBody: string
  readonly eventSourceARN: string
}

/**
 * What SQS itself knows of a message. Numbers and times come as text.
 *
 * @category models
 * @since 0.1.0
 */
export interface SystemAttributes {
  readonly ApproximateReceiveCount?: string | undefined
  readonly ApproximateFirstReceiveTimestamp?: string | undefined
  readonly SentTimestamp?: string | undefined
  readonly SenderId?: string | undefined
  readonly MessageGroupId?: string | undefined
  readonly MessageDeduplicationId?: string | undefined
  readonly SequenceNumber?: string | undefined
  readonly AWSTraceHeader?: string | undefined
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
 * Around a whole invocation. It sees it end and cannot change what it comes to; the batch is run once, however often it
 * runs `next`, and when it dies after that the answer stands. What it does after `next` has the part of the margin that the
 * jobs left: when the function's time is nearly over the answer is given without waiting for it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Around<R = never> {
  <A, E>(next: Effect.Effect<A, E>, invocation: Invocation): Effect.Effect<A, E, R>
}

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
