/**
 * The memory engine: all jobs by id, and what may be done with them. Every operation is one synchronous step at a time
 * `now` that the caller read from the clock, so each is atomic and none waits.
 *
 * @since 0.1.0
 */
import type { Delivery, Destination, Held, Item, Published, Receipt, Settled, Settlement } from "../../Backend.ts"
import type { Counts } from "../../Capability.ts"
import { cancelled, type Ending, endingOf, Listeners } from "./ending.ts"
import { Heap } from "./heap.ts"
import { delivery, Fence, Job, type Owner } from "./job.ts"
import { JobQueue, type Settings } from "./jobQueue.ts"
import { Keys } from "./keys.ts"
import { Outbox } from "./outbox.ts"

export class Engine {
  readonly queues = new Map<string, JobQueue>()
  readonly jobs = new Map<string, Job>()
  /** of queues, by name */
  readonly cursors = new Map<string, Map<string, number>>()
  readonly settings: Settings
  readonly outbox = new Outbox()
  /** who waits for the end of a job */
  readonly listeners = new Listeners(this.outbox)
  private readonly keys = new Keys()
  private readonly ended = new Heap<Job, "timeSlot">("timeSlot", (a, b) => a.time < b.time)
  private fences = 0

  constructor(settings: Settings) {
    this.settings = settings
  }

  queue(name: string): JobQueue {
    let queue = this.queues.get(name)
    if (queue === undefined) this.queues.set(name, queue = new JobQueue(name, this.settings, this.outbox))
    return queue
  }

  /** forgets what was kept long enough */
  sweep(now: number): void {
    this.keys.sweep(now)
    let job = this.ended.first()
    while (job !== undefined && job.time <= now) {
      this.forget(job)
      job = this.ended.first()
    }
  }

  publish(name: string, items: ReadonlyArray<Item>, atomic: boolean, now: number): Array<Published> {
    const queue = this.queue(name)
    this.sweep(now)
    queue.promote(now)
    if (atomic) {
      const clashes = this.clashes(queue, items)
      if (clashes !== undefined) return clashes
    }
    const answers: Array<Published> = []
    for (const item of items) {
      const existing = this.existing(queue, item)
      if (existing !== undefined) {
        answers.push({ _tag: "Duplicate", existing })
        continue
      }
      this.store(queue, item, now)
      answers.push(stored)
    }
    queue.used = queue.used || items.length > 0
    queue.wake()
    return answers
  }

  take(queue: JobQueue, max: number, owner: Owner, now: number): Array<Delivery> {
    const deliveries: Array<Delivery> = []
    if (queue.paused) return deliveries
    queue.promote(now)
    this.reclaim(queue, now)
    while (deliveries.length < max) {
      const job = queue.claim(owner, ++this.fences, now)
      if (job === undefined) break
      if (job.unique !== undefined) this.keys.started(job)
      deliveries.push(delivery(job))
    }
    return deliveries
  }

  settle(items: ReadonlyArray<readonly [Receipt, Settlement]>, now: number): Array<Settled> {
    this.sweep(now)
    const answers: Array<Settled> = []
    const fronts = new Map<JobQueue, Array<Job>>()
    const touched = new Set<JobQueue>()
    let last: JobQueue | undefined
    for (const [receipt, settlement] of items) {
      const job = this.held(receipt)
      if (job === undefined) {
        answers.push("Lost")
        continue
      }
      if (job.queue !== last) touched.add(last = job.queue)
      answers.push(this.settleOne(job, settlement, fronts, now))
      if (job.queue !== last) touched.add(last = job.queue)
    }
    for (const [queue, jobs] of fronts) queue.enterFront(jobs)
    for (const queue of touched) queue.wake()
    return answers
  }

  extend(receipts: ReadonlyArray<Receipt>, now: number): Array<Held> {
    return receipts.map((receipt) => {
      const job = this.held(receipt)
      if (job === undefined) return "Lost"
      job.queue.extend(job, now)
      return job.abortRequested ? "Abort" : "Held"
    })
  }

  progress(receipt: Receipt, value: string): "Stored" | "Lost" {
    const job = this.held(receipt)
    if (job === undefined) return "Lost"
    job.progress = value
    return "Stored"
  }

