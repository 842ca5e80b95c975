/** Example 15 against a server in this process, as its reader runs it. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { afterAll, assert, it } from "vitest"
import { credentials, start } from "../backends/sqs/server.ts"
import { root } from "../support/tsc.ts"

const server = await start()
afterAll(() => server.stop())

it("15 Amazon SQS: retries, a delay and a dead letter on a standard queue, a group in order on a FIFO one", async () => {
  const flags = ["--conditions=windlass-source", "--disable-warning=ExperimentalWarning"]
  const child = spawn(process.execPath, [...flags, "examples/15-sqs/main.ts"], {
    cwd: root,
    env: {
      ...process.env,
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      AWS_REGION: "us-east-1",
      WINDLASS_SQS_ENDPOINT: `http://127.0.0.1:${server.port}`
    },
    stdio: ["ignore", "pipe", "pipe"]
  })
  let stdout = ""
  let stderr = ""
  child.stdout.on("data", (chunk) => stdout += chunk)
  child.stderr.on("data", (chunk) => stderr += chunk)
  const [code] = await once(child, "close")
  assert.deepStrictEqual({ code, stderr, lines: stdout.trimEnd().split("\n") }, {
    code: 0,
    stderr: "",
    lines: [
      "a standard queue:",
      "ping up, attempt 1",
      "ping up, attempt 2",
      "ping down, attempt 1",
      "ping down, attempt 2",
      "ping down, attempt 3",
      "\"down\" is a dead letter",
      "a FIFO queue:",
      "ann: 10",
      "ann: -3",
      "ann: 5"
    ]
  })
  const letters = server.inspectQueue("windlass-15-default-dead")!.messages.ready
  assert.strictEqual(letters.length, 1)
  assert.match(letters[0]!.messageAttributes["windlass.exit"]!.StringValue!, /Unreachable.*down/)
})
