/**
 * What is published: packed, installed from the tarball into a project that has nothing else, compiled against, run. The
 * scratch project stands outside of the checkout, so that nothing is found there by accident.
 */
import { execFile } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { filesOf, read } from "../support/source.ts"
import { root } from "../support/tsc.ts"

interface Manifest {
  readonly version: string
  readonly dependencies?: Record<string, string>
  readonly peerDependencies?: Record<string, string>
  readonly peerDependenciesMeta?: Record<string, { readonly optional?: boolean }>
  readonly optionalDependencies?: Record<string, string>
}

interface Ran {
  readonly code: number | null
  readonly output: string
}

const scratch = mkdtempSync(join(tmpdir(), "windlass-pack-"))
const project = join(scratch, "project")
const installed = join(project, "node_modules", "windlass")

// npm tells its scripts about the package that it runs them for; the scratch project is another one
const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^npm_(?:package|lifecycle|command|config_local_prefix)/.test(name))
)

const exec = (command: string, args: ReadonlyArray<string>, cwd: string) =>
  new Promise<Ran>((resolve) => {
    const child = execFile(
      command,
      [...args],
      { cwd, env, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => resolve({ code: error === null ? 0 : (child.exitCode ?? 1), output: stdout + stderr })
    )
  })

const node = (args: ReadonlyArray<string>) => exec(process.execPath, args, project)

const must = async (ran: Promise<Ran>): Promise<string> => {
  const { code, output } = await ran
  if (code !== 0) throw new Error(`exit code ${code}:\n${output}`)
  return output
}

/** runs a module in the scratch project and reads what it printed as JSON */
const evaluate = async (source: string): Promise<any> => {
  const file = join(project, `probe-${Math.random().toString(36).slice(2)}.mjs`)
  writeFileSync(file, source)
  return JSON.parse(await must(node([file])))
}

const manifestOf = (name: string, folder = join(project, "node_modules")): Manifest =>
  JSON.parse(readFileSync(join(folder, name, "package.json"), "utf8"))

/** `src/backends/SqliteBackend.ts` -> `backends/SqliteBackend` */
const modules = filesOf("src").map((file) => file.slice("src/".length, -".ts".length))
const isPublic = (module: string) =>
  /^(?:testing|lambda|http)\/index$/.test(module) ||
  /^(?:middleware\/|backends\/|isolation\/|asyncapi\/|bus\/)?[^/]+$/.test(module)
const specifierOf = (module: string) => module === "index" ? "windlass" : `windlass/${module.replace(/\/index$/, "")}`
const isCore = (module: string) => !module.includes("/")

beforeAll(async () => {
  mkdirSync(project)
  await must(exec("npm", ["pack", "--pack-destination", scratch], root))
  const tarball = readdirSync(scratch).find((file) => file.endsWith(".tgz"))!
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "scratch", private: true, type: "module" }))
  // what a user types, and what is asked for is what the checkout was tested with
  await must(exec(
    "npm",
    [
      "install",
      "--no-audit",
      "--no-fund",
      "--prefer-offline",
      `../${tarball}`,
      `effect@${manifestOf("effect", join(root, "node_modules")).version}`
    ],
    project
  ))
}, 300_000)

afterAll(() => rmSync(scratch, { recursive: true, force: true }))

describe("the tarball", () => {
  it("holds the build, the sources, the licence and the documentation, and nothing else", () => {
    const top = readdirSync(installed).filter((name) => name !== "docs").sort()
    assert.deepStrictEqual(top, ["CHANGELOG.md", "LICENSE", "README.md", "dist", "package.json", "src"])
    const docs = existsSync(join(installed, "docs")) ? readdirSync(join(installed, "docs"), { recursive: true }) : []
    assert.deepStrictEqual(docs.filter((file) => !/(?:^[^.]+|\.(?:md|svg|png))$/.test(String(file))), [])
  })

  it("holds for every source its module, its types and the maps of both, and no module without a source", () => {
    const files = (folder: string) =>
      readdirSync(join(installed, folder), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) =>
          join(entry.parentPath, entry.name).slice(join(installed, folder).length + 1).replaceAll("\\", "/")
        )
        .sort()
    assert.deepStrictEqual(files("src"), modules.map((module) => `${module}.ts`).sort())
    assert.deepStrictEqual(
      files("dist"),
      modules.flatMap((module) => [".js", ".js.map", ".d.ts", ".d.ts.map"].map((end) => module + end)).sort()
    )
  })

  it("has maps that lead to the sources that it ships", () => {
    for (const module of modules) {
      for (const end of [".js.map", ".d.ts.map"]) {
        const file = join(installed, "dist", module + end)
        const map: { sources: ReadonlyArray<string> } = JSON.parse(readFileSync(file, "utf8"))
        for (const source of map.sources) assert.isTrue(existsSync(join(file, "..", source)), `${file}: ${source}`)
      }
    }
  })
})

