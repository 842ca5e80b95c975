/**
 * The documentation compiles, runs, prints what it says it prints, and its links lead somewhere: see harness.ts.
 */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, assert, describe, it } from "vitest"
import { root } from "../support/tsc.ts"
import { blocks, compileBlocks, deadLinks, documents, headings, printed, run, strangeFlags } from "./harness.ts"

const read = (document: string) => readFileSync(join(root, document), "utf8")

const all = documents().flatMap((document) => blocks(document, read(document)))
const workspace = await compileBlocks(all)
afterAll(workspace.dispose)

const fragments = all.filter((block) => block.flags.includes("fragment"))
if (fragments.length > 0) {
  process.stdout.write(
    `${fragments.length} fragments of code in the documentation are not compiled: ${
      fragments.map((block) => `${block.document}:${block.line}`).join(", ")
    }\n`
  )
}

describe("code in the documentation", () => {
  it("has only flags that the harness knows", () => {
    const strange = all.filter((block) => strangeFlags(block).length > 0)
    assert.deepStrictEqual(
      strange.map((block) => `${block.document}:${block.line}: ${strangeFlags(block).join(" ")}`),
      []
    )
  })

  for (const { block, path, problems } of workspace.compiled) {
    const place = `${block.document}, line ${block.line}`
    it(`compiles: ${place}`, () => {
      assert.deepStrictEqual(problems, [])
    })
    if (block.flags.includes("run")) {
      it(`runs: ${place}`, async () => {
        const result = await run(path)
        assert.strictEqual(result.code, 0, `${result.stdout}\n${result.stderr}`)
        if (block.prints !== undefined && !printed(block.prints, result.stdout)) {
          assert.strictEqual(result.stdout, block.prints)
        }
      })
    }
  }
})

describe("links in the documentation", () => {
  it("lead somewhere", () => {
    const pages = [...documents(), "CONTRIBUTING.md", "CHANGELOG.md"].filter((page) => existsSync(join(root, page)))
    assert.deepStrictEqual(pages.flatMap((page) => deadLinks(page, read(page))), [])
  })
})

describe("the harness itself", () => {
  const page = [
    "# A page: of `code`, and more",
    "",
    "[here](#a-page-of-code-and-more) [gone](#nowhere) [file](./nowhere.md) `[not](a-link)`",
    "",
    "```ts run file=a.ts",
    "export const a: string = \"a\"",
    "process.stdout.write(`${a} ${Date.now()}\\nmore\\nend\\n`)",
    "```",
    "",
    "```text",
    "a <...>",
    "...",
    "end",
    "```",
    "```ts",
    "import { a } from \"./a.ts\"",
    "import type { Envelope } from \"windlass/Backend\"",
    "export const b: Envelope[\"version\"] = a",
    "```"
  ].join("\n")

  it("reports a block that does not compile at its line, and runs one that does", async () => {
    const own = await compileBlocks(blocks("page.md", page))
    try {
      const [first, second] = own.compiled
      assert.deepStrictEqual(first!.problems, [])
      assert.lengthOf(second!.problems, 1)
      assert.match(second!.problems[0]!, /^page\.md:18: TS2322: Type 'string' is not assignable to type 'number'/)
      const result = await run(first!.path)
      assert.strictEqual(result.code, 0, result.stderr)
      assert.isTrue(printed(first!.block.prints!, result.stdout), result.stdout)
      assert.isFalse(printed("a <...>\nend\n", result.stdout))
    } finally {
      own.dispose()
    }
  })

  it("knows the anchors of headings, and reports links that lead nowhere", () => {
    assert.isTrue(headings(page).has("a-page-of-code-and-more"))
    assert.deepStrictEqual(deadLinks("page.md", page), [
      "page.md:3: #nowhere: page.md has no such heading",
      "page.md:3: ./nowhere.md: there is no nowhere.md"
    ])
  })

  it("reports a flag that it does not know", () => {
    assert.deepStrictEqual(strangeFlags(blocks("page.md", "```ts runn\n```\n")[0]!), ["runn"])
  })
})
