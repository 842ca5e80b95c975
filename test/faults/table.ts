/** The one table of the suite: printed, and written into the guarantees. */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "../support/tsc.ts"
import { engines, options } from "./options.ts"

export interface Row {
  readonly fault: string
  readonly engine: string
  readonly jobs: number
  readonly lost: number
  readonly duplicates: number
  readonly allowed: number
  /** jobs that were published again after an unknown outcome, when the first had ended already */
  readonly again: number
  readonly why: string
  /** milliseconds */
  readonly recovery: number | undefined
}

const headings = [
  "fault",
  "engine",
  "jobs",
  "lost",
  "ran twice",
  "at most",
  "which",
  "sent twice",
  "back after"
] as const

const cells = (row: Row): ReadonlyArray<string> => [
  row.fault,
  row.engine,
  String(row.jobs),
  String(row.lost),
  String(row.duplicates),
  String(row.allowed),
  row.why,
  String(row.again),
  row.recovery === undefined ? "–" : `${(row.recovery / 1000).toFixed(2)} s`
]

const sorted = (rows: ReadonlyArray<Row>, order: ReadonlyArray<string>): ReadonlyArray<Row> => {
  const rank = ({ engine, fault }: Row) =>
    order.indexOf(fault) * engines.length + engines.findIndex((one) => one === engine)
  return Array.from(rows).sort((a, b) => rank(a) - rank(b))
}

/** `order`: the faults' names as the catalogue has them */
export const text = (rows: ReadonlyArray<Row>, order: ReadonlyArray<string>): string => {
  const lines = [headings, ...sorted(rows, order).map(cells)]
  const shown = lines.map((line) => line.filter((_, i) => headings[i] !== "which"))
  const widths = shown[0]!.map((_, i) => Math.max(...shown.map((line) => line[i]!.length)))
  return shown.map((line) =>
    line.map((cell, i) => i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)).join("  ").trimEnd()
  ).join("\n")
}

const markdown = (rows: ReadonlyArray<Row>, order: ReadonlyArray<string>): string =>
  [headings, headings.map((_, i) => i >= 2 && i !== 6 ? "---:" : "---"), ...sorted(rows, order).map(cells)]
    .map((line) => `| ${line.join(" | ")} |`).join("\n")

const file = join(root, "docs/guarantees.md")
const begin = "<!-- faults: begin -->"
const end = "<!-- faults: end -->"

/** the command that makes the table again, as far as a seed can */
export const command = (): string =>
  `npm run test:faults -- ${options.long ? "--long " : ""}--seed ${options.seed} --write`

/** writes the block between the markers of docs/guarantees.md */
export const write = (rows: ReadonlyArray<Row>, order: ReadonlyArray<string>, lease: number): void => {
  const page = readFileSync(file, "utf8")
  const [from, to] = [page.indexOf(begin), page.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`docs/guarantees.md has no block "${begin}" ... "${end}"`)
  const block = `${begin}\n\nMade by \`${command()}\`, with leases of ${lease / 1000} s.\n\n${
    markdown(rows, order)
  }\n\n`
  writeFileSync(file, page.slice(0, from) + block + page.slice(to))
}
