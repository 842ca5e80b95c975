/**
 * The suite, and every process that a test or a script starts, runs on the Node that package.json asks for, whatever the
 * machine's own is.
 */
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { assert, describe, it } from "vitest"

interface Lock {
  readonly packages: Record<string, {
    readonly version?: string
    readonly resolved?: string
    readonly hasInstallScript?: boolean
    readonly optionalDependencies?: Record<string, string>
  }>
}

const read = (path: string) => JSON.parse(readFileSync(new URL(`../../${path}`, import.meta.url), "utf8"))
const manifest: { engines: { node: string }; devDependencies: Record<string, string>; allowScripts: object } = read(
  "package.json"
)
const packages = Object.entries((read("package-lock.json") as Lock).packages)

const wanted = manifest.engines.node.replace(/^>=/, "").split(".").map(Number)
const supported = (version: string) => {
  const found = version.replace(/^v/, "").split(".").map(Number)
  const at = wanted.findIndex((part, index) => part !== found[index])
  return at < 0 || found[at]! > wanted[at]!
}

describe("the machine", () => {
  it("runs the tests on a supported Node", () => {
    assert.isTrue(supported(process.version), `${process.version} at ${process.execPath}`)
  })

  it("gives child processes of the tests the same Node", () => {
    const child = execFileSync(process.execPath, ["-p", "process.version"], { encoding: "utf8" }).trim()
    assert.strictEqual(child, process.version)
  })

  it("gives a `node` named on PATH a supported version too", () => {
    const child = execFileSync("node", ["-p", "process.version"], { encoding: "utf8" }).trim()
    assert.isTrue(supported(child), `${child} from PATH: run the tests with \`npm test\``)
  })
})

describe("the lock file", () => {
  it("names the public registry for every package, and no other", () => {
    const strange = packages.filter(([path, entry]) =>
      path !== "" && !entry.resolved?.startsWith("https://registry.npmjs.org/")
    )
    assert.deepStrictEqual(strange.map(([path]) => path), [])
  })

  it("has an entry for the packages of all platforms, without which `npm ci` refuses it", () => {
    const known = new Set(packages.map(([path]) => path))
    const missing = packages.flatMap(([path, entry]) =>
      Object.keys(entry.optionalDependencies ?? {}).filter((name) =>
        !known.has(`node_modules/${name}`) && !known.has(`${path}/node_modules/${name}`)
      )
    )
    assert.deepStrictEqual(missing, [], "run `node scripts/complete-lock.mjs`")
  })

  it("holds no install script that was not approved by version", () => {
    const scripts = packages.filter(([, entry]) => entry.hasInstallScript === true)
    assert.deepStrictEqual(
      scripts.map(([path, entry]) => `${path.replace("node_modules/", "")}@${entry.version}`).sort(),
      Object.keys(manifest.allowScripts).sort()
    )
  })
})
