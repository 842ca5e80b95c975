/**
 * `npm run bench:report`: takes `bench/results.json` (and `layers.json` and `profile.json`) into `docs/performance.md`
 * between its marks, and into the chart beside it. What a mark holds is made here and nowhere else:
 * `test/docs/performance.test.ts` compares them.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { chart } from "./chart.ts"
import type { Engine } from "./contender.ts"
import { type Layers, layerSections, layerTargets, table } from "./layersReport.ts"
import { type Profiles, profileSections } from "./profile/report.ts"
import { entrants } from "./registry.ts"
import { type At, find, type Measure, median, type Results, type Row, show } from "./results.ts"
import { targets } from "./targets.ts"

const titles: Record<Engine, string> = { postgres: "Postgres", redis: "Redis", sqlite: "SQLite", memory: "memory" }
const engines = Object.keys(titles) as ReadonlyArray<Engine>

/** the most that a round was off the median, in percent */
const off = ({ figures }: Row): number => {
  const middle = median(figures)
  return Math.round(Math.max(...figures.map((figure) => Math.abs(figure - middle) / middle)) * 100)
}

const figure = (row: Row | undefined): string => {
  if (row === undefined) return ""
  return row.figures.length === 1 ? show(median(row.figures)) : `${show(median(row.figures))} ±${off(row)}%`
}

/** contenders of the run, as the registry has them */
const names = (results: Results, engine: Engine): ReadonlyArray<string> =>
  entrants.filter((one) =>
    one.engine === engine && results.rows.some((row) => row.engine === engine && row.name === one.name)
  )
    .map(({ name }) => name)

const bold = (text: string) => text === "" ? "" : `**${text}**`
const isOurs = (name: string) => name.startsWith("Windlass")

const rates = (results: Results, engine: Engine): string => {
  const columns: ReadonlyArray<readonly [title: string, measure: Measure, at?: At]> = [
    ["enqueue, one by one", "enqueue", 1],
    ["100 in flight", "enqueue", 100],
    ["1,000 a call", "bulk", 1],
    ["process, 1 at once", "process", 1],
    ["10", "process", 10],
    ["50", "process", 50],
    ["100", "process", 100],
    ["best", "process"],
    ["end to end", "through", 50]
  ]
  return table(
    ["jobs a second", ...columns.map(([title]) => title)],
    names(results, engine).map((name) => [
      isOurs(name) ? bold(name) : name,
      ...columns.map(([, measure, at]) => figure(find(results, { engine, measure, name, at })))
    ])
  )
}

/** how much of what the engine gives is left when the runtime is around it */
const limits = (results: Results): string => {
  const three = "Windlass, three middlewares"
  const works: ReadonlyArray<readonly [title: string, measure: Measure, at?: At]> = [
    ["process", "process"],
    ["1,000 enqueues a call", "bulk"],
    ["enqueue, one by one", "enqueue", 1]
  ]
  const share = (ours: Row | undefined, raw: Row) =>
    ours === undefined ? "" : `${Math.round(100 * median(ours.figures) / median(raw.figures))} %`
  return table(
    ["", "the engine alone", "three middlewares", "bare"],
    engines.flatMap((engine) => {
      const name = results.rows.find((row) => row.engine === engine && row.kind === "raw")?.name
      if (name === undefined) return []
      return works.flatMap(([title, measure, at]) => {
        const raw = find(results, { engine, measure, name, at })
        const of = (name: string) => find(results, { engine, measure, name, at })
        if (raw === undefined) return []
        const shares = [share(of(three), raw), share(of("Windlass, bare"), raw)]
        return [[`${titles[engine]}: ${title}`, figure(raw), ...shares]]
      })
    })
  )
}

/** at 50 at once, or the way that the contender has */
const costs = (results: Results): string =>
  table(
    ["processing 10,000 jobs", "CPU s of the process", "of the server", "both", "MiB resident at most"],
    engines.flatMap((engine) =>
      names(results, engine).flatMap((name) => {
        const of = (at?: At) => find(results, { engine, measure: "process", name, at })
        const row = of(50) ?? of()
        if (row?.cpu === undefined) return []
        const both = row.engineCpu === undefined ? row.cpu : row.cpu + row.engineCpu
        const title = `${titles[engine]}: ${name}`
        return [[
          isOurs(name) ? bold(title) : title,
          row.cpu.toFixed(2),
          row.engineCpu?.toFixed(2) ?? "",
          both.toFixed(2),
          show(Math.round(row.resident ?? 0))
        ]]
      })
    )
  )

const waiting = (results: Results): string =>
  table(
    ["10,000 waiting jobs in memory", "MiB of heap"],
    names(results, "memory").flatMap((name) => {
      const row = find(results, { engine: "memory", measure: "process", name, at: 50 })
      return row?.waiting === undefined ? [] : [[isOurs(name) ? bold(name) : name, row.waiting.toFixed(1)]]
    })
  )

