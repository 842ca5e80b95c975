/** The program as a process, and its databases as a stranger sees them. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import * as Path from "node:path"
import { DatabaseSync } from "node:sqlite"

const project = Path.resolve(import.meta.dirname, "../..")
export const main = Path.join(project, "examples/00-index-a-tree/main.ts")
export const marked = Path.join(import.meta.dirname, "index-a-tree.marked.ts")

export interface Child {
  readonly process: ChildProcess
  /** output and errors so far */
  readonly output: () => string
  /** resolves when the output holds the text; rejects when the process ends before */
  readonly says: (text: string) => Promise<void>
  readonly ended: Promise<{ readonly code: number | null; readonly signal: string | null; readonly output: string }>
}

export const node = ["--conditions=windlass-source"]

export const start = (
  entry: string,
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>> = {},
  options: { readonly command?: string; readonly before?: ReadonlyArray<string> } = {}
): Child => {
  const child = spawn(options.command ?? process.execPath, [...(options.before ?? node), entry, ...args], {
    cwd: project,
    env: { ...process.env, CI: "", ...env },
    stdio: ["ignore", "pipe", "pipe"]
  })
  let output = ""
  const waiting = new Set<() => void>()
  const onData = (data: string) => {
    output += data
    for (const look of waiting) look()
  }
  child.stdout.setEncoding("utf8").on("data", onData)
  child.stderr.setEncoding("utf8").on("data", onData)
  const ended = once(child, "close").then(([code, signal]) => ({ code, signal, output }))
  return {
    process: child,
    output: () => output,
    says: (text) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (!output.includes(text)) return
          waiting.delete(look)
          resolve()
        }
        waiting.add(look)
        look()
        void ended.then(() => reject(new Error(`it ended before it said ${JSON.stringify(text)}:\n${output}`)))
      }),
    ended
  }
}

export const kill = async (child: Child): Promise<void> => {
  child.process.kill("SIGKILL")
  const { signal, output } = await child.ended
  if (signal !== "SIGKILL") throw new Error(`it was over before it was killed:\n${output}`)
}

export const ask = <Row>(file: string, sql: string, ...params: ReadonlyArray<string | number>): Array<Row> => {
  const db = new DatabaseSync(file, { timeout: 5_000 })
  try {
    return db.prepare(sql).all(...params).map((row) => ({ ...row }) as Row)
  } finally {
    db.close()
  }
}
