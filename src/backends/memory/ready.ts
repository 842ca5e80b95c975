/**
 * The jobs of a queue that can be claimed now, best first: priority, then position. A bucket per priority holds a chain
 * in order of position. New jobs join at its end, returned ones at its front, both O(1). The few that belong into the
 * middle (the next of a group, older than what came after it) wait in a small heap beside the chain.
 *
 * @since 0.1.0
 */
import { Chain } from "./chain.ts"
import { Heap } from "./heap.ts"
import type { Job } from "./job.ts"

interface Bucket {
  readonly priority: number
  readonly chain: Chain<Job>
  readonly middle: Heap<Job, "placeSlot">
}

const byPosition = (a: Job, b: Job): boolean => a.position < b.position

export class Ready {
  /** by ascending priority: the best is the last, where it comes and goes for free */
  private readonly buckets: Array<Bucket> = []
  size = 0

  add(job: Job): void {
    const { chain, middle } = this.bucket(job.priority)
    if (chain.last === undefined || job.position > chain.last.position) chain.append(job)
    else if (job.position < chain.first!.position) chain.prepend(job)
    else middle.add(job)
    this.size++
  }

  remove(job: Job): void {
    this.removeFrom(this.bucket(job.priority), job)
  }

  /** the best one, taken out */
  take(): Job | undefined {
    const bucket = this.buckets[this.buckets.length - 1]
    if (bucket === undefined) return undefined
    const inChain = bucket.chain.first
    const inMiddle = bucket.middle.first()
    const job = inChain === undefined || (inMiddle !== undefined && inMiddle.position < inChain.position)
      ? inMiddle
      : inChain
    this.removeFrom(bucket, job as Job)
    return job
  }

  private removeFrom(bucket: Bucket, job: Job): void {
    if (job.placeSlot >= 0) bucket.middle.remove(job)
    else bucket.chain.remove(job)
    this.size--
    if (bucket.chain.first === undefined && bucket.middle.size === 0) {
      this.buckets.splice(this.indexOf(bucket.priority), 1)
    }
  }

  private bucket(priority: number): Bucket {
    const index = this.indexOf(priority)
    const found = this.buckets[index]
    if (found !== undefined && found.priority === priority) return found
    const bucket: Bucket = { priority, chain: new Chain(), middle: new Heap("placeSlot", byPosition) }
    this.buckets.splice(index, 0, bucket)
    return bucket
  }

  /** of the bucket with this priority, or of where it belongs */
  private indexOf(priority: number): number {
    const { buckets } = this
    let low = 0
    let high = buckets.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (buckets[middle]!.priority < priority) low = middle + 1
      else high = middle
    }
    return low
  }
}
