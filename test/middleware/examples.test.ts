/** The example at the head of every shipped middleware compiles as a user's module. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, assert, describe, it } from "vitest"
import { blocks, compileBlocks } from "../docs/harness.ts"
import { root } from "../support/tsc.ts"

const files = readdirSync(join(root, "src/middleware")).filter((file) => file.endsWith(".ts")).map((file) =>
  `src/middleware/${file}`
)

/** the first comment of a module, without its stars; lines keep their numbers */
const head = (file: string): string =>
  readFileSync(join(root, file), "utf8").split("*/")[0]!.split("\n").map((line) => line.replace(/^\s*\/?\*+ ?/, ""))
    .join("\n")

const examples = files.flatMap((file) => blocks(file, head(file)))
const workspace = await compileBlocks(examples)
afterAll(workspace.dispose)

describe("examples of the shipped middleware", () => {
  it("every module has one", () => {
    assert.deepStrictEqual(files.filter((file) => !examples.some((example) => example.document === file)), [])
    assert.strictEqual(files.length, 12)
  })
  for (const { block, problems } of workspace.compiled) {
    it(`compiles: ${block.document}, line ${block.line}`, () => {
      assert.deepStrictEqual(problems, [])
    })
  }
})
