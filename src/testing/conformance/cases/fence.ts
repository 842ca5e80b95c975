/**
 * Who may settle: the owner of the last hand-out, once, and nobody else (L16).
 *
 * @since 0.1.0
 */
import type { Delivery, Settlement } from "../../../Backend.ts"
import { Inspect } from "../../../Capability.ts"
import { equal, make, show } from "../harness.ts"
import { dead, expire, extend, names, retry, settle, stage, succeeded, takeOne } from "../stage.ts"

const settlements: ReadonlyArray<readonly [string, Settlement]> = [
  ["Complete", succeeded],
  ["Retry", retry()],
  ["Dead", dead("failed")]
]

const kinds = settlements.map(([kind]) => kind.toLowerCase())

export const fence = [
  ...settlements.map(([kind, settlement], i) =>
    make(
      `fence/after-reclaim-${kinds[i]}`,
      ["L16"],
      `a ${kind} by an owner whose lease was lost is Lost and changes nothing`,
      [
        "StrictFence",
        "TimedLease"
      ],
      function*() {
        const s = yield* stage
        yield* s.publish("a")
        const old = yield* s.subscribe("old")
        const young = yield* s.subscribe("young")
        const before = yield* takeOne(old)
        yield* expire(old)
        const after = yield* takeOne(young, "the job whose lease ran out")
        yield* equal(yield* old.settle([[before.receipt, settlement]]), ["Lost"], "answer to the old owner")
        yield* equal(yield* extend(old, before), ["Lost"], "extend by the old owner")
        yield* equal(yield* extend(young, after), ["Held"], "extend by the new owner")
        yield* equal(names(s, yield* young.take(10)), [], "claimable meanwhile")
        yield* settle(young, after, retry())
        const third = yield* takeOne(young)
        yield* equal(third.attempt, 2, "attempts: one was spent")
        yield* equal(yield* old.settle([[before.receipt, settlement]]), ["Lost"], "answer to the old owner, later")
        yield* settle(young, third, succeeded)
        yield* equal(yield* old.settle([[before.receipt, settlement]]), ["Lost"], "answer to the old owner, at last")
        yield* equal(names(s, yield* young.take(10)), [], "claimable at last")
      }
    )
  ),

  ...settlements.map(([kind, settlement], i) =>
    make(`fence/twice-${kinds[i]}`, ["L16", "L13"], `after a ${kind} every further settlement is Lost`, [
      "StrictFence"
    ], function*() {
      const s = yield* stage
      yield* s.publish("a")
      const subscription = yield* s.subscribe("w")
      const delivery = yield* takeOne(subscription)
      yield* settle(subscription, delivery, settlement)
      for (const [second, again] of settlements) {
        yield* equal(yield* subscription.settle([[delivery.receipt, again]]), ["Lost"], `${second} after ${kind}`)
      }
      yield* equal(
        names(s, yield* subscription.take(10)),
        kind === "Retry" ? ["a"] : [],
        "claimable after all that"
      )
    })
  ),

  ...settlements.map(([kind, settlement], i) =>
    make(`fence/earlier-attempt-${kinds[i]}`, ["L16"], `a ${kind} with the receipt of an earlier hand-out is Lost`, [
      "StrictFence"
    ], function*() {
      const s = yield* stage
      yield* s.publish("a")
      const subscription = yield* s.subscribe("w")
      const receipts: Array<Delivery> = []
      for (let n = 0; n < 4; n++) {
        const delivery = yield* takeOne(subscription)
        for (const earlier of receipts) {
          yield* equal(yield* subscription.settle([[earlier.receipt, settlement]]), ["Lost"], `hand-out ${n}`)
        }
        receipts.push(delivery)
        yield* settle(subscription, delivery, retry({ place: n % 2 === 0 ? "front" : "back", attempt: "kept" }))
      }
      const last = yield* takeOne(subscription)
      yield* equal(last.attempt, 1, "attempt: none was spent")
      yield* settle(subscription, last, succeeded)
    })
  ),

  make("fence/never-used-twice", ["L16"], "no two hand-outs have the same receipt", [], function*() {
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    const fences = new Set<string>()
    yield* s.publish("a")
    for (let n = 0; n < 20; n++) {
      const delivery = yield* takeOne(subscription)
      fences.add(show(delivery.receipt.fence))
      yield* settle(subscription, delivery, retry({ place: n % 3 === 0 ? "back" : "front" }))
    }
    yield* equal(fences.size, 20, "different fences of 20 hand-outs")
  }),

  make("fence/stale-progress", ["L16"], "progress with a stale receipt is Lost and not stored", [
    "StrictFence",
    "Inspect"
  ], function*() {
    const s = yield* stage
    const inspect = yield* Inspect
    yield* s.publish("a")
    const subscription = yield* s.subscribe("w")
    const before = yield* takeOne(subscription)
    yield* equal(yield* inspect.progress(before.receipt, "1"), "Stored", "progress by the owner")
    yield* settle(subscription, before, retry())
    yield* equal(yield* inspect.progress(before.receipt, "2"), "Lost", "progress while nobody owns it")
    const after = yield* takeOne(subscription)
    yield* equal(yield* inspect.progress(before.receipt, "3"), "Lost", "progress by the old owner")
    const record = yield* inspect.get(s.id("a"))
    yield* equal(record._tag === "Some" ? record.value.progress : undefined, "1", "progress that is stored")
    yield* equal(yield* inspect.progress(after.receipt, "4"), "Stored", "progress by the new owner")
  }),

  make(
    "fence/extend-settled",
    ["L16"],
    "a settled delivery cannot be extended",
    ["StrictFence", "TimedLease"],
    function*() {
      const s = yield* stage
      yield* s.publish("a", "b", "c")
      const subscription = yield* s.subscribe("w")
      const a = yield* takeOne(subscription)
      const b = yield* takeOne(subscription)
      const c = yield* takeOne(subscription)
      yield* settle(subscription, a, succeeded)
      yield* settle(subscription, c, retry())
      yield* equal(yield* extend(subscription, a, b, c), ["Lost", "Held", "Lost"], "answers")
    }
  ),

  make(
    "fence/mixed",
    ["L16"],
    "in a batch the stale receipts are Lost and the others take effect",
    ["StrictFence"],
    function*() {
      const s = yield* stage
      yield* s.publish("a", "b", "c", "d")
      const subscription = yield* s.subscribe("w")
      const a = yield* takeOne(subscription)
      const b = yield* takeOne(subscription)
      const c = yield* takeOne(subscription)
      yield* settle(subscription, b, succeeded)
      yield* equal(
        yield* subscription.settle([
          [b.receipt, retry()],
          [a.receipt, succeeded],
          [c.receipt, retry({ place: "front" })]
        ]),
        ["Lost", "Settled", "Settled"],
        "answers"
      )
      const [answers, next] = yield* subscription.exchange([[a.receipt, retry()]], 10)
      yield* equal(answers, ["Lost"], "answers of the exchange")
      yield* equal(names(s, next).toSorted(), ["c", "d"], "what is left")
    }
  ),

  make("fence/twice-in-a-batch", ["L16", "L13"], "of two settlements with one receipt in a batch one takes effect", [
    "StrictFence"
  ], function*() {
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    const pairs = [...settlements, ["Retry-front", retry({ place: "front" })] as const]
    for (const [first, one] of pairs) {
      for (const [second, two] of pairs) {
        yield* s.publish(`${first}-${second}`)
        const { receipt } = yield* takeOne(subscription)
        const answers = yield* subscription.settle([[receipt, one], [receipt, two]])
        yield* equal(answers.toSorted(), ["Lost", "Settled"], `answers to ${first} and ${second}`)
        const kind = answers[0] === "Settled" ? first : second
        const left = yield* subscription.take(10)
        yield* equal(left.length, kind.startsWith("Retry") ? 1 : 0, `claimable after ${first} and ${second}`)
        yield* subscription.settle(left.map(({ receipt }) => [receipt, succeeded] as const))
      }
    }
  })
]
