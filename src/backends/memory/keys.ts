/**
 * Unique keys: who holds which key of a queue, and when it is free again.
 *
 * @since 0.1.0
 */
import type { Uniqueness } from "../../Backend.ts"
import { Heap } from "./heap.ts"
import type { Job } from "./job.ts"
import type { JobQueue } from "./jobQueue.ts"

export interface Hold {
  readonly queue: JobQueue
  readonly key: string
  readonly id: string
  readonly until: Uniqueness["until"]
  /** `Infinity`: until the job lets go of it */
  readonly time: number
  timeSlot: number
}

export class Keys {
  private readonly windows = new Heap<Hold, "timeSlot">("timeSlot", (a, b) => a.time < b.time)

  /** the job that holds the key */
  holder(queue: JobQueue, unique: Uniqueness): string | undefined {
    return queue.keys.get(unique.key)?.id
  }

  take(queue: JobQueue, unique: Uniqueness, id: string, now: number): void {
    const time = typeof unique.until === "object" ? now + unique.until.millis : Infinity
    const hold: Hold = { queue, key: unique.key, id, until: unique.until, time, timeSlot: -1 }
    queue.keys.set(unique.key, hold)
    if (time !== Infinity) this.windows.add(hold)
  }

  /** the job was claimed */
  started(job: Job): void {
    if (job.unique!.until === "started") this.free(job)
  }

  /** the job has ended. A window ends by time alone */
  finished(job: Job): void {
    if (typeof job.unique!.until !== "object") this.free(job)
  }

  /** the job was claimed and did not start: it has its key again, unless another has it by now */
  back(job: Job, now: number): void {
    const { queue, unique } = job
    if (unique?.until === "started" && this.holder(queue, unique) === undefined) this.take(queue, unique, job.id, now)
  }

  /** the job goes to another queue: what it holds comes along, unless another has it there. A window stays where it is */
  moved(job: Job, from: JobQueue, now: number): void {
    const unique = job.unique!
    if (typeof unique.until === "object" || from.keys.get(unique.key)?.id !== job.id) return
    from.keys.delete(unique.key)
    if (this.holder(job.queue, unique) === undefined) this.take(job.queue, unique, job.id, now)
  }

  /** lets go of the windows that are over */
  sweep(now: number): void {
    let hold = this.windows.first()
    while (hold !== undefined && hold.time <= now) {
      this.windows.pop()
      hold.queue.keys.delete(hold.key)
      hold = this.windows.first()
    }
  }

  private free(job: Job): void {
    const { keys } = job.queue
    const key = job.unique!.key
    // another job may have taken it since
    if (keys.get(key)?.id === job.id) keys.delete(key)
  }
}
