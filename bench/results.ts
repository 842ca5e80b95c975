/** What a run of the bench came to, as it is written to `results.json`, and how to look something up in it. */
import type { Engine } from "./contender.ts"

/**
 * - `enqueue`: at 1 (one by one) or 100 calls in flight
 * - `bulk`: in calls of 1,000 jobs
 * - `process`: a backlog that is there already, at so many jobs at once, or at `best`
 * - `through`: produced and consumed at the same time, 100 calls in flight, 50 jobs at once
 * - `latency`: from the call that enqueues to the first step of the handler, the worker idle
 * - `scale`: `process` with so many processes
 * - `backlog`: from one handler to the next at concurrency 1: the settlement and the claim of one job
 */
export type Measure = "enqueue" | "bulk" | "process" | "through" | "latency" | "scale" | "backlog"

/** what a measure is measured at: calls in flight, jobs at once, processes; a condition of the backlog */
export type At = number | "best" | "few jobs" | "a million" | "a million, behind a pinned transaction"

/** whose row it is: ours, another library's, or the engine itself driven without any */
export type Kind = "windlass" | "peer" | "raw"

/** One contender at one measure; a figure for each round. */
export interface Row {
  readonly engine: Engine
  readonly measure: Measure
  readonly at: At
  readonly name: string
  readonly kind: Kind
  /** how many jobs a round had; for `backlog` how many waited, or were settled behind the pinned transaction */
  readonly jobs: number
  /** jobs a second; milliseconds for `latency` and `backlog` (p50) */
  readonly figures: ReadonlyArray<number>
  /** medians over the rounds */
  readonly p95?: number | undefined
  readonly p99?: number | undefined
  /** seconds for 10,000 jobs: of the process, and of the server's processes where they can be seen */
  readonly cpu?: number | undefined
  readonly engineCpu?: number | undefined
  /** MiB: the most that the process had resident; what 10,000 waiting jobs take of its heap */
  readonly resident?: number | undefined
  readonly waiting?: number | undefined
  /** why there is no figure */
  readonly failed?: string | undefined
}

export interface Results {
  readonly date: string
  /** minutes */
  readonly took: number
  readonly short: boolean
  readonly rounds: number
  /** share of the registry's jobs */
  readonly scale: number
  /** name and value: processor, memory, versions of the servers and how they are set */
  readonly machine: Readonly<Record<string, string>>
  /** of the packages */
  readonly versions: Readonly<Record<string, string>>
  /** by engine and name */
  readonly settings: Readonly<Record<string, string>>
  readonly rows: ReadonlyArray<Row>
}

/** for an even count the mean of the two in the middle */
export const median = (figures: ReadonlyArray<number>): number => {
  const sorted = figures.toSorted((a, b) => a - b)
  const half = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2
}

export const isTime = (measure: Measure): boolean => measure === "latency" || measure === "backlog"

/** where a row is looked for; without `at` at the one that is best for the contender */
export interface Where {
  readonly engine: Engine
  readonly measure: Measure
  readonly name: string
  readonly at?: At | undefined
}

const measured = (results: Results, where: Where): ReadonlyArray<Row> =>
  results.rows.filter((row) =>
    row.engine === where.engine && row.measure === where.measure && row.name === where.name && row.figures.length > 0
    && row.failed === undefined && (where.at === undefined || row.at === where.at)
  )

const least = (measure: Measure) => isTime(measure) ? 1 : -1

/** The row there, the best one if it may be at several; undefined when nothing was measured. */
export const find = (results: Results, where: Where): Row | undefined =>
  measured(results, where).toSorted((a, b) => least(where.measure) * (median(a.figures) - median(b.figures)))[0]

/** The best of the peers. */
export const bestPeer = (results: Results, where: Omit<Where, "name">): Row | undefined => {
  const names = new Set(
    results.rows.filter(({ engine, kind }) => engine === where.engine && kind === "peer").map(({ name }) => name)
  )
  return [...names].flatMap((name) => find(results, { ...where, name }) ?? [])
    .toSorted((a, b) => least(where.measure) * (median(a.figures) - median(b.figures)))[0]
}

/** `1,234`, `12.3`, `0.123`: three digits or more */
export const show = (figure: number): string =>
  figure >= 100
    ? Math.round(figure).toLocaleString("en")
    : figure >= 10
    ? figure.toFixed(1)
    : figure >= 1
    ? figure.toFixed(2)
    : figure.toFixed(3)
