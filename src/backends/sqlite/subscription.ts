/**
 * One worker's hold on one queue: the contract's core on the engine.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { BackendError, Delivery, Limits, Receipt, Settlement, Subscription } from "../../Backend.ts"
import type { Engine } from "./engine.ts"
import { refusal } from "./errors.ts"
import { settleRefused } from "./limits.ts"
import { type Answer, until, type Waits } from "./waiting.ts"
import { Wake } from "./wake.ts"

/** hints that nobody reads are dropped, oldest first: the lease's `extend` says the same */
const abortHints = 1_024

const none: ReadonlyArray<Delivery> = []

export const make = (
  engine: Engine,
  waits: Waits,
  limits: Limits,
  name: string,
  worker: string
): Effect.Effect<Subscription, BackendError, Scope.Scope> =>
  Effect.gen(function*() {
    const { connection } = engine
    const known = engine.queues.known(name)
    const queue = known ?? (yield* connection.write("subscribe", () => engine.queues.number(name)))
    const aborts = yield* abortsOf(engine, waits, queue, worker)
    let open = true
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        open = false
      })
    )

    const closed = (operation: string) =>
      open ? undefined : refusal(
        connection.name,
        operation,
        `the subscription to queue "${name}" was given up when its scope ended: subscribe again`
      )
    const claim = (max: number, now: number) => engine.take(queue, name, worker, Math.min(max, limits.takeBatch), now)
    const mayTake = connection.peek("take", (now) => engine.claim.nextChange(queue, now) <= now)
    const ask = connection.peek("await", (now): Answer<void> => {
      const at = engine.claim.nextChange(queue, now)
      return at <= now ? { value: undefined } : { at }
    })
    const work = until(waits, Wake.queue(queue), ask)

    // an empty queue is asked without the write lock
    const take = (max: number) =>
      refuse(closed("take")) ??
        Effect.flatMap(
          mayTake,
          (may) => may ? connection.write("take", (now) => claim(max, now)) : Effect.succeed(none)
        )

    return {
      lease: {
        _tag: "Timed",
        millis: engine.settings.lease,
        extend: (receipts: ReadonlyArray<Receipt>) =>
          receipts.length === 0
            ? Effect.succeed([])
            : connection.write("extend", () => engine.settling.extend(receipts, connection.steady()))
      },
      take,
      // also after the scope has ended: a receipt is all that it needs
      settle: (items: ReadonlyArray<readonly [Receipt, Settlement]>) =>
        refuse(settleRefused(connection.name, limits, items.length)) ??
          (items.length === 0 ? Effect.succeed([]) : connection.write("settle", (now) => engine.settle(items, now))),
      exchange: (items: ReadonlyArray<readonly [Receipt, Settlement]>, max: number) =>
        refuse(closed("exchange") ?? settleRefused(connection.name, limits, items.length)) ??
          (items.length === 0
            ? Effect.map(take(max), (deliveries) => [[], deliveries] as const)
            : connection.write("exchange", (now) => [engine.settle(items, now), claim(max, now)] as const)),
      // a commit is the largest part of a small call
      claimAhead: true,
      // the poll for other processes is inside `await`
      pollMillis: undefined,
      await: () => refuse(closed("await")) ?? work,
      aborts
    }
  })

const refuse = (error: BackendError | undefined): Effect.Effect<never, BackendError> | undefined =>
  error === undefined ? undefined : Effect.fail(error)

/** ids of this worker's running jobs whose abort was requested, by whatever process */
const abortsOf = Effect.fnUntraced(function*(engine: Engine, waits: Waits, queue: number, worker: string) {
  const hints = yield* Effect.acquireRelease(Queue.sliding<string, Cause.Done>(abortHints), Queue.end)
  const requested = engine.connection.rows<readonly [num: number, fence: number, id: string]>(
    `SELECT j.num, a.fence, j.id FROM job j INDEXED BY job_abort CROSS JOIN active a ON a.num = j.num
     WHERE j.abort = 1 AND a.queue = ? AND a.worker = ?`
  )
  /** told already, by number and fence */
  let told = new Map<number, number>()
  const look = () => {
    const rows = readAborts()
    const next = new Map<number, number>()
    for (const [num, fence, id] of rows) {
      next.set(num, fence)
      if (told.get(num) !== fence) Queue.offerUnsafe(hints, id)
    }
    told = next
  }
  const readAborts = () => {
    try {
      return requested.all(queue, worker)
    } catch {
      // the file is busy or the layer closes: `extend` tells it in any case
      return []
    }
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => [waits.wake.on(Wake.aborts, look), waits.poll.want()]),
    (leave) => Effect.sync(() => leave.forEach((run) => run()))
  )
  return Stream.fromQueue(hints)
})
