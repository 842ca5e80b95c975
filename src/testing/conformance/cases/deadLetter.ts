/**
 * Jobs that ended as dead are kept, and can be run again.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { DeadLetter, Inspect } from "../../../Capability.ts"
import { ends, equal, Harness, make } from "../harness.ts"
import { dead, drain, expire, names, receive, retry, settle, type Stage, stage, succeeded, takeOne } from "../stage.ts"

const list = Effect.fnUntraced(function*(s: Stage) {
  const deadLetter = yield* DeadLetter
  return (yield* Stream.runCollect(deadLetter.list(s.queue))).map(({ envelope }) => s.name(envelope.id))
})

/** publishes jobs and lets each die for the reason given */
const bury = Effect.fnUntraced(
  function*(s: Stage, ...jobs: ReadonlyArray<readonly [name: string, task: string, reason: string]>) {
    const subscription = yield* s.subscribe("undertaker")
    for (const [name, task, reason] of jobs) {
      yield* s.publish([name, { task }])
      yield* settle(subscription, yield* takeOne(subscription), dead(reason, `${name} went wrong`))
    }
    return subscription
  }
)

export const deadLetter = [
  make("dead/list", [], "the dead jobs of a queue are listed with what they died of", ["DeadLetter"], function*() {
    const deadLetter = yield* DeadLetter
    const s = yield* stage
    yield* bury(s, ["a", "T", "failed"], ["b", "U", "poison"])
    yield* s.publish("alive")
    yield* equal(yield* list(s), ["a", "b"], "names")
    const records = yield* Stream.runCollect(deadLetter.list(s.queue))
    yield* equal(
      records.map(({ error, reason, state }) => [state, reason, error]),
      [["dead", "failed", "a went wrong"], ["dead", "poison", "b went wrong"]],
      "records"
    )
    yield* equal(yield* Stream.runCollect(deadLetter.list(s.other("q"))), [], "of another queue")
  }),

  make("dead/retry", [], "one of them can be put back by its id: at attempt 1, with its history", [
    "DeadLetter",
    "Inspect",
    "ExactAttempts"
  ], function*() {
    const deadLetter = yield* DeadLetter
    const inspect = yield* Inspect
    const s = yield* stage
    yield* s.publish(["a", { payload: "[1]", headers: { x: "1" }, priority: 2 }])
    const subscription = yield* s.subscribe("w")
    const first = yield* takeOne(subscription)
    yield* settle(subscription, first, retry({ error: "first" }))
    yield* settle(subscription, yield* takeOne(subscription), dead("failed", "second"))
    yield* equal(yield* deadLetter.retry(s.id("a")), true, "answer")
    yield* equal(yield* list(s), [], "dead jobs afterwards")
    const again = yield* takeOne(subscription)
    yield* equal(again.envelope, first.envelope, "envelope")
    yield* equal(again.attempt, 1, "attempt")
    yield* equal(again.unsettled, 0, "unsettled")
    yield* equal(again.firstFailedAt, undefined, "firstFailedAt")
    yield* equal(again.priority, 2, "priority")
    const record = yield* inspect.get(s.id("a"))
    yield* equal(
      record._tag === "Some" ? record.value.history.map(({ detail, event }) => [event, detail]) : [],
      [["enqueued", undefined], ["failed", "first"], ["dead", "second"], ["redriven", undefined]],
      "history"
    )
    yield* settle(subscription, again, succeeded)
    yield* equal(yield* deadLetter.retry(s.id("a")), false, "answer when it has succeeded")
  }),

  make("dead/retry-none", [], "what is not dead is not put back", ["DeadLetter"], function*() {
    const deadLetter = yield* DeadLetter
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* equal(yield* deadLetter.retry(s.id("nobody")), false, "an unknown job")
    yield* s.publish("a")
    yield* equal(yield* deadLetter.retry(s.id("a")), false, "a waiting job")
    const a = yield* takeOne(subscription)
    yield* equal(yield* deadLetter.retry(s.id("a")), false, "a running job")
    yield* settle(subscription, a, dead("failed"))
    yield* equal(
      (yield* Effect.forEach([1, 2, 3], () => deadLetter.retry(s.id("a")), { concurrency: "unbounded" })).toSorted(),
      [false, false, true],
      "three at once"
    )
    yield* equal(names(s, yield* subscription.take(10)), ["a"], "handed out")
  }),

  make("dead/receipt", ["L16"], "the receipt of the delivery that died is stale after the job was put back", [
    "DeadLetter",
    "StrictFence"
  ], function*() {
    const deadLetter = yield* DeadLetter
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish("a")
    const before = yield* takeOne(subscription)
    yield* settle(subscription, before, dead("failed"))
    yield* deadLetter.retry(s.id("a"))
    yield* equal(yield* subscription.settle([[before.receipt, succeeded]]), ["Lost"], "while it waits")
    const after = yield* takeOne(subscription)
    yield* equal(yield* subscription.settle([[before.receipt, succeeded]]), ["Lost"], "while it runs")
    yield* settle(subscription, after, succeeded)
  }),

  make("dead/redrive", [], "all can be put back, or those of one task or reason", ["DeadLetter"], function*() {
    const deadLetter = yield* DeadLetter
    const s = yield* stage
    const subscription = yield* bury(
      s,
      ["a", "T", "failed"],
      ["b", "T", "poison"],
      ["c", "U", "failed"],
      ["d", "U", "poison"],
      ["e", "V", "failed"]
    )
    yield* equal(yield* deadLetter.redrive(s.queue, { task: "T", reason: "poison" }), 1, "of one task and reason")
    yield* equal(names(s, yield* drain(subscription, 1)), ["b"], "what came back")
    yield* equal(yield* deadLetter.redrive(s.queue, { task: "U" }), 2, "of one task")
    yield* equal(names(s, yield* drain(subscription, 2)).toSorted(), ["c", "d"], "what came back")
    yield* equal(yield* deadLetter.redrive(s.queue, { reason: "unheard-of" }), 0, "of a reason that there is not")
    yield* equal(yield* deadLetter.redrive(s.other("q")), 0, "of another queue")
    yield* equal(yield* list(s), ["a", "e"], "what is left")
    yield* equal(yield* deadLetter.redrive(s.queue), 2, "all")
    yield* equal(names(s, yield* drain(subscription, 2)).toSorted(), ["a", "e"], "what came back")
    yield* equal(yield* deadLetter.redrive(s.queue), 0, "of none")
  }),

  make("dead/await", [], "who waits is woken when a dead job is put back", ["DeadLetter"], function*() {
    const deadLetter = yield* DeadLetter
    const s = yield* stage
    const subscription = yield* bury(s, ["a", "T", "failed"])
    const receiving = yield* Effect.forkChild(receive(subscription), { startImmediately: true })
    yield* deadLetter.redrive(s.queue)
    yield* equal(names(s, yield* ends(receiving, "waiting for a job that is put back")), ["a"], "what it got")
  }),

  make("dead/purge", [], "they can be forgotten, all or the older ones", ["DeadLetter", "Inspect"], function*() {
    const { advance, unit } = yield* Harness
    const deadLetter = yield* DeadLetter
    const inspect = yield* Inspect
    const s = yield* stage
    yield* bury(s, ["old", "T", "failed"])
    yield* advance(4 * unit)
    yield* bury(s, ["young", "T", "failed"])
    yield* s.publish("alive")
    yield* equal(yield* deadLetter.purge(s.other("q")), 0, "of another queue")
    yield* equal(yield* deadLetter.purge(s.queue, { olderThanMillis: 2 * unit }), 1, "the older ones")
    yield* equal(yield* list(s), ["young"], "what is left")
    yield* equal((yield* inspect.get(s.id("old")))._tag, "None", "record of a job that is forgotten")
    yield* equal(yield* deadLetter.retry(s.id("old")), false, "retry of a job that is forgotten")
    yield* equal(yield* deadLetter.purge(s.queue), 1, "all")
    yield* equal(yield* list(s), [], "what is left then")
    const subscription = yield* s.subscribe("w")
    yield* equal(names(s, yield* subscription.take(10)), ["alive"], "jobs that live")
  }),

  make("dead/lease", [], "a job that died keeps no lease, and a redriven one has a new one", [
    "DeadLetter",
    "TimedLease"
  ], function*() {
    const { advance } = yield* Harness
    const deadLetter = yield* DeadLetter
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish("a")
    yield* settle(subscription, yield* takeOne(subscription), dead("failed"))
    if (subscription.lease._tag === "Timed") yield* advance(subscription.lease.millis / 2)
    yield* deadLetter.retry(s.id("a"))
    yield* takeOne(subscription)
    if (subscription.lease._tag === "Timed") yield* advance(subscription.lease.millis * 0.75)
    yield* equal(names(s, yield* subscription.take(10)), [], "while the new lease lasts")
    yield* expire(subscription)
    yield* equal(names(s, yield* subscription.take(10)), ["a"], "when the new lease has ended")
  })
]
