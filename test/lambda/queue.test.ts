/**
 * A function behind a real queue: the SQS backend enqueues over the network, an event source mapping (here: a loop over the
 * AWS client) receives, calls the handler, and deletes what it acknowledged.
 */
import * as Sqs from "@aws-sdk/client-sqs"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { FauxqsServer } from "fauxqs"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import type { Backend } from "windlass/Backend"
import * as SqsBackend from "windlass/backends/SqsBackend"
import type * as Capability from "windlass/Capability"
import * as Enqueue from "windlass/Enqueue"
import * as Job from "windlass/Job"
import { Lambda, Routes } from "windlass/lambda"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { at, credentials, freshPrefix, start } from "../backends/sqs/server.ts"
import { closing, logged, Refused } from "./support.ts"

let server: FauxqsServer
let client: Sqs.SQSClient
beforeAll(async () => {
  server = await start()
  client = new Sqs.SQSClient({ region: "us-east-1", endpoint: `http://127.0.0.1:${server.port}`, credentials })
})
afterAll(async () => {
  client.destroy()
  await server.stop()
})

/** One poll of an event source mapping: what is received is one batch; what is acknowledged is deleted. */
const poll = async (url: string, handler: Lambda.Handler) => {
  const received = await client.send(
    new Sqs.ReceiveMessageCommand({
      QueueUrl: url,
      MaxNumberOfMessages: 10,
      MessageSystemAttributeNames: ["All"],
      MessageAttributeNames: ["All"],
      VisibilityTimeout: 30
    })
  )
  const messages = received.Messages ?? []
  if (messages.length === 0) return { received: 0, failed: [] as ReadonlyArray<string> }
  const { batchItemFailures } = await handler({
    Records: messages.map((message) => ({
      messageId: message.MessageId!,
      receiptHandle: message.ReceiptHandle!,
      body: message.Body!,
      md5OfBody: message.MD5OfBody!,
      attributes: message.Attributes!,
      messageAttributes: Object.fromEntries(
        Object.entries(message.MessageAttributes ?? {}).map((
          [name, { DataType, StringValue }]
        ) => [name, { stringValue: StringValue, dataType: DataType }])
      ),
      eventSource: "aws:sqs",
      eventSourceARN: `arn:aws:sqs:us-east-1:000000000000:${url.split("/").at(-1)}`,
      awsRegion: "us-east-1"
    }))
  })
  const failed = batchItemFailures.map(({ itemIdentifier }) => itemIdentifier)
  for (const message of messages) {
    // what failed comes back: at once, instead of after its visibility timeout
    const entry = { QueueUrl: url, ReceiptHandle: message.ReceiptHandle! }
    await (failed.includes(message.MessageId!)
      ? client.send(new Sqs.ChangeMessageVisibilityCommand({ ...entry, VisibilityTimeout: 0 }))
      : client.send(new Sqs.DeleteMessageCommand(entry)))
  }
  return { received: messages.length, failed }
}

/** polls until the queue has nothing visible any more */
const pollAll = async (url: string, handler: Lambda.Handler) => {
  let rounds = 0
  while ((await poll(url, handler)).received > 0) rounds++
  return rounds
}

const urlOf = async (name: string) => (await client.send(new Sqs.GetQueueUrlCommand({ QueueName: name }))).QueueUrl!

class Pack extends Task.make("Pack", {
  payload: { order: Schema.String, good: Schema.Number },
  error: Refused,
  queue: "orders"
}) {}

const setUp = () => {
  const ran: Array<string> = []
  const handler = closing(Lambda.handler(TaskGroup.make(Pack), {
    layer: Layer.merge(
      Pack.toLayer(({ good, order }) =>
        Effect.flatMap(Job.Current, ({ attempt, group, headers }) => {
          ran.push(`${order} ${attempt}${headers["tenant"] ?? ""}${group === undefined ? "" : ` of ${group}`}`)
          return attempt >= good ? Effect.void : Effect.fail(new Refused({ name: order }))
        })
      ),
      logged()
    )
  }))
  return { handler, ran }
}

const publish = <E, R extends Backend | Capability.Groups | Capability.Delay>(
  layer: Layer.Layer<R, unknown>,
  enqueue: Effect.Effect<unknown, E, R>
) => Effect.runPromise(Effect.provide(enqueue, layer) as Effect.Effect<unknown, unknown>)

