/**
 * What a job came to, for those who asked.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Settlement } from "../../../Backend.ts"
import { Results } from "../../../Capability.ts"
import { ends, equal, Harness, make } from "../harness.ts"
import { drain, retry, settle, stage, succeeded, takeOne } from "../stage.ts"

const endings: ReadonlyArray<readonly [state: string, Settlement, reason: string | undefined]> = [
  ["succeeded", { ...succeeded, exit: "{\"ok\":1}" }, undefined],
  ["discarded", { ...succeeded, how: "discarded", reason: "twice" }, "twice"],
  ["aborted", { ...succeeded, how: "aborted", reason: "asked" }, "asked"],
  ["dead", { _tag: "Dead", reason: "failed", error: "no", exit: "{\"no\":1}" }, "failed"]
]

export const results = [
  make("results/poll", [], "there is none before the end, then it says how the job ended", ["Results"], function*() {
    const { unit } = yield* Harness
    const results = yield* Results
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    for (const [state, settlement, reason] of endings) {
      yield* s.publish([state, { keepResult: 1000 * unit }])
      yield* equal((yield* results.poll(s.id(state)))._tag, "None", `result of the waiting job (${state})`)
      const delivery = yield* takeOne(subscription)
      yield* equal(delivery.keepsResult, true, "keepsResult")
      yield* equal((yield* results.poll(s.id(state)))._tag, "None", `result of the running job (${state})`)
      yield* settle(subscription, delivery, settlement)
      const result = yield* results.poll(s.id(state))
      yield* equal(
        result._tag === "Some" ? result.value : undefined,
        { state, reason, exit: settlement._tag === "Retry" ? undefined : settlement.exit } as never,
        `result of the job that ${state}`
      )
    }
  }),

  make("results/await", [], "who waits gets it when the job ends; a retry is no end", ["Results"], function*() {
    const { unit } = yield* Harness
    const results = yield* Results
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    for (const [state, settlement, reason] of endings) {
      yield* s.publish([state, { keepResult: 1000 * unit }])
      const waiting = yield* Effect.forEach(
        [1, 2],
        () => Effect.forkChild(results.await(s.id(state)), { startImmediately: true })
      )
      yield* settle(subscription, yield* takeOne(subscription), retry())
      yield* Effect.yieldNow
      yield* equal(waiting[0]!.pollUnsafe(), undefined, "after a retry")
      yield* settle(subscription, yield* takeOne(subscription), settlement)
      const expected = { state, reason, exit: settlement._tag === "Retry" ? undefined : settlement.exit }
      for (const fiber of waiting) {
        yield* equal(yield* ends(fiber, "waiting for the result"), expected as never, `result of the job that ${state}`)
      }
      const late = yield* Effect.forkChild(results.await(s.id(state)), { startImmediately: true })
      yield* equal(yield* ends(late, "asking for a result that is there"), expected as never, "the result, asked later")
    }
  }),

  make(
    "results/before-publish",
    [],
    "who waits for a job that is not there yet gets its result as well",
    ["Results"],
    function*() {
      const { unit } = yield* Harness
      const results = yield* Results
      const s = yield* stage
      const subscription = yield* s.subscribe("w")
      const waiting = yield* Effect.forkChild(results.await(s.id("a")), { startImmediately: true })
      yield* s.publish(["a", { keepResult: 1000 * unit }])
      yield* settle(subscription, yield* takeOne(subscription), { ...succeeded, exit: "1" })
      yield* equal((yield* ends(waiting, "waiting for the result")).exit, "1", "what it got")
    }
  ),

  make("results/interrupt", [], "who is interrupted while waiting leaves nothing behind", ["Results"], function*() {
    const { unit } = yield* Harness
    const results = yield* Results
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish(["a", { keepResult: 1000 * unit }])
    const [one, two] = yield* Effect.forEach(
      [1, 2],
      () => Effect.forkChild(results.await(s.id("a")), { startImmediately: true })
    )
    yield* Fiber.interrupt(one!)
    yield* settle(subscription, yield* takeOne(subscription), succeeded)
    yield* equal((yield* ends(two!, "waiting for the result")).state, "succeeded", "what the other one got")
  }),

  make("results/expiry", [], "it is kept for as long as was asked, from the end on", ["Results"], function*() {
    const { advance, slack, unit } = yield* Harness
    const results = yield* Results
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    yield* s.publish(["a", { keepResult: 4 * unit }], ["b", { keepResult: 4 * unit }])
    const deliveries = yield* drain(subscription, 2)
    // the time that it waits and runs does not count
    yield* advance(3 * unit)
    yield* subscription.settle([
      [deliveries[0]!.receipt, succeeded],
      [deliveries[1]!.receipt, { _tag: "Dead", reason: "failed", error: undefined, exit: undefined }]
    ])
    yield* advance(3 * unit)
    for (const name of ["a", "b"]) {
      yield* equal((yield* results.poll(s.id(name)))._tag, "Some", `result of ${name} before its time is over`)
    }
    yield* advance(unit + slack)
    for (const name of ["a", "b"]) {
      yield* equal((yield* results.poll(s.id(name)))._tag, "None", `result of ${name} when its time is over`)
    }
  })
]
