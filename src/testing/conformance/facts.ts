/**
 * Looks up what a backend has.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Backend, type Shape } from "../../Backend.ts"
import { Unique } from "../../Capability.ts"
import { capabilities, type Need } from "./harness.ts"

/** what a built backend has, of all that cases may need */
export const facts = Effect.fnUntraced(function*<R>(context: Context.Context<R>, clock: "test" | "live") {
  const found = new Set<Need>()
  for (const [name, key] of Object.entries(capabilities)) {
    if (has(context, key)) found.add(name as Need)
  }
  const backend: Shape = Context.getUnsafe(context as Context.Context<any>, Backend)
  const unique: Option.Option<Unique["Service"]> = Context.getOption(context as Context.Context<any>, Unique)
  if (Option.isSome(unique)) { for (const scope of unique.value.scopes) found.add(`Unique.${scope}`) }
  if (backend.fence === "strict") found.add("StrictFence")
  if (clock === "test") found.add("ExactTime")
  yield* Effect.scoped(Effect.gen(function*() {
    const queue = `conformance-${token()}`
    yield* backend.declare(queue)
    const { lease } = yield* backend.subscribe(queue, { worker: "conformance" })
    if (lease._tag === "Timed") found.add("TimedLease")
  }))
  return found as ReadonlySet<Need>
})

const has = (context: Context.Context<any>, key: Context.Key<any, any>): boolean =>
  Option.isSome(Context.getOption(context, key))

/** new in every run, so that runs can share an engine */
export const token = (): string => Math.random().toString(36).slice(2, 10)
