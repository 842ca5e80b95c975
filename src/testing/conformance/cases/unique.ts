/**
 * At most one live job per key, and per id.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { Settlement, Uniqueness } from "../../../Backend.ts"
import { Cancel, Inspect } from "../../../Capability.ts"
import { advance, equal, Harness, make } from "../harness.ts"
import { dead, names, retry, settle, type Stage, stage, succeeded, takeOne } from "../stage.ts"

const stored = { _tag: "Stored" } as const

/** publishes one job with a key; the answer names jobs by their short names */
const enqueue = Effect.fnUntraced(function*(s: Stage, name: string, key: string, until: Uniqueness["until"]) {
  const [answer] = yield* s.backend.publish(s.queue, [s.item(name, { unique: { key, until } })])
  return answer!._tag === "Duplicate" ? { _tag: "Duplicate", existing: s.name(answer!.existing) } : answer!
})

const duplicate = (existing: string) => ({ _tag: "Duplicate", existing }) as const

export const unique = [
  make("unique/finished", ["PROC-42"], "until finished: refused while the first waits, runs, and waits for its retry", [
    "Unique.finished"
  ], function*() {
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* equal(yield* enqueue(s, "a", "k", "finished"), stored, "the first")
    yield* equal(yield* enqueue(s, "b", "k", "finished"), duplicate("a"), "while the first waits")
    const first = yield* takeOne(subscription)
    yield* equal(yield* enqueue(s, "c", "k", "finished"), duplicate("a"), "while the first runs")
    yield* settle(subscription, first, retry())
    yield* equal(yield* enqueue(s, "d", "k", "finished"), duplicate("a"), "while the first waits for its retry")
    const second = yield* takeOne(subscription)
    yield* equal(yield* enqueue(s, "e", "k", "finished"), duplicate("a"), "while the first runs again")
    yield* settle(subscription, second, succeeded)
    yield* equal(names(s, yield* subscription.take(10)), [], "jobs that were stored although they were refused")
    yield* equal(yield* enqueue(s, "f", "k", "finished"), stored, "after the first")
  }),

  ...([
    ["succeeded", succeeded],
    ["discarded", { ...succeeded, how: "discarded" }],
    ["aborted", { ...succeeded, how: "aborted" }],
    ["dead", dead("failed")]
  ] as ReadonlyArray<readonly [string, Settlement]>).map(([how, settlement]) =>
    make(
      `unique/freed-${how}`,
      [],
      `the key is free when the job has ended as ${how}`,
      ["Unique.finished"],
      function*() {
        const s = yield* stage
        const subscription = yield* s.subscribe("w")
        yield* enqueue(s, "a", "k", "finished")
        yield* settle(subscription, yield* takeOne(subscription), settlement)
        yield* equal(yield* enqueue(s, "b", "k", "finished"), stored, "the next")
        yield* equal(yield* enqueue(s, "c", "k", "finished"), duplicate("b"), "the one after it")
      }
    )
  ),

  make(
    "unique/freed-cancelled",
    ["PROC-25"],
    "the key is free when a waiting job was cancelled, and when a retry was aborted",
    [
      "Unique.finished",
      "Cancel"
    ],
    function*() {
      const s = yield* stage
      const cancel = yield* Cancel
      const subscription = yield* s.subscribe("w")
      yield* enqueue(s, "a", "k", "finished")
      yield* equal(yield* cancel.request(s.id("a")), "Cancelled", "cancel of a waiting job")
      yield* equal(yield* enqueue(s, "b", "k", "finished"), stored, "after the cancel")
      const b = yield* takeOne(subscription)
      yield* cancel.request(s.id("b"))
      yield* equal(yield* enqueue(s, "c", "k", "finished"), duplicate("b"), "while it is asked to stop")
      yield* equal(yield* subscription.settle([[b.receipt, retry()]]), ["Aborted"], "retry of an aborted job")
      yield* equal(yield* enqueue(s, "d", "k", "finished"), stored, "after the abort")
    }
  ),

  make("unique/started", ["PROC-42"], "until started: refused while the first waits, taken while it runs", [
    "Unique.started"
  ], function*() {
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* equal(yield* enqueue(s, "a", "k", "started"), stored, "the first")
    yield* equal(yield* enqueue(s, "b", "k", "started"), duplicate("a"), "while the first waits")
    const first = yield* takeOne(subscription)
    yield* equal(yield* enqueue(s, "c", "k", "started"), stored, "while the first runs")
    yield* equal(yield* enqueue(s, "d", "k", "started"), duplicate("c"), "while the second waits")
    // its key is another's by now: it goes on without
    yield* settle(subscription, first, retry())
    yield* equal(names(s, yield* subscription.take(10)).toSorted(), ["a", "c"], "both go on")
    yield* equal(yield* enqueue(s, "e", "k", "started"), stored, "when both run")
  }),

  make("unique/started-retried", [], "a job that gave its key back at its start does not free another's when it ends", [
    "Unique.started"
  ], function*() {
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* enqueue(s, "a", "k", "started")
    const a = yield* takeOne(subscription)
    yield* enqueue(s, "b", "k", "started")
    yield* settle(subscription, a, succeeded)
    yield* equal(yield* enqueue(s, "c", "k", "started"), duplicate("b"), "while the second waits")
  }),

  make("unique/started-unbegun", [], "one that goes back unbegun has its key again, unless another has it", [
    "Unique.started"
  ], function*() {
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    const unbegun = retry({ why: "released", attempt: "kept", place: "front", unbegun: true })
    yield* enqueue(s, "a", "k", "started")
    yield* settle(subscription, yield* takeOne(subscription), unbegun)
    yield* equal(yield* enqueue(s, "b", "k", "started"), duplicate("a"), "while the first waits again")
    const again = yield* takeOne(subscription)
    yield* equal(yield* enqueue(s, "c", "k", "started"), stored, "when it was claimed again")
    yield* settle(subscription, again, unbegun)
    yield* equal(yield* enqueue(s, "d", "k", "started"), duplicate("c"), "while both wait")
    yield* equal(names(s, yield* subscription.take(10)), ["a", "c"], "both are there")
  }),

  make(
    "unique/window",
    [],
    "for a time: refused for so long from the enqueue, then taken",
    ["Unique.window"],
    function*() {
      const { slack, unit } = yield* Harness
      const s = yield* stage
      const until = { millis: 4 * unit }
      yield* equal(yield* enqueue(s, "a", "k", until), stored, "the first")
      yield* equal(yield* enqueue(s, "b", "k", until), duplicate("a"), "at once")
      yield* advance(3 * unit)
      yield* equal(yield* enqueue(s, "c", "k", until), duplicate("a"), "before the time is over")
      yield* advance(unit + slack)
      // the first still waits: the window is a matter of time alone
      yield* equal(yield* enqueue(s, "d", "k", until), stored, "when the time is over")
      yield* equal(yield* enqueue(s, "e", "k", until), duplicate("d"), "in the next window")
    }
  ),

  make(
    "unique/scope",
    [],
    "keys are apart from each other, and from those of other queues",
    ["Unique.finished"],
    function*() {
      const s = yield* stage
      const until = "finished"
      const unique = { key: "k", until } as const
      yield* equal(yield* enqueue(s, "a", "k", until), stored, "the first")
      yield* equal(yield* enqueue(s, "b", "other", until), stored, "another key")
      yield* equal(yield* enqueue(s, "c", "", until), stored, "an empty key")
      yield* s.backend.declare(s.other("q"))
      const answers = yield* s.backend.publish(s.other("q"), [s.item("d", { unique })])
      yield* equal(answers, [stored], "the same key in another queue")
    }
  ),

  make(
    "unique/batch",
    [],
    "within one batch, too, and the others of the batch are stored",
    ["Unique.finished"],
    function*() {
      const s = yield* stage
      const unique = { key: "k", until: "finished" } as const
      const answers = yield* s.backend.publish(s.queue, [
        s.item("a", { unique }),
        s.item("b", { unique }),
        s.item("c"),
        s.item("d", { unique: { key: "l", until: "finished" } })
      ])
      yield* equal(answers, [stored, { _tag: "Duplicate", existing: s.id("a") }, stored, stored], "answers")
      const subscription = yield* s.subscribe("w")
      yield* equal(names(s, yield* subscription.take(10)).toSorted(), ["a", "c", "d"], "what is there")
    }
  ),

  make("unique/id", [], "the same id published again while the job lives is stored once", ["Unique"], function*() {
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    const item = s.item("a")
    const again = [{ _tag: "Duplicate", existing: s.id("a") } as const]
    yield* equal(
      yield* s.backend.publish(s.queue, [item, s.item("b"), item]),
      [stored, stored, ...again],
      "in one batch"
    )
    yield* equal(yield* s.backend.publish(s.queue, [item]), again, "while it waits")
    const deliveries = yield* subscription.take(10)
    yield* equal(names(s, deliveries).toSorted(), ["a", "b"], "what is there")
    yield* equal(yield* s.backend.publish(s.queue, [item]), again, "while it runs")
    const a = deliveries.find(({ envelope }) => envelope.id === s.id("a"))!
    yield* settle(subscription, a, retry({ after: 60_000 }))
    yield* equal(yield* s.backend.publish(s.queue, [item]), again, "while it waits for its retry")
    yield* equal(names(s, yield* subscription.take(10)), [], "what is there then")
  }),

  make("unique/id-race", [], "of concurrent publishes of the same ids each is stored once", ["Unique"], function*() {
    const s = yield* stage
    const items = Array.from({ length: 10 }, (_, n) => s.item(`${n}`))
    const answers = yield* Effect.forEach(
      Array.from({ length: 8 }),
      () => s.backend.publish(s.queue, items),
      { concurrency: "unbounded" }
    )
    const count = answers.flat().filter(({ _tag }) => _tag === "Stored").length
    yield* equal(count, items.length, "jobs stored by 8 publishes of the same 10")
  }),

  make("unique/record", [], "the job that was refused is not known, the other keeps its key", [
    "Unique.finished",
    "Inspect"
  ], function*() {
    const s = yield* stage
    const inspect = yield* Inspect
    yield* enqueue(s, "a", "k", "finished")
    yield* enqueue(s, "b", "k", "finished")
    const a = yield* inspect.get(s.id("a"))
    const b = yield* inspect.get(s.id("b"))
    yield* equal(a._tag === "Some" ? a.value.uniqueKey : undefined, "k", "key of the first")
    yield* equal(b._tag, "None", "record of the refused one")
  }),

  make("atomic/clash", ["PROC-43"], "an atomic batch with one duplicate stores nothing, whichever item it is", [
    "AtomicBatch",
    "Unique.finished"
  ], function*() {
    const s = yield* stage
    const unique = { key: "k", until: "finished" } as const
    const subscription = yield* s.subscribe("w")
    yield* s.publish(["held", { unique }])
    const skipped = { _tag: "Skipped" } as const
    const clash = { _tag: "Duplicate", existing: s.id("held") } as const
    for (let at = 0; at < 3; at++) {
      const items = [0, 1, 2].map((n) => s.item(`${at}.${n}`, n === at ? { unique } : {}))
      yield* equal(
        yield* s.backend.publish(s.queue, items, { atomic: true }),
        [0, 1, 2].map((n) => n === at ? clash : skipped),
        `answers with the duplicate at ${at}`
      )
    }
    yield* equal(
      yield* s.backend.publish(s.queue, [s.item("x", { unique: { key: "l", until: "finished" } }), s.item("held")], {
        atomic: true
      }),
      [skipped, clash],
      "answers with an id that is there"
    )
    yield* equal(names(s, yield* subscription.take(10)), ["held"], "what is there")
    yield* s.publish(["y", { unique: { key: "l", until: "finished" } }])
  }),

  make("atomic/within", ["PROC-43"], "an atomic batch that clashes with itself stores nothing", [
    "AtomicBatch",
    "Unique.finished"
  ], function*() {
    const s = yield* stage
    const unique = { key: "k", until: "finished" } as const
    const subscription = yield* s.subscribe("w")
    const answers = yield* s.backend.publish(
      s.queue,
      [s.item("a"), s.item("b", { unique }), s.item("c", { unique })],
      { atomic: true }
    )
    yield* equal(
      answers,
      [{ _tag: "Skipped" }, { _tag: "Skipped" }, { _tag: "Duplicate", existing: s.id("b") }],
      "answers"
    )
    yield* equal(names(s, yield* subscription.take(10)), [], "what is there")
    yield* equal(yield* enqueue(s, "d", "k", "finished"), stored, "the key afterwards")
  }),

  make("atomic/whole", [], "an atomic batch without a clash is stored whole", ["AtomicBatch"], function*() {
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    const items = Array.from({ length: 10 }, (_, n) => s.item(`${n}`))
    yield* equal(
      (yield* s.backend.publish(s.queue, items, { atomic: true })).map(({ _tag }) => _tag),
      items.map(() => "Stored"),
      "answers"
    )
    yield* equal(names(s, yield* subscription.take(10)).length, 10, "what is there")
  })
]
