/**
 * The layer of a `Middleware.hooks`. Of it is known what of no other wrap is: that it runs `next` once, within itself and
 * in its own fiber. So it needs no guard, and enters what is inside of it directly.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { identity } from "effect/Function"
import { finalize } from "../finalize.ts"
import type { Hooks } from "../middleware/written.ts"
import { type Enter, entered, layer } from "./layer.ts"

/** @internal */
export const hooked = ({ after, before, provides }: Hooks, inner: Enter): Enter => (fiber, input, job) =>
  layer(fiber, job, (own) => {
    const inside = (value: unknown, restore: typeof Effect.interruptible) => {
      // the layer's end puts the context of the outside back
      if (provides !== undefined) fiber.setContext(Context.add(own, provides, value))
      // nothing to restore where the chain is masked already, as it is but under a race or a time-out of a middleware
      const run = restore === identity ? inner(fiber, input, job) : restore(entered(inner, input, job))
      return after === undefined ? run : finalize(run, (exit) => {
        fiber.setContext(own)
        const ended = after(exit, value, job)
        return Exit.isExit(ended) && Exit.isSuccess(ended) ? undefined : ended
      })
    }
    if (before === undefined) return inside(undefined, identity)
    const begun = before(job)
    // it is over already: nothing can come between it and the registration of `after`
    if (Exit.isExit(begun)) return Exit.isSuccess(begun) ? inside(begun.value, identity) : begun
    // masked as a whole, for the same reason
    return Effect.uninterruptibleMask((restore) => Effect.flatMap(begun, (value) => inside(value, restore)))
  })
