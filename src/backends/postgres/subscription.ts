/**
 * One worker's hold on one queue.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import type { BackendError, Delivery, Held, Receipt, Subscription } from "../../Backend.ts"
import { abortsOf } from "./aborts.ts"
import type { Items } from "./batch.ts"
import type { Engine } from "./engine.ts"
import { refusal } from "./errors.ts"
import { type Answer, type Claim, type Claimant, noClaim } from "./exchange.ts"
import { Floors } from "./floors.ts"
import { settleRefused } from "./limits.ts"
import { number, numbers } from "./params.ts"
import { type Fence, fenceOf } from "./receipts.ts"
import { Together } from "./together.ts"
import { topicOf } from "./wake.ts"

/** milliseconds between two looks at what is due, and at what was lost (a part of the lease, and no longer than that) */
const dueEvery = 5
const lostEvery = { fraction: 20, longest: 1_000 }

/** milliseconds that one who ends when nothing is left looks again for what another transaction holds, if it holds it so long */
const patience = 1_000

const none: ReadonlySet<string> = new Set()
const nowhere: ReadonlyMap<number, number> = new Map()

/** who may wait for what was settled: workers of this queue, callers of `execute`, workers of other queues */
interface Topics {
  readonly work: boolean
  readonly results: boolean
  readonly elsewhere: ReadonlySet<string>
}

/** what a subscription remembers between two claims */
class Looking {
  readonly floors = new Floors()
  readonly together = new Together()
  private dueLooked = -Infinity
  private lostLooked = -Infinity
  /** when the next scheduled job is due */
  dueAt = Infinity
  /** there may be more than the last claim took, or nothing was claimed yet */
  more = true
  /** signals that were heard before the last claim */
  heard = -1
  late = -1
  private readonly lost: number

  constructor(lease: number) {
    this.lost = Math.min(lease / lostEvery.fraction, lostEvery.longest)
  }

  sweep(now: number): number {
    const lost = now - this.lostLooked >= this.lost
    const due = lost || now - this.dueLooked >= dueEvery || now >= this.dueAt
    if (due) this.dueLooked = now
    if (lost) this.lostLooked = now
    return lost ? 2 : due ? 1 : 0
  }

  found(answer: Answer, max: number, now: number): void {
    this.more = answer.deliveries.length >= max || answer.more
    this.dueAt = answer.due === undefined ? Infinity : now + answer.due
  }
}

export const make = Effect.fnUntraced(
  function*(
    engine: Engine,
    name: string,
    worker: string,
    thorough: boolean
  ): Effect.fn.Return<Subscription, BackendError, Scope.Scope> {
    const { apart, calls, exchange, hints, lease, limits, pace, wake } = engine
    const queue = yield* engine.queues.number(name)
    const session = yield* sessionOf(engine, worker)
    const by: Claimant = { queue, name, session, worker, lease }
    const aborts = yield* abortsOf(engine, session)
    const topic = topicOf.queue(queue)
    // ends that are kept are written job by job
    const forgets = engine.retention.successes <= 0
    const looking = new Looking(lease)
    const extendSql = calls.sql("SELECT * FROM {extend}($1::int8, $2::text, $3::int8, $4::int8[], $5::int8[])")
    let open = true
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        open = false
      })
    )
    const closed = (operation: string) =>
      open ? undefined : refusal(
        calls.name,
        operation,
        `the subscription to queue "${name}" was given up when its scope ended: subscribe again`
      )

    const call = (operation: string, items: Items, asked: number): Effect.Effect<Answer, BackendError> =>
      thorough
        ? Effect.flatMap(once(operation, items, asked), (answer) =>
          lookAgain(answer, asked, performance.now() + patience))
        : once(operation, items, asked)

    /** who ends when nothing is left is told so by a claim that looked everywhere and left nothing to another one */
    const lookAgain = (answer: Answer, asked: number, until: number): Effect.Effect<Answer, BackendError> => {
      if (asked < 1 || answer.deliveries.length > 0) return Effect.succeed(answer)
      const again = Effect.suspend(() =>
        Effect.flatMap(once("take", [], asked), (next) => lookAgain({ ...next, settled: answer.settled }, asked, until))
      )
      if (looking.floors.leftOut) {
        looking.floors.everywhereNext()
        return again
      }
      if (answer.unseen) return again
      return answer.more && performance.now() < until
        ? Effect.andThen(Effect.sleep(dueEvery), again)
        : Effect.succeed(answer)
    }

    const once = (operation: string, items: Items, asked: number): Effect.Effect<Answer, BackendError> =>
      Effect.suspend(() => {
        const max = Math.min(Math.floor(asked), limits.takeBatch)
        const late = wake.count(topicOf.late(queue))
        if (late !== looking.late) looking.floors.expect()
        looking.late = late
        const from = performance.now()
        looking.together.settling(items)
        const claim: Claim = max < 1 ? noClaim : {
          max,
          together: forgets && apart.allows && looking.together.holds,
          floors: looking.floors.next(from),
          sweep: looking.sweep(from)
        }
        if (claim.max > 0) looking.heard = wake.count(topic)
        const topics = topicsOf(items)
        const call = exchange.run(operation, items, by, claim, hintOf(topics, claim))
        return Effect.map(claim.together ? apart.claims(call) : call, (answer) => {
          const now = performance.now()
          if (claim.max > 0) {
            looking.found(answer, max, now)
            looking.together.claimed(answer.deliveries)
            // what was left to another claim stands below what this one took, and the next is to find it
            const last = answer.more ? nowhere : answer.last
            looking.floors.claimed(claim.floors, last, answer.deliveries.length < max, from, now)
            // nobody will be woken for them again
            if (looking.floors.pending) looking.more = true
            if (answer.deliveries.length > 0) pace.happened()
          }
          tell(topics, claim)
          return answer
        })
      })

    /** what others may wait for: a job that goes back, the next of a group, a result */
    const topicsOf = (items: Items): Topics => {
      let work = false
      let results = false
      let elsewhere: Set<string> | undefined
      for (const [receipt, settlement] of items) {
        if (settlement._tag === "Retry") {
          work = true
          const to = settlement.to?.queue === undefined ? undefined : engine.queues.met(settlement.to.queue)
          if (to !== undefined && to !== queue) (elsewhere ??= new Set()).add(topicOf.queue(to))
        } else if (fenceOf(receipt)?.plain !== true) work = results = true
      }
      return { work, results, elsewhere: elsewhere ?? none }
    }
    const hintOf = ({ elsewhere, results, work }: Topics, claim: Claim): string | null => {
      // an exchange takes up the work itself
      const topics = [
        work && claim.max === 0 ? hints.now(topic) : null,
        results ? hints.now(topicOf.results) : null,
        ...Array.from(elsewhere, (other) => hints.now(other))
      ]
      return topics.filter((topic) => topic !== null).join() || null
    }
    const tell = ({ elsewhere, results, work }: Topics, claim: Claim) => {
      if (results) wake.signal(topicOf.results)
      for (const other of elsewhere) wake.signal(other)
      if (!work) return
      // a claim of the same call saw what was settled: only others are to look
      const saw = claim.max > 0 && looking.heard === wake.count(topic)
      wake.signal(topic)
      if (saw) looking.heard = wake.count(topic)
    }

    const rest: Effect.Effect<void> = Effect.suspend(() => {
      if (looking.more || looking.heard !== wake.count(topic)) return Effect.void
      const latch = Latch.makeUnsafe(false)
      const leave = wake.on(topic, () => void latch.openUnsafe())
      const pause = Math.min(pace.pause(), Math.max(0, looking.dueAt - performance.now()))
      return Effect.ensuring(Effect.raceFirst(latch.await, Effect.sleep(pause)), Effect.sync(leave))
    })

    return {
      lease: {
        _tag: "Timed",
        millis: lease,
        extend: (receipts) => extend(engine, extendSql, by, receipts)
      },
      take: (max) => refuse(closed("take")) ?? Effect.map(call("take", [], max), ({ deliveries }) => deliveries),
      // also after the scope has ended: a receipt is all that it needs
      settle: (items) =>
        refuse(settleRefused(calls.name, limits, items.length)) ??
          Effect.map(call("settle", items, 0), ({ settled }) => settled),
      exchange: (items, max) =>
        refuse(closed("exchange") ?? settleRefused(calls.name, limits, items.length)) ??
          Effect.map(
            call("exchange", items, max),
            ({ deliveries, settled }) => [settled, deliveries] as readonly [typeof settled, ReadonlyArray<Delivery>]
          ),
      // one connection is left to heartbeats
      exchanges: calls.connections - 1,
      claimAhead: true,
      // the poll is inside `await`
      pollMillis: undefined,
      await: () => refuse(closed("await")) ?? rest,
      aborts
    }
  }
)

