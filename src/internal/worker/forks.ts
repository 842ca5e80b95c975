/**
 * What `Job.fork` started in one run of the body. The fibers are nobody's children: a fork that ends would take the
 * forks that it made with it, and they belong to the job.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"

/** @internal */
export class Forks {
  private readonly open = new Set<Fiber.Fiber<unknown, unknown>>()
  private failure: Exit.Failure<unknown, unknown> | undefined = undefined
  private look: (() => void) | undefined = undefined

  /** masked, so that no fiber is started and then forgotten */
  fork<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<Fiber.Fiber<A, E>, never, R> {
    return Effect.uninterruptible(Effect.map(Effect.forkDetach(effect, { startImmediately: true }), (fiber) => {
      this.open.add(fiber)
      fiber.addObserver((exit) => {
        this.open.delete(fiber)
        // one that the handler itself interrupted is over, not failed
        if (exit._tag === "Failure" && !Cause.hasInterruptsOnly(exit.cause)) this.failure ??= exit
        this.look?.()
      })
      return fiber
    }))
  }

  /** waits until all are over, those that forks start meanwhile included; fails as soon as one has failed */
  get join(): Effect.Effect<void, unknown> {
    return Effect.callback((resume) => {
      this.look = () => {
        if (this.failure !== undefined) resume(this.failure)
        else if (this.open.size === 0) resume(Effect.void)
      }
      this.look()
    })
  }

  /** ends what is left; undefined when nothing is */
  interrupt(): Effect.Effect<void> | undefined {
    if (this.open.size === 0) return undefined
    // a finalizer of one may have started another
    return Effect.andThen(
      Fiber.interruptAll(Array.from(this.open)),
      Effect.suspend(() => this.interrupt() ?? Effect.void)
    )
  }
}
