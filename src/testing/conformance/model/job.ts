/**
 * A job, as the model has it.
 *
 * @since 0.1.0
 */
import type { Result } from "../../../Capability.ts"
import type { NewJob } from "./commands.ts"

/** `loose`: the contract does not say before or behind whom it comes */
type Place = { readonly at: "front" | "back" | "loose"; readonly n: number }

export interface ModelJob {
  readonly name: string
  priority: number
  group: string | undefined
  /** order of the publishes, or of the arrivals in its group */
  age: number
  readonly new: NewJob
  readonly delayed: boolean
  phase: "waiting" | "active" | "ended" | "dead"
  due: number
  place: Place
  /** index of the hand-out that may settle it */
  handout: number
  leaseEnd: number
  worker: string
  spent: number
  unsettled: number
  lostFrom: string | undefined
  failed: boolean
  abort: boolean
  progress: string | undefined
  result: Result | undefined
  resultUntil: number
}

export const makeJob = (job: NewJob, age: number, now: number): ModelJob => ({
  name: job.name,
  priority: job.priority ?? 0,
  group: job.group,
  age,
  new: job,
  delayed: (job.due ?? 0) > 0,
  phase: "waiting",
  due: now + (job.due ?? 0),
  place: { at: (job.due ?? 0) > 0 ? "loose" : "back", n: age },
  handout: -1,
  leaseEnd: 0,
  worker: "",
  spent: 0,
  unsettled: 0,
  lostFrom: undefined,
  failed: false,
  abort: false,
  progress: undefined,
  result: undefined,
  resultUntil: 0
})