const refuse = (error: BackendError | undefined): Effect.Effect<never, BackendError> | undefined =>
  error === undefined ? undefined : Effect.fail(error)

/** the row that heartbeats renew; it goes with the subscription unless deliveries are left, which others find by it */
const sessionOf = ({ apart, calls, lease }: Engine, worker: string) =>
  Effect.acquireRelease(
    Effect.tap(
      calls.one<number>(
        "subscribe",
        calls.sql(
          "INSERT INTO {session} (expires, millis, seen, worker) VALUES (0, $1::int8, {now}(), $2::text) RETURNING id::float8"
        ),
        [number(lease), worker]
      ),
      (session) => Effect.sync(() => apart.opened(session))
    ),
    (session) =>
      Effect.ignore(Effect.map(
        calls.run(
          "unsubscribe",
          calls.sql(
            "DELETE FROM {session} WHERE id = $1::int8 AND NOT EXISTS (SELECT FROM {active} WHERE session = $1::int8) " +
              "AND NOT EXISTS (SELECT FROM {claim} WHERE session = $1::int8) RETURNING true"
          ),
          [number(session)]
        ),
        (gone) => gone.length > 0 ? apart.closed(session) : undefined
      ))
  )

const extend = (
  { calls, committed }: Engine,
  sql: string,
  by: Claimant,
  receipts: ReadonlyArray<Receipt>
): Effect.Effect<ReadonlyArray<Held>, BackendError> =>
  Effect.suspend(() => {
    if (receipts.length === 0) return Effect.succeed([])
    const fences = receipts.map(fenceOf)
    const known = fences.filter((fence) => fence !== undefined)
    return Effect.map(
      calls.loosely("extend", sql, [
        number(by.session),
        by.worker,
        number(by.lease),
        numbers(known.map(({ num }) => num)),
        numbers(known.map(({ token }) => token))
      ]),
      (rows) => {
        const held = new Map(rows.map(([num, token, abort]) => [`${num as number}:${token as number}`, abort === true]))
        return fences.map((fence) => stateOf(fence, held, (one) => committed.has(one)))
      }
    )
  })

const stateOf = (fence: Fence | undefined, held: Map<string, boolean>, isDone: (fence: Fence) => boolean): Held => {
  const abort = fence === undefined ? undefined : held.get(`${fence.num}:${fence.token}`)
  if (abort !== undefined) return abort ? "Abort" : "Held"
  // it was completed in its handler's transaction, and nobody else has it
  return fence !== undefined && isDone(fence) ? "Held" : "Lost"
}
