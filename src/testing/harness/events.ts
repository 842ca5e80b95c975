/**
 * What happened in a harness, in order: what it saw itself, and what the parts around the middleware noted.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"

/** the list of the harness that is running; nobody keeps notes outside of one */
export const Current = Context.Reference<Array<string> | undefined>("windlass/testing/Harness/Events", {
  defaultValue: () => undefined
})

/** how something ended, in one word */
export type Ended = "success" | "failure" | "defect" | "interruption"

export const endedOf = (exit: Exit.Exit<unknown, unknown>): Ended => {
  if (exit._tag === "Success") return "success"
  if (Cause.hasFails(exit.cause)) return "failure"
  return Cause.hasDies(exit.cause) ? "defect" : "interruption"
}

export const note = (event: string): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    Context.get(fiber.context, Current)?.push(event)
    return Effect.void
  })
