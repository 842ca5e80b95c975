/**
 * Settling deliveries. The fence is part of every statement that takes a job out of `active`: a stale owner deletes
 * nothing and is told `Lost`. Runs inside a write transaction.
 *
 * @since 0.1.0
 */
import type { StatementSync } from "node:sqlite"
import type { Destination, Held, Receipt, Settled, Settlement } from "../../Backend.ts"
import type { Connection, Records, Rows } from "./connection.ts"
import type { Fence } from "./delivery.ts"
import { type End, endingOf, type Runner } from "./end.ts"
import { Forget } from "./forget.ts"
import type { Groups } from "./groups.ts"
import type { History } from "./history.ts"
import type { Keys } from "./keys.ts"
import { later } from "./limits.ts"
import type { Live, LiveJobs } from "./live.ts"
import type { Place } from "./place.ts"
import type { Queues } from "./queues.ts"

type Items = ReadonlyArray<readonly [Receipt, Settlement]>

export class Settle {
  private readonly jobs: LiveJobs
  private readonly groups: Groups
  private readonly keys: Keys
  private readonly queues: Queues
  private readonly place: Place
  private readonly history: History
  private readonly end: End
  private readonly lease: number
  private readonly drop: Records<Runner>
  private readonly forget: Forget
  private readonly back: StatementSync
  private readonly backUnbegun: StatementSync
  private readonly rewrite: StatementSync
  private readonly prolong: StatementSync
  private readonly aborted: Rows<readonly [number]>
  private readonly setProgress: StatementSync

  constructor(
    connection: Connection,
    parts: {
      readonly jobs: LiveJobs
      readonly groups: Groups
      readonly keys: Keys
      readonly queues: Queues
      readonly place: Place
      readonly history: History
      readonly end: End
    },
    lease: number
  ) {
    this.jobs = parts.jobs
    this.groups = parts.groups
    this.keys = parts.keys
    this.queues = parts.queues
    this.place = parts.place
    this.history = parts.history
    this.end = parts.end
    this.lease = lease
    this.drop = connection.records("DELETE FROM active WHERE num = ? AND fence = ? RETURNING worker, claimed")
    this.forget = new Forget(connection)
    this.back = connection.statement(
      `UPDATE job SET spent = ?, unsettled = 0, lost_worker = NULL, lost_claimed = NULL, first_failed = ?, error = ?,
         events = ? WHERE num = ?`
    )
    this.backUnbegun = connection.statement(
      "UPDATE job SET spent = ?, first_failed = ?, error = ?, events = ? WHERE num = ?"
    )
    this.rewrite = connection.statement("UPDATE job SET queue = ?, rank = ?, grp = ?, pos = ? WHERE num = ?")
    this.prolong = connection.statement("UPDATE active SET lease = ? WHERE num = ? AND fence = ?")
    this.aborted = connection.rows("SELECT num FROM job WHERE abort = 1")
    this.setProgress = connection.statement(
      "UPDATE job SET progress = ? WHERE num = (SELECT num FROM active WHERE num = ? AND fence = ?)"
    )
  }

  settle(items: Items, now: number, touched: Set<number>): Array<Settled> {
    const answers = new Array<Settled>(items.length)
    /** the successes that leave nothing behind, by fence: gone with a few statements for all that came with one claim */
    const plain = new Map<number, Array<number>>()
    const front: Array<Live> = []
    for (let i = 0; i < items.length; i++) {
      const [receipt, settlement] = items[i]!
      const fence = fenceOf(receipt)
      if (fence === undefined) {
        answers[i] = "Lost"
      } else if (
        fence.plain && settlement._tag === "Complete" && settlement.how !== "aborted" && this.end.forgetsSuccesses
      ) {
        const indexes = plain.get(fence.token)
        if (indexes === undefined) plain.set(fence.token, [i])
        else indexes.push(i)
      } else {
        answers[i] = this.settleOne(fence, settlement, front, touched, now)
      }
    }
    for (const [token, indexes] of plain) this.succeed(items, token, indexes, answers)
    this.place.enterFront(front)
    return answers
  }