  cancel(id: string, now: number): "Cancelled" | "Requested" | "TooLate" | "NotFound" {
    this.sweep(now)
    const job = this.jobs.get(id)
    if (job === undefined) return "NotFound"
    if (!job.live) return "TooLate"
    if (job.phase === "active") {
      job.abortRequested = true
      job.owner?.abort(id)
      return "Requested"
    }
    job.queue.leaveWaiting(job)
    this.end(job, cancelled, now)
    job.queue.wake()
    return "Cancelled"
  }

  /** puts a dead job back, as if it were new but for its history */
  redrive(job: Job, now: number): void {
    const { queue } = job
    this.ended.remove(job)
    queue.dead.delete(job.id)
    job.note(now, "redriven", job.spent)
    job.spent = 0
    job.unsettled = 0
    job.lostFrom = undefined
    job.firstFailedAt = undefined
    job.abortRequested = false
    job.finishedAt = undefined
    job.resultUntil = 0
    job.reason = undefined
    job.exit = undefined
    job.position = 0
    job.owner = undefined
    job.claimedAt = undefined
    if (job.group !== undefined) job.group = queue.group(job.group.name, job.groupLimit)
    // its key was freed when it died: it takes it again unless another has it
    if (job.unique !== undefined && typeof job.unique.until !== "object" && !this.keys.holder(queue, job.unique)) {
      this.keys.take(queue, job.unique, job.id, now)
    }
    queue.promote(now)
    queue.enter(job, undefined, now)
    queue.wake()
  }

  forget(job: Job): void {
    this.ended.remove(job)
    this.jobs.delete(job.id)
    job.queue.dead.delete(job.id)
  }

  counts(name: string, now: number): Counts {
    this.sweep(now)
    const queue = this.queues.get(name)
    if (queue === undefined) return { ready: 0, scheduled: 0, active: 0, dead: 0 }
    queue.promote(now)
    return {
      ready: queue.readyCount,
      scheduled: queue.scheduled.size,
      active: queue.activeCount,
      dead: queue.dead.size
    }
  }

  /** the job that the receipt is of, if it was handed out here: another engine's jobs are none of this one's */
  private held(receipt: Receipt): Job | undefined {
    const job = Fence.held(receipt.fence)
    return job !== undefined && job.queue.outbox === this.outbox ? job : undefined
  }

  /** a dead letter counts as well: it may be run again under this id */
  private isTaken(id: string): boolean {
    const job = this.jobs.get(id)
    return job !== undefined && (job.live || job.phase === "dead")
  }

  private existing(queue: JobQueue, { envelope: { id }, unique }: Item): string | undefined {
    if (this.isTaken(id)) return id
    return unique === undefined ? undefined : this.keys.holder(queue, unique)
  }

  /** the answers of an atomic batch that cannot be stored, because of what is stored or within itself */
  private clashes(queue: JobQueue, items: ReadonlyArray<Item>): Array<Published> | undefined {
    const ids = new Set<string>()
    const keys = new Map<string, string>()
    let clash = false
    const answers = items.map((item): Published => {
      const { envelope: { id }, unique } = item
      const existing = ids.has(id)
        ? id
        : this.existing(queue, item) ?? (unique === undefined ? undefined : keys.get(unique.key))
      if (existing === undefined) {
        ids.add(id)
        if (unique !== undefined) keys.set(unique.key, id)
        return skipped
      }
      clash = true
      return { _tag: "Duplicate", existing }
    })
    return clash ? answers : undefined
  }

  private store(queue: JobQueue, item: Item, now: number): void {
    const { due, envelope, groupLimit = 1, unique } = item
    const time = due === undefined ? undefined : due._tag === "At" ? due.time : now + due.millis
    const before = this.jobs.get(envelope.id)
    if (before !== undefined) this.forget(before)
    const group = item.group === undefined ? undefined : queue.group(item.group, groupLimit)
    // of those that wait already too: they are served when the job enters
    if (group !== undefined) group.limit = groupLimit
    const job = new Job(
      queue,
      item,
      group,
      now,
      time !== undefined && time > now ? time : undefined
    )
    this.jobs.set(job.id, job)
    if (unique !== undefined) this.keys.take(queue, unique, job.id, now)
    queue.enter(job, time, now)
  }

