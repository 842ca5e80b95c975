/**
 * The call of the hot path: settles one batch and claims the next, in one script.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { BackendError, Delivery, Destination, Receipt, Settled, Settlement } from "../../Backend.ts"
import type { Result } from "../../Capability.ts"
import { Claimed, Right } from "../internal/claimed.ts"
import type { Engine } from "./engine.ts"
import { whole } from "./limits.ts"
import * as Record from "./record.ts"
import { topicOf } from "./wake.ts"

export type Items = ReadonlyArray<readonly [Receipt, Settlement]>

/** the backend's part of a receipt */
export interface Fence {
  readonly queue: string
  /** a number, as text: new with every claim */
  readonly token: string
  /** nothing but the job itself goes when it succeeds: no key, no group, no result */
  readonly plain: boolean
}

export interface Answer {
  readonly settled: ReadonlyArray<Settled>
  readonly deliveries: ReadonlyArray<Delivery>
  /** milliseconds until something is due or a lease ends; infinite when nothing can be foreseen */
  readonly soon: number
  /** more is ready than was taken */
  readonly more: boolean
  /** signals that the call itself gave on the queue's topic */
  readonly signals: number
}

type Batched = readonly [
  token: string,
  ids: ReadonlyArray<string>,
  records: ReadonlyArray<string>,
  states: ReadonlyArray<string | null>,
  aborts: ReadonlyArray<number>
]
type Reply = readonly [
  lost: ReadonlyArray<number>,
  others: ReadonlyArray<Settled>,
  claimed?: Batched,
  soon?: number,
  /** 2: there may be something that the claim has not looked at */
  more?: number,
  now?: number
]

/** `undefined`: a receipt that this backend did not make */
export const fenceOf = (receipt: Receipt): Fence | undefined => {
  const fence = receipt.fence as Partial<Fence> | null | undefined
  return typeof fence === "object" && fence !== null && typeof fence.token === "string" &&
      typeof fence.queue === "string"
    ? fence as Fence
    : undefined
}

const text = (value: string | undefined): string | undefined => value === undefined ? undefined : Record.readable(value)

/** `targets`: the other queues that jobs of the batch go to; the script knows them by their place in it, from 1 */
const other = (id: string, fence: string, settlement: Settlement, queue: string, targets: Array<string>): object => {
  switch (settlement._tag) {
    case "Complete":
      return {
        id,
        fence,
        t: "Complete",
        how: settlement.how,
        exit: text(settlement.exit),
        reason: text(settlement.reason)
      }
    case "Dead":
      return {
        id,
        fence,
        t: "Dead",
        reason: Record.readable(settlement.reason),
        error: text(settlement.error),
        exit: text(settlement.exit)
      }
    case "Retry":
      return {
        id,
        fence,
        t: "Retry",
        why: settlement.why,
        after: whole(settlement.after),
        spent: settlement.attempt === "spent",
        front: settlement.place === "front",
        error: text(settlement.error),
        unbegun: settlement.unbegun,
        to: settlement.to === undefined ? undefined : destination(settlement.to, queue, targets)
      }
  }
}

const destination = (to: Destination, queue: string, targets: Array<string>): object => {
  const target = to.queue === undefined || to.queue === queue ? undefined : to.queue
  if (target !== undefined && !targets.includes(target)) targets.push(target)
  return {
    i: target === undefined ? 0 : targets.indexOf(target) + 1,
    q: text(target),
    r: to.priority === undefined ? undefined : 0 - to.priority,
    g: text(to.group ?? undefined),
    rg: to.group !== undefined
  }
}

/** one queue's part of a batch, as the script gets it */
class Batch {
  readonly successes: Array<number> = []
  readonly others: Array<number> = []
  readonly targets: Array<string> = []
  private readonly fences: Array<string> = []
  private readonly json: Array<object> = []

  add(i: number, [{ id }, settlement]: Items[number], fence: Fence, forgetsSuccesses: boolean): void {
    if (forgetsSuccesses && fence.plain && settlement._tag === "Complete" && settlement.how !== "aborted") {
      this.successes.push(i)
      this.fences.push(id, fence.token)
    } else {
      this.others.push(i)
      this.json.push(other(id, fence.token, settlement, fence.queue, this.targets))
    }
  }

  args(worker: string, max: number, until: number): ReadonlyArray<string> {
    return [
      worker,
      String(max),
      String(until),
      String(this.successes.length),
      ...this.fences,
      this.json.length === 0 ? "" : JSON.stringify(this.json)
    ]
  }
}

