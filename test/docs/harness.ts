/**
 * Code in the documentation is code: every TypeScript block of README.md and docs/*.md is compiled, in one run of the
 * compiler, and those that say so are run.
 *
 * A block says what it is in its info string:
 *
 * - ` ```ts `: a module of its own; it must compile. Imports are a user's: `windlass/Task`, `effect/Effect`.
 * - ` ```ts file=tasks.ts `: the same, and other blocks of the same document may import it as `./tasks.ts`.
 * - ` ```ts run `: also run with Node; it must exit with 0. When the next block of the document is a ` ```text ` block,
 *   that is what it must print, trailing white space aside; a line `...` there stands for any number of lines, and a
 *   `<...>` for any characters within a line. Runs in a temporary directory of its own.
 * - ` ```ts fragment `: not compiled. For what cannot be a module; they are listed when the tests run.
 *
 * A diagnostic is reported at its line in the document.
 */
import { execFile } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { compile, root } from "../support/tsc.ts"

export interface Block {
  /** the document, relative to the root of the checkout */
  readonly document: string
  /** the line of its fence, from 1 */
  readonly line: number
  readonly flags: ReadonlyArray<string>
  readonly code: string
  /** what it must print: the `text` block right after it */
  readonly prints: string | undefined
}

/** README.md and what is in docs/, as far as it is there */
export const documents = (): ReadonlyArray<string> => {
  const docs = existsSync(join(root, "docs"))
    ? readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    : []
  return ["README.md", ...docs.filter((file) => file.endsWith(".md")).sort().map((file) => `docs/${file}`)]
    .filter((file) => existsSync(join(root, file)))
}

interface Fence {
  readonly line: number
  readonly info: ReadonlyArray<string>
  readonly body: string
}

/** the fenced blocks of a document, and its lines with those blanked */
const parse = (source: string): { readonly fences: ReadonlyArray<Fence>; readonly prose: ReadonlyArray<string> } => {
  const fences: Array<Fence> = []
  const prose: Array<string> = []
  let open: { mark: string; indent: number; line: number; info: Array<string>; body: Array<string> } | undefined
  source.split(/\r?\n/).forEach((text, index) => {
    const fence = /^(\s*)(`{3,}|~{3,})\s*(.*)$/.exec(text)
    if (open === undefined) {
      if (fence === null) {
        prose.push(text)
        return
      }
      open = {
        mark: fence[2]!,
        indent: fence[1]!.length,
        line: index + 1,
        info: fence[3]!.split(/\s+/).filter((word) => word !== ""),
        body: []
      }
    } else if (fence !== null && fence[2]!.startsWith(open.mark) && fence[3] === "") {
      fences.push({ line: open.line, info: open.info, body: open.body.join("\n") + "\n" })
      open = undefined
    } else {
      open.body.push(text.slice(Math.min(open.indent, text.length - text.trimStart().length)))
    }
    prose.push("")
  })
  if (open !== undefined) throw new Error(`the block that opens in line ${open.line} is never closed`)
  return { fences, prose }
}

const languages = new Set(["ts", "typescript"])

export const blocks = (document: string, source: string): ReadonlyArray<Block> => {
  const { fences } = parse(source)
  return fences.flatMap((fence, index) => {
    if (!languages.has(fence.info[0] ?? "")) return []
    const next = fences[index + 1]
    const block: Block = {
      document,
      line: fence.line,
      flags: fence.info.slice(1),
      code: fence.body,
      prints: next?.info[0] === "text" ? next.body : undefined
    }
    return [block]
  })
}

/** flags that nobody reads are mistakes */
export const strangeFlags = (block: Block): ReadonlyArray<string> =>
  block.flags.filter((flag) => !["run", "fragment"].includes(flag) && !/^file=[\w-]+\.ts$/.test(flag))

/** what links of a document lead nowhere: to a file that is not there, or to a heading that its document does not have */
export const deadLinks = (document: string, source: string): ReadonlyArray<string> => {
  const dead: Array<string> = []
  const { prose } = parse(source)
  prose.forEach((line, index) => {
    const text = line.replace(/`[^`]*`/g, "")
    const inline = Array.from(text.matchAll(/\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)/g), (match) => match[1]!)
    const reference = /^\s*\[[^\]]+\]:\s*(\S+)/.exec(text)?.[1]
    for (const target of reference === undefined ? inline : [...inline, reference]) {
      if (/^[a-z][a-z+.-]*:/i.test(target)) continue
      const [path, anchor] = target.split("#") as [string, string | undefined]
      const file = path === "" ? document : join(dirname(document), decodeURIComponent(path))
      if (path !== "" && !existsSync(join(root, file))) {
        dead.push(`${document}:${index + 1}: ${target}: there is no ${file}`)
      } else if (anchor !== undefined && file.endsWith(".md")) {
        const other = path === "" ? source : readFileSync(join(root, file), "utf8")
        if (!headings(other).has(anchor)) dead.push(`${document}:${index + 1}: ${target}: ${file} has no such heading`)
      }
    }
  })
  return dead
}