  extend(receipts: ReadonlyArray<Receipt>, steady: number): Array<Held> {
    const until = steady + this.lease
    const aborted = new Set(this.aborted.all().map(([num]) => num))
    return receipts.map((receipt) => {
      const fence = fenceOf(receipt)
      if (fence === undefined || this.prolong.run(until, fence.num, fence.token).changes === 0) return "Lost"
      return aborted.has(fence.num) ? "Abort" : "Held"
    })
  }

  progress(receipt: Receipt, value: string): "Stored" | "Lost" {
    const fence = fenceOf(receipt)
    return fence !== undefined && this.setProgress.run(value, fence.num, fence.token).changes !== 0 ? "Stored" : "Lost"
  }

  private succeed(items: Items, token: number, indexes: ReadonlyArray<number>, answers: Array<Settled>): void {
    const numOf = (index: number) => fenceOf(items[index]![0])!.num
    const gone = this.forget.take(indexes.map(numOf), token)
    for (const index of indexes) {
      // of two settlements with the same receipt the first one counts
      const settled = gone === undefined || gone.delete(numOf(index))
      answers[index] = settled ? "Settled" : "Lost"
      if (settled) {
        const [receipt, settlement] = items[index]!
        const { exit, how, reason } = settlement as Settlement.Complete
        this.end.tell(receipt.id, { state: how, reason, exit })
      }
    }
  }

  private settleOne(
    fence: Fence,
    settlement: Settlement,
    front: Array<Live>,
    touched: Set<number>,
    now: number
  ): Settled {
    const runner = this.drop.get(fence.num, fence.token)
    if (runner === undefined) return "Lost"
    const job = this.jobs.byNum(fence.num)!
    const attempt = job.spent + 1
    if (job.grp !== null) touched.add(job.queue)
    if (settlement._tag !== "Retry" || job.abort === 1) {
      this.end.end(job, attempt, endingOf(settlement), runner, now)
      return settlement._tag === "Retry" ? "Aborted" : "Settled"
    }
    touched.add(job.queue)
    const n = job.events + 1
    this.history.add(job.num, n, {
      at: now,
      event: settlement.why,
      attempt,
      worker: runner.worker,
      detail: settlement.error
    })
    const back = settlement.unbegun === true ? this.backUnbegun : this.back
    back.run(
      settlement.attempt === "spent" ? attempt : job.spent,
      job.first_failed ?? (settlement.why === "failed" ? now : null),
      settlement.error ?? job.error,
      n,
      job.num
    )
    if (settlement.unbegun === true) this.keys.back(job, now)
    const due = later(now, settlement.after)
    const waits = due > now
    const goesOn = settlement.to === undefined ? job : this.reroute(job, settlement.to, now)
    touched.add(goesOn.queue)
    const came = goesOn.queue === job.queue && goesOn.grp === job.grp ? "running" : "elsewhere"
    // a member of a group goes where it stood in the group: for it the front is the back
    if (settlement.place === "back" || goesOn.grp !== null) this.place.enterBack(goesOn, waits ? due : null, came)
    else if (waits) this.place.enterFrontLater(goesOn, due)
    else front.push(goesOn)
    return "Settled"
  }

  /** a job that is in no place, before it enters one */
  private reroute(job: Live, to: Destination, now: number): Live {
    const queue = to.queue === undefined ? job.queue : this.queues.number(to.queue)
    const grp = to.group === undefined ? job.grp : to.group
    const rank = to.priority === undefined ? job.rank : -to.priority
    const moved = queue !== job.queue || grp !== job.grp
    const pos = moved ? this.place.last() : job.pos
    this.rewrite.run(queue, rank, grp, pos, job.num)
    if (moved && job.grp !== null) this.groups.ended(job.queue, job.grp)
    if (queue !== job.queue) {
      this.queues.use(queue)
      this.keys.move(job, queue, now)
    }
    return { ...job, queue, rank, grp, pos }
  }
}

/** `undefined`: a receipt that this backend did not make */
export const fenceOf = (receipt: Receipt): Fence | undefined => {
  const fence = receipt.fence as Partial<Fence> | null | undefined
  return typeof fence === "object" && fence !== null && typeof fence.num === "number" && typeof fence.token === "number"
    ? fence as Fence
    : undefined
}
