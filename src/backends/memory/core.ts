/**
 * The core of the contract on the memory engine: read the clock, refuse what is above the limits, take one step.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { BackendError, Limits, Receipt, Settlement, Shape, Subscription } from "../../Backend.ts"
import * as demand from "./demand.ts"
import type { Engine } from "./engine.ts"
import * as grain from "./grain.ts"
import type { Rules } from "./profiles.ts"
import * as waiting from "./waiting.ts"

/** hints that nobody reads are dropped, oldest first: the lease's `extend` says the same */
const abortHints = 1024

export const core = (engine: Engine, clock: Clock.Clock, name: string, limits: Limits, rules: Rules): Shape => {
  const { granularityMillis } = rules
  const now = () => clock.currentTimeMillisUnsafe()

  const attempt = <A>(refused: () => BackendError | undefined, run: () => A): Effect.Effect<A, BackendError> =>
    engine.outbox.step((): Effect.Effect<A, BackendError> => {
      const error = refused()
      return error === undefined ? Effect.succeed(run()) : Effect.fail(error)
    })

  const makeSubscription = (
    queueName: string,
    worker: string,
    hints: Queue.Queue<string, Cause.Done>,
    isOpen: () => boolean
  ): Subscription => {
    const queue = engine.queue(queueName)
    const owner = { worker, abort: (id: string) => void Queue.offerUnsafe(hints, id) }
    const work = waiting.forWork(queue, clock)
    const refusal = (operation: string) => isOpen() ? undefined : demand.closed(name, operation, queueName)
    const take = (max: number) => engine.take(queue, Math.min(max, limits.takeBatch), owner, now())
    const settle = (items: ReadonlyArray<readonly [Receipt, Settlement]>) =>
      engine.settle(granularityMillis === undefined ? items : grain.settlements(items, granularityMillis), now())
    const tooMany = (items: ReadonlyArray<unknown>) => demand.settleRefused(name, limits, items.length)
    return {
      lease: {
        _tag: "Timed",
        millis: engine.settings.lease,
        extend: (receipts) => Effect.sync(() => engine.extend(receipts, now()))
      },
      take: (max) => attempt(() => refusal("take"), () => take(max)),
      // also after the scope has ended: a receipt is all that it needs
      settle: (items) => attempt(() => tooMany(items), () => settle(items)),
      exchange: (items, max) =>
        attempt(() => refusal("exchange") ?? tooMany(items), () => [settle(items), take(max)] as const),
      await: () =>
        Effect.suspend(() => {
          const error = refusal("await")
          return error === undefined ? work : Effect.fail(error)
        }),
      pollMillis: undefined,
      aborts: Stream.fromQueue(hints)
    }
  }

  return {
    name,
    limits,
    fence: rules.fence ?? "strict",
    declare: (queue) => Effect.sync(() => void engine.queue(queue)),
    publish: (queue, items, options) =>
      attempt(
        () => demand.refused(name, limits, rules, queue, items, now()),
        () => {
          const at = now()
          const exact = granularityMillis === undefined ? items : grain.items(items, granularityMillis, at)
          return engine.publish(queue, exact, options?.atomic === true, at)
        }
      ),
    subscribe: Effect.fnUntraced(function*(queue, { worker }) {
      let open = true
      const hints = yield* Effect.acquireRelease(Queue.sliding<string, Cause.Done>(abortHints), (hints) => {
        open = false
        return Queue.end(hints)
      })
      return makeSubscription(queue, worker, hints, () => open)
    }),
    ping: Effect.void
  }
}
