/**
 * Another outcome than the run came to: what a delivery middleware answers is a settlement, and this says which outcome
 * it stands for, and how outcome hooks may change one. A run that was cut short is never called a success (L13), and
 * nobody but the task itself has a value for it (L14).
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Settlement } from "../../Backend.ts"
import { isDecide } from "../../Decide.ts"
import { Died, type Election } from "../../Job.ts"
import { type Outcome, toSettlement } from "../../Outcome.ts"
import { fromEnvelope } from "../codecs.ts"
import { describe } from "../line.ts"
import { dead, decide, failed } from "./decide.ts"
import { Delivered } from "./delivered.ts"
import type { Run } from "./run.ts"

/** What the job asked about its next attempt goes with the settlement that leads to one: not with a job given back. */
const settlementOf = (job: Run, outcome: Outcome): Settlement => {
  const settlement = toSettlement(outcome)
  return job.to !== undefined && settlement._tag === "Retry" &&
      (settlement.attempt === "spent" || settlement.why === "snoozed")
    ? { ...settlement, to: job.to }
    : settlement
}

/** @internal */
export const delivered = (job: Run, outcome: Outcome): Delivered => new Delivered(outcome, settlementOf(job, outcome))

/** `last`: what the job itself came to. @internal */
export const elected = (job: Run, settlement: Settlement, last: Delivered | undefined): Delivered => {
  if (last !== undefined && (settlement === last.settlement || forbidden(job, settlement, last))) return last
  return known(job, settlement) ?? { outcome: fromSettlement(settlement), settlement }
}

/**
 * A run that was cut short is no success, and it is not over because somebody outside of it says so; where the task says
 * that it is over (`onInterrupted: "fail"`), its failure may be discarded.
 */
const forbidden = (job: Run, settlement: Settlement, last: Delivered): boolean =>
  job.cut && settlement._tag === "Complete" &&
  !(settlement.how === "discarded" && last.settlement._tag === "Dead")

const known = (job: Run, settlement: Settlement): Delivered | undefined =>
  job.delivered?.settlement === settlement ? job.delivered : undefined

const fromSettlement = (settlement: Settlement): Outcome => {
  switch (settlement._tag) {
    case "Complete":
      switch (settlement.how) {
        case "succeeded":
          return { _tag: "Succeeded", exit: Exit.void, encoded: settlement.exit }
        case "discarded":
          return { _tag: "Discarded", reason: settlement.reason ?? "discarded", cause: Cause.empty }
        case "aborted":
          return { _tag: "Aborted", cause: undefined }
      }
    case "Retry":
      return settlement.attempt === "kept"
        ? { _tag: "Snoozed", after: settlement.after, reason: settlement.error ?? settlement.why }
        : { _tag: "Retried", after: settlement.after, cause: Cause.empty, error: settlement.error ?? settlement.why }
    case "Dead":
      return {
        _tag: "Dead",
        reason: settlement.reason as never,
        cause: undefined,
        error: settlement.error ?? settlement.reason,
        encoded: settlement.exit
      }
  }
}

/** What outcome hooks ask of the runtime. @internal */
export const election = (job: Run): Election => ({
  payload: () => payloadOf(job),
  outcomeOf: (settlement) => known(job, settlement)?.outcome ?? fromSettlement(settlement),
  elect: (outcome) => (job.delivered = delivered(job, outcome)).settlement,
  suppress: (outcome, value, by) => suppress(job, outcome, value, by),
  replace: (outcome, cause) => replace(job, outcome, cause)
})

/** Of a job that ended before it was decoded, as one that was lost, it is decoded for whoever asks. */
const payloadOf = (job: Run): unknown => {
  const task = job.resolved?.task
  const { envelope } = job.delivery
  if (job.entered || task === undefined || envelope.version > task.version) return job.payload
  const decoded = fromEnvelope(task.codecs, envelope)
  return decoded._tag === "Success" ? decoded.value : undefined
}

/**
 * A failure that is none any more: a success where there is a value for it (the task's own hook has one, or the task
 * succeeds with nothing), else discarded.
 */
const suppress = (
  job: Run,
  outcome: Outcome,
  value: { readonly value: unknown } | undefined,
  by: string
): Effect.Effect<Outcome> => {
  if (outcome._tag !== "Retried" && outcome._tag !== "Dead") return Effect.succeed(outcome)
  const task = job.resolved
  const cut = job.cut || (outcome._tag === "Dead" && (outcome.reason === "lost" || outcome.reason === "interrupted"))
  if (task !== undefined && !cut) {
    if (value !== undefined) return decide(job, task, Exit.succeed(value.value))
    // a job whose handler was never entered did not succeed
    if (job.entered && fits(job, Exit.void)) return decide(job, task, Exit.void)
  }
  return Effect.succeed(discarded(`${by} suppressed: ${outcome.error}`, outcome.cause ?? Cause.empty))
}

const discarded = (reason: string, cause: Cause.Cause<unknown>): Outcome => ({ _tag: "Discarded", reason, cause })

/** dead for the reason that it was, with another error */
const still = (
  job: Run,
  outcome: Extract<Outcome, { readonly _tag: "Dead" }>,
  cause: Cause.Cause<unknown>,
  error: string
): Outcome =>
  job.resolved === undefined
    ? { ...outcome, cause, error }
    : dead(job, job.resolved, outcome.reason, cause, error)

/**
 * Another failure, also of a success. Of an attempt that was run it is asked about like any failure of it; a job that is
 * dead for another reason stays so.
 */
const replace = (job: Run, outcome: Outcome, raised: Cause.Cause<unknown>): Effect.Effect<Outcome> => {
  const task = job.resolved
  const cause = declared(job, raised)
  const failure = cause.reasons.find(Cause.isFailReason)?.error
  const decision = isDecide(failure) ? failure.decision : undefined
  switch (outcome._tag) {
    case "Succeeded":
    case "Discarded":
    case "Retried":
      break
    case "Dead":
      if (outcome.reason === "failed" || outcome.reason === "timeout" || outcome.reason === "decided") break
      return Effect.succeed(
        decision?._tag === "Discard"
          ? discarded(decision.reason, cause)
          : still(job, outcome, cause, decision?.reason ?? describe(Cause.squash(cause)))
      )
    default:
      // aborted on request, or not over: that stands
      return Effect.succeed(outcome)
  }
  if (decision?._tag === "Discard") return Effect.succeed(discarded(decision.reason, cause))
  if (task === undefined) return Effect.succeed(outcome)
  return decision === undefined
    ? failed(job, task, cause, failure ?? new Died({ defect: Cause.squash(cause) }))
    : decide(job, task, Exit.failCause(cause))
}

/** A failure that the task declares, or a decision, keeps its type; every other one is a defect of the attempt. */
const declared = (job: Run, cause: Cause.Cause<unknown>): Cause.Cause<unknown> =>
  Cause.fromReasons(
    cause.reasons.map((reason) =>
      Cause.isFailReason(reason) && !isDecide(reason.error) && !fits(job, Exit.fail(reason.error))
        ? Cause.makeDieReason(reason.error)
        : reason
    )
  )

/** whether the task's schemas have room for it */
const fits = (job: Run, exit: Exit.Exit<unknown, unknown>): boolean => {
  try {
    job.resolved!.task.codecs.encodeExit(exit)
    return job.resolved !== undefined
  } catch {
    return false
  }
}
