/**
 * Jobs of one group run one at a time, in order.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { Settlement } from "../../../Backend.ts"
import { Cancel, Inspect } from "../../../Capability.ts"
import { ends, equal, Harness, holds, make } from "../harness.ts"
import { dead, drain, expire, names, receive, retry, settle, stage, succeeded, takeOne } from "../stage.ts"

const group = "g"

export const groups = [
  make("groups/one-at-a-time", ["PROC-40"], "one of the group at a time, by priority, then by age; no pre-emption", [
    "Groups",
    "Priority"
  ], function*() {
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish(["low", { group, priority: -1 }])
    const low = yield* takeOne(subscription)
    yield* s.publish(["first", { group }], ["second", { group }], ["high", { group, priority: 3 }])
    yield* equal(names(s, yield* subscription.take(10)), [], "while the low one runs")
    yield* settle(subscription, low, succeeded)
    const order: Array<string> = []
    for (let n = 0; n < 3; n++) {
      const deliveries = yield* subscription.take(10)
      yield* equal(deliveries.length, 1, "handed out at a time")
      order.push(...names(s, deliveries))
      yield* equal(deliveries[0]!.group, group, "group of the delivery")
      yield* settle(subscription, deliveries[0]!, succeeded)
    }
    yield* equal(order, ["high", "first", "second"], "order")
  }),

  make(
    "groups/one-claim",
    ["PROC-40"],
    "a single claim takes one of each group, and all that have none",
    ["Groups"],
    function*() {
      const s = yield* stage
      const subscription = yield* s.subscribe("w")
      yield* s.publish(
        ["a1", { group: "a" }],
        ["a2", { group: "a" }],
        "x",
        ["b1", { group: "b" }],
        ["b2", { group: "b" }],
        "y"
      )
      const deliveries = yield* subscription.take(10)
      yield* equal(names(s, deliveries).toSorted(), ["a1", "b1", "x", "y"], "handed out")
      const [answers, next] = yield* subscription.exchange(
        deliveries.map(({ receipt }) => [receipt, succeeded] as const),
        10
      )
      yield* equal(answers.length, 4, "answers")
      yield* equal(names(s, next).toSorted(), ["a2", "b2"], "what the exchange takes")
    }
  ),

  make("groups/scheduled-head", ["PROC-41"], "a head that is due later holds the rest of its group and nobody else", [
    "Groups",
    "Delay"
  ], function*() {
    const { advance, slack, unit } = yield* Harness
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish(
      ["head", { group, due: { _tag: "After", millis: 2 * unit } }],
      ["next", { group }],
      ["last", { group }],
      ["other", { group: "other" }],
      "none"
    )
    const deliveries = yield* subscription.take(10)
    yield* equal(names(s, deliveries).toSorted(), ["none", "other"], "before the head is due")
    yield* advance(2 * unit + slack)
    for (const expected of ["head", "next", "last"]) {
      const [delivery, ...more] = yield* subscription.take(10)
      yield* holds(delivery !== undefined && more.length === 0, `one delivery was expected: ${expected}`)
      yield* equal(s.name(delivery!.envelope.id), expected, "next of the group")
      yield* settle(subscription, delivery!, succeeded)
    }
  }),

  make(
    "groups/scheduled-behind",
    ["PROC-41"],
    "a member that is due later holds nobody before it, and those after it",
    [
      "Groups",
      "Delay"
    ],
    function*() {
      const { advance, slack, unit } = yield* Harness
      const s = yield* stage
      const subscription = yield* s.subscribe("w")
      yield* s.publish(
        ["a", { group }],
        ["b", { group, due: { _tag: "After", millis: 2 * unit } }],
        ["c", { group }]
      )
      yield* settle(subscription, yield* takeOne(subscription), succeeded)
      yield* equal(names(s, yield* subscription.take(10)), [], "until the second is due")
      yield* advance(2 * unit + slack)
      const [b] = yield* drain(subscription, 1)
      yield* equal(s.name(b!.envelope.id), "b", "when it is due")
      yield* settle(subscription, b!, succeeded)
      yield* equal(names(s, yield* subscription.take(10)), ["c"], "then")
    }
  ),

  make(
    "groups/retry-keeps-place",
    [],
    "a member that is retried stays the head of its group, also while it is delayed",
    [
      "Groups"
    ],
    function*() {
      const { advance, slack, unit } = yield* Harness
      const s = yield* stage
      const subscription = yield* s.subscribe("w")
      yield* s.publish(["a", { group }], ["b", { group }])
      yield* settle(subscription, yield* takeOne(subscription), retry({ place: "back" }))
      const again = yield* takeOne(subscription)
      yield* equal(s.name(again.envelope.id), "a", "after a retry that goes to the back")
      yield* settle(subscription, again, retry({ after: 2 * unit }))
      yield* equal(names(s, yield* subscription.take(10)), [], "while the retry is delayed")
      yield* advance(2 * unit + slack)
      const [third] = yield* drain(subscription, 1)
      yield* equal(s.name(third!.envelope.id), "a", "when the retry is due")
      yield* settle(subscription, third!, retry({ why: "interrupted", attempt: "kept", place: "front" }))
      const [fourth] = yield* drain(subscription, 1)
      yield* equal(s.name(fourth!.envelope.id), "a", "after a retry that goes to the front")
      yield* settle(subscription, fourth!, succeeded)
      yield* equal(names(s, yield* subscription.take(10)), ["b"], "when it has ended")
    }
  ),

  ...([
    ["succeeded", succeeded],
    ["discarded", { ...succeeded, how: "discarded" }],
    ["aborted", { ...succeeded, how: "aborted" }],
    ["dead", dead("failed")]
  ] as ReadonlyArray<readonly [string, Settlement]>).map(([how, settlement]) =>
    make(`groups/freed-${how}`, [], `the next of the group goes when the one before it has ended as ${how}`, [
      "Groups"
    ], function*() {
      const s = yield* stage
      const subscription = yield* s.subscribe("w")
      yield* s.publish(["a", { group }], ["b", { group }])
      yield* settle(subscription, yield* takeOne(subscription), settlement)
      yield* equal(names(s, yield* subscription.take(10)), ["b"], "what goes next")
    })
  ),

  make("groups/cancelled-head", ["PROC-25", "PROC-41"], "a cancelled head lets the next go, and an aborted one too", [
    "Groups",
    "Cancel",
    "Delay"
  ], function*() {
    const { unit } = yield* Harness
    const cancel = yield* Cancel
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish(
      ["head", { group, due: { _tag: "After", millis: 1000 * unit } }],
      ["b", { group }],
      ["c", { group }]
    )
    yield* equal(names(s, yield* subscription.take(10)), [], "behind the head")
    const receiving = yield* Effect.forkChild(receive(subscription), { startImmediately: true })
    yield* equal(yield* cancel.request(s.id("head")), "Cancelled", "cancel of the head")
    const [b] = yield* ends(receiving, "waiting for the group")
    yield* equal(s.name(b!.envelope.id), "b", "after the head was cancelled")
    yield* cancel.request(s.id("b"))
    yield* equal(yield* subscription.settle([[b!.receipt, retry({ after: unit })]]), ["Aborted"], "retry")
    yield* equal(names(s, yield* subscription.take(10)), ["c"], "after the second was aborted")
  }),

  make("groups/lost", ["RT-14"], "a member that was lost is handed out again before the others of its group", [
    "Groups",
    "TimedLease"
  ], function*() {
    const s = yield* stage
    const one = yield* s.subscribe("one")
    const two = yield* s.subscribe("two")
    yield* s.publish(["a", { group }], ["b", { group }])
    yield* takeOne(one)
    yield* equal(names(s, yield* two.take(10)), [], "while the lease lasts")
    yield* expire(one)
    const [a, ...more] = yield* two.take(10)
    yield* equal(names(s, [a!]), ["a"], "when it has run out")
    yield* equal(more.length, 0, "others at the same time")
    yield* settle(two, a!, succeeded)
    yield* equal(names(s, yield* two.take(10)), ["b"], "then")
  }),

  make("groups/await", [], "who waits is woken when a group becomes free", ["Groups"], function*() {
    const s = yield* stage
    const one = yield* s.subscribe("one")
    const two = yield* s.subscribe("two")
    yield* s.publish(["a", { group }], ["b", { group }])
    const a = yield* takeOne(one)
    const receiving = yield* Effect.forkChild(receive(two), { startImmediately: true })
    yield* Effect.yieldNow
    yield* equal(receiving.pollUnsafe(), undefined, "while the group is taken")
    yield* settle(one, a, succeeded)
    yield* equal(names(s, yield* ends(receiving, "waiting for the group")), ["b"], "what it got")
  }),

  make("groups/state", ["PROC-41"], "who waits for its group is blocked", ["Groups", "Inspect", "Delay"], function*() {
    const { unit } = yield* Harness
    const inspect = yield* Inspect
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    const state = (name: string) =>
      Effect.map(inspect.get(s.id(name)), (record) => record._tag === "Some" ? record.value.state : undefined)
    yield* s.publish(["a", { group }], ["b", { group }], ["c", { group: "h", due: { _tag: "After", millis: unit } }], [
      "d",
      { group: "h" }
    ])
    yield* equal([yield* state("a"), yield* state("b")], ["ready", "blocked"], "before the claim")
    yield* equal([yield* state("c"), yield* state("d")], ["scheduled", "blocked"], "behind one that is due later")
    const a = yield* takeOne(subscription)
    yield* equal([yield* state("a"), yield* state("b")], ["active", "blocked"], "while the first runs")
    yield* settle(subscription, a, succeeded)
    yield* equal(yield* state("b"), "ready", "after the first")
  }),

  make(
    "groups/many",
    ["PROC-40"],
    "many groups, several workers, retries: each group in its order, none twice at once",
    [
      "Groups"
    ],
    function*() {
      const { scale } = yield* Harness
      const s = yield* stage
      const members = 8
      const count = Math.max(3, Math.floor(20 / scale))
      for (let n = 0; n < members; n++) {
        yield* s.backend.publish(
          s.queue,
          Array.from({ length: count }, (_, g) => s.item(`${g}:${n}`, { group: `g${g}` }))
        )
      }
      const running = new Set<string>()
      const done = new Map<string, Array<number>>()
      const problems: Array<string> = []
      let ended = 0
      const work = (worker: string) =>
        Effect.gen(function*() {
          const subscription = yield* s.subscribe(worker)
          while (ended < members * count) {
            const deliveries = yield* subscription.take(3)
            for (const delivery of deliveries) {
              const key = delivery.group!
              if (running.has(key)) problems.push(`${key} was handed out while one of it ran`)
              running.add(key)
            }
            yield* Effect.yieldNow
            for (const delivery of deliveries) {
              const [g, n] = s.name(delivery.envelope.id).split(":").map(Number) as [number, number]
              const again = (g + n) % 3 === 0 && delivery.attempt === 1
              running.delete(delivery.group!)
              if (!again) {
                ended++
                done.set(delivery.group!, [...(done.get(delivery.group!) ?? []), n])
              }
              yield* settle(subscription, delivery, again ? retry() : succeeded)
            }
          }
        })
      yield* Effect.forEach(["one", "two", "three"], work, { concurrency: "unbounded" })
      yield* equal(problems, [], "problems")
      for (const [key, order] of done) {
        yield* equal(order, Array.from({ length: members }, (_, n) => n), `order of ${key}`)
      }
      yield* equal(done.size, count, "groups")
    }
  )
]
