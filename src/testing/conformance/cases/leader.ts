/**
 * One holder per name.
 *
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { Leader } from "../../../Capability.ts"
import { ends, equal, Harness, holds, make } from "../harness.ts"
import { stage } from "../stage.ts"

export const leader = [
  make(
    "leader/one",
    [],
    "one holds a name at a time, the next gets it when the scope ends, epochs grow",
    ["Leader"],
    function*() {
      const { advance, unit } = yield* Harness
      const leader = yield* Leader
      const s = yield* stage
      const name = s.other("leader")
      let epoch = -Infinity
      let current = yield* Scope.make()
      epoch = (yield* Scope.provide(leader.hold(name), current)).epoch
      for (let round = 0; round < 4; round++) {
        const scope = yield* Scope.make()
        const next = yield* Effect.forkChild(Scope.provide(leader.hold(name), scope), { startImmediately: true })
        yield* advance(unit)
        yield* equal(next.pollUnsafe(), undefined, "while another holds it")
        yield* Scope.close(current, Exit.void)
        const held = yield* ends(next, "waiting for the name")
        yield* holds(held.epoch > epoch, `epoch ${held.epoch} after ${epoch}`)
        epoch = held.epoch
        current = scope
      }
      yield* Scope.close(current, Exit.void)
    }
  ),

  make("leader/names", [], "names are apart from each other", ["Leader"], function*() {
    const leader = yield* Leader
    const s = yield* stage
    yield* leader.hold(s.other("a"))
    yield* ends(
      yield* Effect.forkChild(Effect.scoped(leader.hold(s.other("b"))), { startImmediately: true }),
      "holding another name"
    )
  }),

  make("leader/interrupt", [], "who is interrupted while waiting does not hold it, who is while holding gives it up", [
    "Leader"
  ], function*() {
    const leader = yield* Leader
    const s = yield* stage
    const name = s.other("leader")
    const holding = yield* Deferred.make<void>()
    const holder = yield* Effect.forkChild(
      Effect.scoped(
        Effect.andThen(leader.hold(name), Effect.andThen(Deferred.succeed(holding, undefined), Effect.never))
      ),
      { startImmediately: true }
    )
    yield* ends(yield* Effect.forkChild(Deferred.await(holding)), "holding a name that is free")
    const waiter = yield* Effect.forkChild(Effect.scoped(leader.hold(name)), { startImmediately: true })
    yield* Effect.yieldNow
    yield* Fiber.interrupt(waiter)
    yield* Fiber.interrupt(holder)
    yield* ends(
      yield* Effect.forkChild(Effect.scoped(leader.hold(name)), { startImmediately: true }),
      "holding a name that was given up"
    )
  }),

  make("leader/crowd", [], "of many who want it, one at a time has it, and each gets it", ["Leader"], function*() {
    const { advance, scale, unit } = yield* Harness
    const leader = yield* Leader
    const s = yield* stage
    const crowd = Math.max(3, Math.floor(10 / scale))
    let inside = 0
    let most = 0
    const epochs: Array<number> = []
    const fiber = yield* Effect.forkChild(
      Effect.forEach(
        Array.from({ length: crowd }),
        () =>
          Effect.scoped(Effect.gen(function*() {
            const { epoch } = yield* leader.hold(s.other("leader"))
            epochs.push(epoch)
            most = Math.max(most, ++inside)
            yield* Effect.yieldNow
            inside--
          })),
        { concurrency: "unbounded", discard: true }
      ),
      { startImmediately: true }
    )
    for (let step = 0; step < 100 * crowd && fiber.pollUnsafe() === undefined; step++) yield* advance(unit / 20)
    yield* equal(epochs.length, crowd, "who got it")
    yield* equal(most, 1, "most at a time")
    yield* equal(epochs, epochs.toSorted((a, b) => a - b), "epochs")
    yield* equal(new Set(epochs).size, crowd, "different epochs")
    yield* ends(fiber, "the crowd")
  })
]
