/** The layers' bench runs what it says: every contender of ours handles every job, through every layer, in and out. */
import { assert, describe, it } from "vitest"
import { Ledger } from "../../bench/layers/ledger.ts"
import { jobs, layered, load, traced } from "../../bench/layers/registry.ts"

/** those that need no package of `bench/peers` */
const isHere = (name: string) => !/^(koa|middy)/.test(name)

const run = async (name: string, layers: number) => {
  const contender = await load(name)
  const ledger = new Ledger(2_500, layers, 50)
  await contender.run(ledger)
  ledger.check(contender)
  return { contender, ledger }
}

describe("bench:layers", () => {
  it.each(layered.filter(({ name }) => isHere(name)))("$name: three layers around 2,500 jobs", async ({ name }) => {
    const { contender, ledger } = await run(name, 3)
    assert.isAbove(contender.counts.in + contender.counts.out, 0)
    assert.strictEqual(ledger.tally.in + ledger.tally.out, 7_500 * (contender.counts.in + contender.counts.out))
  })

  it.each([...new Set([...jobs, ...traced].map(({ name }) => name))])("%s: 2,500 jobs", async (name) => {
    await run(name, 0)
  })

  it("compares with what takes part", () => {
    const names = new Set([...layered, ...jobs, ...traced].map(({ name }) => name))
    for (const { above } of [...jobs, ...traced]) assert.isTrue(above === undefined || names.has(above), above)
    for (const { base } of layered) assert.isTrue(base === undefined || names.has(base), base)
  })

  it("a job that is left out, one that is repeated and a layer that is left out end the cell", async () => {
    const contender = await load("hooks")
    const skipping = { ...contender, counts: { in: 1, out: 0 } as const }
    const ledger = new Ledger(1_000, 2, 50)
    await contender.run(ledger)
    ledger.check(contender)
    assert.throws(() => ledger.check(skipping), "layers were left out")
    ledger.onJob({ i: 0, to: "", t: 0 })
    assert.throws(() => ledger.check(contender), "1001 jobs were handled, of 1000")
    assert.throws(() => new Ledger(1, 0, 1).check(contender), "0 jobs were handled, of 1")
  })
})
