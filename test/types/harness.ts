/**
 * What the compiler must catch, and in which words. TypeScript 7 has no API that the usual type-test runners could use, so
 * this compiles files as they are, with the command that users run.
 *
 * A fixture is `test/types/fixtures/NAME.ts`, a module of its own:
 *
 * ```ts
 * // test: PROC-07 what is not a middleware does not fit into the list
 * import * as Task from "windlass/Task"
 *
 * Task.make("A", {
 *   // expect-error TS2322: is not assignable to type
 *   // expect-error put the provider before it
 *   middleware: [1]
 * })
 * ```
 *
 * - The first line is `// test: ` and the name of the test; ids in it count (test/house/ids.test.ts).
 * - `// expect-error TEXT` speaks of the next line that is not such a comment, and may stand inside an expression: put it
 *   right above the line that the compiler names. The line must have a diagnostic whose message, elaborations included,
 *   contains TEXT; with a code (`TS2322: TEXT`, or `TS2322` alone) it must have that code as well. White space in both is
 *   folded. Several comments in a row must all be met, by one diagnostic or by several.
 * - A diagnostic on a line that expects none, or that meets none of what its line expects, fails the fixture. So a file
 *   without `expect-error` states that all of it compiles.
 *
 * All fixtures are compiled in one run, with `test/types/tsconfig.json`.
 */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { compile, type Diagnostic, root } from "../support/tsc.ts"

const folder = "test/types/fixtures"

interface Expectation {
  readonly line: number
  readonly code: string | undefined
  readonly text: string
}

export interface Fixture {
  /** relative to the root of the checkout */
  readonly file: string
  /** what its first line says */
  readonly name: string
  /** what is wrong with it, one sentence each; empty when it holds */
  readonly problems: ReadonlyArray<string>
}

const directive = /^\s*\/\/ expect-error\s+(?:(TS\d+)(?::\s*|\s*$))?(.*)$/
const fold = (text: string) => text.replace(/\s+/g, " ").trim()

/** what the comments of a fixture expect, with the line that each speaks of */
const expectations = (source: string): ReadonlyArray<Expectation> => {
  const lines = source.split(/\r?\n/)
  const found: Array<Expectation> = []
  let pending: Array<Omit<Expectation, "line">> = []
  lines.forEach((line, index) => {
    const match = directive.exec(line)
    if (match !== null) {
      pending.push({ code: match[1], text: fold(match[2]!) })
      return
    }
    for (const one of pending) found.push({ ...one, line: index + 1 })
    pending = []
  })
  for (const one of pending) found.push({ ...one, line: lines.length })
  return found
}

const meets = (diagnostic: Diagnostic, expected: Expectation) =>
  diagnostic.line === expected.line
  && (expected.code === undefined || diagnostic.code === expected.code)
  && fold(diagnostic.message).includes(expected.text)

const show = (diagnostic: Diagnostic) => `line ${diagnostic.line}: ${diagnostic.code}: ${diagnostic.message}`

/** compares one fixture with what the compiler said of it */
export const judge = (file: string, source: string, diagnostics: ReadonlyArray<Diagnostic>): Fixture => {
  const here = diagnostics.filter((diagnostic) => diagnostic.file === file)
  const expected = expectations(source)
  const name = /^\/\/ test: (.+)/.exec(source)?.[1]
  const problems: Array<string> = []
  if (name === undefined) problems.push("its first line is not `// test: ` and a name")
  for (const one of expected) {
    if (one.code === undefined && one.text === "") {
      problems.push(`line ${one.line}: an expect-error says neither a code nor a text`)
    } else if (!here.some((diagnostic) => meets(diagnostic, one))) {
      const said = here.filter((diagnostic) => diagnostic.line === one.line)
      problems.push(
        `line ${one.line} should not compile, with "${[one.code, one.text].filter(Boolean).join(": ")}", `
          + (said.length === 0 ? "but the compiler says nothing of this line" : `but: ${said.map(show).join("\n")}`)
      )
    }
  }
  for (const diagnostic of here) {
    if (!expected.some((one) => meets(diagnostic, one))) problems.push(`unexpected: ${show(diagnostic)}`)
  }
  return { file, name: name ?? file, problems }
}

/** compiles all fixtures in one run; a diagnostic outside of them (a source that does not compile) is a rejection */
export const checkFixtures = async (): Promise<ReadonlyArray<Fixture>> => {
  const files = readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => `${folder}/${file.replaceAll("\\", "/")}`)
    .sort()
  const diagnostics = await compile("test/types/tsconfig.json")
  const elsewhere = diagnostics.filter((diagnostic) => !files.includes(diagnostic.file))
  if (elsewhere.length > 0) {
    throw new Error(
      `the fixtures cannot be judged, their imports do not compile:\n${
        elsewhere.map((diagnostic) => `${diagnostic.file} ${show(diagnostic)}`).join("\n")
      }`
    )
  }
  return files.map((file) => judge(file, readFileSync(join(root, file), "utf8"), diagnostics))
}
