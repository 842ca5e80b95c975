/**
 * FIFO queues, on a server that answers as SQS does: with several messages of one group.
 */
import * as Sqs from "@aws-sdk/client-sqs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as SqsBackend from "windlass/backends/SqsBackend"
import {
  backendOf,
  client,
  dead,
  ids,
  item,
  refusedWith,
  retry,
  server,
  settings,
  succeeded,
  takeOne
} from "./sqs/here.ts"
import { at, credentials, freshPrefix } from "./sqs/server.ts"
import { strictFifo } from "./sqs/strictFifo.ts"

describe("FIFO", () => {
  /** a queue of which a receive brings several of a group, as those of SQS do */
  const fifo = (options: SqsBackend.Options = {}) =>
    Effect.gen(function*() {
      const strict = yield* Effect.acquireRelease(
        Effect.promise(strictFifo),
        ({ close }) => Effect.promise(close)
      )
      const backend = yield* backendOf(SqsBackend.layerFifo({
        region: "us-east-1",
        endpoint: `http://127.0.0.1:${strict.port}`,
        client: { credentials },
        ...settings,
        ...options
      }))
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      return { backend, strict, subscription }
    })

  const group = "g"
  const abc = ["a", "b", "c"].map((id) => item(id, { group }))
  const state = (messages: ReadonlyArray<readonly [string, number, boolean]>) =>
    messages.map(([payload, receives, inFlight]) => `${payload} ${receives}${inFlight ? " away" : ""}`)

  it.live("of one receive the first of each group is handed out, the next when it has ended", () =>
    Effect.gen(function*() {
      const { backend, strict, subscription } = yield* fifo()
      yield* backend.publish("q", [...abc, item("x", { group: "h" }), item("alone")])
      const first = yield* subscription.take(10)
      assert.deepStrictEqual(ids(first), ["a", "x", "alone"])
      assert.deepStrictEqual(yield* subscription.take(10), [])
      const [settled, next] = yield* subscription.exchange([[first[0]!.receipt, succeeded]], 10)
      assert.deepStrictEqual([settled, ids(next)], [["Settled"], ["b"]])
      assert.deepStrictEqual([next[0]!.attempt, next[0]!.group], [1, group])
      yield* subscription.settle([[next[0]!.receipt, dead]])
      assert.deepStrictEqual(ids(yield* subscription.take(10)), ["c"])
      // each was received once, whatever it waited for
      assert.deepStrictEqual(state(strict.messages()), ["\"c\" 1 away", "\"x\" 1 away", "\"alone\" 1 away"])
    }).pipe(Effect.scoped))

  it.live("who is woken when the one before it has ended need not ask the server", () =>
    Effect.gen(function*() {
      const { backend, subscription } = yield* fifo()
      yield* backend.publish("q", abc)
      const [a] = yield* subscription.take(10)
      const waiting = yield* Effect.forkChild(subscription.await(10), { startImmediately: true })
      yield* subscription.settle([[a!.receipt, succeeded]])
      yield* Fiber.join(waiting)
      assert.deepStrictEqual(ids(yield* subscription.take(10)), ["b"])
    }).pipe(Effect.scoped))

  it.live("those behind one that is retried go back with it, and keep their order", () =>
    Effect.gen(function*() {
      const { backend, strict, subscription } = yield* fifo()
      yield* backend.publish("q", abc)
      const [a] = yield* subscription.take(10)
      yield* subscription.settle([[a!.receipt, retry({ after: 900 })]])
      assert.deepStrictEqual(state(strict.messages()), ["\"a\" 1 away", "\"b\" 1", "\"c\" 1"])
      assert.deepStrictEqual(yield* subscription.take(10), [])
      // no guess: it is asked until the pause is over
      let again = yield* subscription.take(10)
      while (again.length === 0) {
        yield* Effect.sleep("50 millis")
        again = yield* subscription.take(10)
      }
      assert.deepStrictEqual(ids(again), ["a"])
      assert.strictEqual(again[0]!.attempt, 2)
      yield* subscription.settle([[again[0]!.receipt, succeeded]])
      assert.deepStrictEqual(ids(yield* subscription.take(10)), ["b"])
    }).pipe(Effect.scoped))

  it.live("a heartbeat renews those behind as well, and a lost one gives them back", () =>
    Effect.gen(function*() {
      const { backend, strict, subscription } = yield* fifo({ lease: "2 seconds" })
      const lease = subscription.lease._tag === "Timed" ? subscription.lease : assert.fail("the lease is timed")
      yield* backend.publish("q", abc)
      const [a] = yield* subscription.take(10)
      for (let beat = 0; beat < 4; beat++) {
        yield* Effect.sleep("700 millis")
        assert.deepStrictEqual(yield* lease.extend([a!.receipt]), ["Held"])
      }
      assert.deepStrictEqual(state(strict.messages()), ["\"a\" 1 away", "\"b\" 1 away", "\"c\" 1 away"])
      // nobody renews them any more
      while (strict.messages().some(([, , isAway]) => isAway)) yield* Effect.sleep("50 millis")
      assert.deepStrictEqual(yield* lease.extend([a!.receipt]), ["Lost"])
      assert.deepStrictEqual(yield* subscription.settle([[a!.receipt, succeeded]]), ["Lost"])
      const [again] = yield* subscription.take(10)
      assert.deepStrictEqual([again!.envelope.id, again!.attempt], ["a", 2])
    }).pipe(Effect.scoped))

  it.live("what waits behind others goes back when the subscription ends", () =>
    Effect.gen(function*() {
      const { backend, strict } = yield* fifo()
      yield* backend.publish("q", abc)
      const scope = yield* Scope.make()
      const one = yield* Scope.provide(backend.subscribe("q", { worker: "one" }), scope)
      assert.deepStrictEqual(ids(yield* one.take(10)), ["a"])
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(state(strict.messages()), ["\"a\" 1 away", "\"b\" 1", "\"c\" 1"])
    }).pipe(Effect.scoped))

  it.live("the same id is stored once, and no death is taken for an earlier one", () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const backend = yield* backendOf(SqsBackend.layerFifo(at(server, { ...settings, prefix })))
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      const long = item("ä".repeat(200), { group: "ö".repeat(200) })
      for (let n = 0; n < 2; n++) yield* backend.publish("q", [item("a"), long])
      const taken = yield* subscription.take(10)
      assert.deepStrictEqual(ids(taken).toSorted(), ["a", "ä".repeat(200)].toSorted())
      assert.deepStrictEqual(taken.map(({ group }) => group).toSorted(), ["ö".repeat(200), undefined])
      yield* subscription.settle(taken.map(({ receipt }) => [receipt, dead] as const))
      const deadLetters = () => server.inspectQueue(`${prefix}q-dead.fifo`)!.messages.ready
      assert.strictEqual(deadLetters().length, 2)
      // sent back by SQS's own means, it dies again
      yield* Effect.promise(() =>
        client.send(
          new Sqs.SendMessageCommand({
            QueueUrl: server.inspectQueue(`${prefix}q.fifo`)!.url,
            MessageBody: deadLetters()[0]!.body,
            MessageGroupId: "g",
            MessageDeduplicationId: "redrive"
          })
        )
      )
      const again = yield* takeOne(subscription)
      assert.strictEqual(again.attempt, 1)
      yield* subscription.settle([[again.receipt, dead]])
      assert.strictEqual(deadLetters().length, 3)
    }).pipe(Effect.scoped))

  it.live("a delay is refused also where no type has refused it, with what to do", () =>
    Effect.gen(function*() {
      const backend = yield* backendOf(SqsBackend.layerFifo(at(server)))
      yield* refusedWith(
        backend.publish("q", [item("a", { due: { _tag: "After", millis: 1_000 } })]),
        /delays no single message: use a standard queue/
      )
    }).pipe(Effect.scoped))
})
