/**
 * What a random run does to a backend. Commands name jobs, and count receipts back from the last one, so that a run
 * still means something when some of its commands are left out.
 *
 * @since 0.1.0
 */
import type { Destination, Settlement, Uniqueness } from "../../../Backend.ts"
import type { Need } from "../harness.ts"
import type { Prng } from "./random.ts"

export interface NewJob {
  readonly name: string
  /** milliseconds */
  readonly due: number | undefined
  readonly priority: number | undefined
  readonly group: string | undefined
  readonly groupLimit: number | undefined
  readonly unique: Uniqueness | undefined
  readonly keepResult: number | undefined
}

/** a receipt: so many hand-outs ago */
export type Ago = number

export type Command =
  | { readonly _tag: "Publish"; readonly jobs: ReadonlyArray<NewJob>; readonly atomic: boolean }
  | { readonly _tag: "Take"; readonly worker: number; readonly max: number }
  | { readonly _tag: "Settle"; readonly items: ReadonlyArray<readonly [Ago, Settlement]> }
  | {
    readonly _tag: "Exchange"
    readonly worker: number
    readonly items: ReadonlyArray<readonly [Ago, Settlement]>
    readonly max: number
  }
  | { readonly _tag: "Extend"; readonly receipts: ReadonlyArray<Ago> }
  | { readonly _tag: "Advance"; readonly millis: number }
  | { readonly _tag: "Cancel"; readonly name: string }
  | { readonly _tag: "Pause"; readonly paused: boolean }
  | { readonly _tag: "Redrive"; readonly name: string }
  | { readonly _tag: "Progress"; readonly receipt: Ago; readonly value: string }
  | { readonly _tag: "Poll"; readonly name: string }
  | { readonly _tag: "Look" }

export const workers = 3

/**
 * `lease`: milliseconds, 0 when time does not pass in this run. `limited`: most jobs are in a group, with all sorts of limits
 */
export const generate = (
  random: Prng,
  facts: ReadonlySet<Need>,
  lease: number,
  length: number,
  limited: boolean
): Array<Command> => {
  const timed = lease > 0
  /** runs without groups and rerouting, and with few priorities: there the order of most jobs is told */
  const plain = !limited && random.chance(0.4)
  let named = 0
  const someName = () => `j${random.int(Math.max(1, named))}`
  const millis = () => random.pick([1, 10, 100, Math.floor(lease / 3), lease, 2 * lease])

  const scopes: ReadonlyArray<Uniqueness["until"]> = [
    ...(facts.has("Unique.started") ? ["started" as const] : []),
    ...(facts.has("Unique.finished") ? ["finished" as const] : []),
    ...(facts.has("Unique.window") ? [{ millis: timed ? lease : 3_600_000 }] : [])
  ]
  const uniqueness = (): Uniqueness => {
    const until = random.pick(scopes)
    return { key: random.pick(["k", "l"]), until: typeof until === "object" && timed ? { millis: millis() } : until }
  }

  const inGroup = (): Pick<NewJob, "group" | "groupLimit"> =>
    !plain && facts.has("Groups") && random.chance(limited ? 0.7 : 0.35)
      ? { group: random.pick(["g", "h"]), groupLimit: limited ? random.pick([undefined, 1, 2, 2, 3, 4]) : undefined }
      : { group: undefined, groupLimit: undefined }

  const newJob = (): NewJob => ({
    // now and then a name that is there already
    name: facts.has("Unique") && named > 0 && random.chance(0.06) ? someName() : `j${named++}`,
    due: timed && facts.has("Delay") && random.chance(0.25) ? millis() : undefined,
    priority: facts.has("Priority") && random.chance(plain ? 0.1 : 0.3) ? random.pick([-1, 0, 1, 2]) : undefined,
    ...inGroup(),
    unique: scopes.length > 0 && random.chance(0.25) ? uniqueness() : undefined,
    keepResult: facts.has("Results") && random.chance(0.3) ? (timed ? millis() : 3_600_000) : undefined
  })

  /** within the queue: what becomes of a job elsewhere is a matter of the cases */
  const destination = (): Destination => ({
    priority: facts.has("Priority") && random.chance(0.5) ? random.pick([-1, 0, 1, 2]) : undefined,
    group: facts.has("Groups") && random.chance(0.6) ? random.pick(["g", "h", null]) : undefined
  })

  const settlement = (): Settlement => {
    const dice = random.int(10)
    const exit = random.chance(0.3) ? `"${random.int(100)}"` : undefined
    if (dice < 4) {
      return {
        _tag: "Complete",
        how: random.pick(["succeeded", "succeeded", "discarded", "aborted"]),
        exit,
        reason: undefined
      }
    }
    if (dice < 5) return { _tag: "Dead", reason: random.pick(["failed", "poison"]), error: "no", exit }
    const place = random.pick(["back", "front"] as const)
    if (random.chance(0.15)) {
      return { _tag: "Retry", why: "released", after: 0, attempt: "kept", place, error: undefined, unbegun: true }
    }
    return {
      _tag: "Retry",
      why: random.pick(["failed", "failed", "snoozed", "interrupted", "released"]),
      after: timed && random.chance(0.3) ? millis() : 0,
      attempt: random.pick(["spent", "kept"]),
      place,
      error: undefined,
      to: !plain && place === "back" && facts.has("Reroute") && random.chance(0.4) ? destination() : undefined
    }
  }

  /** mostly the latest hand-outs, now and then an old one */
  const ago = (): Ago => random.chance(0.75) ? random.int(4) : random.int(30)
  const settlements = (least: number) =>
    Array.from({ length: least + random.int(3) }, () => [ago(), settlement()] as const)

  const kinds: Array<() => Command> = [
    () => ({
      _tag: "Publish",
      jobs: Array.from({ length: 1 + random.int(4) }, newJob),
      atomic: facts.has("AtomicBatch") && random.chance(0.2)
    }),
    () => ({ _tag: "Take", worker: random.int(workers), max: 1 + random.int(4) }),
    () => ({ _tag: "Settle", items: settlements(1) }),
    () => ({ _tag: "Exchange", worker: random.int(workers), items: settlements(0), max: 1 + random.int(4) })
  ]
  // what moves jobs makes up most of a run
  kinds.push(...kinds)
  if (facts.has("TimedLease")) {
    kinds.push(() => ({ _tag: "Extend", receipts: Array.from({ length: 1 + random.int(3) }, ago) }))
  }
  if (timed) {
    kinds.push(() => ({ _tag: "Advance", millis: millis() }))
    kinds.push(() => ({ _tag: "Advance", millis: 1 + random.int(lease) }))
  }
  if (facts.has("Cancel")) kinds.push(() => ({ _tag: "Cancel", name: someName() }))
  if (facts.has("Pause")) kinds.push(() => ({ _tag: "Pause", paused: random.chance(0.3) }))
  if (facts.has("DeadLetter")) kinds.push(() => ({ _tag: "Redrive", name: someName() }))
  if (facts.has("Results")) kinds.push(() => ({ _tag: "Poll", name: someName() }))
  if (facts.has("Inspect")) {
    kinds.push(() => ({ _tag: "Look" }))
    kinds.push(() => ({ _tag: "Progress", receipt: ago(), value: `${random.int(100)}` }))
  }
  return Array.from({ length }, () => random.pick(kinds)())
}
