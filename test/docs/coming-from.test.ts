/**
 * docs/coming-from.md: every row names a test that is there, by its file and by words of its name. Links are followed by
 * the tests of all pages; a row that was decided against says why instead of naming a test.
 */
import { existsSync } from "node:fs"
import { assert, describe, it } from "vitest"
import { names } from "../support/names.ts"
import { read } from "../support/source.ts"

const page = read("docs/coming-from.md")
const rows = page.split("\n").flatMap((line, index) => {
  if (!line.startsWith("| ") || /^\| (?:---|there |the question )/.test(line)) return []
  const cells = line.slice(1, -1).split(/(?<!\\)\|/).map((cell) => cell.trim())
  return [{
    line: index + 1,
    there: cells[0] ?? "",
    here: cells[1] ?? "",
    by: cells[2] ?? "",
    why: cells[3] ?? "",
    cells
  }]
})

/** `test/a.test.ts` "words", and several of them with commas between */
const references = (by: string) =>
  Array.from(by.matchAll(/`(test\/[^`]+)` "([^"]+)"/g), ([, file, words]) => ({
    file: file!,
    words: words!
  }))

/** why a row needs no test: there is nothing here that one could hold */
const without = /^(?:not built|a later release)/

describe("docs/coming-from.md", () => {
  it("has four cells in every row", () => {
    assert.deepStrictEqual(rows.filter(({ cells }) => cells.length !== 4).map(({ line }) => line), [])
  })

  it("names a test in every row, or says what is not built and why", () => {
    const bare = rows.filter(({ by, here, why }) => without.test(here) ? why.length < 10 : references(by).length === 0)
    assert.deepStrictEqual(bare.map(({ line, there }) => `${line}: ${there}`), [])
  })

  it("names tests that are there", () => {
    const wrong = rows.flatMap(({ by, line }) =>
      references(by).flatMap(({ file, words }) => {
        if (!existsSync(new URL(`../../${file}`, import.meta.url))) return [`${line}: no file ${file}`]
        return names(file).some((name) => name.includes(words)) ? [] : [`${line}: no test "${words}" in ${file}`]
      })
    )
    assert.deepStrictEqual(wrong, [])
  })
})
