/**
 * Windlass, one contender a kind of layer, each written as `docs/write-a-middleware.md` says. Every layer counts itself in
 * and, where it has a way out, out.
 */
import { Context, Effect, Layer } from "effect"
import * as Middleware from "windlass/Middleware"
import * as Timing from "windlass/middleware/Timing"
import { type Stack, work } from "./app.ts"
import type { Cell, Contender, Contenders } from "./contender.ts"

const both = { in: 1, out: 1 } as const
const onlyIn = { in: 1, out: 0 } as const
const none = { in: 0, out: 0 } as const

const times = <A>(cell: Cell, make: (n: number) => A): ReadonlyArray<A> =>
  Array.from({ length: cell.layers }, (_, n) => make(n))

const contender = (counts: Contender["counts"], stack: (cell: Cell) => Stack): Contender => ({
  counts,
  run: (cell) => work(cell, stack(cell))
})

/** observers stand in the worker's list */
const observers = (counts: Contender["counts"], make: (cell: Cell, n: number) => Middleware.Observer) =>
  contender(counts, (cell) => ({ worker: times(cell, (n) => make(cell, n)) }))

/** written in place, in the task's list */
const inPlace = (counts: Contender["counts"], wrap: (cell: Cell) => Middleware.Inline["wrap"]) =>
  contender(counts, (cell) => ({ task: times(cell, (n) => Middleware.make(`layer ${n}`, wrap(cell))) }))

interface Value {
  readonly n: number
}

/** declared, each providing a service of its own, with its implementation in a layer */
const declared = (
  counts: Contender["counts"],
  implement: (cell: Cell, value: Context.Key<Value, Value>) => Middleware.Wrap<Value>
) =>
  contender(counts, (cell) => {
    const all = times(cell, (n) => {
      const value = Context.Service<Value, Value>(`bench/Value${n}`)
      const service = Middleware.Service<unknown, { provides: Value }>()(`bench/Provider${n}`)
      return { service, live: Layer.succeed(service, implement(cell, value)) }
    })
    return {
      task: all.map((one) => one.service),
      implementations: all.reduce(
        (all, one) => Layer.merge(all, one.live),
        Layer.empty as Layer.Layer<unknown>
      ) as Layer.Layer<never>
    }
  })

const enter = (cell: Cell) => Effect.sync((): Value => ({ n: cell.tally.in++ }))
/** computed when it runs, as a real release is: Effect has a shortcut for a release that is over before it begins */
const leave = (cell: Cell) => Effect.sync(() => void cell.tally.out++)
const resource = (cell: Cell) => Effect.acquireRelease(enter(cell), () => leave(cell))

/** as in the bench of whole queues: a service that is a scoped resource, hooks, and the timing that ships */
const three = (cell: Cell): Stack => {
  const value = Context.Service<Value, Value>("bench/Value")
  const provider = Middleware.Service<unknown, { provides: Value }>()("bench/Provider")
  return {
    worker: [Timing.observer({ onTiming: () => undefined })],
    task: [
      provider,
      Middleware.make("hooks", Middleware.hooks({ before: () => enter(cell), after: () => leave(cell) }))
    ],
    implementations: Layer.succeed(
      provider,
      Middleware.hooks({ provides: value, before: () => resource(cell) })
    ) as Layer.Layer<never>
  }
}

export const contenders: Contenders = {
  "no layers": { counts: none, run: (cell) => work(cell, {}) },
  "no layers, async": { counts: none, run: (cell) => work(cell, {}, "async") },
  "three middlewares": { counts: none, run: (cell) => work(cell, three(cell)) },
  "three middlewares, async": { counts: none, run: (cell) => work(cell, three(cell), "async") },

  "observe": observers(both, (cell, n) =>
    Middleware.observe({
      name: `observer ${n}`,
      before: () => cell.tally.in++,
      after: () => void cell.tally.out++
    })),
  "observe, effects": observers(both, (cell, n) =>
    Middleware.observe({
      name: `observer ${n}`,
      before: () => Effect.sync(() => cell.tally.in++),
      after: () => Effect.sync(() => void cell.tally.out++)
    })),
  "observe, Timing": observers({ in: 0, out: 1 }, (cell) => Timing.observer({ onTiming: () => void cell.tally.out++ })),

  "provide": declared(onlyIn, (cell, value) => Middleware.hooks({ provides: value, before: () => enter(cell) })),

  "hooks": inPlace(both, (cell) =>
    Middleware.hooks({
      before: () => enter(cell),
      after: () => leave(cell)
    })),

  "scoped": inPlace(both, (cell) => Middleware.hooks({ before: () => resource(cell) })),
  "scoped and provided": declared(
    both,
    (cell, value) => Middleware.hooks({ provides: value, before: () => resource(cell) })
  ),
  "scoped, before and after": declared(
    both,
    (cell, value) => Middleware.hooks({ provides: value, before: () => enter(cell), after: () => leave(cell) })
  ),
  "scoped, in a gen": declared(both, (cell, value) => (next, input) =>
    Effect.gen(function*() {
      const held = yield* resource(cell)
      return yield* Effect.provideService(next(input), value, held)
    })),
  "scoped, acquireUseRelease": inPlace(
    both,
    (cell) => (next, input) => Effect.acquireUseRelease(enter(cell), () => next(input), () => leave(cell))
  ),
  "scoped, addFinalizer": inPlace(both, (cell) => (next, input) =>
    Effect.andThen(
      Effect.andThen(enter(cell), Effect.addFinalizer(() => leave(cell))),
      Effect.suspend(() => next(input))
    )),

  "wrap": inPlace(onlyIn, (cell) => (next, input) => {
    cell.tally.in++
    return next(input)
  }),
  "own wrap": contender(onlyIn, (cell) => ({
    own: times(cell, () => (next, payload) => {
      cell.tally.in++
      return next(payload)
    })
  }))
}
