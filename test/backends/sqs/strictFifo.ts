/**
 * A FIFO queue as SQS has it and the test server has not: a receive brings several messages of one group, and a group of which
 * any message is in flight is handed out to nobody. It speaks the protocol, and knows one queue and the one of its dead letters.
 */
import { createHash } from "node:crypto"
import { createServer, type IncomingMessage } from "node:http"

interface Message {
  readonly id: string
  readonly body: string
  readonly group: string
  readonly order: number
  receives: number
  handle: string | undefined
  /** when it is visible again, by `Date.now` */
  until: number
}

const md5 = (text: string) => createHash("md5").update(text).digest("hex")

export interface StrictFifo {
  readonly port: number
  /** of the messages that are there: payload, deliveries, whether it is in flight */
  readonly messages: () => ReadonlyArray<readonly [payload: string, receives: number, inFlight: boolean]>
  readonly close: () => Promise<void>
}

export const strictFifo = async (): Promise<StrictFifo> => {
  let messages: Array<Message> = []
  let count = 0
  const dead: Array<unknown> = []
  const inFlight = ({ until }: Message) => until > Date.now()

  const receive = (max: number, visibility: number) => {
    const blocked = new Set(messages.filter(inFlight).map(({ group }) => group))
    const found = messages.filter(({ group }) => !blocked.has(group)).slice(0, max)
    for (const message of found) {
      message.receives++
      message.handle = `handle-${++count}`
      message.until = Date.now() + visibility * 1000
    }
    return found.map(({ body, group, handle, id, order, receives }) => ({
      MessageId: id,
      ReceiptHandle: handle,
      Body: body,
      MD5OfBody: md5(body),
      Attributes: {
        ApproximateReceiveCount: String(receives),
        SentTimestamp: "1000",
        ApproximateFirstReceiveTimestamp: "2000",
        MessageGroupId: group,
        SequenceNumber: String(order)
      }
    }))
  }

  const each = (entries: ReadonlyArray<any>, apply: (entry: any) => string | undefined) => {
    const results = entries.map((entry) => ({ entry, code: apply(entry) }))
    return {
      Successful: results.filter(({ code }) => code === undefined).map(({ entry }) => ({ Id: entry.Id })),
      Failed: results.filter(({ code }) => code !== undefined).map(({ code, entry }) => ({
        Id: entry.Id,
        Code: code,
        SenderFault: true
      }))
    }
  }

  /** by its handle, while that is the last one and its time is not over */
  const held = (handle: string) => messages.find((message) => message.handle === handle && inFlight(message))

  const answer = async (operation: string, body: any): Promise<unknown> => {
    switch (operation) {
      case "GetQueueUrl":
        return { QueueUrl: `http://127.0.0.1/${body.QueueName}` }
      case "GetQueueAttributes":
        return {
          Attributes: {
            QueueArn: "arn:aws:sqs:us-east-1:000000000000:q.fifo",
            FifoQueue: "true",
            MaximumMessageSize: "1048576",
            RedrivePolicy: JSON.stringify({
              deadLetterTargetArn: "arn:aws:sqs:us-east-1:000000000000:dead.fifo",
              maxReceiveCount: 9
            })
          }
        }
      case "SendMessageBatch":
        for (const entry of body.Entries) {
          if (String(body.QueueUrl).endsWith("dead.fifo")) dead.push(entry)
          else {
            count++
            messages.push({
              id: `m-${count}`,
              body: entry.MessageBody,
              group: entry.MessageGroupId,
              order: count,
              receives: 0,
              handle: undefined,
              until: 0
            })
          }
        }
        return {
          Successful: body.Entries.map((entry: any) => ({
            Id: entry.Id,
            MessageId: "m",
            MD5OfMessageBody: md5(entry.MessageBody)
          })),
          Failed: []
        }
      case "ReceiveMessage": {
        const found = receive(body.MaxNumberOfMessages, body.VisibilityTimeout)
        return { Messages: found }
      }
      case "DeleteMessageBatch":
        return each(body.Entries, ({ ReceiptHandle }) => {
          const message = held(ReceiptHandle)
          messages = messages.filter((one) => one !== message)
          return message === undefined ? "ReceiptHandleIsInvalid" : undefined
        })
      case "ChangeMessageVisibilityBatch":
        return each(body.Entries, ({ ReceiptHandle, VisibilityTimeout }) => {
          const message = held(ReceiptHandle)
          if (message === undefined) return "ReceiptHandleIsInvalid"
          message.until = Date.now() + VisibilityTimeout * 1000
          return undefined
        })
      default:
        throw new Error(`no operation ${operation}`)
    }
  }

  const read = async (incoming: IncomingMessage): Promise<string> => {
    const chunks: Array<Buffer> = []
    for await (const chunk of incoming) chunks.push(chunk as Buffer)
    return Buffer.concat(chunks).toString("utf8")
  }

  const server = createServer((incoming, response) => {
    read(incoming)
      .then((text) => answer(String(incoming.headers["x-amz-target"]).replace("AmazonSQS.", ""), JSON.parse(text)))
      .then((body) => {
        response.writeHead(200, { "content-type": "application/x-amz-json-1.0" })
        response.end(JSON.stringify(body))
      }, () => incoming.socket.destroy())
  })
  const port = await new Promise<number>((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      resolve(typeof address === "object" && address !== null ? address.port : 0)
    })
  })
  return {
    port,
    messages: () =>
      messages.map((
        message
      ) => [message.body.slice(message.body.indexOf("\n") + 1), message.receives, inFlight(message)]),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
}
