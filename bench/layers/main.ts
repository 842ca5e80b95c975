/**
 * `npm run bench:layers`: what Windlass costs around a handler, in microseconds a job and a layer, next to what else there is
 * to put a function around a function. Each cell (contender, number of layers) is a process of its own; contenders alternate
 * within a round, and the order turns with every round. Printed are medians over the rounds and their spread: CPU (of the
 * whole process) and time. On a machine that does other things too, the time says little and the CPU still something.
 *
 *     npm run bench:layers                           # all of it
 *     npm run bench:layers -- --short                # some minutes
 *     npm run bench:layers -- --measure layers --layers 0,10 --only observe,scoped --rounds 5
 *
 * Measures: `layers`, `jobs` (a whole job above Effect alone), `tracing`, `memory`, `imports`. Jobs come from an engine that
 * costs nothing (`engine.ts`), through the worker that everybody uses. `--write` puts the results of a whole run into
 * `bench/layers.json`, and from there `npm run bench:report` into the documentation.
 */
import { execFile } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { availableParallelism, cpus, totalmem } from "node:os"
import { join } from "node:path"
import { parseArgs, promisify } from "node:util"
import { install } from "../install.ts"
import type { Found, Order } from "./cell.ts"
import { type Compared as Imported, compareImports, type Import } from "./imports.ts"
import type { Found as Kept } from "./memory.ts"
import { type Entrant, isLight, jobs, layered, traced } from "./registry.ts"

const { values } = parseArgs({
  options: {
    short: { type: "boolean", default: false },
    measure: { type: "string" },
    layers: { type: "string" },
    only: { type: "string" },
    rounds: { type: "string" },
    concurrency: { type: "string" },
    stretch: { type: "string" },
    write: { type: "boolean", default: false }
  }
})

if (values.write && [values.measure, values.layers, values.only, values.concurrency].some((one) => one !== undefined)) {
  console.error("--write is for a whole run: rows of several runs must not be compared")
  process.exit(1)
}

const measures = (values.measure ?? "layers,jobs,tracing,memory,imports").split(",")
const counts = (values.layers ?? (values.short ? "0,10" : "0,1,5,10,20")).split(",").map(Number).filter((n) => n > 0)
const wanted = values.only?.split(",")
const rounds = Number(values.rounds ?? (values.short ? 3 : 5))
const concurrency = Number(values.concurrency ?? 50)
// no shorter in a short run: V8 needs some ten thousand jobs before what it compiled is what a worker runs for days, and
// the first three stretches of a cell are for that
const stretch = Number(values.stretch ?? 25_000)

install()
const peers = ["koa-compose", "@middy/core"].map((name) => {
  const manifest = join(import.meta.dirname, "../peers/node_modules", name, "package.json")
  return `${name} ${(JSON.parse(readFileSync(manifest, "utf8")) as { readonly version: string }).version}`
})

const run = promisify(execFile)
const cell = async (name: string, layers: number): Promise<Found> => {
  const share = isLight(name) ? 4 : 1
  const order: Order = { name, layers, concurrency, stretch: Math.ceil(stretch * share) }
  const { stdout } = await run(process.execPath, [
    ...process.execArgv,
    join(import.meta.dirname, "cell.ts"),
    JSON.stringify(order)
  ], { timeout: 300_000 })
  return JSON.parse(stdout.trim().split("\n").at(-1)!) as Found
}

const median = (figures: ReadonlyArray<number>) => figures.toSorted((a, b) => a - b)[figures.length >> 1]!
const show = (figure: number) => figure.toFixed(Math.abs(figure) < 10 ? 2 : 1)
const spread = (figures: ReadonlyArray<number>) => `${show(Math.min(...figures))} .. ${show(Math.max(...figures))}`
const isMet = (figure: number, target: number | undefined, name = String(target)) =>
  target === undefined ? "" : `<= ${name}: ${figure <= target ? "reached" : "NOT reached"}`

/** every round asks each once, beginning with another one */
const alternate = async <A>(items: ReadonlyArray<A>, ask: (item: A) => Promise<void>) => {
  for (let round = 0; round < rounds; round++) {
    console.error(`${items.length} cells, round ${round + 1} of ${rounds} ...`)
    for (let n = 0; n < items.length; n++) await ask(items[(n + round) % items.length]!)
  }
}

const machine = `${availableParallelism()} x ${cpus()[0]?.model.trim()}, ${
  Math.round(totalmem() / 2 ** 30)
} GiB, Node ${process.version}`
console.log(
  `${machine}; ${
    peers.join(", ")
  }; ${rounds} rounds; microseconds, CPU of the process unless it says time; concurrency ${concurrency}`
)

const results: Record<string, unknown> = {}

/** what each asked for in every round, by contender and number of layers */
const samples = new Map<string, Array<Found>>()
const samplesOf = (name: string, layers: number) => {
  const key = `${name}, ${layers}`
  if (!samples.has(key)) samples.set(key, [])
  return samples.get(key)!
}

