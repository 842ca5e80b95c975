/**
 * The handler's effects and the end of its job in one database transaction: both commit, or neither does. For effects in
 * the database of the queue this is "exactly once": a worker that dies at any point leaves a job that runs again and
 * effects that never happened, or a job that is over and effects that happened once.
 *
 * Everything inside of this middleware runs in the transaction, if it uses the client that the backend was built with;
 * an enqueue of the handler joins it too. After the handler has succeeded the job is completed, in the same transaction,
 * if its lease is still held; if it is not, the transaction is rolled back. A failure, an interruption or a `Decide` rolls
 * back as well, and is settled as always.
 *
 * - Put it as far inside as possible, so that the transaction is short: what stands outside of it runs before the
 *   transaction begins and after it is committed, and can no longer undo it. A middleware outside that fails after the
 *   commit fails alone: the job is over, and its settlement is counted as lost.
 * - The handler holds one of the client's connections while it runs.
 * - When the connection breaks during the commit nobody knows whether it happened: the run counts as failed, and its
 *   settlement takes effect only if it did not.
 *
 * ```ts
 * import * as Schema from "effect/Schema"
 * import * as Task from "windlass/Task"
 * import * as TransactionalSettlement from "windlass/middleware/TransactionalSettlement"
 *
 * export class Transfer extends Task.make("Transfer", {
 *   payload: { from: Schema.String, to: Schema.String, cents: Schema.Int },
 *   middleware: [TransactionalSettlement.middleware]
 * }) {}
 * ```
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Receipt, Settlement } from "../Backend.ts"
import { Transactional } from "../Capability.ts"
import * as Decide from "../Decide.ts"
import type * as Job from "../Job.ts"
import * as Middleware from "../Middleware.ts"

/** what the runtime knows of the job beside what it shows */
interface Running {
  readonly receipt: Receipt
  readonly delivery: { readonly keepsResult: boolean }
  readonly resolved:
    | { readonly task: { readonly codecs: { readonly encodeExit: (exit: Exit.Exit<unknown, unknown>) => string } } }
    | undefined
}

const runningOf = (job: Job.Job): Running | undefined =>
  "receipt" in job && "delivery" in job ? job as Job.Job & Running : undefined

/**
 * Runs what is inside in a transaction, and completes the job in it. For the lists of tasks and groups; the backend must
 * have `Transactional`. It adds no typed error: a transaction that cannot begin or commit is a defect of the attempt,
 * which is retried as the task says.
 *
 * @category middleware
 * @since 0.1.0
 */
export const middleware: Middleware.Inline<Transactional> = Middleware.make(
  "TransactionalSettlement",
  <Input, Result, Failure>(
    next: (input: Input) => Effect.Effect<Result, Failure>,
    input: Input,
    job: Job.Job
  ): Effect.Effect<Result, Failure | Decide.Decide, Transactional> =>
    Effect.flatMap(Transactional, (transactional) => {
      const running = runningOf(job)
      if (running === undefined) {
        return Effect.die(
          new Error("TransactionalSettlement needs a job that a worker runs: there is no receipt to settle")
        )
      }
      const settle = (result: Result) =>
        Effect.flatMap(
          Effect.orDie(transactional.settle(running.receipt, completion(running, result))),
          (settled): Effect.Effect<Result, Decide.Decide> =>
            settled === "Settled"
              ? Effect.succeed(result)
              : Effect.fail(Decide.retry({ reason: "the lease was lost before the transaction could commit" }))
        )
      let exit: Exit.Exit<Result, Failure | Decide.Decide> | undefined
      const inside = Effect.onExit(Effect.flatMap(next(input), settle), (ended) =>
        Effect.sync(() => {
          exit = ended
        }))
      return Effect.catchCause(transactional.transaction(inside), (cause) =>
        exit !== undefined && Exit.isFailure(exit)
          ? Effect.failCause(exit.cause)
          // not a failure that the task declares: the transaction itself could not begin or commit
          : Effect.die(Cause.squash(cause)))
    })
)

const completion = ({ delivery, resolved }: Running, result: unknown): Settlement => ({
  _tag: "Complete",
  how: "succeeded",
  exit: delivery.keepsResult ? resolved?.task.codecs.encodeExit(Exit.succeed(result)) : undefined,
  reason: undefined
})
