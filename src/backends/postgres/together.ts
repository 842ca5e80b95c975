/**
 * Whether jobs that are claimed together are settled together. Where they are, a claim is one row (`sql/claims.ts`). Where
 * they are not, as where jobs wait for something, that row would be written only to be spread by the first settlement: each
 * job has its own from the start.
 *
 * @since 0.1.0
 */
import type { Delivery } from "../../Backend.ts"
import type { Items } from "./batch.ts"
import { fenceOf } from "./receipts.ts"
import { least } from "./sql/claims.ts"

/** claims that are remembered: older ones are of jobs that take long, or were lost */
const most = 64

export class Together {
  /** how many jobs came with a claim that could be one row and that nothing was settled of yet, by their fence */
  private readonly sizes = new Map<number, number>()
  private judged = true

  /** as the last settlement of jobs of such claims has it; true before there was one */
  get holds(): boolean {
    return this.judged
  }

  claimed(deliveries: ReadonlyArray<Delivery>): void {
    if (deliveries.length < least) return
    if (this.sizes.size === most) this.sizes.clear()
    this.sizes.set(fenceOf(deliveries[0]!.receipt)!.token, deliveries.length)
  }

  settling(items: Items): void {
    if (this.sizes.size === 0) return
    const found = new Map<number, number>()
    let last = -1
    let count = 0
    for (const [receipt] of items) {
      const token = fenceOf(receipt)?.token ?? -1
      if (token !== last) {
        found.set(last, count)
        count = found.get(token) ?? 0
        last = token
      }
      count++
    }
    found.set(last, count)
    let judged: boolean | undefined
    for (const [token, count] of found) {
      const size = this.sizes.get(token)
      if (size === undefined) continue
      this.sizes.delete(token)
      judged = judged !== false && count === size
    }
    this.judged = judged ?? this.judged
  }
}
