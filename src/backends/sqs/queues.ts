/**
 * Queues by name: their addresses, found once; and the look at a queue before it is worked on: that it is of the right kind,
 * carries what the layer promises, and has somewhere to put its dead.
 *
 * @since 0.1.0
 */
import * as Sqs from "@aws-sdk/client-sqs"
import * as Effect from "effect/Effect"
import type { BackendError, Limits } from "../../Backend.ts"
import type { Calls } from "./calls.ts"
import { isMissingQueue, refusal } from "./errors.ts"
import { messageBytes, overhead } from "./limits.ts"

/** a queue that can be worked on */
export interface Known {
  readonly queue: string
  readonly url: string
  /** of its dead letters */
  readonly deadUrl: string
}

export interface Naming {
  readonly prefix: string
  readonly deadLetters: string
  readonly fifo: boolean
  readonly create: boolean
}

/** deliveries after which SQS itself takes a message of a FIFO queue for poison, where the layer makes the queue */
const deliveries = 100

type Attributes = Readonly<Record<string, string>>

export class Queues {
  private readonly calls: Calls
  private readonly naming: Naming
  private readonly limits: Limits
  private readonly urls = new Map<string, string>()
  private readonly known = new Map<string, Known>()

  constructor(calls: Calls, naming: Naming, limits: Limits) {
    this.calls = calls
    this.naming = naming
    this.limits = limits
  }

  /** the name that a queue has on SQS */
  private named(queue: string, suffix = ""): string {
    return `${this.naming.prefix}${queue}${suffix}${this.naming.fifo ? ".fifo" : ""}`
  }

  /** all that a producer needs; an address is asked for once, a failure is not remembered */
  url(queue: string): Effect.Effect<string, BackendError> {
    const url = this.urls.get(queue)
    if (url !== undefined) return Effect.succeed(url)
    // who makes queues looks at them first
    if (this.naming.create) return Effect.map(this.declare(queue), (known) => known.url)
    return Effect.flatMap(
      this.find(queue, this.named(queue)),
      (found) =>
        found === undefined ? this.missing(queue, this.named(queue)) : Effect.sync(() => {
          this.urls.set(queue, found)
          return found
        })
    )
  }

  /** a queue that was deleted and made again may have another address */
  forget(queue: string): void {
    this.urls.delete(queue)
    this.known.delete(queue)
  }

  /** any queue that is known by now, for a question that costs little */
  get some(): string | undefined {
    return this.urls.values().next().value
  }

  /** looks at the queue, and makes it if that was asked for; once */
  declare(queue: string): Effect.Effect<Known, BackendError> {
    const known = this.known.get(queue)
    if (known !== undefined) return Effect.succeed(known)
    return Effect.map(this.look(queue), (known) => {
      this.urls.set(queue, known.url)
      this.known.set(queue, known)
      return known
    })
  }

  private look(queue: string): Effect.Effect<Known, BackendError> {
    return Effect.gen({ self: this }, function*() {
      const { create, deadLetters, fifo } = this.naming
      const name = this.named(queue)
      if (!/^[\w-]{1,80}$/.test(fifo ? name.slice(0, -5) : name) || name.length > 80) {
        return yield* refusal(
          this.calls.name,
          "declare",
          `queue "${queue}" would be "${name}" on SQS, which takes up to 80 letters, digits, hyphens and underscores: ` +
            (!fifo && queue.endsWith(".fifo")
              ? `use SqsBackend.layerFifo, with "${queue.slice(0, -5)}" for the name`
              : "call it something else")
        )
      }
      const deadName = this.named(queue, deadLetters)
      let url = yield* this.find(queue, name)
      if (url === undefined) {
        if (!create) return yield* this.missing(queue, name)
        url = yield* this.make(queue, name, fifo ? yield* this.guard(queue, deadName) : {})
      }
      const attributes = yield* this.attributes(queue, url)
      const wrong = this.unfit(queue, attributes)
      if (wrong !== undefined) return yield* refusal(this.calls.name, "declare", wrong)
      const target = targetOf(attributes["RedrivePolicy"])
      if (fifo && target === undefined) {
        yield* Effect.logWarning(
          `windlass: ${this.calls.name}: queue "${queue}" has no redrive policy: a job that takes its worker down with it ` +
            `comes back for ever, and holds up its group. Give the queue one`
        )
      }
      const deadUrl = target === undefined
        ? yield* this.find(queue, deadName)
        : yield* this.find(queue, target.name, target.account)
      if (deadUrl !== undefined) return { queue, url, deadUrl }
      if (target === undefined && create) return { queue, url, deadUrl: yield* this.make(queue, deadName, {}) }
      return yield* refusal(
        this.calls.name,
        "declare",
        `there is no queue "${
          target?.name ?? deadName
        }" for the dead jobs of queue "${queue}", and none is dropped: create it, ` +
          `give "${name}" a redrive policy with a queue that is there, or let the layer create it (create: true)`
      )
    })
  }

