/**
 * Effect alone: the same handler in a root fiber of its own with the same services, with and without decoding before it. And
 * the bench's engine alone, whose share of a job is not Windlass's.
 */
import { Context, Effect, Exit, Schema } from "effect"
import { Backend, type Settlement } from "windlass/Backend"
import { application, handlers, payloadSchema, type Used } from "./app.ts"
import { type Cell, type Contender, type Contenders, type Payload, payloads } from "./contender.ts"
import { engine } from "./engine.ts"

const decode = Schema.decodeUnknownExit(payloadSchema)
const stored = payloads.map((payload) => JSON.stringify(payload))
const decoded = (text: string): Payload => {
  const exit = decode(JSON.parse(text))
  if (Exit.isFailure(exit)) throw new Error("a payload that its schema refuses")
  return exit.value
}

type Job = (payload: Payload) => Effect.Effect<void, never, Used>

/** as many at once as a worker runs, then the next ones */
const run = async (cell: Cell, payloadOf: (n: number) => Payload, handle: Job) => {
  const runFork = Effect.runForkWith(application)
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
  run: (cell) => run(cell, payloadOf, handlers[handler](cell))
})

const enter = (cell: Cell) =>
  Effect.sync((): Used => {
    cell.tally.in++
    return { used: () => {} }
  })
const leave = (cell: Cell) => Effect.sync(() => void cell.tally.out++)

/**
 * The same layers written in Effect by hand, composed once: what the operators themselves ask for. None of what a chain holds is
 * in it: no scope per layer, no typed failure that survives a dying release, no guard of `next`.
 */
const byHand = (counts: Contender["counts"], layer: (cell: Cell, n: number) => (next: Job) => Job): Contender => ({
  counts,
  run: (cell) => {
    const all = Array.from({ length: cell.layers }, (_, n) => layer(cell, n))
    return run(cell, ready, all.reduce((next, layer) => layer(next), handlers.sync(cell) as Job))
  }
})

/** what "three middlewares" does around a handler: a service that is a scoped resource, hooks, and the timing */
const three = (cell: Cell): Job => {
  const value = Context.Service<Used, Used>("bench/Value")
  const handler = handlers.sync(cell)
  let longest = 0
  return (payload) =>
    Effect.suspend(() => {
      const begun = performance.now()
      const inner = Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(enter(cell), () => Effect.onExit(restore(handler(payload)), () => leave(cell)))
      )
      const resource = Effect.acquireRelease(enter(cell), () => leave(cell))
      return Effect.onExit(
        Effect.scoped(Effect.flatMap(resource, (held) => Effect.provideService(inner, value, held))),
        () => {
          longest = Math.max(longest, performance.now() - begun)
          return Effect.void
        }
      )
    })
}

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
  "Effect.runFork, three layers by hand": {
    counts: { in: 0, out: 0 },
    run: (cell) => run(cell, fromText, three(cell))
  },
  "Effect by hand, provide": byHand({ in: 1, out: 0 }, (cell, n) => {
    const value = Context.Service<Used, Used>(`bench/Value${n}`)
    return (next) => (payload) =>
      Effect.flatMap(enter(cell), (entered) => Effect.provideService(next(payload), value, entered))
  }),
  "Effect by hand, hooks": byHand(
    { in: 1, out: 1 },
    (cell) => (next) => (payload) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(enter(cell), () => Effect.onExit(restore(next(payload)), () => leave(cell)))
      )
  ),
  "Effect by hand, scoped": byHand({ in: 1, out: 1 }, (cell) => (next) => (payload) =>
    Effect.scoped(
      Effect.flatMap(Effect.acquireRelease(enter(cell), () => leave(cell)), () => next(payload))
    )),
  "Effect by hand, acquireUseRelease": byHand(
    { in: 1, out: 1 },
    (cell) => (next) => (payload) => Effect.acquireUseRelease(enter(cell), () => next(payload), () => leave(cell))
  ),
  "Effect.runFork, async": contender(ready, "async"),
  "Effect.runFork, async, decoding": contender(fromText, "async")
}
