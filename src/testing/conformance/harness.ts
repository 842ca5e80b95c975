/**
 * What surrounds a case of the conformance kit: the time that it can let pass, the names that it may use, and how it
 * says that something does not hold.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { type Backend, BackendError } from "../../Backend.ts"
import * as Capability from "../../Capability.ts"

/**
 * A case does not hold on this backend: what was expected, and what was seen.
 *
 * @category errors
 * @since 0.1.0
 */
export class ConformanceFailure extends Schema.TaggedError<ConformanceFailure>()("windlass/ConformanceFailure", {
  /** id of the case */
  case: Schema.String,
  message: Schema.String
}) {}

/**
 * What the harness of a suite gives to its cases.
 *
 * @category services
 * @since 0.1.0
 */
export class Harness extends Context.Service<Harness, {
  /** lets so many milliseconds pass on the engine's clock */
  readonly advance: (millis: number) => Effect.Effect<void>
  /** whether time passes only by `advance`, so that a case may count on the millisecond */
  readonly exact: boolean
  /** milliseconds that are long against the engine's resolution of time */
  readonly unit: number
  /** milliseconds by which the engine may be later than it promised */
  readonly slack: number
  /** what the backend has */
  readonly facts: ReadonlySet<Need>
  /** a name that no other run of any case has: letters, digits and dashes */
  readonly fresh: string
  /** seed of what a case draws at random */
  readonly seed: number
  /** the factor by which heavy cases are smaller than they are by default */
  readonly scale: number
  /** runs an effect in a transaction that its failure rolls back; for `Transactional` */
  readonly transaction: Transaction | undefined
}>()("windlass/testing/Conformance/Harness") {}

/**
 * @category models
 * @since 0.1.0
 */
export type Transaction = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | unknown, R>

/** the capabilities by name, as the kit looks them up in a layer's context */
export const capabilities = {
  Delay: Capability.Delay,
  Priority: Capability.Priority,
  Unique: Capability.Unique,
  Groups: Capability.Groups,
  GroupLimit: Capability.GroupLimit,
  AtomicBatch: Capability.AtomicBatch,
  ExactAttempts: Capability.ExactAttempts,
  Transactional: Capability.Transactional,
  Results: Capability.Results,
  Inspect: Capability.Inspect,
  Cancel: Capability.Cancel,
  Pause: Capability.Pause,
  Leader: Capability.Leader,
  Cursor: Capability.Cursor,
  DeadLetter: Capability.DeadLetter,
  Reroute: Capability.Reroute
} as const

/**
 * What a case needs of a backend. Beside the capabilities: `StrictFence` (the backend declares it), `TimedLease` (its
 * subscriptions have one), `ExactTime` (the suite drives the engine's clock), and the scopes of `Unique`.
 *
 * @category models
 * @since 0.1.0
 */
export type Need =
  | keyof typeof capabilities
  | "StrictFence"
  | "TimedLease"
  | "ExactTime"
  | "Unique.started"
  | "Unique.finished"
  | "Unique.window"

/** what a case may use; a capability only where it is among its needs */
export type Services = Backend | Capability.AllButTransactional | Harness | Scope.Scope

/**
 * One property of the contract, with the program that tries it. `run` fails when it does not hold. What it uses of a
 * backend is the contract and nothing else.
 *
 * @category models
 * @since 0.1.0
 */
export interface Case {
  /** `area/what`, stable over releases */
  readonly id: string
  /** laws and scenarios that it holds */
  readonly holds: ReadonlyArray<string>
  readonly title: string
  readonly needs: ReadonlyArray<Need>
  readonly run: Effect.Effect<void, ConformanceFailure, Services>
}

/** a check inside of a case, which does not know the case's id */
export class NotHeld extends Schema.TaggedError<NotHeld>()("NotHeld", { message: Schema.String }) {}

export const make = (
  id: string,
  holds: ReadonlyArray<string>,
  title: string,
  needs: ReadonlyArray<Need>,
  run: () => Generator<Effect.Effect<any, NotHeld | BackendError, Services>, void, never>
): Case => ({
  id,
  holds,
  title,
  needs,
  run: Effect.gen(run).pipe(
    Effect.catch((error) => {
      const message = error instanceof BackendError
        ? `${error.operation} of ${error.backend} failed: ${error.message} (${error.outcome})`
        : error.message
      return Effect.fail(new ConformanceFailure({ case: id, message: `${id} (${title}): ${message}` }))
    })
  )
})

export const fail = (message: string): Effect.Effect<never, NotHeld> => Effect.fail(new NotHeld({ message }))

export const holds = (condition: boolean, message: string): Effect.Effect<void, NotHeld> =>
  condition ? Effect.void : fail(message)

export const equal = <A>(actual: A, expected: A, what: string): Effect.Effect<void, NotHeld> =>
  same(actual, expected) ? Effect.void : fail(`${what}: expected ${show(expected)}, got ${show(actual)}`)

/** the same plain data; a field that is undefined is the same as none */
export const same = (a: unknown, b: unknown): boolean => {
  if (Object.is(a, b)) return true
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false
  if (Array.isArray(a) !== Array.isArray(b)) return false
  if (Array.isArray(a) && Array.isArray(b) && a.length !== b.length) return false
  const left = a as Record<string, unknown>
  const right = b as Record<string, unknown>
  for (const key of new Set([...Object.keys(left), ...Object.keys(right)])) {
    if (!same(left[key], right[key])) return false
  }
  return true
}

export const show = (value: unknown): string => {
  const text = JSON.stringify(value, (_, part: unknown) => typeof part === "bigint" ? `${part}n` : part) ?? "undefined"
  return text.length > 600 ? `${text.slice(0, 600)}...` : text
}

/** the call must fail with a typed error that says that nothing was done */
export const refused = Effect.fnUntraced(function*<A, R>(effect: Effect.Effect<A, BackendError, R>, what: string) {
  const result = yield* Effect.result(effect)
  if (result._tag === "Success") return yield* fail(`${what} was accepted`)
  yield* equal(result.failure.outcome, "NotApplied", `outcome of the error of ${what}`)
  yield* equal(result.failure.retryable, false, `retryable of the error of ${what}`)
})

export const advance = (millis: number): Effect.Effect<void, never, Harness> =>
  Effect.flatMap(Harness, (harness) => harness.advance(millis))

/** lets time pass in small steps, then larger ones, until the fiber has ended: that it ends is promised, not how soon */
export const ends = Effect.fnUntraced(function*<A, E>(fiber: Fiber.Fiber<A, E>, what: string) {
  const { advance, unit } = yield* Harness
  for (let step = 0; step < 150; step++) {
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return yield* exit
    yield* advance(step < 100 ? unit / 20 : unit)
  }
  return yield* fail(`${what} did not end within ${55 * unit} ms`)
})
