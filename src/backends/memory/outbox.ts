/**
 * Who is to be told of what an engine's step changed. Resuming a fiber runs it at once, in the middle of whoever
 * resumes it; so a step only notes whom to tell, and they are told on the scheduler when the step is over.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"

export class Outbox {
  private messages: Array<() => void> = []

  add(message: () => void): void {
    this.messages.push(message)
  }

  /** takes one step, and tells afterwards whoever it concerns */
  step<A, E = never>(run: () => Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.withFiber((fiber) => {
      const result = run()
      if (this.messages.length > 0) {
        const messages = this.messages
        this.messages = []
        fiber.currentDispatcher.scheduleTask(() => {
          for (const message of messages) message()
        }, 0)
      }
      return result
    })
  }

  sync<A>(run: () => A): Effect.Effect<A> {
    return this.step(() => Effect.succeed(run()))
  }
}
