/**
 * What a backend must do, as simply as it can be said: jobs in a list, looked through at every step. Where the contract
 * leaves a choice to the engine, the model allows each.
 *
 * @since 0.1.0
 */
import type { Delivery, Published, Settled, Settlement } from "../../../Backend.ts"
import type { Result } from "../../../Capability.ts"
import { same, show } from "../harness.ts"
import type { NewJob } from "./commands.ts"
import { makeJob, type ModelJob } from "./job.ts"
import { Keys } from "./keys.ts"

export class Model {
  readonly jobs = new Map<string, ModelJob>()
  private keys = new Keys()
  /** of the groups that somebody is in */
  private limits = new Map<string, number>()
  private readonly lease: number
  private steps = 0
  /** name of the job of every hand-out so far */
  readonly handouts: Array<string> = []
  now = 0
  paused = false

  constructor(lease: number) {
    this.lease = lease
  }

  isLive(name: string): boolean {
    const phase = this.jobs.get(name)?.phase
    return phase === "waiting" || phase === "active"
  }

  // publishing

  publish(jobs: ReadonlyArray<NewJob>, atomic: boolean): ReadonlyArray<Published> {
    if (atomic) {
      const before = new Map(this.jobs)
      const keys = this.keys.copy()
      const limits = new Map(this.limits)
      const answers = jobs.map((job) => this.publishOne(job))
      if (answers.every(({ _tag }) => _tag === "Stored")) return answers
      this.jobs.clear()
      for (const [name, job] of before) this.jobs.set(name, job)
      this.keys = keys
      this.limits = limits
      return answers.map((answer) => answer._tag === "Stored" ? { _tag: "Skipped" } : answer)
    }
    return jobs.map((job) => this.publishOne(job))
  }

  private publishOne(job: NewJob): Published {
    if (this.jobs.has(job.name)) return { _tag: "Duplicate", existing: job.name }
    if (job.unique !== undefined) {
      const existing = this.keys.take(job.unique, job.name, this.now)
      if (existing !== undefined) return { _tag: "Duplicate", existing }
    }
    this.jobs.set(job.name, makeJob(job, ++this.steps, this.now))
    if (job.group !== undefined) this.limits.set(job.group, job.groupLimit ?? 1)
    return { _tag: "Stored" }
  }

  // claiming

  expired(job: ModelJob): boolean {
    return job.phase === "active" && job.leaseEnd <= this.now
  }

  /** a claim gives up on the owners whose leases ran out, whether it takes their jobs or not */
  private reclaim(): void {
    const n = ++this.steps
    for (const job of this.jobs.values()) {
      if (!this.expired(job)) continue
      job.phase = "waiting"
      job.due = this.now
      job.unsettled++
      job.lostFrom = job.worker
      job.handout = -1
      job.place = { at: "front", n }
    }
  }

  /** before whom a member stands in its group */
  private heads(a: ModelJob, b: ModelJob): boolean {
    return a.priority !== b.priority ? a.priority > b.priority : a.age < b.age
  }

  /** those of the group that run or wait */
  members(group: string): ReadonlyArray<ModelJob> {
    return Array.from(this.jobs.values()).filter((job) =>
      job.group === group && (job.phase === "active" || job.phase === "waiting")
    )
  }

  /** whether the slots of its group are taken by those that run and those that wait before it, due or not */
  isBlocked(job: ModelJob): boolean {
    if (job.group === undefined) return false
    const taken = this.members(job.group).filter((other) =>
      other !== job && (other.phase === "active" || this.heads(other, job))
    )
    return taken.length >= this.limits.get(job.group)!
  }

  /** a group that nobody is in is forgotten, with its limit */
  private left(group: string | undefined): void {
    if (group !== undefined && this.members(group).length === 0) this.limits.delete(group)
  }

  private claimable(): Array<ModelJob> {
    if (this.paused) return []
    return Array.from(this.jobs.values()).filter((job) =>
      job.phase === "waiting" && job.due <= this.now && !this.isBlocked(job)
    )
  }

