/**
 * The main job as a user has it: a process that indexes a tree through a queue in a file, killed with -9 again and
 * again. Whatever happens to it, in the end every file of the tree has its row, once, with what a stranger computes.
 */
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { setImmediate } from "node:timers/promises"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { ask, type Child, kill, main, marked, start } from "./index-a-tree.child.ts"
import { type Expected, expected, fell, grow } from "./index-a-tree.tree.ts"

const minutes = 60_000

let directory: string
let tree: string

beforeAll(() => {
  directory = Fs.realpathSync(Fs.mkdtempSync(Path.join(Os.tmpdir(), "windlass träee ")))
  tree = Path.join(directory, "tree")
  grow(tree)
})

afterAll(() => fell(directory))

/** a place for the databases of one test */
const databases = (name: string) => {
  const file = Path.join(directory, name, "index.db")
  Fs.mkdirSync(Path.dirname(file))
  return { file, queue: Path.join(directory, name, "index.queue.db") }
}

type Databases = ReturnType<typeof databases>

const assertSound = ({ file, queue }: Databases) => {
  for (const one of [file, queue]) {
    if (Fs.existsSync(one)) assert.deepStrictEqual(ask(one, "PRAGMA integrity_check"), [{ integrity_check: "ok" }], one)
  }
}

const run = async (root: string, db: Databases, ...args: ReadonlyArray<string>) => {
  const { code, output } = await start(main, [root, "--db", db.file, ...args]).ended
  assert.strictEqual(code, 0, output)
  return output
}

interface Row {
  readonly path: string
  readonly sha256: string | null
  readonly bytes: number | null
  readonly error: string | null
}

/** every file of the tree exactly once, with the hash that it has, and a queue with nothing left to do */
const assertComplete = (root: string, db: Databases, wanted: ReadonlyMap<string, Expected> = expected(root)) => {
  assertSound(db)
  const rows = ask<Row>(db.file, "SELECT path, sha256, bytes, error FROM files")
  const found = new Map(rows.map((row) => [row.path, row]))
  assert.strictEqual(found.size, rows.length, "a path has two rows")
  assert.deepStrictEqual([...wanted.keys()].filter((path) => !found.has(path)), [], "files without a row")
  assert.deepStrictEqual([...found.keys()].filter((path) => !wanted.has(path)), [], "rows without a file")
  for (const [path, { bytes, error, sha256 }] of wanted) {
    assert.deepStrictEqual({ ...found.get(path) }, { path, sha256, bytes, error })
  }
  const left = ["ready", "scheduled", "active", "waiting"].map((table) =>
    ask<{ n: number }>(db.queue, `SELECT count(*) AS n FROM ${table}`)[0]!.n
  )
  assert.deepStrictEqual(left, [0, 0, 0, 0], "jobs left in the queue")
  // what is kept of jobs are the dead letters: one for every file that failed for good, none for what was discarded
  const kept = ask<{ task: string; state: string | null }>(
    db.queue,
    "SELECT task, state FROM job LEFT JOIN ended USING (num)"
  )
  const dead = [...wanted.values()].filter(({ error }) => error !== null && error !== "TooLarge")
  assert.deepStrictEqual(kept, dead.map(() => ({ task: "IndexFile", state: "dead" })))
  return rows
}

/** after a whole walk, a file that has no row has a job in the queue: the next run's walk would hide a loss */
const assertNothingLost = (root: string, db: Databases, when: string) => {
  const rows = ask<{ path: string }>(db.file, "SELECT path FROM files")
  const jobs = ask<{ path: string }>(
    db.queue,
    "SELECT payload ->> 'path' AS path FROM job WHERE task = 'IndexFile' AND num NOT IN (SELECT num FROM ended)"
  )
  assert.strictEqual(new Set(jobs.map((job) => job.path)).size, jobs.length, `a file has two jobs after ${when}`)
  const held = new Set([...rows, ...jobs].map(({ path }) => path))
  assert.deepStrictEqual(
    [...expected(root).keys()].filter((path) => !held.has(path)),
    [],
    `neither row nor job after ${when}`
  )
}

