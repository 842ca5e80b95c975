/**
 * Calls to the server on the backend's own connections. They never join a transaction of the user. A call is
 * uninterruptible, so that no claim is committed whose answer is thrown away; the server ends it after the statement
 * time-out, and when no answer comes for longer than that, the connection is given up.
 *
 * @since 0.1.0
 */
import * as PgConnection from "@effect/sql-pg/PgConnection"
import * as PgPool from "@effect/sql-pg/PgPool"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { SqlError } from "effect/sql/SqlError"
import type { BackendError } from "../../Backend.ts"
import { fromCause, isContention, refusal, silence } from "./errors.ts"
import type { Names } from "./names.ts"

export type Row = ReadonlyArray<unknown>

export interface Settings {
  /** what the backend calls itself */
  readonly name: string
  readonly names: Names
  /** how to connect: the user's client's configuration, without what it does to names and values */
  readonly config: PgConnection.Config
  readonly connections: number
  /** milliseconds; `undefined`: the server's own setting counts */
  readonly statementTimeout: number | undefined
}

/** timers of JavaScript hold 31 bits of milliseconds, and go off at once where that is exceeded */
const longestTimer = 2 ** 31 - 1

/** tries of a call that the server undid because of another one */
const tries = 6

export class Calls {
  readonly name: string
  readonly names: Names
  readonly config: PgConnection.Config
  readonly connections: number
  private readonly pool: PgPool.PgPool
  private readonly deadline: number

  constructor(settings: Settings, pool: PgPool.PgPool) {
    this.name = settings.name
    this.names = settings.names
    this.config = settings.config
    this.connections = settings.connections
    this.pool = pool
    // the server's own time-out comes first, whenever there is an answer at all
    const { statementTimeout } = settings
    this.deadline = statementTimeout === undefined
      ? 30_000
      : Math.min(longestTimer, statementTimeout + Math.min(5_000, 500 + statementTimeout / 2))
  }

  /** the text of a statement, with the names of this backend in it */
  sql(text: string): string {
    return this.names.sql(text)
  }

  /** rows, by position */
  run(
    operation: string,
    sql: string,
    params: ReadonlyArray<unknown> = []
  ): Effect.Effect<ReadonlyArray<Row>, BackendError> {
    return this.attempt(operation, this.pool.use((connection) => connection.queryValues(sql, params)), 1)
  }

  /** the first column of the first row */
  one<A>(operation: string, sql: string, params: ReadonlyArray<unknown> = []): Effect.Effect<A, BackendError> {
    return Effect.map(this.run(operation, sql, params), (rows) => rows[0]?.[0] as A)
  }

  /** as `run`, for calls whose answer may be thrown away: who is interrupted waits no longer, and the call goes on */
  loosely(
    operation: string,
    sql: string,
    params: ReadonlyArray<unknown>
  ): Effect.Effect<ReadonlyArray<Row>, BackendError> {
    return Effect.flatMap(Effect.forkDetach(this.run(operation, sql, params), { startImmediately: true }), Fiber.join)
  }

  /** ending a call takes the client a few seconds when the server is silent: nobody waits for that, or hears how it ended */
  private inTime<A>(operation: string, fiber: Fiber.Fiber<A, SqlError>): Effect.Effect<A, SqlError | BackendError> {
    return Effect.callback((resume) => {
      const timer = setTimeout(() => {
        unobserve()
        fiber.interruptUnsafe()
        resume(Effect.fail(silence(this.name, operation, this.deadline)))
      }, this.deadline)
      const unobserve = fiber.addObserver((exit) => {
        clearTimeout(timer)
        resume(exit)
      })
    })
  }

  private attempt<A>(
    operation: string,
    call: Effect.Effect<A, SqlError>,
    n: number
  ): Effect.Effect<A, BackendError> {
    const bounded = Effect.flatMap(
      Effect.forkDetach(call, { startImmediately: true }),
      (fiber) => fiber.pollUnsafe() ?? this.inTime(operation, fiber)
    )
    return Effect.uninterruptible(Effect.catchCause(bounded, (cause): Effect.Effect<A, BackendError> => {
      const error = Cause.findErrorOption(cause)
      if (Option.isNone(error)) {
        // nobody can interrupt this but the pool, when it is shut down
        return Cause.hasInterruptsOnly(cause)
          ? Effect.fail(refusal(this.name, operation, "the layer of the backend has ended: build it again"))
          : Effect.failCause(cause as Cause.Cause<never>)
      }
      if (error.value._tag === "windlass/BackendError") return Effect.fail(error.value)
      if (!isContention(error.value) || n === tries) return Effect.fail(fromCause(this.name, operation, error.value))
      return Effect.flatMap(Effect.sleep(Math.random() * 5 * 2 ** n), () => this.attempt(operation, call, n + 1))
    }))
  }
}

/** opens the connections that will be needed, so that a server that has not so many says it now */
export const make = Effect.fnUntraced(
  function*(settings: Settings): Effect.fn.Return<Calls, BackendError, Scope.Scope> {
    const failed = (error: SqlError) => fromCause(settings.name, "connect", error, false)
    const pool = yield* Effect.mapError(
      PgPool.make({ ...settings.config, maxConnections: settings.connections, minConnections: 1 }),
      failed
    )
    yield* Effect.mapError(
      Effect.scoped(Effect.forEach(Array.from({ length: settings.connections }), () => pool.get, { discard: true })),
      failed
    )
    return new Calls(settings, pool)
  }
)

/** a connection of its own, for as long as the scope */
export const reserve = (config: PgConnection.Config): Effect.Effect<PgConnection.PgConnection, SqlError, Scope.Scope> =>
  PgConnection.make(config)
