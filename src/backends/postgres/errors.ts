/**
 * What the server or the connection reports, as a `BackendError` that says whether the call may have taken effect, whether
 * trying again can help, and what to do.
 *
 * @since 0.1.0
 */
import { SqlError } from "effect/sql/SqlError"
import { BackendError } from "../../Backend.ts"

/** the server's code of an error (SQLSTATE), or `undefined` when it was not the server that said it */
export const stateOf = (error: unknown): string | undefined => {
  if (!(error instanceof SqlError)) return undefined
  const { cause } = error.reason
  // a system error has a code too (ECONNREFUSED, EPIPE), and no digit in it
  return typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "string" &&
      /^(?=.*\d)[0-9A-Z]{5}$/.test(cause.code)
    ? cause.code
    : undefined
}

/** the server undid the call because of another one: the same call again will do */
export const isContention = (error: unknown): boolean => {
  const state = stateOf(error)
  return state === "40P01" || state === "40001"
}

/** what is wrong is not the call: another try, a little later, may find it mended */
const passing = /^(?:08|40|53|57|55P03|25P03|XX000)/

/** the server ended the session: what ran last may have been committed just before */
const ended = /^(?:08|57P)/

const advice = (state: string | undefined, error: unknown): string => {
  switch (state) {
    case "53300":
      return "the server has no connection left: raise its max_connections or the role's connection limit, lower " +
        "`connections` here, or put a pooler between"
    case "28P01":
    case "28000":
      return "the server refused the user name or the password: look at the client's configuration and at pg_hba.conf"
    case "3D000":
      return "the database does not exist: create it, or name another one in the client's configuration"
    case "42501":
      return "the role lacks a right: PostgresBackend says at its head which ones are needed"
    case "3F000":
    case "42P01":
    case "42883":
      return "a part of the queue's schema is missing: it was dropped, or restored without its functions. Start with " +
        "`migrate: true` on a schema that is not there, or restore it whole"
    case "57014":
      return "the server gave the call up after `statementTimeout`: look for long locks on the queue's tables and for a " +
        "server that is overloaded"
    case "25006":
      return "the server takes no writes: it is a standby, or default_transaction_read_only is on; connect to the primary"
    case "53100":
      return "the disk of the server is full: free space on it; nothing that was stored is lost"
    case "08P01":
      return "the server or a pooler between refused the connection's parameters: with PgBouncer in transaction mode set " +
        "`statementTimeout: false` and `notify: false`"
    case undefined:
      return error instanceof SqlError && error.reason._tag === "ConnectionError"
        ? "the connection to the server could not be made, or broke"
        : "the call failed"
    default:
      return "the server refused the call"
  }
}

const said = (error: unknown): string => {
  if (error instanceof SqlError) {
    const { cause } = error.reason
    return cause instanceof Error ? cause.message : error.message
  }
  return error instanceof Error ? error.message : String(error)
}

/** `sent`: the call may have reached the server */
export const fromCause = (backend: string, operation: string, error: unknown, sent = true): BackendError => {
  const state = stateOf(error)
  const connection = error instanceof SqlError && error.reason._tag === "ConnectionError"
  const connecting = connection && error.reason.operation === "connect"
  return new BackendError({
    backend,
    operation,
    message: `${advice(state, error)} (${said(error)})`,
    retryable: state === undefined ? connection : passing.test(state),
    // an error of the server means that it rolled back, unless it took leave with it
    outcome: sent && !connecting && (state === undefined ? connection : ended.test(state)) ? "Unknown" : "NotApplied",
    cause: error
  })
}

/** no answer for longer than the server may take: nobody knows what became of the call */
export const silence = (backend: string, operation: string, millis: number): BackendError =>
  new BackendError({
    backend,
    operation,
    message:
      `the server did not answer within ${
        Math.round(millis)
      } ms, so the connection was given up: look at the network between, ` +
      `and for connections that are all in use`,
    retryable: true,
    outcome: "Unknown"
  })

/** a call or a setting that is wrong in itself: trying again never helps */
export const refusal = (backend: string, operation: string, message: string): BackendError =>
  new BackendError({ backend, operation, message, retryable: false, outcome: "NotApplied" })
