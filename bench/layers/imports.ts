/**
 * What it takes to import the core, as it is built, against importing exactly those modules of Effect that it imports. The list
 * is read from the built code, so it cannot be flattered by hand. Every import is done in a process of its own.
 */
import { execFile, execFileSync } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
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
    for (const [, from] of readFileSync(file, "utf8").matchAll(/^(?:import|export)\s(?:[^"';]*?\sfrom\s)?"([^"]+)";/gm)) {
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
  entries: Readonly<Record<string, string>>,
  rounds: number
): Promise<ReadonlyArray<Compared>> => {
  execFileSync("npm", ["run", "--silent", "build"], { cwd: root, stdio: "inherit" })
  const folder = mkdtempSync(join(tmpdir(), "windlass-imports-"))
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }))
  const write = (name: string, text: string) => {
    const file = join(folder, name)
    writeFileSync(file, text)
    return file
  }
  // a list of addresses on both sides: nothing is looked up by name but what the modules themselves name
  const importing = (name: string, urls: ReadonlyArray<string>) =>
    pathToFileURL(write(name, urls.map((url) => `import ${JSON.stringify(url)}\n`).join(""))).href
  const program = write("timed.mjs", timed)
  const run = promisify(execFile)
  const once = async (url: string) => JSON.parse((await run(process.execPath, [program, url])).stdout) as Import

  const rows = Object.entries(entries).map(([name, module], n) => {
    const entry = join(dist, module)
    if (!existsSync(entry)) throw new Error(`the build has no ${module}`)
    const { files, modules } = reached(entry)
    const foreign = [...modules].filter((from) => !/^(effect\/|node:)/.test(from))
    if (foreign.length > 0) throw new Error(`the core names ${foreign.join(", ")}`)
    return {
      name,
      files: files.size,
      modules: [...modules].sort(),
      ours: [] as Array<Import>,
      effects: [] as Array<Import>,
      oursAt: importing(`ours-${n}.mjs`, [pathToFileURL(entry).href]),
      effectsAt: importing(`effects-${n}.mjs`, [...modules].map((from) => import.meta.resolve(from)))
    }
  })
  for (let round = 0; round < rounds; round++) {
    for (const row of rows) {
      // the order turns, and so does what the page cache and the clock of the processor owe to the one before
      if (round % 2 === 0) row.ours.push(await once(row.oursAt))
      row.effects.push(await once(row.effectsAt))
      if (round % 2 === 1) row.ours.push(await once(row.oursAt))
    }
  }
  return rows.map(({ effectsAt: _, oursAt: __, ...row }) => row)
}
