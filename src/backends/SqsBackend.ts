/**
 * Queues of Amazon SQS, standard (`layer`) and FIFO (`layerFifo`), on `@aws-sdk/client-sqs`. A queue here is a queue there, of
 * the same name behind `prefix` (and before `.fifo`). Each layer supplies what such a queue has: a standard one `Delay`, a FIFO
 * one `Groups`, and neither anything else. Times are those of SQS, in whole seconds.
 *
 * **What a job is.** One message: a line of JSON (id, task, headers, counts), and the payload after it. Other programs may send
 * to the same queue; `foreign` says which jobs their messages ask for.
 *
 * **Attempts.** On a standard queue a job that goes back is sent again, with what must be known of its attempts, and then its
 * old message is deleted. A worker that dies between the two leaves two messages of one job, and both run: nothing is lost,
 * something may run twice. A message that SQS delivers a second time was lost by its owner, who is called `unknown`. On a FIFO
 * queue a job has a place to keep, so it goes back by becoming visible, and nothing can be stored with it: each delivery counts
 * as an attempt, also one that was snoozed, given back or lost; none is said to be lost (`onLost` does not apply); and a job that
 * takes its worker down is stopped by the redrive policy of the queue, which it should have. A message of another program is
 * treated so on either.
 *
 * **Delays.** Up to 15 minutes at the enqueue; a retry may wait for as long as the queue keeps messages. On a FIFO queue no
 * single message can be delayed (`Enqueue.delay` does not compile), and a retry waits 12 hours at most.
 *
 * **Groups** (FIFO): in the order of their enqueues, one at a time; a job that waits for its retry holds its group.
 *
 * **The same id twice.** A FIFO queue stores one message per job id within five minutes, and says `Stored` for the second one
 * too; so a publish that is tried again after an unknown outcome stores the job once. A standard queue stores it again.
 *
 * **Dead letters** go to the queue that the redrive policy names, else to the one with `deadLetters` behind its name; that it is
 * there is checked before work begins. A dead letter is the job as it was published, so that a redrive by SQS's own means starts
 * it anew; why it died is in the attributes `windlass.reason`, `windlass.error`, `windlass.queue` and `windlass.exit` (the
 * encoded exit, if there is room). It is sent before the job is deleted.
 *
 * **Leases** are visibility timeouts. The fence is weak: SQS may delete a message for an owner who lost it. A handler runs for
 * less than 12 hours, after which SQS renews nothing. What a worker had received and not begun goes back when it stops.
 *
 * **Rights.** A producer needs `sqs:GetQueueUrl` and `sqs:SendMessage`; a worker also `sqs:GetQueueAttributes`,
 * `sqs:ReceiveMessage`, `sqs:DeleteMessage`, `sqs:ChangeMessageVisibility`, and `sqs:SendMessage` on its own queue and that of
 * its dead letters; `create` needs `sqs:CreateQueue`.
 *
 * @since 0.1.0
 */
import * as Sqs from "@aws-sdk/client-sqs"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Backend, type BackendError, type Limits, type Shape } from "../Backend.ts"
import * as Capability from "../Capability.ts"
import { Calls } from "./sqs/calls.ts"
import { core } from "./sqs/core.ts"
import type { Engine } from "./sqs/engine.ts"
import { refusal } from "./sqs/errors.ts"
import type { Foreign, Message } from "./sqs/foreign.ts"
import { longestDelay, longestVisibility, overhead } from "./sqs/limits.ts"
import { Queues } from "./sqs/queues.ts"

export type {
  /**
   * Says which job the message of another program asks for: its task and its payload, which is what the task's schema decodes
   * from JSON; undefined when it asks for none. Such a message is of no task: it is given back for as long as an unknown task
   * is, and then goes to the dead letters as it came.
   *
   * @category models
   * @since 0.1.0
   */
  Foreign,
  /**
   * A message that another program sent: SQS's id for it, its body, and those of its attributes that are texts.
   *
   * @category models
   * @since 0.1.0
   */
  Message
}

