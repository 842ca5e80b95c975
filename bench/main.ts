/**
 * `npm run bench`: Windlass against what a user would pick instead, in one run on one machine. Each cell (contender, measure)
 * is a process of its own; contenders alternate inside a round, and the order turns with every round. Printed are medians
 * and their spread, and every ratio to the first row of an engine. Machines are noisy: compare within one run only.
 *
 *     npm run bench                              # all of it
 *     npm run bench -- --short                   # a few minutes
 *     npm run bench -- --engine redis --measure process,latency --rounds 5 --only windlass,BullMQ
 *
 * The engines are looked for at their default ports, or in WINDLASS_POSTGRES_URL and WINDLASS_REDIS_URL; one that does
 * not answer is left out and named. Results go to `bench/results.json` with `--write`.
 */
import { execFile, execFileSync } from "node:child_process"
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { connect } from "node:net"
import { availableParallelism, cpus, tmpdir, totalmem } from "node:os"
import { join } from "node:path"
import { parseArgs, promisify } from "node:util"
import type { Found, Measure, Order } from "./cell.ts"
import type { Place } from "./contender.ts"
import { entrants } from "./registry.ts"
import { tidy } from "./tidy.ts"

const { values } = parseArgs({
  options: {
    short: { type: "boolean", default: false },
    engine: { type: "string", default: "memory,sqlite,postgres,redis" },
    measure: { type: "string", default: "process,enqueue,bulk,through,latency" },
    only: { type: "string" },
    rounds: { type: "string" },
    concurrency: { type: "string" },
    scale: { type: "string" },
    write: { type: "boolean", default: false }
  }
})

const rounds = Number(values.rounds ?? (values.short ? 1 : 3))
const scale = Number(values.scale ?? (values.short ? 0.25 : 1))
const concurrencies = (values.concurrency ?? (values.short ? "50" : "1,10,50,100")).split(",").map(Number)
const engines = values.engine.split(",")
const measures = values.measure.split(",") as ReadonlyArray<Measure>
const wanted = values.only?.split(",")

/** jobs of a cell: enough for a second or so; those who manage some hundreds a second get fewer */
const sizes: Record<Measure, number> = { process: 40_000, enqueue: 20_000, bulk: 50_000, through: 20_000, latency: 400 }
const slow: Record<string, number> = {
  "postgres/graphile-worker": 0.15,
  "postgres/BullMQ": 0.1,
  "postgres/Effect PersistedQueue": 0.1,
  "redis/Effect PersistedQueue": 0.5
}

const postgres = process.env["WINDLASS_POSTGRES_URL"] ?? "postgres://postgres@127.0.0.1:5432/postgres"
const redis = new URL(process.env["WINDLASS_REDIS_URL"] ?? "redis://127.0.0.1:6379")
const folder = mkdtempSync(join(tmpdir(), "windlass-bench-"))
process.once("exit", () => rmSync(folder, { recursive: true, force: true }))

const isOpen = (host: string, port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect({ host, port }, () => {
      socket.destroy()
      resolve(true)
    }).once("error", () => resolve(false))
  })

const peers = join(import.meta.dirname, "peers")
if (!existsSync(join(peers, "node_modules"))) {
  console.log("installing the peers that the bench compares with (bench/peers) ...")
  execFileSync("npm", [
    "install",
    "--no-package-lock",
    "--omit=optional",
    "--ignore-scripts",
    "--no-audit",
    "--no-fund"
  ], { cwd: peers, stdio: "inherit" })
}

let places = 0
const place = (): Place => ({
  name: `bench_${process.pid}_${++places}`,
  folder,
  postgres,
  redis: { host: redis.hostname, port: Number(redis.port || 6379) }
})

const run = promisify(execFile)
const cell = async (order: Order): Promise<Found> => {
  const { stdout } = await run(process.execPath, [
    ...process.execArgv,
    join(import.meta.dirname, "cell.ts"),
    JSON.stringify(order)
  ], { timeout: 120_000, maxBuffer: 1 << 24 })
  return JSON.parse(stdout.trim().split("\n").at(-1)!) as Found
}

interface Row {
  readonly engine: string
  readonly measure: Measure
  readonly concurrency: number
  readonly name: string
  readonly founds: Array<Found>
  failed: string | undefined
}

