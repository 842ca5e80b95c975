/**
 * The connection as a scoped resource: opening it waits for other processes that are opening the same file, and its end
 * leaves an empty write-ahead log behind.
 *
 * @since 0.1.0
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import type { DatabaseSync } from "node:sqlite"
import type { BackendError } from "../../Backend.ts"
import { Connection } from "./connection.ts"
import { fromCause, isBusy } from "./errors.ts"
import { Foreign, open, type Settings } from "./open.ts"

export interface ConnectSettings extends Settings {
  /** milliseconds */
  readonly lockTimeout: number
  readonly clock: Clock.Clock
}

export const connect = (
  settings: ConnectSettings
): Effect.Effect<{ readonly connection: Connection; readonly path: string | undefined }, BackendError, Scope.Scope> => {
  const { clock, filename, lockTimeout, name } = settings
  const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000
  const attempt = (deadline: number): Effect.Effect<DatabaseSync, BackendError> =>
    Effect.suspend(() => {
      try {
        return Effect.succeed(open(settings))
      } catch (cause) {
        if (cause instanceof Foreign) return Effect.fail(cause.error)
        if (!isBusy(cause) || now() >= deadline) return Effect.fail(fromCause(name, "open", filename, cause))
        return Effect.flatMap(Random.next, (random) =>
          Effect.andThen(clock.sleep(Duration.millis(1 + 20 * random)), attempt(deadline)))
      }
    })
  return Effect.acquireRelease(
    Effect.suspend(() => attempt(now() + lockTimeout)).pipe(
      Effect.map((database) => ({
        connection: new Connection(database, clock, { name, filename, lockTimeout }),
        path: database.location() || undefined
      }))
    ),
    ({ connection }) => Effect.sync(() => connection.close())
  )
}
