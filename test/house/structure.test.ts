/**
 * The shape of the house (CONTRIBUTING.md): who may import whom, how long a file may be, what may stand in it.
 */
import { assert, describe, it } from "vitest"
import { filesOf, folderOf, type Import, imports, read, tokens, tracked } from "../support/source.ts"

const sources = filesOf("src")
const uses = sources.flatMap((file) => imports(file).map((one) => ({ ...one, file })))
type Use = Import & { readonly file: string }

/** rooms that are not the core; everything else in src is */
const rooms = ["backends", "testing", "http", "isolation", "lambda", "asyncapi"]
const roomOf = (file: string) => rooms.find((room) => file.startsWith(`src/${room}/`))

/** where Node's own modules may be imported: what talks to a process, a file or a socket */
const nodeAllowed = [
  "src/backends/sqlite/",
  "src/backends/SqliteBackend.ts",
  "src/backends/redis/",
  "src/backends/sqs/",
  "src/http/",
  "src/isolation/",
  "src/lambda/",
  "src/asyncapi/internal/"
]

/** what a backend may know of the house */
const contract = new Set(["src/Backend.ts", "src/Capability.ts"])

const show = (found: ReadonlyArray<Use>) => found.map((use) => `${use.file}:${use.line} imports ${use.specifier}`)
const under = (folder: string) => (file: string) => file.startsWith(`${folder}/`)

describe("who imports whom", () => {
  it("finds the imports at all", () => {
    assert.isAbove(uses.length, sources.length)
    assert.deepStrictEqual(
      imports(
        "src/a/b.ts",
        [
          "/** import * as No from \"no\" */",
          "import * as A from \"effect/A\"",
          "import {",
          "  type B",
          "} from \"../b.ts\"",
          "export type { C } from \"./c.ts\"",
          "const text = 'from \"no\"'",
          "const d = import(\"node:fs\")"
        ].join("\n")
      ).map((one) => [one.target, one.typeOnly, one.line]),
      [["effect/A", false, 2], ["src/b.ts", false, 5], ["src/a/c.ts", true, 6], ["node:fs", false, 8]]
    )
  })

  it("the core imports effect and itself", () => {
    const strangers = uses.filter((use) =>
      roomOf(use.file) === undefined && !use.specifier.startsWith(".") && !/^effect(\/|$)/.test(use.specifier)
      && !(use.specifier.startsWith("node:") && nodeAllowed.some((place) => use.file.startsWith(place)))
    )
    assert.deepStrictEqual(show(strangers), [])
  })

  it("Node's modules are imported only where a process, a file or a socket is the point", () => {
    const found = uses.filter((use) =>
      use.specifier.startsWith("node:") && !nodeAllowed.some((place) => use.file.startsWith(place))
    )
    assert.deepStrictEqual(show(found), [])
  })

  it("the heart of the core keeps to the stable modules of effect", () => {
    // sub-paths of effect (http, sql, persistence) and what touches the platform may change in a minor release
    const unstable = /^effect\/(?:[a-z-]+\/|[a-z-]+$|(?:FileSystem|Path|Terminal|Stdio|PlatformError)$)/
    const heart = uses.filter((use) => /^src\/(?:[A-Z]\w*\.ts$|internal\/)/.test(use.file))
    assert.deepStrictEqual(show(heart.filter((use) => unstable.test(use.specifier))), [])
  })

  it("every relative import names a file that is there, with its extension", () => {
    const known = new Set(sources)
    assert.deepStrictEqual(show(uses.filter((use) => use.specifier.startsWith(".") && !known.has(use.target))), [])
  })

  it("a backend imports the contract, its own engine, and nothing above", () => {
    const wrong = uses.filter(({ file, specifier, target }) => {
      if (!file.startsWith("src/backends/") || !specifier.startsWith(".")) return false
      if (contract.has(target)) return false
      const engine = file === `src/backends/${file.split("/")[2]}`
        ? `src/backends/${file.split("/")[2]!.replace(/Backend\.ts$/, "").toLowerCase()}`
        : `src/backends/${file.split("/")[2]}`
      return !under(engine)(target) && !under("src/backends/internal")(target)
    })
    assert.deepStrictEqual(show(wrong), [])
  })

  it("nothing outside of src/backends names an engine, the test kit apart", () => {
    const wrong = uses.filter((use) =>
      use.target.startsWith("src/backends/") && !under("src/backends")(use.file) && !under("src/testing")(use.file)
      // a function reads the messages that the SQS backend writes
      && !(under("src/lambda")(use.file) && use.target === "src/backends/sqs/message.ts")
    )
    assert.deepStrictEqual(show(wrong), [])
  })

  it("what is internal is imported from its own neighbourhood only", () => {
    const wrong = uses.filter(({ file, target }) => {
      const internal = /^(src\/(?:.*\/)?)internal\//.exec(target)?.[1]
      if (internal === undefined) return false
      // src/internal belongs to the core; a room other than the test kit has its own. The worker without a queue is for
      // the rooms that receive deliveries from elsewhere; a process that runs a handler is the inmost part of a worker
      return internal === "src/"
        ? !(roomOf(file) === undefined || roomOf(file) === "testing" || roomOf(file) === "isolation"
          || target === "src/internal/worker/direct.ts")
        : !file.startsWith(internal)
    })
    assert.deepStrictEqual(show(wrong), [])
  })

  it("the contract imports nothing of the house but itself", () => {
    const wrong = uses.filter((use) =>
      contract.has(use.file) && use.specifier.startsWith(".") && !contract.has(use.target)
    )
    assert.deepStrictEqual(show(wrong), [])
  })

  it("only the outer rooms know the worker", () => {
    const above = [
      "src/index.ts",
      "src/Worker.ts",
      "src/Cron.ts",
      "src/internal/worker/",
      "src/internal/cron/",
      "src/bus/CloudEvents.ts"
    ]
    const wrong = uses.filter((use) =>
      (use.target === "src/Worker.ts" || use.target.startsWith("src/internal/worker/"))
      && !above.some((place) => use.file.startsWith(place))
      && !["http", "isolation", "lambda", "asyncapi", "testing"].includes(roomOf(use.file) ?? "")
      && !(use.typeOnly && use.target === "src/Worker.ts")
    )
    assert.deepStrictEqual(show(wrong), [])
  })

  it("no room imports the test kit, and no module the index", () => {
    const wrong = uses.filter((use) =>
      (under("src/testing")(use.target) && !under("src/testing")(use.file)) || use.target === "src/index.ts"
    )
    assert.deepStrictEqual(show(wrong), [])
  })

  it("imports that load something never go round in a circle", () => {
    const edges = new Map<string, Array<string>>()
    for (const use of uses) {
      if (use.typeOnly || !use.specifier.startsWith(".")) continue
      edges.set(use.file, [...(edges.get(use.file) ?? []), use.target])
    }
    const state = new Map<string, "open" | "done">()
    const circles: Array<string> = []
    const visit = (file: string, path: ReadonlyArray<string>) => {
      if (state.get(file) === "done") return
      if (state.get(file) === "open") {
        circles.push([...path.slice(path.indexOf(file)), file].join(" -> "))
        return
      }
      state.set(file, "open")
      for (const target of edges.get(file) ?? []) visit(target, [...path, file])
      state.set(file, "done")
    }
    for (const file of sources) visit(file, [])
    assert.deepStrictEqual(circles, [])
  })

  it("folders of src are rooms of the house", () => {
    const known = ["src", "src/internal", "src/middleware", "src/bus", ...rooms.map((room) => `src/${room}`)]
    const strange = sources.filter((file) =>
      !known.includes(folderOf(file)) && !known.slice(1).some((room) => under(room)(file))
    )
    assert.deepStrictEqual(strange, [])
  })
})

