/**
 * 11: calls the function of `function.ts` in process, as SQS would.
 *
 *     node --conditions=windlass-source examples/11-lambda/main.ts
 */
import { LambdaClient } from "windlass/lambda"
import { handler } from "./function.ts"

const order = (order_id: string, amount: number, tenant?: string) =>
  LambdaClient.json({ type: "order_created", order_id, amount, tenant }, { messageId: `message-${order_id}` })

const standard = LambdaClient.make(handler)

const one = await standard.send(order("1", 5, "acme"))
console.log("=>", JSON.stringify(one.response))

const batch = await standard.sendBatch([
  order("2", 500, "acme"),
  order("3", 7),
  LambdaClient.json({ type: "unheard_of" }, { messageId: "message-4" })
])
console.log("=>", JSON.stringify(batch.response))

// a FIFO queue: after a failure the rest of its group waits, other groups go on
const fifo = LambdaClient.make(handler, { queue: "orders.fifo" })
const groups = await fifo.sendBatch([
  { ...order("5", 500, "acme"), group: "ann" },
  { ...order("6", 1, "acme"), group: "ann" },
  { ...order("7", 2, "acme"), group: "bob" }
])
console.log("=>", JSON.stringify(groups.response))

await handler.close()
