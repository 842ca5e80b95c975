/**
 * What every backend does: it stores what it is given, hands it out once, and answers item by item.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { equal, Harness, holds, make, refused } from "../harness.ts"
import { drain, names, retry, settle, stage, succeeded, tags } from "../stage.ts"

export const core = [
  make("core/declare", [], "declare is idempotent, and ping answers", [], function*() {
    const { backend, queue } = yield* stage
    yield* backend.declare(queue)
    yield* backend.declare(queue)
    yield* backend.ping
    yield* holds(backend.name.length > 0, "the backend has no name")
  }),

  make(
    "core/delivery",
    [],
    "a first delivery says what was published, and nothing that did not happen",
    [],
    function*() {
      const s = yield* stage
      const sent = s.item("a", { payload: "{\"x\":[1,2]}", headers: { trace: "t-1", tenant: "b" } })
      yield* equal(tags(yield* s.backend.publish(s.queue, [sent])), ["Stored"], "answers")
      const subscription = yield* s.subscribe("w")
      const [delivery] = yield* drain(subscription, 1)
      yield* equal(delivery!.envelope, sent.envelope, "envelope")
      yield* equal(delivery!.queue, s.queue, "queue")
      yield* equal(delivery!.receipt.id, sent.envelope.id, "id of the receipt")
      yield* equal(delivery!.attempt, 1, "attempt")
      yield* equal(delivery!.unsettled, 0, "unsettled")
      yield* equal(delivery!.lostFrom, undefined, "lostFrom")
      yield* equal(delivery!.scheduledFor, undefined, "scheduledFor")
      yield* equal(delivery!.firstFailedAt, undefined, "firstFailedAt")
      yield* equal(delivery!.priority, 0, "priority")
      yield* equal(delivery!.group, undefined, "group")
      yield* equal(delivery!.abortRequested, false, "abortRequested")
      yield* equal(delivery!.keepsResult, false, "keepsResult")
    }
  ),

  make("core/empty", [], "empty batches are no work", [], function*() {
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* equal(yield* s.backend.publish(s.queue, []), [], "answers of an empty publish")
    yield* equal(yield* subscription.take(10), [], "take of an empty queue")
    yield* equal(yield* subscription.settle([]), [], "answers of an empty settle")
    yield* equal(yield* subscription.exchange([], 10), [[], []], "exchange of nothing")
    yield* s.publish("a")
    yield* equal(yield* subscription.take(0), [], "take(0) of a queue that holds a job")
    yield* equal(names(s, yield* drain(subscription, 1)), ["a"], "the job")
  }),

  make("core/max", [], "a claim never hands out more than was asked for", [], function*() {
    const s = yield* stage
    yield* s.publish("a", "b", "c", "d", "e")
    const subscription = yield* s.subscribe("w")
    const seen = new Set<string>()
    for (let round = 0; seen.size < 5 && round < 20; round++) {
      const deliveries = yield* subscription.take(2)
      yield* holds(deliveries.length <= 2, `take(2) returned ${deliveries.length} deliveries`)
      for (const name of names(s, deliveries)) {
        yield* holds(!seen.has(name), `${name} was handed out twice`)
        seen.add(name)
      }
    }
    yield* equal(seen.size, 5, "jobs handed out")
  }),

  make("core/queues", [], "a job is handed out in its own queue only", [], function*() {
    const s = yield* stage
    const here = yield* s.subscribe("w")
    yield* s.backend.declare(s.other("b"))
    const there = yield* s.backend.subscribe(s.other("b"), { worker: "w" })
    yield* s.publish("a")
    yield* equal(names(s, yield* there.take(10)), [], "jobs of the other queue")
    yield* equal(names(s, yield* drain(here, 1)), ["a"], "jobs of the queue")
  }),

  make("core/complete", [], "a completed job is gone, however it was completed", [], function*() {
    const s = yield* stage
    yield* s.publish("a", "b", "c")
    const subscription = yield* s.subscribe("w")
    const deliveries = yield* drain(subscription, 3)
    const hows = ["succeeded", "discarded", "aborted"] as const
    yield* equal(
      yield* subscription.settle(
        deliveries.map(({ receipt }, i) => [receipt, { ...succeeded, how: hows[i]!, reason: "because" }] as const)
      ),
      ["Settled", "Settled", "Settled"],
      "answers"
    )
    yield* equal(names(s, yield* subscription.take(10)), [], "jobs left")
  }),

  make("core/dead", [], "a dead job is not handed out again", [], function*() {
    const s = yield* stage
    yield* s.publish("a")
    const subscription = yield* s.subscribe("w")
    const [delivery] = yield* drain(subscription, 1)
    yield* settle(subscription, delivery!, { _tag: "Dead", reason: "failed", error: "no", exit: undefined })
    yield* equal(names(s, yield* subscription.take(10)), [], "jobs left")
  }),

  make("core/retry", ["L8"], "a retried job comes back with the very envelope that was published", [], function*() {
    const s = yield* stage
    const sent = s.item("a", { payload: "{\"n\":1}", headers: { a: "1" } })
    yield* s.backend.publish(s.queue, [sent])
    const subscription = yield* s.subscribe("w")
    for (const why of ["failed", "snoozed", "interrupted", "released", "lost", "unknown"] as const) {
      const [delivery] = yield* drain(subscription, 1)
      yield* equal(delivery!.envelope, sent.envelope, `envelope before the retry that is ${why}`)
      yield* Effect.sync(() => {
        // what a careless middleware does to its copy is nobody else's business
        Reflect.set(delivery!.envelope, "payload", "changed")
        Reflect.set(delivery!.envelope.headers, "a", "changed")
      })
      yield* settle(subscription, delivery!, retry({ why, attempt: why === "failed" ? "spent" : "kept" }))
    }
    const [last] = yield* drain(subscription, 1)
    yield* equal(last!.envelope, sent.envelope, "envelope at last")
  }),

  make("core/retry-delay", [], "a delayed retry is not claimable before its time, and is after it", [], function*() {
    const { advance, slack, unit } = yield* Harness
    const s = yield* stage
    yield* s.publish("a")
    const subscription = yield* s.subscribe("w")
    const [delivery] = yield* drain(subscription, 1)
    yield* settle(subscription, delivery!, retry({ after: 2 * unit }))
    yield* equal(names(s, yield* subscription.take(1)), [], "at once")
    yield* advance(unit)
    yield* equal(names(s, yield* subscription.take(1)), [], "half-way")
    yield* advance(unit + slack)
    yield* equal(names(s, yield* drain(subscription, 1)), ["a"], "when its time has come")
  }),

  make("core/settle-order", [], "the answers to a batch are in the order of its items", [], function*() {
    const s = yield* stage
    yield* s.publish("a", "b", "c")
    const subscription = yield* s.subscribe("w")
    const [first, second, third] = yield* drain(subscription, 3)
    yield* settle(subscription, second!, succeeded)
    yield* equal(
      yield* subscription.settle([[first!.receipt, succeeded], [third!.receipt, retry()]]),
      ["Settled", "Settled"],
      "answers"
    )
    yield* equal(names(s, yield* drain(subscription, 1)), [s.name(third!.envelope.id)], "what comes back")
  }),

  make("core/exchange", [], "an exchange settles, then takes", [], function*() {
    const s = yield* stage
    yield* s.publish("a", "b")
    const subscription = yield* s.subscribe("w")
    const [first] = yield* drain(subscription, 1)
    const [answers, next] = yield* subscription.exchange([[first!.receipt, succeeded]], 10)
    yield* equal(answers, ["Settled"], "answers")
    const rest = next.length > 0 ? next : yield* drain(subscription, 1)
    yield* equal(names(s, [first!, ...rest]).toSorted(), ["a", "b"], "jobs handed out")
    yield* equal(
      yield* subscription.exchange([[rest[0]!.receipt, succeeded]], 10),
      [["Settled"], []],
      "the last exchange"
    )
  }),

  make("core/exchange-sees", [], "what an exchange settles is visible to its claim", ["Priority"], function*() {
    const s = yield* stage
    yield* s.publish("a")
    const subscription = yield* s.subscribe("w")
    const [first] = yield* drain(subscription, 1)
    const [answers, next] = yield* subscription.exchange([[first!.receipt, retry()]], 10)
    yield* equal(answers, ["Settled"], "answers")
    yield* equal(names(s, next), ["a"], "what it takes")
    yield* equal(next[0]!.attempt, 2, "attempt")
  }),

  make("core/payload", [], "payload and headers come back to the byte", [], function*() {
    const s = yield* stage
    const { payloadBytes } = s.backend.limits
    const texts = [
      "",
      " ",
      "null",
      "\"quotes\" and \\ backslashes \\u0000 and 'these' and ; -- that",
      "línea\nnext\r\n\ttab",
      "żółć, 日本語, עברית, 🧵👩‍👩‍👧‍👦, e\u0301 is not é",
      "\u0001\u007f\u0085\u2028\u2029\ufeff",
      "x".repeat(Math.min(100_000, Math.floor(payloadBytes / 2)))
    ]
    const items = texts.map((payload, i) =>
      s.item(`${i}`, { payload, headers: { empty: "", "x-ünïcode": "🧵 \"quoted\" \\ end" } })
    )
    for (const item of items) yield* s.backend.publish(s.queue, [item])
    const subscription = yield* s.subscribe("w")
    const sent = new Map(items.map(({ envelope }) => [envelope.id, envelope]))
    for (const { envelope } of yield* drain(subscription, items.length)) {
      yield* holds(envelope.payload === sent.get(envelope.id)?.payload, `payload ${s.name(envelope.id)} was changed`)
      yield* equal(envelope, sent.get(envelope.id)!, `envelope ${s.name(envelope.id)}`)
    }
  }),

  make("core/payload-limit", [], "a payload at the limit is carried, one above it is refused", [], function*() {
    const s = yield* stage
    const { payloadBytes } = s.backend.limits
    const subscription = yield* s.subscribe("w")
    if (payloadBytes <= largest) {
      yield* refused(
        s.backend.publish(s.queue, [s.item("small"), s.item("big", { payload: "x".repeat(payloadBytes + 1) })]),
        `a payload of ${payloadBytes + 1} bytes where the limit is ${payloadBytes}`
      )
      // three bytes a character: a limit counts bytes
      yield* refused(
        s.backend.publish(s.queue, [s.item("wide", { payload: "世".repeat(Math.floor(payloadBytes / 3) + 1) })]),
        "a payload that is above the limit in bytes, not in characters"
      )
    }
    yield* equal(names(s, yield* subscription.take(10)), [], "jobs of the batches that were refused")
    const payload = "x".repeat(Math.min(payloadBytes, largest))
    yield* equal(tags(yield* s.backend.publish(s.queue, [s.item("exact", { payload })])), ["Stored"], "answers")
    const [delivery] = yield* drain(subscription, 1)
    yield* holds(delivery!.envelope.payload === payload, "the payload at the limit was changed")
  })
]

/** bytes: a limit above this is not tried, but this must be carried then */
const largest = 16 * 1024 * 1024
