/**
 * A publish that wakes an idle worker of its own process, and the claim with which that worker answers: one script for
 * both. The server is asked once, starts one script instead of two, and wakes nobody else for jobs that are gone when the
 * script ends.
 *
 * Nobody waits for company. A publish is offered for as long as it takes to wake those who wait; a claim that is made in
 * that very step takes it along, and with none the publish goes alone.
 *
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { BackendError } from "../../Backend.ts"
import type { Calls } from "./calls.ts"

/** jobs of a publish that a claim takes along: a script holds up the server for what both parts of it take */
const most = 100

type Answers = ReadonlyArray<string>

/** a publish that nobody has sent yet */
interface Offer {
  readonly args: ReadonlyArray<string>
  readonly answers: Deferred.Deferred<Answers, BackendError>
  taken: boolean
}

/** the same failure, as who publishes is told of it */
const ofPublish = ({ backend, cause, message, outcome, retryable }: BackendError): BackendError =>
  new BackendError({ backend, operation: "publish", message, retryable, outcome, cause })

export class Pairs {
  private readonly calls: Calls
  /** by queue, while those who wait are being woken */
  private readonly offers = new Map<string, Offer>()

  constructor(calls: Calls) {
    this.calls = calls
  }

  /** what the publish is answered when a claim takes it along; `undefined` when none does, and it is still to be sent */
  offer(
    queue: string,
    jobs: number,
    args: ReadonlyArray<string>,
    wake: () => void
  ): Effect.Effect<Answers, BackendError> | undefined {
    if (jobs > most || this.offers.has(queue)) return undefined
    const offer: Offer = { args, answers: Deferred.makeUnsafe(), taken: false }
    this.offers.set(queue, offer)
    try {
      wake()
    } finally {
      this.offers.delete(queue)
    }
    return offer.taken ? Effect.uninterruptible(Deferred.await(offer.answers)) : undefined
  }

  /** an exchange of the queue that claims, with the publish that is offered just now if there is one */
  exchange<A>(
    operation: string,
    queue: string,
    args: ReadonlyArray<string>,
    others: ReadonlyArray<string>
  ): Effect.Effect<A, BackendError> {
    const { calls } = this
    const alone = calls.run<A>(operation, "exchange", queue, args, others)
    // from the taking on nobody else sends the publish
    return Effect.uninterruptible(Effect.suspend(() => {
      const offer = this.offers.get(queue)
      if (offer === undefined || offer.taken) return alone
      offer.taken = true
      const both = [String(offer.args.length), ...offer.args, ...args]
      return Effect.flatMap(
        Effect.exit(calls.run<readonly [Answers, A]>(operation, "publishAndExchange", queue, both, others)),
        (exit) => {
          if (Exit.isSuccess(exit)) {
            const [answers, answer] = exit.value
            Deferred.doneUnsafe(offer.answers, Effect.succeed(answers))
            return Effect.succeed(answer)
          }
          const { cause } = exit
          Deferred.doneUnsafe(offer.answers, Effect.mapError(Effect.failCause(cause), ofPublish))
          const [reason] = cause.reasons
          // what was refused may have been the publish: a server whose memory is full still settles and hands out
          return reason?._tag === "Fail" && reason.error.outcome === "NotApplied" ? alone : Effect.failCause(cause)
        }
      )
    }))
  }
}
