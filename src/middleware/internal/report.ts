/** What there is to tell of an outcome that was no success, and the secrets that the telling must not name. */
import * as Cause from "effect/Cause"
import type * as SchemaAST from "effect/SchemaAST"
import type { Observed } from "../../Middleware.ts"
import type { Outcome } from "../../Outcome.ts"
import { hasSecret, mask } from "./mask.ts"
import { Secrets, withheld } from "./secrets.ts"

/** The error itself and what it was caused by; not scrubbed. */
export interface Report {
  readonly reason?: string
  readonly error?: string
  readonly cause?: string
}

/** Said instead of the parser's message, which quotes what it could not parse. */
export const malformed = "the payload is not JSON"

export const reportOf = (outcome: Outcome): Report | undefined => {
  switch (outcome._tag) {
    case "Discarded":
    case "Snoozed":
    case "Released":
      return { reason: outcome.reason }
    case "Retried":
      return { error: outcome.error }
    case "Dead":
      if (isMalformed(outcome)) return { reason: outcome.reason, error: malformed }
      return {
        reason: outcome.reason,
        error: outcome.error,
        ...(outcome.cause === undefined ? {} : { cause: Cause.pretty(outcome.cause) })
      }
    default:
      return undefined
  }
}

/** Whether the payload could not even be parsed, so that nobody knows what of it is secret. */
export const isMalformed = (outcome: Outcome): boolean =>
  outcome._tag === "Dead" && outcome.reason === "undecodable" && outcome.cause !== undefined
  && Cause.squash(outcome.cause) instanceof SyntaxError

export const causeOf = (outcome: Outcome): Cause.Cause<unknown> | undefined =>
  "cause" in outcome ? outcome.cause : undefined

/** What its failures may be, by the task's definition. */
export const errorsOf = ({ definition }: Observed): ReadonlyArray<SchemaAST.AST> =>
  definition === undefined ? [] : [
    definition.errorSchema.ast,
    ...definition.middleware.flatMap((m) => "error" in m ? [m.error.ast] : [])
  ]

/**
 * What a text about this job may quote and must not, of its payload, its headers and its errors; and the payload without
 * that, undefined when it was not decoded.
 */
export const secretsOf = (
  job: Observed,
  outcome: Outcome,
  fields: ReadonlySet<string>
): { readonly secrets: Secrets; readonly payload: unknown } => {
  const secrets = new Secrets()
  const { definition } = job
  const schema = definition === undefined ? [] : [definition.payloadSchema.ast]
  const errors = errorsOf(job)
  mask(job.delivery.envelope.headers, [], fields, secrets)
  let payload: unknown = undefined
  if (job.payload !== undefined) payload = mask(job.payload, schema, fields, secrets)
  else if (outcome._tag === "Dead") undecoded(job.delivery.envelope.payload, schema, fields, secrets)
  for (const reason of causeOf(outcome)?.reasons ?? []) {
    if (Cause.isFailReason(reason)) mask(reason.error, errors, fields, secrets)
    else if (Cause.isDieReason(reason)) mask(reason.defect, errors, fields, secrets)
  }
  return { secrets, payload: secrets.overflow && payload !== undefined ? withheld : secrets.scrubAll(payload) }
}

/** Its shape is not what the schema says, so where there may be a secret everything is one. */
const undecoded = (
  payload: string,
  schema: ReadonlyArray<SchemaAST.AST>,
  fields: ReadonlySet<string>,
  secrets: Secrets
): void => {
  try {
    const json: unknown = JSON.parse(payload)
    if (schema.some(hasSecret)) texts(json, secrets)
    else mask(json, [], fields, secrets)
  } catch {
    secrets.add(payload)
  }
}

const texts = (json: unknown, secrets: Secrets): void => {
  if (typeof json === "string") secrets.add(json)
  else if (typeof json === "number") secrets.add(String(json))
  else if (typeof json === "object" && json !== null) { for (const inner of Object.values(json)) texts(inner, secrets) }
}
