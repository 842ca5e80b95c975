/**
 * 02: a user's test of a retry schedule of days. `TestWorker` is the real worker with the whole chain, on a queue in
 * memory and on `TestClock`: `TestWorker.adjust` lets a month pass while it works, and no real time does.
 *
 * What a handler fails with fails the test. Where failing is the point, `outcomes: true` asks for what happened instead.
 */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Layer } from "effect"
import { TestWorker } from "windlass/testing"
import { App, Bank, Charge, ChargeLive, Declined, Receipt, ReceiptLive } from "./charge.ts"

/** a bank that declines until the given day, and remembers on which days it was asked */
const bankThatDeclinesUntil = (day: number) => {
  const asked: Array<number> = []
  const layer = Layer.succeed(Bank, {
    charge: Effect.fnUntraced(function*(invoice: string) {
      const today = (yield* Clock.currentTimeMillis) / 86_400_000
      asked.push(today)
      if (today < day) return yield* new Declined({ invoice })
    })
  })
  return { asked, layer }
}

/** main's composition, with a worker under test instead of a worker, and fakes for what it talks to */
const test = (bank: Layer.Layer<Bank>) =>
  TestWorker.layer(App).pipe(
    Layer.provide([ChargeLive, ReceiptLive]),
    Layer.provide(bank),
    Layer.provideMerge(TestWorker.backend) // ChargeLive enqueues, so it needs the queue too
  )

describe("charging an invoice", () => {
  it.effect("tries again on days 1, 3, 7, 15 and 31, then gives up", () => {
    const bank = bankThatDeclinesUntil(1_000)
    return Effect.gen(function*() {
      yield* Charge.enqueue({ invoice: "2024-17" })
      const attempts = yield* TestWorker.adjust("60 days", { outcomes: true })

      assert.deepStrictEqual(bank.asked, [0, 1, 3, 7, 15, 31])
      assert.deepStrictEqual(
        attempts.map((attempt) => attempt.outcome._tag),
        ["Retried", "Retried", "Retried", "Retried", "Retried", "Dead"]
      )
      assert.deepStrictEqual(yield* TestWorker.enqueued(Receipt), [])
    }).pipe(Effect.provide(test(bank.layer)))
  })

  it.effect("sends one receipt once the bank accepts", () => {
    const bank = bankThatDeclinesUntil(5)
    return Effect.gen(function*() {
      yield* Charge.enqueue({ invoice: "2024-17" })
      yield* TestWorker.adjust("60 days", { outcomes: true })

      assert.deepStrictEqual(bank.asked, [0, 1, 3, 7])
      const receipts = yield* TestWorker.enqueued(Receipt)
      assert.deepStrictEqual(receipts.map((job) => job.payload), [{ invoice: "2024-17" }])
    }).pipe(Effect.provide(test(bank.layer)))
  })

  it.effect("fails with what the bank said", () => {
    const bank = bankThatDeclinesUntil(5)
    return Effect.gen(function*() {
      // one job, now: the handler's failure is the test's, typed
      const error = yield* Effect.flip(TestWorker.run(Charge, { invoice: "2024-17" }))
      assert.strictEqual(error._tag, "Declined")
    }).pipe(Effect.provide(test(bank.layer)))
  })
})
