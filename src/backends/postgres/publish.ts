/**
 * Storing jobs: one call, which joins the caller's transaction if there is one. Those who wait for work are woken when it
 * is durable: at once, or after the transaction's commit.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SqlClient } from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import type { BackendError, Envelope, Item, Limits, Published } from "../../Backend.ts"
import type { Advanced, Cursor } from "../../Capability.ts"
import { Coalesce, sizeOfJob } from "../internal/coalesce.ts"
import type { Calls, Row } from "./calls.ts"
import { fromCause } from "./errors.ts"
import type { Hints } from "./hints.ts"
import { publishRefused, whole } from "./limits.ts"
import { number, numbers, texts } from "./params.ts"
import type { Queues } from "./queues.ts"
import { topicOf, type Wake } from "./wake.ts"

const stored: Published = { _tag: "Stored" }
const skipped: Published = { _tag: "Skipped" }

const advanceCasts = "$1::text, $2::int8, $3::int8, $4::int4, $5::text[], $6::text[], $7::int4[], $8::text[], " +
  "$9::text[], $10::text[], $11::jsonb, $12::text"
const casts = "$1::int4, $2::text[], $3::text[], $4::int4[], $5::text[], $6::text[], $7::text[], $8::jsonb, $9::text"

/** a batch of so many is worth a subtransaction of its own */
const worthTrying = 8
/** batches that are stored with care after one in which an id was there: who has one has more of them */
const wary = 64

export class Publish {
  private readonly calls: Calls
  private readonly client: SqlClient
  private readonly queues: Queues
  private readonly hints: Hints
  private readonly wake: Wake
  private readonly limits: Limits
  private readonly each: string
  private readonly fresh: string
  private readonly whole: string
  private readonly moved: string
  private readonly singles: Coalesce<Item, Published, BackendError>
  /** batches to come before ids are taken for new ones again */
  private careful = 0

  constructor(parts: {
    readonly calls: Calls
    readonly client: SqlClient
    readonly queues: Queues
    readonly hints: Hints
    readonly wake: Wake
    readonly limits: Limits
    /** calls under way at once that carry what several callers publish */
    readonly flights: number
  }) {
    const { calls } = parts
    this.calls = calls
    this.client = parts.client
    this.queues = parts.queues
    this.hints = parts.hints
    this.wake = parts.wake
    this.limits = parts.limits
    this.each = calls.sql(`SELECT * FROM {publish}(${casts})`)
    this.fresh = calls.sql(`SELECT * FROM {publish_new}(${casts})`)
    this.whole = calls.sql(`SELECT * FROM {publish_whole}(${casts})`)
    this.moved = calls.sql(`SELECT * FROM {advance}(${advanceCasts})`)
    this.singles = new Coalesce({
      run: (queue, items) => this.store(Number(queue), items, false),
      most: parts.limits.publishBatch,
      sizeOf: sizeOfJob,
      flights: parts.flights,
      isOnes: (error) => !error.retryable && error.outcome === "NotApplied"
    })
  }

  publish(
    name: string,
    items: ReadonlyArray<Item>,
    atomic: boolean
  ): Effect.Effect<ReadonlyArray<Published>, BackendError> {
    if (items.length === 0) return Effect.succeed([])
    const refused = publishRefused(this.calls.name, this.limits, name, items, Date.now())
    if (refused !== undefined) return Effect.fail(refused)
    return Effect.flatMap(
      this.queues.ready(name, items),
      (queue) =>
        Effect.flatMap(Effect.serviceOption(this.client.transactionService), (transaction) =>
          Option.isSome(transaction)
            ? this.within(transaction.value[0], queue, items, atomic)
            : atomic
            ? this.store(queue, items, true)
            : this.singles.submit(String(queue), items))
    )
  }