const measureLayers = async () => {
  const entrants = layered.filter(({ name }) => wanted === undefined || wanted.some((part) => name.includes(part)))
  const baseOf = (entrant: Entrant) => entrant.base ?? entrant.name
  const bases = [...new Set(entrants.map(baseOf))]
  // the one with no layers is asked as often as there are numbers of layers: everything is compared with it
  const cells = counts.flatMap((count) => [
    ...bases.map((name) => ({ name, layers: 0 })),
    ...entrants.map(({ name }) => ({ name, layers: count }))
  ])
  await alternate(cells, async ({ layers, name }) => {
    samplesOf(name, layers).push(await cell(name, layers))
  })
  const perLayer = (entrant: Entrant, count: number, of: keyof Found) => {
    const base = median(samplesOf(baseOf(entrant), 0).map((found) => found[of]))
    return samplesOf(entrant.name, count).map((found) => (found[of] - base) / count)
  }
  console.log("\na job without layers")
  console.table(Object.fromEntries(bases.map((name) => {
    const found = samplesOf(name, 0)
    return [name, {
      CPU: show(median(found.map((f) => f.cpu))),
      spread: spread(found.map((f) => f.cpu)),
      time: show(median(found.map((f) => f.wall)))
    }]
  })))
  console.log("\na layer, above the same job without any, by the number of layers")
  const judged = counts.includes(10) ? 10 : counts.at(-1)!
  console.table(Object.fromEntries(entrants.map((entrant) => [entrant.name, {
    ...Object.fromEntries(counts.map((count) => [`${count}`, show(median(perLayer(entrant, count, "cpu")))])),
    [`spread at ${judged}`]: spread(perLayer(entrant, judged, "cpu")),
    [`time at ${judged}`]: show(median(perLayer(entrant, judged, "wall"))),
    target: isMet(median(perLayer(entrant, judged, "cpu")), entrant.target)
  }])))
  console.log("\na layer is")
  for (const { name, what } of entrants) console.log(`- ${name}: ${what}`)
  results["layers"] = entrants.map((entrant) => ({
    ...entrant,
    without: samplesOf(baseOf(entrant), 0),
    with: Object.fromEntries(counts.map((count) => [count, {
      samples: samplesOf(entrant.name, count),
      perLayer: { cpu: median(perLayer(entrant, count, "cpu")), wall: median(perLayer(entrant, count, "wall")) }
    }]))
  }))
}

interface Compared {
  readonly name: string
  readonly above?: string
  readonly target?: number
}

const measureJobs = async (title: string, rows: ReadonlyArray<Compared>) => {
  await alternate(rows, async ({ name }) => {
    samplesOf(name, 0).push(await cell(name, 0))
  })
  const middle = (name: string, of: keyof Found) => median(samplesOf(name, 0).map((found) => found[of]))
  const above = (row: Compared, of: keyof Found) =>
    row.above === undefined ? undefined : middle(row.name, of) - middle(row.above, of)
  console.log(`\n${title}`)
  console.table(Object.fromEntries(rows.map((row) => {
    const more = above(row, "cpu")
    return [row.name, {
      CPU: show(middle(row.name, "cpu")),
      spread: spread(samplesOf(row.name, 0).map((found) => found.cpu)),
      time: show(middle(row.name, "wall")),
      ...(more === undefined ? {} : {
        above: `${show(more)} above ${row.above}`,
        target: isMet(more, row.target)
      })
    }]
  })))
  results[title] = rows.map((row) => ({ ...row, samples: samplesOf(row.name, 0), more: above(row, "cpu") }))
}

const bytes = (figure: number) => Math.round(figure).toLocaleString("en")

const measureMemory = async () => {
  const order = { waiting: 100_000, stretch: 100_000, stretches: values.short ? 4 : 7 }
  const { stdout } = await run(process.execPath, [
    ...process.execArgv,
    join(import.meta.dirname, "memory.ts"),
    JSON.stringify(order)
  ], { timeout: 300_000 })
  const found = JSON.parse(stdout.trim().split("\n").at(-1)!) as Kept
  // a leak is there every time; code that is compiled or thrown away moves the heap once in a while
  const growth = median(found.after.slice(1).map((heap, n) => heap - found.after[n]!)) / found.stretch
  console.log("\nmemory, of the heap after a collection")
  console.table({
    "10,000 jobs that wait in the memory engine": { bytes: bytes(found.waiting * 10_000) },
    "of them the text of their payloads": { bytes: bytes(found.payload * 10_000) },
    "left behind by 100,000 jobs, three middlewares, every tenth failed once": {
      bytes: bytes(growth * 100_000),
      target: isMet(growth, 1, "a byte a job")
    }
  })
  results["memory"] = { ...found, growth }
}

const measureImports = async () => {
  const found = await compareImports(
    ["windlass", "windlass/Worker", "windlass/Task"],
    values.short ? 15 : 41
  )
  console.log("\nimporting what is built, against the modules of Effect that it names (milliseconds)")
  const middle = (samples: ReadonlyArray<Import>, of: keyof Import) => median(samples.map((one) => one[of]))
  const ratio = (row: Imported, of: keyof Import) => middle(row.ours, of) / middle(row.effects, of)
  console.table(Object.fromEntries(found.map((row) => [row.name, {
    files: row.files,
    "of Effect": row.modules.length,
    CPU: show(middle(row.ours, "cpu")),
    spread: spread(row.ours.map((one) => one.cpu)),
    "Effect, CPU": show(middle(row.effects, "cpu")),
    ratio: show(ratio(row, "cpu")),
    "ratio of the times": show(ratio(row, "wall")),
    target: isMet(ratio(row, "cpu"), 1.3)
  }])))
  results["imports"] = found.map((row) => ({ ...row, ratio: { cpu: ratio(row, "cpu"), wall: ratio(row, "wall") } }))
}

if (measures.includes("layers")) await measureLayers()
if (measures.includes("jobs")) await measureJobs("a whole job", jobs)
if (measures.includes("tracing")) await measureJobs("tracing", traced)

if (measures.includes("memory")) await measureMemory()
if (measures.includes("imports")) await measureImports()

if (values.write) {
  const file = join(import.meta.dirname, "../layers.json")
  writeFileSync(file, `${JSON.stringify({ machine, peers, rounds, concurrency, ...results }, undefined, 2)}\n`)
  console.log(`\nwritten: ${file}`)
}
