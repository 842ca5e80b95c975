/**
 * Effect alone: the same handler in a root fiber of its own with the same services, with and without decoding before it. And
 * the bench's engine alone, whose share of a job is not Windlass's.
 */
import { Effect, Exit, Schema } from "effect"
import { Backend, type Settlement } from "windlass/Backend"
import { application, handlers, payloadSchema } from "./app.ts"
import { type Cell, type Contender, type Contenders, type Payload, payloads } from "./contender.ts"
import { engine } from "./engine.ts"

const decode = Schema.decodeUnknownExit(payloadSchema)
const stored = payloads.map((payload) => JSON.stringify(payload))
const decoded = (text: string): Payload => {
  const exit = decode(JSON.parse(text))
  if (Exit.isFailure(exit)) throw new Error("a payload that its schema refuses")
  return exit.value
}

/** as many at once as a worker runs, then the next ones */
const run = async (cell: Cell, payloadOf: (n: number) => Payload, handler: keyof typeof handlers) => {
  const runFork = Effect.runForkWith(application)
  const handle = handlers[handler](cell)
  for (let n = 0; n < cell.jobs;) {
    let open = 0
    let done = () => {}
    const all = new Promise<void>((resolve) => done = resolve)
    for (let slot = 0; slot < cell.concurrency && n < cell.jobs; slot++) {
      const fiber = runFork(handle(payloadOf(n++ % payloads.length)))
      if (fiber.pollUnsafe() !== undefined) continue
      open++
      fiber.addObserver(() => {
        if (--open === 0) done()
      })
    }
    if (open > 0) await all
  }
}

const contender = (payloadOf: (n: number) => Payload, handler: keyof typeof handlers): Contender => ({
  counts: { in: 0, out: 0 },
  run: (cell) => run(cell, payloadOf, handler)
})

const ready = (n: number) => payloads[n]!
const fromText = (n: number) => decoded(stored[n]!)

/** what the engine itself asks for, which is no part of Windlass: settle as many as it handed out, take the next */
const exchange = (cell: Cell) =>
  Effect.gen(function*() {
    const backend = yield* Backend
    const subscription = yield* backend.subscribe("default", { worker: "bench" })
    let taken = yield* subscription.take(cell.concurrency)
    while (taken.length > 0) {
      for (const { receipt } of taken) cell.onJob(payloads[receipt.fence as number]!)
      const settlements = taken.map(({ receipt }) => [receipt, succeeded] as const)
      taken = (yield* subscription.exchange(settlements, cell.concurrency))[1]
    }
  }).pipe(Effect.scoped, Effect.provide(engine("Bench", cell.jobs)))

const succeeded: Settlement = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }

export const contenders: Contenders = {
  "the engine alone": { counts: { in: 0, out: 0 }, run: (cell) => Effect.runPromise(exchange(cell)) },
  "Effect.runFork": contender(ready, "sync"),
  "Effect.runFork, decoding": contender(fromText, "sync"),
  "Effect.runFork, async": contender(ready, "async"),
  "Effect.runFork, async, decoding": contender(fromText, "async")
}
