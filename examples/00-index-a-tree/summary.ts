/** What there is to say at the end. */
import { type Capability, Worker } from "windlass"
import { number, seconds } from "./progress.ts"
import { question } from "./question.ts"
import type { Recorder } from "./stats.ts"
import type { Totals } from "./store.ts"
import { Tasks } from "./tasks.ts"
import type { Spent } from "./trace.ts"

export interface Ended {
  readonly root: string
  readonly database: string
  readonly finished: boolean
  /** milliseconds */
  readonly elapsed: number
  readonly stats: Recorder
  readonly totals: Totals
  readonly deadLetters: ReadonlyArray<Capability.JobRecord>
  readonly counts: Capability.Counts
  readonly spent: ReadonlyArray<Spent>
  readonly middleware: NonNullable<Parameters<typeof Worker.describe>[1]>["middleware"]
  /** the command that goes on with it */
  readonly again: string
  /** the command that asks the index, without the question */
  readonly ask: string
}

const row = (name: string, value: string): string => `  ${name.padEnd(13)} ${value}`

/** the value below which so many of a hundred are */
export const percentile = (sorted: ReadonlyArray<number>, p: number): number =>
  sorted.length === 0 ? 0 : sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil((p / 100) * sorted.length) - 1))]!

const millis = (n: number): string => n < 10 ? `${n.toFixed(1)} ms` : `${number(n)} ms`

const size = (bytes: number): string => {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"]
  const power = bytes < 1024 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10))
  return `${power === 0 ? bytes : (bytes / 1024 ** power).toFixed(1)} ${units[power]}`
}

const counted = (counts: Iterable<readonly [string, number]>): string =>
  [...counts].toSorted((a, b) => b[1] - a[1]).map(([name, n]) => `${name} ${number(n)}`).join(", ") || "none"

const latencies = (values: ReadonlyArray<number>): string => {
  if (values.length === 0) return "nothing was run"
  const sorted = values.toSorted((a, b) => a - b)
  return [50, 90, 99, 100].map((p) => `${p === 100 ? "max" : `p${p}`} ${millis(percentile(sorted, p))}`).join(", ")
}

/** `IndexFile: worker [stats > last word] > task [WithSubject > ...] > handler` */
const chains = (middleware: Ended["middleware"]): ReadonlyArray<string> =>
  Worker.describe(Tasks, { middleware }).map(({ chain, task }) => {
    const scopes = [...new Set(chain.map((entry) => entry.scope))].map((scope) =>
      `${scope} [${chain.filter((entry) => entry.scope === scope).map((entry) => entry.name).join(" > ")}]`
    )
    return row("", `${task}: ${[...scopes, "handler"].join(" > ")}`)
  })

/** as a word of a shell */
export const quoted = (text: string): string =>
  /^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`

export const summary = (ended: Ended): string => {
  const { counts, deadLetters, stats, totals } = ended
  const rate = stats.jobs / Math.max(ended.elapsed / 1000, 0.001)
  const open = counts.ready + counts.scheduled + counts.active
  const nothingNew = ended.finished && stats.latencies.length === 0
  const headline = !ended.finished
    ? `stopped after ${seconds(ended.elapsed)}: ${number(open)} jobs are left in the queue, to go on: ${ended.again}`
    : nothingNew
    ? `nothing has changed in ${ended.root}: looked at ${number(stats.found)} files in ${seconds(ended.elapsed)}`
    : `indexed ${ended.root} in ${seconds(ended.elapsed)}`
  return [
    "",
    headline,
    "",
    row(
      "files",
      `${number(totals.files)} in the index, ${size(totals.bytes)}; this time ${number(stats.done)} done, ${
        number(Math.max(0, totals.files - stats.done))
      } as they were`
    ),
    row(
      "directories",
      `${number(totals.directories)}; ${number(totals.others)} links and other special entries in them are left out`
    ),
    row("jobs", `${number(stats.jobs)} in ${number(stats.attempts)} attempts, ${number(rate)} jobs/s`),
    row("outcomes", counted(stats.outcomes)),
    row("failures", `${counted(stats.failures)} (attempts of this time, by error or reason)`),
    ...totals.errors.map(({ error, example, files }) =>
      row("", `${error}: ${number(files)} in the index, as ${JSON.stringify(example)}`)
    ),
    row("dead letters", number(counts.dead)),
    ...deadLetters.slice(0, 5).map((job) => row("", `${job.reason}: ${oneLine(job.error ?? job.envelope.payload)}`)),
    ...(deadLetters.length > 5 ? [row("", "...")] : []),
    row("latency", `${latencies(stats.latencies)} (one attempt at a file)`),
    ...(ended.spent.length === 0 ? [] : [
      row(
        "spans",
        ended.spent.slice(0, 6).map((s) => `${s.name} ${number(s.count)} x ${millis(s.millis / s.count)}`).join(", ")
      )
    ]),
    row("chains", "first = outermost"),
    ...chains(ended.middleware),
    "",
    `ask ${ended.database}:`,
    `  sqlite3 ${quoted(ended.database)} "${question}"`,
    `  ${ended.ask} "${question}"`,
    ""
  ].join("\n")
}

const oneLine = (text: string): string => text.replace(/\s+/g, " ").slice(0, 150)
