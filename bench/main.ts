/**
 * `npm run bench`: Windlass against what a user would pick instead, in one run on one machine. Each cell (contender, measure)
 * is a process of its own; contenders alternate inside a round, and the order turns with every round. Printed are medians
 * and their spread, every ratio to the first row, and what became of the targets. Machines are noisy: compare within one run
 * only, and leave the machine alone meanwhile.
 *
 *     npm run bench                              # all of it, half an hour
 *     npm run bench -- --short                   # a few minutes
 *     npm run bench -- --engine redis --measure process,latency --rounds 5 --only windlass,BullMQ
 *
 * The engines are looked for at their default ports, or in WINDLASS_POSTGRES_URL and WINDLASS_REDIS_URL; one that does
 * not answer is left out and named. With `--write` the results go to `bench/results.json`, and from there `npm run
 * bench:report` takes them into `docs/performance.md`.
 */
import { execFile } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs, promisify } from "node:util"
import type { Found, Order } from "./cell.ts"
import type { Engine, Place } from "./contender.ts"
import { install, versions } from "./install.ts"
import { machine, serversOf, up } from "./machine.ts"
import { printRows, printTargets } from "./print.ts"
import { type Entrant, entrants, jobsOf } from "./registry.ts"
import { type At, type Measure, median, type Results, type Row } from "./results.ts"
import { targets } from "./targets.ts"
import { tidy } from "./tidy.ts"

const { values } = parseArgs({
  options: {
    short: { type: "boolean", default: false },
    engine: { type: "string" },
    measure: { type: "string" },
    only: { type: "string" },
    rounds: { type: "string" },
    concurrency: { type: "string" },
    scale: { type: "string" },
    write: { type: "boolean", default: false }
  }
})

const { short } = values
if (values.write && [values.engine, values.measure, values.only, values.concurrency].some((one) => one !== undefined)) {
  console.error("--write is for a whole run: rows of several runs must not be compared")
  process.exit(2)
}
const rounds = Number(values.rounds ?? (short ? 1 : 3))
/** half an hour is not enough for all of it three times: what no target asks for comes twice, a million jobs once */
const roundsOf = (measure: Measure, at: At) =>
  measure === "backlog"
    ? 1
    : measure === "scale" || (measure === "enqueue" && at === 1) || (measure === "process" && (at === 10 || at === 100))
    ? Math.min(rounds, 2)
    : rounds
const factor = Number(values.scale ?? (short ? 0.3 : 1))
const listed = <A>(given: string | undefined, all: ReadonlyArray<A>) =>
  given === undefined ? all : given.split(",") as ReadonlyArray<unknown> as ReadonlyArray<A>
const engines = listed<Engine>(values.engine, ["memory", "sqlite", "postgres", "redis"])
const wanted = values.only?.toLowerCase().split(",")
const concurrencies = (values.concurrency ?? (short ? "1,50,best" : "1,10,50,100,best")).split(",")
  .map((one): At => one === "best" ? one : Number(one))

/** what a measure is measured at, and how many jobs at once that is unless the contender has its own best */
const points: Record<Measure, ReadonlyArray<At>> = {
  enqueue: [1, 100],
  bulk: [1],
  process: concurrencies,
  through: [50],
  latency: [10],
  scale: short ? [1, 2] : [1, 2, 4],
  backlog: ["a million"]
}

const measures = listed(values.measure, Object.keys(points) as ReadonlyArray<Measure>)

const servers = serversOf(process.env)
const folder = mkdtempSync(join(tmpdir(), "windlass-bench-"))
process.once("exit", () => rmSync(folder, { recursive: true, force: true }))

const prefix = `bench_${process.pid}_`
let places = 0
const place = (): Place => ({
  name: `${prefix}${++places}`,
  folder,
  postgres: servers.postgres,
  redis: { host: servers.redis.hostname, port: Number(servers.redis.port || 6379) }
})

const run = promisify(execFile)
const cell = async (order: Order): Promise<Found> => {
  const { stdout } = await run(process.execPath, [
    ...process.execArgv,
    join(import.meta.dirname, "cell.ts"),
    JSON.stringify(order)
  ], { timeout: order.measure === "backlog" ? 400_000 : 120_000, maxBuffer: 1 << 24 })
  return JSON.parse(stdout.trim().split("\n").at(-1)!) as Found
}

/** one row in the making */
interface Cells {
  readonly entrant: Entrant
  readonly measure: Measure
  readonly at: At
  readonly jobs: number
  readonly concurrency: number
  readonly founds: Array<Found>
  failed: string | undefined
}

