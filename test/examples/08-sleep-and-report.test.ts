/** Example 08: the list of middleware comes from the environment. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { assert, describe, it } from "vitest"
import { root } from "../support/tsc.ts"

const run = async (list: string | undefined) => {
  const { MIDDLEWARE: _, ...env } = process.env
  const flags = ["--conditions=windlass-source", "--disable-warning=ExperimentalWarning"]
  const child = spawn(process.execPath, [...flags, "examples/08-sleep-and-report/main.ts"], {
    cwd: root,
    env: list === undefined ? env : { ...env, MIDDLEWARE: list },
    stdio: ["ignore", "pipe", "pipe"]
  })
  let out = ""
  child.stdout.on("data", (chunk) => out += chunk)
  child.stderr.on("data", (chunk) => out += chunk)
  const [code] = await once(child, "close")
  return { code: code as number | null, lines: out.trimEnd().split("\n") }
}

const mail = (text: string) => `  mail to client@example.org: Daily Report: CountSales${text}`

describe("example 08", () => {
  it("08 sleep and report: RT-01 the report comes for every job, also for one that nobody entered", async () => {
    assert.deepStrictEqual(await run(undefined), {
      code: 0,
      lines: [
        "CountSales: slept, now it runs",
        "CountSales: counts Paris",
        mail(": Succeeded"),
        "CountSales: slept, now it runs",
        mail(" is dead: failed"),
        mail(" is dead: undecodable"),
        "1 succeeded, 2 dead"
      ]
    })
  })

  it("08 the configuration says which middleware there is; RT-05 a name that nobody knows is told at the start", async () => {
    assert.deepStrictEqual((await run("sleep")).lines, [
      "CountSales: slept, now it runs",
      "CountSales: counts Paris",
      "CountSales: slept, now it runs",
      "1 succeeded, 2 dead"
    ])
    assert.deepStrictEqual(await run("sleep,middleware.ReportMiddleware"), {
      code: 0,
      lines: [
        "not started: middleware \"middleware.ReportMiddleware\" is not known here: write one of \"sleep\", \"report\", " +
        "or add it to the registry"
      ]
    })
  })
})
