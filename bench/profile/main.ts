/**
 * `npm run bench:profile`: where the time of the process goes, by part, in the cells of the bench that a target is about. Each
 * is the cell that `npm run bench` runs, with more jobs, in a process of its own under V8's sampling profiler, which makes it
 * a fifth slower or so: the shares count, not the rates.
 *
 *     npm run bench:profile                                   # all of them, some minutes
 *     npm run bench:profile -- --only "Postgres: process" --functions 30 --keep /tmp/profiles
 *
 * `--functions` prints the functions that took longest, `--keep` leaves the profiles in a folder (DevTools opens them).
 * `--write` puts all of it into `bench/profile.json`, and from there `npm run bench:report` into the documentation.
 */
import { execFile } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs, promisify } from "node:util"
import type { Found, Order } from "../cell.ts"
import type { Engine } from "../contender.ts"
import { serversOf, up } from "../machine.ts"
import type { Measure } from "../results.ts"
import { tidy } from "../tidy.ts"
import { type Part, parts, type Profile, sorted } from "./parts.ts"
import type { Profiled } from "./report.ts"

interface Cell {
  readonly title: string
  readonly engine: Engine
  readonly name: string
  readonly measure: Measure
  readonly concurrency: number
  /** thousands of jobs, half of them for warming up */
  readonly jobs: number
}

const three = "Windlass, three middlewares"
const bare = "Windlass, bare"

const cells: ReadonlyArray<Cell> = [
  { title: "memory: process, bare", engine: "memory", name: bare, measure: "process", concurrency: 100, jobs: 400 },
  { title: "memory: process", engine: "memory", name: three, measure: "process", concurrency: 100, jobs: 400 },
  { title: "SQLite: process, bare", engine: "sqlite", name: bare, measure: "process", concurrency: 100, jobs: 300 },
  { title: "SQLite: process", engine: "sqlite", name: three, measure: "process", concurrency: 100, jobs: 300 },
  { title: "Postgres: process", engine: "postgres", name: three, measure: "process", concurrency: 100, jobs: 200 },
  {
    title: "Postgres: a job per round trip",
    engine: "postgres",
    name: "Windlass, a job per round trip",
    measure: "process",
    concurrency: 50,
    jobs: 15
  },
  { title: "Postgres: 100 enqueues", engine: "postgres", name: three, measure: "enqueue", concurrency: 100, jobs: 120 },
  { title: "Postgres: bulk enqueue", engine: "postgres", name: three, measure: "bulk", concurrency: 1, jobs: 300 },
  { title: "Postgres: end to end", engine: "postgres", name: three, measure: "through", concurrency: 50, jobs: 100 },
  { title: "Redis: process", engine: "redis", name: three, measure: "process", concurrency: 50, jobs: 200 },
  { title: "Redis: 100 enqueues", engine: "redis", name: three, measure: "enqueue", concurrency: 100, jobs: 200 }
]

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    functions: { type: "string" },
    keep: { type: "string" },
    write: { type: "boolean", default: false }
  }
})
if (values.write && values.only !== undefined) {
  console.error("--write is for all of them")
  process.exit(2)
}

const servers = serversOf(process.env)
const isUp = await up(servers)
const folder = mkdtempSync(join(tmpdir(), "windlass-profile-"))
process.once("exit", () => rmSync(folder, { recursive: true, force: true }))
if (values.keep !== undefined) mkdirSync(values.keep, { recursive: true })
const prefix = `profile_${process.pid}_`
const clean = () => tidy(isUp, { ...servers, prefix })
process.once("SIGINT", () => void clean().finally(() => process.exit(130)))

const ask = async ({ title, ...cell }: Cell, n: number): Promise<Profiled> => {
  const profile = join(values.keep ?? folder, `${title.replace(/[^\w]+/g, "-")}.cpuprofile`)
  const jobs = cell.jobs * 1_000
  const order: Order = {
    ...cell,
    jobs,
    at: cell.concurrency,
    profile,
    place: {
      name: `${prefix}${n}`,
      folder,
      postgres: servers.postgres,
      redis: { host: servers.redis.hostname, port: Number(servers.redis.port || 6379) }
    }
  }
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...process.execArgv,
    join(import.meta.dirname, "../cell.ts"),
    JSON.stringify(order)
  ], { timeout: 300_000, maxBuffer: 1 << 24 })
  const found = JSON.parse(stdout.trim().split("\n").at(-1)!) as Found
  const { byFunction, byPart } = sorted(JSON.parse(readFileSync(profile, "utf8")) as Profile)
  const measured = jobs >> 1
  const perJob = (micros: number) => Number((micros / measured).toFixed(3))
  if (values.functions !== undefined) {
    console.log(`\n${title}: µs a job`)
    for (const [name, micros] of byFunction.slice(0, Number(values.functions))) {
      console.log(`${perJob(micros).toFixed(2).padStart(8)}  ${name}`)
    }
  }
  return {
    title,
    jobs: measured,
    server: found.engineCpu === undefined ? undefined : Number((found.engineCpu * 100).toFixed(1)),
    micros: Object.fromEntries(Array.from(byPart, ([part, micros]): [Part, number] => [part, perJob(micros)]))
  }
}

const found: Array<Profiled> = []
for (const [n, cell] of cells.entries()) {
  if (values.only !== undefined && !values.only.split(",").some((part) => cell.title.includes(part))) continue
  if (cell.engine === "postgres" || cell.engine === "redis") {
    if (!isUp[cell.engine]) {
      console.log(`${cell.title}: nobody answers, left out`)
      continue
    }
  }
  found.push(await ask(cell, n))
  await clean()
}

console.log("\nµs a job")
console.table(Object.fromEntries([...parts, "idle" as const].map((part) => [
  part,
  Object.fromEntries(found.map(({ micros, title }) => [title, (micros[part] ?? 0).toFixed(2)]))
])))
if (values.write) {
  const file = join(import.meta.dirname, "../profile.json")
  writeFileSync(file, `${JSON.stringify({ node: process.version, cells: found }, undefined, 1)}\n`)
  console.log(`written: ${file}`)
}
