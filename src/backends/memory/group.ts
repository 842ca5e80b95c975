/**
 * Jobs that start in order (priority, then age), as many at a time as the group's limit says. All that wait are in one of
 * two heaps, scheduled ones too: `turns` has the first of them, one for every slot that is free, so that one that is not
 * due yet holds its slot; `rest` has the others. Who has its turn and is ready may be claimed.
 *
 * @since 0.1.0
 */
import { Heap } from "./heap.ts"
import type { Job } from "./job.ts"

const before = (a: Job, b: Job): boolean =>
  a.priority !== b.priority ? a.priority > b.priority : a.position < b.position
const after = (a: Job, b: Job): boolean => before(b, a)

export class Group {
  readonly name: string
  limit: number
  running = 0
  /** the last in order is the first of the heap: it is the one that gives way */
  private readonly turns = new Heap<Job, "groupSlot">("groupSlot", after)
  private readonly rest = new Heap<Job, "groupSlot">("groupSlot", before)

  constructor(name: string, limit: number) {
    this.name = name
    this.limit = limit
  }

  get isEmpty(): boolean {
    return this.running === 0 && this.turns.size === 0 && this.rest.size === 0
  }

  hasTurn(job: Job): boolean {
    return this.turns.has(job)
  }

  /** the slots are counted by the `demoted` and `promoted` that follow; whether it has its turn until then */
  add(job: Job): boolean {
    const last = this.turns.first()
    // whoever comes while nobody waits for a slot has one at once
    const first = last === undefined
      ? this.rest.size === 0 && this.running < this.limit
      : before(job, last)
    if (first) this.turns.add(job)
    else this.rest.add(job)
    return first
  }

  remove(job: Job): void {
    this.turns.remove(job)
    this.rest.remove(job)
  }

  /** takes the turn of one that has it and no slot any more */
  demoted(): Job | undefined {
    if (this.turns.size <= Math.max(0, this.limit - this.running)) return undefined
    const job = this.turns.pop()!
    this.rest.add(job)
    return job
  }

  /** gives the turn to the next one for whom there is a slot */
  promoted(): Job | undefined {
    if (this.turns.size >= this.limit - this.running) return undefined
    const job = this.rest.pop()
    if (job !== undefined) this.turns.add(job)
    return job
  }
}
