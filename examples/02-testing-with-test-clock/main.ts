/**
 * 02: testing with `TestClock`. `charge.ts` is the code under test, `charge.test.ts` the test of a user; read that. This
 * program does the same outside of a test runner and prints what happened.
 *
 *     node --conditions=windlass-source examples/02-testing-with-test-clock/main.ts
 */
import { Clock, Console, Effect, Layer, References } from "effect"
import { TestClock } from "effect/testing"
import { TestWorker } from "windlass/testing"
import { App, Bank, Charge, ChargeLive, Declined, ReceiptLive } from "./charge.ts"

const BankLive = Layer.succeed(Bank, {
  charge: Effect.fnUntraced(function*(invoice: string) {
    const day = (yield* Clock.currentTimeMillis) / 86_400_000
    yield* Console.log(`day ${day}: the bank declines invoice ${invoice}`)
    return yield* new Declined({ invoice })
  })
})

const Live = TestWorker.layer(App).pipe(
  Layer.provide([ChargeLive, ReceiptLive]),
  Layer.provide(BankLive),
  Layer.provideMerge(TestWorker.backend),
  Layer.provideMerge(TestClock.layer()) // a test of `it.effect` has it already
)

const program = Effect.gen(function*() {
  yield* Charge.enqueue({ invoice: "2024-17" })
  const attempts = yield* TestWorker.adjust("60 days", { outcomes: true })
  const last = attempts.at(-1)
  yield* Console.log(`after ${attempts.length} attempts the job is ${last?.outcome._tag}`)
})

const started = performance.now()
await Effect.runPromise(program.pipe(
  Effect.provide(Live),
  Effect.provideService(References.MinimumLogLevel, "Fatal")
))
console.log(`60 days took ${Math.round(performance.now() - started)} ms`)
