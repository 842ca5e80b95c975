/** The numbered examples are run as a reader runs them, and what they print is what they promise. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { afterAll, assert, describe, it } from "vitest"
import { root } from "../support/tsc.ts"

const scratch = mkdtempSync(join(tmpdir(), "windlass-examples-"))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

const start = (file: string, ...args: ReadonlyArray<string>) =>
  spawn(process.execPath, ["--conditions=windlass-source", "--disable-warning=ExperimentalWarning", file, ...args], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"]
  })

const run = async (file: string) => {
  const child = start(file)
  let stdout = ""
  let stderr = ""
  child.stdout.on("data", (chunk) => stdout += chunk)
  child.stderr.on("data", (chunk) => stderr += chunk)
  const [code] = await once(child, "close")
  return { code: code as number | null, stderr, lines: stdout.trimEnd().replace(/\d+ ms$/gm, "<n> ms").split("\n") }
}

const prints = async (file: string, lines: ReadonlyArray<string>) => {
  assert.deepStrictEqual(await run(file), { code: 0, stderr: "", lines: [...lines] })
}

describe("examples", () => {
  it("01 a first task and middleware: L3 both failures arrive typed", () =>
    prints("examples/01-first-task/main.ts", [
      "sent: \"Welcome\" from Acme Ltd to ada@example.org",
      "the handler failed: no such address as nowhere",
      "the middleware failed: no tenant nobody"
    ]))

  it("02 testing with TestClock: a retry schedule of days in milliseconds", () =>
    prints("examples/02-testing-with-test-clock/main.ts", [
      ...[0, 1, 3, 7, 15, 31].map((day) => `day ${day}: the bank declines invoice 2024-17`),
      "after 6 attempts the job is Dead",
      "60 days took <n> ms"
    ]))

  it("03 typed errors and outcomes: L14 decisions, dead letters and redrive", () =>
    prints("examples/03-typed-errors-and-outcomes/main.ts", [
      "Paris: sunny (attempt 1)",
      "Oslo: snow (attempt 3)",
      "Lima: Busy: given up after three attempts",
      "Utopia: NoSuchCity: Utopia",
      "Atlantis: discarded: it sank",
      "Gotham: dead, and not by a failure: decided",
      "Rome: hot (attempt 2)",
      "nightly: done (attempt 1)",
      "dead letter: {\"city\":\"Lima\"} failed, 3 attempts, Busy",
      "dead letter: {\"city\":\"Utopia\"} failed, 1 attempts, NoSuchCity",
      "dead letter: {\"city\":\"Gotham\"} decided, 1 attempts, only Batman knows",
      "redriven: true, now succeeded: enqueued, dead, redriven, succeeded"
    ]))

  it("04 a scoped resource: L1 L2 released in reverse order on success, failure, defect and L17 abort", () => {
    const run = (file: string, last: string, end: string) => [
      file,
      "  open connection",
      "    begin",
      `      insert ${file}`,
      `    ${last}`,
      "  close connection",
      `  => ${end}`
    ]
    return prints("examples/04-scoped-resource/main.ts", [
      ...run("good.csv", "commit", "succeeded"),
      ...run("conflict.csv", "rollback", "Conflict"),
      ...run("broken.csv", "rollback", "windlass/Dead"),
      ...run("endless.csv", "rollback", "windlass/Aborted")
    ])
  })

  it("11 a Lambda function: the middleware of the FastSQS guide, standard and FIFO batches", () => {
    const ran = (id: string, order: string, amount: number) => [
      `${id} takes a slot`,
      `processing order ${order} of ${amount} for acme`,
      `${id} gives it back`,
      `${id} ok in <n> ms`
    ]
    const failed = (id: string, why: string) => [
      `${id} takes a slot`,
      `${id} gives it back`,
      `${id} failed in <n> ms`,
      `audit: ${id}, attempt 1: failed, ${why}`
    ]
    const answer = (...ids: ReadonlyArray<string>) =>
      `=> ${JSON.stringify({ batchItemFailures: ids.map((itemIdentifier) => ({ itemIdentifier })) })}`
    return prints("examples/11-lambda/main.ts", [
      ...ran("message-1", "1", 5),
      answer(),
      ...failed("message-2", "OutOfStock: nothing left for order 2"),
      ...failed("message-3", "MissingTenant"),
      "audit: message-4, attempt 1: unknown-task, routes by type: no route takes \"unheard_of\"; " +
      "known are OrderCreated. Add a route, or an otherwise",
      answer("message-2", "message-3", "message-4"),
      ...failed("message-5", "OutOfStock: nothing left for order 5"),
      ...ran("message-7", "7", 2),
      answer("message-5", "message-6")
    ])
  })

  it("07 worker and task middleware: PROC-20 active before and after, PROC-28 a middleware stops the worker", () =>
    prints("examples/07-worker-middleware/main.ts", [
      "my_sync_task: before, active",
      "  my_sync_task: at the beginning of the task",
      "  my_sync_task runs with 1",
      "my_sync_task: after, active",
      "my_async_task: before, active",
      "  my_async_task runs with 1",
      "  my_async_task: 1 becomes 2",
      "my_async_task: after, active",
      "my_sync_task: before, active",
      "my_sync_task: the third, so the worker stops after it",
      "  my_sync_task: at the beginning of the task",
      "  my_sync_task runs with 2",
      "my_sync_task: after, active",
      "the worker is over: 3 claimed, 3 succeeded",
      "my_async_task {\"n\":2} is ready"
    ]))

  it("09 background tasks: STAR-02 after the reply, STAR-04 the middleware's before the handler's, and a job stored with it", () =>
    prints("examples/09-background-tasks/main.ts", [
      "I executed",
      "GET /: {\"message\":\"Hello World\"}",
      "All done, status of the middleware",
      "All done, status of the handler",
      "I executed",
      "GET /goodbye: {\"message\":\"Goodbye World\"}",
      "All done, status of the middleware",
      "I executed",
      "POST /signup: {\"message\":\"Check your mail\"}",
      "All done, status of the middleware",
      "jobs stored: 1"
    ]))

  it("05 two processes: one worker is stopped half-way, the next does the rest", () =>
    prints("examples/05-two-processes/main.ts", [
      "enqueued 40",
      "the first worker is stopped after 10: exit code 0",
      "some guests are left for the next",
      "the second worker does the rest: exit code 0",
      "40 greetings for 40 guests"
    ]))

  it("05 two processes: a worker that waits before anything is enqueued, and SIGTERM when it has nothing left to do", async () => {
    const file = join(scratch, "queue.db")
    const worker = start("examples/05-two-processes/worker.ts", file)
    const exited = once(worker, "close")
    const greeted: Array<string> = []
    let producer: Promise<unknown> | undefined
    for await (const line of createInterface(worker.stdout)) {
      // its first line says that it is there; the producer comes after it
      producer ??= once(start("examples/05-two-processes/producer.ts", file), "close")
      if (!line.startsWith("hello ")) continue
      greeted.push(line)
      if (greeted.length === 40) worker.kill("SIGTERM")
    }
    assert.deepStrictEqual(await producer, [0, null])
    assert.deepStrictEqual(await exited, [0, null])
    assert.strictEqual(new Set(greeted).size, 40)
    assert.strictEqual(greeted.length, 40)
  })

  it("12 isolated handlers: a pattern that takes for ever is killed, and the other searches do not notice", () =>
    prints("examples/12-isolated-handlers/main.ts", [
      "a number: found 66",
      "a letter: nothing",
      "no pattern: SyntaxError: Invalid regular expression: /(/: Unterminated group",
      "for ever: given up (timeout): windlass/TimedOut: task Search ran longer than its timeout of <n> ms",
      "and after that: found oo"
    ]))

  it("13 graphs: what comes after a dead node waits with it, and goes on when it is redriven", () =>
    prints("examples/13-graphs/main.ts", [
      "enqueued release-v1.0",
      "build v1.0",
      "test v1.0",
      "lint v1.0: 3 warnings",
      "clean v1.0",
      "dead: release-v1.0/lint",
      "the warnings are mended",
      "lint v1.0",
      "publish v1.0",
      "build v1.1",
      "publish v1.1"
    ]))
})
