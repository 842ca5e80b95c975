/** The command that prints the document, run as a user runs it. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, describe, it } from "vitest"
import { root } from "../support/tsc.ts"

const folder = mkdtempSync(join(tmpdir(), "windlass-asyncapi-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const source = (module: string) => JSON.stringify(join(root, "src", module))
writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "shop", version: "3.2.1", type: "module" }))
writeFileSync(
  join(folder, "app.ts"),
  `import * as AsyncApi from ${source("asyncapi/AsyncApi.ts")}
import * as Channel from ${source("bus/Channel.ts")}
import * as TaskGroup from ${source("TaskGroup.ts")}

export const App: TaskGroup.TaskGroup<string> = TaskGroup.make(Channel.make("orders.{id}"))
export const document = AsyncApi.fromGroup(App, { title: "made by hand", version: "9" })
export default App
`
)

const run = async (...args: ReadonlyArray<string>) => {
  const child = spawn(
    process.execPath,
    [
      "--conditions=windlass-source",
      "--disable-warning=ExperimentalWarning",
      join(root, "src/asyncapi/internal/main.ts"),
      ...args
    ],
    { cwd: folder, stdio: ["ignore", "pipe", "pipe"] }
  )
  let stdout = ""
  let stderr = ""
  child.stdout.on("data", (chunk) => stdout += chunk)
  child.stderr.on("data", (chunk) => stderr += chunk)
  const [code] = await once(child, "close")
  return { code: code as number | null, stdout, stderr }
}

const infoOf = async (...args: ReadonlyArray<string>) => {
  const { code, stderr, stdout } = await run(...args)
  assert.deepStrictEqual([code, stderr], [0, ""])
  const document = JSON.parse(stdout)
  assert.deepStrictEqual(Object.keys(document.channels), ["orders.id"])
  return document.info
}

describe("windlass-asyncapi", () => {
  it("prints the document of a group, named by the package that it stands in", async () => {
    assert.deepStrictEqual(await infoOf("./app.ts#App"), { title: "shop", version: "3.2.1" })
    assert.deepStrictEqual(await infoOf("app.ts"), { title: "shop", version: "3.2.1" })
  })

  it("takes title, version and description, and prints a document that a module exports as it is", async () => {
    const flags = ["--title", "T", "--version", "7", "--description", "D"]
    assert.deepStrictEqual(await infoOf("app.ts#App", ...flags), { title: "T", version: "7", description: "D" })
    assert.deepStrictEqual(await infoOf("app.ts#document"), { title: "made by hand", version: "9" })
  })

  it("says in a line what is wrong with the call, and exits with 1", async () => {
    for (
      const [args, words] of [
        [[], "one MODULE#EXPORT is needed"],
        [["app.ts#Nothing"], "exports no task group called Nothing: it has App, default, document"],
        [["app.ts", "--nothing"], "--nothing"]
      ] as const
    ) {
      const { code, stderr, stdout } = await run(...args)
      assert.deepStrictEqual([code, stdout], [1, ""])
      assert.include(stderr, words)
      assert.strictEqual(stderr.trimEnd().split("\n").length, 1)
    }
    const missing = await run("nowhere.ts#App")
    assert.strictEqual(missing.code, 1)
    assert.include(missing.stderr, "nowhere.ts")
    const help = await run("--help")
    assert.deepStrictEqual([help.code, help.stderr], [0, ""])
    assert.include(help.stdout, "MODULE#EXPORT")
  })
})
