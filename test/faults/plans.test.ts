/** The hot calls at a backlog of a million on Postgres: how they are planned, and how much they read. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { nodes, type Plans, plans, type Statement } from "./plans.ts"
import { missing, postgres } from "./servers.ts"

/** what runs now, and who runs it: as many as there are workers and jobs in their hands, whatever the backlog */
const small = /^(?:active|claim|session|queue|nudge|lane)$/

const walks = (statements: ReadonlyArray<Statement>) =>
  statements.flatMap(({ plan, query }) =>
    nodes(plan)
      .filter((node) => /Seq Scan|Bitmap Heap Scan|Hash Join|Merge Join/.test(node["Node Type"]))
      // the rows of a batch by their numbers, each page once
      .filter((node) =>
        !(node["Relation Name"] === "job" && /DELETE FROM \S+job" WHERE num = ANY \(v_done\)/.test(query))
      )
      .filter((node) => !small.test(node["Relation Name"] ?? ""))
      .map((node) => `${node["Node Type"]} on ${node["Relation Name"]}: ${query}`)
  )

/** of several rounds the quickest: now and then a claim looks below its floor, which is bounded in time and not in pages */
const measured = (here: Plans) =>
  Effect.gen(function*() {
    const rounds: Array<Effect.Success<Plans["round"]>> = []
    for (let n = 0; n < 5; n++) rounds.push(yield* here.round)
    // a call reads what its statements read together, so it is the one that read most
    const pages = (name: keyof (typeof rounds)[number]) =>
      Math.min(...rounds.map((round) => Math.max(...round[name].map(({ pages }) => pages))))
    const read = {
      publish: pages("publish"),
      claim: pages("claim"),
      exchange: pages("exchange"),
      settle: pages("settle")
    }
    return { read, walks: rounds.flatMap((round) => Object.values(round).flatMap(walks)) }
  })

const why = missing("postgres")

describe("a backlog of a million on Postgres", () => {
  if (why !== undefined && process.env["CI"] === undefined) it(`not run here: ${why}`, () => assert.isNotEmpty(why))
  else {
    it.live(
      "publish, claim, exchange and settlement use indexes alone and read hardly more than at a thousand, also behind a pinned transaction",
      () =>
        Effect.gen(function*() {
          const server = yield* postgres
          const here = yield* plans(server.url, "backlog")
          // plans are made, and kept, while the tables are empty
          const empty = yield* measured(here)
          yield* here.load(1_000)
          const few = yield* measured(here)
          yield* here.load(1_000_000)
          const full = yield* measured(here)
          yield* here.pin
          yield* here.work(20_000)
          const pinned = yield* measured(here)
          process.stdout.write(
            `pages read for 100 jobs: ${
              JSON.stringify({ thousand: few.read, million: full.read, pinned: pinned.read })
            }\n`
          )
          assert.deepStrictEqual([empty, few, full, pinned].flatMap(({ walks }) => walks), [])
          for (const name of ["publish", "claim", "exchange", "settle"] as const) {
            // an index of a million is a level or two deeper than one of a thousand, and an exchange goes down the indexes of
            // its 200 jobs five times (of `active` and `job` to settle; of `ready`, `job` and `active` to claim)
            const bound = few.read[name] + 200 * 5
            assert.isAtMost(full.read[name], bound, `${name} at a million`)
            assert.isAtMost(pinned.read[name], bound, `${name} at a million, behind a pinned transaction`)
          }
        }).pipe(Effect.scoped),
      240_000
    )
  }
})
