/**
 * What it takes to import the core, as it is built, against importing exactly those modules of Effect that it imports. The list
 * is read from the built code, so it cannot be flattered by hand. Every import is done in a process of its own.
 */
import { execFile, execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { promisify } from "node:util"

const root = join(import.meta.dirname, "../..")
const dist = join(root, "dist")

/** milliseconds from the first to the last step of the import */
export interface Import {
  readonly wall: number
  readonly cpu: number
}

export interface Compared {
  readonly name: string
  /** files of Windlass that are loaded, and modules of Effect that they name */
  readonly files: number
  readonly modules: ReadonlyArray<string>
  readonly ours: ReadonlyArray<Import>
  readonly effects: ReadonlyArray<Import>
}

/** what a module of the build reaches: its own kind, and what it names of others */
const reached = (entry: string): { readonly files: ReadonlySet<string>; readonly modules: ReadonlySet<string> } => {
  const files = new Set<string>()
  const modules = new Set<string>()
  const visit = (file: string) => {
    if (files.has(file)) return
    files.add(file)
    for (
      const [, from] of readFileSync(file, "utf8").matchAll(/^(?:import|export)\s(?:[^"';]*?\sfrom\s)?"([^"]+)";/gm)
    ) {
      if (from!.startsWith(".")) visit(fileURLToPath(new URL(from!, pathToFileURL(file))))
      else modules.add(from!)
    }
  }
  visit(entry)
  return { files, modules }
}

const timed = `
const cpu = process.cpuUsage()
const wall = performance.now()
await import(process.argv[2])
const found = { wall: performance.now() - wall, cpu: 0 }
const { system, user } = process.cpuUsage(cpu)
found.cpu = (system + user) / 1e3
console.log(JSON.stringify(found))
`

export const compareImports = async (
  entries: ReadonlyArray<string>,
  rounds: number
): Promise<ReadonlyArray<Compared>> => {
  execFileSync("npm", ["run", "--silent", "build"], { cwd: root, stdio: "inherit" })
  // a project beside the checkout, where both are installed: without the condition by which the repository runs its sources
  const project = mkdtempSync(join(tmpdir(), "windlass-imports-"))
  process.once("exit", () => rmSync(project, { recursive: true, force: true }))
  mkdirSync(join(project, "node_modules"))
  symlinkSync(root, join(project, "node_modules/windlass"))
  symlinkSync(realpathSync(join(root, "node_modules/effect")), join(project, "node_modules/effect"))
  const write = (name: string, text: string) => {
    const file = join(project, name)
    writeFileSync(file, text)
    return pathToFileURL(file).href
  }
  const importing = (name: string, modules: Iterable<string>) =>
    write(name, Array.from(modules, (module) => `import ${JSON.stringify(module)}\n`).join(""))
  const program = fileURLToPath(write("timed.mjs", timed))
  const run = promisify(execFile)
  const once = async (url: string) => JSON.parse((await run(process.execPath, [program, url])).stdout) as Import

  const rows = entries.map((name, n) => {
    const { files, modules } = reached(
      join(dist, name === "windlass" ? "index.js" : `${name.slice("windlass/".length)}.js`)
    )
    const foreign = [...modules].filter((from) => !/^(effect\/|node:)/.test(from))
    if (foreign.length > 0) throw new Error(`the core names ${foreign.join(", ")}`)
    return {
      name,
      files: files.size,
      modules: [...modules].sort(),
      ours: [] as Array<Import>,
      effects: [] as Array<Import>,
      oursAt: importing(`ours-${n}.mjs`, [name]),
      effectsAt: importing(`effects-${n}.mjs`, modules)
    }
  })
  for (let round = 0; round < rounds; round++) {
    for (const row of rows) {
      // the order turns, and with it what each owes to the one before
      if (round % 2 === 0) row.ours.push(await once(row.oursAt))
      row.effects.push(await once(row.effectsAt))
      if (round % 2 === 1) row.ours.push(await once(row.oursAt))
    }
  }
  return rows.map(({ effectsAt: _, oursAt: __, ...row }) => row)
}