const rowsOf = (file: string): number => {
  try {
    return ask<{ n: number }>(file, "SELECT count(*) AS n FROM files")[0]!.n
  } catch {
    return 0 // not made yet
  }
}

/** resolves with true when the index has so many rows, with false when the process ended before */
const reached = async (child: Child, file: string, rows: number): Promise<boolean> => {
  while (child.process.exitCode === null && child.process.signalCode === null) {
    if (Fs.existsSync(file) && rowsOf(file) >= rows) return true
    await setImmediate()
  }
  return false
}

describe("npm start, killed with -9", () => {
  it("the tree has what the tests need", () => {
    const files = [...expected(tree).values()]
    assert.isAbove(files.length, 1_800)
    for (const error of ["TooLarge", "NotText", "Unreadable"]) {
      assert.isTrue(files.some((file) => file.error === error), `no file is ${error}`)
    }
  })

  it("at named marks: every file exactly once, with its hash", { timeout: 5 * minutes }, async () => {
    const db = databases("marks")
    const directories = listable(tree)
    const marks = [
      "enqueued:1", // in the middle of the first enqueue of the walk
      "handler:1",
      "enqueued:6",
      `walked:${directories}`, // after the walk
      "stored:1", // after the row was written, before the job was settled
      "walked:1",
      "handler:40",
      "failed:1",
      "stored:100",
      "handler:200",
      "stored:300",
      `walked:${Math.floor(directories / 2)}`
    ]
    let walked = false
    for (const mark of marks) {
      const child = start(marked, [tree, "--db", db.file], { MARK: mark })
      await child.says(`mark ${mark}\n`)
      await kill(child)
      assertSound(db)
      if (mark === `walked:${directories}`) walked = true
      if (walked) assertNothingLost(tree, db, mark)
    }
    const before = rowsOf(db.file)
    assert.isAbove(before, 500, "it never came far")
    assert.isBelow(before, expected(tree).size, "nothing was left for the last run")
    const output = await run(tree, db)
    assert.include(output, "an earlier run did not end")
    assertComplete(tree, db)
    const dead = ask(db.queue, "SELECT id FROM job WHERE task = 'IndexFile' ORDER BY id")
    // what could not be read is tried again by every run, as the same job
    assert.match(await run(tree, db), /failures {6}Unreadable \d+/)
    assertComplete(tree, db)
    assert.deepStrictEqual(ask(db.queue, "SELECT id FROM job WHERE task = 'IndexFile' ORDER BY id"), dead)
    console.log(`killed at ${marks.length} marks; ${before} files were indexed by the last one`)
  })

  it("at random moments: every file exactly once, with its hash", { timeout: 5 * minutes }, async () => {
    const db = databases("random")
    const total = expected(tree).size
    const landed: Array<string> = []
    for (let i = 0; i < 12; i++) {
      const child = start(main, [tree, "--db", db.file])
      if (i % 3 === 0) {
        // any moment from the very start of the process on, also before there is a database
        const millis = Math.random() * 700
        await new Promise((resolve) => setTimeout(resolve, millis))
        child.process.kill("SIGKILL")
        landed.push((await child.ended).signal === "SIGKILL" ? `after ${millis.toFixed(0)} ms` : "too late")
      } else {
        const rows = rowsOf(db.file)
        const wanted = rows + 1 + Math.floor(Math.random() * (total - rows) * 0.3)
        const hit = await reached(child, db.file, wanted)
        child.process.kill("SIGKILL")
        landed.push(hit && (await child.ended).signal === "SIGKILL" ? `at ${wanted} rows` : "too late")
      }
      assertSound(db)
    }
    console.log(`killed ${landed.join(", ")}`)
    assert.isAtLeast(landed.filter((one) => one !== "too late").length, 8)
    await run(tree, db)
    assertComplete(tree, db)
  })

  it("a tree that changes while nobody looks", { timeout: 5 * minutes }, async () => {
    const root = Path.join(directory, "changing")
    for (let i = 0; i < 400; i++) file(root, `d${i % 20}/${i}.txt`, `${i}\n`)
    const db = databases("changes")
    const first = start(marked, [root, "--db", db.file], { MARK: `walked:${listable(root)}` })
    await first.says("mark walked")
    await kill(first)
    // every file has a job now; these are gone before their jobs run, or are something else by then
    Fs.rmSync(Path.join(root, "d1"), { recursive: true })
    Fs.rmSync(Path.join(root, "d2/2.txt"))
    Fs.rmSync(Path.join(root, "d3/3.txt"))
    Fs.mkdirSync(Path.join(root, "d3/3.txt"))
    file(root, "d3/3.txt/inside.txt", "a directory was a file")
    file(root, "d4/4.txt", "it has changed since the walk\n")
    file(root, "d5/new.txt", "new")
    const output = await run(root, db)
    assertComplete(root, db)
    assert.match(output, /Vanished \d+/)
    assert.match(output, /NoFile 1/)
  })
})

