/** The client reads an answer as the event source mapping does, and makes records as SQS does. */
import { assert, describe, it } from "vitest"
import { type Lambda, LambdaClient } from "windlass/lambda"

const answering = (...ids: ReadonlyArray<string | null>) =>
  LambdaClient.make(() =>
    Promise.resolve({ batchItemFailures: ids.map((itemIdentifier) => ({ itemIdentifier: itemIdentifier as string })) })
  )

const three = ["a", "b", "c"].map((messageId) => LambdaClient.raw(messageId, { messageId }))

describe("LambdaClient", () => {
  it("reads what is acknowledged and what comes back", async () => {
    const none = await answering().sendBatch(three)
    assert.deepStrictEqual([none.acknowledged, none.failed], [["a", "b", "c"], []])
    const two = await answering("c", "a").sendBatch(three)
    assert.deepStrictEqual([two.acknowledged, two.failed], [["b"], ["a", "c"]])
    assert.isUndefined(two.error)
  })

  it("FSQS-21 a blank, a null and an unknown identifier fail the whole batch", async () => {
    for (const id of ["", null, "z"]) {
      const sent = await answering("a", id).sendBatch(three)
      assert.deepStrictEqual([sent.acknowledged, sent.failed], [[], ["a", "b", "c"]])
    }
  })

  it("a function that fails fails the whole batch, and the error is there to look at", async () => {
    const error = new Error("boom")
    const sent = await LambdaClient.make(() => Promise.reject(error)).sendBatch(three)
    assert.strictEqual(sent.error, error)
    assert.isUndefined(sent.response)
    assert.deepStrictEqual([sent.acknowledged, sent.failed], [[], ["a", "b", "c"]])
  })

  it("delivers again what comes back, with its count, until it is done or a dead letter", async () => {
    const counts: Array<string> = []
    const client = LambdaClient.make((event) => {
      const { Records } = event as { readonly Records: ReadonlyArray<Lambda.Record> }
      const failed = Records.filter(({ attributes, messageId }) => {
        counts.push(`${messageId}${attributes.ApproximateReceiveCount}`)
        return messageId === "c" || (messageId === "b" && attributes.ApproximateReceiveCount === "1")
      })
      return Promise.resolve({ batchItemFailures: failed.map(({ messageId }) => ({ itemIdentifier: messageId })) })
    })
    const settled = await client.sendUntilSettled(three, { maxReceiveCount: 3 })
    assert.deepStrictEqual([settled.acknowledged, settled.deadLetters], [["a", "b"], ["c"]])
    assert.deepStrictEqual(counts, ["a1", "b1", "c1", "b2", "c2", "c3"])
  })

  it("makes the records that SQS makes", () => {
    const client = LambdaClient.make(() => Promise.resolve({ batchItemFailures: [] }), { queue: "orders.fifo" })
    const { Records: [record] } = client.event([
      LambdaClient.json({ a: 1 }, {
        messageId: "m",
        group: "g",
        attributes: { tenant: "acme" },
        receiveCount: 2,
        sentAt: 5
      })
    ])
    assert.deepStrictEqual(record, {
      messageId: "m",
      receiptHandle: "receipt-1",
      body: "{\"a\":1}",
      attributes: {
        ApproximateReceiveCount: "2",
        SentTimestamp: "5",
        SenderId: "AIDAEXAMPLE",
        ApproximateFirstReceiveTimestamp: "5",
        SequenceNumber: "00000000000000000001",
        MessageDeduplicationId: "1",
        MessageGroupId: "g"
      },
      messageAttributes: { tenant: { stringValue: "acme", dataType: "String" } },
      // of the body, by md5sum
      md5OfBody: "bb6cb5c68df4652941caf652a366f2d8",
      eventSource: "aws:sqs",
      eventSourceARN: "arn:aws:sqs:eu-central-1:123456789012:orders.fifo",
      awsRegion: "eu-central-1"
    })
  })

  it("says how much of the function's time is left, less and less", async () => {
    const left: Array<number> = []
    const client = LambdaClient.make((_, context) => {
      left.push(context.getRemainingTimeInMillis!(), context.getRemainingTimeInMillis!())
      return Promise.resolve({ batchItemFailures: [] })
    }, { remaining: "1 hour" })
    await client.send(three[0]!)
    assert.isAtMost(left[0]!, 3_600_000)
    assert.isAtLeast(left[0]!, left[1]!)
    assert.isAbove(left[1]!, 0)
  })
})
