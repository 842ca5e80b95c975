/**
 * The layer of a `Middleware.hooks`. Of it is known what of no other wrap is: that it runs `next` once, within itself and
 * in its own fiber. So it needs no guard, and enters what is inside of it directly.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { afterwards, finalize } from "../finalize.ts"
import type { Hooks } from "../middleware/written.ts"
import { whenOver } from "../over.ts"
import { begin, type Enter, entered, go, isMasked, layer, leave } from "./layer.ts"

/** @internal */
export const hooked = (hooks: Hooks, inner: Enter): Enter => {
  const careful = unmasked(hooks, inner)
  const { after, before, provides } = hooks
  // written out, where `unmasked` says the same with the operators for it: most chains run masked, and many layers long
  return (fiber, input, job) => {
    if (!isMasked(fiber)) return careful(fiber, input, job)
    const outer = fiber.context
    const scope = Scope.makeUnsafe()
    fiber.setContext(Context.add(outer, Scope.Scope, scope))
    const out = (exit: Exit.Exit<unknown, unknown>) => leave(fiber, job, outer, scope, exit)
    const inside = (begun: Exit.Exit<unknown, unknown>) => {
      if (begun._tag === "Failure") return out(begun)
      // what `before` left there for the time of the layer, as log annotations of its scope, is in it
      const own = fiber.context
      if (provides !== undefined) fiber.setContext(Context.add(own, provides, begun.value))
      const run = go(inner, fiber, input, job)
      return after === undefined ? whenOver(run, out) : whenOver(run, (exit) => {
        fiber.setContext(own)
        const end = begin(() => after(exit, begun.value, job))
        // untyped code may return nothing
        if (exit._tag === "Failure" || end === undefined) return whenOver(afterwards(exit, end), out)
        return whenOver(end, (ended) => out(ended._tag === "Success" ? exit : ended))
      })
    }
    return before === undefined ? inside(Exit.void) : whenOver(begin(() => before(job)), inside)
  }
}

/** Under a race or a time-out of a middleware: an interruption may come between any two steps. */
const unmasked = ({ after, before, provides }: Hooks, inner: Enter): Enter => (fiber, input, job) =>
  layer(fiber, job, () => {
    const inside = (value: unknown, restore?: typeof Effect.interruptible) => {
      const own = fiber.context
      // the layer's end puts the context of the outside back
      if (provides !== undefined) fiber.setContext(Context.add(own, provides, value))
      const run = restore === undefined ? inner(fiber, input, job) : restore(entered(inner, input, job))
      return after === undefined ? run : finalize(run, (exit) => {
        fiber.setContext(own)
        return after(exit, value, job)
      })
    }
    return before === undefined
      ? inside(undefined)
      // masked as a whole, so that nothing can come between the end of `before` and the registration of `after`
      : Effect.uninterruptibleMask((restore) => Effect.flatMap(before(job), (value) => inside(value, restore)))
  })