describe("what stands in a file", () => {
  it("every source opens with a comment that says what it is for", () => {
    const said = (file: string) =>
      /^(?:#!.*\n)?\/\*\*([\s\S]*?)\*\//.exec(read(file))?.[1]!.replace(/^\s*\*/gm, "").replace(/@\w+.*/g, "").trim() ??
        ""
    const mute = sources.filter((file) => said(file).length < 20)
    assert.deepStrictEqual(mute, [])
  })

  it("no source writes to the console", () => {
    const loud = sources.filter((file) =>
      tokens(read(file)).some((token) => token.kind === "code" && /\bconsole\s*\./.test(token.text))
    )
    assert.deepStrictEqual(loud, [])
  })

  it("no source is longer than what fits in a head", () => {
    const lengths = sources.map((file) => [file, read(file).trimEnd().split("\n").length] as const)
    const long = lengths.filter(([, lines]) => lines > 400)
    if (long.length > 0) {
      process.stdout.write(`over 400 lines, so maybe two ideas: ${long.map((one) => one.join(" ")).join(", ")}\n`)
    }
    assert.deepStrictEqual(lengths.filter(([, lines]) => lines > 500).map((one) => one.join(": ")), [])
  })

  it("no source silences the compiler", () => {
    const silent = sources.filter((file) =>
      tokens(read(file)).some((token) =>
        token.kind === "comment" && /@ts-(?:ignore|nocheck|expect-error)/.test(token.text)
      )
    )
    assert.deepStrictEqual(silent, [])
  })

  it("no test is skipped, focused or left for later", () => {
    const call = /\b(?:it|test|describe|suite)(?:\s*\.\s*\w+)*?\s*\.\s*(?:only|skip|skipIf|runIf|todo|fails)\b/
    const idle = [...filesOf("test"), ...filesOf("src/testing")].filter((file) =>
      tokens(read(file)).some((token) => token.kind === "code" && call.test(token.text))
    )
    assert.deepStrictEqual(idle, [])
  })

  it("nothing that is tracked names a place on somebody's machine", () => {
    const place = new RegExp(`(?<![\\w.@-])/(?:${["work", "home", "root", "Users"].join("|")})/`)
    const binary = /\.(?:png|jpg|gif|ico|wasm|gz|zip|db)$/
    const named = tracked().filter((file) => !binary.test(file)).flatMap((file) =>
      read(file).split("\n").flatMap((
        line,
        index
      ) => (place.test(line) ? [`${file}:${index + 1}: ${line.trim()}`] : []))
    )
    assert.deepStrictEqual(named, [])
  })
})
