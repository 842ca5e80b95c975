/**
 * The call of the hot path: settles one batch and claims the next.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { BackendError, Delivery, Envelope, Origin, Receipt, Settled, Settlement } from "../../Backend.ts"
import { Claimed, Right, Stored } from "../internal/claimed.ts"
import { Batch, type Control, type Items } from "./batch.ts"
import type { Calls, Row } from "./calls.ts"
import { number, numbers } from "./params.ts"
import { type Committed, Fence } from "./receipts.ts"
import { least } from "./sql/claims.ts"

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
  "SELECT * FROM {exchange}($1::int8[], $2::int8[], $3::int8[], $4::int4[], $5::jsonb, $6::int8, $7::int8, $8::int4, " +
  "$9::int8, $10::text, $11::int4, $12::bool, $13::int2[], $14::int8[], $15::int4, $16::int8, $17::text)"

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
