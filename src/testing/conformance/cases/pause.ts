/**
 * A paused queue: takes jobs in, hands none out.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { Pause } from "../../../Capability.ts"
import { ends, equal, Harness, make } from "../harness.ts"
import { drain, names, receive, retry, stage, takeOne } from "../stage.ts"

export const pause = [
  make("pause/hold", [], "a paused queue takes jobs in and hands none out; others go on", ["Pause"], function*() {
    const pause = yield* Pause
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.backend.declare(s.other("q"))
    const there = yield* s.backend.subscribe(s.other("q"), { worker: "w" })
    yield* s.publish("a", "b")
    const a = yield* takeOne(subscription)
    yield* equal(yield* pause.get(s.queue), false, "before")
    yield* pause.set(s.queue, true)
    yield* pause.set(s.queue, true)
    yield* equal(yield* pause.get(s.queue), true, "while paused")
    yield* s.publish("c")
    yield* s.backend.publish(s.other("q"), [s.item("x")])
    yield* equal(names(s, yield* subscription.take(10)), [], "handed out while paused")
    yield* equal(names(s, yield* there.take(10)), ["x"], "handed out by another queue")
    yield* equal(
      yield* subscription.exchange([[a.receipt, retry()]], 10),
      [["Settled"], []],
      "an exchange while paused: a running job may be settled"
    )
    yield* pause.set(s.queue, false)
    yield* equal(names(s, yield* drain(subscription, 3)).toSorted(), ["a", "b", "c"], "handed out afterwards")
  }),

  make("pause/await", [], "who waits at a paused queue is woken when it goes on", ["Pause"], function*() {
    const pause = yield* Pause
    const { advance, unit } = yield* Harness
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish("a")
    yield* pause.set(s.queue, true)
    const receiving = yield* Effect.forkChild(receive(subscription), { startImmediately: true })
    yield* advance(unit)
    yield* equal(receiving.pollUnsafe(), undefined, "while paused")
    yield* pause.set(s.queue, false)
    yield* equal(names(s, yield* ends(receiving, "waiting for the queue to go on")), ["a"], "what it got")
  })
]
