/**
 * Taking a job back (PROC-25, the backend's half).
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Cancel, Results } from "../../../Capability.ts"
import { ends, equal, Harness, make } from "../harness.ts"
import { dead, drain, expire, extend, names, retry, settle, stage, succeeded, takeOne } from "../stage.ts"

export const cancel = [
  make("cancel/waiting", ["PROC-25"], "a waiting job is ended at once and never handed out", ["Cancel"], function*() {
    const cancel = yield* Cancel
    const s = yield* stage
    yield* s.publish("a", "b", "c")
    yield* equal(yield* cancel.request(s.id("b")), "Cancelled", "answer")
    const subscription = yield* s.subscribe("w")
    yield* equal(names(s, yield* drain(subscription, 2)).toSorted(), ["a", "c"], "handed out")
    yield* equal(names(s, yield* subscription.take(10)), [], "left")
  }),

  make(
    "cancel/scheduled",
    ["PROC-25"],
    "a scheduled job too, and one that waits for its retry",
    ["Cancel", "Delay"],
    function*() {
      const { advance, slack, unit } = yield* Harness
      const cancel = yield* Cancel
      const s = yield* stage
      yield* s.publish(["late", { due: { _tag: "After", millis: unit } }], "retried")
      const subscription = yield* s.subscribe("w")
      yield* settle(subscription, yield* takeOne(subscription), retry({ after: unit }))
      yield* equal(yield* cancel.request(s.id("late")), "Cancelled", "answer for the scheduled one")
      yield* equal(yield* cancel.request(s.id("retried")), "Cancelled", "answer for the retried one")
      yield* advance(2 * unit + slack)
      yield* equal(names(s, yield* subscription.take(10)), [], "handed out")
    }
  ),

  make("cancel/unknown", [], "an unknown job is not found", ["Cancel"], function*() {
    const cancel = yield* Cancel
    const s = yield* stage
    yield* equal(yield* cancel.request(s.id("nobody")), "NotFound", "answer")
  }),

  make("cancel/ended", ["PROC-25"], "a job that has ended stays as it ended", ["Cancel", "Results"], function*() {
    const { unit } = yield* Harness
    const cancel = yield* Cancel
    const results = yield* Results
    const s = yield* stage
    const keepResult = 1000 * unit
    yield* s.publish(["a", { keepResult }], ["b", { keepResult }], ["c", { keepResult }])
    const subscription = yield* s.subscribe("w")
    const [a, b] = yield* drain(subscription, 2)
    yield* settle(subscription, a!, succeeded)
    yield* settle(subscription, b!, dead("failed"))
    yield* cancel.request(s.id("c"))
    for (const [delivery, state] of [[a!, "succeeded"], [b!, "dead"]] as const) {
      yield* equal(yield* cancel.request(delivery.envelope.id), "TooLate", `answer for a job that ${state}`)
      const result = yield* results.poll(delivery.envelope.id)
      yield* equal(result._tag === "Some" ? result.value.state : undefined, state, "its result")
    }
    yield* equal(yield* cancel.request(s.id("c")), "TooLate", "answer for a job that was cancelled")
    yield* equal(names(s, yield* subscription.take(10)), [], "handed out")
  }),

  make("cancel/running", ["PROC-25"], "a running job is asked to stop, and its owner learns it when it extends", [
    "Cancel",
    "TimedLease"
  ], function*() {
    const cancel = yield* Cancel
    const s = yield* stage
    yield* s.publish("a", "b")
    const subscription = yield* s.subscribe("w")
    const [a, b] = yield* drain(subscription, 2)
    yield* equal(yield* extend(subscription, a!, b!), ["Held", "Held"], "before")
    yield* equal(yield* cancel.request(a!.envelope.id), "Requested", "answer")
    yield* equal(yield* cancel.request(a!.envelope.id), "Requested", "answer to a second request")
    yield* equal(yield* extend(subscription, a!, b!), ["Abort", "Held"], "after")
    yield* equal(yield* extend(subscription, a!), ["Abort"], "later")
    yield* settle(subscription, b!, retry())
    yield* equal((yield* takeOne(subscription)).abortRequested, false, "abortRequested of the other one")
  }),

  make("cancel/never-retried", ["PROC-25"], "a retry of a job that was asked to stop completes it as aborted", [
    "Cancel"
  ], function*() {
    const cancel = yield* Cancel
    const { advance, slack, unit } = yield* Harness
    const s = yield* stage
    yield* s.publish("a", "b", "c")
    const subscription = yield* s.subscribe("w")
    const deliveries = yield* drain(subscription, 3)
    for (const { envelope } of deliveries) yield* cancel.request(envelope.id)
    yield* equal(
      yield* subscription.settle([
        [deliveries[0]!.receipt, retry()],
        [deliveries[1]!.receipt, retry({ why: "snoozed", attempt: "kept", after: unit })],
        [deliveries[2]!.receipt, retry({ why: "interrupted", attempt: "kept", place: "front" })]
      ]),
      ["Aborted", "Aborted", "Aborted"],
      "answers"
    )
    yield* advance(unit + slack)
    yield* equal(names(s, yield* subscription.take(10)), [], "handed out again")
  }),

  make(
    "cancel/came-too-late",
    ["PROC-25", "L17"],
    "a job that ends by itself after it was asked to stop has ended so",
    [
      "Cancel",
      "Results"
    ],
    function*() {
      const { unit } = yield* Harness
      const cancel = yield* Cancel
      const results = yield* Results
      const s = yield* stage
      const keepResult = 1000 * unit
      yield* s.publish(["a", { keepResult }], ["b", { keepResult }], ["c", { keepResult }])
      const subscription = yield* s.subscribe("w")
      const deliveries = yield* drain(subscription, 3)
      for (const { envelope } of deliveries) yield* cancel.request(envelope.id)
      yield* equal(
        yield* subscription.settle([
          [deliveries[0]!.receipt, succeeded],
          [deliveries[1]!.receipt, dead("failed")],
          [deliveries[2]!.receipt, retry()]
        ]),
        ["Settled", "Settled", "Aborted"],
        "answers"
      )
      const states = yield* Effect.forEach(
        deliveries,
        ({ envelope }) =>
          Effect.map(results.poll(envelope.id), (result) => result._tag === "Some" ? result.value.state : undefined)
      )
      yield* equal(states, ["succeeded", "dead", "aborted"], "results")
    }
  ),

  make("cancel/lost", ["PROC-25"], "the request survives the loss of the owner", ["Cancel", "TimedLease"], function*() {
    const cancel = yield* Cancel
    const s = yield* stage
    yield* s.publish("a")
    const one = yield* s.subscribe("one")
    const two = yield* s.subscribe("two")
    const before = yield* takeOne(one)
    yield* equal(before.abortRequested, false, "abortRequested of the first delivery")
    yield* cancel.request(s.id("a"))
    yield* expire(one)
    const after = yield* takeOne(two)
    yield* equal(after.abortRequested, true, "abortRequested of the next delivery")
    yield* equal(yield* two.settle([[after.receipt, retry()]]), ["Aborted"], "answer to its retry")
  }),

  make(
    "cancel/hint",
    ["PROC-25"],
    "the stream of aborts, where there is one, names the running job soon",
    ["Cancel"],
    function*() {
      const cancel = yield* Cancel
      const s = yield* stage
      yield* s.publish("a", "b")
      const subscription = yield* s.subscribe("w")
      const { aborts } = subscription
      if (aborts === undefined) return
      const heard = yield* Effect.forkChild(Stream.runCollect(Stream.take(aborts, 1)), { startImmediately: true })
      yield* drain(subscription, 2)
      yield* cancel.request(s.id("b"))
      yield* equal(yield* ends(heard, "the stream of aborts"), [s.id("b")], "what it said")
    }
  ),

  make("cancel/result", ["PROC-25"], "who waits for the result of a job learns that it was aborted", [
    "Cancel",
    "Results"
  ], function*() {
    const { unit } = yield* Harness
    const cancel = yield* Cancel
    const results = yield* Results
    const s = yield* stage
    yield* s.publish(["a", { keepResult: 1000 * unit }])
    const waiting = yield* Effect.forkChild(results.await(s.id("a")), { startImmediately: true })
    yield* cancel.request(s.id("a"))
    yield* equal((yield* ends(waiting, "waiting for the result")).state, "aborted", "what it got")
  })
]
