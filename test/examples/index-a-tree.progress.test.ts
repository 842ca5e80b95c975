/** What a person sees while it runs: a bar on a terminal, plain lines elsewhere. */
import { execFileSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { bar, isInteractive, plain, Progress, type Snapshot } from "../../examples/00-index-a-tree/progress.ts"
import { percentile, quoted } from "../../examples/00-index-a-tree/summary.ts"
import { promisesText, typeOfName } from "../../examples/00-index-a-tree/types.ts"
import { main, node, start } from "./index-a-tree.child.ts"

const snapshot: Snapshot = {
  found: 8_586,
  done: 4_310,
  elapsed: 3_500,
  rate: 1_240,
  current: "/a/tree/with/a/very/long/path/that/does/not/fit/on/a/line/of/eighty/file.ts",
  waiting: undefined
}

const screen = (isTTY: boolean) => {
  let text = ""
  return { isTTY, columns: 80, write: (more: string) => text += more, text: () => text }
}

describe("a bar", () => {
  it("says how far it is, how fast, how long it takes, and where it is", () => {
    assert.strictEqual(
      bar(snapshot, 120),
      "███████████████░░░░░░░░░░░░░░░  50%  4,310 of 8,586 files  1,240/s, 4 s left  …e/of/eighty/file.ts"
    )
    assert.strictEqual(
      bar({ ...snapshot, done: 8_580, waiting: "6 to be tried again", current: "" }, 80),
      "█████████████████████████████░  99%  8,580 of 8,586 files  6 to be tried again"
    )
  })

  it("is never wider than the terminal, at any width and with any name", () => {
    for (const current of ["", "a", snapshot.current, "日本語".repeat(40), "👩‍👩‍👧".repeat(30)]) {
      for (let columns = 1; columns < 200; columns++) {
        const line = bar({ ...snapshot, current }, columns)
        // wide characters count two
        const width = Array.from(line).reduce((n, c) => n + (c > "\u2fff" ? 2 : 1), 0)
        assert.isBelow(width, Math.max(columns, 1) + 1, `${columns}: ${line}`)
      }
    }
  })

  it("no name reaches the terminal as a command", () => {
    const line = bar({ ...snapshot, current: "/x/\u001b[2J\r\n\u0007\u202e.txt" }, 150)
    assert.notMatch(line, /[\p{Cc}\p{Cf}]/u)
  })

  it("before anything was found it is empty, and never more than full", () => {
    assert.include(bar({ ...snapshot, found: 0, done: 0, rate: 0 }, 100), "  0%  0 of 0 files  0/s")
    assert.include(bar({ ...snapshot, found: 3, done: 5 }, 100), "100%")
  })
})

describe("progress", () => {
  it("on a terminal one line is drawn over and over, and taken away", () => {
    const tty = screen(true)
    const progress = new Progress(tty, {})
    progress.update(snapshot)
    progress.update(snapshot)
    progress.print("a message")
    progress.update(snapshot)
    progress.end()
    const text = tty.text()
    assert.strictEqual(text.split("\r\u001b[2K").length - 1, 5)
    assert.strictEqual(text.split("\n").length - 1, 1)
    assert.isTrue(text.startsWith("\u001b[?25l") && text.endsWith("\u001b[?25h"), "the cursor comes back")
  })

  it("elsewhere a plain line comes every two seconds and nothing moves a cursor", () => {
    const pipe = screen(false)
    const progress = new Progress(pipe, {})
    for (let elapsed = 0; elapsed < 6_500; elapsed += 100) progress.update({ ...snapshot, elapsed, done: elapsed })
    progress.print("a message")
    progress.end()
    assert.strictEqual(
      pipe.text(),
      [
        "  2.0 s  2,000 of 8,586 files, 1,240/s, 6 s left",
        "  4.0 s  4,000 of 8,586 files, 1,240/s, 4 s left",
        "  6.0 s  6,000 of 8,586 files, 1,240/s, 3 s left",
        "a message",
        ""
      ].join("\n")
    )
    assert.include(plain({ ...snapshot, waiting: "6 to be tried again" }), "4,310 of 8,586 files, 6 to be tried again")
  })

  it("a terminal of a build, or one that is dumb, gets plain lines", () => {
    assert.isTrue(isInteractive({ write: () => {}, isTTY: true }, { TERM: "xterm" }))
    assert.isFalse(isInteractive({ write: () => {}, isTTY: true }, { TERM: "xterm", CI: "true" }))
    assert.isFalse(isInteractive({ write: () => {}, isTTY: true }, { TERM: "dumb" }))
    assert.isFalse(isInteractive({ write: () => {} }, { TERM: "xterm" }))
  })
})

describe("the program", () => {
  let directory: string

  beforeAll(() => {
    directory = Fs.realpathSync(Fs.mkdtempSync(Path.join(Os.tmpdir(), "windlass-progress-")))
    for (let i = 0; i < 300; i++) Fs.writeFileSync(Path.join(directory, `${i}.txt`), `${i}`)
  })

  afterAll(() => Fs.rmSync(directory, { recursive: true }))

  /** `script` gives a process a terminal of its own; where there is none of Linux, standard output says it is one */
  const onTerminal = (args: ReadonlyArray<string>) => {
    let script = ""
    try {
      script = execFileSync("script", ["--version"], { encoding: "utf8" })
    } catch {
      // there is none
    }
    if (script.includes("util-linux")) {
      const command = [process.execPath, ...node, main, ...args].map(quoted).join(" ")
      return start("-qec", [command, "/dev/null"], { TERM: "xterm" }, { command: "script", before: [] })
    }
    const pretend = "data:text/javascript,Object.assign(process.stdout, { isTTY: true, columns: 80 })"
    return start(main, args, { TERM: "xterm" }, { before: ["--import", pretend, ...node] })
  }

  it("draws a bar on a terminal", async () => {
    const { code, output } = await onTerminal([directory, "--db", Path.join(directory, "a.db")]).ended
    assert.strictEqual(code, 0, output)
    assert.isTrue(output.split("\r\u001b[2K").some((drawn) => /^.*\d+% {2}\d+ of \d+ files/.test(drawn)), output)
    assert.isBelow(output.lastIndexOf("\u001b[?25h"), output.indexOf("indexed "), "the bar is gone before the summary")
    assert.include(output, "\u001b[?25h")
  })

  it("writes plain text into a pipe", async () => {
    const { code, output } = await start(main, [directory, "--db", Path.join(directory, "b.db")]).ended
    assert.strictEqual(code, 0, output)
    for (const drawn of ["\u001b", "\r", "█"]) assert.notInclude(output, drawn)
    assert.include(output, "indexed ")
  })

  it("the query that it shows is answered", async () => {
    const { output } = await start(main, [directory, "--db", Path.join(directory, "c.db")]).ended
    const shown = /npx node (\S*query\.ts) (\S+) "(.*)"/.exec(output)
    assert.isNotNull(shown, output)
    const answer = execFileSync(process.execPath, shown!.slice(1), { encoding: "utf8" })
    assert.match(answer, /text.*300/)
  })
})

describe("small things", () => {
  it("percentiles are values that occurred", () => {
    const values = Array.from({ length: 200 }, (_, i) => i + 1)
    assert.deepStrictEqual([1, 50, 90, 99, 100].map((p) => percentile(values, p)), [2, 100, 180, 198, 200])
    assert.strictEqual(percentile([7], 50), 7)
    assert.strictEqual(percentile([], 50), 0)
  })

  it("types by name: the longest ending that is known", () => {
    assert.deepStrictEqual(
      ["a.d.ts", "a.ts", "x.b.md", "A.JSON", "a.js.map", "README", "a.b", ".ts", "a.constructor", "__proto__"].map(
        typeOfName
      ),
      [
        "types",
        "typescript",
        "markdown",
        "json",
        "source map",
        undefined,
        undefined,
        "typescript",
        undefined,
        undefined
      ]
    )
    assert.deepStrictEqual(["a.txt", "a.png", "a.toString", "b"].map(promisesText), [true, false, false, false])
  })
})
