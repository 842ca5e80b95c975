/**
 * What is sent of a batch of settlements, and what its answers are made from. Successes that leave nothing behind are numbers;
 * all others are items, which the server settles one by one.
 *
 * @since 0.1.0
 */
import type { Receipt, Settled, Settlement } from "../../Backend.ts"
import { numbers, readable } from "./params.ts"
import { type Committed, type Fence, fenceOf } from "./receipts.ts"

export type Items = ReadonlyArray<readonly [Receipt, Settlement]>

/** what the server says about a call beside the jobs that it hands out */
export interface Control {
  readonly lost: ReadonlyArray<number> | null
  readonly answers: Readonly<Record<string, Settled>> | null
  readonly due: number | null
  readonly more: boolean
  readonly unseen: boolean
}

/** a success that leaves nothing behind: which of the batch it is, and its fence */
class Plain {
  readonly n: number
  readonly fence: Fence

  constructor(n: number, fence: Fence) {
    this.n = n
    this.fence = fence
  }
}

export class Batch {
  readonly settled: Array<Settled>
  /** of claims that may be one row, by claim and then by number: the server finds the jobs of each in one piece */
  private readonly together: Array<Plain> = []
  private readonly apart: Array<Plain> = []
  /** fences of claims that may be one row */
  private readonly claims = new Set<number>()
  private others: Array<object> | undefined

  constructor(items: Items, forgetsSuccesses: boolean, committed: Committed) {
    this.settled = new Array<Settled>(items.length).fill("Settled")
    let sorted = true
    let last: Fence | undefined
    for (let n = 0; n < items.length; n++) {
      const [receipt, settlement] = items[n]!
      const fence = fenceOf(receipt)
      if (fence === undefined) {
        this.settled[n] = "Lost"
        continue
      }
      if (committed.size > 0 && committed.has(fence)) {
        // it was completed with its effects: nothing else can be made of it
        this.settled[n] = committed.delete(fence) && settlement._tag === "Complete" ? "Settled" : "Lost"
        continue
      }
      if (fence.together && fence.token !== last?.token) this.claims.add(fence.token)
      if (fence.plain && forgetsSuccesses && settlement._tag === "Complete" && settlement.how !== "aborted") {
        if (fence.together) {
          sorted &&= last === undefined || inOrder(last, fence) <= 0
          last = fence
          this.together.push(new Plain(n, fence))
        } else this.apart.push(new Plain(n, fence))
      } else {
        ;(this.others ??= []).push(toItem(n, fence, settlement))
      }
    }
    if (!sorted) this.together.sort((a, b) => inOrder(a.fence, b.fence))
  }

  get isEmpty(): boolean {
    return this.together.length === 0 && this.apart.length === 0 && this.others === undefined
  }

  get parameters(): ReadonlyArray<unknown> {
    const plain = this.apart.length === 0 ? this.together : this.together.concat(this.apart)
    const claims = Array.from(this.claims).sort((a, b) => a - b)
    let end = 0
    const ends = claims.map((claim) => {
      while (end < this.together.length && this.together[end]!.fence.token === claim) end++
      return end
    })
    return [
      numbers(plain.map(({ fence }) => fence.num)),
      numbers(plain.map(({ fence }) => fence.token)),
      numbers(claims),
      numbers(ends),
      this.others === undefined ? null : JSON.stringify(this.others)
    ]
  }

  answer({ answers, lost }: Control): void {
    if (lost !== null) {
      const gone = new Set(lost)
      const plain = [...this.together, ...this.apart]
      // of several receipts of one job the latest counts, and of two settlements with it the first
      const latest = new Map<number, Plain>()
      for (const one of plain) {
        const other = latest.get(one.fence.num)
        if (other === undefined || other.fence.token < one.fence.token) latest.set(one.fence.num, one)
      }
      for (const one of plain) {
        if (gone.has(one.fence.num) || latest.get(one.fence.num) !== one) this.settled[one.n] = "Lost"
      }
    }
    if (answers !== null) { for (const n in answers) this.settled[Number(n)] = answers[n]! }
  }
}

const inOrder = (a: Fence, b: Fence): number => a.token === b.token ? a.num - b.num : a.token - b.token

const text = (value: string | undefined): string | undefined => value === undefined ? undefined : readable(value)

const toItem = (n: number, { num, token }: Fence, settlement: Settlement): object => {
  switch (settlement._tag) {
    case "Complete":
      return {
        n,
        num,
        fence: token,
        t: "Complete",
        how: settlement.how,
        exit: text(settlement.exit),
        reason: text(settlement.reason)
      }
    case "Dead":
      return {
        n,
        num,
        fence: token,
        t: "Dead",
        reason: readable(settlement.reason),
        error: text(settlement.error),
        exit: text(settlement.exit)
      }
    case "Retry":
      return {
        n,
        num,
        fence: token,
        t: "Retry",
        after: Math.max(0, Math.ceil(settlement.after)),
        spent: settlement.attempt === "spent",
        front: settlement.place === "front",
        why: settlement.why,
        error: text(settlement.error),
        unbegun: settlement.unbegun,
        ...(settlement.to === undefined ? undefined : {
          to_queue: text(settlement.to.queue),
          to_rank: settlement.to.priority === undefined ? undefined : 0 - settlement.to.priority,
          to_grp: text(settlement.to.group ?? undefined),
          regroup: settlement.to.group !== undefined
        })
      }
  }
}
