/** The examples of channels and of the message bus are run as a reader runs them. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { assert, describe, it } from "vitest"
import { root } from "../support/tsc.ts"

const run = async (file: string) => {
  const child = spawn(
    process.execPath,
    ["--conditions=windlass-source", "--disable-warning=ExperimentalWarning", file],
    { cwd: root, stdio: ["ignore", "pipe", "pipe"] }
  )
  let stdout = ""
  let stderr = ""
  child.stdout.on("data", (chunk) => stdout += chunk)
  child.stderr.on("data", (chunk) => stderr += chunk)
  const [code] = await once(child, "close")
  assert.deepStrictEqual([code, stderr], [0, ""])
  return stdout.replace(/\d+ ms$/gm, "<n> ms")
}

describe("examples", () => {
  it("10 channels: AMGI-14 the connection is closed before any middleware goes on, timing around messages and lifespan", async () => {
    const output = await run("examples/10-channels/main.ts")
    const at = output.indexOf("{")
    const message = (order: number) => [
      "  SecondMiddleware before",
      "  FirstMiddleware before",
      "    open connection",
      `    processing order ${order}`,
      "    close connection",
      "  FirstMiddleware after",
      "  SecondMiddleware after",
      "message handled in <n> ms"
    ]
    assert.deepStrictEqual(output.slice(0, at).trimEnd().split("\n"), [
      ...message(12),
      ...message(13),
      "lifespan handled in <n> ms",
      "2 succeeded"
    ])
    const document = JSON.parse(output.slice(at))
    assert.deepStrictEqual(document.info, { title: "AsyncFast", version: "0.1.0" })
    assert.deepStrictEqual(document.channels, {
      HandleOrder: {
        address: "orders",
        messages: { HandleOrder: { $ref: "#/components/messages/HandleOrder" } }
      }
    })
    assert.deepInclude(document.components.messages.HandleOrder.payload, { type: "integer" })
    assert.strictEqual(document.operations["receive-HandleOrder"].action, "receive")
  })

  it("14 a message bus: each service by its own patterns, the most specific one, and a broker of one's own", async () => {
    const lines = (await run("examples/14-message-bus/main.ts")).trimEnd().split("\n")
    // the services work at once, so only what one order leads to is together
    assert.deepStrictEqual([lines[0], lines.at(-1)], ["pager: connected", "pager: closed"])
    assert.deepStrictEqual(lines.slice(1, 3).toSorted(), [
      "audit: invoice 1 over 20",
      "shipping: order 1 in Europe, by train"
    ])
    assert.deepStrictEqual(lines.slice(3, 6).toSorted(), [
      "audit: invoice 2 over 5000",
      "pager: alerts.high {\"text\":\"order 2: 5000\"}",
      "shipping: order 2 to ada in us, by sea"
    ])
    assert.deepStrictEqual(lines.slice(6, 9).toSorted(), [
      "audit: invoice 3 over 9999",
      "billing: no alert for 3: too loud",
      "shipping: order 3 to ada in us, by sea"
    ])
    assert.strictEqual(lines.length, 10)
  })
})
