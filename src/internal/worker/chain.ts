/**
 * A list of wraps composed once per task, when the worker starts: first = outermost, the handler's body innermost.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { NextMisused } from "../../Middleware.ts"
import { isTrusted } from "../middleware/written.ts"
import type { Run } from "./run.ts"
import { withScope } from "./scope.ts"

/** The chain from here inwards. @internal */
export type Chain = (input: unknown, job: Run) => Effect.Effect<unknown, unknown, any>

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
export const compose = (wraps: ReadonlyArray<Named>, inner: Chain): Chain =>
  wraps.reduceRight<Chain>((inner, named) => isTrusted(named.wrap) ? plain(named, inner) : guarded(named, inner), inner)

const plain = ({ wrap }: Named, inner: Chain): Chain => (input, job) =>
  withScope(job, () => wrap((input) => inner(input, job), input, job))

/** Holds what types cannot: `next` runs once at a time, and only while the wrap that received it is open. */
const guarded = ({ name, wrap }: Named, inner: Chain): Chain => (input, job) => {
  let open: Fiber.Fiber<unknown, unknown> | undefined
  let returned = false
  const next = (input: unknown) =>
    Effect.withFiber((fiber) => {
      if (returned || open !== undefined) {
        return Effect.die(new NextMisused({ middleware: name, reason: returned ? "AfterReturn" : "StillOpen" }))
      }
      open = fiber
      return Effect.onExitPrimitive(inner(input, job), () => {
        open = undefined
        return undefined
      })
    })
  return withScope(job, () => wrap(next, input, job), () => {
    returned = true
    // a wrap that forked `next` and returned: what runs inside ends before anything outside goes on (L15)
    return open === undefined ? undefined : Fiber.interrupt(open)
  })
}