  /** the transaction is the caller's: it may be interrupted, and then it is rolled back */
  private within(
    connection: Connection,
    queue: number,
    items: ReadonlyArray<Item>,
    atomic: boolean
  ): Effect.Effect<ReadonlyArray<Published>, BackendError> {
    const rows = Effect.mapError(
      connection.executeValues(atomic ? this.whole : this.each, parametersOf(queue, items, null)),
      (error) => fromCause(this.calls.name, "publish", error, false)
    )
    return Effect.flatMap(
      Effect.tap(rows, this.client.afterCommit(this.announce(queue))),
      (rows) =>
        corrected(
          items,
          answer(items, rows as ReadonlyArray<Row>, atomic),
          atomic,
          (again) => this.within(connection, queue, again, false)
        )
    )
  }

  /** in a transaction of its own */
  private store(
    queue: number,
    items: ReadonlyArray<Item>,
    atomic: boolean
  ): Effect.Effect<ReadonlyArray<Published>, BackendError> {
    if (!atomic && items.every(isPlain)) return this.storePlain(queue, items)
    return Effect.flatMap(
      this.alone(atomic ? this.whole : this.each, queue, items),
      (rows) => corrected(items, answer(items, rows, atomic), atomic, (again) => this.store(queue, again, false))
    )
  }

  /** the usual batch, which only an id can keep out: mostly a new one, and then nobody looks for it */
  private storePlain(queue: number, items: ReadonlyArray<Item>): Effect.Effect<ReadonlyArray<Published>, BackendError> {
    const tries = this.careful === 0 && items.length >= worthTrying
    if (this.careful > 0) this.careful--
    return Effect.map(this.alone(tries ? this.fresh : this.each, queue, items), (rows) => {
      if (rows.length > 0) this.careful = wary
      return answer(items, rows, false)
    })
  }

  /** moves a cursor and stores the items, both or neither; on a connection of its own, in no transaction of the caller */
  advance(
    { from, name: cursor, queue: name, to }: Parameters<Cursor["Service"]["advance"]>[0],
    items: ReadonlyArray<Item>
  ): Effect.Effect<Advanced, BackendError> {
    const refused = publishRefused(this.calls.name, this.limits, name, items, Date.now())
    if (refused !== undefined) return Effect.fail(refused)
    const place = [cursor, from === undefined ? null : number(from), number(to)]
    return Effect.flatMap(
      items.length === 0 ? this.queues.number(name) : this.queues.ready(name, items),
      (queue) =>
        Effect.flatMap(this.alone(this.moved, queue, items, place), ([first, ...rows]): Effect.Effect<
          Advanced,
          BackendError
        > => {
          const [what, at] = first!
          if (what === -2) return Effect.succeed({ _tag: "Stale", at: at === null ? undefined : Number(at) })
          return Effect.map(
            corrected(items, answer(items, rows, false), false, (again) => this.store(queue, again, false)),
            (published) => ({ _tag: "Advanced", published })
          )
        })
    )
  }

  private alone(
    sql: string,
    queue: number,
    items: ReadonlyArray<Item>,
    before: ReadonlyArray<unknown> = []
  ): Effect.Effect<ReadonlyArray<Row>, BackendError> {
    return Effect.suspend(() => {
      const topic = topicOf.queue(queue)
      const hint = items.length === 0 ? null : this.hints.now(topic)
      return Effect.map(
        this.calls.run("publish", sql, [...before, ...parametersOf(queue, items, hint)]),
        (rows) => {
          this.wake.signal(topic)
          return rows
        }
      )
    })
  }

  /** what a transaction committed may stand before what was claimed meanwhile */
  private announce(queue: number): Effect.Effect<void> {
    return Effect.sync(() => {
      for (const topic of [topicOf.late(queue), topicOf.queue(queue)]) {
        this.wake.signal(topic)
        this.hints.later(topic)
      }
    })
  }
}

const answer = (items: ReadonlyArray<Item>, rows: ReadonlyArray<Row>, atomic: boolean): ReadonlyArray<Published> => {
  const answers = new Array<Published>(items.length).fill(rows.length > 0 && atomic ? skipped : stored)
  for (const [n, existing] of rows) answers[n as number - 1] = { _tag: "Duplicate", existing: existing as string }
  return answers
}

