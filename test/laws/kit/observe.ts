/** Random stacks, each run once per backend and looked at by every law. */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { caseOf } from "./generate.ts"
import { forAll, type Tally } from "./law.ts"
import { predict } from "./model.ts"
import { type Kind, kinds, type Prediction } from "./prediction.ts"
import { type Observation, run, type Services } from "./run.ts"
import type { Case } from "./spec.ts"

/** a case, what must come of it, and what came of it */
export interface Seen {
  readonly spec: Case
  readonly predicted: Prediction
  readonly observed: Observation
}

export const makeObserver = () => {
  // what one law has run another need not: the same seed draws the same cases
  const seen = new Map<string, Observation>()
  let queues = 0

  const observe = (spec: Case): Effect.Effect<Seen, never, Services> =>
    Effect.suspend(() => {
      const key = JSON.stringify(spec)
      const predicted = predict(spec)!
      const before = seen.get(key)
      if (before !== undefined) return Effect.succeed({ spec, predicted, observed: before })
      return Effect.map(run(spec, `laws${++queues}`), (observed) => {
        seen.set(key, observed)
        return { spec, predicted, observed }
      })
    })

  /** holds a law against so many cases of each kind */
  const everyCase = (
    tally: Tally,
    holds: (seen: Seen) => void,
    only: ReadonlyArray<Kind> = kinds
  ): Effect.Effect<void, never, Services> =>
    Effect.forEach(
      only,
      (kind) =>
        forAll(caseOf(kind), { shift: kinds.indexOf(kind) }, (spec) =>
          Effect.map(observe(spec), (seen) => {
            holds(seen)
            tally.add(...seen.predicted.kinds)
          })),
      { discard: true }
    )

  return { observe, everyCase }
}

/** fails with the first event that differs, and what came before it */
export const same = (observed: ReadonlyArray<string>, predicted: ReadonlyArray<string>): void => {
  const at = Array.from({ length: Math.max(observed.length, predicted.length) }).findIndex((_, i) =>
    observed[i] !== predicted[i]
  )
  if (at < 0) return
  const before = observed.slice(Math.max(0, at - 8), at).join(", ")
  assert.fail(`event ${at} is ${observed[at] ?? "missing"}, must be ${predicted[at] ?? "none"}; before it: ${before}`)
}

/** the trace, hand-out by hand-out: from a claim to what ended it */
export const deliveries = (trace: ReadonlyArray<string>): ReadonlyArray<ReadonlyArray<string>> => {
  const parts: Array<Array<string>> = []
  for (const event of trace) {
    if (event.startsWith("claim ")) parts.push([])
    parts.at(-1)!.push(event)
  }
  return parts
}

/** the number of the middleware that an event is of */
export const layerOf = (event: string): number | undefined => {
  const found = /^(?:>|bef |aft\.? |acq |rel |again |limit |catch )(\d+)/.exec(event)
  return found === null ? undefined : Number(found[1])
}

export const serialOf = (event: string): number => Number(/#(\d+)/.exec(event)![1])
