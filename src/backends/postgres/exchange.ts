/**
 * The call of the hot path: settles one batch and claims the next.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { BackendError, Delivery, Envelope, Origin, Receipt, Settled, Settlement } from "../../Backend.ts"
import { Claimed, Right, Stored } from "../internal/claimed.ts"
import type { Calls, Row } from "./calls.ts"
import { number, numbers, readable } from "./params.ts"
import { type Committed, Fence, fenceOf } from "./receipts.ts"
import { least } from "./sql/claims.ts"

export type Items = ReadonlyArray<readonly [Receipt, Settlement]>

/** milliseconds that ended jobs stay inspectable */
export interface Retention {
  readonly failures: number
  readonly successes: number
}

export interface Claimant {
  readonly queue: number
  readonly name: string
  readonly session: number
  readonly worker: string
  readonly lease: number
}

/** what a claim asks for, and what it found */
export interface Claim {
  readonly max: number
  /** what is claimed may be one row */
  readonly together: boolean
  /** rank -> position below which nothing is expected; none: look everywhere */
  readonly floors: ReadonlyMap<number, number>
  /** 1: what became due is moved first; 2: what was lost too */
  readonly sweep: number
}

export interface Answer {
  readonly settled: ReadonlyArray<Settled>
  readonly deliveries: ReadonlyArray<Delivery>
  /** rank -> position of the last job claimed there */
  readonly last: Map<number, number>
  /** milliseconds until the next scheduled job, if the claim found less than it asked for */
  readonly due: number | undefined
  /** some were left to another claim that is under way */
  readonly more: boolean
  /** some groups were not looked at: the next claim looks at those */
  readonly unseen: boolean
}

export const noClaim: Claim = { max: 0, together: false, floors: new Map(), sweep: 0 }

const nobody: Claimant = { queue: 0, name: "", session: 0, worker: "", lease: 0 }

interface Control {
  readonly lost: ReadonlyArray<number> | null
  readonly answers: Readonly<Record<string, Settled>> | null
  readonly due: number | null
  readonly more: boolean
  readonly unseen: boolean
}

interface Rare {
  readonly plain: boolean
  readonly keep: boolean
  readonly grp: string | null
  readonly unsettled: number
  readonly lostWorker: string | null
  readonly lostClaimed: number | null
  readonly firstFailed: number | null
  readonly scheduledFor: number | null
  readonly abort: boolean
}

export const statement =
  "SELECT * FROM {exchange}($1::int8[], $2::int8[], $3::int8[], $4::jsonb, $5::int8, $6::int8, $7::int4, $8::int8, " +
  "$9::text, $10::int4, $11::bool, $12::int2[], $13::int8[], $14::int4, $15::int8, $16::text)"

/** what is sent of a batch of settlements, and what its answers are made from */
class Batch {
  readonly settled: Array<Settled>
  private readonly nums: Array<number> = []
  private readonly tokens: Array<number> = []
  private readonly plain: Array<number> = []
  /** fences of claims that may be one row, each once */
  private readonly claims: Array<number> = []
  private others: Array<object> | undefined

  constructor(items: Items, forgetsSuccesses: boolean, committed: Committed) {
    this.settled = new Array<Settled>(items.length).fill("Settled")
    for (let i = 0; i < items.length; i++) {
      const [receipt, settlement] = items[i]!
      const fence = fenceOf(receipt)
      if (fence?.together === true && !this.claims.includes(fence.token)) this.claims.push(fence.token)
      if (fence === undefined) {
        this.settled[i] = "Lost"
      } else if (committed.size > 0 && committed.has(fence)) {
        // it was completed with its effects: nothing else can be made of it
        this.settled[i] = committed.delete(fence) && settlement._tag === "Complete" ? "Settled" : "Lost"
      } else if (fence.plain && forgetsSuccesses && settlement._tag === "Complete" && settlement.how !== "aborted") {
        this.nums.push(fence.num)
        this.tokens.push(fence.token)
        this.plain.push(i)
      } else {
        ;(this.others ??= []).push(toItem(i, fence, settlement))
      }
    }
  }

  get isEmpty(): boolean {
    return this.plain.length === 0 && this.others === undefined
  }

  get parameters(): ReadonlyArray<unknown> {
    return [
      numbers(this.nums),
      numbers(this.tokens),
      numbers(this.claims),
      this.others === undefined ? null : JSON.stringify(this.others)
    ]
  }

  answer({ answers, lost }: Control): void {
    if (lost !== null) {
      const gone = new Set(lost)
      const seen = new Set<number>()
      for (let k = 0; k < this.plain.length; k++) {
        const num = this.nums[k]!
        // of two settlements with the same receipt the first one counts
        if (gone.has(num) || seen.has(num)) this.settled[this.plain[k]!] = "Lost"
        seen.add(num)
      }
    }
    if (answers !== null) { for (const n in answers) this.settled[Number(n)] = answers[n]! }
  }
}

export class Exchange {
  private readonly calls: Calls
  private readonly retention: Retention
  private readonly committed: Committed
  private readonly sql: string

  constructor(calls: Calls, retention: Retention, committed: Committed) {
    this.calls = calls
    this.retention = retention
    this.committed = committed
    this.sql = calls.sql(statement)
  }

