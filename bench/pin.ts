/** A transaction that holds its snapshot: no row that is deleted from now on can be cleaned away. */
import * as PgConnection from "@effect/sql-pg/PgConnection"
import { Effect, Exit, Redacted, Scope } from "effect"

export const pin = async (url: string): Promise<() => Promise<void>> => {
  const scope = Scope.makeUnsafe()
  const connection = await Effect.runPromise(Scope.provide(PgConnection.make({ url: Redacted.make(url) }), scope))
  await Effect.runPromise(connection.queryValues("BEGIN ISOLATION LEVEL REPEATABLE READ", []))
  await Effect.runPromise(connection.queryValues("SELECT txid_current()", []))
  return () => Effect.runPromise(Scope.close(scope, Exit.void))
}
