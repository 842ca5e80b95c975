/**
 * Jobs for later: not before they are due, and woken for when they are.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { Delay } from "../../../Capability.ts"
import { ends, equal, Harness, holds, make, refused } from "../harness.ts"
import { names, receive, settle, stage, succeeded, takeOne } from "../stage.ts"

export const delay = [
  make("delay/after", [], "a delayed job is not claimable before its time, and is after it", ["Delay"], function*() {
    const { advance, slack, unit } = yield* Harness
    const { granularityMillis } = yield* Delay
    const s = yield* stage
    yield* s.publish(["late", { due: { _tag: "After", millis: 4 * unit } }], "now")
    const subscription = yield* s.subscribe("w")
    const now = yield* takeOne(subscription)
    yield* equal(names(s, [now, ...yield* subscription.take(10)]), ["now"], "at once")
    // its lease may be shorter than what an engine of whole seconds takes for the other
    yield* settle(subscription, now, succeeded)
    yield* advance(3 * unit)
    yield* equal(names(s, yield* subscription.take(10)), [], "before its time")
    yield* advance(unit + slack + granularityMillis)
    const delivery = yield* takeOne(subscription, "the delayed job")
    yield* equal(s.name(delivery.envelope.id), "late", "the job")
    if (delivery.enqueuedAt !== undefined && delivery.scheduledFor !== undefined) {
      const actual = delivery.scheduledFor - delivery.enqueuedAt
      yield* holds(
        Math.abs(actual - 4 * unit) <= granularityMillis,
        `scheduledFor is ${actual} ms after enqueuedAt, expected ${4 * unit}`
      )
    }
    yield* holds(delivery.scheduledFor !== undefined, "scheduledFor is not set")
  }),

  make("delay/exact", [], "one millisecond before its time a job is not claimable, at its time it is", [
    "Delay",
    "ExactTime"
  ], function*() {
    const { advance } = yield* Harness
    const { granularityMillis } = yield* Delay
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish(["late", { due: { _tag: "After", millis: 1000 * granularityMillis } }])
    yield* advance(1000 * granularityMillis - 1)
    yield* equal(names(s, yield* subscription.take(10)), [], "before its time")
    yield* advance(1)
    yield* equal(names(s, yield* subscription.take(10)), ["late"], "at its time")
  }),

  make("delay/at", [], "a job may be due at a time", ["Delay"], function*() {
    const { advance, slack, unit } = yield* Harness
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    // the engine's clock is known by what it wrote
    yield* s.publish("probe")
    const probe = yield* takeOne(subscription)
    const now = probe.enqueuedAt
    if (now === undefined) return
    yield* s.publish(["late", { due: { _tag: "At", time: now + 4 * unit } }])
    yield* equal(names(s, yield* subscription.take(10)), [], "at once")
    yield* advance(4 * unit + slack)
    const delivery = yield* takeOne(subscription, "the job that was due")
    yield* equal(delivery.scheduledFor, now + 4 * unit, "scheduledFor")
  }),

  make("delay/past", [], "a time that has passed is now", ["Delay"], function*() {
    const s = yield* stage
    yield* s.publish(["a", { due: { _tag: "At", time: 0 } }], ["b", { due: { _tag: "After", millis: 0 } }])
    const subscription = yield* s.subscribe("w")
    yield* equal(names(s, yield* subscription.take(10)).toSorted(), ["a", "b"], "at once")
  }),

  make("delay/await", [], "who waits is woken when a job falls due", ["Delay"], function*() {
    const { advance, unit } = yield* Harness
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish(["late", { due: { _tag: "After", millis: 3 * unit } }])
    const receiving = yield* Effect.forkChild(receive(subscription), { startImmediately: true })
    yield* advance(2 * unit)
    yield* equal(receiving.pollUnsafe(), undefined, "before its time")
    yield* advance(unit)
    yield* equal(names(s, yield* ends(receiving, "waiting for a job that is due")), ["late"], "what it got")
  }),

  make("delay/await-earlier", [], "who waits for a later job is woken for an earlier one that comes meanwhile", [
    "Delay"
  ], function*() {
    const { advance, unit } = yield* Harness
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish(["later", { due: { _tag: "After", millis: 1000 * unit } }])
    const receiving = yield* Effect.forkChild(receive(subscription), { startImmediately: true })
    yield* advance(unit / 2)
    yield* s.publish(["sooner", { due: { _tag: "After", millis: unit } }])
    yield* advance(unit)
    yield* equal(names(s, yield* ends(receiving, "waiting for a job that is due")), ["sooner"], "what it got")
  }),

  make("delay/limit", [], "a delay at the limit is taken, one above it is refused", ["Delay"], function*() {
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    const { delayMillis } = s.backend.limits
    const longest = Math.min(delayMillis, century)
    yield* s.publish(["at", { due: { _tag: "After", millis: longest } }])
    if (delayMillis < Infinity) {
      const millis = delayMillis + 1000
      yield* refused(
        s.backend.publish(s.queue, [s.item("a"), s.item("b", { due: { _tag: "After", millis } })]),
        `a delay of ${millis} ms where the limit is ${delayMillis}`
      )
    }
    yield* equal(names(s, yield* subscription.take(10)), [], "claimable now")
  })
]

/** milliseconds: where there is no limit, this must be possible */
const century = 100 * 365.25 * 86_400_000
