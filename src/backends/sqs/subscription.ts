/**
 * One worker's hold on one queue.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { BackendError, Delivery, Held, Receipt, Settled, Settlement, Subscription } from "../../Backend.ts"
import type { Engine } from "./engine.ts"
import { refusal } from "./errors.ts"
import { Inbox } from "./inbox.ts"
import { entries, seconds, settleRefused } from "./limits.ts"
import { Poll } from "./poll.ts"
import type { Known } from "./queues.ts"
import { Claim, deliveryOf, early, receiveCommand } from "./receive.ts"
import { claimOf, extend, type Items, settle, visibility } from "./settle.ts"

/** a job that goes back as if it had not been received */
const unread: Settlement.Retry = {
  _tag: "Retry",
  why: "released",
  after: 0,
  attempt: "kept",
  place: "front",
  error: undefined
}

/** milliseconds that something received lies here for a claim to take it, at most a quarter of the lease */
const patience = 2_000

class Open {
  readonly engine: Engine
  readonly known: Known
  readonly inbox = new Inbox()
  readonly poll: Poll
  isOpen = true
  /** the last claim found something, so the next asks with several receives */
  private busy = false

  constructor(engine: Engine, known: Known, run: (effect: Effect.Effect<void>) => unknown) {
    this.engine = engine
    this.known = known
    const hold = Math.min(patience, engine.lease * 250)
    this.poll = new Poll(engine, known, {
      receive: (messages) => {
        // SQS answers a long poll as soon as it has something: the leases begin now
        const received = messages.map((message) => new Claim(engine, known, message, performance.now()))
        if (!this.isOpen) return void run(this.giveBack(received))
        run(Effect.map(this.accept(received), (claims) => {
          this.inbox.add(claims)
          setTimeout(() => run(this.giveBack(this.inbox.untaken(claims))), hold).unref()
          this.poll.wake()
        }))
      }
    })
  }

  /** what was received before its time is hidden again: SQS delays no message for longer than a quarter of an hour */
  private accept(claims: ReadonlyArray<Claim>): Effect.Effect<ReadonlyArray<Claim>> {
    const tooEarly = claims.filter((claim) => early(claim) > 0)
    return tooEarly.length === 0 ? Effect.succeed(claims) : Effect.as(
      visibility(this.engine, "take", tooEarly.map((claim) => [claim, seconds(early(claim))])),
      claims.filter((claim) => !tooEarly.includes(claim))
    )
  }

  private receive(max: number): Effect.Effect<ReadonlyArray<Claim>, BackendError> {
    const { engine, known } = this
    return Effect.suspend(() => {
      const askedAt = performance.now()
      return Effect.flatMap(
        engine.calls.call(
          "take",
          known.queue,
          (client, abortSignal) => client.send(receiveCommand(engine, known.url, max, 0), { abortSignal })
        ),
        ({ Messages }) => this.accept((Messages ?? []).map((message) => new Claim(engine, known, message, askedAt)))
      )
    })
  }

  take(asked: number): Effect.Effect<ReadonlyArray<Delivery>, BackendError> {
    return Effect.uninterruptible(Effect.gen({ self: this }, function*() {
      const { engine, inbox } = this
      const max = Math.max(0, Math.min(Math.floor(asked), engine.limits.takeBatch))
      if (max === 0) return []
      const taken = inbox.take(max).slice()
      taken.push(...yield* this.successors(max - taken.length))
      const room = max - taken.length
      if (room > 0) {
        const receives = this.busy ? Math.min(engine.receivers, Math.ceil(room / entries)) : 1
        const sizes = Array.from({ length: receives }, (_, n) => Math.min(entries, room - n * entries))
        const answers = yield* Effect.forEach(sizes, (size) => Effect.result(this.receive(size)), {
          concurrency: "unbounded"
        })
        const failures = answers.filter(Result.isFailure)
        // what one of them brought must not be forgotten because another failed
        if (failures.length === answers.length && taken.length === 0) return yield* failures[0]!.failure
        for (const answer of answers) if (Result.isSuccess(answer)) inbox.add(answer.success)
        taken.push(...inbox.take(room))
      }
      this.busy = taken.length > 0
      return taken.map((claim) => deliveryOf(claim, engine.fifo))
    }))
  }

  /** members of groups whose turn has come, with fresh leases */
  private successors(max: number): Effect.Effect<ReadonlyArray<Claim>> {
    const next = max > 0 ? this.inbox.next(max) : []
    if (next.length === 0) return Effect.succeed(next)
    return Effect.matchEffect(extend(this.engine, next), {
      onSuccess: (held) =>
        Effect.as(
          // who lost its lease was received by others, and those behind it wait for it there
          this.giveBack(next.flatMap((claim, i) => held[i] === "Lost" ? this.inbox.dropped(claim) : [])),
          next.filter((_, i) => held[i] !== "Lost")
        ),
      onFailure: () => Effect.as(this.giveBack(next.flatMap((claim) => [...this.inbox.dropped(claim), claim])), [])
    })
  }

