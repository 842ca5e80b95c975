/**
 * 05: a producer in one process and a worker in another, on one SQLite file.
 *
 * This program starts both, stops the worker with SIGTERM in the middle of its work, and starts another one: what the
 * first had begun it finished, and the second does the rest. By hand, in two terminals:
 *
 *     node --conditions=windlass-source examples/05-two-processes/worker.ts queue.db
 *     node --conditions=windlass-source examples/05-two-processes/producer.ts queue.db
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"

const folder = mkdtempSync(join(tmpdir(), "windlass-05-"))
const start = (name: string) =>
  spawn(process.execPath, [...process.execArgv, join(import.meta.dirname, name), join(folder, "queue.db")], {
    stdio: ["ignore", "pipe", "inherit"]
  })

const greeted: Array<string> = []

/** runs a worker until so many guests are greeted in all, asks it to stop, and waits for its end */
const work = async (until: number) => {
  const worker = start("worker.ts")
  const exited = once(worker, "exit")
  for await (const line of createInterface(worker.stdout)) {
    if (!line.startsWith("hello ")) continue
    greeted.push(line)
    // as the deploy of a new version does it
    if (greeted.length === until) worker.kill("SIGTERM")
  }
  const [code] = await exited
  return code as number | null
}

const producer = start("producer.ts")
producer.stdout.pipe(process.stdout)
await once(producer, "exit")

console.log(`the first worker is stopped after 10: exit code ${await work(10)}`)
console.log(greeted.length < 40 ? "some guests are left for the next" : "nobody is left")
console.log(`the second worker does the rest: exit code ${await work(40)}`)
console.log(`${greeted.length} greetings for ${new Set(greeted).size} guests`)

rmSync(folder, { recursive: true })
