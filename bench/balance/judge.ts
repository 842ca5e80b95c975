/** What a trace amounts to: the rules, and how far it keeps them. */
import type { Arrived, Case, Event, Who } from "./program.ts"

export interface Verdict {
  /** empty: everything that was acquired was released once, in reverse, before the job was settled, and no failure was lost */
  readonly faults: ReadonlyArray<string>
  /** what A, on its way out, was told of the handler's failure */
  readonly told: Arrived | undefined
  /** what whoever waits for the job gets of it */
  readonly waiter: Arrived | undefined
  readonly settled: string
}

const list = (whos: ReadonlyArray<Who>): string => [...new Set(whos)].sort().join(", ")

export const judge = (name: Case, trace: ReadonlyArray<Event>, ended: boolean): Verdict => {
  const faults: Array<string> = []
  const held: Array<Who> = []
  const ever = new Set<Who>()
  const twice: Array<Who> = []
  const never: Array<Who> = []
  /** released, but after the job was settled: while the worker is up, and only when it closes */
  const late: Array<Who> = []
  const atClose: Array<Who> = []
  /** released while the handler has not ended: under its feet if it ends later, and not if it was left where it was */
  let parked: Array<Who> = []
  const under: Array<Who> = []
  let outOfOrder = false
  let closing = false
  let running = false
  let runs = 0
  let settled: Extract<Event, { is: "settled" }> | undefined
  let told: Arrived | undefined
  let heard: Arrived | undefined
  for (const event of trace) {
    switch (event.is) {
      case "acquired":
        held.push(event.who)
        ever.add(event.who)
        break
      case "released":
      case "release failed": {
        const place = held.lastIndexOf(event.who)
        if (place < 0) (ever.has(event.who) ? twice : never).push(event.who)
        else {
          if (place < held.length - 1) outOfOrder = true
          held.splice(place, 1)
          if (closing && settled !== undefined) atClose.push(event.who)
          else if (settled !== undefined) late.push(event.who)
          else if (running) parked.push(event.who)
        }
        break
      }
      case "running":
        running = true
        parked = []
        runs++
        break
      case "ended":
        running = false
        under.push(...parked)
        parked = []
        break
      case "closing":
        closing = true
        break
      case "told":
        told = event.error
        break
      case "settled":
        settled ??= event
        break
      case "heard":
        heard = event.error
        break
      default:
    }
  }
  if (held.length > 0) faults.push(`${list(held)} never released`)
  if (late.length > 0) faults.push("released after the job was settled")
  if (atClose.length > 0) faults.push("released when the worker closes, not when the job ends")
  if (twice.length > 0) faults.push(`${list(twice)} released twice`)
  if (never.length > 0) faults.push(`${list(never)} released, never acquired`)
  if (under.length > 0) faults.push("released while the handler still runs")
  if (outOfOrder) faults.push("not in reverse order")
  if (!ended) faults.push("did not end in time")

  const how = settled?.how ?? "nothing"
  switch (name) {
    case "succeeds":
    case "goes on later":
      if (how !== "succeeded") faults.push(`job: ${how}`)
      break
    case "handler fails":
      if (how !== "failed") faults.push(`job: ${how}`)
      else if (heard === undefined || heard === "another" || heard === "nothing") {
        faults.push("the failure is not reported")
      }
      break
    case "acquire fails":
      if (how !== "failed") faults.push(`job: ${how}`)
      if (runs > 0) faults.push("the handler ran")
      break
    case "release fails":
      // a success that says nothing of it hides a failure; what counts here is that it is seen at all
      if (how === "succeeded") faults.push("the failed release is not seen")
      break
    case "both fail":
      if (how !== "failed") faults.push(`job: ${how}`)
      else if (heard === undefined || heard === "another" || heard === "nothing") {
        faults.push("the handler's failure is not reported")
      }
      break
    case "answers early":
      if (how === "failed") faults.push("job: failed")
      if (how === "nothing") faults.push("job: no result")
      if (runs > 0) faults.push("the handler ran")
      break
    case "shutdown":
      if (how === "succeeded" || how === "nothing") faults.push(`job: ${how}`)
      break
    case "cut short":
      if (how === "succeeded" || how === "nothing") faults.push(`job: ${how}`)
      break
  }
  return { faults, told, waiter: heard, settled: how }
}

/** the trace in one line: `+A +B +C run end -C -B -A job: succeeded` */
export const line = (trace: ReadonlyArray<Event>): string =>
  trace.map((event) => {
    switch (event.is) {
      case "acquired":
        return `+${event.who}`
      case "acquire failed":
        return `+${event.who}!`
      case "released":
        return `-${event.who}`
      case "release failed":
        return `-${event.who}!`
      case "answered":
        return `${event.who} answers`
      case "running":
        return "run"
      case "ended":
        return "end"
      case "told":
        return `(A is told: ${event.error})`
      case "settled":
        return `job: ${event.how}`
      case "heard":
        return `(heard: ${event.error})`
      case "closing":
      case "closed":
        return event.is
    }
  }).join(" ")
