/**
 * Looking at jobs: where each stands, and what happened to it.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Cancel, DeadLetter, Inspect, type JobRecord } from "../../../Capability.ts"
import { equal, fail, Harness, holds, make } from "../harness.ts"
import { dead, drain, expire, retry, settle, type Stage, stage, succeeded, takeOne } from "../stage.ts"

const record = Effect.fnUntraced(function*(s: Stage, name: string) {
  const inspect = yield* Inspect
  const found = yield* inspect.get(s.id(name))
  return found._tag === "Some" ? found.value : yield* fail(`the job ${name} is not known`)
})

const events = ({ history }: JobRecord): ReadonlyArray<string> => history.map(({ event }) => event)

export const inspect = [
  make(
    "inspect/state",
    ["PROC-20"],
    "a job is active from its claim until it is settled, and says where it stands otherwise",
    [
      "Inspect",
      "Delay",
      "DeadLetter"
    ],
    function*() {
      const { advance, slack, unit } = yield* Harness
      const s = yield* stage
      const subscription = yield* s.subscribe("w")
      const state = (name: string) => Effect.map(record(s, name), ({ state }) => state)
      yield* s.publish("a", ["late", { due: { _tag: "After", millis: unit } }])
      yield* equal([yield* state("a"), yield* state("late")], ["ready", "scheduled"], "after the publish")
      yield* advance(unit + slack)
      yield* equal(yield* state("late"), "ready", "when it is due")
      const [a, late] = yield* drain(subscription, 2)
      yield* equal([yield* state("a"), yield* state("late")], ["active", "active"], "while they run")
      yield* advance(unit)
      yield* equal([yield* state("a"), yield* state("late")], ["active", "active"], "while they run on")
      yield* settle(subscription, a!, retry({ after: unit }))
      yield* settle(subscription, late!, dead("failed", "no"))
      yield* equal([yield* state("a"), yield* state("late")], ["scheduled", "dead"], "after the settlement")
    }
  ),

  make("inspect/record", [], "a record says what is known of the job", ["Inspect", "Priority", "Delay"], function*() {
    const { unit } = yield* Harness
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish(["a", { priority: 3, headers: { x: "1" }, task: "T", payload: "[1]" }])
    const before = yield* record(s, "a")
    yield* equal(before.envelope, s.item("a", { headers: { x: "1" }, task: "T", payload: "[1]" }).envelope, "envelope")
    yield* equal(before.queue, s.queue, "queue")
    yield* equal(before.priority, 3, "priority")
    yield* equal(before.attempt, 1, "attempt that comes next")
    yield* equal(before.worker, undefined, "worker of a job that waits")
    yield* equal(before.claimedAt, undefined, "claimedAt of a job that waits")
    yield* equal(before.finishedAt, undefined, "finishedAt of a job that waits")
    yield* equal(before.group, undefined, "group")
    yield* equal(before.uniqueKey, undefined, "uniqueKey")
    const delivery = yield* takeOne(subscription)
    const running = yield* record(s, "a")
    yield* equal(running.worker, "w", "worker of a job that runs")
    yield* holds(
      running.claimedAt !== undefined && running.claimedAt >= before.enqueuedAt,
      "claimedAt of a job that runs"
    )
    yield* equal(running.attempt, 1, "attempt that runs")
    yield* settle(subscription, delivery, retry({ after: 2 * unit, error: "went wrong" }))
    const waiting = yield* record(s, "a")
    yield* equal(waiting.attempt, 2, "attempt that comes next")
    yield* equal(waiting.error, "went wrong", "error of the last failure")
    yield* holds(
      waiting.dueAt !== undefined && waiting.dueAt >= before.enqueuedAt + 2 * unit,
      "dueAt of a delayed retry"
    )
    yield* equal(waiting.worker, undefined, "worker of a job that waits again")
  }),

  make(
    "inspect/history",
    ["RT-12"],
    "the history says in order what became of the job",
    ["Inspect", "DeadLetter"],
    function*() {
      const s = yield* stage
      const subscription = yield* s.subscribe("w")
      const deadLetter = yield* DeadLetter
      yield* s.publish("a")
      for (const why of ["failed", "snoozed", "interrupted", "released", "unknown"] as const) {
        const attempt = why === "failed" ? "spent" : "kept"
        yield* settle(subscription, yield* takeOne(subscription), retry({ why, attempt, error: `it is ${why}` }))
      }
      yield* settle(subscription, yield* takeOne(subscription), dead("poison", "no more"))
      const ended = yield* record(s, "a")
      const expected = ["enqueued", "failed", "snoozed", "interrupted", "released", "unknown", "dead"]
      yield* equal(events(ended), expected, "events")
      yield* equal(ended.reason, "poison", "reason")
      yield* equal(ended.error, "no more", "error")
      yield* holds(ended.finishedAt !== undefined, "finishedAt is not set")
      yield* equal(ended.history[1]!.attempt, 1, "attempt of the first failure")
      yield* equal(ended.history[1]!.worker, "w", "worker of the first failure")
      yield* equal(ended.history[1]!.detail, "it is failed", "detail of the first failure")
      yield* equal(ended.history.at(-1)!.attempt, 2, "attempt at which it died")
      const times = ended.history.map(({ at }) => at)
      yield* equal(times, times.toSorted((a, b) => a - b), "times of the events")
      yield* deadLetter.retry(s.id("a"))
      yield* equal(events(yield* record(s, "a")), [...expected, "redriven"], "events after it was put back")
      yield* settle(subscription, yield* takeOne(subscription), dead("failed"))
      yield* equal(events(yield* record(s, "a")), [...expected, "redriven", "dead"], "events after it died again")
    }
  ),

  make(
    "inspect/history-lost",
    ["RT-14"],
    "the history says that an owner was lost",
    ["Inspect", "TimedLease"],
    function*() {
      const s = yield* stage
      const one = yield* s.subscribe("one")
      const two = yield* s.subscribe("two")
      yield* s.publish("a")
      yield* takeOne(one)
      yield* expire(one)
      yield* takeOne(two)
      const { history } = yield* record(s, "a")
      yield* equal(history.map(({ event }) => event), ["enqueued", "lost"], "events")
      yield* equal(history[1]!.worker, "one", "worker that was lost")
    }
  ),

  make("inspect/history-cancelled", ["PROC-25"], "a cancelled job is known by its result's time, with its history", [
    "Inspect",
    "Cancel",
    "Results"
  ], function*() {
    const { unit } = yield* Harness
    const cancel = yield* Cancel
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish(["a", { keepResult: 1000 * unit }], ["b", { keepResult: 1000 * unit }])
    const [a] = yield* drain(subscription, 1)
    yield* cancel.request(s.id("b"))
    yield* cancel.request(a!.envelope.id)
    yield* subscription.settle([[a!.receipt, retry({ error: "stopped" })]])
    const cancelled = yield* record(s, "b")
    yield* equal(cancelled.state, "aborted", "state of the one that was cancelled")
    yield* equal(events(cancelled), ["enqueued", "cancelled"], "events of the one that was cancelled")
    const aborted = yield* record(s, "a")
    yield* equal(aborted.state, "aborted", "state of the one that was aborted")
    yield* equal(events(aborted), ["enqueued", "aborted"], "events of the one that was aborted")
  }),

  make("inspect/success", [], "a success is known for as long as its result", ["Inspect", "Results"], function*() {
    const { unit } = yield* Harness
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish(["a", { keepResult: 1000 * unit }])
    yield* settle(subscription, yield* takeOne(subscription), retry({ error: "first" }))
    yield* settle(subscription, yield* takeOne(subscription), { ...succeeded, exit: "1" })
    const ended = yield* record(s, "a")
    yield* equal(ended.state, "succeeded", "state")
    yield* equal(ended.attempt, 2, "attempt")
    yield* equal(ended.exit, "1", "exit")
    yield* equal(events(ended), ["enqueued", "failed", "succeeded"], "events")
  }),

  make(
    "inspect/counts",
    [],
    "the counts say how many jobs stand where",
    ["Inspect", "Delay", "DeadLetter"],
    function*() {
      const { advance, slack, unit } = yield* Harness
      const inspect = yield* Inspect
      const s = yield* stage
      const subscription = yield* s.subscribe("w")
      yield* equal(yield* inspect.counts(s.queue), { ready: 0, scheduled: 0, active: 0, dead: 0 }, "of an empty queue")
      yield* s.publish("a", "b", "c", "d", "e", ["late", { due: { _tag: "After", millis: unit } }])
      yield* equal(yield* inspect.counts(s.queue), { ready: 5, scheduled: 1, active: 0, dead: 0 }, "after the publish")
      const [a, b, c] = yield* drain(subscription, 4)
      yield* equal(yield* inspect.counts(s.queue), { ready: 1, scheduled: 1, active: 4, dead: 0 }, "after the claim")
      yield* settle(subscription, a!, succeeded)
      yield* settle(subscription, b!, dead("failed"))
      yield* settle(subscription, c!, retry({ after: unit }))
      yield* equal(
        yield* inspect.counts(s.queue),
        { ready: 1, scheduled: 2, active: 1, dead: 1 },
        "after the settlements"
      )
      yield* advance(unit + slack)
      yield* equal(yield* inspect.counts(s.queue), { ready: 3, scheduled: 0, active: 1, dead: 1 }, "when all are due")
    }
  ),

  make("inspect/list", [], "a list has the jobs of the queue that were asked for, oldest first", [
    "Inspect",
    "DeadLetter"
  ], function*() {
    const { unit } = yield* Harness
    const inspect = yield* Inspect
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    const list = (options: Omit<Parameters<typeof inspect.list>[0], "queue">) =>
      Effect.map(
        Stream.runCollect(inspect.list({ queue: s.queue, ...options })),
        (records) => records.map(({ envelope }) => s.name(envelope.id))
      )
    yield* s.backend.publish(s.other("q"), [s.item("elsewhere")])
    yield* s.publish("a", "b", ["c", { task: "Other" }], "d", ["e", { task: "Other" }])
    yield* equal(yield* list({}), ["a", "b", "c", "d", "e"], "all")
    yield* equal(yield* list({ task: "Other" }), ["c", "e"], "of one task")
    const [a, b, c] = yield* drain(subscription, 3)
    yield* settle(subscription, a!, dead("failed"))
    yield* settle(subscription, c!, retry({ after: 1000 * unit }))
    yield* equal(yield* list({ states: ["active"] }), [s.name(b!.envelope.id)], "active ones")
    yield* equal(yield* list({ states: ["dead"] }), [s.name(a!.envelope.id)], "dead ones")
    yield* equal(yield* list({ states: ["ready", "scheduled"] }), ["c", "d", "e"], "waiting ones")
    yield* equal(yield* list({ states: ["ready"], task: "Other" }), ["e"], "ready ones of one task")
    yield* equal(yield* list({ states: [] }), [], "of no state")
  }),

  make(
    "inspect/pages",
    [],
    "a list is complete, also when it is long, and may be left early",
    ["Inspect"],
    function*() {
      const inspect = yield* Inspect
      const s = yield* stage
      const { publishBatch } = s.backend.limits
      const total = 1000
      for (let n = 0; n < total; n += Math.min(publishBatch, 250)) {
        const size = Math.min(publishBatch, 250, total - n)
        yield* s.backend.publish(s.queue, Array.from({ length: size }, (_, i) => s.item(`${n + i}`)))
      }
      const all = yield* Stream.runCollect(inspect.list({ queue: s.queue }))
      yield* equal(
        all.map(({ envelope }) => s.name(envelope.id)),
        Array.from({ length: total }, (_, n) => `${n}`),
        "jobs in the list"
      )
      const some = yield* Stream.runCollect(Stream.take(inspect.list({ queue: s.queue }), 5))
      yield* equal(some.map(({ envelope }) => s.name(envelope.id)), ["0", "1", "2", "3", "4"], "the first five")
    }
  ),

  make("inspect/queues", [], "the queues are those that hold or held a job", ["Inspect"], function*() {
    const inspect = yield* Inspect
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish("a")
    yield* settle(subscription, yield* takeOne(subscription), succeeded)
    yield* s.backend.publish(s.other("q"), [s.item("b")])
    const queues = yield* inspect.queues
    yield* holds(queues.includes(s.queue), "a queue that held a job is missing")
    yield* holds(queues.includes(s.other("q")), "a queue that holds a job is missing")
  }),

  make("inspect/progress", [], "progress is stored with the job and stays over retries", ["Inspect"], function*() {
    const inspect = yield* Inspect
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish("a")
    const first = yield* takeOne(subscription)
    yield* equal((yield* record(s, "a")).progress, undefined, "progress at first")
    yield* equal(yield* inspect.progress(first.receipt, "{\"done\":1}"), "Stored", "answer")
    yield* equal(yield* inspect.progress(first.receipt, "{\"done\":2,\"text\":\"żółć\"}"), "Stored", "answer")
    yield* equal((yield* record(s, "a")).progress, "{\"done\":2,\"text\":\"żółć\"}", "progress")
    yield* settle(subscription, first, retry())
    yield* equal((yield* record(s, "a")).progress, "{\"done\":2,\"text\":\"żółć\"}", "progress after a retry")
  }),

  make("inspect/unknown", [], "an unknown job has no record", ["Inspect"], function*() {
    const inspect = yield* Inspect
    const s = yield* stage
    yield* equal((yield* inspect.get(s.id("nobody")))._tag, "None", "record")
  })
]