  private mustPrecede(a: ModelJob, b: ModelJob): boolean {
    if (a.priority !== b.priority) return a.priority > b.priority
    if (a.group !== undefined && a.group === b.group) return this.heads(a, b)
    if (a.group !== undefined || b.group !== undefined) return false
    if (a.place.at === "loose" || b.place.at === "loose") return false
    if (a.place.at !== b.place.at) return a.place.at === "front"
    return a.place.at === "front" ? a.place.n > b.place.n : a.place.n < b.place.n
  }

  /** checks a claim and follows it; what is wrong with it, if anything */
  take(worker: string, max: number, deliveries: ReadonlyArray<Delivery>, nameOf: (id: string) => string) {
    if (!this.paused) this.reclaim()
    const claimable = this.claimable()
    const expected = Math.min(max, claimable.length)
    const taken = deliveries.map(({ envelope }) => nameOf(envelope.id))
    const offered = claimable.map(({ name }) => name)
    if (taken.length !== expected) {
      return `a claim of ${max} returned [${taken.join()}] where [${offered.join()}] were claimable`
    }
    if (new Set(taken).size !== taken.length) return `a claim returned a job twice: [${taken.join()}]`
    const jobs = taken.map((name) => claimable.find((job) => job.name === name))
    for (let i = 0; i < jobs.length; i++) {
      if (jobs[i] === undefined) return `a claim returned ${taken[i]}, claimable were [${offered.join()}]`
    }
    const order = [...jobs as Array<ModelJob>, ...claimable.filter(({ name }) => !taken.includes(name))]
    for (let i = 0; i < expected; i++) {
      for (let j = i + 1; j < order.length; j++) {
        if (this.mustPrecede(order[j]!, order[i]!)) {
          return `a claim returned [${taken.join()}] of [${offered.join()}]: ${order[j]!.name} goes before ${
            order[i]!.name
          }`
        }
      }
    }
    for (let i = 0; i < expected; i++) {
      const problem = this.claim(jobs[i]!, worker, deliveries[i]!)
      if (problem !== undefined) return problem
    }
    return undefined
  }

  private claim(job: ModelJob, worker: string, delivery: Delivery): string | undefined {
    const seen = {
      attempt: delivery.attempt,
      unsettled: delivery.unsettled,
      lostFrom: delivery.lostFrom?.worker,
      priority: delivery.priority,
      group: delivery.group,
      abortRequested: delivery.abortRequested,
      failed: delivery.firstFailedAt !== undefined,
      delayed: delivery.scheduledFor !== undefined
    }
    const { abort, delayed, failed, group, lostFrom, priority, spent, unsettled } = job
    const expected = {
      attempt: spent + 1,
      unsettled,
      lostFrom,
      priority,
      group,
      abortRequested: abort,
      failed,
      delayed
    }
    if (!same(seen, expected)) return `the delivery of ${job.name} says ${show(seen)}, expected ${show(expected)}`
    job.phase = "active"
    job.handout = this.handouts.push(job.name) - 1
    job.leaseEnd = this.now + this.lease
    job.worker = worker
    this.keys.free(job.new.unique, job.name, "started")
    return undefined
  }

  // settling

  owner(handout: number): ModelJob | undefined {
    const job = this.jobs.get(this.handouts[handout] ?? "")
    return job?.phase === "active" && job.handout === handout ? job : undefined
  }

  /** what goes to the front in one batch may come back in any order */
  nextBatch(): void {
    this.steps++
  }