  run(
    operation: string,
    items: Items,
    by: Claimant,
    claim: Claim,
    hint: string | null
  ): Effect.Effect<Answer, BackendError> {
    return Effect.suspend(() => {
      const batch = new Batch(items, this.retention.successes <= 0, this.committed)
      if (batch.isEmpty && claim.max === 0) return Effect.succeed(toAnswer(batch, [], by, false, this.retention))
      return Effect.map(
        this.calls.run(operation, this.sql, this.parameters(batch, by, claim, hint)),
        (rows) => toAnswer(batch, rows, by, claim.together, this.retention)
      )
    })
  }

  /** settles one delivery by a statement that the caller runs */
  one(
    receipt: Receipt,
    settlement: Settlement,
    send: (sql: string, params: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<Row>, BackendError>
  ): Effect.Effect<Settled, BackendError> {
    return Effect.suspend(() => {
      const batch = new Batch([[receipt, settlement]], this.retention.successes <= 0, this.committed)
      if (batch.isEmpty) return Effect.succeed(batch.settled[0]!)
      return Effect.map(
        send(this.sql, this.parameters(batch, nobody, noClaim, null)),
        (rows) => toAnswer(batch, rows, nobody, false, this.retention).settled[0]!
      )
    })
  }

  private parameters(batch: Batch, by: Claimant, claim: Claim, hint: string | null): ReadonlyArray<unknown> {
    return [
      ...batch.parameters,
      number(this.retention.failures),
      number(this.retention.successes),
      number(by.queue),
      number(by.session),
      by.worker,
      number(claim.max),
      claim.together,
      numbers(Array.from(claim.floors.keys())),
      numbers(Array.from(claim.floors.values())),
      number(claim.sweep),
      number(by.lease),
      hint
    ]
  }
}

const toAnswer = (
  batch: Batch,
  rows: ReadonlyArray<Row>,
  by: Claimant,
  together: boolean,
  retention: Retention
): Answer => {
  const last = new Map<number, number>()
  const deliveries: Array<Delivery> = []
  let control: Control | undefined
  const isRow = together && rows.length - (rows.at(-1)?.[0] === -1 ? 1 : 0) >= least
  for (const row of rows) {
    if (row[0] === -1) {
      control = JSON.parse(row[12] as string) as Control
      batch.answer(control)
    } else {
      if ((row[3] as number) >= 0) last.set(row[2] as number, row[3] as number)
      deliveries.push(toDelivery(row, by, isRow, retention.successes > 0))
    }
  }
  return {
    settled: batch.settled,
    deliveries,
    last,
    due: control?.due ?? undefined,
    more: control?.more ?? false,
    unseen: control?.unseen ?? false
  }
}

const toDelivery = (row: Row, by: Claimant, together: boolean, keepsSuccesses: boolean): Delivery => {
  const rare = row[12] === null ? undefined : JSON.parse(row[12] as string) as Rare
  const id = row[4] as string
  const rank = row[2] as number
  return new Claimed({
    envelope: toEnvelope(row[4], row[5], row[6], row[9], row[8], row[7]),
    receipt: new Right(
      id,
      new Fence(row[0] as number, row[1] as number, rare?.plain ?? true, by.queue, together && rare === undefined)
    ),
    queue: by.name,
    attempt: row[11] as number + 1,
    unsettled: rare?.unsettled ?? 0,
    lostFrom: rare === undefined || rare.lostWorker === null
      ? undefined
      : { worker: rare.lostWorker, claimedAt: rare.lostClaimed! },
    enqueuedAt: row[10] as number,
    scheduledFor: rare?.scheduledFor ?? undefined,
    firstFailedAt: rare?.firstFailed ?? undefined,
    priority: rank === 0 ? 0 : -rank,
    group: rare?.grp ?? undefined,
    abortRequested: rare?.abort ?? false,
    keepsResult: keepsSuccesses || rare?.keep === true
  })
}

export const toEnvelope = (
  id: unknown,
  task: unknown,
  version: unknown,
  payload: unknown,
  headers: unknown,
  origin: unknown
): Envelope =>
  new Stored(
    id as string,
    task as string,
    version as number,
    payload as string,
    headers === null ? {} : JSON.parse(headers as string) as Record<string, string>,
    origin as Origin
  )

const text = (value: string | undefined): string | undefined => value === undefined ? undefined : readable(value)

const toItem = (n: number, { num, token }: Fence, settlement: Settlement): object => {
  switch (settlement._tag) {
    case "Complete":
      return {
        n,
        num,
        fence: token,
        t: "Complete",
        how: settlement.how,
        exit: text(settlement.exit),
        reason: text(settlement.reason)
      }
    case "Dead":
      return {
        n,
        num,
        fence: token,
        t: "Dead",
        reason: readable(settlement.reason),
        error: text(settlement.error),
        exit: text(settlement.exit)
      }
    case "Retry":
      return {
        n,
        num,
        fence: token,
        t: "Retry",
        after: Math.max(0, Math.ceil(settlement.after)),
        spent: settlement.attempt === "spent",
        front: settlement.place === "front",
        why: settlement.why,
        error: text(settlement.error),
        unbegun: settlement.unbegun,
        ...(settlement.to === undefined ? undefined : {
          to_queue: text(settlement.to.queue),
          to_rank: settlement.to.priority === undefined ? undefined : 0 - settlement.to.priority,
          to_grp: text(settlement.to.group ?? undefined),
          regroup: settlement.to.group !== undefined
        })
      }
  }
}
