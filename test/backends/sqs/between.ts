/**
 * Stands between a client and SQS: passes calls on over real connections, and does to the calls of an operation what a test
 * says, at the worst moment that there is for it.
 */
import { createServer, type IncomingMessage, request as ask, type ServerResponse } from "node:http"

/**
 * - `cut`: the connection is broken before the call is passed on
 * - `lose`: the call is passed on and done, and the connection is broken instead of the answer
 * - `hang`: the call is not passed on, and nothing is said
 * - `answer`: the call is not passed on, and this is the answer
 * - `edit`: the call is passed on (or what `request` makes of it), and what becomes of its answer
 */
export type Trick =
  | { readonly _tag: "cut" }
  | { readonly _tag: "lose" }
  | { readonly _tag: "hang" }
  | { readonly _tag: "answer"; readonly status: number; readonly body: unknown }
  | {
    readonly _tag: "edit"
    readonly request?: (body: any) => any
    readonly answer?: (body: any) => any
  }

export interface Between {
  readonly endpoint: string
  /** operations, in the order of their coming */
  readonly calls: ReadonlyArray<{ readonly operation: string; readonly body: any }>
  /** does it to so many calls of the operation, once each */
  readonly play: (operation: string, trick: Trick, times?: number) => void
  readonly close: () => Promise<void>
}

const bodyOf = async (message: IncomingMessage): Promise<string> => {
  const chunks: Array<Buffer> = []
  for await (const chunk of message) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString("utf8")
}

export const between = async (port: number): Promise<Between> => {
  const calls: Array<{ readonly operation: string; readonly body: any }> = []
  const tricks: Array<{ readonly operation: string; readonly trick: Trick; left: number }> = []

  const pass = (incoming: IncomingMessage, body: string): Promise<{ readonly status: number; readonly body: string }> =>
    new Promise((resolve, reject) => {
      const headers = { ...incoming.headers, "content-length": String(Buffer.byteLength(body)) }
      const outgoing = ask({ host: "127.0.0.1", port, method: "POST", path: incoming.url, headers }, (answer) => {
        bodyOf(answer).then((text) => resolve({ status: answer.statusCode ?? 500, body: text }), reject)
      })
      outgoing.once("error", reject)
      outgoing.end(body)
    })

  const handle = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const text = await bodyOf(incoming)
    const operation = String(incoming.headers["x-amz-target"]).replace("AmazonSQS.", "")
    calls.push({ operation, body: JSON.parse(text) })
    const found = tricks.find((one) => one.operation === operation && one.left > 0)
    if (found !== undefined) found.left--
    const trick = found?.trick
    const say = (status: number, body: string) => {
      response.writeHead(status, { "content-type": "application/x-amz-json-1.0" })
      response.end(body)
    }
    if (trick?._tag === "cut") return void incoming.socket.destroy()
    if (trick?._tag === "hang") return
    if (trick?._tag === "answer") return say(trick.status, JSON.stringify(trick.body))
    const edit = trick?._tag === "edit" ? trick : undefined
    const answer = await pass(
      incoming,
      edit?.request === undefined ? text : JSON.stringify(edit.request(JSON.parse(text)))
    )
    if (trick?._tag === "lose") return void incoming.socket.destroy()
    say(answer.status, edit?.answer === undefined ? answer.body : JSON.stringify(edit.answer(JSON.parse(answer.body))))
  }

  const server = createServer((incoming, response) => {
    handle(incoming, response).catch(() => incoming.socket.destroy())
  })
  const own = await new Promise<number>((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      resolve(typeof address === "object" && address !== null ? address.port : 0)
    })
  })
  return {
    endpoint: `http://127.0.0.1:${own}`,
    calls,
    play: (operation, trick, times = 1) => void tricks.push({ operation, trick, left: times }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
}