/** the answers, after those who were refused for the sake of one that was then refused itself had another try */
const corrected = (
  items: ReadonlyArray<Item>,
  answers: ReadonlyArray<Published>,
  atomic: boolean,
  retry: (items: ReadonlyArray<Item>) => Effect.Effect<ReadonlyArray<Published>, BackendError>
): Effect.Effect<ReadonlyArray<Published>, BackendError> => {
  const wrong = misled(items, answers)
  if (wrong.length === 0) return Effect.succeed(answers)
  if (atomic) return Effect.succeed(answers.map((answer, i) => wrong.includes(i) ? skipped : answer))
  return Effect.map(
    retry(wrong.map((i) => items[i]!)),
    (again) => answers.map((answer, i) => wrong.includes(i) ? again[wrong.indexOf(i)]! : answer)
  )
}

/** items that were refused for the sake of one before them with the same id, which was then refused for its key */
const misled = (items: ReadonlyArray<Item>, answers: ReadonlyArray<Published>): ReadonlyArray<number> => {
  const gone = new Set<string>()
  const wrong: Array<number> = []
  for (let i = 0; i < items.length; i++) {
    const answer = answers[i]!
    const { id } = items[i]!.envelope
    if (answer._tag !== "Duplicate") continue
    if (answer.existing !== id) gone.add(id)
    else if (gone.has(id)) wrong.push(i)
  }
  return wrong
}

const parametersOf = (queue: number, items: ReadonlyArray<Item>, hint: string | null): ReadonlyArray<unknown> => {
  const { length } = items
  const ids = new Array<string>(length)
  const payloads = new Array<string>(length)
  let headers: Array<string | null> | undefined
  let extra: Array<object> | undefined
  for (let i = 0; i < length; i++) {
    const item = items[i]!
    const { envelope } = item
    ids[i] = envelope.id
    payloads[i] = envelope.payload
    const text = headersOf(envelope.headers)
    if (text !== null) (headers ??= new Array<string | null>(length).fill(null))[i] = text
    if (!isPlain(item)) (extra ??= []).push(extraOf(item, i + 1))
  }
  return [
    number(queue),
    texts(ids),
    texts(shared(items, ({ task }) => task)),
    numbers(shared(items, ({ version }) => version)),
    texts(shared(items, ({ origin }) => origin)),
    headers === undefined ? null : texts(headers),
    texts(payloads),
    extra === undefined ? null : JSON.stringify(extra),
    hint
  ]
}

/** what the items have there: one for all of them if it is the same, or one each */
const shared = <A>(items: ReadonlyArray<Item>, of: (envelope: Envelope) => A): ReadonlyArray<A> => {
  if (items.length === 0) return []
  const first = of(items[0]!.envelope)
  return items.every(({ envelope }) => of(envelope) === first) ? [first] : items.map(({ envelope }) => of(envelope))
}

const isPlain = ({ due, group, keepResult, priority, unique }: Item): boolean =>
  due === undefined && group === undefined && keepResult === undefined && unique === undefined &&
  (priority === undefined || priority === 0)

const extraOf = ({ due, group, groupLimit, keepResult, priority, unique }: Item, n: number) => ({
  n,
  due: due?._tag === "At" ? whole(due.time) : undefined,
  after: due?._tag === "After" ? whole(due.millis) : undefined,
  rank: priority === undefined ? undefined : -priority,
  grp: group,
  lim: groupLimit,
  ukey: unique?.key,
  until: unique === undefined ? undefined : typeof unique.until === "object" ? "window" : unique.until,
  lasts: typeof unique?.until === "object" ? whole(unique.until.millis) : undefined,
  keep: keepResult === undefined ? undefined : whole(keepResult)
})

const headersOf = (headers: Readonly<Record<string, string>>): string | null => {
  for (const _ in headers) return JSON.stringify(headers)
  return null
}
