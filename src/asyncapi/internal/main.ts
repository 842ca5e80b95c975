#!/usr/bin/env node
/**
 * `windlass-asyncapi MODULE#EXPORT`: prints the AsyncAPI document of a task group that a module exports, or of a document
 * that it exports itself.
 */
import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { parseArgs } from "node:util"
import * as TaskGroup from "../../TaskGroup.ts"
import * as AsyncApi from "../AsyncApi.ts"

const usage = `Prints the AsyncAPI 3 document of a task group.

  windlass-asyncapi MODULE#EXPORT [options]

  MODULE    a JavaScript module, or a TypeScript one that this Node runs as it is
  EXPORT    what it exports: a TaskGroup, or a document of AsyncApi.fromGroup; \`default\` unless given

  --title TEXT        the title; the name in the nearest package.json unless given
  --version TEXT      the program's version; that of the package.json unless given
  --description TEXT
  --help
`

/** What is wrong with the call, in a line for whoever made it. */
class Misuse extends Error {}

const isGroup = (u: unknown): u is TaskGroup.TaskGroup<string> =>
  typeof u === "object" && u !== null && TaskGroup.TypeId in u

const isDocument = (u: unknown): u is AsyncApi.Document => typeof u === "object" && u !== null && "asyncapi" in u

/** the package.json where the command was given; empty when there is none */
const manifest = (): { readonly name?: string; readonly version?: string } => {
  try {
    return JSON.parse(readFileSync("package.json", "utf8"))
  } catch {
    return {}
  }
}

const options = {
  title: { type: "string" },
  version: { type: "string" },
  description: { type: "string" },
  help: { type: "boolean" }
} as const

const read = () => {
  try {
    return parseArgs({ options, allowPositionals: true })
  } catch (error) {
    throw new Misuse(error instanceof Error ? error.message : String(error))
  }
}

const main = async (): Promise<string> => {
  const { positionals, values } = read()
  if (values.help === true) return usage
  const [target, ...others] = positionals
  if (target === undefined || others.length > 0) throw new Misuse("one MODULE#EXPORT is needed; --help says more")
  const hash = target.lastIndexOf("#")
  const file = hash === -1 ? target : target.slice(0, hash)
  const name = hash === -1 ? "default" : target.slice(hash + 1)
  const module: Readonly<Record<string, unknown>> = await import(pathToFileURL(resolve(file)).href)
  const found = module[name]
  if (isDocument(found)) return `${JSON.stringify(found, null, 2)}\n`
  if (!isGroup(found)) {
    const groups = Object.keys(module).filter((key) => isGroup(module[key]) || isDocument(module[key]))
    throw new Misuse(
      `${file} exports no task group called ${name}` +
        (groups.length === 0 ? ": export one made with TaskGroup.make" : `: it has ${groups.join(", ")}`)
    )
  }
  const own = manifest()
  const document = AsyncApi.fromGroup(found, {
    title: values.title ?? own.name ?? "Windlass",
    version: values.version ?? own.version ?? "0.0.0",
    description: values.description
  })
  return `${JSON.stringify(document, null, 2)}\n`
}

main().then(
  (text) => {
    process.stdout.write(text)
  },
  (error: unknown) => {
    process.stderr.write(error instanceof Misuse ? `windlass-asyncapi: ${error.message}\n` : `${format(error)}\n`)
    process.exitCode = 1
  }
)

const format = (error: unknown): string =>
  error instanceof Error ? error.stack ?? error.message : `windlass-asyncapi: ${String(error)}`