const times = (results: Results, measure: Measure, head: ReadonlyArray<string>, title: (row: Row) => string): string =>
  table(
    [...head, "p50", "p95", "p99"],
    engines.flatMap((engine) =>
      results.rows.filter((row) => row.engine === engine && row.measure === measure && row.figures.length > 0).map((
        row
      ) => [
        isOurs(row.name) ? bold(title(row)) : title(row),
        figure(row),
        ...[row.p95, row.p99].map((time) => time === undefined ? "" : show(time))
      ])
    )
  )

const backlogOf = ({ at, jobs }: Row): string => {
  const count = jobs.toLocaleString("en")
  return at === "a million, behind a pinned transaction"
    ? `${count} settled behind a pinned transaction`
    : `${count} waiting`
}

const scale = (results: Results): string => {
  const counts = [...new Set(results.rows.filter(({ measure }) => measure === "scale").map(({ at }) => Number(at)))]
    .toSorted((a, b) => a - b)
  return table(
    ["jobs a second", ...counts.map((count) => count === 1 ? "1 process" : `${count} processes`)],
    engines.flatMap((engine) =>
      names(results, engine).flatMap((name) => {
        const cells = counts.map((at) => find(results, { engine, measure: "scale", name, at }))
        if (cells.every((cell) => cell === undefined)) return []
        const title = `${titles[engine]}: ${name}`
        return [[isOurs(name) ? bold(title) : title, ...cells.map(figure)]]
      })
    )
  )
}

const run = (results: Results): string => {
  const { date, machine, rounds, scale, short, took, versions } = results
  const list = (some: Readonly<Record<string, string>>) =>
    Object.entries(some).map(([name, what]) => `- ${name}: ${what}`).join("\n")
  const packages = Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(", ")
  const kind = short || rounds < 3
    ? "a short one: read no ratio out of it"
    : scale === 1
    ? `${rounds} rounds`
    : `${rounds} rounds, \`--scale ${scale}\``
  return `Run of ${date.slice(0, 10)}, ${kind}, ${Math.round(took)} minutes.\n\n${
    list(machine)
  }\n- packages: ${packages}`
}

const failures = (results: Results): string => {
  const failed = results.rows.filter((row) => row.failed !== undefined)
  return failed.length === 0 ?
    "Every cell had its figure." :
    failed.map((row) => `- ${titles[row.engine]}: ${row.name}, ${row.measure} at ${row.at}: ${row.failed}`).join("\n")
}

/** Three commands write what they found; a machine may have run only the first. */
export interface Measured {
  readonly results: Results
  readonly layers: Layers | undefined
  readonly profiles: Profiles | undefined
}

/** What stands between `<!-- bench: NAME -->` and `<!-- /bench -->`. */
export const sections = ({ layers, profiles, results }: Measured): Readonly<Record<string, string>> => ({
  ...layerSections(layers),
  ...profileSections(profiles),
  run: run(results),
  targets: table(
    ["work", "target", "measured", "ratio", ""],
    [...targets(results), ...layerTargets(layers)].map(({ asked, measured, ratio, verdict, work }) => [
      work,
      asked,
      measured,
      ratio,
      verdict === "reached" ? verdict : bold(verdict)
    ]),
    "words"
  ),
  ...Object.fromEntries(engines.map((engine) => [engine, rates(results, engine)])),
  limits: limits(results),
  costs: costs(results),
  waiting: waiting(results),
  latency: times(results, "latency", ["milliseconds"], (row) => `${titles[row.engine]}: ${row.name}`),
  backlog: times(results, "backlog", ["milliseconds"], (row) => `${row.name}: ${backlogOf(row)}`),
  scale: scale(results),
  settings: Object.entries(results.settings).map(([name, what]) => `- ${name}: ${what}`).join("\n"),
  failures: failures(results)
})

const mark = /<!-- bench: (\w+) -->\n[^]*?<!-- \/bench -->/g

/** The document with what its marks stand for. */
export const filled = (document: string, measured: Measured): string => {
  const made = sections(measured)
  return document.replace(mark, (_all, name: string) => {
    const section = made[name]
    if (section === undefined) throw new Error(`there is no section "${name}"`)
    return `<!-- bench: ${name} -->\n${section}\n<!-- /bench -->`
  })
}

const readJson = (name: string): unknown => {
  const file = join(import.meta.dirname, name)
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : undefined
}

export const readMeasured = (): Measured => ({
  results: readJson("results.json") as Results,
  layers: readJson("layers.json") as Layers | undefined,
  profiles: readJson("profile.json") as Profiles | undefined
})

if (import.meta.main) {
  const measured = readMeasured()
  const docs = join(import.meta.dirname, "../docs")
  const document = join(docs, "performance.md")
  writeFileSync(document, filled(readFileSync(document, "utf8"), measured))
  writeFileSync(join(docs, "performance.svg"), chart(measured.results))
  console.log("written: docs/performance.md, docs/performance.svg")
}