/**
 * What may be read from the configuration.
 *
 * - `region`, `endpoint`: where SQS is; when absent, what the SDK finds in the environment and in its files.
 * - `prefix`: before the name of every queue; empty when absent.
 * - `create`: whether a queue that is not there is made, and the one of its dead letters, by whoever uses it first; when absent
 *   that fails and says so. A FIFO queue is made with a redrive policy of 100 deliveries.
 * - `deadLetters`: what is behind the name of a queue in the name of its dead letters, where the queue has no redrive policy;
 *   `-dead` when absent.
 * - `lease`: how long a delivery stays with its owner unless it is extended, in whole seconds from 1 second to 1 hour; 30
 *   seconds when absent.
 * - `pollWait`: how long SQS is asked to wait for a message, 1 to 20 seconds; 20 seconds when absent.
 * - `callTimeout`: after which a call is given up with an error whose outcome is `Unknown`; half the lease, at least 1 second
 *   and no more than 10, when absent. The client's own retries are within it.
 * - `receivers`: receives under way at once for one claim, each of up to 10 jobs; 10 when absent.
 * - `limits`: what it carries. When absent: jobs of 1 MiB less 8 KiB, 100 per batch. Lower `payloadBytes` where the queue's
 *   MaximumMessageSize is lower: it must have 8 KiB more than that.
 * - `name`: what the backend calls itself in errors, spans and `describe`; `sqs` or `sqs-fifo` when absent.
 *
 * @category models
 * @since 0.1.0
 */
export interface Settings {
  readonly region?: string | undefined
  readonly endpoint?: string | undefined
  readonly prefix?: string | undefined
  readonly create?: boolean | undefined
  readonly deadLetters?: string | undefined
  readonly lease?: Duration.Input | undefined
  readonly pollWait?: Duration.Input | undefined
  readonly callTimeout?: Duration.Input | undefined
  readonly receivers?: number | undefined
  readonly limits?: Partial<Omit<Limits, "delayMillis" | "takeBatch">> | undefined
  readonly name?: string | undefined
}

/**
 * The settings, and what is code:
 *
 * - `client`: the configuration of the SDK's client (credentials, retries, agents, ...). With an endpoint, queues are addressed
 *   there, whatever host their URLs name.
 * - `foreign`: which jobs the messages of other programs ask for; none when absent.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends Settings {
  readonly client?: Sqs.SQSClientConfig | undefined
  readonly foreign?: Foreign | undefined
}

/**
 * What the options are when they are absent.
 *
 * @category models
 * @since 0.1.0
 */
export const defaults = {
  prefix: "",
  create: false,
  deadLetters: "-dead",
  lease: Duration.seconds(30),
  pollWait: Duration.seconds(20),
  receivers: 10,
  limits: { payloadBytes: 1024 * 1024 - overhead, publishBatch: 100, settleBatch: 100 }
} as const

/**
 * What the layer of standard queues provides.
 *
 * @category models
 * @since 0.1.0
 */
export type Services = Backend | Capability.Delay

/**
 * What the layer of FIFO queues provides.
 *
 * @category models
 * @since 0.1.0
 */
export type FifoServices = Backend | Capability.Groups

const wholeSeconds = (input: Duration.Input): number => Duration.toMillis(Duration.fromInputUnsafe(input)) / 1000

const isWithin = (value: number, least: number, most: number): boolean =>
  Number.isInteger(value) && value >= least && value <= most

/** what is wrong with the options, if anything */
const optionsRefused = (lease: number, wait: number, timeout: number, receivers: number): string | undefined => {
  if (!isWithin(lease, 1, 3_600)) return `lease is ${lease} s: SQS counts in whole seconds, give it 1 second to 1 hour`
  if (!isWithin(wait, 1, 20)) return `pollWait is ${wait} s: SQS waits for whole seconds, give it 1 to 20`
  if (!(timeout >= 10 && timeout <= longestVisibility * 1000)) {
    return `callTimeout is ${timeout} ms: give it 10 milliseconds or more`
  }
  if (!isWithin(receivers, 1, 100)) return `receivers is ${receivers}: give it 1 to 100`
  return undefined
}

