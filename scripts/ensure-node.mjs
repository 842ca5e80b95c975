// Says at once, and in words, when a script is about to run on a Node that Effect 4 does not support. npm scripts find the
// `node` of the package `node` (a devDependency) first on PATH, so this fires only where its install script did not run.
// Must itself run on any Node.
import { readFileSync } from "node:fs"

const { engines } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"))
const wanted = engines.node.replace(/^>=/, "").split(".").map(Number)
const found = process.versions.node.split(".").map(Number)

const older = (a, b) => {
  for (let i = 0; i < b.length; i++) if (a[i] !== b[i]) return a[i] < b[i]
  return false
}

if (older(found, wanted)) {
  process.stderr.write(
    `Windlass needs Node ${engines.node}; this is ${process.version} (${process.execPath}).\n`
      + "Its own Node 24 comes with `npm ci`, by the install script of the package `node`, which did not run.\n"
      + "Run `npm rebuild node --ignore-scripts=false`, or use a supported Node.\n"
  )
  process.exit(1)
}
