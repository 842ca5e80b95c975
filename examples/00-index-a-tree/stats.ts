/** What this process did, counted by an observer: it sees every outcome and can change none. */
import { Cause, Context, Option } from "effect"
import { Decide, Middleware, type Outcome } from "windlass"
import { IndexFile } from "./tasks.ts"

export class Recorder {
  attempts = 0
  /** files of the tree that the walk has seen, and those of them that are as the index has them */
  found = 0
  unchanged = 0
  /** files whose job ended here */
  done = 0
  /** the file that was last worked on */
  current = ""
  readonly outcomes = new Map<Outcome.Outcome["_tag"], number>()
  /** failed attempts by the tag of their error, decisions by their reason */
  readonly failures = new Map<string, number>()
  /** of attempts at files, in milliseconds, from the claim to the outcome */
  readonly latencies: Array<number> = []

  /** jobs that ended here */
  get jobs(): number {
    return sum(this.outcomes, "Succeeded", "Discarded", "Dead", "Aborted")
  }

  listed(files: number, unchanged: number): void {
    this.found += files
    this.unchanged += unchanged
  }

  ended(task: string, outcome: Outcome.Outcome, millis: number): void {
    this.attempts++
    add(this.outcomes, outcome._tag)
    const failure = tagOf(outcome)
    if (failure !== undefined) add(this.failures, failure)
    if (task !== IndexFile._tag) return
    this.latencies.push(millis)
    if (outcome._tag !== "Retried" && outcome._tag !== "Interrupted") this.done++
  }
}

const add = <K>(counts: Map<K, number>, key: K) => void counts.set(key, (counts.get(key) ?? 0) + 1)

const sum = <K>(counts: ReadonlyMap<K, number>, ...keys: ReadonlyArray<K>) =>
  keys.reduce((total, key) => total + (counts.get(key) ?? 0), 0)

const tagOf = (outcome: Outcome.Outcome): string | undefined => {
  if (outcome._tag === "Discarded") return outcome.reason
  if (outcome._tag !== "Retried" && outcome._tag !== "Dead") return undefined
  const failure = outcome.cause === undefined ? Option.none() : Cause.findErrorOption(outcome.cause)
  if (Option.isNone(failure)) return outcome._tag === "Dead" && outcome.reason !== "failed" ? outcome.reason : "Died"
  return Decide.isDecide(failure.value)
    ? failure.value.decision.reason
    : (failure.value as { readonly _tag?: string })._tag ?? "Unknown"
}

export class Stats extends Context.Service<Stats, Recorder>()("tree/Stats") {}

/** Plain functions: the cheapest kind of observer. What `before` returns is handed to `after`. */
export const observer = (recorder: Recorder) =>
  Middleware.observe({
    name: "stats",
    before: () => performance.now(),
    after: (outcome, began, job) => {
      const file = job.payload as { readonly path?: string } | undefined
      if (job.task === IndexFile._tag && file?.path !== undefined) recorder.current = file.path
      recorder.ended(job.task, outcome, performance.now() - began)
    }
  })