describe("a function behind a queue of the SQS backend", () => {
  it("standard: every job is done or a dead letter, by the counts of the queue", async () => {
    const { handler, ran } = setUp()
    const prefix = freshPrefix()
    const dead = await client.send(new Sqs.CreateQueueCommand({ QueueName: `${prefix}orders-dead` }))
    const deadArn = await client.send(
      new Sqs.GetQueueAttributesCommand({ QueueUrl: dead.QueueUrl!, AttributeNames: ["QueueArn"] })
    )
    await client.send(
      new Sqs.CreateQueueCommand({
        QueueName: `${prefix}orders`,
        Attributes: {
          RedrivePolicy: JSON.stringify({ deadLetterTargetArn: deadArn.Attributes!["QueueArn"], maxReceiveCount: 3 })
        }
      })
    )
    await publish(
      SqsBackend.layer(at(server, { prefix })),
      Effect.andThen(
        Pack.enqueueMany([{ order: "a", good: 1 }, { order: "b", good: 2 }, { order: "c", good: 9 }]).pipe(
          Enqueue.headers({ tenant: " acme" })
        ),
        Pack.enqueue({ order: "d", good: 1 })
      )
    )
    await pollAll(await urlOf(`${prefix}orders`), handler)
    assert.sameMembers(ran, ["a 1 acme", "b 1 acme", "b 2 acme", "c 1 acme", "c 2 acme", "c 3 acme", "d 1"])
    const left = await client.send(new Sqs.ReceiveMessageCommand({ QueueUrl: dead.QueueUrl!, MaxNumberOfMessages: 10 }))
    assert.strictEqual(left.Messages?.length, 1)
    assert.include(left.Messages![0]!.Body, "\"order\":\"c\"")
  })

  it("FIFO: the jobs of a group in their order, past one that fails and comes back", async () => {
    const { handler, ran } = setUp()
    const prefix = freshPrefix()
    await client.send(
      new Sqs.CreateQueueCommand({ QueueName: `${prefix}orders.fifo`, Attributes: { FifoQueue: "true" } })
    )
    await publish(
      SqsBackend.layerFifo(at(server, { prefix })),
      Effect.forEach(
        ["a1", "b1", "a2", "b2", "a3"],
        (order) => Pack.enqueue({ order, good: order === "a2" ? 3 : 1 }).pipe(Enqueue.group(order.slice(0, 1))),
        {
          discard: true
        }
      )
    )
    await pollAll(await urlOf(`${prefix}orders.fifo`), handler)
    assert.deepStrictEqual(ran.filter((line) => line.endsWith(" of a")), [
      "a1 1 of a",
      "a2 1 of a",
      "a2 2 of a",
      "a2 3 of a",
      "a3 1 of a"
    ])
    assert.deepStrictEqual(ran.filter((line) => line.endsWith(" of b")), ["b1 1 of b", "b2 1 of b"])
  })

  it("the same routes serve a polling worker", async () => {
    const packed: Array<string> = []
    const prefix = freshPrefix()
    const routes = Routes.make({ key: "type", values: { pack: Pack } })
    const url = (await client.send(new Sqs.CreateQueueCommand({ QueueName: `${prefix}orders` }))).QueueUrl!
    await client.send(new Sqs.CreateQueueCommand({ QueueName: `${prefix}orders-dead` }))
    for (const [order, tenant] of [["x", "acme"], ["y", "else"]] as const) {
      await client.send(
        new Sqs.SendMessageCommand({
          QueueUrl: url,
          MessageBody: JSON.stringify({ type: "pack", order, good: 1 }),
          MessageAttributes: { tenant: { DataType: "String", StringValue: tenant } }
        })
      )
    }
    const worker = Worker.layer(TaskGroup.make(Pack)).pipe(
      Layer.provide(Pack.toLayer(({ order }) =>
        Effect.gen(function*() {
          const job = yield* Job.Current
          packed.push(`${order} ${job.headers["tenant"]}`)
          if (packed.length === 2) yield* job.worker.stop
        })
      )),
      Layer.provide(SqsBackend.layer(at(server, { prefix, pollWait: "1 second", foreign: Routes.foreign(routes) }))),
      Layer.provide(logged())
    )
    const report = await Effect.runPromise(Worker.launch(worker))
    assert.strictEqual(report.succeeded, 2)
    assert.sameMembers(packed, ["x acme", "y else"])
  })
})
