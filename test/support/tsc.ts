/**
 * Runs the installed TypeScript compiler as a program and reads its diagnostics: TypeScript 7 has no compiler API in
 * JavaScript, and what a person sees is the command's output anyway.
 */
import { execFile } from "node:child_process"
import { dirname, isAbsolute, join, relative, sep } from "node:path"
import { fileURLToPath } from "node:url"

/** the root of the checkout */
export const root = fileURLToPath(new URL("../..", import.meta.url))

export interface Diagnostic {
  /** relative to the root of the checkout, with `/` */
  readonly file: string
  /** from 1 */
  readonly line: number
  /** `TS2345` */
  readonly code: string
  /** with its elaborations, one a line */
  readonly message: string
}

const compiler = join(root, "node_modules", "typescript", "bin", "tsc")
const head = /^(.+?)\((\d+),\d+\): error (TS\d+): (.*)$/

/** `tsc --noEmit` on a project, in one run; rejects when the compiler failed without saying where. */
export const compile = (project: string): Promise<ReadonlyArray<Diagnostic>> =>
  new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [compiler, "--noEmit", "--pretty", "false", "-p", project],
      { cwd: root, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => {
        const found: Array<{ file: string; line: number; code: string; message: string }> = []
        for (const text of stdout.split(/\r?\n/)) {
          const match = head.exec(text)
          if (match !== null) {
            const file = isAbsolute(match[1]!) ? relative(root, match[1]!) : match[1]!
            found.push({
              file: file.split(sep).join("/"),
              line: Number(match[2]),
              code: match[3]!,
              message: match[4]!
            })
          } else if (text.startsWith(" ") && found.length > 0) {
            found.at(-1)!.message += `\n${text}`
          } else if (text.trim() !== "") {
            reject(new Error(`tsc -p ${project}: ${text}`))
            return
          }
        }
        if (error !== null && found.length === 0) {
          reject(new Error(`tsc -p ${project} from ${dirname(compiler)} failed: ${stderr}${stdout}`, { cause: error }))
          return
        }
        resolve(found)
      }
    )
  })
