/**
 * Enqueues that join a transaction.
 *
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { equal, fail, Harness, make } from "../harness.ts"
import { drain, names, stage, tags } from "../stage.ts"

const transaction = Effect.gen(function*() {
  const { transaction } = yield* Harness
  return transaction ?? (yield* fail("the suite gave no `transaction`, which a Transactional backend is tried with"))
})

export const transactional = [
  make("transaction/rollback", [], "an enqueue in a transaction that is rolled back has not happened", [
    "Transactional"
  ], function*() {
    const inTransaction = yield* transaction
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    const exit = yield* Effect.exit(inTransaction(
      Effect.andThen(s.backend.publish(s.queue, [s.item("a"), s.item("b")]), Effect.fail("rolled back"))
    ))
    yield* equal(exit._tag, "Failure", "exit of the transaction")
    yield* equal(names(s, yield* subscription.take(10)), [], "jobs")
  }),

  make("transaction/commit", [], "an enqueue in a transaction is seen when it is committed, not before", [
    "Transactional"
  ], function*() {
    const inTransaction = yield* transaction
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    const stored = yield* Deferred.make<void>()
    const go = yield* Deferred.make<void>()
    const committing = yield* Effect.forkChild(inTransaction(Effect.gen(function*() {
      yield* equal(tags(yield* s.backend.publish(s.queue, [s.item("a")])), ["Stored"], "answers")
      yield* Deferred.succeed(stored, undefined)
      yield* Deferred.await(go)
    })))
    yield* Deferred.await(stored)
    yield* equal(names(s, yield* subscription.take(10)), [], "jobs before the commit")
    yield* Deferred.succeed(go, undefined)
    yield* Effect.ignore(Fiber.join(committing))
    yield* equal(names(s, yield* drain(subscription, 1)), ["a"], "jobs after the commit")
  })
]
