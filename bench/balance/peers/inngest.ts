/**
 * Inngest: its own HTTP endpoint (`serve`), called as its server calls it: one request per turn of the function, with what
 * earlier turns said. There are two hooks that can hold something: `wrapFunctionHandler`, around the function, whose `next`
 * is documented never to come back from a turn that ends at a step, and `wrapRequest`, around the whole turn, which is told
 * of a failure by the reply alone.
 */
import { Inngest, Middleware } from "inngest"
import { serve } from "inngest/edge"
import { holding, type Library, type Program, type Who } from "../program.ts"

process.env["INNGEST_DEV"] = "1"

type Class = new(...args: Array<never>) => Middleware.BaseMiddleware

const aroundFunction = (program: Program, who: Who): Class =>
  class extends Middleware.BaseMiddleware {
    readonly id = who
    override wrapFunctionHandler({ next }: Middleware.WrapFunctionHandlerArgs) {
      return holding(program, who, next, "answered")
    }
  } as never

const aroundRequest = (program: Program, who: Who): Class =>
  class extends Middleware.BaseMiddleware {
    readonly id = who
    override wrapRequest({ next }: Middleware.WrapRequestArgs) {
      return holding<Middleware.Response>(program, who, async () => {
        const reply = await next()
        if (who === "A" && reply.status >= 400) program.told(JSON.parse(reply.body))
        return reply
      }, { status: 200, headers: {}, body: JSON.stringify("answered") })
    }
  } as never

interface Op {
  readonly id: string
  readonly op: string
  readonly data?: unknown
}

const run = (middleware: (program: Program, who: Who) => Class) => async (program: Program) => {
  const client = new Inngest({
    id: "balance",
    isDev: true,
    logger: { debug() {}, info() {}, warn() {}, error() {} },
    middleware: [middleware(program, "A"), middleware(program, "B"), middleware(program, "C")]
  })
  const send = client.createFunction(
    { id: "send", retries: 0, triggers: [{ event: "send" }] },
    ({ step }) => program.handler({ pause: () => step.sleep("pause", "1s") })
  )
  const handle = serve({ client, functions: [send] })
  const event = { name: "send", data: {}, id: "1", ts: 1 }
  const steps: Record<string, { readonly type: "data"; readonly data: unknown }> = {}
  for (let turn = 0; turn < 5; turn++) {
    const reply = await handle(
      new Request("http://localhost/api/inngest?fnId=balance-send&stepId=step", {
        method: "POST",
        headers: { "content-type": "application/json", host: "localhost" },
        body: JSON.stringify({
          version: 2,
          event,
          events: [event],
          steps,
          ctx: {
            run_id: "01",
            fn_id: "00000000-0000-0000-0000-000000000001",
            qi_id: "1",
            attempt: 0,
            max_attempts: 1,
            stack: { stack: Object.keys(steps), current: Object.keys(steps).length }
          }
        })
      })
    )
    const body: unknown = JSON.parse(await reply.text())
    const ops = reply.status === 206 ? body as ReadonlyArray<Op> : []
    const over = ops.find((one) => one.op === "RunComplete")
    if (reply.status === 206 && over === undefined) {
      for (const one of ops) steps[one.id] = { type: "data", data: one.data ?? null }
      continue
    }
    program.settled(reply.status < 400 ? "succeeded" : "failed")
    if (reply.status >= 400) program.heard(body)
    break
  }
  program.closed()
}

const leavesOut = {
  "shutdown": "its server calls; the process has no worker of its own",
  "cut short": "its server cancels, between two turns"
}

export const libraries: ReadonlyArray<Library> = [
  {
    name: "Inngest, wrapFunctionHandler",
    how: "its `serve` endpoint called as its server does; `wrapFunctionHandler`, `await next()` in try and finally",
    leavesOut,
    run: run(aroundFunction)
  },
  {
    name: "Inngest, wrapRequest",
    how: "the same with `wrapRequest`, around one turn of the function instead of the function",
    leavesOut,
    run: run(aroundRequest)
  }
]
