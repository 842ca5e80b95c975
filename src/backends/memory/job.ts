/**
 * What the memory engine keeps of one job, from its publish until it is forgotten, and how that looks to a worker
 * (`Delivery`) and to somebody who inspects it (`JobRecord`).
 *
 * @since 0.1.0
 */
import type { Delivery, Envelope, Item, Uniqueness } from "../../Backend.ts"
import type { HistoryEvent, JobRecord, Result, State } from "../../Capability.ts"
import { Claimed, Right, Stored } from "../internal/claimed.ts"
import type { Link } from "./chain.ts"
import type { Group } from "./group.ts"
import type { JobQueue } from "./jobQueue.ts"

/** `blocked` is no state of its own: it follows from the group */
export type Phase = Exclude<State, "blocked">

/** a job that is snoozed for ever must not grow for ever: its oldest events but the first go when it has more than these */
export const historyLimit = 256

/** who holds a delivery: abort hints go to this subscription and to no other */
export interface Owner {
  readonly worker: string
  readonly abort: (id: string) => void
}

/** the backend's part of a receipt: one hand-out of one job. It leads to the job without a look-up */
export class Fence {
  readonly token: number
  readonly #job: Job

  constructor(job: Job) {
    this.token = job.fence
    this.#job = job
  }

  /** the job, while this is its latest hand-out and not over */
  static held(fence: unknown): Job | undefined {
    if (!(fence instanceof Fence)) return undefined
    const job = fence.#job
    return job.phase === "active" && job.fence === fence.token ? job : undefined
  }
}

export class Job implements Link<Job> {
  previous: Job | undefined = undefined
  next: Job | undefined = undefined
  timeSlot = -1
  placeSlot = -1
  groupSlot = -1

  readonly id: string
  readonly envelope: Envelope
  queue: JobQueue
  priority: number
  readonly unique: Uniqueness | undefined
  /** of a group that nobody is in when the job comes to it */
  readonly groupLimit: number
  readonly keepResult: number | undefined
  readonly enqueuedAt: number
  readonly scheduledFor: number | undefined
  group: Group | undefined

  phase: Phase = "ready"
  /** place among the ready jobs of its priority and in its group: smaller goes first. Not the fence */
  position: number
  /** `true`: goes to the front of its queue when its delay is over */
  toFront = false
  // times have no value before they are known, and not 0: no time is a small number, and V8 gives a field that began as one
  // another layout when the first time comes. Every job that waits then is laid out anew, as it is looked at
  /** scheduled: when it becomes claimable. Ended: when it is forgotten */
  time!: number
  leaseEnd!: number
  /** changes with every hand-out, never comes back */
  fence = 0
  claimedAt: number | undefined = undefined
  owner: Owner | undefined = undefined
  spent = 0
  unsettled = 0
  lostFrom: Delivery["lostFrom"] = undefined
  firstFailedAt: number | undefined = undefined
  abortRequested = false
  progress: string | undefined = undefined
  history: Array<HistoryEvent> | undefined = undefined
  finishedAt: number | undefined = undefined
  /** of a job that has ended */
  resultUntil!: number
  reason: string | undefined = undefined
  error: string | undefined = undefined
  exit: string | undefined = undefined

  constructor(queue: JobQueue, item: Item, group: Group | undefined, now: number, due: number | undefined) {
    const { envelope } = item
    this.id = envelope.id
    this.envelope = copy(envelope)
    this.queue = queue
    this.priority = item.priority ?? 0
    this.unique = item.unique
    this.group = group
    this.groupLimit = item.groupLimit ?? 1
    this.keepResult = item.keepResult
    this.enqueuedAt = now
    this.scheduledFor = due
    this.position = 0
  }

  get live(): boolean {
    return this.phase === "ready" || this.phase === "scheduled" || this.phase === "active"
  }

  note(at: number, event: HistoryEvent["event"], attempt: number, worker?: string, detail?: string): void {
    const history = this.history ??= []
    history.push({ at, event, attempt, worker, detail })
    if (history.length > historyLimit) history.splice(0, history.length - historyLimit)
  }
}

/** nobody outside may hold the stored object: a middleware that changes its copy must not change the job */
const copy = ({ headers, id, origin, payload, task, version }: Envelope): Envelope =>
  new Stored(id, task, version, payload, { ...headers }, origin)

export const delivery = (job: Job): Delivery =>
  new Claimed({
    envelope: copy(job.envelope),
    receipt: new Right(job.id, new Fence(job)),
    queue: job.queue.name,
    attempt: job.spent + 1,
    unsettled: job.unsettled,
    lostFrom: job.lostFrom,
    enqueuedAt: job.enqueuedAt,
    scheduledFor: job.scheduledFor,
    firstFailedAt: job.firstFailedAt,
    priority: job.priority,
    group: job.group?.name,
    abortRequested: job.abortRequested,
    keepsResult: job.keepResult !== undefined || job.queue.keepsSuccesses
  })

export const stateOf = (job: Job): State =>
  job.phase === "ready" && job.group !== undefined && !job.group.hasTurn(job) ? "blocked" : job.phase

export const record = (job: Job): JobRecord => ({
  envelope: copy(job.envelope),
  queue: job.queue.name,
  state: stateOf(job),
  attempt: job.live ? job.spent + 1 : job.spent,
  priority: job.priority,
  group: job.group?.name,
  uniqueKey: job.unique?.key,
  enqueuedAt: job.enqueuedAt,
  dueAt: job.phase === "scheduled" ? job.time : job.scheduledFor,
  claimedAt: job.claimedAt,
  finishedAt: job.finishedAt,
  worker: job.owner?.worker,
  reason: job.reason,
  error: job.error,
  exit: job.exit,
  progress: job.progress,
  history: [
    // not stored: it would cost every job an array, and most end without any other event
    { at: job.enqueuedAt, event: "enqueued", attempt: 1, worker: undefined, detail: undefined },
    ...(job.history ?? [])
  ]
})

/** what the job came to; only for a job that has ended */
export const ended = (job: Job): Result => ({
  state: job.phase as Result["state"],
  reason: job.reason,
  exit: job.exit
})

/** the same, while it is kept for those who asked */
export const result = (job: Job, now: number): Result | undefined =>
  job.live || job.resultUntil <= now ? undefined : ended(job)