const cellsOf = (engine: Engine, measure: Measure, at: At): ReadonlyArray<Cells> =>
  entrants.flatMap((entrant) => {
    const all = jobsOf(entrant, measure, at)
    if (all === undefined || entrant.engine !== engine) return []
    if (wanted?.every((part) => !entrant.name.toLowerCase().includes(part))) return []
    // an engine without a runtime has one way only, and a batch handler has no jobs at once
    if (measure === "process" && at !== "best" && (entrant.kind === "raw" || entrant.best === 2)) return []
    if (at === "best" && entrant.best === undefined) return []
    // once without middlewares is enough
    if (entrant.name === "Windlass, bare" && at !== 50 && at !== "best") return []
    const concurrency = measure === "scale" ? 50 : measure === "bulk" ? 1 : typeof at === "number" ? at : entrant.best!
    const jobs = measure === "latency" ? all : Math.ceil(all * (measure === "backlog" && short ? 0.1 : factor))
    return [{ entrant, measure, at, jobs, concurrency, founds: [], failed: undefined }]
  })

const settings: Record<string, string> = {}

const ask = async (one: Cells) => {
  if (one.failed !== undefined) return
  const { at, concurrency, entrant, jobs, measure } = one
  const { engine, name } = entrant
  const began = performance.now()
  try {
    const found = await cell({ engine, name, measure, at, jobs, concurrency, place: place() })
    one.founds.push(found)
    settings[`${engine}: ${name}`] = found.settings
  } catch (error) {
    const { message } = error as Error
    one.failed = message.split("\n").find((line) => /\berror\b/i.test(line))?.trim() ?? "no answer in time"
    if (process.env["BENCH_DEBUG"]) console.error(error)
  }
  if (process.env["BENCH_DEBUG"]) {
    console.error(`${engine}, ${measure} at ${at}, ${name}: ${Math.round(performance.now() - began)} ms`)
  }
}

const middle = (figures: ReadonlyArray<number | undefined>): number | undefined => {
  const known = figures.filter((figure) => figure !== undefined)
  return known.length === 0 ? undefined : median(known)
}

const rowsOf = ({ at, entrant, failed, founds, jobs, measure }: Cells): ReadonlyArray<Row> => {
  const { engine, kind, name } = entrant
  const row = { engine, measure, name, kind, jobs }
  if (failed !== undefined) return [{ ...row, at, figures: [], failed }]
  const places = founds[0]?.points
  if (places !== undefined) {
    return Object.keys(places).map((point) => {
      const there = founds.map((found) => found.points![point]!)
      const of = (key: "p95" | "p99") => median(there.map((one) => one[key]))
      return {
        ...row,
        jobs: there[0]!.jobs,
        at: point as At,
        figures: there.map(({ p50 }) => p50),
        p95: of("p95"),
        p99: of("p99")
      }
    })
  }
  const of = (key: "p95" | "p99" | "cpu" | "engineCpu" | "resident" | "waiting") =>
    middle(founds.map((one) => one[key]))
  return [{
    ...row,
    at,
    figures: founds.map(({ figure }) => figure!),
    p95: of("p95"),
    p99: of("p99"),
    cpu: of("cpu"),
    engineCpu: of("engineCpu"),
    resident: of("resident"),
    waiting: of("waiting")
  }]
}

install()
const start = performance.now()
const minutes = () => (performance.now() - start) / 60_000
const date = new Date().toISOString()
const isUp = await up(servers)
// what cells leave behind would keep the server busy with tables that nobody asks for any more
const clean = () => tidy(isUp, { ...servers, prefix })
process.once("SIGINT", () => void clean().finally(() => process.exit(130)))
const where = await machine(servers, isUp)
for (const [name, value] of Object.entries(where)) console.log(`${name}: ${value}`)
console.log(`${rounds} ${rounds === 1 ? "round" : "rounds"}`)

const rows: Array<Row> = []
for (const engine of engines) {
  if (!isUp[engine]) {
    console.log(`\n${engine}: nobody answers, left out`)
    continue
  }
  for (const measure of measures) {
    for (const at of points[measure]) {
      const cells = cellsOf(engine, measure, at)
      for (let round = 0; round < roundsOf(measure, at); round++) {
        for (let n = 0; n < cells.length; n++) await ask(cells[(n + round) % cells.length]!)
      }
      const some = cells.flatMap(rowsOf)
      rows.push(...some)
      if (some.length > 0) printRows(engine, measure, at, some)
    }
    await clean()
  }
}

console.log("\nsettings")
for (const [name, what] of Object.entries(settings)) console.log(`- ${name}: ${what}`)

const results: Results = {
  date,
  scale: factor,
  took: Number(minutes().toFixed(1)),
  short,
  rounds,
  machine: where,
  versions: versions(),
  settings,
  rows
}
printTargets(targets(results))
console.log(`\ntook ${results.took} minutes`)
if (values.write) {
  const file = join(import.meta.dirname, "results.json")
  // figures as they are read, not to the last bit
  const short = (_key: string, value: unknown) => typeof value === "number" ? Number(value.toPrecision(5)) : value
  writeFileSync(file, `${JSON.stringify(results, short, 1)}\n`)
  console.log(`written: ${file}`)
}
