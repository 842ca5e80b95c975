/**
 * The table "who balances?" of the README: our own row is run here, the others are what `npm run bench:balance -- --write`
 * saw. The judge is tried on traces that are wrong, each in one way.
 */
import { assert, describe, it } from "@effect/vitest"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { judge, line } from "../../bench/balance/judge.ts"
import { type Case, cases, type Event, Program, type Who } from "../../bench/balance/program.ts"
import { entrants } from "../../bench/balance/registry.ts"
import { type Results, table, within } from "../../bench/balance/table.ts"
import { libraries } from "../../bench/balance/windlass.ts"
import { root } from "../support/tsc.ts"

const results = JSON.parse(readFileSync(join(root, "bench/balance.json"), "utf8")) as Results

describe("our own row", () => {
  const expected: Record<Case, string> = {
    "succeeds": "+A +B +C run end -C -B -A job: succeeded closing closed",
    "handler fails": "+A +B +C run end -C -B (A is told: itself) -A job: failed (heard: itself) closing closed",
    "acquire fails": "+A +B! -A job: failed closing closed",
    "release fails": "+A +B +C run end -C -B! -A job: failed closing closed",
    "both fail": "+A +B +C run end -C -B! (A is told: itself) -A job: failed (heard: itself) closing closed",
    "answers early": "+A B answers -A job: discarded closing closed",
    "goes on later": "+A +B +C run end -C -B -A +A +B +C run end -C -B -A job: succeeded closing closed",
    "shutdown": "+A +B +C run end -C -B -A job: given back closing closed",
    "cut short": "+A +B +C run end -C -B -A job: cancelled closing closed"
  }
  for (const name of cases) {
    it(`${name}: balanced, in reverse, before the settlement, and no failure is lost (L1, L2, L3)`, async () => {
      const program = new Program(name, libraries[0]!.isIt)
      await libraries[0]!.run(program, undefined as never)
      assert.strictEqual(line(program.trace), expected[name])
      assert.deepStrictEqual(judge(name, program.trace, true).faults, [])
    })
  }

  it("is in the results as it is now", () => {
    const [row] = results.rows
    for (const name of cases) {
      const cell = row!.cells[name]
      assert.strictEqual("trace" in cell ? cell.trace : undefined, expected[name], name)
    }
  })
})

describe("the judge", () => {
  const on = (is: "acquired" | "released" | "release failed", whos: string): ReadonlyArray<Event> =>
    [...whos].map((who) => ({ is, who: who as Who }))
  const run: ReadonlyArray<Event> = [{ is: "running" }, { is: "ended" }]
  const settled: ReadonlyArray<Event> = [{ is: "settled", how: "succeeded" }]
  const faults = (...trace: ReadonlyArray<ReadonlyArray<Event>>) => judge("succeeds", trace.flat(), true).faults

  it("finds what is never released, released late, twice, unasked, too early, or out of order", () => {
    assert.deepStrictEqual(faults(on("acquired", "ABC"), run, on("released", "CBA"), settled), [])
    assert.deepStrictEqual(faults(on("acquired", "ABC"), run, on("released", "C"), settled), ["A, B never released"])
    assert.deepStrictEqual(faults(on("acquired", "A"), run, settled, on("released", "A")), [
      "released after the job was settled"
    ])
    assert.deepStrictEqual(faults(on("acquired", "A"), run, settled, [{ is: "closing" }], on("released", "A")), [
      "released when the worker closes, not when the job ends"
    ])
    assert.deepStrictEqual(faults(on("acquired", "AB"), run, on("released", "BBA"), settled), ["B released twice"])
    assert.deepStrictEqual(faults(on("acquired", "A"), run, on("released", "CA"), settled), [
      "C released, never acquired"
    ])
    assert.deepStrictEqual(faults(on("acquired", "AB"), run, on("released", "AB"), settled), ["not in reverse order"])
    assert.deepStrictEqual(
      faults(on("acquired", "A"), [{ is: "running" }], on("released", "A"), [{ is: "ended" }], settled),
      ["released while the handler still runs"]
    )
  })

  it("counts a release that throws as a release, and a run that is left where it was as over", () => {
    assert.deepStrictEqual(faults(on("acquired", "A"), run, on("release failed", "A"), settled), [])
    assert.deepStrictEqual(
      faults(
        on("acquired", "A"),
        [{ is: "running" }],
        on("released", "A"),
        on("acquired", "A"),
        run,
        on("released", "A"),
        settled
      ),
      []
    )
  })

  it("finds a failure that is lost, a success that is none, and a job of which nothing is said", () => {
    const failed: ReadonlyArray<Event> = [{ is: "settled", how: "failed" }]
    const of = (name: Case, ...trace: ReadonlyArray<ReadonlyArray<Event>>) => judge(name, trace.flat(), true).faults
    assert.deepStrictEqual(of("handler fails", run, failed, [{ is: "heard", error: "text" }]), [])
    assert.deepStrictEqual(of("handler fails", run, failed), ["the failure is not reported"])
    assert.deepStrictEqual(of("handler fails", run, settled), ["job: succeeded"])
    assert.deepStrictEqual(of("both fail", run, failed, [{ is: "heard", error: "another" }]), [
      "the handler's failure is not reported"
    ])
    assert.deepStrictEqual(of("release fails", run, settled), ["the failed release is not seen"])
    assert.deepStrictEqual(of("acquire fails", run, failed), ["the handler ran"])
    assert.deepStrictEqual(of("answers early", run, settled), ["the handler ran"])
    assert.deepStrictEqual(of("shutdown", run, settled), ["job: succeeded"])
    assert.deepStrictEqual(of("cut short", run), ["job: nothing"])
    assert.deepStrictEqual(judge("succeeds", [...run, ...settled], false).faults, ["did not end in time"])
  })
})

describe("the table", () => {
  const readme = readFileSync(join(root, "README.md"), "utf8")

  it("of the README is made from the results", () => {
    assert.strictEqual(within(readme, table(results)), readme)
  })

  it("has every library in every case, in a file of the folder", () => {
    assert.deepStrictEqual(results.rows.map(({ name }) => name), entrants.map(({ name }) => name))
    for (const { cells } of results.rows) assert.hasAllKeys(cells, [...cases])
    const peers = join(root, "bench/balance/peers")
    const files = readdirSync(peers).filter((file) => file.endsWith(".ts")).map((file) => `peers/${file}`)
    assert.sameMembers(files, [...new Set(entrants.map(({ module }) => module))].filter((one) => one !== "windlass.ts"))
  })

  it("names the versions that are pinned", () => {
    const { dependencies } = JSON.parse(readFileSync(join(root, "bench/balance/peers/package.json"), "utf8")) as {
      readonly dependencies: Readonly<Record<string, string>>
    }
    for (const { name, package: from } of entrants) {
      const row = results.rows.find((one) => one.name === name)
      if (from !== undefined) assert.strictEqual(row?.version, dependencies[from], name)
    }
  })
})
