/** The chart of the results: bars, in panels of one measure each, by hand so that it reads in light and in dark. */
import type { Engine } from "./contender.ts"
import { type At, find, isTime, type Measure, median, type Results, type Row, show } from "./results.ts"

interface Panel {
  readonly title: string
  readonly engine: Engine
  readonly measure: Measure
  readonly at?: At
}

const panels: ReadonlyArray<Panel> = [
  { title: "Postgres: process a backlog", engine: "postgres", measure: "process" },
  { title: "Redis: process a backlog, 50 at once", engine: "redis", measure: "process", at: 50 },
  { title: "Postgres: enqueue, 100 in flight", engine: "postgres", measure: "enqueue", at: 100 },
  { title: "Redis: enqueue, 100 in flight", engine: "redis", measure: "enqueue", at: 100 },
  { title: "Postgres: end to end", engine: "postgres", measure: "through" },
  { title: "Redis: end to end", engine: "redis", measure: "through" },
  { title: "SQLite: process a backlog", engine: "sqlite", measure: "process" },
  { title: "memory: process a backlog", engine: "memory", measure: "process" },
  { title: "Postgres: idle latency, p50", engine: "postgres", measure: "latency" },
  { title: "Redis: idle latency, p50", engine: "redis", measure: "latency" }
]

const panelWidth = 500
const labels = 222
const values = 62
const row = 20
const gap = 34
const margin = 16
const top = 74

const escape = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;")

const rowsOf = (results: Results, { at, engine, measure }: Panel): ReadonlyArray<Row> => {
  const names = [...new Set(results.rows.filter((one) => one.engine === engine).map(({ name }) => name))]
  const found = names.flatMap((name) =>
    // an engine alone does what it does at any concurrency
    find(results, { engine, measure, name, at }) ?? (isRaw(results, engine, name) && measure === "process"
      ? find(results, { engine, measure, name }) ?? []
      : [])
  )
  const sign = isTime(measure) ? 1 : -1
  return found.toSorted((a, b) => sign * (median(a.figures) - median(b.figures)))
}

const isRaw = (results: Results, engine: Engine, name: string) =>
  results.rows.some((one) => one.engine === engine && one.name === name && one.kind === "raw")

/** a panel that begins at this place, and how high it is */
const draw = (panel: Panel, rows: ReadonlyArray<Row>, x: number, y: number): string => {
  const most = Math.max(...rows.map(({ figures }) => median(figures)))
  const width = panelWidth - labels - values
  const unit = isTime(panel.measure) ? "ms, less is better" : "jobs a second"
  const bars = rows.map((one, n) => {
    const value = median(one.figures)
    const length = Math.max(1, width * value / most)
    const at = y + 14 + n * row
    const name = one.name.replace("Windlass, ", "Windlass: ")
    return `<text class="name${one.kind === "windlass" ? " ours" : ""}" x="${x + labels - 8}" y="${at + 11}">${
      escape(name)
    }</text>`
      + `<rect class="${one.kind}" x="${x + labels}" y="${at}" width="${length.toFixed(1)}" height="14" rx="2"/>`
      + `<text class="value" x="${(x + labels + length + 6).toFixed(1)}" y="${at + 11}">${show(value)}</text>`
  })
  return `<text class="title" x="${x + 4}" y="${y}">${
    escape(panel.title)
  } <tspan class="unit">${unit}</tspan></text>\n${bars.join("\n")}`
}

/** The picture, as wide as two panels. */
export const chart = (results: Results): string => {
  const shown = panels.map((panel) => ({ panel, rows: rowsOf(results, panel) })).filter(({ rows }) => rows.length > 0)
  const parts: Array<string> = []
  let y = top
  for (let n = 0; n < shown.length; n += 2) {
    const pair = shown.slice(n, n + 2)
    pair.forEach(({ panel, rows }, side) => parts.push(draw(panel, rows, margin + side * (panelWidth + margin), y)))
    y += gap + Math.max(...pair.map(({ rows }) => rows.length)) * row
  }
  const width = 2 * panelWidth + 3 * margin
  const legend = [["windlass", "Windlass"], ["peer", "other libraries"], ["raw", "the engine alone, without a runtime"]]
    .map(([kind, text], n) => {
      const x = margin + 4 + [0, 96, 226][n]!
      return `<rect class="${kind}" x="${x}" y="36" width="12" height="12" rx="2"/><text class="unit" x="${
        x + 18
      }" y="46">${text}</text>`
    }).join("\n")
  const { date, machine } = results
  const said = `${date.slice(0, 10)}, ${machine["processors"]?.split(",")[0]}, Node ${machine["Node"]}`
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y}" width="${width}" height="${y}" role="img" aria-labelledby="title">
<title id="title">Windlass and other libraries, measured in one run</title>
<style>
  svg { color-scheme: light dark; }
  .back { fill: #ffffff; }
  text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #24292f; }
  .title { font-weight: 600; font-size: 13px; }
  .head { font-weight: 600; font-size: 15px; }
  .unit, .value { fill: #57606a; font-weight: 400; font-size: 11px; }
  .name { text-anchor: end; }
  .ours { font-weight: 600; }
  .windlass { fill: #0a66c2; }
  .peer { fill: #afb8c1; }
  .raw { fill: none; stroke: #8c959f; stroke-dasharray: 3 2; }
  @media (prefers-color-scheme: dark) {
    .back { fill: #0d1117; }
    text { fill: #e6edf3; }
    .unit, .value { fill: #9198a1; }
    .windlass { fill: #58a6ff; }
    .peer { fill: #484f58; }
    .raw { stroke: #8b949e; }
  }
</style>
<rect class="back" width="${width}" height="${y}"/>
<text class="head" x="${margin + 4}" y="24">Windlass and other libraries, measured in one run <tspan class="unit">${
    escape(said)
  }</tspan></text>
${legend}
${parts.join("\n")}
</svg>
`
}
