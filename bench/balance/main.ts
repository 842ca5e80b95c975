/**
 * `npm run bench:balance`: the same program, N libraries: who balances? `program.ts` says what the program is, every other
 * file writes it for one library in the way that its documentation recommends, `judge.ts` says what is expected. Every
 * library and case is a process of its own. Whatever was seen is printed.
 *
 *     npm run bench:balance                                  # all of it, about a minute
 *     npm run bench:balance -- --only BullMQ,Middy --traces
 *     npm run bench:balance -- --write                       # into bench/balance.json and the README
 *
 * Redis and Postgres are looked for at their default ports, or in WINDLASS_REDIS_URL and WINDLASS_POSTGRES_URL.
 */
import * as PgConnection from "@effect/sql-pg/PgConnection"
import { Effect, Redacted } from "effect"
import { execFile } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { join } from "node:path"
import { parseArgs, promisify } from "node:util"
import { pool } from "../contender.ts"
import { install } from "../install.ts"
import { up } from "../machine.ts"
import { tidy } from "../tidy.ts"
import { judge, line } from "./judge.ts"
import { about, type Case, cases } from "./program.ts"
import { type Entrant, entrants } from "./registry.ts"
import type { Order, Reply } from "./run.ts"
import { type Cell, type LeftOut, type Results, type Row, table, within } from "./table.ts"

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    traces: { type: "boolean", default: false },
    write: { type: "boolean", default: false }
  }
})

const here = import.meta.dirname
const root = join(here, "../..")
const servers = {
  postgres: process.env["WINDLASS_POSTGRES_URL"] ?? "postgres://postgres@127.0.0.1:5432/postgres",
  redis: new URL(process.env["WINDLASS_REDIS_URL"] ?? "redis://127.0.0.1:6379")
}

install([join(here, "peers")])
const answers = await up(servers)
const only = values.only?.split(",")
const wanted = entrants.filter(({ name }) => only === undefined || only.some((part) => name.includes(part)))
const missing = wanted.filter(({ needs }) => needs !== undefined && !answers[needs])
if (missing.length > 0) {
  console.error(`left out, nobody answers: ${missing.map(({ name, needs }) => `${name} (${needs})`).join(", ")}`)
  if (values.write) throw new Error("a table with a row missing is not written")
}
const present = wanted.filter((one) => !missing.includes(one))

const versionOf = (folder: string): string =>
  (JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { readonly version: string }).version

/** of everything that the run makes; a database of its own too: graphile-worker's workers hear each other over schemas */
const prefix = `balance_${process.pid}_`
const database = new URL(servers.postgres)
database.pathname = `/${prefix}`

const ask = (statement: string) =>
  Effect.runPromise(
    Effect.scoped(Effect.flatMap(
      PgConnection.make({ url: Redacted.make(servers.postgres) }),
      (connection) => connection.queryValues(statement, [])
    ))
  )

const run = promisify(execFile)
const limit = 10_000
let places = 0

const look = async (entrant: Entrant, name: Case, again = 2): Promise<Reply> => {
  const order: Order = {
    module: entrant.module,
    library: entrant.name,
    case: name,
    limit,
    place: {
      name: `${prefix}${++places}`,
      postgres: database.href,
      redis: { host: servers.redis.hostname, port: Number(servers.redis.port || 6379) }
    }
  }
  const { stdout } = await run(
    process.execPath,
    ["--conditions=windlass-source", join(here, "run.ts"), JSON.stringify(order)],
    // somewhat more than the limit that the process keeps itself
    { timeout: limit + 20_000, maxBuffer: 1 << 24 }
  )
  const reply = JSON.parse(stdout.trim().split("\n").at(-1)!) as Reply
  if (reply.problem !== undefined) throw new Error(`${entrant.name}, ${name}: ${reply.problem}`)
  // a busy machine is not what is looked for: what did not end in time has to do so again
  return reply.ended || again === 0 ? reply : look(entrant, name, again - 1)
}

const cellOf = (name: Case, { ended, leftOut, trace }: Reply): Cell | LeftOut => {
  if (leftOut !== undefined) return { leftOut }
  const { faults, told, waiter } = judge(name, trace, ended)
  return { trace: line(trace), faults, told, waiter }
}

const replies = new Map<Entrant, ReadonlyArray<readonly [Case, Reply]>>()
if (answers.postgres) await ask(`CREATE DATABASE ${prefix}`)
try {
  await pool(present, availableParallelism(), async (entrant) => {
    const some: Array<readonly [Case, Reply]> = []
    for (const name of cases) some.push([name, await look(entrant, name)])
    replies.set(entrant, some)
  })
} finally {
  if (answers.postgres) await ask(`DROP DATABASE ${prefix} WITH (FORCE)`)
  await tidy({ redis: answers.redis }, { ...servers, prefix })
}

const rows = present.map((entrant): Row => {
  const some = replies.get(entrant)!
  return {
    name: entrant.name,
    version: entrant.package === undefined
      ? entrant.module === "windlass.ts" ? versionOf(root) : undefined
      : versionOf(join(here, "peers/node_modules", entrant.package)),
    how: some[0]![1].how,
    cells: Object.fromEntries(some.map(([name, reply]) => [name, cellOf(name, reply)])) as unknown as Row["cells"]
  }
})
const results: Results = {
  date: new Date().toISOString().slice(0, 10),
  node: process.version.slice(1),
  rows
}

console.log(cases.map((name) => `- ${name}: ${about[name]}`).join("\n"))
for (const { cells, how, name } of rows) {
  console.log(`\n${name}: ${how}`)
  for (const one of cases) {
    const cell = cells[one]
    if ("leftOut" in cell) console.log(`  – ${one}: left out, ${cell.leftOut}`)
    else {
      if (cell.faults.length > 0) console.log(`  ${one}: ${cell.faults.join("; ")}`)
      if (cell.faults.length > 0 || values.traces) console.log(`      ${cell.trace}`)
    }
  }
}
console.log(`\n${table(results)}`)

if (values.write) {
  if (only !== undefined) throw new Error("only the whole table is written")
  const json = join(root, "bench/balance.json")
  writeFileSync(json, `${JSON.stringify(results, undefined, 2)}\n`)
  const readme = join(root, "README.md")
  writeFileSync(readme, within(readFileSync(readme, "utf8"), table(results)))
  console.log(`\nwritten: ${json}, ${readme}`)
}
