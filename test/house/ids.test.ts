/**
 * Every law of the design and every scenario that the project took over appears in the name of at least one test. The
 * names are read from the sources: the texts that calls like `it("...")` are given, the scenarios of the conformance kit
 * (`src/testing`), and the first line of a type fixture (`// test: ...`). A comment does not count.
 */
import { assert, describe, it } from "vitest"
import { names } from "../support/names.ts"
import { filesOf } from "../support/source.ts"

const laws = {
  L1: "balance",
  L2: "LIFO",
  L3: "the outer sees all",
  L4: "no swallowed settlement",
  L5: "order",
  L6: "monoid",
  L7: "one door",
  L8: "lexical",
  L9: "settlement is its own",
  L10: "two-phase",
  L11: "observers are harmless",
  L12: "same trace",
  L13: "total",
  L14: "typed short-circuit",
  L15: "structured",
  L16: "fenced",
  L17: "interruption lands in the handler"
}

const scenarios = {
  "composition and order": [
    "PROC-02",
    "PROC-03",
    "PROC-04",
    "PROC-07",
    "STAR-01",
    "AMGI-02",
    "AMGI-03",
    "FSQS-01",
    "FSQS-02",
    "FSQS-05"
  ],
  "errors, skipping, calling twice": [
    "PROC-10",
    "PROC-11",
    "PROC-13",
    "PROC-14",
    "PROC-15",
    "PROC-17",
    "PROC-18",
    "RT-01",
    "RT-05",
    "RT-06",
    "RT-07",
    "FSQS-10",
    "FSQS-15",
    "AMGI-10",
    "AMGI-12",
    "AMGI-13",
    "AMGI-14",
    "STAR-10",
    "STAR-11"
  ],
  "worker: status, retry, abort, shutdown": [
    "PROC-20",
    "PROC-21",
    "PROC-22",
    "PROC-25",
    "PROC-28",
    "PROC-30",
    "PROC-31",
    "PROC-32",
    "PROC-33",
    "RT-12",
    "RT-13",
    "RT-14",
    "RT-15"
  ],
  "background work on replies": [
    "STAR-02",
    "STAR-03",
    "STAR-04",
    "STAR-06",
    "STAR-07",
    "FAPI-02",
    "FAPI-03",
    "FAPI-04"
  ],
  "queue semantics": ["PROC-40", "PROC-41", "PROC-42", "PROC-43", "PROC-44", "RT-20", "RT-21"],
  "batches, FIFO, routing, sending, lifespan": [
    "AMGI-22",
    "AMGI-23",
    "AMGI-26",
    "FSQS-20",
    "FSQS-21",
    "FSQS-23",
    "FSQS-24",
    "FSQS-26"
  ]
}

const own = "test/house/ids.test.ts"
const all = [...filesOf("test"), ...filesOf("src/testing")].filter((file) => file !== own).flatMap((file) =>
  names(file)
)

const missing = (ids: ReadonlyArray<string>) =>
  ids.filter((id) => !all.some((name) => new RegExp(`(?<![\\w-])${id}(?![\\w-])`).test(name)))

describe("ids", () => {
  it("reads the names of tests, and nothing else", () => {
    const source = [
      "// it(\"Q-1\")",
      "it.effect(\"Q-2 a\", () => f(\"Q-3\"))",
      "test(`Q-4 ${x}`, () => {})",
      "describe(\"Q-5\", () => {})",
      "law(",
      "  \"Q-6\",",
      "it.effect.each<A>(\"Q-7\")",
      "const name: \"Q-8\" = submit(\"Q-9\")"
    ].join("\n")
    assert.deepStrictEqual(names("test/a.ts", source), ["Q-2 a", "Q-4 ${x}", "Q-6", "Q-7"])
    assert.deepStrictEqual(names("src/testing/a.ts", "{ name: \"Q-1 a\" }; f(\"Q-3 b\", [\"Q-2\"])"), ["Q-1 a", "Q-2"])
    assert.deepStrictEqual(names("test/types/fixtures/a.ts", "// test: Q-1 b\nconst a = 1"), ["Q-1 b"])
  })

  it("finds a test for every law", () => {
    const unheld = missing(Object.keys(laws))
    assert.deepStrictEqual(unheld.map((id) => `${id} ${laws[id as keyof typeof laws]}`), [])
  })

  for (const [part, ids] of Object.entries(scenarios)) {
    it(`finds a test for every scenario of: ${part}`, () => {
      assert.deepStrictEqual(missing(ids), [])
    })
  }
})
