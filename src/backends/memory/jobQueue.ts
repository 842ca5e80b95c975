/**
 * One queue: where each of its live jobs waits or runs, and the moves between these places. Every move is O(log n) at
 * most; none looks at jobs that it does not concern.
 *
 * @since 0.1.0
 */
import { Chain } from "./chain.ts"
import { Group } from "./group.ts"
import { Heap } from "./heap.ts"
import type { Job, Owner } from "./job.ts"
import type { Hold } from "./keys.ts"
import type { Outbox } from "./outbox.ts"
import { Ready } from "./ready.ts"

/** all in milliseconds */
export interface Settings {
  readonly lease: number
  /** how long a dead or aborted job stays inspectable */
  readonly keepFailures: number
  /** how long a succeeded or discarded job stays inspectable */
  readonly keepSuccesses: number
}

/** somebody who waits for work, and until when at the longest */
export interface Waiter {
  readonly wake: () => void
  readonly until: number
}

export class JobQueue {
  readonly name: string
  readonly ready = new Ready()
  readonly scheduled = new Heap<Job, "timeSlot">(
    "timeSlot",
    (a, b) => a.time !== b.time ? a.time < b.time : a.position < b.position
  )
  /** by the end of the lease, the first to run out first */
  readonly leases = new Chain<Job>()
  readonly dead = new Map<string, Job>()
  readonly keys = new Map<string, Hold>()
  readonly waiters = new Set<Waiter>()
  /** of the engine that the queue is in */
  readonly outbox: Outbox
  private readonly groups = new Map<string, Group>()
  private readonly settings: Settings
  private front = 0
  private back = 0
  paused = false
  used = false
  readyCount = 0
  activeCount = 0

  constructor(name: string, settings: Settings, outbox: Outbox) {
    this.name = name
    this.settings = settings
    this.outbox = outbox
  }

  /** whether the encoded exit of a successful job is kept, even if nobody asked for its result */
  get keepsSuccesses(): boolean {
    return this.settings.keepSuccesses > 0
  }

  /** `limit`: of a group that nobody is in yet */
  group(name: string, limit: number): Group {
    let group = this.groups.get(name)
    if (group === undefined) this.groups.set(name, group = new Group(name, limit))
    return group
  }

  /** takes in a job that is in no place yet: one that is new, retried or redriven */
  enter(job: Job, due: number | undefined, now: number): void {
    // a member keeps its place in its group over retries
    if (job.group === undefined || job.position === 0) job.position = ++this.back
    if (due !== undefined && due > now) {
      job.phase = "scheduled"
      job.time = due
      this.scheduled.add(job)
    } else {
      job.phase = "ready"
      this.readyCount++
      if (job.group === undefined) this.ready.add(job)
    }
    if (job.group !== undefined) {
      if (job.group.add(job) && job.phase === "ready") this.ready.add(job)
      this.refresh(job.group)
    }
  }

  /** puts jobs that are in no group before all others of their priority, in the order given */
  enterFront(jobs: ReadonlyArray<Job>): void {
    for (let i = jobs.length - 1; i >= 0; i--) {
      const job = jobs[i]!
      job.position = --this.front
      job.phase = "ready"
      this.readyCount++
      this.ready.add(job)
    }
  }

  /** takes a waiting job out; its group is not served before `refresh` */
  leaveWaiting(job: Job): void {
    const { group } = job
    if (job.phase === "scheduled") this.scheduled.remove(job)
    else {
      this.readyCount--
      if (group === undefined || group.hasTurn(job)) this.ready.remove(job)
    }
    group?.remove(job)
  }

  /** moves what is due among the ready */
  promote(now: number): void {
    let first = this.scheduled.first()
    if (first === undefined || first.time > now) return
    const toFront: Array<Job> = []
    while (first !== undefined && first.time <= now) {
      this.scheduled.pop()
      first.group?.remove(first)
      if (first.toFront) toFront.push(first)
      else this.enter(first, undefined, now)
      first.toFront = false
      first = this.scheduled.first()
    }
    this.enterFront(toFront)
  }

  /** hands the best job to an owner */
  claim(owner: Owner, fence: number, now: number): Job | undefined {
    const job = this.ready.take()
    if (job === undefined) return undefined
    this.readyCount--
    this.activeCount++
    const { group } = job
    if (group !== undefined) {
      group.remove(job)
      group.running++
    }
    job.phase = "active"
    job.owner = owner
    job.fence = fence
    job.claimedAt = now
    this.startLease(job, now)
    return job
  }

  extend(job: Job, now: number): void {
    this.leases.remove(job)
    this.startLease(job, now)
  }

  /** takes a running job out; its group is not served before `enter` or `refresh` */
  leaveActive(job: Job): void {
    this.leases.remove(job)
    this.activeCount--
    // at once: the same receipt may stand in the batch a second time
    job.phase = "ready"
    if (job.group !== undefined) job.group.running--
  }

  /** puts those of the group whose turn it is among the ready, and takes back those whose turn it was */
  refresh(group: Group): void {
    let job: Job | undefined
    while ((job = group.demoted()) !== undefined) {
      if (job.phase === "ready") this.ready.remove(job)
    }
    while ((job = group.promoted()) !== undefined) {
      if (job.phase === "ready") this.ready.add(job)
    }
    if (group.isEmpty) this.groups.delete(group.name)
  }

  /** when a claim may find something: a time that has passed when it may now */
  nextChange(): number {
    if (this.paused) return Infinity
    if (this.ready.size > 0) return -Infinity
    return Math.min(this.scheduled.first()?.time ?? Infinity, this.leases.first?.leaseEnd ?? Infinity)
  }

  /** wakes those who wait for longer than they should now */
  wake(): void {
    if (this.waiters.size === 0) return
    const next = this.nextChange()
    for (const waiter of this.waiters) {
      if (next >= waiter.until) continue
      this.waiters.delete(waiter)
      this.outbox.add(waiter.wake)
    }
  }

  private startLease(job: Job, now: number): void {
    job.leaseEnd = now + this.settings.lease
    // all leases are equally long, so the place is the end, unless the clock was set back
    let before = this.leases.last
    while (before !== undefined && before.leaseEnd > job.leaseEnd) before = before.previous
    this.leases.insertAfter(before, job)
  }
}
