/**
 * What groups with limits come to, when calls take effect one after another: every claim takes exactly the best of those
 * whose turn it is.
 */
import type { Settled } from "windlass/Backend"

export interface Job {
  readonly id: string
  /** with which it was enqueued */
  readonly limit: number
  rank: number
  group: string
  /** order of the enqueues, and of the arrivals in a group */
  place: number
  phase: "waiting" | "running" | "over"
  abort: boolean
}

export interface Stored {
  readonly id: string
  readonly group: string
  readonly priority: number
  readonly limit: number
}

export type Ending =
  | { readonly _tag: "over" }
  | { readonly _tag: "back" }
  | { readonly _tag: "elsewhere"; readonly group: string }

const inOrder = (a: Job, b: Job): number => a.rank - b.rank || a.place - b.place

export class Groups {
  readonly jobs = new Map<string, Job>()
  readonly limits = new Map<string, number>()
  /** those that are not over */
  private readonly live = new Set<Job>()
  private places = 0

  members(group: string, phase: Job["phase"]): Array<Job> {
    return Array.from(this.live).filter((job) => job.group === group && job.phase === phase).sort(inOrder)
  }

  limit(group: string): number {
    return this.limits.get(group) ?? 0
  }

  publish(items: ReadonlyArray<Stored>): void {
    for (const { group, id, limit, priority } of items) {
      this.limits.set(group, limit)
      const place = ++this.places
      const job: Job = { id, group, limit, rank: -priority, place, phase: "waiting", abort: false }
      this.jobs.set(id, job)
      this.live.add(job)
    }
  }

  settle(id: string, ending: Ending): Settled {
    const job = this.jobs.get(id)!
    const { group } = job
    const aborted = job.abort && ending._tag !== "over"
    job.phase = aborted || ending._tag === "over" ? "over" : "waiting"
    if (!aborted && ending._tag === "elsewhere" && ending.group !== group) {
      if (!this.limits.has(ending.group)) this.limits.set(ending.group, job.limit)
      job.group = ending.group
      job.place = ++this.places
    }
    this.leftBehind(job, group)
    return aborted ? "Aborted" : "Settled"
  }

  cancel(id: string): "Cancelled" | "Requested" | "NotFound" {
    const job = this.jobs.get(id)
    if (job === undefined || job.phase === "over") return "NotFound"
    if (job.phase === "running") {
      job.abort = true
      return "Requested"
    }
    job.phase = "over"
    this.leftBehind(job, job.group)
    return "Cancelled"
  }

  /** whose turn it is, best first */
  get turns(): ReadonlyArray<string> {
    return Array.from(this.limits.keys()).flatMap((group) =>
      this.members(group, "waiting").slice(0, Math.max(0, this.limit(group) - this.members(group, "running").length))
    ).sort(inOrder).map(({ id }) => id)
  }

  /** whether it was the first of its group, and the limit lets it */
  start(id: string): boolean {
    const job = this.jobs.get(id)!
    const [first] = this.members(job.group, "waiting")
    job.phase = "running"
    return first === job && this.members(job.group, "running").length <= this.limit(job.group)
  }

  /** a group that nobody is in is forgotten */
  private leftBehind(job: Job, group: string): void {
    if (job.phase === "over") this.live.delete(job)
    for (const other of this.live) if (other.group === group) return
    this.limits.delete(group)
  }
}
