/**
 * In which order the records of a batch run, and which of them were not done. A record counts as done only when its own
 * run said so: whatever else happens to it, or to the fiber that was to run it, it is reported.
 */
import * as Effect from "effect/Effect"
import type { Element } from "./event.ts"
import type { Order } from "./model.ts"

/** The elements that are to be reported, in the order of the event. `run` says whether an element is done. @internal */
export const runBatch = (
  elements: ReadonlyArray<Element>,
  order: Order,
  concurrency: number,
  run: (element: Element) => Effect.Effect<boolean>
): Effect.Effect<ReadonlyArray<Element>> => {
  const done = new Set<Element>()
  const one = (element: Element): Effect.Effect<boolean> =>
    Effect.map(run(element), (ok) => {
      if (ok) done.add(element)
      return ok
    })
  const all = (): Effect.Effect<unknown> => {
    switch (order) {
      case "concurrent":
        return Effect.forEach(elements, (element) => contained(one(element)), { concurrency, discard: true })
      case "isolateGroups":
        // not bounded: groups may wait for each other, and SQS hands out at most 10 messages of a FIFO queue at once
        return Effect.forEach(groupsOf(elements), (group) => contained(untilOneFails(group, one)), {
          concurrency: "unbounded",
          discard: true
        })
      case "haltBatch":
        return contained(untilOneFails(elements, one))
    }
  }
  return Effect.map(Effect.suspend(all), () => elements.filter((element) => !done.has(element)))
}

/** What dies takes nothing else with it; that it is not done is all that has to be known. */
const contained = (effect: Effect.Effect<unknown>): Effect.Effect<unknown> =>
  Effect.catchDefect(effect, (defect) => Effect.ignoreCause(Effect.logError("a record could not be run", defect)))

const untilOneFails = (
  elements: ReadonlyArray<Element>,
  one: (element: Element) => Effect.Effect<boolean>,
  from = 0
): Effect.Effect<void> =>
  from === elements.length
    ? Effect.void
    : Effect.flatMap(one(elements[from]!), (ok) => ok ? untilOneFails(elements, one, from + 1) : Effect.void)

/**
 * Records of one group in their order. Those that name no group are one group, which is the safe reading; what is no
 * record at all has no place in any order and stands alone.
 */
const groupsOf = (elements: ReadonlyArray<Element>): ReadonlyArray<ReadonlyArray<Element>> => {
  const groups = new Map<unknown, Array<Element>>()
  for (const element of elements) {
    const key = element.record === undefined ? element : element.group
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [element])
    else group.push(element)
  }
  return Array.from(groups.values())
}