const median = (figures: ReadonlyArray<number>) => figures.toSorted((a, b) => a - b)[figures.length >> 1]!
const rows: Array<Row> = []

const rowsOf = (engine: string, measure: Measure, concurrency: number): ReadonlyArray<Row> =>
  entrants.filter((one) =>
    one.engine === engine && (wanted === undefined || wanted.some((part) => one.name.includes(part)))
  ).map(({ name }) => ({ engine, measure, concurrency, name, founds: [], failed: undefined }))

const show = (figure: number) => figure >= 100 ? Math.round(figure).toLocaleString("en") : figure.toFixed(3)
const print = (engine: string, measure: Measure, concurrency: number, some: ReadonlyArray<Row>) => {
  const isTime = measure === "latency"
  const base = some[0]
  const first = base === undefined || base.founds.length === 0 ? undefined : median(base.founds.map((f) => f.figure))
  console.log(
    `\n${engine}, ${measure}${measure === "process" || measure === "through" ? `, concurrency ${concurrency}` : ""} (${
      isTime ? "milliseconds, less is better" : "jobs a second"
    })`
  )
  console.table(Object.fromEntries(some.map((row) => {
    if (row.failed !== undefined) return [row.name, { failed: row.failed }]
    const figures = row.founds.map((f) => f.figure)
    const middle = median(figures)
    return [row.name, {
      median: show(middle),
      spread: `${show(Math.min(...figures))} .. ${show(Math.max(...figures))}`,
      ...(isTime
        ? { p95: show(median(row.founds.map((f) => f.p95!))), p99: show(median(row.founds.map((f) => f.p99!))) }
        : { "cpu s / 10k": median(row.founds.map((f) => f.cpu)).toFixed(2) }),
      "MiB": Math.round(median(row.founds.map((f) => f.memory))),
      "first is": first === undefined ? "" : `${(isTime ? middle / first : first / middle).toFixed(2)} x`
    }]
  })))
}

const up: Record<string, boolean> = {
  memory: true,
  sqlite: true,
  postgres: await isOpen(new URL(postgres).hostname, Number(new URL(postgres).port || 5432)),
  redis: await isOpen(redis.hostname, Number(redis.port || 6379))
}

const machine = `${availableParallelism()} x ${cpus()[0]?.model.trim()}, ${
  Math.round(totalmem() / 2 ** 30)
} GiB, Node ${process.version}`
console.log(`${machine}; ${rounds} rounds`)
for (const engine of engines) {
  if (up[engine] !== true) {
    console.log(`\n${engine}: nobody answers, left out`)
    continue
  }
  for (const measure of measures) {
    const many = measure === "process" ? concurrencies : [measure === "enqueue" ? 100 : measure === "bulk" ? 1 : 50]
    for (const concurrency of many) {
      const some = rowsOf(engine, measure, concurrency)
      for (let round = 0; round < rounds; round++) {
        for (let n = 0; n < some.length; n++) {
          const row = some[(n + round) % some.length]!
          const size = sizes[measure] * scale * (measure === "latency" ? 1 : slow[`${engine}/${row.name}`] ?? 1)
          const jobs = Math.ceil(concurrency === 1 && measure === "process" ? size / 4 : size)
          try {
            row.founds.push(await cell({ engine, name: row.name, measure, jobs, concurrency, place: place() }))
          } catch (error) {
            row.failed = String((error as Error).message).split("\n").find((line) => /error/i.test(line)) ?? "timed out"
            if (process.env["BENCH_DEBUG"]) console.error(error)
          }
        }
      }
      rows.push(...some)
      print(engine, measure, concurrency, some)
    }
  }
}

await tidy(up, { postgres, redis, prefix: `bench_${process.pid}_` })

const settings = new Map(
  rows.flatMap((row) => row.founds.map((found) => [`${row.engine}: ${row.name}`, found.settings] as const))
)
console.log("\nsettings")
for (const [name, what] of settings) console.log(`- ${name}: ${what}`)
if (values.write) {
  const file = join(import.meta.dirname, "results.json")
  writeFileSync(file, `${JSON.stringify({ machine, rounds, rows }, undefined, 2)}\n`)
  console.log(`\nwritten: ${file}`)
}
