/**
 * Settling in a transaction of the user's client: the effects of a handler and the end of its job commit together or not
 * at all.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { SqlClient } from "effect/sql/SqlClient"
import type { BackendError } from "../../Backend.ts"
import type { Transactional } from "../../Capability.ts"
import type { Row } from "./calls.ts"
import type { Engine } from "./engine.ts"
import { fromCause, refusal } from "./errors.ts"
import { fenceOf } from "./receipts.ts"
import { topicOf } from "./wake.ts"

export const transactional = (engine: Engine, client: SqlClient): Context.Service.Shape<typeof Transactional> => {
  const { apart, calls, committed, exchange, hints, wake } = engine
  const isOpen = Effect.map(Effect.serviceOption(client.transactionService), Option.isSome)
  return {
    joins: "SqlClient",
    isOpen,
    transaction: <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | BackendError, R> =>
      Effect.suspend(() => {
        let inside: Exit.Exit<A, E> | undefined
        const run = Effect.onExit(effect, (exit) =>
          Effect.sync(() => {
            inside = exit
          }))
        const transaction = Effect.catchCause(
          client.withTransaction(run),
          (cause): Effect.Effect<A, E | BackendError> => {
            // what the effect itself failed with is not ours to translate
            if (inside !== undefined && Exit.isFailure(inside)) return Effect.failCause(inside.cause)
            const error = cause.reasons.find((reason) => reason._tag === "Fail")?.error
            return error === undefined
              ? Effect.failCause(cause) as Effect.Effect<never, never>
              // begin says that nothing happened; a commit whose answer is missing says nothing
              : Effect.fail(
                fromCause(calls.name, inside === undefined ? "begin" : "commit", error, inside !== undefined)
              )
          }
        )
        // in one that is open already its snapshot may be older than what another connection did now
        return Effect.flatMap(isOpen, (open) => open ? transaction : Effect.andThen(apart.ensure, transaction))
      }),
    settle: (receipt, settlement) =>
      Effect.flatMap(Effect.serviceOption(client.transactionService), (transaction) => {
        if (Option.isNone(transaction)) {
          return Effect.fail(refusal(
            calls.name,
            "settle",
            `job ${receipt.id} is to be settled in a transaction and none is open: run it inside of sql.withTransaction of ` +
              `the client that the backend was built with`
          ))
        }
        const [connection] = transaction.value
        const send = (sql: string, params: ReadonlyArray<unknown>) =>
          Effect.mapError(
            connection.executeValues(sql, params),
            (error) => fromCause(calls.name, "settle", error, false)
          ) as Effect.Effect<ReadonlyArray<Row>, BackendError>
        const fence = fenceOf(receipt)
        apart.begin()
        return Effect.tap(exchange.one(receipt, settlement, send), (settled) =>
          settled === "Lost" || fence === undefined ? Effect.void : client.afterCommit(Effect.sync(() => {
            committed.add(fence)
            for (const topic of fence.plain ? [] : [topicOf.queue(fence.queue), topicOf.results]) {
              wake.signal(topic)
              hints.later(topic)
            }
          })))
      })
  }
}
