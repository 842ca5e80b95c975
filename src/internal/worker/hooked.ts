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
import { type Enter, entered, isMasked, layer } from "./layer.ts"

/** @internal */
export const hooked = ({ after, before, provides }: Hooks, inner: Enter): Enter => (fiber, input, job) =>
  layer(fiber, job, () => {
    const inside = (value: unknown, restore: typeof Effect.interruptible) => {
      // what `before` left there for the time of the layer, as log annotations of its scope, is in it
      const own = fiber.context
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
    // masked as a whole, so that nothing can come between the end of `before` and the registration of `after`
    if (!isMasked(fiber)) {
      return Effect.uninterruptibleMask((restore) => Effect.flatMap(before(job), (value) => inside(value, restore)))
    }
    const begun = before(job)
    if (Exit.isExit(begun)) return Exit.isSuccess(begun) ? inside(begun.value, identity) : begun
    return Effect.flatMap(begun, (value) => inside(value, identity))
  })
