/** The names of tests, read from the sources. */
import { read, tokens } from "./source.ts"

/** what is called with a test's name first: vitest's own, and wrappers around it, with whatever stands behind a dot */
const callee = /(?:^|[^\w$.])(?:it|test|law|scenario|everywhere|property|program)(?:\.\w+)*\s*(?:<[^()]*>)?\(\s*$/

/** names of tests in one file, with the line of each */
export const names = (file: string, source = read(file)): ReadonlyArray<string> => {
  const fixture = /^\/\/ test: (.+)/.exec(source)?.[1]
  const found = fixture === undefined ? [] : [fixture]
  const all = tokens(source).filter((token) => token.kind !== "comment")
  all.forEach((token, index) => {
    const before = all[index - 1]
    if (token.kind !== "string" || before?.kind !== "code") return
    // in the conformance kit tests are data: a `name` is a test's, and so is an id that stands alone in its list
    const kit = file.startsWith("src/testing/")
      && (/(?:^|[{,\s])(?:name|title)\s*:\s*$/.test(before.text) || /^(?:L\d+|[A-Z]+-\d+)$/.test(token.text))
    if (kit || callee.test(before.text)) found.push(token.text)
  })
  return found
}
