/**
 * `onExit` that keeps typed failures. Effect turns every `Fail` of a cause into a `Die` when a finalizer dies; a job's
 * declared failure must survive that (law L3), so it is remembered before the finalizer runs and put back after.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import { isOver } from "./over.ts"

type OnExit<A, E, E2, R2> = (exit: Exit.Exit<A, E>) => Effect.Effect<void, E2, R2> | undefined

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
  onExit: OnExit<A, E, E2, R2>
): Effect.Effect<A, E | E2, R | R2> => works ? framed(self, onExit) : worded(self, onExit)

/** in Effect's own words @internal */
export const worded = <A, E, R, E2 = never, R2 = never>(
  self: Effect.Effect<A, E, R>,
  onExit: OnExit<A, E, E2, R2>
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

/**
 * The frame of `Effect.onExitPrimitive`, which masks the fiber when it is reached, and goes on by `afterwards`: one object for
 * every job, where the words above take four and a frame more. `over.ts` says what it relies on. A typed failure also stands where
 * an interruption is heard at the end of the finalizer, which for Effect would have skipped who puts it back.
 */
class Frame {
  effect: unknown
  onExit: OnExit<any, any, any, any>
  interruptible: undefined

  constructor(effect: unknown, onExit: OnExit<any, any, any, any>) {
    this.effect = effect
    this.onExit = onExit
    this.interruptible = undefined
  }
  "~effect/Effect/successCont"(value: unknown, _: unknown, exit: Exit.Exit<unknown> | undefined) {
    return this.leave(exit ?? Exit.succeed(value))
  }
  "~effect/Effect/failureCont"(cause: Cause.Cause<unknown>, _: unknown, exit: Exit.Exit<never, unknown> | undefined) {
    return this.leave(exit ?? Exit.failCause(cause))
  }
  private leave(exit: Exit.Exit<unknown, unknown>): Effect.Effect<unknown, unknown> {
    let end: Effect.Effect<void, unknown> | undefined
    try {
      end = this.onExit(exit) as Effect.Effect<void, unknown> | undefined
    } catch (defect) {
      end = Effect.die(defect)
    }
    return afterwards(exit, end)
  }
}
Object.setPrototypeOf(Frame.prototype, Object.getPrototypeOf(Effect.onExitPrimitive(Effect.void, () => undefined)))

/** @internal */
export const framed = <A, E, R, E2, R2>(
  self: Effect.Effect<A, E, R>,
  onExit: OnExit<A, E, E2, R2>
): Effect.Effect<A, E | E2, R | R2> => new Frame(self, onExit) as unknown as Effect.Effect<A, E | E2, R | R2>

/** Where a frame is not like that (another version of Effect), its own words are used. @internal */
export const works = ((): boolean => {
  const all = [Effect.sync(() => 1), Effect.failSync(() => 2), Effect.suspend(() => Exit.die(3))]
  const exits = [Exit.succeed(1), Exit.fail(2), Exit.die(3)]
  const seen: Array<unknown> = []
  const isMasked = Effect.withFiber((fiber) => {
    seen.push((fiber as { readonly interruptible?: boolean }).interruptible)
    return Effect.void
  })
  return all.every((one: Effect.Effect<number, number>, i) => {
    const exit = Effect.runSyncExit(framed(one, (exit) => {
      seen.push(exit)
      return isMasked
    }))
    return Equal.equals(exit, exits[i]) && Equal.equals(seen[2 * i], exits[i]) && seen[2 * i + 1] === false
  })
})()
