/**
 * Many jobs, several takers: nothing is lost, nothing is done twice.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { Receipt, Settlement } from "../../../Backend.ts"
import { equal, Harness, holds, make } from "../harness.ts"
import { prng } from "../model/random.ts"
import { dead, names, retry, stage, succeeded, waitForWork } from "../stage.ts"

export const load = [
  make("load/every-job-once", [], "each of thousands of jobs is completed once by one of several takers", [
    "StrictFence"
  ], function*() {
    const { scale, seed } = yield* Harness
    const s = yield* stage
    const { limits } = s.backend
    const total = Math.max(100, Math.floor(10_000 / scale))
    const random = prng(seed)
    const ended = new Map<string, number>()
    const running = new Set<string>()
    const problems: Array<string> = []
    let published = 0

    const produce = (producer: number) =>
      Effect.gen(function*() {
        const mine = Array.from({ length: total }, (_, n) => n).filter((n) => n % 3 === producer)
        for (let at = 0; at < mine.length;) {
          const size = Math.min(limits.publishBatch, 1 + random.int(150), mine.length - at)
          yield* s.backend.publish(s.queue, mine.slice(at, at + size).map((n) => s.item(`${n}`)))
          at += size
          published += size
          yield* Effect.yieldNow
        }
      })

    const settlementOf = (name: string): Settlement => {
      const dice = random.int(20)
      if (dice === 0) return retry({ place: "front" })
      if (dice === 1) return retry({ why: "released", attempt: "kept" })
      ended.set(name, (ended.get(name) ?? 0) + 1)
      return dice === 2 ? dead("failed") : succeeded
    }

    const consume = (consumer: number) =>
      Effect.gen(function*() {
        const subscription = yield* s.subscribe(`worker-${consumer}`)
        let settlements: ReadonlyArray<readonly [Receipt, Settlement]> = []
        // a lost job must end the case, not hang it
        let idle = 0
        while (settlements.length > 0 || (ended.size < total && idle < 1000)) {
          const max = Math.min(limits.takeBatch, limits.settleBatch, 1 + random.int(200))
          for (const [receipt] of settlements) running.delete(receipt.id)
          const [answers, deliveries] = yield* subscription.exchange(settlements, max)
          for (const answer of answers) if (answer !== "Settled") problems.push(`a settlement was answered ${answer}`)
          for (const { envelope } of deliveries) {
            if (running.has(envelope.id)) problems.push(`${s.name(envelope.id)} was handed out while it ran`)
            if (ended.has(s.name(envelope.id))) problems.push(`${s.name(envelope.id)} was handed out after its end`)
            running.add(envelope.id)
          }
          yield* Effect.yieldNow
          settlements = deliveries.map(({ envelope, receipt }) => [receipt, settlementOf(s.name(envelope.id))] as const)
          idle = deliveries.length > 0 || published < total || running.size > 0 ? 0 : idle + 1
        }
      })

    const everybody = Effect.all([
      Effect.forEach([0, 1, 2], produce, { concurrency: "unbounded" }),
      Effect.forEach([0, 1, 2, 3], consume, { concurrency: "unbounded" })
    ], { concurrency: "unbounded", discard: true })
    yield* everybody
    yield* equal(problems.slice(0, 5), [], "problems")
    yield* equal(ended.size, total, "jobs that ended")
    for (const [name, times] of ended) yield* holds(times === 1, `${name} ended ${times} times`)
    const last = yield* s.subscribe("last")
    yield* equal(names(s, yield* last.take(10)), [], "jobs left")
  }),

  make(
    "load/none-lost",
    ["L4"],
    "each of many jobs, retries among them, is completed by one of several takers",
    [],
    function*() {
      const { scale, seed } = yield* Harness
      const s = yield* stage
      const { limits } = s.backend
      const total = Math.max(60, Math.floor(1000 / scale))
      const random = prng(seed)
      const ended = new Set<string>()
      const retried = new Set<string>()
      const settlementOf = (name: string): Settlement => {
        if (!retried.has(name) && random.int(5) === 0) {
          retried.add(name)
          return retry()
        }
        ended.add(name)
        return succeeded
      }
      const consume = (consumer: number) =>
        Effect.gen(function*() {
          const subscription = yield* s.subscribe(`worker-${consumer}`)
          // a lost job must end the case, not hang it
          for (let idle = 0; ended.size < total && idle < 1000; idle++) {
            const deliveries = yield* subscription.take(Math.min(limits.takeBatch, limits.settleBatch, 10))
            if (deliveries.length > 0) idle = 0
            const answers = yield* subscription.settle(
              deliveries.map(({ envelope, receipt }) => [receipt, settlementOf(s.name(envelope.id))] as const)
            )
            for (const answer of answers) yield* equal(answer, "Settled", "answer to an owner whose lease lasts")
            yield* Effect.yieldNow
          }
        })
      const all = Array.from({ length: total }, (_, n) => `${n}`)
      for (let at = 0; at < total; at += Math.min(limits.publishBatch, 50)) {
        yield* s.publish(...all.slice(at, at + Math.min(limits.publishBatch, 50)))
      }
      yield* Effect.forEach([0, 1, 2], consume, { concurrency: "unbounded" })
      yield* equal(all.filter((name) => !ended.has(name)), [], "jobs that were lost")
      yield* holds(retried.size > 0, "no job was retried")
    }
  ),

  make("load/receivers", [], "jobs that come while takers wait and wake are all received", [], function*() {
    const { advance, scale, unit } = yield* Harness
    const s = yield* stage
    const total = Math.max(50, Math.floor(1000 / scale))
    const seen = new Map<string, number>()
    const consume = (consumer: number) =>
      Effect.gen(function*() {
        const subscription = yield* s.subscribe(`worker-${consumer}`)
        for (;;) {
          const deliveries = yield* subscription.take(7)
          for (const { envelope } of deliveries) seen.set(envelope.id, (seen.get(envelope.id) ?? 0) + 1)
          if (deliveries.length > 0) {
            yield* subscription.settle(deliveries.map(({ receipt }) => [receipt, succeeded] as const))
          } else {
            yield* Effect.andThen(waitForWork(subscription, 7), Effect.yieldNow)
          }
        }
      })
    const consumers = yield* Effect.forkChild(
      Effect.forEach([0, 1, 2, 3, 4], consume, { concurrency: "unbounded" }),
      { startImmediately: true }
    )
    for (let n = 0; n < total; n++) {
      yield* s.publish(`${n}`)
      if (n % 5 === 0) yield* Effect.yieldNow
    }
    for (let step = 0; step < 100 && seen.size < total; step++) yield* advance(unit / 20)
    yield* equal(seen.size, total, "jobs received")
    for (const [id, times] of seen) yield* holds(times === 1, `${s.name(id)} was handed out ${times} times`)
    yield* equal(consumers.pollUnsafe(), undefined, "takers that ended")
  })
]
