/**
 * `node --conditions=windlass-source bench/explain.ts [JOBS]`: what Postgres does for the hot calls at a backlog of so many
 * jobs (a million when absent), with what it read, statement by statement; then once more behind a transaction that was
 * pinned before 20,000 jobs were settled. `test/faults/plans.test.ts` asserts on the same. Starts a server of its own.
 */
import * as Effect from "effect/Effect"
import { type Node, plans, type Statement } from "../test/faults/plans.ts"
import { postgres } from "../test/faults/servers.ts"

const jobs = Number(process.argv[2] ?? 1_000_000)
if (!Number.isSafeInteger(jobs) || jobs < 1) throw new Error(`${process.argv[2]} is no number of jobs`)

const lines = (plan: Node, depth: number): ReadonlyArray<string> => {
  const on = [plan["Relation Name"], plan["Index Name"]].filter((name) => name !== undefined).join(" by ")
  const pages = (plan["Shared Hit Blocks"] ?? 0) + (plan["Shared Read Blocks"] ?? 0)
  const line = `${"  ".repeat(depth)}${plan["Node Type"]} ${on}  rows ${plan["Actual Rows"] ?? 0}  pages ${pages}`
  return [line, ...(plan.Plans ?? []).flatMap((inner) => lines(inner, depth + 1))]
}

const print = (title: string, round: Readonly<Record<string, ReadonlyArray<Statement>>>) => {
  for (const [name, statements] of Object.entries(round)) {
    const pages = Math.max(...statements.map(({ pages }) => pages))
    process.stdout.write(`\n=== ${title}: ${name} of 100 jobs, ${pages} pages\n`)
    for (const { plan, query } of statements) {
      process.stdout.write(`\n${query.replaceAll(/\s+/g, " ").slice(0, 160)}\n${lines(plan, 1).join("\n")}\n`)
    }
  }
}

const program = Effect.gen(function*() {
  const server = yield* postgres
  const here = yield* plans(server.url, "backlog")
  // the first rounds make the plans
  for (let n = 0; n < 3; n++) yield* here.round
  yield* here.load(jobs)
  print(`${jobs} ready`, yield* here.round)
  yield* here.pin
  yield* here.work(20_000)
  yield* here.round
  print(`${jobs} ready, behind a pinned transaction`, yield* here.round)
})

await Effect.runPromise(Effect.scoped(program))
