/**
 * A list of wraps composed once per task, when the worker starts: first = outermost, the handler's body innermost.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { NextMisused } from "../../Middleware.ts"
import { hooksOf } from "../middleware/written.ts"
import { isOver } from "../over.ts"
import { hooked } from "./hooked.ts"
import { type Enter, go, layer } from "./layer.ts"
import type { Run } from "./run.ts"

/** A wrap and the name that errors call it by. @internal */
export interface Named {
  readonly name: string
  readonly wrap: (
    next: (input: any) => Effect.Effect<any, any, any>,
    input: any,
    job: Run
  ) => Effect.Effect<any, any, any>
}

/** @internal */
export const compose = (wraps: ReadonlyArray<Named>, inner: Enter): Enter =>
  wraps.reduceRight<Enter>((inner, named) => {
    const hooks = hooksOf(named.wrap)
    return hooks === undefined ? guarded(named, inner) : hooked(hooks, inner)
  }, inner)

/** Holds what types cannot: `next` runs once at a time, and only while the wrap that received it is open. */
const guarded = ({ name, wrap }: Named, inner: Enter): Enter => (fiber, input, job) => {
  let open: Fiber.Fiber<unknown, unknown> | undefined
  let returned = false
  const next = (input: unknown) =>
    Effect.withFiber((fiber) => {
      if (returned || open !== undefined) {
        return Effect.die(new NextMisused({ middleware: name, reason: returned ? "AfterReturn" : "StillOpen" }))
      }
      open = fiber
      const run = go(inner, fiber, input, job)
      if (isOver(run)) {
        open = undefined
        return run
      }
      return Effect.onExitPrimitive(run, () => {
        open = undefined
        return undefined
      })
    })
  return layer(fiber, job, () => wrap(next, input, job), () => {
    returned = true
    // a wrap that forked `next` and returned: what runs inside ends before anything outside goes on (L15)
    return open === undefined ? undefined : Fiber.interrupt(open)
  })
}
