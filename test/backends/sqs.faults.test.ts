/**
 * Connections that break at the worst moments, call by call, while jobs are enqueued and worked: nothing is lost. What runs
 * twice does so for a reason that has a name.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Backend, BackendError, Delivery, Receipt, Settled, Settlement, Subscription } from "windlass/Backend"
import { read } from "../../src/backends/sqs/message.ts"
import type { Trick } from "./sqs/between.ts"
import { behind, dead, item, retry, succeeded } from "./sqs/here.ts"

const total = 40

/** as a worker does: what was not answered is said again, for as long as the lease lasts */
const settle = (
  subscription: Subscription,
  items: ReadonlyArray<readonly [Receipt, Settlement]>
): Effect.Effect<void> =>
  Effect.flatMap(
    Effect.orElseSucceed(subscription.settle(items), (): ReadonlyArray<Settled> => items.map(() => "Unknown")),
    (answers) => {
      const open = items.filter((_, i) => answers[i] === "Unknown")
      return open.length === 0 ? Effect.void : settle(subscription, open)
    }
  )

const receive = (subscription: Subscription): Effect.Effect<ReadonlyArray<Delivery>> =>
  Effect.flatMap(Effect.orElseSucceed(subscription.take(7), () => []), (taken) =>
    taken.length > 0
      ? Effect.succeed(taken)
      : Effect.andThen(Effect.ignore(subscription.await(7)), receive(subscription)))

/** one of three fails once, one of ten dies */
const settlementOf = (id: number, attempt: number): Settlement =>
  id % 10 === 0 ? dead : id % 3 === 0 && attempt === 1 ? retry() : succeeded

const again = (publish: Effect.Effect<unknown, BackendError>): Effect.Effect<unknown, BackendError> =>
  Effect.retry(publish, { while: ({ retryable }) => retryable })

/** enqueues and works all jobs while the trick is played to every third call of the operation; how often each job ended */
const storm = (operation: string, trick: Trick) =>
  Effect.gen(function*() {
    const { backend, look, proxy } = yield* behind({ lease: "2 seconds" })
    const subscription = yield* backend.subscribe("q", { worker: "w" })
    const ended = new Map<number, number>()
    let played = 0
    const play = Effect.sync(() => {
      if (played < 5) {
        played++
        proxy.play(operation, trick)
      }
    })
    const produce = Effect.forEach(Array.from({ length: total }, (_, n) => n), (n) =>
      Effect.andThen(
        n % 8 === 0 ? play : Effect.void,
        again((backend as Backend["Service"]).publish("q", [item(`${n}`)]))
      ))
    const work = Effect.gen(function*() {
      while (ended.size < total) {
        const taken = yield* receive(subscription)
        const settlements = taken.map((delivery) => {
          const id = Number(delivery.envelope.id)
          const settlement = settlementOf(id, delivery.attempt)
          if (settlement._tag !== "Retry") ended.set(id, (ended.get(id) ?? 0) + 1)
          return [delivery.receipt, settlement] as const
        })
        if (ended.size % 5 === 0) yield* play
        yield* settle(subscription, settlements)
      }
    })
    yield* Effect.all([produce, work], { concurrency: 2, discard: true })
    const buried = look("q-dead").messages.ready.map(({ body }) => Number(read(body)!.envelope.id))
    const times = Array.from(ended.values()).reduce((sum, one) => sum + one, 0)
    const calls = proxy.calls.filter((call) => call.operation === operation).length
    return { ended, buried: new Set(buried), letters: buried.length, twice: times - total, played, calls }
  }).pipe(Effect.scoped)

const deadly = Array.from({ length: total }, (_, n) => n).filter((n) => n % 10 === 0)

describe("connections that break", () => {
  const cases: ReadonlyArray<readonly [operation: string, trick: "cut" | "lose", twice: "none" | "some"]> = [
    ["SendMessageBatch", "cut", "none"],
    // a standard queue does not know that it has the job already
    ["SendMessageBatch", "lose", "some"],
    ["ReceiveMessage", "cut", "none"],
    // nobody has read the answer: the jobs come back when their lease is over, and have not been begun
    ["ReceiveMessage", "lose", "none"],
    ["DeleteMessageBatch", "cut", "none"],
    ["DeleteMessageBatch", "lose", "none"]
  ]
  for (const [operation, trick, twice] of cases) {
    const when = trick === "cut" ? "before the call" : "instead of the answer"
    it.live(`${operation}, ${when}: nothing is lost, ${twice === "none" ? "nothing" : "as much as was lost"} runs twice`, () =>
      Effect.gen(function*() {
        const { buried, calls, ended, letters, played, twice: times } = yield* storm(operation, { _tag: trick })
        assert.isAtLeast(played, 3)
        assert.isAbove(calls, played)
        assert.strictEqual(ended.size, total)
        assert.deepStrictEqual(Array.from(buried).toSorted((a, b) => a - b), deadly)
        if (twice === "none") assert.deepStrictEqual([times, letters], [0, deadly.length])
        // a retry that was sent twice ends twice, and so does what comes of its copies
        else assert.isAtMost(times, 4 * played)
      }))
  }
})