/** the anchors that a page gets for its headings, made as GitHub makes them */
export const headings = (source: string): ReadonlySet<string> => {
  const found = new Set<string>()
  for (const line of parse(source).prose) {
    for (const match of line.matchAll(/<a\s+(?:id|name)="([^"]+)"/g)) found.add(match[1]!)
    const heading = /^#{1,6}\s+(.*?)\s*#*$/.exec(line)?.[1]
    if (heading === undefined) continue
    const slug = heading
      .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\p{M}_\- ]/gu, "")
      .replaceAll(" ", "-")
    let anchor = slug
    for (let n = 1; found.has(anchor); n++) anchor = `${slug}-${n}`
    found.add(anchor)
  }
  return found
}

export interface Compiled {
  readonly block: Block
  /** where it was written */
  readonly path: string
  /** diagnostics, with the line in the document */
  readonly problems: ReadonlyArray<string>
}

export interface Workspace {
  readonly compiled: ReadonlyArray<Compiled>
  readonly dispose: () => void
}

/**
 * Writes the blocks into a folder inside the checkout, so that `windlass/...` is this package and `effect` the installed
 * one, and compiles them in one run.
 */
export const compileBlocks = async (all: ReadonlyArray<Block>): Promise<Workspace> => {
  mkdirSync(join(root, ".tmp"), { recursive: true })
  const folder = mkdtempSync(join(root, ".tmp", "docs-"))
  const dispose = () => rmSync(folder, { recursive: true, force: true })
  try {
    const written = all.filter((block) => !block.flags.includes("fragment")).map((block) => {
      const named = block.flags.find((flag) => flag.startsWith("file="))?.slice("file=".length)
      const directory = join(folder, block.document.replace(/\.md$/, "").replace(/[^\w-]+/g, "-"))
      mkdirSync(directory, { recursive: true })
      const path = join(directory, named ?? `line-${block.line}.ts`)
      if (existsSync(path)) throw new Error(`${block.document}:${block.line}: a second block is called ${named}`)
      writeFileSync(path, block.code)
      return { block, path }
    })
    if (written.length === 0) return { compiled: [], dispose }
    const config = {
      extends: "../../tsconfig.base.json",
      compilerOptions: { noEmit: true, noUnusedLocals: false, exactOptionalPropertyTypes: false, types: ["node"] },
      include: ["."]
    }
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config))
    const diagnostics = await compile(join(folder, "tsconfig.json"))
    const place = (file: string) => written.find((one) => one.path.endsWith(file.slice(file.indexOf("docs-"))))
    const strangers = diagnostics.filter((diagnostic) => !diagnostic.file.startsWith(".tmp/"))
    return {
      compiled: written.map(({ block, path }) => ({
        block,
        path,
        problems: [
          ...diagnostics.filter((diagnostic) =>
            place(diagnostic.file)?.path === path && !strangers.includes(diagnostic)
          )
            .map((diagnostic) =>
              `${block.document}:${block.line + diagnostic.line}: ${diagnostic.code}: ${diagnostic.message}`
            ),
          ...strangers.map((diagnostic) => `${diagnostic.file}:${diagnostic.line}: ${diagnostic.message}`)
        ]
      })),
      dispose
    }
  } catch (error) {
    dispose()
    throw error
  }
}

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** runs a block in an empty directory, for 30 seconds at most */
export const run = (path: string): Promise<Ran> => {
  const cwd = mkdtempSync(join(tmpdir(), "windlass-docs-"))
  return new Promise<Ran>((resolve) => {
    const child = execFile(
      process.execPath,
      ["--conditions=windlass-source", "--disable-warning=ExperimentalWarning", path],
      { cwd, timeout: 30_000, killSignal: "SIGKILL", env: { ...process.env, NO_COLOR: "1" } },
      (_error, stdout, stderr) => resolve({ code: child.exitCode, stdout, stderr })
    )
  }).finally(() => rmSync(cwd, { recursive: true, force: true }))
}

const quote = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")

/** whether a program printed what its `text` block shows */
export const printed = (expected: string, stdout: string): boolean => {
  const lines = expected.trimEnd().split("\n").map((line) => line.trimEnd())
  const pattern = lines.map((line) =>
    line.trim() === "..." ? "(?:.*\\n)*?" : `${line.split("<...>").map(quote).join(".*")}[ \\t]*\\n`
  )
  return new RegExp(`^${pattern.join("")}\\s*$`).test(stdout.replaceAll("\r\n", "\n").trimEnd() + "\n")
}
