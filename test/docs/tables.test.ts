/** The tables of the README are claims: each is held against the code. */
import { assert, describe, it } from "@effect/vitest"
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { settingsOf } from "../../src/internal/worker/options.ts"
import { defaultMaxAttempts } from "../../src/internal/worker/resolve.ts"
import * as TaskGroup from "../../src/TaskGroup.ts"
import { root } from "../support/tsc.ts"

const readme = readFileSync(join(root, "README.md"), "utf8")

/** the cells of the rows of the table under a heading */
const table = (heading: string): ReadonlyArray<ReadonlyArray<string>> => {
  const section = readme.split(/^## /m).find((part) => part.startsWith(heading))
  assert.isDefined(section, `the README has no section "${heading}"`)
  return section!.split("\n").filter((line) => line.startsWith("|") && !/^\|[-|\s]+\|$/.test(line)).slice(1)
    .map((line) => line.slice(1, -1).split("|").map((cell) => cell.trim()))
}

const links = (cell: string): ReadonlyArray<string> => Array.from(cell.matchAll(/\]\(([^)#]+)/g), (match) => match[1]!)

const sources = (path: string): string => {
  const full = join(root, path)
  if (!existsSync(full)) return ""
  if (statSync(full).isFile()) return readFileSync(full, "utf8")
  return readdirSync(full, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => readFileSync(join(full, file), "utf8")).join("\n")
}

describe("where @effect/schema and @effect/platform are", () => {
  const rows = table("Where `@effect/schema`")
  it("names both packages of Effect 3", () => {
    const first = rows.map((row) => row[0]).join(" ")
    assert.include(first, "`@effect/schema`")
    assert.include(first, "`@effect/platform`")
  })
  for (const [was, now, here] of rows) {
    const module = /`([^`]+)`/.exec(now!)![1]!
    it(`${was} is ${module} now, and used where the table says`, () => {
      assert.isAbove(links(here!).length, 0, "the row links to no code")
      for (const link of links(here!)) {
        // as a module of its own, or by its name from `effect`
        const name = module.split("/")[1]
        const imported = new RegExp(`from "${module}(/[A-Za-z]+)?"|import \\{[^}]*\\b${name}\\b[^}]*\\} from "effect"`)
        assert.match(sources(link), imported, `${link} does not import ${module}`)
      }
    })
  }
})

describe("the table of laws", () => {
  const rows = table("Laws")
  it("has every law once", () => {
    assert.deepStrictEqual(rows.map((row) => row[0]), Array.from({ length: 17 }, (_, i) => `L${i + 1}`))
  })
  for (const [law, , test] of rows) {
    it(`${law} links to a test that names it`, () => {
      assert.isAbove(links(test!).length, 0)
      for (const link of links(test!)) assert.match(sources(link), new RegExp(`\\b${law}\\b`))
    })
  }
})

describe("the table of defaults", () => {
  const rows = new Map(table("Defaults").map((row) => [row[0], row[1]!]))
  const settings = settingsOf(TaskGroup.make(), {}, 0)
  const says = (row: string, pattern: RegExp) => assert.match(rows.get(row) ?? "", pattern)
  it("says what the code does", () => {
    says("jobs at once per worker", new RegExp(`^${settings.concurrency}$`))
    says("shutdown", new RegExp(`^${settings.grace / 1000} seconds.*; ${settings.stuckAfter / 1000} more`))
    says("retry", new RegExp(`at most ${defaultMaxAttempts} attempts`))
    says("poison", new RegExp(`after ${settings.poison} deliveries`))
    says("unknown task or newer payload version", new RegExp(`${settings.unknownFor / 3_600_000} hour`))
  })
})