  /** SQS counts the deliveries of a FIFO queue, nobody else can */
  private guard(queue: string, deadName: string): Effect.Effect<Attributes, BackendError> {
    return Effect.map(
      Effect.flatMap(this.make(queue, deadName, {}), (deadUrl) => this.attributes(queue, deadUrl)),
      ({ QueueArn }) => ({
        RedrivePolicy: JSON.stringify({ deadLetterTargetArn: QueueArn, maxReceiveCount: deliveries })
      })
    )
  }

  private unfit(queue: string, attributes: Attributes): string | undefined {
    const most = Number(attributes["MaximumMessageSize"])
    const needed = messageBytes(this.limits)
    return most < needed
      ? `queue "${queue}" takes messages of ${most} bytes, and jobs of ${this.limits.payloadBytes} take up to ${needed}: ` +
        `set limits.payloadBytes to ${most - overhead}, or raise the queue's MaximumMessageSize`
      : undefined
  }

  private find(queue: string, name: string, account?: string): Effect.Effect<string | undefined, BackendError> {
    return Effect.catch(
      Effect.map(
        this.calls.call("declare", queue, (client, abortSignal) =>
          client.send(
            new Sqs.GetQueueUrlCommand({
              QueueName: name,
              ...(account === undefined ? {} : { QueueOwnerAWSAccountId: account })
            }),
            { abortSignal }
          )),
        ({ QueueUrl }): string | undefined => QueueUrl
      ),
      (error) => isMissingQueue(error.cause) ? Effect.succeed(undefined) : Effect.fail(error)
    )
  }

  private missing(queue: string, name: string): Effect.Effect<never, BackendError> {
    return Effect.fail(refusal(
      this.calls.name,
      "declare",
      `there is no queue "${name}" in this region and account, for queue "${queue}": create it, let the layer do so ` +
        `(create: true), or correct region, endpoint or prefix`
    ))
  }

  private make(queue: string, name: string, attributes: Attributes): Effect.Effect<string, BackendError> {
    return Effect.map(
      this.calls.call("declare", queue, (client, abortSignal) =>
        client.send(
          new Sqs.CreateQueueCommand({
            QueueName: name,
            Attributes: {
              MaximumMessageSize: String(messageBytes(this.limits)),
              ...(this.naming.fifo ? { FifoQueue: "true" } : {}),
              ...attributes
            }
          }),
          { abortSignal }
        )),
      ({ QueueUrl }) => QueueUrl!
    )
  }

  private attributes(queue: string, url: string): Effect.Effect<Attributes, BackendError> {
    return Effect.map(
      this.calls.call(
        "declare",
        queue,
        (client, abortSignal) =>
          client.send(new Sqs.GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: ["All"] }), { abortSignal })
      ),
      ({ Attributes }) => Attributes ?? {}
    )
  }
}

/** the queue that a redrive policy names */
const targetOf = (policy: string | undefined): { readonly account: string; readonly name: string } | undefined => {
  if (policy === undefined || policy === "") return undefined
  const { deadLetterTargetArn } = JSON.parse(policy) as { readonly deadLetterTargetArn?: string }
  const [account, name] = deadLetterTargetArn?.split(":").slice(4) ?? []
  return account === undefined || name === undefined ? undefined : { account, name }
}