  settle(handout: number, settlement: Settlement, answer: Settled): string | undefined {
    const job = this.owner(handout)
    const aborts = job !== undefined && settlement._tag === "Retry" && job.abort
    const expected = job === undefined ? "Lost" : aborts ? "Aborted" : "Settled"
    // an engine may hold a lease that ran out for lost before somebody else claims the job
    if (job !== undefined && this.expired(job) && answer === "Lost") return undefined
    if (answer !== expected) {
      return `a ${settlement._tag} of ${this.handouts[handout]} (hand-out ${handout}) was answered ${answer}, ` +
        `expected ${expected}`
    }
    if (job === undefined) return undefined
    if (settlement._tag !== "Retry" || settlement.unbegun !== true) {
      job.unsettled = 0
      job.lostFrom = undefined
    } else if (job.new.unique?.until === "started" && !aborts) {
      this.keys.take(job.new.unique, job.name, this.now)
    }
    job.handout = -1
    if (settlement._tag === "Complete") {
      this.end(job, { state: settlement.how, reason: settlement.reason, exit: settlement.exit })
    } else if (settlement._tag === "Dead") {
      this.end(job, { state: "dead", reason: settlement.reason, exit: settlement.exit })
    } else if (aborts) this.end(job, { state: "aborted", reason: undefined, exit: undefined })
    else {
      const { after, attempt, place, to, why } = settlement
      if (to?.priority !== undefined) job.priority = to.priority
      if (to?.group !== undefined && (to.group ?? undefined) !== job.group) {
        const { group } = job
        job.group = to.group ?? undefined
        job.age = this.steps
        this.left(group)
        if (job.group !== undefined && !this.limits.has(job.group)) this.limits.set(job.group, job.new.groupLimit ?? 1)
      }
      if (attempt === "spent") job.spent++
      if (why === "failed") job.failed = true
      job.phase = "waiting"
      job.due = this.now + after
      job.place = { at: after > 0 ? "loose" : place, n: this.steps }
    }
    return undefined
  }

  extend(handout: number, answer: "Held" | "Abort" | "Lost"): string | undefined {
    const job = this.owner(handout)
    const expected = job === undefined ? "Lost" : job.abort ? "Abort" : "Held"
    if (job !== undefined && this.expired(job) && answer === "Lost") return undefined
    if (answer !== expected) return `extend of hand-out ${handout} was answered ${answer}, expected ${expected}`
    if (job !== undefined) job.leaseEnd = this.now + this.lease
    return undefined
  }

  private end(job: ModelJob, result: Result): void {
    job.phase = result.state === "dead" ? "dead" : "ended"
    job.result = result
    job.resultUntil = job.new.keepResult === undefined ? 0 : this.now + job.new.keepResult
    this.left(job.group)
    this.keys.free(job.new.unique, job.name, "started")
    this.keys.free(job.new.unique, job.name, "finished")
  }

  // the rest

  cancel(name: string, answer: string): string | undefined {
    const job = this.jobs.get(name)
    if (job === undefined) return answer === "NotFound" ? undefined : `cancel of ${name}, which is not there: ${answer}`
    if (job.phase === "ended" || job.phase === "dead") {
      return answer === "TooLate" || (answer === "NotFound" && job.resultUntil <= this.now)
        ? undefined
        : `cancel of ${name}, which has ended: ${answer}`
    }
    const running = job.phase === "active"
    if (answer === "Requested" && running) {
      job.abort = true
      return undefined
    }
    if (answer === "Cancelled" && (!running || this.expired(job))) {
      job.handout = -1
      this.end(job, { state: "aborted", reason: undefined, exit: undefined })
      return undefined
    }
    return `cancel of ${name}, which is ${job.phase}: ${answer}`
  }

  /** what a redriven job of a group or with a key comes to is not promised */
  mayRedrive(name: string): boolean {
    const job = this.jobs.get(name)
    return job === undefined || job.phase !== "dead" || (job.group === undefined && job.new.unique === undefined)
  }

  redrive(name: string, answer: boolean): string | undefined {
    const job = this.jobs.get(name)
    const expected = job?.phase === "dead"
    if (answer !== expected) return `retry of ${name}, which is ${job?.phase ?? "not there"}: ${answer}`
    if (job === undefined || !expected) return undefined
    job.phase = "waiting"
    job.due = this.now
    job.place = { at: "loose", n: ++this.steps }
    job.spent = 0
    job.failed = false
    job.abort = false
    job.result = undefined
    return undefined
  }

  /** undefined: not promised */
  result(name: string): Result | "None" | undefined {
    const job = this.jobs.get(name)
    if (job === undefined || job.result === undefined) return "None"
    if (job.new.keepResult === undefined) return undefined
    return job.resultUntil > this.now ? job.result : "None"
  }

  state(job: ModelJob): string {
    if (job.phase !== "waiting") return job.phase
    if (job.due > this.now) return "scheduled"
    return this.isBlocked(job) ? "blocked" : "ready"
  }
}