describe("an installation of windlass and effect", () => {
  it("pulls in effect and what effect depends on, and nothing else: no broker client", () => {
    const lock: { packages: Record<string, unknown> } = JSON.parse(
      readFileSync(join(project, "node_modules", ".package-lock.json"), "utf8")
    )
    const found = Object.keys(lock.packages).map((path) => path.slice(path.lastIndexOf("node_modules/") + 13))
    const expected = new Set(["windlass"])
    const add = (name: string) => {
      if (expected.has(name) || !existsSync(join(project, "node_modules", name))) return
      expected.add(name)
      const { dependencies, optionalDependencies } = manifestOf(name)
      for (const dependency of Object.keys({ ...dependencies, ...optionalDependencies })) add(dependency)
    }
    add("effect")
    assert.deepStrictEqual(found.filter((name) => !expected.has(name)), [])
    assert.includeMembers(found, ["windlass", "effect"])
    const own = manifestOf("windlass")
    assert.deepStrictEqual(own.dependencies ?? {}, {})
    const required = Object.keys(own.peerDependencies ?? {})
      .filter((name) => own.peerDependenciesMeta?.[name]?.optional !== true)
    assert.deepStrictEqual(required, ["effect"])
  })

  for (const [resolution, module] of [["nodenext", "nodenext"], ["bundler", "esnext"]]) {
    it(`compiles a consumer with moduleResolution ${resolution}, the types of windlass included`, async () => {
      writeFileSync(join(project, "consumer.ts"), read("test/package/consumer.ts"))
      // the one thing of Node's types that the consumer uses: @types/node is not installed
      writeFileSync(join(project, "node.d.ts"), "declare const process: { stdout: { write(text: string): boolean } }\n")
      const publicModules = modules.filter(isPublic)
      writeFileSync(
        join(project, "everything.ts"),
        publicModules.map((name, index) => `export * as M${index} from "${specifierOf(name)}"\n`).join("")
      )
      const config = {
        compilerOptions: {
          target: "ES2023",
          lib: ["ES2023"],
          module,
          moduleResolution: resolution,
          strict: true,
          noEmit: true,
          skipLibCheck: true,
          types: []
        },
        files: ["consumer.ts", "everything.ts", "node.d.ts"]
      }
      const file = `tsconfig.${resolution}.json`
      writeFileSync(join(project, file), JSON.stringify(config))
      const tsc = join(root, "node_modules", "typescript", "bin", "tsc")
      assert.deepStrictEqual(await node([tsc, "-p", file, "--pretty", "false"]), { code: 0, output: "" })
    })
  }

  it("runs the consumer", async () => {
    writeFileSync(join(project, "consumer.ts"), read("test/package/consumer.ts"))
    const { code, output } = await node(["consumer.ts"])
    assert.strictEqual(code, 0, output)
    // the worker logs before it, on the same stream
    assert.strictEqual(output.trimEnd().split("\n").at(-1), "acme greets world, attempt 1; 1 succeeded")
  })

  it("prints an AsyncAPI document with the command that it brings", async () => {
    writeFileSync(
      join(project, "app.ts"),
      `import * as Channel from "windlass/bus/Channel"
      import * as TaskGroup from "windlass/TaskGroup"
      export const App: TaskGroup.TaskGroup<string> = TaskGroup.make(Channel.make("orders.{id}"))`
    )
    const output = await must(exec(join(project, "node_modules/.bin/windlass-asyncapi"), ["./app.ts#App"], project))
    const document = JSON.parse(output.slice(0, output.lastIndexOf("}") + 1))
    assert.deepStrictEqual([document.asyncapi, document.info.title], ["3.0.0", "scratch"])
    assert.strictEqual(document.channels["orders.id"].address, "orders.{id}")
  })

  it("resolves every public module to the build, and none of the internal ones", async () => {
    const resolved: Record<string, string> = await evaluate(`
      const found = {}
      for (const module of ${JSON.stringify(modules)}) {
        const specifier = module === "index" ? "windlass" : "windlass/" + module.replace(/\\/index$/, "")
        try { found[module] = import.meta.resolve(specifier) } catch (error) { found[module] = error.code }
      }
      process.stdout.write(JSON.stringify(found))
    `)
    for (const module of modules) {
      if (isPublic(module)) assert.isTrue(resolved[module]!.endsWith(`/windlass/dist/${module}.js`), resolved[module])
      else assert.strictEqual(resolved[module], "ERR_PACKAGE_PATH_NOT_EXPORTED", module)
    }
  })

  it("loads nothing but effect and itself with the core, and no engine", async () => {
    const core = modules.filter((module) => isPublic(module) && isCore(module))
    assert.include(core, "index")
    const loaded: ReadonlyArray<{ specifier: string; parent: string; url: string }> = await evaluate(`
      import { registerHooks } from "node:module"
      const loaded = []
      registerHooks({
        resolve(specifier, context, next) {
          const found = next(specifier, context)
          loaded.push({ specifier, parent: context.parentURL ?? "", url: found.url })
          return found
        }
      })
      for (const specifier of ${JSON.stringify(core.map(specifierOf))}) await import(specifier)
      process.stdout.write(JSON.stringify(loaded))
    `)
    const own = loaded.filter(({ parent }) => parent.includes("/node_modules/windlass/"))
    assert.isAbove(own.length, core.length)
    const strangers = own.filter(({ url }) => !/\/node_modules\/(?:windlass\/dist|effect\/dist)\//.test(url))
    assert.deepStrictEqual(strangers.map(({ parent, specifier }) => `${basename(parent)}: ${specifier}`), [])
    const engines = loaded.filter(({ url }) => /\/windlass\/dist\/(?:backends|testing|http|lambda)\//.test(url))
    assert.deepStrictEqual(engines.map(({ parent, url }) => `${basename(parent)}: ${url}`), [])
  })
})
