/**
 * Exits as the model sees them: a value, or a flat list of reasons. A typed failure that a dying finalizer turned into a
 * defect remembers that it was one (`was`).
 */
import { Cause, Exit } from "effect"
import { isDecide } from "windlass/Decide"
import { TimedOut } from "windlass/Job"

export type Reason =
  | { readonly tag: "F"; readonly at: string }
  | { readonly tag: "D"; readonly at: string; readonly was: boolean }
  | { readonly tag: "I" }

export type Modelled = { readonly ok: string } | { readonly reasons: ReadonlyArray<Reason> }

export const ok = (value: string): Modelled => ({ ok: value })
export const typed = (at: string): Modelled => ({ reasons: [{ tag: "F", at }] })
export const died = (at: string): Modelled => ({ reasons: [{ tag: "D", at, was: false }] })
export const interrupted: Modelled = { reasons: [{ tag: "I" }] }

export const failed = (exit: Modelled): exit is { readonly reasons: ReadonlyArray<Reason> } => "reasons" in exit

const key = (reason: Reason): string => reason.tag === "I" ? "I" : `${reason.tag}:${reason.at}`

const unique = (reasons: ReadonlyArray<Reason>): ReadonlyArray<Reason> => {
  const seen = new Map<string, Reason>()
  for (const reason of reasons) if (!seen.has(key(reason))) seen.set(key(reason), reason)
  return Array.from(seen.values())
}

/** what Effect makes of a failure when a finalizer fails on top: one defect makes defects of all */
export const finalizedPlain = (exit: Modelled, finalizer: ReadonlyArray<Reason>): Modelled => {
  if (finalizer.length === 0) return exit
  if (!failed(exit)) return { reasons: unique(finalizer) }
  const all = unique([...exit.reasons, ...finalizer])
  const dies = all.some((reason) => reason.tag === "D")
  return { reasons: dies ? all.map((r) => r.tag === "F" ? { tag: "D", at: r.at, was: true } : r) : all }
}

/** L3: at the boundaries of the chain a typed failure stays one */
export const finalized = (exit: Modelled, finalizer: ReadonlyArray<Reason>): Modelled => {
  const plain = finalizedPlain(exit, finalizer)
  if (!failed(exit) || !failed(plain)) return plain
  const before = exit.reasons
  return {
    reasons: plain.reasons.map((reason) =>
      reason.tag === "D" && before.some((b) => b.tag === "F" && b.at === reason.at)
        ? { tag: "F", at: reason.at }
        : reason
    )
  }
}

/** an interruption on top */
export const cutShort = (exit: Modelled): Modelled =>
  failed(exit) ? { reasons: unique([...exit.reasons, { tag: "I" }]) } : interrupted

export const untyped = (exit: Modelled): Modelled =>
  failed(exit) ? { reasons: exit.reasons.filter((reason) => reason.tag !== "F") } : exit

export const hasInterrupts = (exit: Modelled): boolean => failed(exit) && exit.reasons.some((r) => r.tag === "I")

export const firstTyped = (exit: Modelled): string | undefined => {
  const reason = failed(exit) ? exit.reasons.find((r) => r.tag === "F") : undefined
  return reason?.tag === "F" ? reason.at : undefined
}

/** an exit in one word, as traces show it */
export const view = (exit: Modelled): string => failed(exit) ? unique(exit.reasons).map(key).join("+") : "S"

/** the same of a real exit: failures are named by where they were made */
export const viewOf = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "S"
  const words = exit.cause.reasons.map((reason) =>
    Cause.isFailReason(reason)
      ? `F:${nameOf(reason.error)}`
      : Cause.isDieReason(reason)
      ? `D:${nameOf(reason.defect)}`
      : "I"
  )
  return Array.from(new Set(words)).join("+")
}

/** where an error of the kit was made; the tag of any other */
export const nameOf = (error: unknown): string => {
  if (typeof error === "string") return error
  if (error instanceof TimedOut) return "timeout"
  if (isDecide(error)) {
    const { decision } = error
    return `Decide.${decision._tag}${decision._tag === "Retry" && decision.after !== undefined ? "+" : ""}`
  }
  const { at, _tag } = error as { readonly at?: string; readonly _tag?: string }
  return at ?? _tag ?? String(error)
}
