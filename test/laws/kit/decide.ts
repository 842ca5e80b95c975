/**
 * The table of outcomes (DESIGN, section 6) as the model reads it: from the exit of the chain to what the backend is told
 * and to what a waiting caller gets.
 */
import type { Settlement } from "windlass/Backend"
import * as E from "./exits.ts"
import { type Case, decidedAfter, retryAfter } from "./spec.ts"

export interface Ending {
  readonly exit: E.Modelled
  /** the body was interrupted because the attempt was asked to stop */
  readonly cut: boolean
}

export interface Facts {
  readonly attempt: number
  readonly stopping: "abort" | "shutdown" | "lost" | undefined
  /** the last typed failure that left a scope */
  readonly recorded: string | undefined
}

export interface Outcome {
  readonly outcome: string
  readonly settlement: string
  readonly spent: boolean
  /** undefined: the job goes on */
  readonly result: string | undefined
}

const over = (outcome: string, settlement: string, result: string): Outcome => ({
  outcome,
  settlement,
  spent: true,
  result
})

const back = (outcome: string, why: string, attempt: "spent" | "kept", place: string, after: number): Outcome => ({
  outcome,
  settlement: `Retry ${why} ${attempt} ${place} ${after}`,
  spent: attempt === "spent",
  result: undefined
})

export const outcomeOf = (spec: Case, ending: Ending, facts: Facts): Outcome => {
  const { exit } = ending
  const failure = deciding(exit, facts.recorded)
  // an interrupted run is never a success
  if (ending.cut) return cutShort(spec, facts, failure)
  if (!E.failed(exit)) return over("Succeeded", "Complete succeeded", `ok ${exit.ok}`)
  const decided = failure?.startsWith("Decide.") === true
  if (facts.stopping === "abort" && !decided) return over("Aborted", "Complete aborted", "Aborted")
  if (failure === undefined && facts.stopping !== undefined && exit.reasons.every((r) => r.tag === "I")) {
    return cutShort(spec, facts, failure)
  }
  switch (failure) {
    case "Decide.Discard":
      return over("Discarded", "Complete discarded", "Discarded")
    case "Decide.Dead":
      return over("Dead", "Dead decided", "Dead:decided")
    case "Decide.Snooze":
      return back("Snoozed", "snoozed", "kept", "back", decidedAfter)
    case "Decide.Retry+":
      return back("Retried", "failed", "spent", "back", decidedAfter)
    default:
      return failedAttempt(spec, facts, failure)
  }
}

/** L3: the first typed failure, also when a finalizer of the user's own made a defect of it */
const deciding = (exit: E.Modelled, recorded: string | undefined): string | undefined =>
  E.firstTyped(exit) ??
    (E.failed(exit) && exit.reasons.some((r) => r.tag === "D" && r.was && r.at === recorded) ? recorded : undefined)

const cutShort = (spec: Case, facts: Facts, failure: string | undefined): Outcome => {
  switch (facts.stopping) {
    case "abort":
      return over("Aborted", "Complete aborted", "Aborted")
    case "shutdown":
      switch (spec.onInterrupted) {
        case "requeue":
          return back("Interrupted", "interrupted", "kept", "front", 0)
        case "fail":
          return over("Dead", "Dead interrupted", resultOf("interrupted", failure))
        case "retry": {
          const outcome = failedAttempt(spec, facts, failure)
          return outcome.result === undefined
            ? back("Interrupted", "interrupted", "spent", "back", retryAfter)
            : outcome
        }
      }
    // falls through: nothing else asks a run to stop
    default:
      return back("Interrupted", "interrupted", "kept", "front", 0)
  }
}

const failedAttempt = (spec: Case, facts: Facts, failure: string | undefined): Outcome => {
  if (spec.retries !== undefined && facts.attempt <= spec.retries) {
    return back("Retried", "failed", "spent", "back", retryAfter)
  }
  const reason = failure === "timeout" ? "timeout" : "failed"
  return over("Dead", `Dead ${reason}`, resultOf(reason, failure))
}

/** a failure that the task or its middleware declares comes back typed */
const resultOf = (reason: string, failure: string | undefined): string =>
  failure === undefined || failure === "timeout" || failure.startsWith("Decide.") ? `Dead:${reason}` : `F:${failure}`

/** a settlement in one line, as traces show it */
export const settlementLine = (settlement: Settlement): string => {
  switch (settlement._tag) {
    case "Complete":
      return `Complete ${settlement.how}`
    case "Retry":
      return `Retry ${settlement.why} ${settlement.attempt} ${settlement.place} ${settlement.after}`
    case "Dead":
      return `Dead ${settlement.reason}`
  }
}