const resultOf = (settlement: Settlement, settled: Settled): Result | undefined => {
  if (settled === "Aborted") {
    return { state: "aborted", reason: "abort requested", exit: undefined }
  }
  if (settled !== "Settled" || settlement._tag === "Retry") return undefined
  const { exit, reason } = settlement
  return { state: settlement._tag === "Dead" ? "dead" : settlement.how, reason, exit }
}

const toDeliveries = (claimed: Batched, queue: string, keepsSuccesses: boolean): Array<Delivery> => {
  const [token, ids, records, states, aborts] = claimed
  const plain: Fence = { queue, token, plain: true }
  const full: Fence = { queue, token, plain: false }
  return ids.map((id, i) => {
    const record = Record.read(id, records[i]!)
    const state = states.length === 0 ? undefined : Record.stateOf(states[i]!)
    return new Claimed({
      envelope: record.envelope,
      receipt: new Right(id, record.plain ? plain : full),
      queue,
      attempt: (state?.n ?? 0) + 1,
      unsettled: state?.u ?? 0,
      lostFrom: state?.lw === undefined ? undefined : { worker: state.lw, claimedAt: state.lc! },
      enqueuedAt: record.enqueued,
      scheduledFor: record.scheduledFor,
      firstFailedAt: state?.ff,
      priority: record.priority,
      group: record.group,
      abortRequested: aborts.length > 0 && aborts[i] === 1,
      keepsResult: keepsSuccesses || record.keepsResult
    })
  })
}

export const exchange = (
  { calls, listen, pairs, retention, wake }: Engine,
  operation: string,
  queue: string,
  worker: string,
  items: Items,
  max: number
): Effect.Effect<Answer, BackendError> =>
  Effect.suspend(() => {
    const settled = new Array<Settled>(items.length).fill("Lost")
    const batches = new Map<string, Batch>()
    // the one that claims comes last, so that all that was settled before it is visible to it
    for (let i = 0; i < items.length; i++) {
      const fence = fenceOf(items[i]![0])
      if (fence === undefined) continue
      let batch = batches.get(fence.queue)
      if (batch === undefined) batches.set(fence.queue, batch = new Batch())
      batch.add(i, items[i]!, fence, retention.successes <= 0)
    }
    const own = batches.get(queue)
    batches.delete(queue)

    const call = (name: string, batch: Batch, claim: number) =>
      Effect.map(
        claim < 1
          ? calls.run<Reply>(operation, "exchange", name, batch.args(worker, claim, calls.until), batch.targets)
          : pairs.exchange<Reply>(operation, name, batch.args(worker, claim, calls.until), batch.targets),
        (reply) => {
          const [lost, others, , , , now] = reply
          if (now !== undefined) calls.clockSeen(now)
          for (const i of batch.successes) settled[i] = "Settled"
          for (const k of lost) settled[batch.successes[k - 1]!] = "Lost"
          for (let k = 0; k < others.length; k++) settled[batch.others[k]!] = others[k]!
          for (const i of [...batch.successes, ...batch.others]) {
            const [{ id }, settlement] = items[i]!
            const result = wake.isAwaited(id) ? resultOf(settlement, settled[i]!) : undefined
            if (result !== undefined) wake.ended(id, result)
          }
          if (batch.others.length > 0) wake.signal(topicOf.queue(name))
          for (const target of batch.targets) wake.signal(topicOf.queue(target))
          return reply
        }
      )

    const rest = Effect.forEach(batches, ([name, batch]) => call(name, batch, 0), { discard: true })
    const claim = (batch: Batch): Effect.Effect<Reply, BackendError> =>
      Effect.flatMap(call(queue, batch, max), (reply) => reply[4] === 2 ? claim(new Batch()) : Effect.succeed(reply))
    const mine = max >= 1
      ? Effect.suspend(() => {
        const done = listen.claiming(queue)
        return Effect.onExit(
          claim(own ?? new Batch()),
          (exit) => Effect.sync(() => done(Exit.isSuccess(exit) && exit.value[2]![1].length < max))
        )
      })
      : own === undefined
      ? Effect.succeed<Reply>([[], []])
      : call(queue, own, max)
    return Effect.map(
      batches.size === 0 ? mine : Effect.andThen(rest, mine),
      ([, , claimed, soon, more]): Answer => ({
        settled,
        deliveries: claimed === undefined ? [] : toDeliveries(claimed, queue, retention.successes > 0),
        soon: soon === undefined || soon < 0 ? Infinity : soon,
        more: more === 1,
        signals: own !== undefined && own.others.length > 0 ? 1 : 0
      })
    )
  })
