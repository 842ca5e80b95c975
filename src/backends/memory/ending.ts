/**
 * How a job ends: what its record, its result and the last line of its history say; and who waits to hear of it.
 *
 * @since 0.1.0
 */
import type { Settlement } from "../../Backend.ts"
import type { HistoryEvent, Result } from "../../Capability.ts"
import type { Outbox } from "./outbox.ts"

export interface Ending {
  readonly how: "succeeded" | "discarded" | "aborted" | "dead"
  readonly event: HistoryEvent["event"]
  readonly detail: string | undefined
  readonly reason: string | undefined
  readonly error: string | undefined
  readonly exit: string | undefined
}

export const cancelled: Ending = {
  how: "aborted",
  event: "cancelled",
  detail: undefined,
  reason: "cancelled",
  error: undefined,
  exit: undefined
}

/** a retry that comes here is of a job whose abort was requested */
export const endingOf = (settlement: Settlement): Ending => {
  switch (settlement._tag) {
    case "Complete": {
      const { exit, how, reason } = settlement
      return { how, event: how, detail: reason, reason, error: undefined, exit }
    }
    case "Dead": {
      const { error, exit, reason } = settlement
      return { how: "dead", event: "dead", detail: error ?? reason, reason, error, exit }
    }
    case "Retry": {
      const { error } = settlement
      return { how: "aborted", event: "aborted", detail: error, reason: "abort requested", error, exit: undefined }
    }
  }
}

export type Listener = (result: Result) => void

/** those who wait for the end of a job, by its id: also of a job that is not there yet */
export class Listeners {
  private readonly listeners = new Map<string, Set<Listener>>()
  private readonly outbox: Outbox

  constructor(outbox: Outbox) {
    this.outbox = outbox
  }

  /** returns how to stop listening */
  add(id: string, listener: Listener): () => void {
    let set = this.listeners.get(id)
    if (set === undefined) this.listeners.set(id, set = new Set())
    const mine = set
    mine.add(listener)
    return () => {
      mine.delete(listener)
      if (mine.size === 0 && this.listeners.get(id) === mine) this.listeners.delete(id)
    }
  }

  tell(id: string, result: Result): void {
    const set = this.listeners.get(id)
    if (set === undefined) return
    this.listeners.delete(id)
    for (const listener of set) this.outbox.add(() => listener(result))
  }
}
