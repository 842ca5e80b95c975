/** The results as the README has them: a mark per library and case, and below what the letters stand for. */
import { type Arrived, type Case, cases } from "./program.ts"

export interface Cell {
  /** one line: what happened, in order */
  readonly trace: string
  /** what of it is not as it should be */
  readonly faults: ReadonlyArray<string>
  /** what A was told of the handler's failure, and what whoever waits for the job gets of it */
  readonly told?: Arrived | undefined
  readonly waiter?: Arrived | undefined
}

export interface LeftOut {
  readonly leftOut: string
}

export interface Row {
  readonly name: string
  readonly version: string | undefined
  readonly how: string
  readonly cells: Readonly<Record<Case, Cell | LeftOut>>
}

export interface Results {
  /** the day, as in 2026-11-21 */
  readonly date: string
  readonly node: string
  readonly rows: ReadonlyArray<Row>
}

const isCell = (cell: Cell | LeftOut): cell is Cell => "trace" in cell

const letters = "abcdefghijklmnopqrstuvwxyz"

/** what somebody is told of the handler's error, when that is all that fails */
const words = (row: Row, of: "told" | "waiter"): string => {
  const cell = row.cells["handler fails"]
  return isCell(cell) ? cell[of] ?? "nothing" : "–"
}

export const table = (results: Results): string => {
  const notes: Array<string> = []
  const mark = (cell: Cell | LeftOut): string => {
    if (!isCell(cell)) return "–"
    if (cell.faults.length === 0) return "✓"
    return cell.faults.map((fault) => {
      if (!notes.includes(fault)) notes.push(fault)
      return letters[notes.indexOf(fault)]!
    }).sort().join(" ")
  }
  const head = ["", ...cases, "an outer middleware is told", "who waits gets"]
  const rows = results.rows.map((row) => [
    row.version === undefined ? row.name : row.name.replace(/^([^,]+)/, `$1 ${row.version}`),
    ...cases.map((name) => mark(row.cells[name])),
    words(row, "told"),
    words(row, "waiter")
  ])
  return [
    ...[head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`),
    "",
    `${notes.map((note, n) => `${letters[n]!}: ${note}`).join(" · ")}. Seen on ${results.date}, Node ${results.node}.`
  ].join("\n")
}

export const marks = { open: "<!-- balance -->", close: "<!-- /balance -->" }

/** a document with what stands between the marks replaced */
export const within = (document: string, text: string): string => {
  const [before, rest] = document.split(marks.open)
  const after = rest?.split(marks.close)[1]
  if (before === undefined || after === undefined) {
    throw new Error(`no ${marks.open} ... ${marks.close} in the document`)
  }
  return `${before}${marks.open}\n${text}\n${marks.close}${after}`
}
