/** A graph whose workers are killed, over and over, at whatever they are doing: real processes on one SQLite file. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import * as SqliteBackend from "windlass/backends/SqliteBackend"
import * as Capability from "windlass/Capability"
import * as Graph from "windlass/Graph"
import { Step } from "./tasks.ts"

const script = fileURLToPath(new URL("./worker.ts", import.meta.url))

/** five layers of four, each node after all of the layer before */
const layers = Array.from({ length: 5 }, (_, layer) => Array.from({ length: 4 }, (_, n) => `${layer}.${n}`))
const before = new Map(layers.flatMap((names, layer) => names.map((name) => [name, layers[layer - 1] ?? []] as const)))
const last = "last"
before.set(last, layers.at(-1)!)

/** one worker until it has said so many lines, or the last node is done; then `kill -9` */
const work = async (filename: string, lines: Array<string>, until: number): Promise<boolean> => {
  const child = spawn(
    process.execPath,
    ["--conditions=windlass-source", "--disable-warning=ExperimentalWarning", script, filename],
    { stdio: ["ignore", "pipe", "inherit"] }
  )
  const closed = once(child, "close")
  let said = 0
  for await (const line of createInterface(child.stdout)) {
    if (!/^(?:run|done) /.test(line)) continue
    lines.push(line)
    // what was said before the kill is heard, also when it came while the signal was under way
    if (++said >= until || line === `done ${last}`) child.kill("SIGKILL")
  }
  const [code] = await closed
  if (code !== null) throw new Error(`a worker ended by itself, with ${code}`)
  return lines.includes(`done ${last}`)
}

describe("a graph among processes", () => {
  it.live(
    "kill -9 of its workers loses no node, repeats none but those that were under way, and keeps the order",
    () =>
      Effect.gen(function*() {
        const folder = yield* Effect.acquireRelease(
          Effect.sync(() => mkdtempSync(join(tmpdir(), "windlass-graph-"))),
          (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
        )
        const filename = join(folder, "queue.db")
        const backend = SqliteBackend.layer({ filename, lease: "1 second", retention: { successes: "1 day" } })
        const graph = Graph.make(
          Object.fromEntries(Array.from(before, ([name, after]) => [name, { enqueue: Step.enqueue({ name }), after }]))
        )
        yield* Effect.provide(Graph.enqueue(graph, { id: "g" }), backend)

        const lines: Array<string> = []
        let kills = 0
        // at any line: in the handler, after it, while the next nodes are enqueued
        while (
          !(yield* Effect.promise(() => work(filename, lines, kills < 8 ? 1 + (kills * 3) % 7 : Infinity)))
        ) kills++
        assert.isAtLeast(kills, 4)

        lines.forEach((line, at) => {
          if (!line.startsWith("run ")) return
          const missing = before.get(line.slice(4))!.filter((name) => !lines.slice(0, at).includes(`done ${name}`))
          assert.deepStrictEqual(missing, [], `${line} came before them`)
        })
        const runs = lines.filter((line) => line.startsWith("run "))
        assert.deepStrictEqual(
          Array.from(new Set(runs)).toSorted(),
          Array.from(before.keys(), (name) => `run ${name}`).toSorted()
        )
        // three at a time were under way when one was killed
        assert.isAtMost(runs.length, before.size + 3 * (kills + 1))
        yield* Effect.provide(
          Effect.gen(function*() {
            const inspect = yield* Capability.Inspect
            for (const name of before.keys()) {
              const job = Option.getOrThrow(yield* inspect.get(`g/${name}`))
              assert.strictEqual(job.history.filter(({ event }) => event === "enqueued").length, 1, name)
            }
            // a worker that is alive would run whatever a second enqueue had left
            const { ready, scheduled } = yield* inspect.counts("default")
            assert.strictEqual(ready + scheduled, 0)
          }),
          backend
        )
      }),
    180_000
  )
})
