/**
 * Middy: `before` acquires, `after` and `onError` release, as its documentation writes middleware that holds something.
 * Ending early by returning from `before` is documented not to run what the middlewares before it registered.
 */
import { type MiddlewareObj, middy, type Request } from "@middy/core"
import type { Library, Program, Who } from "../program.ts"

const middleware = (program: Program, who: Who): MiddlewareObj => ({
  before: () => {
    if (program.answers(who)) return "answered"
    program.acquire(who)
  },
  after: () => program.release(who),
  onError: ({ error }) => {
    if (who === "A") program.told(error)
    return program.release(who)
  }
})

/** "the careful one" keeps in `request.internal` what it holds, so that it releases nothing that it did not acquire */
const careful = (program: Program, who: Who): MiddlewareObj => {
  const release = async (request: Request) => {
    const { internal } = request as { internal: Record<string, unknown> }
    if (internal[who] === undefined) return
    delete internal[who]
    await program.release(who)
  }
  return {
    before: (request) => {
      if (program.answers(who)) return "answered"
      program.acquire(who)
      ;(request.internal as Record<string, unknown>)[who] = who
    },
    after: release,
    onError: (request) => {
      if (who === "A") program.told(request.error)
      return release(request)
    }
  }
}

const run = (middleware: (program: Program, who: Who) => MiddlewareObj) => async (program: Program) => {
  const handler = middy({ timeoutEarlyInMillis: 50 })
    .use(middleware(program, "A"))
    .use(middleware(program, "B"))
    .use(middleware(program, "C"))
    .handler((_event: unknown, _context: unknown, { signal }: { signal: AbortSignal }) => program.handler({ signal }))
  const began = Date.now()
  // what Lambda hands to a function: 200 ms are left, and Middy stops 50 ms before that
  const context = program.name === "cut short" ? { getRemainingTimeInMillis: () => began + 200 - Date.now() } : {}
  try {
    await handler({}, context as never)
    program.settled("succeeded")
  } catch (error) {
    program.settled(program.name === "cut short" ? "cancelled" : "failed")
    program.heard(error)
  }
  // a handler that goes on after its invocation is over is let go on
  await new Promise((resolve) => setTimeout(resolve, 200))
  program.closed()
}

const leavesOut = { "goes on later": "there is no queue", "shutdown": "there is no worker" }

export const libraries: ReadonlyArray<Library> = [
  {
    name: "Middy",
    how: "`before` acquires, `after` and `onError` release; cut short by `timeoutEarlyInMillis`",
    leavesOut,
    run: run(middleware)
  },
  {
    name: "Middy, books kept",
    how: "the same, and each middleware keeps in `request.internal` whether it still holds something",
    leavesOut,
    run: run(careful)
  }
]
