/** Jobs that the SQS backend put into the queue, run by a function instead of a polling worker. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { assert, describe, it } from "vitest"
import * as Enqueue from "windlass/Enqueue"
import * as Job from "windlass/Job"
import { Lambda, LambdaClient } from "windlass/lambda"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import { published, write } from "../../src/backends/sqs/message.ts"
import { closing, logged } from "./support.ts"

class Greet extends Task.make("Greet", {
  payload: { name: Schema.String, at: Schema.Date },
  aliases: ["SayHello"]
}) {}
class Unheard extends Task.make("Unheard") {}

const setUp = () => {
  const seen: Array<Partial<Job.Info> & { readonly name: string; readonly at: Date }> = []
  const lines: Array<string> = []
  const handler = closing(Lambda.handler(TaskGroup.make(Greet), {
    layer: Layer.merge(
      Greet.toLayer((payload) =>
        Effect.map(Job.Current, (job) => {
          const { attempt, enqueuedAt, headers, id, origin, scheduledFor, task } = job
          seen.push({ ...payload, attempt, enqueuedAt, headers, id, origin, scheduledFor, task })
        })
      ),
      logged(lines)
    )
  }))
  return { client: LambdaClient.make(handler), seen, lines }
}

const at = new Date(86_400_000)

describe("a job that was enqueued", () => {
  it("runs by the name of its task, with its own id, headers and payload; no routes are needed", async () => {
    const { client, seen } = setUp()
    const messages = await LambdaClient.enqueued(
      Greet.enqueue({ name: "\u{1f600} Ada\u0000", at }).pipe(
        Enqueue.headers({ tenant: "acme" }),
        Enqueue.id("greet-1")
      )
    )
    assert.strictEqual(messages.length, 1)
    const sent = await client.send({ ...messages[0]!, sentAt: 5_000, messageId: "m-1" })
    assert.deepStrictEqual(sent.acknowledged, ["m-1"])
    assert.deepStrictEqual(seen, [{
      name: "\u{1f600} Ada\u0000",
      at,
      attempt: 1,
      enqueuedAt: 5_000,
      headers: { tenant: "acme" },
      id: "greet-1",
      origin: "user",
      scheduledFor: undefined,
      task: "Greet"
    }])
  })

  it("passes the enqueue point of its task, many at once", async () => {
    const { client, seen } = setUp()
    const messages = await LambdaClient.enqueued(
      Greet.enqueueMany(["a", "b", "c"].map((name) => ({ name, at })))
    )
    await client.sendBatch(messages)
    assert.deepStrictEqual(seen.map(({ name }) => name), ["a", "b", "c"])
    assert.strictEqual(new Set(seen.map(({ id }) => id)).size, 3)
  })

  const stored = (
    more: Partial<Parameters<typeof write>[0]>,
    envelope: { readonly task?: string; readonly payload?: string } = {}
  ) =>
    write({
      ...published({
        id: "j-1",
        task: "Greet",
        version: 1,
        payload: JSON.stringify({ name: "Ada", at: at.toISOString() }),
        headers: {},
        origin: "cron",
        ...envelope
      }, { group: undefined, delayed: undefined, scheduledFor: undefined }),
      ...more
    })

  it("counts the attempts of earlier messages and the deliveries of this one", async () => {
    const { client, seen } = setUp()
    await client.send({ body: stored({ spent: 4, enqueuedAt: 7, delayed: undefined }), receiveCount: 2 })
    assert.deepInclude(seen[0], { attempt: 6, enqueuedAt: 7, origin: "cron" })
    await client.send({ body: stored({ delayed: 2_000 }), sentAt: 1_000 })
    assert.deepInclude(seen[1], { attempt: 1, enqueuedAt: 1_000, scheduledFor: 3_000 })
  })

  it("runs under an alias of its task", async () => {
    const { client, seen } = setUp()
    await client.send({ body: stored({}, { task: "SayHello" }) })
    assert.deepInclude(seen[0], { task: "Greet", name: "Ada" })
  })

  it("comes back when its task is unknown here, and when its payload does not fit", async () => {
    const { client, lines, seen } = setUp()
    const [unheard] = await LambdaClient.enqueued(Unheard.enqueue(undefined))
    const sent = await client.sendBatch([
      { ...unheard!, messageId: "unheard" },
      { body: stored({}, { payload: "{\"name\":1}" }), messageId: "misfit" },
      { body: stored({}), messageId: "good" }
    ])
    assert.deepStrictEqual(sent.failed, ["unheard", "misfit"])
    assert.deepStrictEqual(seen.map(({ name }) => name), ["Ada"])
    assert.include(lines.join("\n"), "no worker knows task Unheard")
  })

  it("is not run before its time, when SQS could not delay it for so long", async () => {
    const { client, seen } = setUp()
    const sent = await client.sendBatch([
      { body: stored({ notBefore: Date.now() + 3_600_000 }), messageId: "later" },
      { body: stored({ notBefore: Date.now() - 1 }), messageId: "due" }
    ])
    assert.deepStrictEqual(sent.failed, ["later"])
    assert.strictEqual(seen.length, 1)
  })

  it("a delivery middleware of the function sees its envelope and may change it", async () => {
    const names: Array<string> = []
    const handler = closing(Lambda.handler(TaskGroup.make(Greet), {
      middleware: [
        Middleware.delivery("decrypt", (next, delivery) =>
          next({
            ...delivery,
            envelope: { ...delivery.envelope, payload: delivery.envelope.payload.replace("<secret>", "Ada") }
          }))
      ],
      layer: Layer.merge(Greet.toLayer(({ name }) => Effect.sync(() => void names.push(name))), logged())
    }))
    const [message] = await LambdaClient.enqueued(Greet.enqueue({ name: "<secret>", at }))
    assert.deepStrictEqual((await LambdaClient.make(handler).send(message!)).failed, [])
    assert.deepStrictEqual(names, ["Ada"])
  })

  it("what cannot be enqueued fails as it would", async () => {
    const error = await LambdaClient.enqueued(Greet.enqueue({ name: 1 as unknown as string, at })).catch((e: unknown) =>
      e
    )
    assert.instanceOf(error, Enqueue.InvalidEnqueue)
  })
})
