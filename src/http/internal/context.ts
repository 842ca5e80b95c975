/**
 * What a background task sees of the place where it was added: everything but the database transaction, which is over
 * when the task runs and whose connection may be somebody else's by then.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import { TransactionConnection } from "effect/sql/SqlClient"

/** the keys of `TransactionConnection` differ by the number of their client alone */
const prefix = TransactionConnection(0).key.slice(0, -1)

/** where `effect/sql` keeps the key of a transaction that has one of its own */
const current = "effect/sql/CurrentTransactionService"

export const outsideOfTransactions = <R>(context: Context.Context<R>): Context.Context<R> => {
  const named: { readonly key: string } | undefined = context.mapUnsafe.get(current)
  const kept = Array.from(context.mapUnsafe).filter(([key]) =>
    !key.startsWith(prefix) && key !== named?.key && key !== current
  )
  return kept.length === context.mapUnsafe.size ? context : Context.makeUnsafe<R>(new Map(kept))
}
