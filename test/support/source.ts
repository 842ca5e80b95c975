/**
 * Reads the repository's own files as text: which there are, what they import, which strings they hold.
 */
import { execFileSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join, posix } from "node:path"
import { root } from "./tsc.ts"

export const read = (file: string) => readFileSync(join(root, file), "utf8")

/** files of a folder and below, relative to the root of the checkout */
export const filesOf = (folder: string, extension = ".ts"): ReadonlyArray<string> =>
  existsSync(join(root, folder))
    ? readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .map((file) => `${folder}/${file.replaceAll("\\", "/")}`)
      .filter((file) => file.endsWith(extension) && !file.includes("/node_modules/"))
      .sort()
    : []

/** what git tracks */
export const tracked = (): ReadonlyArray<string> =>
  execFileSync("git", ["ls-files", "-z"], { cwd: root, encoding: "utf8", maxBuffer: 16 * 1024 * 1024 })
    .split("\0")
    .filter((file) => file !== "" && existsSync(join(root, file)))

export type Token =
  | { readonly kind: "code" | "comment"; readonly text: string; readonly line: number }
  /** the text of a template is what stands in the file, `${...}` included */
  | { readonly kind: "string"; readonly text: string; readonly line: number }

// a slash after one of these opens a regular expression, after anything else it divides
const beforePattern = /(?:^|[=(,:;!&|?{}[\n+\-*%<>~^]|\b(?:return|typeof|case|in|of|yield|await))\s*$/

/** splits TypeScript into code, comments and strings; enough of a scanner for files that are formatted */
export const tokens = (source: string): ReadonlyArray<Token> => {
  const found: Array<Token> = []
  let line = 1
  let from = 0
  let at = 0
  const push = (kind: Token["kind"], start: number, end: number, text = source.slice(start, end)) => {
    if (end > start) found.push({ kind, text, line })
    for (let i = start; i < end; i++) if (source[i] === "\n") line++
  }
  const template = (start: number): number => {
    let i = start + 1
    for (; i < source.length && source[i] !== "`"; i++) {
      if (source[i] === "\\") i++
      else if (source[i] === "$" && source[i + 1] === "{") {
        let depth = 1
        for (i += 2; i < source.length && depth > 0; i++) {
          if (source[i] === "`") i = template(i) - 1
          else if (source[i] === "{") depth++
          else if (source[i] === "}") depth--
        }
        i--
      }
    }
    return i + 1
  }
  const until = (start: number, end: string) => {
    const index = source.indexOf(end, start)
    return index < 0 ? source.length : index
  }
  while (at < source.length) {
    const char = source[at]!
    const next = source[at + 1]
    let end = at
    let kind: Token["kind"] = "string"
    if (char === "/" && next === "/") {
      end = until(at, "\n")
      kind = "comment"
    } else if (char === "/" && next === "*") {
      end = Math.min(source.length, until(at + 2, "*/") + 2)
      kind = "comment"
    } else if (char === "\"" || char === "'") {
      end = at + 1
      while (end < source.length && source[end] !== char && source[end] !== "\n") end += source[end] === "\\" ? 2 : 1
      end++
    } else if (char === "`") {
      end = template(at)
    } else if (char === "/" && beforePattern.test(source.slice(Math.max(0, at - 40), at))) {
      let set = false
      end = at + 1
      while (end < source.length && source[end] !== "\n" && (set || source[end] !== "/")) {
        if (source[end] === "\\") end++
        else if (source[end] === "[") set = true
        else if (source[end] === "]") set = false
        end++
      }
      at = end + 1
      continue
    } else {
      at++
      continue
    }
    push("code", from, at)
    if (kind === "comment") push(kind, at, end)
    else push(kind, at, end, source.slice(at + 1, end - 1))
    from = at = end
  }
  push("code", from, at)
  return found
}

export interface Import {
  /** as it is written */
  readonly specifier: string
  /** the file that a relative one names, relative to the root of the checkout; else the specifier */
  readonly target: string
  readonly typeOnly: boolean
  readonly line: number
}

/** static imports and re-exports, dynamic imports with a literal, and types by `import("...")` */
export const imports = (file: string, source = read(file)): ReadonlyArray<Import> => {
  const found: Array<Import> = []
  const all = tokens(source).filter((token) => token.kind !== "comment")
  all.forEach((token, index) => {
    if (token.kind !== "string" || index === 0) return
    const before = all.slice(0, index).map((one) => (one.kind === "string" ? "\"\"" : one.text)).join("").slice(-2000)
    const statement =
      /(?:^|\n)\s*((?:import|export)\b(?:(?!\n\s*(?:import|export|const|let|function|class)\b)[^"'=;])*from\s*)$/
        .exec(before)
    const bare = /(?:^|\n)\s*import\s*$/.test(before)
    const dynamic = /\bimport\s*\(\s*$/.test(before)
    if (statement === null && !bare && !dynamic) return
    const specifier = token.text
    found.push({
      specifier,
      target: specifier.startsWith(".") ? posix.join(posix.dirname(file), specifier) : specifier,
      typeOnly: statement !== null && /^(?:import|export)\s+type\b/.test(statement[1]!),
      line: token.line
    })
  })
  return found
}

/** the folder that a file is in */
export const folderOf = (file: string) => dirname(file).replaceAll("\\", "/")
