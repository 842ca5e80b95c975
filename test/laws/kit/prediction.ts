/** What the model says of a case, and the kinds of things that happened in it. */

/** what happened at least once: every kind has a floor under which the suite fails */
export const kinds = [
  "success",
  "typed failure",
  "defect",
  "own interruption",
  "acquisition fails at k",
  "release dies",
  "before fails",
  "before dies",
  "after fails",
  "after dies",
  "task timeout",
  "middleware timeout",
  "run again",
  "lost lease",
  "shutdown",
  "abort",
  "discard",
  "decided dead",
  "decided retry",
  "snooze"
] as const
export type Kind = (typeof kinds)[number]

export interface Handed {
  readonly settlement: string
  readonly outcome: string
  /** undefined: not settled, because the worker knew that it had lost the job */
  readonly answer: "Settled" | "Aborted" | "Lost" | undefined
  readonly bodies: number
}

export interface Prediction {
  readonly trace: ReadonlyArray<string>
  readonly handed: ReadonlyArray<Handed>
  /** what `execute` yields */
  readonly result: string
  readonly kinds: ReadonlySet<Kind>
}
