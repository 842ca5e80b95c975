/**
 * One worker's hold on one queue.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { BackendError, Held, Receipt, Subscription } from "../../Backend.ts"
import type { Engine } from "./engine.ts"
import { refusal } from "./errors.ts"
import { type Answer, exchange, fenceOf, type Items } from "./exchange.ts"
import { settleRefused } from "./limits.ts"
import { topicOf } from "./wake.ts"

/** hints that nobody reads are dropped, oldest first: the lease's `extend` says the same */
const abortHints = 1_024

/** milliseconds that a timer can be set for */
const longest = 2 ** 31 - 1

const answers: ReadonlyArray<Held> = ["Lost", "Held", "Abort"]

export const make = Effect.fnUntraced(
  function*(engine: Engine, queue: string, worker: string): Effect.fn.Return<Subscription, BackendError, Scope.Scope> {
    const { calls, lease, limits, listen, poll, wake } = engine
    yield* engine.queues.register(queue)
    const topic = topicOf.queue(queue)
    const aborts = yield* abortsOf(engine, queue, worker)
    /** there may be more than the last claim took, or nothing was claimed yet */
    let more = true
    /** signals that were heard before the last claim */
    let heard = -1
    /** when something is due, by `performance.now` */
    let dueAt = Infinity
    let open = true
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        open = false
      })
    )
    const closed = (operation: string) =>
      open ? undefined : refusal(
        calls.name,
        operation,
        `the subscription to queue "${queue}" was given up when its scope ended: subscribe again`
      )

    const call = (operation: string, items: Items, asked: number): Effect.Effect<Answer, BackendError> =>
      Effect.suspend(() => {
        const max = Math.max(0, Math.min(Math.floor(asked), limits.takeBatch))
        if (max === 0 && items.length === 0) {
          return Effect.succeed({ settled: [], deliveries: [], soon: 0, more: false, signals: 0 })
        }
        const before = wake.count(topic)
        return Effect.map(exchange(engine, operation, queue, worker, items, max), (answer) => {
          if (max > 0) {
            more = answer.more
            dueAt = performance.now() + answer.soon
            // what was settled by this very call was seen by its claim
            heard = before + answer.signals
          }
          return answer
        })
      })

    const rest: Effect.Effect<void> = Effect.suspend(() => {
      if (more || heard !== wake.count(topic)) return Effect.void
      // a callback and no latch: who is woken goes on in the very step that woke it, and its claim is in the same packet as
      // the jobs that woke it
      return Effect.callback<void>((resume) => {
        let over = false
        const end = () => {
          // who is woken may interrupt others that are woken by the same signal
          if (over) return
          over = true
          leave()
          unwant()
          clearTimeout(timer)
          more = true
        }
        const go = () => {
          end()
          resume(Effect.void)
        }
        const leave = wake.on(topic, go)
        const unwant = listen.want(queue)
        // rounded up: a look one moment before the time would find nothing
        const timer = setTimeout(go, Math.min(poll, longest, Math.max(0, Math.ceil(dueAt - performance.now()) + 1)))
        return Effect.sync(end)
      })
    })

    return {
      lease: { _tag: "Timed", millis: lease, extend: (receipts) => extend(engine, receipts) },
      take: (max) => refuse(closed("take")) ?? Effect.map(call("take", [], max), ({ deliveries }) => deliveries),
      // also after the scope has ended: a receipt is all that it needs
      settle: (items) =>
        refuse(settleRefused(calls.name, limits, items.length)) ??
          Effect.map(call("settle", items, 0), ({ settled }) => settled),
      exchange: (items, max) =>
        refuse(closed("exchange") ?? settleRefused(calls.name, limits, items.length)) ??
          Effect.map(call("exchange", items, max), ({ deliveries, settled }) => [settled, deliveries] as const),
      claimAhead: true,
      // the poll is inside `await`
      pollMillis: undefined,
      await: () => refuse(closed("await")) ?? rest,
      aborts
    }
  }
)

const refuse = (error: BackendError | undefined): Effect.Effect<never, BackendError> | undefined =>
  error === undefined ? undefined : Effect.fail(error)

const extend = (
  { calls }: Engine,
  receipts: ReadonlyArray<Receipt>
): Effect.Effect<ReadonlyArray<Held>, BackendError> =>
  Effect.suspend(() => {
    const held = new Array<Held>(receipts.length).fill("Lost")
    const byQueue = new Map<string, { readonly indexes: Array<number>; readonly args: Array<string> }>()
    for (let i = 0; i < receipts.length; i++) {
      const fence = fenceOf(receipts[i]!)
      if (fence === undefined) continue
      let part = byQueue.get(fence.queue)
      if (part === undefined) byQueue.set(fence.queue, part = { indexes: [], args: [] })
      part.indexes.push(i)
      part.args.push(receipts[i]!.id, fence.token)
    }
    return Effect.as(
      Effect.forEach(byQueue, ([queue, { args, indexes }]) =>
        Effect.map(calls.run<ReadonlyArray<number>>("extend", "extend", queue, args), (codes) => {
          for (let k = 0; k < indexes.length; k++) {
            held[indexes[k]!] = answers[codes[k]!]!
          }
        }), { discard: true }),
      held
    )
  })

/** ids of this worker's running jobs whose abort was requested, by whatever process */
const abortsOf = Effect.fnUntraced(function*({ wake }: Engine, queue: string, worker: string) {
  const hints = yield* Effect.acquireRelease(Queue.sliding<string, Cause.Done>(abortHints), Queue.end)
  yield* Effect.acquireRelease(
    Effect.sync(() => wake.onAbort(queue, worker, (id) => void Queue.offerUnsafe(hints, id))),
    (leave) => Effect.sync(leave)
  )
  return Stream.fromQueue(hints)
})