const clientOf = ({ client, endpoint, region }: Options): Sqs.SQSClient =>
  new Sqs.SQSClient({
    // an endpoint that was given is where queues are, also where their URLs name another host
    ...(endpoint === undefined && client?.endpoint === undefined ? {} : { useQueueUrlAsEndpoint: false }),
    ...client,
    ...(region === undefined ? {} : { region }),
    ...(endpoint === undefined ? {} : { endpoint })
  })

const make = Effect.fnUntraced(
  function*(options: Options, fifo: boolean): Effect.fn.Return<Shape, BackendError, Scope.Scope> {
    const name = options.name ?? (fifo ? "sqs-fifo" : "sqs")
    const lease = wholeSeconds(options.lease ?? defaults.lease)
    const wait = wholeSeconds(options.pollWait ?? defaults.pollWait)
    const receivers = options.receivers ?? defaults.receivers
    const timeout = options.callTimeout === undefined
      ? Math.min(10_000, Math.max(1_000, lease * 500))
      : wholeSeconds(options.callTimeout) * 1000
    const wrong = optionsRefused(lease, wait, timeout, receivers)
    if (wrong !== undefined) return yield* refusal(name, "open", wrong)
    const limits: Limits = {
      ...defaults.limits,
      ...options.limits,
      delayMillis: fifo ? 0 : longestDelay * 1000,
      takeBatch: receivers * 10
    }
    const client = yield* Effect.acquireRelease(
      Effect.sync(() => clientOf(options)),
      (client) => Effect.sync(() => client.destroy())
    )
    const calls = new Calls(client, name, timeout)
    const queues = new Queues(calls, {
      fifo,
      prefix: options.prefix ?? defaults.prefix,
      deadLetters: options.deadLetters ?? defaults.deadLetters,
      create: options.create ?? defaults.create
    }, limits)
    const engine: Engine = { calls, queues, limits, fifo, lease, wait, receivers, foreign: options.foreign }
    return core(engine)
  }
)

const standard = (options: Options) =>
  Effect.map(
    make(options, false),
    (shape) => Context.make(Backend, shape).pipe(Context.add(Capability.Delay, { granularityMillis: 1_000 }))
  )

const fifo = (options: Options) =>
  Effect.map(
    make(options, true),
    (shape) => Context.make(Backend, shape).pipe(Context.add(Capability.Groups, { ordered: true }))
  )

/**
 * Standard queues: at least once, in no order, with delays. Building it makes no call; a queue is looked at when a worker
 * subscribes to it, and its address is asked for when the first job is enqueued.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<Services, BackendError> =>
  Layer.effectContext(standard(options))

/**
 * FIFO queues: the jobs of a group in order and one at a time, and no delays. A job without a group is in a group of its own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerFifo = (options: Options = {}): Layer.Layer<FifoServices, BackendError> =>
  Layer.effectContext(fifo(options))

/**
 * As `layer`, with settings that are read from the configuration.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  settings: Config.Wrap<Settings>,
  code: Omit<Options, keyof Settings> = {}
): Layer.Layer<Services, BackendError | Config.ConfigError> =>
  Layer.effectContext(Effect.flatMap(Config.unwrap(settings), (settings) => standard({ ...settings, ...code })))

/**
 * As `layerFifo`, with settings that are read from the configuration.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerFifoConfig = (
  settings: Config.Wrap<Settings>,
  code: Omit<Options, keyof Settings> = {}
): Layer.Layer<FifoServices, BackendError | Config.ConfigError> =>
  Layer.effectContext(Effect.flatMap(Config.unwrap(settings), (settings) => fifo({ ...settings, ...code })))
