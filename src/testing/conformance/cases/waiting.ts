/**
 * Waiting for work: nothing is missed, and who stops waiting holds nothing.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { ends, equal, Harness, make } from "../harness.ts"
import { drain, names, receive, retry, settle, stage, succeeded, takeOne, waitForWork } from "../stage.ts"

export const waiting = [
  make("await/there", [], "who waits while there is work does not wait", [], function*() {
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish("a")
    yield* ends(
      yield* Effect.forkChild(waitForWork(subscription, 1), { startImmediately: true }),
      "waiting for a job that is there"
    )
    yield* equal(names(s, yield* drain(subscription, 1)), ["a"], "what is there then")
  }),

  make("await/publish", [], "a publish wakes who waits", [], function*() {
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    const receiving = yield* Effect.forkChild(receive(subscription), { startImmediately: true })
    yield* Effect.yieldNow
    yield* equal(receiving.pollUnsafe(), undefined, "while the queue is empty")
    yield* s.publish("a")
    yield* equal(names(s, yield* ends(receiving, "waiting for a publish")), ["a"], "what it got")
  }),

  make("await/between", [], "a job published between an empty claim and the wait is not missed", [], function*() {
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    for (let round = 0; round < 20; round++) {
      yield* equal(names(s, yield* subscription.take(1)), [], "before")
      yield* s.publish(`${round}`)
      yield* ends(yield* Effect.forkChild(waitForWork(subscription, 1), { startImmediately: true }), `wait ${round}`)
      const [delivery] = yield* drain(subscription, 1)
      yield* equal(s.name(delivery!.envelope.id), `${round}`, "what is there")
      yield* settle(subscription, delivery!, succeeded)
    }
  }),

  make("await/retry", [], "a retry without delay wakes who waits", [], function*() {
    const s = yield* stage
    const one = yield* s.subscribe("one")
    const two = yield* s.subscribe("two")
    yield* s.publish("a")
    const delivery = yield* takeOne(one)
    const receiving = yield* Effect.forkChild(receive(two), { startImmediately: true })
    yield* settle(one, delivery, retry())
    yield* equal(names(s, yield* ends(receiving, "waiting for a retry")), ["a"], "what it got")
  }),

  make("await/delayed-retry", [], "a delayed retry wakes who waits when it falls due", [], function*() {
    const { advance, unit } = yield* Harness
    const s = yield* stage
    const one = yield* s.subscribe("one")
    const two = yield* s.subscribe("two")
    yield* s.publish("a")
    const delivery = yield* takeOne(one)
    const receiving = yield* Effect.forkChild(receive(two), { startImmediately: true })
    yield* settle(one, delivery, retry({ after: 2 * unit }))
    yield* advance(unit)
    yield* equal(receiving.pollUnsafe(), undefined, "before its time")
    yield* advance(unit)
    yield* equal(names(s, yield* ends(receiving, "waiting for a delayed retry")), ["a"], "what it got")
  }),

  make("await/interrupt", [], "who is interrupted while waiting holds nothing", [], function*() {
    const s = yield* stage
    const one = yield* s.subscribe("one")
    const two = yield* s.subscribe("two")
    const before = yield* Effect.forkChild(one.await(5), { startImmediately: true })
    yield* Effect.yieldNow
    yield* Fiber.interrupt(before)
    const racing = yield* Effect.forkChild(one.await(5), { startImmediately: true })
    yield* s.publish("a", "b", "c")
    yield* Fiber.interrupt(racing)
    const receiving = yield* Effect.forkChild(receive(two), { startImmediately: true })
    const first = yield* ends(receiving, "waiting after another was interrupted")
    const rest = first.length < 3 ? yield* drain(two, 3 - first.length) : []
    yield* equal(names(s, [...first, ...rest]).toSorted(), ["a", "b", "c"], "what the other one got")
  }),

  make(
    "await/everybody",
    [],
    "each of many jobs that come one by one reaches one of several who wait",
    [],
    function*() {
      const s = yield* stage
      const total = 100
      const seen: Array<string> = []
      const worker = (name: string) =>
        Effect.gen(function*() {
          const subscription = yield* s.subscribe(name)
          for (;;) {
            const deliveries = yield* receive(subscription)
            seen.push(...names(s, deliveries))
            yield* subscription.settle(deliveries.map(({ receipt }) => [receipt, succeeded] as const))
          }
        })
      const workers = yield* Effect.forEach(
        ["one", "two", "three"],
        (name) => Effect.forkChild(worker(name), { startImmediately: true })
      )
      const { advance, unit } = yield* Harness
      for (let n = 0; n < total; n++) {
        yield* s.publish(`${n}`)
        // both ways: workers that had time to wait again, and workers that had not
        if (n % 3 !== 0) yield* Effect.yieldNow
        if (n % 10 === 9) yield* advance(unit / 100)
      }
      for (let step = 0; seen.length < total && step < 100; step++) yield* advance(unit / 20)
      yield* Fiber.interruptAll(workers)
      yield* equal(
        seen.map(Number).toSorted((a, b) => a - b),
        Array.from({ length: total }, (_, n) => n),
        "jobs that were received"
      )
    }
  )
]