  settle(operation: string, items: Items): Effect.Effect<ReadonlyArray<Settled>, BackendError> {
    return Effect.uninterruptible(Effect.gen({ self: this }, function*() {
      const { inbox } = this
      const back = items.flatMap(([receipt, settlement]) => {
        const claim = claimOf(receipt)
        return claim === undefined || settlement._tag !== "Retry" ? [] : inbox.dropped(claim)
      })
      // before the one that they follow: the group is not handed out while one of it is away
      yield* this.giveBack(back)
      const answers = yield* settle(this.engine, operation, items)
      const left: Array<Claim> = []
      items.forEach(([receipt], i) => {
        const claim = claimOf(receipt)
        if (claim === undefined) return
        if (answers[i] === "Settled") inbox.ended(claim)
        else if (answers[i] === "Lost") left.push(...inbox.dropped(claim))
      })
      yield* this.giveBack(left)
      if (!inbox.isEmpty) this.poll.wake()
      return answers
    }))
  }

  exchange(
    items: Items,
    max: number
  ): Effect.Effect<readonly [ReadonlyArray<Settled>, ReadonlyArray<Delivery>], BackendError> {
    return Effect.uninterruptible(Effect.gen({ self: this }, function*() {
      // what goes back may be claimed by this very call, and what ends may free its group
      const settledFirst = this.engine.fifo || items.some(([, settlement]) => settlement._tag === "Retry")
      const [settled, taken] = yield* Effect.all([
        Effect.result(this.settle("exchange", items)),
        Effect.result(this.take(max))
      ], { concurrency: settledFirst ? 1 : 2 })
      if (Result.isFailure(settled)) {
        if (Result.isSuccess(taken)) this.inbox.restore(taken.success.map(({ receipt }) => claimOf(receipt)!))
        return yield* settled.failure
      }
      if (Result.isSuccess(taken)) return [settled.success, taken.success]
      // what was settled is settled; the next claim meets the failure again
      return items.length === 0 ? yield* taken.failure : [settled.success, []]
    }))
  }

  extend(receipts: ReadonlyArray<Receipt>): Effect.Effect<ReadonlyArray<Held>, BackendError> {
    return Effect.suspend(() => {
      const claims = receipts.map(claimOf)
      const known = claims.filter((claim) => claim !== undefined)
      const behind = known.flatMap((claim) => this.inbox.behind(claim))
      return Effect.flatMap(extend(this.engine, [...known, ...behind]), (held) => {
        const answers = new Map(known.map((claim, i) => [claim, held[i]!]))
        return Effect.as(
          this.giveBack(known.flatMap((claim, i) => held[i] === "Lost" ? this.inbox.dropped(claim) : [])),
          claims.map((claim): Held => claim === undefined ? "Lost" : answers.get(claim)!)
        )
      })
    })
  }

  /** to the queue, as if it had not been received; what cannot be given back comes when its lease ends */
  giveBack(claims: ReadonlyArray<Claim>): Effect.Effect<void> {
    if (claims.length === 0) return Effect.void
    const items = claims.map((claim) => [{ id: claim.stored.envelope.id, fence: claim }, unread] as const)
    return Effect.catch(
      Effect.asVoid(settle(this.engine, "release", items)),
      (error) => Effect.logDebug(`${claims.length} jobs of queue ${this.known.queue} were not given back`, error)
    )
  }

  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    this.isOpen = false
    this.poll.close()
    return this.giveBack(this.inbox.close())
  })
}

export const make = Effect.fnUntraced(
  function*(engine: Engine, queue: string): Effect.fn.Return<Subscription, BackendError, Scope.Scope> {
    const known = yield* engine.queues.declare(queue)
    const run = Effect.runForkWith(yield* Effect.context<never>())
    const open = yield* Effect.acquireRelease(
      Effect.sync(() => new Open(engine, known, run)),
      ({ close }) => close
    )
    const closed = (operation: string) =>
      open.isOpen ? undefined : Effect.fail(refusal(
        engine.calls.name,
        operation,
        `the subscription to queue "${queue}" was given up when its scope ended: subscribe again`
      ))
    const tooMany = (items: Items) => {
      const refused = settleRefused(engine.calls.name, engine.limits, items.length)
      return refused === undefined ? undefined : Effect.fail(refused)
    }
    return {
      lease: { _tag: "Timed", millis: engine.lease * 1000, extend: (receipts) => open.extend(receipts) },
      take: (max) => Effect.suspend(() => closed("take") ?? open.take(max)),
      // also after the scope has ended: a receipt is all that it needs
      settle: (items) => Effect.suspend(() => tooMany(items) ?? open.settle("settle", items)),
      exchange: (items, max) => Effect.suspend(() => closed("exchange") ?? tooMany(items) ?? open.exchange(items, max)),
      await: (max) => Effect.suspend(() => closed("await") ?? (open.inbox.isEmpty ? open.poll.wait(max) : Effect.void)),
      // a long poll follows the other
      pollMillis: undefined,
      aborts: undefined
    }
  }
)
