/**
 * A job that goes back to another queue, priority or group than it came from.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Cancel, Inspect, Reroute } from "../../../Capability.ts"
import { ends, equal, fail, Harness, make, refused } from "../harness.ts"
import { names, receive, retry, settle, stage, succeeded, tags, takeOne } from "../stage.ts"

const prepared = Effect.fnUntraced(function*(queue: string, to: Parameters<Reroute["Service"]["prepare"]>[1]) {
  const reroute = yield* Reroute
  yield* reroute.prepare(queue, to)
  return to
})

export const reroute = [
  make(
    "reroute/queue",
    [],
    "a retried job goes to another queue in the same step, with its attempts and behind those that wait there",
    ["Reroute"],
    function*() {
      const s = yield* stage
      const other = s.other("slow")
      const here = yield* s.subscribe("w")
      const there = yield* s.backend.subscribe(other, { worker: "v" })
      yield* s.backend.publish(other, [s.item("first")])
      yield* s.publish("a")
      const to = yield* prepared(s.queue, { queue: other })
      yield* settle(here, yield* takeOne(here), retry({ to, error: "late" }))
      yield* equal(names(s, yield* here.take(10)), [], "left in its old queue")
      const [first, moved, ...more] = yield* there.take(10)
      yield* equal([first, moved].map((one) => one && s.name(one.envelope.id)), ["first", "a"], "in the other queue")
      yield* equal(more.length, 0, "others")
      yield* equal(moved!.queue, other, "queue of the delivery")
      yield* equal(moved!.attempt, 2, "attempt")
      yield* equal(moved!.envelope.payload, JSON.stringify({ name: "a" }), "payload")
      yield* settle(there, moved!, succeeded)
      yield* equal(names(s, yield* here.take(10)), [], "after its end")
    }
  ),

  make(
    "reroute/snoozed",
    [],
    "a delayed move is due in the other queue and spends no attempt",
    ["Reroute", "Delay"],
    function*() {
      const { advance, slack, unit } = yield* Harness
      const s = yield* stage
      const other = s.other("later")
      const here = yield* s.subscribe("w")
      const there = yield* s.backend.subscribe(other, { worker: "v" })
      yield* s.publish("a")
      const to = yield* prepared(s.queue, { queue: other })
      yield* settle(here, yield* takeOne(here), retry({ to, why: "snoozed", attempt: "kept", after: 2 * unit }))
      yield* equal(names(s, yield* there.take(10)), [], "before it is due")
      yield* advance(2 * unit + slack)
      const [moved] = yield* there.take(10)
      yield* equal(moved?.attempt, 1, "attempt when it is due")
      yield* equal(names(s, yield* here.take(10)), [], "left in its old queue")
    }
  ),

  make(
    "reroute/priority",
    [],
    "a retried job with a higher priority overtakes the others, one with a lower lets them pass",
    ["Reroute", "Priority"],
    function*() {
      const s = yield* stage
      const here = yield* s.subscribe("w")
      yield* s.publish("a", "b", "c")
      const up = yield* prepared(s.queue, { priority: 5 })
      const down = yield* prepared(s.queue, { priority: -5 })
      yield* settle(here, yield* takeOne(here), retry({ to: down }))
      yield* settle(here, yield* takeOne(here), retry({ to: up }))
      const order: Array<readonly [string, number]> = []
      for (let n = 0; n < 3; n++) {
        const next = yield* takeOne(here)
        order.push([s.name(next.envelope.id), next.priority])
        yield* settle(here, next, succeeded)
      }
      yield* equal(order, [["b", 5], ["c", 0], ["a", -5]], "order")
    }
  ),

  make(
    "reroute/group",
    ["PROC-40"],
    "a job that leaves its group gives the turn to the next, and is the youngest of the one that it joins",
    ["Reroute", "Groups"],
    function*() {
      const s = yield* stage
      const here = yield* s.subscribe("w")
      yield* s.publish(["a1", { group: "a" }], ["a2", { group: "a" }], ["b1", { group: "b" }], ["b2", { group: "b" }])
      const first = yield* here.take(10)
      yield* equal(names(s, first).toSorted(), ["a1", "b1"], "handed out")
      const [a1, b1] = first.toSorted((x, y) => x.envelope.id < y.envelope.id ? -1 : 1)
      const to = yield* prepared(s.queue, { group: "b" })
      yield* settle(here, a1!, retry({ to }))
      const [a2, ...others] = yield* here.take(10)
      yield* equal([a2!, ...others].map(({ envelope }) => s.name(envelope.id)), ["a2"], "what may run beside b1")
      yield* settle(here, a2!, succeeded)
      yield* settle(here, b1!, succeeded)
      for (const expected of ["b2", "a1"]) {
        const [next, ...more] = yield* here.take(10)
        yield* equal([next, ...more].map((one) => one && s.name(one.envelope.id)), [expected], "next of the group")
        yield* equal(next!.group, "b", "its group")
        yield* settle(here, next!, succeeded)
      }
    }
  ),

  make(
    "reroute/out-of-group",
    ["PROC-40"],
    "a job that leaves its group for none runs beside the group, and another queue's group is another one",
    ["Reroute", "Groups"],
    function*() {
      const s = yield* stage
      const other = s.other("same-name")
      const here = yield* s.subscribe("w")
      const there = yield* s.backend.subscribe(other, { worker: "v" })
      yield* s.publish(["a", { group: "g" }], ["b", { group: "g" }], ["c", { group: "g" }])
      const none = yield* prepared(s.queue, { group: null })
      yield* settle(here, yield* takeOne(here), retry({ to: none }))
      const both = yield* here.take(10)
      yield* equal(names(s, both).toSorted(), ["a", "b"], "side by side")
      const b = both.find(({ envelope }) => s.name(envelope.id) === "b")!
      const along = yield* prepared(s.queue, { queue: other })
      yield* settle(here, b, retry({ to: along }))
      // it runs there before anybody looks at the group that it left
      const [moved] = yield* there.take(10)
      yield* equal([s.name(moved!.envelope.id), moved!.group], ["b", "g"], "beside its old group")
      yield* equal(names(s, yield* here.take(10)), ["c"], "the group that it left")
    }
  ),

  make(
    "reroute/unique",
    [],
    "a unique key goes along: it is free where it was and held where it is",
    ["Reroute", "Unique", "Unique.finished"],
    function*() {
      const s = yield* stage
      const other = s.other("held")
      const unique = { key: s.id("key"), until: "finished" } as const
      const here = yield* s.subscribe("w")
      const there = yield* s.backend.subscribe(other, { worker: "v" })
      yield* s.publish(["a", { unique }])
      const to = yield* prepared(s.queue, { queue: other })
      yield* settle(here, yield* takeOne(here), retry({ to }))
      const answers = yield* s.backend.publish(other, [s.item("b", { unique })])
      yield* equal(answers, [{ _tag: "Duplicate", existing: s.id("a") }], "in the queue that it went to")
      yield* equal(tags(yield* s.backend.publish(s.queue, [s.item("c", { unique })])), ["Stored"], "where it was")
      yield* settle(there, yield* takeOne(there), succeeded)
      yield* equal(tags(yield* s.backend.publish(other, [s.item("d", { unique })])), ["Stored"], "after its end")
    }
  ),

  make(
    "reroute/unique-taken",
    [],
    "a job whose key another has where it goes to goes on without it, and takes nothing from the other",
    ["Reroute", "Unique", "Unique.finished"],
    function*() {
      const s = yield* stage
      const other = s.other("taken")
      const unique = { key: s.id("key"), until: "finished" } as const
      const here = yield* s.subscribe("w")
      const there = yield* s.backend.subscribe(other, { worker: "v" })
      yield* s.backend.publish(other, [s.item("owner", { unique })])
      yield* s.publish(["a", { unique }])
      const to = yield* prepared(s.queue, { queue: other })
      yield* settle(here, yield* takeOne(here), retry({ to }))
      const both = yield* there.take(10)
      yield* equal(names(s, both), ["owner", "a"], "in the other queue")
      yield* settle(there, both[1]!, succeeded)
      const answers = yield* s.backend.publish(other, [s.item("b", { unique })])
      yield* equal(answers, [{ _tag: "Duplicate", existing: s.id("owner") }], "the key after the end of the guest")
    }
  ),

  make(
    "reroute/wakes",
    [],
    "one who waits on the other queue is woken by the move",
    ["Reroute"],
    function*() {
      const s = yield* stage
      const other = s.other("woken")
      const here = yield* s.subscribe("w")
      const there = yield* s.backend.subscribe(other, { worker: "v" })
      yield* s.publish("a")
      const waiting = yield* Effect.forkChild(receive(there), { startImmediately: true })
      const to = yield* prepared(s.queue, { queue: other })
      yield* settle(here, yield* takeOne(here), retry({ to }))
      yield* equal(names(s, yield* ends(waiting, "waiting on the other queue")), ["a"], "what the other received")
    }
  ),

  make(
    "reroute/aborted",
    ["PROC-25"],
    "a job that was asked to abort ends and goes nowhere",
    ["Reroute", "Cancel"],
    function*() {
      const s = yield* stage
      const other = s.other("never")
      const here = yield* s.subscribe("w")
      const there = yield* s.backend.subscribe(other, { worker: "v" })
      yield* s.publish("a")
      const delivery = yield* takeOne(here)
      yield* equal(yield* (yield* Cancel).request(s.id("a")), "Requested", "answer to the request")
      const to = yield* prepared(s.queue, { queue: other })
      yield* equal(yield* here.settle([[delivery.receipt, retry({ to })]]), ["Aborted"], "answer")
      yield* equal(names(s, yield* there.take(10)), [], "in the other queue")
      yield* equal(names(s, yield* here.take(10)), [], "in its own")
    }
  ),

  make(
    "reroute/record",
    [],
    "whoever looks at the job by its id finds it where it went, with its history",
    ["Reroute", "Inspect", "Priority"],
    function*() {
      const s = yield* stage
      const inspect = yield* Inspect
      const other = s.other("seen")
      const here = yield* s.subscribe("w")
      yield* s.publish("a")
      const to = yield* prepared(s.queue, { queue: other, priority: 3 })
      yield* settle(here, yield* takeOne(here), retry({ to, error: "too big" }))
      const record = Option.getOrUndefined(yield* inspect.get(s.id("a")))
      if (record === undefined) return yield* fail("the job is not found by its id")
      yield* equal([record.queue, record.priority, record.attempt, record.state, record.error], [
        other,
        3,
        2,
        "ready",
        "too big"
      ], "the record")
      yield* equal(record.history.filter(({ event }) => event === "failed").length, 1, "failures in its history")
      yield* equal((yield* inspect.counts(s.queue)).ready, 0, "ready where it was")
      yield* equal((yield* inspect.counts(other)).ready, 1, "ready where it is")
      yield* equal((yield* inspect.queues).includes(other), true, "the other queue is among those in use")
    }
  ),

  make(
    "reroute/many",
    [],
    "jobs that go round three queues, in batches with others that end: each is where it was sent, and ends once",
    ["Reroute"],
    function*() {
      const { scale } = yield* Harness
      const s = yield* stage
      const queues = [s.queue, s.other("second"), s.other("third")]
      const subscriptions = yield* Effect.forEach(queues, (queue, n) => s.backend.subscribe(queue, { worker: `w${n}` }))
      const count = Math.max(30, Math.floor(300 / scale))
      const { publishBatch, settleBatch, takeBatch } = s.backend.limits
      const most = Math.min(takeBatch, settleBatch, 40)
      const jobs = Array.from({ length: count }, (_, n) => s.item(`${n}`))
      for (let from = 0; from < count; from += publishBatch) {
        yield* s.backend.publish(s.queue, jobs.slice(from, from + publishBatch))
      }
      for (const from of queues) for (const to of queues) yield* prepared(from, { queue: to })
      const ends = new Map<string, number>()
      for (let idle = 0; idle < queues.length;) {
        idle = 0
        for (const [n, subscription] of subscriptions.entries()) {
          const taken = yield* subscription.take(most)
          if (taken.length === 0) idle++
          for (const { envelope, queue } of taken) {
            yield* equal(queue, queues[n]!, `queue of ${s.name(envelope.id)}`)
          }
          // each goes its own way: three or four steps, forwards or backwards
          const settlements = taken.map(({ attempt, envelope, receipt }) => {
            const number = Number(s.name(envelope.id))
            const to = queues[(n + 1 + number % 2) % queues.length]!
            return [receipt, attempt > 3 + number % 2 ? succeeded : retry({ to: { queue: to } })] as const
          })
          const answers = yield* subscription.settle(settlements)
          for (let i = 0; i < taken.length; i++) {
            yield* equal(answers[i], "Settled", "answer")
            const name = s.name(taken[i]!.envelope.id)
            if (settlements[i]![1]._tag === "Complete") ends.set(name, (ends.get(name) ?? 0) + 1)
          }
        }
      }
      yield* equal(ends.size, count, "jobs that ended")
      yield* equal(Array.from(ends.values()).filter((times) => times !== 1).length, 0, "jobs that ended twice")
    }
  ),

  make(
    "reroute/refused",
    [],
    "a priority that the engine does not have is refused before the settlement",
    ["Reroute", "Priority"],
    function*() {
      const s = yield* stage
      yield* refused(prepared(s.queue, { priority: 1_000_000_000 }), "a priority of a billion")
      yield* refused(prepared(s.queue, { priority: 0.5 }), "a priority of one half")
    }
  )
]