describe("npm start, with a job that takes its process down", () => {
  it(
    "a file that is given up as poison has its row, and another run tries it again",
    { timeout: minutes },
    async () => {
      const root = Path.join(directory, "poisoned")
      for (let i = 0; i < 20; i++) file(root, `${i}.md`, `${i}`)
      const db = databases("poison")
      const child = start(marked, [root, "--db", db.file, "--concurrency", "1"], { MARK: "walked:1" })
      await child.says("mark walked")
      await kill(child)
      // as if it had been running whenever one of many processes died
      ask(db.queue, "UPDATE job SET unsettled = 99, events = 99 WHERE payload ->> 'path' = ?", Path.join(root, "7.md"))
      assert.include(await run(root, db), "poison: 1 in the index")
      const poisoned = new Map(expected(root)).set(Path.join(root, "7.md"), { sha256: null, bytes: 1, error: "poison" })
      assertComplete(root, db, poisoned)
      assert.include(await run(root, db), "this time 1 done")
      assertComplete(root, db)
    }
  )
})

describe("npm start", () => {
  it(
    "ends with 0 and a summary; an unchanged tree is quick; what changes is indexed again",
    { timeout: minutes },
    async () => {
      const root = Path.join(directory, "small")
      for (let i = 0; i < 50; i++) file(root, `d${i % 5}/${i}.txt`, `line\n`.repeat(i))
      file(root, "binary.txt", Uint8Array.of(0, 1, 2))
      // in the tree itself, where they are by default: the index leaves them out
      const db = { file: Path.join(root, "index.db"), queue: Path.join(root, "index.queue.db") }
      const first = await run(root, db)
      for (
        const part of [
          `indexed ${root} in`,
          "jobs          57 in 57 attempts",
          "failures      NotText 1",
          "dead letters  1",
          "p50",
          "jobs/s",
          "worker [stats > last word] > task [WithSubject > Journal > WithFacts > annotate the span > WithHandle] > handler",
          "sqlite3"
        ]
      ) assert.include(first, part)
      const rows = assertComplete(root, db, expectedOfSmall(root))
      assert.deepStrictEqual(
        ask(db.file, "SELECT type, lines, bytes FROM files WHERE path = ?", Path.join(root, "d2/7.txt")),
        [{ type: "text", lines: 7, bytes: 35 }]
      )

      const second = await run(root, db)
      assert.include(second, "nothing has changed")
      assert.include(second, "nothing was run")

      Fs.rmSync(Path.join(root, "d1"), { recursive: true })
      Fs.rmSync(Path.join(root, "d2/2.txt"))
      file(root, "d2/7.txt", "one line, longer than before and without an end ................")
      file(root, "d3/new.txt", "")
      const third = await run(root, db)
      assert.include(third, "this time 2 done")
      const after = assertComplete(root, db, expectedOfSmall(root))
      assert.strictEqual(after.length, rows.length - 10)
    }
  )

  it(
    "Ctrl-C lets the running jobs finish, says how to go on, and the next run goes on",
    { timeout: minutes },
    async () => {
      const db = databases("interrupted")
      const child = start(main, [tree, "--db", db.file, "--concurrency", "4"])
      assert.isTrue(await reached(child, db.file, 50))
      child.process.kill("SIGINT")
      const { code, output } = await child.ended
      assert.strictEqual(code, 0, output)
      assert.notInclude(output, "fatal")
      assert.match(output, /stopped after .* jobs are left in the queue, to go on: npm start -- '/)
      assert.deepStrictEqual(ask(db.queue, "SELECT * FROM active"), [], "a drained worker holds nothing")
      assert.include(await run(tree, db), "going on")
      assertComplete(tree, db)
    }
  )

  it("two processes at once share the work", { timeout: 2 * minutes }, async () => {
    const db = databases("together")
    const both = [start(main, [tree, "--db", db.file]), start(main, [tree, "--db", db.file])]
    for (const child of both) {
      const { code, output } = await child.ended
      assert.strictEqual(code, 0, output)
    }
    assertComplete(tree, db)
  })

  it("writes the spans of a run as one trace", { timeout: minutes }, async () => {
    const root = Path.join(directory, "traced")
    for (let i = 0; i < 5; i++) file(root, `a/b/${i}.txt`, `${i}`)
    const db = databases("trace")
    const trace = Path.join(directory, "trace", "spans.jsonl")
    await run(root, db, "--trace", trace)
    const spans = Fs.readFileSync(trace, "utf8").trim().split("\n").map((line) => JSON.parse(line))
    assert.strictEqual(new Set(spans.map((span) => span.trace)).size, 1)
    const named = (name: string) => spans.filter((span) => span.name === name)
    assert.strictEqual(named("WalkDirectory").length, 3)
    assert.deepStrictEqual(named("IndexFile").map((span) => span.bytes), [1, 1, 1, 1, 1])
    // a file's run is a child of the walk that enqueued it
    const walks = new Set(named("WalkDirectory").map((span) => span.span))
    assert.isTrue(named("IndexFile").every((span) => walks.has(span.parent)))
  })

  it("says what is wrong with its arguments", { timeout: minutes }, async () => {
    const foreign = Path.join(directory, "foreign.db")
    ask(foreign, "CREATE TABLE notes (n)")
    for (
      const [args, code, message] of [
        [["--nonsense"], 2, "--nonsense"],
        [["--concurrency", "0"], 2, "not a number from 1"],
        [["a", "b"], 2, "one tree at a time"],
        [["--help"], 0, "npm start [-- [DIR]"],
        [[Path.join(directory, "absent")], 1, "cannot be indexed"],
        [[Path.join(tree, "sizes/euro.txt"), "--db", Path.join(directory, "no.db")], 1, "it is no directory"],
        [[tree, "--db", Path.join(directory, "absent/index.db")], 1, "there is no directory"],
        [[tree, "--db", foreign], 1, "is a database of something else"]
      ] as const
    ) {
      const ended = await start(main, args).ended
      assert.strictEqual(ended.code, code, ended.output)
      assert.include(ended.output, message)
    }
  })
})

const file = (root: string, name: string, content: string | Uint8Array) => {
  const path = Path.join(root, name)
  Fs.mkdirSync(Path.dirname(path), { recursive: true })
  Fs.writeFileSync(path, content)
}

const expectedOfSmall = (root: string) => {
  const files = expected(root)
  for (const own of ["index.db", "index.queue.db"]) files.delete(Path.join(root, own))
  return files.set(Path.join(root, "binary.txt"), { sha256: null, bytes: 3, error: "NotText" })
}

/** directories that can be listed */
const listable = (root: string): number => {
  let count = 0
  const walk = (path: string) => {
    let entries: Array<Fs.Dirent>
    try {
      entries = Fs.readdirSync(path, { withFileTypes: true })
    } catch {
      return
    }
    count++
    for (const entry of entries) if (entry.isDirectory()) walk(Path.join(path, entry.name))
  }
  walk(root)
  return count
}
