/**
 * Leases: a delivery stays with an owner that lives, and comes back from one that does not. And what is counted.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { Settlement } from "../../../Backend.ts"
import { advance, ends, equal, Harness, holds, make } from "../harness.ts"
import {
  dead,
  drain,
  expire,
  extend,
  leaseMillis,
  names,
  receive,
  retry,
  settle,
  stage,
  succeeded,
  takeOne
} from "../stage.ts"

export const lease = [
  make("lease/expiry", ["RT-14"], "a job whose lease ran out is handed out again, said to be lost, no attempt spent", [
    "TimedLease",
    "ExactAttempts"
  ], function*() {
    const s = yield* stage
    yield* s.publish("a")
    const one = yield* s.subscribe("one")
    const two = yield* s.subscribe("two")
    const before = yield* takeOne(one)
    yield* advance(leaseMillis(one) / 2)
    yield* equal(names(s, yield* two.take(10)), [], "claimable while the lease lasts")
    yield* expire(one)
    const after = yield* takeOne(two, "the job whose lease ran out")
    yield* equal(after.attempt, 1, "attempt")
    yield* equal(after.unsettled, 1, "unsettled")
    yield* equal(after.lostFrom?.worker, "one", "worker that it was lost from")
    yield* equal(typeof after.lostFrom?.claimedAt, "number", "type of lostFrom.claimedAt")
    yield* equal(after.enqueuedAt, before.enqueuedAt, "enqueuedAt")
    yield* equal(after.envelope, before.envelope, "envelope")
  }),

  make(
    "lease/front",
    ["RT-14"],
    "lost jobs go to the front of the queue, in their order",
    ["TimedLease", "Priority"],
    function*() {
      const s = yield* stage
      yield* s.publish("a", "b", "c", "d")
      const one = yield* s.subscribe("one")
      const two = yield* s.subscribe("two")
      yield* one.take(2)
      yield* expire(one)
      const deliveries = yield* two.take(10)
      yield* equal(names(s, deliveries).toSorted(), ["a", "b", "c", "d"], "jobs")
      yield* equal(names(s, deliveries.slice(0, 2)).toSorted(), ["a", "b"], "the first two")
    }
  ),

  make("lease/exact", [], "a lease ends when it says, not earlier", ["TimedLease", "ExactTime"], function*() {
    const s = yield* stage
    yield* s.publish("a")
    const one = yield* s.subscribe("one")
    const two = yield* s.subscribe("two")
    yield* takeOne(one)
    yield* advance(leaseMillis(one) - 1)
    yield* equal(names(s, yield* two.take(1)), [], "a millisecond before its end")
    yield* advance(1)
    yield* equal(names(s, yield* two.take(1)), ["a"], "at its end")
  }),

  make("lease/extend", [], "an extended lease lasts, counted from then on", ["TimedLease"], function*() {
    const s = yield* stage
    yield* s.publish("a", "b")
    const one = yield* s.subscribe("one")
    const two = yield* s.subscribe("two")
    const [a, b] = yield* drain(one, 2)
    for (let n = 0; n < 6; n++) {
      yield* advance(leaseMillis(one) / 2)
      yield* equal(yield* extend(one, a!), ["Held"], `extend ${n}`)
    }
    yield* equal(names(s, yield* two.take(10)), [s.name(b!.envelope.id)], "handed out: the one that was not extended")
    yield* settle(one, a!, succeeded)
  }),

  make("lease/await", [], "who waits is woken when a lease runs out", ["TimedLease"], function*() {
    const s = yield* stage
    yield* s.publish("a")
    const one = yield* s.subscribe("one")
    const two = yield* s.subscribe("two")
    yield* takeOne(one)
    const receiving = yield* Effect.forkChild(receive(two), { startImmediately: true })
    yield* advance(leaseMillis(one) / 2)
    yield* equal(receiving.pollUnsafe(), undefined, "while the lease lasts")
    yield* expire(one)
    yield* equal(names(s, yield* ends(receiving, "waiting for a lease to run out")), ["a"], "what it got")
  }),

  make("lease/scope", ["L16"], "a subscription that ends leaves its deliveries leased, until their lease ends", [
    "TimedLease"
  ], function*() {
    const s = yield* stage
    yield* s.publish("a")
    const two = yield* s.subscribe("two")
    const one = yield* Effect.scoped(Effect.tap(s.subscribe("one"), (one) => takeOne(one)))
    yield* equal(names(s, yield* two.take(10)), [], "at once")
    yield* expire(one)
    yield* equal(names(s, yield* two.take(10)), ["a"], "when the lease has ended")
  }),

  make(
    "lease/retried-meanwhile",
    ["L16"],
    "the end of an old lease does not touch a newer hand-out",
    ["TimedLease"],
    function*() {
      const s = yield* stage
      yield* s.publish("a")
      const one = yield* s.subscribe("one")
      const two = yield* s.subscribe("two")
      const half = leaseMillis(one) / 2
      yield* settle(one, yield* takeOne(one), retry())
      yield* advance(half)
      const again = yield* takeOne(one)
      yield* advance(half + half / 2)
      yield* equal(names(s, yield* two.take(10)), [], "claimable while the second lease lasts")
      yield* settle(one, again, succeeded)
    }
  ),

  make(
    "lease/unsettled",
    ["L13"],
    "deliveries that end without settlement are counted, any settlement resets the count",
    [
      "TimedLease",
      "ExactAttempts"
    ],
    function*() {
      const { exact } = yield* Harness
      // every loss takes a lease: where time is real, fewer of them
      const losses = exact ? 3 : 2
      const s = yield* stage
      const subscription = yield* s.subscribe("w")
      yield* s.publish("a")
      const settlements: ReadonlyArray<Settlement> = [
        retry(),
        retry({ why: "snoozed", attempt: "kept" }),
        retry({ why: "released", attempt: "kept", place: "front" }),
        retry({ why: "interrupted", attempt: "kept", place: "front" })
      ]
      let spent = 0
      for (const settlement of exact ? settlements : settlements.slice(0, 2)) {
        for (let lost = 0; lost < losses; lost++) {
          const delivery = yield* takeOne(subscription)
          yield* equal(delivery.unsettled, lost, "unsettled")
          yield* equal(delivery.lostFrom?.worker, lost === 0 ? undefined : "w", "worker that it was lost from")
          yield* equal(delivery.attempt, 1 + spent, "attempt")
          yield* expire(subscription)
        }
        const delivery = yield* takeOne(subscription)
        yield* equal(delivery.unsettled, losses, "unsettled")
        yield* settle(subscription, delivery, settlement)
        if (settlement._tag === "Retry" && settlement.attempt === "spent") spent++
      }
      const last = yield* takeOne(subscription)
      yield* equal(last.unsettled, 0, "unsettled after a settlement")
      yield* equal(last.lostFrom, undefined, "lostFrom after a settlement")
    }
  ),

  make(
    "lease/unbegun",
    ["L13"],
    "one that goes back unbegun is as if it had never been claimed: what is known of lost owners stays",
    ["TimedLease", "ExactAttempts"],
    function*() {
      const s = yield* stage
      const subscription = yield* s.subscribe("w")
      yield* s.publish("a")
      const unbegun = retry({ why: "released", attempt: "kept", place: "front", unbegun: true })
      yield* settle(subscription, yield* takeOne(subscription), unbegun)
      const never = yield* takeOne(subscription)
      yield* equal([never.unsettled, never.lostFrom], [0, undefined], "losses of one that was never lost")
      yield* expire(subscription)
      let claimedAt: number | undefined
      for (let times = 0; times < 3; times++) {
        const delivery = yield* takeOne(subscription)
        yield* equal(delivery.unsettled, 1, "unsettled")
        claimedAt ??= delivery.lostFrom?.claimedAt
        yield* equal(typeof claimedAt, "number", "type of lostFrom.claimedAt")
        yield* equal(delivery.lostFrom, { worker: "w", claimedAt }, "whom it was lost from, and since when he had it")
        yield* equal(delivery.attempt, 1, "attempt")
        yield* settle(subscription, delivery, times < 2 ? unbegun : retry({ why: "snoozed", attempt: "kept" }))
      }
      const last = yield* takeOne(subscription)
      yield* equal([last.unsettled, last.lostFrom], [0, undefined], "losses after another settlement")
    }
  ),

  make("attempt/count", ["PROC-21"], "a retry that spends the attempt counts, one that keeps it does not", [
    "ExactAttempts"
  ], function*() {
    const s = yield* stage
    yield* s.publish("a")
    const subscription = yield* s.subscribe("w")
    let attempt = 1
    for (const why of ["failed", "snoozed", "interrupted", "released", "lost", "unknown"] as const) {
      for (const spend of ["spent", "kept"] as const) {
        for (const place of ["front", "back"] as const) {
          const delivery = yield* takeOne(subscription)
          yield* equal(delivery.attempt, attempt, `attempt before ${why}, ${spend}, ${place}`)
          yield* settle(subscription, delivery, retry({ why, attempt: spend, place }))
          if (spend === "spent") attempt++
        }
      }
    }
    yield* equal((yield* takeOne(subscription)).attempt, attempt, "attempt at last")
  }),

  make(
    "attempt/first-failed",
    [],
    "the time of the first failure is kept over all retries",
    ["ExactAttempts"],
    function*() {
      const { unit } = yield* Harness
      const s = yield* stage
      yield* s.publish("a")
      const subscription = yield* s.subscribe("w")
      const first = yield* takeOne(subscription)
      yield* settle(subscription, first, retry({ why: "snoozed", attempt: "kept" }))
      const second = yield* takeOne(subscription)
      yield* equal(second.firstFailedAt, undefined, "firstFailedAt of a job that was only snoozed")
      yield* advance(unit)
      yield* settle(subscription, second, retry())
      const third = yield* takeOne(subscription)
      const at = third.firstFailedAt
      yield* equal(typeof at, "number", "type of firstFailedAt after a failure")
      if (third.enqueuedAt !== undefined) {
        const after = at! - third.enqueuedAt
        yield* holds(after >= unit, `firstFailedAt is ${after} ms after the enqueue, expected ${unit} or more`)
      }
      yield* advance(unit)
      yield* settle(subscription, third, retry())
      const fourth = yield* takeOne(subscription)
      yield* equal(fourth.firstFailedAt, at, "firstFailedAt after a second failure")
      yield* settle(subscription, fourth, retry({ why: "released", attempt: "kept", place: "front" }))
      yield* equal((yield* takeOne(subscription)).firstFailedAt, at, "firstFailedAt after a release")
    }
  ),

  make(
    "attempt/dead-after",
    [],
    "a job that died is not handed out when the lease of its last delivery would have ended",
    [
      "TimedLease"
    ],
    function*() {
      const s = yield* stage
      yield* s.publish("a", "b")
      const subscription = yield* s.subscribe("w")
      const [a, b] = yield* drain(subscription, 2)
      yield* subscription.settle([[a!.receipt, dead("failed")], [b!.receipt, succeeded]])
      yield* expire(subscription)
      yield* equal(names(s, yield* subscription.take(10)), [], "claimable")
    }
  )
]
