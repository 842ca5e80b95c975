/**
 * What the server or the connection reports, as a `BackendError` that says whether the call may have taken effect, whether
 * trying again can help, and what to do.
 *
 * @since 0.1.0
 */
import { RedisError } from "effect/persistence/Redis"
import { BackendError } from "../../Backend.ts"

const messageOf = (cause: unknown): string => cause instanceof Error ? cause.message : String(cause)

/** what the client reported */
const said = (error: unknown): string => messageOf(error instanceof RedisError ? error.cause : error)

/** the first word of what the server answered, or `undefined` when it was not the server that said it */
export const codeOf = (error: unknown): string | undefined => /^([A-Z][A-Z0-9]{2,})(?: |$)/.exec(said(error))?.[1]

/** servers before 7 wrap what a command of a script was refused for */
const reasonOf = (error: unknown): string | undefined => {
  const code = codeOf(error)
  return code === "ERR" ? /user_script:\d+: -?([A-Z]{3,}) /.exec(said(error))?.[1] ?? code : code
}

/** refused at the first write of a script, or before it ran: nothing happened */
const refusals: ReadonlySet<string> = new Set([
  "NOSCRIPT",
  "OOM",
  "MISCONF",
  "NOREPLICAS",
  "READONLY",
  "MASTERDOWN",
  "LOADING",
  "BUSY",
  "CLUSTERDOWN",
  "TRYAGAIN",
  "MOVED",
  "ASK",
  "CROSSSLOT",
  "NOAUTH",
  "WRONGPASS",
  "NOPERM"
])

/** another try, a little later, may find it mended */
const passing: ReadonlySet<string> = new Set([
  "NOSCRIPT",
  "OOM",
  "MISCONF",
  "NOREPLICAS",
  "READONLY",
  "MASTERDOWN",
  "LOADING",
  "BUSY",
  "CLUSTERDOWN",
  "TRYAGAIN"
])

const advice = (code: string | undefined): string => {
  switch (code) {
    case "OOM":
      return "the server's memory is full (maxmemory), so it takes no new jobs: free some or raise it; what is stored is " +
        "claimed and settled all the same"
    case "MISCONF":
      return "the server cannot save to its disk and takes no writes: look at its log and its disk"
    case "NOREPLICAS":
      return "the server wants more replicas than it has before it takes writes (min-replicas-to-write): look at them"
    case "READONLY":
    case "MASTERDOWN":
      return "the server takes no writes: it is a replica, as after a failover; connect to the primary"
    case "LOADING":
      return "the server is still loading its data"
    case "BUSY":
      return "the server is held up by a script that runs for long"
    case "NOAUTH":
    case "WRONGPASS":
      return "the server refused the user name or the password: look at the client's configuration"
    case "NOPERM":
      return "the user lacks a right: it needs all commands of hashes, sets, sorted sets, scripts and pub/sub on the keys " +
        "and the channel that begin with the prefix in braces"
    case "MOVED":
    case "ASK":
    case "CROSSSLOT":
      return "the server is a node of a cluster, and the client sent the call to another node than the one that has the " +
        "queue: use a client that finds the node by the keys"
    case "CLUSTERDOWN":
    case "TRYAGAIN":
      return "the cluster is not ready for the queue's keys"
    case undefined:
      return "the connection to the server could not be made, or broke"
    default:
      return "the server refused the call"
  }
}

/** the client said it before it sent anything */
const unsent = /client is closed|client is offline|ECONNREFUSED|ENOTFOUND|EAI_AGAIN|Connection timeout|acquir|reserved/i

export const fromCause = (backend: string, operation: string, error: unknown): BackendError => {
  const code = reasonOf(error)
  return new BackendError({
    backend,
    operation,
    message: `${advice(code)} (${said(error)})`,
    retryable: code === undefined ? true : passing.has(code),
    outcome: code === undefined ? (unsent.test(said(error)) ? "NotApplied" : "Unknown") : (
      // what a script was in the middle of when it failed is done
      refusals.has(code) || !said(error).includes("script") ? "NotApplied" : "Unknown"
    ),
    cause: error
  })
}

/** no answer for longer than a call may take: nobody knows what became of it */
export const silence = (backend: string, operation: string, millis: number): BackendError =>
  new BackendError({
    backend,
    operation,
    message:
      `the server did not answer within ${millis} ms: look at the network between, whether the server is up, and for ` +
      `commands that hold it up (SLOWLOG GET)`,
    retryable: true,
    outcome: "Unknown"
  })

/** a call or a setting that is wrong in itself: trying again never helps */
export const refusal = (backend: string, operation: string, message: string): BackendError =>
  new BackendError({ backend, operation, message, retryable: false, outcome: "NotApplied" })
