/** docs/performance.md and its chart say what `bench/results.json` has, and nothing that was typed in by hand. */
import { assert, describe, it } from "vitest"
import { chart } from "../../bench/chart.ts"
import { type Layers, layerSections, layerTargets } from "../../bench/layersReport.ts"
import { entrants, jobsOf } from "../../bench/registry.ts"
import { filled, readMeasured, sections } from "../../bench/report.ts"
import { type At, find, type Measure, type Results, type Row } from "../../bench/results.ts"
import { targets } from "../../bench/targets.ts"
import { read } from "../support/source.ts"

const measured = readMeasured()
const { results } = measured
const page = read("docs/performance.md")
const again = "it is not what the results give: npm run bench:report"

const row = (
  engine: Row["engine"],
  measure: Measure,
  at: At,
  name: string,
  ...figures: ReadonlyArray<number>
): Row => ({
  engine,
  measure,
  at,
  name,
  kind: name.startsWith("Windlass") ? "windlass" : name.startsWith("raw") ? "raw" : "peer",
  jobs: 1,
  figures
})
const run = (...rows: ReadonlyArray<Row>): Results => ({ ...results, rows })
const three = "Windlass, three middlewares"

describe("docs/performance.md", () => {
  it("is what the results give", () => assert.strictEqual(page, filled(page, measured), again))

  it("has every section that is made, once", () => {
    const marks = Array.from(page.matchAll(/<!-- bench: (\w+) -->/g), ([, name]) => name!)
    assert.deepStrictEqual(marks.toSorted(), Object.keys(sections(measured)).toSorted())
  })

  it("refuses a mark that nothing is made for", () => {
    assert.throws(() => filled("<!-- bench: nothing -->\n<!-- /bench -->", measured), "nothing")
  })

  it("takes over another figure", () => {
    const other = run(...results.rows.map((one) => ({ ...one, figures: one.figures.map((figure) => figure * 2) })))
    assert.notStrictEqual(filled(page, { ...measured, results: other }), page)
  })

  it("has the chart that the results give", () => {
    assert.strictEqual(read("docs/performance.svg"), chart(results), again)
  })

  it("comes from a run of every contender that takes part, in every measure", () => {
    const measures: ReadonlyArray<Measure> = ["enqueue", "bulk", "process", "through", "latency", "scale", "backlog"]
    const missing = entrants.flatMap(({ engine, name, ...rest }) =>
      measures.filter((measure) =>
        jobsOf({ engine, name, ...rest }, measure, 50) !== undefined
        && !results.rows.some((one) => one.engine === engine && one.name === name && one.measure === measure)
      ).map((measure) => `${engine}: ${name}: ${measure}`)
    )
    assert.deepStrictEqual(missing, [])
  })
})

describe("a target", () => {
  const verdict = (some: Results, work: string, asked: string) =>
    targets(some).find((one) => one.work === work && one.asked === asked)?.verdict

  it("is reached at its ratio of the medians, and not below", () => {
    const process = (ours: number) =>
      run(
        row("postgres", "process", "best", three, 1, ours, 9_999),
        row("postgres", "process", 1, "BullMQ", 50, 60, 70)
      )
    assert.strictEqual(verdict(process(1_800), "Postgres, process, one process", "30 x BullMQ"), "reached")
    assert.strictEqual(verdict(process(1_799), "Postgres, process, one process", "30 x BullMQ"), "not reached")
  })

  it("is not measured while a row is missing or failed", () => {
    const ours = row("postgres", "process", "best", three, 1_800)
    const failed: Row = { ...row("postgres", "process", 1, "BullMQ"), failed: "no answer in time" }
    for (const some of [run(), run(ours), run(ours, failed)]) {
      assert.strictEqual(verdict(some, "Postgres, process, one process", "30 x BullMQ"), "not measured")
    }
  })

  it("takes the best peer, each where it is best, and never ourselves or the engine alone", () => {
    const through = (peer: number) =>
      run(
        row("postgres", "through", 50, three, 10_000),
        row("postgres", "through", 50, "raw statements", 90_000),
        row("postgres", "through", 50, "pg-boss, batch handler", peer),
        row("postgres", "through", 50, "BullMQ", 10)
      )
    assert.strictEqual(verdict(through(1_000), "Postgres, end to end", "10 x the best peer"), "reached")
    assert.strictEqual(verdict(through(1_001), "Postgres, end to end", "10 x the best peer"), "not reached")
    assert.strictEqual(
      find(run(row("redis", "process", 10, "BullMQ", 5), row("redis", "process", 50, "BullMQ", 7)), {
        engine: "redis",
        measure: "process",
        name: "BullMQ"
      })?.at,
      50
    )
  })

  it("of a time is reached from below", () => {
    const latency = (millis: number) => run(row("memory", "latency", 10, three, millis))
    assert.strictEqual(verdict(latency(0.05), "memory, idle latency, p50", "0.05 ms"), "reached")
    assert.strictEqual(verdict(latency(0.051), "memory, idle latency, p50", "0.05 ms"), "not reached")
  })
})

describe("a layer of middleware", () => {
  const of = (cpu: number): Layers => ({
    machine: "a machine",
    rounds: 3,
    concurrency: 50,
    layers: [
      {
        name: "observe",
        target: 0.2,
        with: { "1": { perLayer: { cpu: 9, wall: 9 } }, "10": { perLayer: { cpu, wall: 9 } } }
      },
      { name: "koa-compose", with: { "1": { perLayer: { cpu: 1, wall: 1 } }, "10": { perLayer: { cpu: 2, wall: 2 } } } }
    ]
  })

  it("is judged at ten, and only where there is a target", () => {
    assert.deepStrictEqual(layerTargets(of(0.2)).map(({ verdict }) => verdict), ["reached"])
    assert.deepStrictEqual(layerTargets(of(0.21)).map(({ verdict }) => verdict), ["not reached"])
    assert.include(layerSections(of(0.2))["layers"], "| observe | 9.00 | 0.20 | at most 0.2 µs: reached |")
    assert.include(layerSections(of(0.21))["layers"], "at most 0.2 µs: **not reached**")
  })

  it("has its sections, and says so, before it was measured", () => {
    for (const section of Object.values(layerSections(undefined))) assert.include(section, "npm run bench:layers")
    assert.deepStrictEqual(layerTargets(undefined), [])
  })
})
