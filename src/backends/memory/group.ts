/**
 * Jobs that run one at a time, in order (priority, then age). All that wait are in one heap, scheduled ones too: a head
 * that is not due yet holds the others. `turn` is the one that may be claimed: the head, when it is ready and none runs.
 *
 * @since 0.1.0
 */
import { Heap } from "./heap.ts"
import type { Job } from "./job.ts"

export interface Group {
  readonly name: string
  readonly waiting: Heap<Job, "groupSlot">
  active: Job | undefined
  turn: Job | undefined
}

export const make = (name: string): Group => ({
  name,
  waiting: new Heap<Job, "groupSlot">(
    "groupSlot",
    (a, b) => a.priority !== b.priority ? a.priority > b.priority : a.position < b.position
  ),
  active: undefined,
  turn: undefined
})

export const next = (group: Group): Job | undefined => {
  if (group.active !== undefined) return undefined
  const head = group.waiting.first()
  return head?.phase === "ready" ? head : undefined
}

export const isEmpty = (group: Group): boolean => group.active === undefined && group.waiting.size === 0
