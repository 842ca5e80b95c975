/**
 * `onExit` that keeps typed failures. Effect turns every `Fail` of a cause into a `Die` when a finalizer dies; a job's
 * declared failure must survive that (law L3), so it is remembered before the finalizer runs and put back after.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import { isOver } from "./over.ts"

/** The typed failures of `before` that `cause` has as defects, as what they were. @internal */
export const restore = <E>(cause: Cause.Cause<E>, before: Cause.Cause<E>): Cause.Cause<E> => {
  const failures = before.reasons.filter(Cause.isFailReason)
  if (failures.length === 0) return cause
  return Cause.fromReasons(
    cause.reasons.map((reason) =>
      Cause.isDieReason(reason) ? failures.find((fail) => fail.error === reason.defect) ?? reason : reason
    )
  )
}

/** @internal */
export const finalize = <A, E, R, E2 = never, R2 = never>(
  self: Effect.Effect<A, E, R>,
  onExit: (exit: Exit.Exit<A, E>) => Effect.Effect<void, E2, R2> | undefined
): Effect.Effect<A, E | E2, R | R2> => {
  let before: Cause.Cause<E> | undefined
  return Effect.catchCause(
    Effect.onExitPrimitive(self, (exit) => {
      // set at every run: the value may be run again, by a retry around it
      before = exit._tag === "Failure" ? exit.cause : undefined
      return onExit(exit)
    }),
    (cause) => Effect.failCause(before === undefined ? cause : restore<E | E2>(cause, before))
  )
}

/**
 * `exit` after `end`, which may be what a finalizer returned: nothing. When it fails, {@link finalize}'s rules say what
 * stands. Only where the fiber is masked.
 *
 * @internal
 */
export const afterwards = <A, E, E2, R>(
  exit: Exit.Exit<A, E>,
  end: Effect.Effect<unknown, E2, R> | undefined
): Effect.Effect<A, E | E2, R> => {
  if (end === undefined || (isOver(end) && end._tag === "Success")) return exit
  if (exit._tag === "Success") return Effect.flatMap(end, () => exit)
  const { cause } = exit
  return Effect.catchCause(
    Effect.onExitPrimitive(exit, () => end),
    (combined) => Effect.failCause(restore<E | E2>(combined, cause))
  )
}