  private settleOne(job: Job, settlement: Settlement, fronts: Map<JobQueue, Array<Job>>, now: number): Settled {
    const attempt = job.spent + 1
    job.queue.leaveActive(job)
    const unbegun = settlement._tag === "Retry" && settlement.unbegun === true
    if (!unbegun) {
      job.unsettled = 0
      job.lostFrom = undefined
    }
    if (settlement._tag !== "Retry" || job.abortRequested) {
      job.spent = attempt
      this.end(job, endingOf(settlement), now)
      return settlement._tag === "Retry" ? "Aborted" : "Settled"
    }
    job.note(now, settlement.why, attempt, job.owner?.worker, settlement.error)
    if (settlement.attempt === "spent") job.spent = attempt
    if (settlement.why === "failed") job.firstFailedAt ??= now
    if (settlement.error !== undefined) job.error = settlement.error
    job.owner = undefined
    job.claimedAt = undefined
    if (unbegun) this.keys.back(job, now)
    if (settlement.to !== undefined) this.reroute(job, settlement.to, now)
    const { queue } = job
    // a member of a group keeps its place in the group, whatever it is told
    if (settlement.place === "back" || job.group !== undefined) {
      queue.enter(job, now + settlement.after, now)
    } else if (settlement.after > 0) {
      job.toFront = true
      queue.enter(job, now + settlement.after, now)
    } else {
      const jobs = fronts.get(queue)
      if (jobs === undefined) fronts.set(queue, [job])
      else jobs.push(job)
    }
    return "Settled"
  }

  /** a job that is in no place, before it enters one */
  private reroute(job: Job, to: Destination, now: number): void {
    const { group, queue } = job
    if (to.priority !== undefined) job.priority = to.priority
    const target = to.queue === undefined ? queue : this.queue(to.queue)
    const name = to.group === undefined ? group?.name : to.group ?? undefined
    if (target === queue && name === group?.name) return
    job.queue = target
    job.group = name === undefined ? undefined : target.group(name, job.groupLimit)
    job.position = 0
    target.used = true
    if (group !== undefined) queue.refresh(group)
    if (target !== queue && job.unique !== undefined) this.keys.moved(job, queue, now)
  }

  /** gives jobs whose lease ran out to the next who asks, at the front */
  private reclaim(queue: JobQueue, now: number): void {
    let job = queue.leases.first
    if (job === undefined || job.leaseEnd > now) return
    const jobs: Array<Job> = []
    while (job !== undefined && job.leaseEnd <= now) {
      queue.leaveActive(job)
      const worker = job.owner!.worker
      job.note(now, "lost", job.spent + 1, worker)
      job.unsettled++
      job.lostFrom = { worker, claimedAt: job.claimedAt! }
      job.owner = undefined
      job.claimedAt = undefined
      if (job.group === undefined) jobs.push(job)
      else queue.enter(job, undefined, now)
      job = queue.leases.first
    }
    queue.enterFront(jobs)
  }

  private end(job: Job, ending: Ending, now: number): void {
    const { queue } = job
    job.phase = ending.how
    job.finishedAt = now
    job.reason = ending.reason
    job.error = ending.error
    job.exit = ending.exit
    if (job.group !== undefined) queue.refresh(job.group)
    if (job.unique !== undefined) this.keys.finished(job)
    job.resultUntil = job.keepResult === undefined ? 0 : now + job.keepResult
    const failure = ending.how === "dead" || ending.how === "aborted"
    job.time = Math.max(job.resultUntil, now + (failure ? this.settings.keepFailures : this.settings.keepSuccesses))
    if (job.time > now) {
      job.note(now, ending.event, job.spent, job.owner?.worker, ending.detail)
      this.ended.add(job)
      if (job.phase === "dead") queue.dead.set(job.id, job)
    } else {
      this.jobs.delete(job.id)
    }
    this.listeners.tell(job.id, { state: ending.how, reason: ending.reason, exit: ending.exit })
  }
}

const stored: Published = { _tag: "Stored" }
const skipped: Published = { _tag: "Skipped" }
