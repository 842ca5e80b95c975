/**
 * Which job is handed out first.
 *
 * @since 0.1.0
 */
import { Priority } from "../../../Capability.ts"
import { equal, Harness, make, refused } from "../harness.ts"
import { names, retry, settle, stage, takeOne } from "../stage.ts"

export const order = [
  make("order/age", [], "of the same priority the oldest goes first", ["Priority"], function*() {
    const s = yield* stage
    yield* s.publish("a", "b", "c")
    yield* s.publish("d")
    const subscription = yield* s.subscribe("w")
    yield* equal(names(s, yield* subscription.take(2)), ["a", "b"], "first claim")
    yield* equal(names(s, yield* subscription.take(10)), ["c", "d"], "second claim")
  }),

  make("order/priority", [], "the higher priority goes first, 0 when none is given, negative ones last", [
    "Priority"
  ], function*() {
    const s = yield* stage
    yield* s.publish(
      ["low", { priority: -1 }],
      "normal",
      ["high", { priority: 5 }],
      ["higher", { priority: 6 }],
      ["zero", { priority: 0 }],
      ["low2", { priority: -1 }]
    )
    const subscription = yield* s.subscribe("w")
    const deliveries = yield* subscription.take(10)
    yield* equal(names(s, deliveries), ["higher", "high", "normal", "zero", "low", "low2"], "order")
    yield* equal(deliveries.map(({ priority }) => priority), [6, 5, 0, 0, -1, -1], "priorities")
  }),

  make(
    "order/late-priority",
    [],
    "a better job that comes later goes before those that wait",
    ["Priority"],
    function*() {
      const s = yield* stage
      const subscription = yield* s.subscribe("w")
      yield* s.publish("a", "b")
      yield* equal(names(s, yield* subscription.take(1)), ["a"], "before")
      yield* s.publish(["c", { priority: 1 }])
      yield* equal(names(s, yield* subscription.take(10)), ["c", "b"], "after")
    }
  ),

  make("order/priority-range", [], "the bounds of the priority are inside, what is beyond is refused", [
    "Priority"
  ], function*() {
    const s = yield* stage
    const { max, min } = yield* Priority
    yield* refused(s.backend.publish(s.queue, [s.item("x", { priority: max + 1 })]), `priority ${max + 1}`)
    yield* refused(s.backend.publish(s.queue, [s.item("y"), s.item("z", { priority: min - 1 })]), `priority ${min - 1}`)
    yield* s.publish(["min", { priority: min }], "mid", ["max", { priority: max }])
    const subscription = yield* s.subscribe("w")
    yield* equal(names(s, yield* subscription.take(10)), ["max", "mid", "min"], "order")
  }),

  make("order/retry-back", [], "a retry that goes to the back goes behind those that wait", ["Priority"], function*() {
    const s = yield* stage
    yield* s.publish("a", "b", "c")
    const subscription = yield* s.subscribe("w")
    yield* settle(subscription, yield* takeOne(subscription), retry({ place: "back" }))
    yield* equal(names(s, yield* subscription.take(10)), ["b", "c", "a"], "order")
  }),

  make(
    "order/retry-front",
    ["RT-12"],
    "a retry that goes to the front goes before those of its priority, not of a higher",
    [
      "Priority"
    ],
    function*() {
      const s = yield* stage
      yield* s.publish("a", "b", "c")
      const subscription = yield* s.subscribe("w")
      const first = yield* takeOne(subscription)
      yield* s.publish(["urgent", { priority: 1 }])
      yield* settle(subscription, first, retry({ why: "interrupted", attempt: "kept", place: "front" }))
      const deliveries = yield* subscription.take(10)
      yield* equal(names(s, deliveries), ["urgent", "a", "b", "c"], "order")
      yield* equal(deliveries[1]!.attempt, 1, "attempt of the one that was interrupted")
    }
  ),

  make("order/front-of-front", ["RT-12"], "who goes to the front later goes before who went there earlier", [
    "Priority"
  ], function*() {
    const s = yield* stage
    yield* s.publish("a", "b", "c")
    const subscription = yield* s.subscribe("w")
    const [a, b] = yield* subscription.take(2)
    const front = retry({ why: "released", attempt: "kept", place: "front" })
    yield* settle(subscription, b!, front)
    yield* settle(subscription, a!, front)
    yield* equal(names(s, yield* subscription.take(10)), ["a", "b", "c"], "order")
  }),

  make("order/delayed-front", ["RT-12"], "a delayed retry that goes to the front goes there when it is due", [
    "Priority"
  ], function*() {
    const { advance, slack, unit } = yield* Harness
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish("a", "b", "c", "d")
    const [a, b] = yield* subscription.take(2)
    yield* settle(subscription, a!, retry({ place: "front", after: unit }))
    yield* settle(subscription, b!, retry({ place: "back", after: unit }))
    yield* advance(unit + slack)
    yield* equal(names(s, yield* subscription.take(10)), ["a", "c", "d", "b"], "order when both are due")
  })
]
