/**
 * Going on with the exit of an effect: at once where it is over, and by one frame of the runtime where it is not. What is over
 * needs no steps of a fiber, which is how a chain of layers ends that a handler left without waiting for anything.
 *
 * The frame is `Effect.matchCauseEffect`'s, as one object that gives both cases the same exit. By that function it would be
 * five: a closure a case, what they are handed over in, and the exit made again. It also looks at the length of both, which V8
 * answers slowly. A chain makes several frames a layer, for every job.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import { Cases } from "./cases.ts"

type Go<A, E, A2, E2, R2> = (exit: Exit.Exit<A, E>) => Effect.Effect<A2, E2, R2>

/** Whether it is an exit. `Exit.isExit` takes anything; of an effect one look is enough, and a chain takes many. @internal */
export const isOver = <A, E, R>(effect: Effect.Effect<A, E, R>): effect is Exit.Exit<A, E> =>
  (effect as Partial<Exit.Exit<A, E>>)["~effect/Exit"] !== undefined

/** `go` with the exit of `self`: at once when it is over. Only where the fiber is masked. @internal */
export const whenOver = <A, E, R, A2, E2, R2>(
  self: Effect.Effect<A, E, R>,
  go: Go<A, E, A2, E2, R2>
): Effect.Effect<A2, E2, R | R2> => isOver(self) ? go(self) : works ? framed(self, go) : matched(self, go)

/** in Effect's own words @internal */
export const matched = <A, E, R, A2, E2, R2>(
  self: Effect.Effect<A, E, R>,
  go: Go<A, E, A2, E2, R2>
): Effect.Effect<A2, E2, R | R2> =>
  Effect.matchCauseEffect(self, new Cases((value) => go(Exit.succeed(value)), (cause) => go(Exit.failCause(cause))))

/** Effect keeps to itself what a frame is: what it runs first, and how it goes on; the exit is there if it was made already. */
class Frame {
  "~effect/Effect/args": unknown
  go: Go<any, any, any, any, any>

  constructor(self: unknown, go: Go<any, any, any, any, any>) {
    this["~effect/Effect/args"] = self
    this.go = go
  }
  "~effect/Effect/successCont"(value: unknown, _: unknown, exit: Exit.Exit<unknown> | undefined) {
    return this.go(exit ?? Exit.succeed(value))
  }
  "~effect/Effect/failureCont"(cause: Cause.Cause<unknown>, _: unknown, exit: Exit.Exit<never, unknown> | undefined) {
    return this.go(exit ?? Exit.failCause(cause))
  }
}
Object.setPrototypeOf(Frame.prototype, Object.getPrototypeOf(matched(Effect.void, (exit) => exit)))

/** @internal */
export const framed = <A, E, R, A2, E2, R2>(
  self: Effect.Effect<A, E, R>,
  go: Go<A, E, A2, E2, R2>
): Effect.Effect<A2, E2, R | R2> => new Frame(self, go) as unknown as Effect.Effect<A2, E2, R | R2>

/** Where a frame is not like that (another version of Effect), its own words are used. @internal */
export const works = ((): boolean => {
  const all = [Effect.sync(() => 1), Effect.failSync(() => 2), Effect.suspend(() => Exit.die(3))]
  const exits = [Exit.succeed(1), Exit.fail(2), Exit.die(3)]
  return all.every((one: Effect.Effect<number, number>, i) =>
    Equal.equals(Effect.runSyncExit(framed(one, Effect.succeed)), Exit.succeed(exits[i]))
  )
})()
