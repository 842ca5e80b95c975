/**
 * Groups with a limit: up to so many members run at once, over all workers, and start in order.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Cancel, Inspect } from "../../../Capability.ts"
import { ends, equal, Harness, make, refused } from "../harness.ts"
import {
  drain,
  expire,
  extend,
  type ItemOptions,
  names,
  receive,
  retry,
  settle,
  stage,
  succeeded,
  tags,
  takeOne
} from "../stage.ts"

const group = "g"

/** members of the group in this order, each saying the same limit */
const members = (groupLimit: number | undefined, ...named: ReadonlyArray<string>) =>
  named.map((name) => [name, { group, groupLimit }] as const satisfies readonly [string, ItemOptions])

export const groupLimit = [
  make("groups/limit-at-once", ["PROC-40"], "so many of the group run at once, in one claim, in order, and no more", [
    "Groups",
    "GroupLimit"
  ], function*() {
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish(...members(3, "a", "b", "c", "d", "e"), "x")
    const all = yield* subscription.take(10)
    // where a job of no group stands among them is nobody's promise
    const deliveries = all.filter((one) => one.group === group)
    yield* equal(names(s, deliveries), ["a", "b", "c"], "handed out of the group")
    const others = all.filter((one) => one.group === undefined)
    yield* equal(names(s, others), ["x"], "handed out of no group")
    yield* equal(names(s, yield* subscription.take(10)), [], "while three run")
    yield* settle(subscription, deliveries[1]!, succeeded)
    const [d, ...more] = yield* subscription.take(10)
    yield* equal(names(s, [d!, ...more]), ["d"], "when one of them has ended")
    const [answers, next] = yield* subscription.exchange(
      [deliveries[0]!, deliveries[2]!, d!].map(({ receipt }) => [receipt, succeeded] as const),
      10
    )
    yield* equal(answers, ["Settled", "Settled", "Settled"], "answers")
    yield* equal(names(s, next), ["e"], "what is left")
  }),

  make("groups/limit-workers", ["PROC-40"], "the limit is that of all workers together, and is used up", [
    "Groups",
    "GroupLimit"
  ], function*() {
    const s = yield* stage
    yield* s.publish(...members(3, "a", "b", "c", "d", "e"))
    const started: Array<string> = []
    const subscriptions = yield* Effect.forEach(["one", "two", "three", "four"], (name) => s.subscribe(name))
    for (const subscription of subscriptions) started.push(...names(s, yield* subscription.take(1)))
    yield* equal(started, ["a", "b", "c"], "what four workers got, one after another")
  }),

  make("groups/limit-each", [], "a limit is that of one group of one queue", ["Groups", "GroupLimit"], function*() {
    const s = yield* stage
    const other = s.other("other")
    const subscription = yield* s.subscribe("w")
    const there = yield* s.backend.subscribe(other, { worker: "v" })
    yield* s.publish(
      ...members(2, "a1", "a2", "a3"),
      ["b1", { group: "h", groupLimit: 1 }],
      ["b2", { group: "h", groupLimit: 1 }],
      ["c1", { group: "i" }],
      ["c2", { group: "i" }]
    )
    yield* s.backend.publish(other, [1, 2, 3].map((n) => s.item(`there${n}`, { group, groupLimit: n })))
    yield* equal(names(s, yield* subscription.take(10)).toSorted(), ["a1", "a2", "b1", "c1"], "handed out")
    yield* equal(names(s, yield* there.take(10)), ["there1", "there2", "there3"], "in the other queue")
    yield* equal(names(s, yield* subscription.take(10)), [], "while they run")
  }),

  make("groups/limit-priority", ["PROC-40"], "members start by priority, then by age: a better one takes over a turn", [
    "Groups",
    "GroupLimit",
    "Priority"
  ], function*() {
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish(...members(2, "a", "b"))
    yield* s.publish(["high", { group, groupLimit: 2, priority: 3 }], ["low", { group, groupLimit: 2, priority: -1 }])
    const first = yield* subscription.take(10)
    yield* equal(names(s, first), ["high", "a"], "handed out")
    yield* s.publish(["higher", { group, groupLimit: 2, priority: 5 }])
    yield* equal(names(s, yield* subscription.take(10)), [], "no pre-emption")
    yield* settle(subscription, first[1]!, succeeded)
    yield* equal(names(s, yield* subscription.take(10)), ["higher"], "before those that have waited for longer")
    yield* settle(subscription, first[0]!, succeeded)
    yield* equal(names(s, yield* subscription.take(10)), ["b"], "then")
  }),

  make("groups/limit-scheduled", ["PROC-41"], "a member that is due later holds one slot, and no more than that", [
    "Groups",
    "GroupLimit",
    "Delay"
  ], function*() {
    const { advance, slack, unit } = yield* Harness
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish(
      ["head", { group, groupLimit: 2, due: { _tag: "After", millis: 2 * unit } }],
      ...members(2, "b", "c"),
      ["later", { group, groupLimit: 2, due: { _tag: "After", millis: 2 * unit } }],
      ...members(2, "e")
    )
    const [b, ...more] = yield* subscription.take(10)
    yield* equal(names(s, [b!, ...more]), ["b"], "beside the one that is due later")
    yield* settle(subscription, b!, succeeded)
    const [c] = yield* subscription.take(10)
    yield* equal(names(s, [c!]), ["c"], "then")
    yield* settle(subscription, c!, succeeded)
    yield* equal(names(s, yield* subscription.take(10)), [], "two that are due later hold both slots")
    yield* advance(2 * unit + slack)
    yield* equal(names(s, yield* subscription.take(10)), ["head", "later"], "when they are due")
    yield* equal(names(s, yield* subscription.take(10)), [], "while they run")
  }),

  make("groups/limit-retry-holds", ["PROC-41"], "a member that waits for its retry holds one slot", [
    "Groups",
    "GroupLimit"
  ], function*() {
    const { advance, slack, unit } = yield* Harness
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish(...members(2, "a", "b", "c", "d"))
    const [a, b] = yield* drain(subscription, 2)
    yield* settle(subscription, a!, retry({ after: 2 * unit }))
    yield* equal(names(s, yield* subscription.take(10)), [], "while one runs and one waits for its retry")
    yield* settle(subscription, b!, succeeded)
    yield* equal(names(s, yield* subscription.take(10)), ["c"], "beside the one that waits for its retry")
    yield* advance(2 * unit + slack)
    yield* equal(names(s, yield* drain(subscription, 1)), ["a"], "when its retry is due")
    yield* equal(names(s, yield* subscription.take(10)), [], "then both slots are taken")
  }),

  make("groups/limit-retry-place", [], "a member keeps its place over retries, wherever in the queue it goes", [
    "Groups",
    "GroupLimit"
  ], function*() {
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish(...members(3, "a", "b", "c", "d"))
    const [a, b, c] = yield* drain(subscription, 3)
    yield* settle(subscription, c!, retry({ why: "released", attempt: "kept", place: "front" }))
    yield* settle(subscription, a!, retry({ place: "back" }))
    yield* settle(subscription, b!, retry({ why: "interrupted", attempt: "kept", place: "front" }))
    const order: Array<string> = []
    for (let n = 0; n < 3; n++) order.push(...names(s, yield* subscription.take(1)))
    yield* equal(order, ["a", "b", "c"], "order of the starts, one claim each")
    yield* equal(names(s, yield* subscription.take(1)), [], "while they run")
  }),

  make("groups/limit-retry-turn", [], "one that comes back takes the turn of the last that had come up meanwhile", [
    "Groups",
    "GroupLimit"
  ], function*() {
    const { advance, slack, unit } = yield* Harness
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish(...members(2, "a", "b", "c", "d"))
    const [a, b] = yield* drain(subscription, 2)
    const answers = yield* subscription.settle([[b!.receipt, succeeded], [a!.receipt, retry({ after: unit })]])
    yield* equal(answers, ["Settled", "Settled"], "answers")
    yield* advance(unit + slack)
    yield* equal(names(s, yield* subscription.take(1)), ["a"], "the first in order is the one that was retried")
    yield* equal(names(s, yield* subscription.take(10)), ["c"], "then, beside it")
  }),

  make("groups/limit-raised", [], "a higher limit lets more of those start that wait already", [
    "Groups",
    "GroupLimit"
  ], function*() {
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish(...members(undefined, "a", "b", "c", "d", "e"))
    yield* equal(names(s, yield* subscription.take(10)), ["a"], "one at a time")
    yield* s.publish(...members(3, "f"))
    yield* equal(names(s, yield* subscription.take(10)), ["b", "c"], "when the last enqueue says three")
    yield* equal(names(s, yield* subscription.take(10)), [], "while three run")
    yield* s.publish(...members(4, "g"))
    yield* equal(names(s, yield* subscription.take(10)), ["d"], "when the last enqueue says four")
  }),

  make("groups/limit-raised-wakes", [], "who waits is woken when a limit is raised, and when a slot is free", [
    "Groups",
    "GroupLimit"
  ], function*() {
    const s = yield* stage
    const one = yield* s.subscribe("one")
    const two = yield* s.subscribe("two")
    yield* s.publish(...members(1, "a", "b"))
    const a = yield* takeOne(one)
    const raised = yield* Effect.forkChild(receive(two), { startImmediately: true })
    yield* Effect.yieldNow
    yield* equal(raised.pollUnsafe(), undefined, "while the group is taken")
    yield* s.publish(...members(2, "c"))
    yield* equal(names(s, yield* ends(raised, "waiting for a higher limit")), ["b"], "what it got")
    const freed = yield* Effect.forkChild(receive(two), { startImmediately: true })
    yield* Effect.yieldNow
    yield* equal(freed.pollUnsafe(), undefined, "while both slots are taken")
    yield* settle(one, a, succeeded)
    yield* equal(names(s, yield* ends(freed, "waiting for a slot")), ["c"], "what it got then")
  }),

  make("groups/limit-lowered", [], "a lower limit takes turns back and stops nothing that runs", [
    "Groups",
    "GroupLimit"
  ], function*() {
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish(...members(4, "a", "b", "c", "d", "e"))
    const [a, b, c] = yield* drain(subscription, 3)
    yield* s.publish(...members(2, "f"))
    yield* equal(names(s, yield* subscription.take(10)), [], "the turn of the fourth is taken back")
    yield* settle(subscription, a!, succeeded)
    yield* equal(names(s, yield* subscription.take(10)), [], "while as many run as the limit says")
    yield* settle(subscription, b!, succeeded)
    const [d, ...more] = yield* subscription.take(10)
    yield* equal(names(s, [d!, ...more]), ["d"], "when fewer run")
    // without a limit an enqueue says one
    yield* s.publish(["g", { group }])
    yield* settle(subscription, c!, succeeded)
    yield* equal(names(s, yield* subscription.take(10)), [], "when the last enqueue says one")
    yield* settle(subscription, d!, succeeded)
    yield* equal(names(s, yield* subscription.take(10)), ["e"], "one at a time")
  }),

  make("groups/limit-lowered-lease", ["L16"], "those that run above a lowered limit hold their leases", [
    "Groups",
    "GroupLimit",
    "TimedLease"
  ], function*() {
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish(...members(2, "a", "b"))
    const running = yield* drain(subscription, 2)
    yield* s.publish(...members(1, "c"))
    yield* equal(yield* extend(subscription, ...running), ["Held", "Held"], "leases of those that run")
  }),

  make("groups/limit-batch", [], "of one batch the last one says the limit", ["Groups", "GroupLimit"], function*() {
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish(...members(5, "a"), ...members(1, "b"), ...members(2, "c"))
    yield* equal(names(s, yield* subscription.take(10)), ["a", "b"], "handed out")
    yield* s.publish(...members(9, "d", "e"), ...members(undefined, "f"))
    yield* equal(names(s, yield* subscription.take(10)), [], "when the last of a batch says one")
  }),

  make("groups/limit-same-id", [], "an enqueue that stores nothing leaves the limit as it is", [
    "Groups",
    "GroupLimit"
  ], function*() {
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish(...members(2, "a", "b", "c", "d"))
    const raised = yield* s.backend.publish(s.queue, [s.item("d", { group, groupLimit: 4 })])
    yield* equal(tags(raised), ["Duplicate"], "the same id with a higher limit")
    yield* equal(names(s, yield* drain(subscription, 2)), ["a", "b"], "handed out")
    yield* equal(names(s, yield* subscription.take(10)), [], "the limit is what it was")
  }),

  make("groups/limit-duplicate", [], "neither does one that finds its key taken, nor one of a refused batch", [
    "Groups",
    "GroupLimit",
    "Unique.finished",
    "AtomicBatch"
  ], function*() {
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    const unique = { key: s.id("key"), until: "finished" } as const
    yield* s.publish(...members(2, "a", "b", "c"), ["d", { group, groupLimit: 2, unique }])
    const taken = yield* s.backend.publish(s.queue, [s.item("x", { group, groupLimit: 1, unique })])
    yield* equal(tags(taken), ["Duplicate"], "a key that is taken, with a lower limit")
    const batch = yield* s.backend.publish(
      s.queue,
      [s.item("y", { group, groupLimit: 4 }), s.item("z", { group, groupLimit: 4, unique })],
      { atomic: true }
    )
    yield* equal(tags(batch), ["Skipped", "Duplicate"], "an atomic batch with a key that is taken, with a higher limit")
    yield* refused(
      s.backend.publish(s.queue, [s.item("v", { group, groupLimit: 4 }), s.item("w", { group, groupLimit: 0 })]),
      "a batch with a limit of none"
    )
    yield* equal(names(s, yield* subscription.take(10)), ["a", "b"], "the limit is what it was")
    // of a batch the last one that is stored says the limit
    const mixed = yield* s.backend.publish(
      s.queue,
      [s.item("e", { group, groupLimit: 3 }), s.item("f", { group, groupLimit: 9, unique })]
    )
    yield* equal(tags(mixed), ["Stored", "Duplicate"], "a batch of which one is stored")
    yield* equal(names(s, yield* subscription.take(10)), ["c"], "the limit is that of the one that was stored")
  }),

  make("groups/limit-retry-limit", [], "retries and lost leases leave the limit as the last enqueue said it", [
    "Groups",
    "GroupLimit",
    "TimedLease"
  ], function*() {
    const s = yield* stage
    const one = yield* s.subscribe("one")
    const two = yield* s.subscribe("two")
    yield* s.publish(...members(3, "a", "b", "c"))
    const [a] = yield* drain(one, 1)
    yield* s.publish(...members(1, "d"))
    yield* settle(one, a!, retry())
    yield* equal(names(s, yield* one.take(10)), ["a"], "after a retry of one that was enqueued with a higher limit")
    yield* expire(one)
    yield* equal(names(s, yield* two.take(10)), ["a"], "after its lease was lost")
  }),

  make("groups/limit-lost", ["RT-14"], "lost members count until they are found, and start again before the others", [
    "Groups",
    "GroupLimit",
    "TimedLease"
  ], function*() {
    const s = yield* stage
    const one = yield* s.subscribe("one")
    const two = yield* s.subscribe("two")
    yield* s.publish(...members(2, "a", "b", "c", "d"))
    yield* drain(one, 2)
    yield* equal(names(s, yield* two.take(10)), [], "while the leases last")
    yield* expire(one)
    const again = yield* two.take(10)
    yield* equal(names(s, again), ["a", "b"], "when they have run out")
    yield* equal(names(s, yield* two.take(10)), [], "while these run")
    yield* settle(two, again[1]!, succeeded)
    yield* equal(names(s, yield* two.take(10)), ["c"], "then")
  }),

  make("groups/limit-cancelled", ["PROC-25"], "a cancelled member gives its turn to the next, a running one its slot", [
    "Groups",
    "GroupLimit",
    "Cancel",
    "Delay"
  ], function*() {
    const { unit } = yield* Harness
    const cancel = yield* Cancel
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish(
      ["head", { group, groupLimit: 2, due: { _tag: "After", millis: 1000 * unit } }],
      ...members(2, "b", "c", "d", "e")
    )
    const b = yield* takeOne(subscription)
    yield* equal(names(s, yield* subscription.take(10)), [], "behind the one that is due later")
    yield* equal(yield* cancel.request(s.id("head")), "Cancelled", "cancel of the head")
    yield* equal(names(s, yield* subscription.take(10)), ["c"], "after the head was cancelled")
    yield* equal(yield* cancel.request(s.id("d")), "Cancelled", "cancel of one whose turn has not come")
    yield* equal(names(s, yield* subscription.take(10)), [], "it had no slot to give")
    yield* cancel.request(s.id("b"))
    yield* equal(yield* subscription.settle([[b.receipt, retry({ after: unit })]]), ["Aborted"], "retry")
    yield* equal(names(s, yield* subscription.take(10)), ["e"], "after one that ran was aborted")
  }),

  make("groups/limit-state", ["PROC-41"], "who waits beyond the limit is blocked", [
    "Groups",
    "GroupLimit",
    "Inspect",
    "Delay"
  ], function*() {
    const { advance, slack, unit } = yield* Harness
    const inspect = yield* Inspect
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    const states = (...named: ReadonlyArray<string>) =>
      Effect.forEach(
        named,
        (name) =>
          Effect.map(inspect.get(s.id(name)), (record) => record._tag === "Some" ? record.value.state : undefined)
      )
    // long enough for all that is asked meanwhile of a server that is busy
    const millis = 10 * unit
    yield* s.publish(
      ...members(3, "a"),
      ["b", { group, groupLimit: 3, due: { _tag: "After", millis } }],
      ...members(3, "c", "d")
    )
    yield* equal(yield* states("a", "b", "c", "d"), ["ready", "scheduled", "ready", "blocked"], "before the claim")
    const a = yield* takeOne(subscription)
    yield* equal(yield* states("a", "b", "c", "d"), ["active", "scheduled", "ready", "blocked"], "while the first runs")
    yield* s.publish(...members(2, "e"))
    yield* equal(
      yield* states("b", "c", "d", "e"),
      ["scheduled", "blocked", "blocked", "blocked"],
      "with a lower limit"
    )
    yield* s.publish(...members(4, "f"))
    yield* equal(yield* states("b", "c", "d", "e"), ["scheduled", "ready", "ready", "blocked"], "with a higher limit")
    yield* settle(subscription, a, succeeded)
    yield* equal(yield* states("b", "c", "d", "e", "f"), [
      "scheduled",
      "ready",
      "ready",
      "ready",
      "blocked"
    ], "after the first")
    yield* advance(millis + slack)
    yield* equal(yield* states("b", "c", "d", "e", "f"), [
      "ready",
      "ready",
      "ready",
      "ready",
      "blocked"
    ], "when the second is due")
    const counts = yield* inspect.counts(s.queue)
    yield* equal([counts.ready, counts.scheduled, counts.active], [5, 0, 0], "counts: ready, scheduled, active")
    const listed = yield* Stream.runCollect(inspect.list({ queue: s.queue, states: ["blocked"] }))
    yield* equal(Array.from(listed, ({ envelope }) => s.name(envelope.id)), ["f"], "listed as blocked")
  }),

  make("groups/limit-refused", [], "a limit that is no whole number of at least one is refused, nothing is stored", [
    "Groups",
    "GroupLimit"
  ], function*() {
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    for (const groupLimit of [0, -1, 1.5, Number.NaN, Infinity, 2 ** 31]) {
      yield* refused(
        s.backend.publish(s.queue, [s.item("first"), s.item("bad", { group, groupLimit })]),
        `a group with a limit of ${groupLimit}`
      )
    }
    yield* equal(names(s, yield* subscription.take(10)), [], "stored of the refused batches")
    yield* s.publish(...members(2 ** 31 - 1, "a", "b", "c"))
    yield* equal(names(s, yield* subscription.take(10)), ["a", "b", "c"], "with the highest limit")
  })
]
