/**
 * A subscription around a subscription: beside the plan, it hands deliveries out again and answers for leases that were
 * taken away.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { Delivery, Held, Receipt, Settled, Settlement, Subscription } from "../../Backend.ts"
import type { Inputs } from "./calls.ts"
import type { Call, Parts } from "./wrap.ts"

type Items = ReadonlyArray<readonly [Receipt, Settlement]>

export const subscription = (
  { clock, deliveries, plan }: Parts,
  call: Call,
  queue: string,
  worker: string,
  inner: Subscription
): Subscription => {
  const handOut = <O extends "take" | "exchange">(
    operation: O,
    input: Inputs[O],
    again: ReadonlyArray<Delivery>,
    found: ReadonlyArray<Delivery>
  ): ReadonlyArray<Delivery> => {
    const now = clock.currentTimeMillisUnsafe()
    const out = [...again, ...found.map((delivery) => deliveries.handOut(delivery, worker, now, inner.settle))]
    if (found.length === 0) return out
    for (const fault of plan.meetDelivery(operation, input)) {
      if (fault._tag !== "Duplicate") continue
      const twice = out[again.length]!
      if (fault.when === "same" && out.length < input.max) out.push(twice)
      else deliveries.duplicate(queue, twice)
    }
    return out
  }

  /** what is lost never reaches the engine; the answers come back in the order of the items */
  const partition = <I, A>(items: ReadonlyArray<I>, receiptOf: (item: I) => Receipt, lost: A) => {
    const isLost = items.map((item) => deliveries.isLost(receiptOf(item)))
    const merge = (answers: ReadonlyArray<A>): ReadonlyArray<A> => {
      let next = 0
      return isLost.map((itIs) => itIs ? lost : answers[next++]!)
    }
    return [items.filter((_, i) => !isLost[i]), merge] as const
  }

  const settling = (items: Items) => {
    const [known, merge] = partition<Items[number], Settled>(items, ([receipt]) => receipt, "Lost")
    const answered = (answers: ReadonlyArray<Settled>) => {
      known.forEach(([receipt, settlement], i) => {
        if (answers[i] === "Settled" || answers[i] === "Aborted") deliveries.settled(receipt, settlement)
      })
      return merge(answers)
    }
    return [known, answered] as const
  }

  const { lease } = inner
  return {
    lease: lease._tag === "Connection" ? lease : {
      _tag: "Timed",
      millis: lease.millis,
      extend: (receipts) =>
        call(
          "extend",
          { queue, worker, receipts },
          Effect.suspend(() => {
            const [known, merge] = partition<Receipt, Held>(receipts, (receipt) => receipt, "Lost")
            return Effect.map(lease.extend(known), merge)
          })
        )
    },
    take: (max) =>
      call(
        "take",
        { queue, worker, max },
        Effect.suspend(() => {
          const again = deliveries.takeAgain(queue, max)
          if (again.length > 0 && again.length >= max) return Effect.succeed(again)
          return Effect.map(
            inner.take(max - again.length),
            (found) => handOut("take", { queue, worker, max }, again, found)
          )
        })
      ),
    settle: (items) =>
      call(
        "settle",
        { queue, worker, items },
        Effect.suspend(() => {
          const [known, answered] = settling(items)
          return Effect.map(inner.settle(known), answered)
        })
      ),
    exchange: (items, max) =>
      call(
        "exchange",
        { queue, worker, items, max },
        Effect.suspend(() => {
          const again = deliveries.takeAgain(queue, max)
          const [known, answered] = settling(items)
          return Effect.map(
            inner.exchange(known, max - again.length),
            ([answers, found]) =>
              [answered(answers), handOut("exchange", { queue, worker, items, max }, again, found)] as const
          )
        })
      ),
    await: (max) =>
      call(
        "await",
        { queue, worker, max },
        Effect.suspend(() => deliveries.hasAgain(queue) ? Effect.void : inner.await(max))
      ),
    claimAhead: inner.claimAhead,
    pollMillis: inner.pollMillis,
    aborts: inner.aborts
  }
}
