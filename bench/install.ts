/** The packages that the bench compares with: pinned, in folders of their own, fetched when they are missing. */
import { execFileSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"

const folders = ["peers", "peers/effect-mq"].map((folder) => join(import.meta.dirname, folder))

interface Manifest {
  readonly version?: string
  readonly dependencies?: Readonly<Record<string, string>>
}

const manifest = (folder: string): Manifest => JSON.parse(readFileSync(join(folder, "package.json"), "utf8"))

export const install = (wanted: ReadonlyArray<string> = folders): void => {
  for (const folder of wanted) {
    if (existsSync(join(folder, "node_modules"))) continue
    console.log(`installing what the bench compares with (${folder}) ...`)
    const quiet = ["--no-package-lock", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"]
    execFileSync("npm", ["install", ...quiet], { cwd: folder, stdio: "inherit" })
  }
}

/** What is installed, by name; effect-mq brings an Effect of its own, which its settings name. */
export const versions = (): Readonly<Record<string, string>> => {
  const root = join(import.meta.dirname, "..")
  const installed = (folder: string, name: string) => manifest(join(folder, "node_modules", name)).version!
  const ours = ["effect", "@effect/sql-pg", "@effect/platform-node", "redis"].map((name) =>
    [name, installed(root, name)] as const
  )
  const peers = ["bullmq", "ioredis", "graphile-worker", "pg", "pg-boss", "bee-queue"].map((name) =>
    [name, installed(folders[0]!, name)] as const
  )
  return {
    windlass: manifest(root).version!,
    ...Object.fromEntries(ours),
    ...Object.fromEntries(peers),
    "effect-mq": installed(folders[1]!, "effect-mq")
  }
}
