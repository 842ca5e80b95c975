/** Signals to a worker process, as an operator or a supervisor sends them. Each step waits for a line of the process. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import { afterEach, assert, describe, it } from "vitest"
import { root } from "../../support/tsc.ts"

const children = new Set<ReturnType<typeof spawn>>()
afterEach(() => {
  for (const child of children) child.kill("SIGKILL")
  children.clear()
})

const start = (what: "idle" | "busy" | "stuck") => {
  const flags = ["--conditions=windlass-source", "--disable-warning=ExperimentalWarning"]
  const child = spawn(process.execPath, [...flags, "test/scenarios/redis-tasks/child.ts", what], {
    cwd: root,
    stdio: ["ignore", "pipe", "inherit"]
  })
  children.add(child)
  const lines: Array<string> = []
  let look = () => {}
  createInterface(child.stdout!).on("line", (line) => {
    lines.push(line)
    look()
  })
  return {
    lines,
    kill: (signal: NodeJS.Signals) => child.kill(signal),
    exit: once(child, "close"),
    until: (line: string) =>
      new Promise<void>((resolve) => {
        look = () => lines.includes(line) ? resolve() : undefined
        look()
      })
  }
}

describe("signals", () => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    it(`RT-12 ${signal} to an idle worker ends it at once, with 0, whatever its grace period`, async () => {
      const worker = start("idle")
      await worker.until("idle")
      worker.kill(signal)
      assert.deepStrictEqual(await worker.exit, [0, null])
      assert.include(worker.lines, "over, 0 running")
    })
  }

  it("RT-12 the first signal to a busy worker waits for its job, the second interrupts it; both together are no failure", async () => {
    const worker = start("busy")
    await worker.until("runs")
    worker.kill("SIGTERM")
    await worker.until("stopping")
    assert.notInclude(worker.lines, "interrupted")
    worker.kill("SIGTERM")
    assert.deepStrictEqual(await worker.exit, [0, null])
    assert.include(worker.lines, "interrupted")
  })

  it("RT-12 the third signal exits at once, with 130, also when a job cannot be interrupted", async () => {
    const worker = start("stuck")
    await worker.until("runs")
    worker.kill("SIGTERM")
    await worker.until("stopping")
    worker.kill("SIGINT")
    worker.kill("SIGTERM")
    assert.deepStrictEqual(await worker.exit, [130, null])
    assert.notInclude(worker.lines, "interrupted")
  })
})
