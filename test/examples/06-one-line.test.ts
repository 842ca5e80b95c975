/** Example 06 on every backend that can be had: a process each, and the same lines. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, describe, it } from "vitest"
import { ifItAnswers } from "../support/answers.ts"
import { root } from "../support/tsc.ts"

const postgres = await ifItAnswers(() => import("../backends/postgres/server.ts"))
const redis = await ifItAnswers(() => import("../backends/redis/server.ts"))

// the example puts its file where temporary files are
const folder = mkdtempSync(join(tmpdir(), "windlass-one-line-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const run = async (backend: string, space: string, env: Readonly<Record<string, string>> = {}) => {
  const flags = ["--conditions=windlass-source", "--disable-warning=ExperimentalWarning"]
  const child = spawn(process.execPath, [...flags, "examples/06-one-line/main.ts", backend, space], {
    cwd: root,
    env: { ...process.env, TMPDIR: folder, TEMP: folder, ...env },
    stdio: ["ignore", "pipe", "pipe"]
  })
  let stdout = ""
  let stderr = ""
  child.stdout.on("data", (chunk) => stdout += chunk)
  child.stderr.on("data", (chunk) => stderr += chunk)
  const [code] = await once(child, "close")
  return { code: code as number | null, stderr, lines: stdout.trimEnd().split("\n") }
}

const promised = [
  "a result comes back, after two attempts that failed:",
  "144",
  "and so does a failure: the limit is 100",
  "its job is a dead letter, and goes: 1",
  "what is more urgent overtakes:",
  "  (there is one of that key)",
  "  first",
  "  second",
  "  third",
  "  fourth",
  "  fifth",
  "  sixth, once",
  "  the last",
  "what is for later comes later:",
  "  now",
  "  in a moment"
]

/** what was left on a server goes when this layer ends */
const cleaned = <E>(cleaner: Layer.Layer<never, E>) => Effect.runPromise(Effect.scoped(Layer.build(cleaner)))

describe("06 one line: the same program on every backend prints the same", () => {
  it("memory (L12)", async () => {
    assert.deepStrictEqual(await run("memory", "unused"), { code: 0, stderr: "", lines: promised })
  })

  it("sqlite, twice on one file (L12)", async () => {
    assert.deepStrictEqual(await run("sqlite", "queue"), { code: 0, stderr: "", lines: promised })
    assert.deepStrictEqual(await run("sqlite", "queue"), { code: 0, stderr: "", lines: promised })
  })

  if (postgres !== undefined) {
    it("postgres (L12)", async () => {
      const schema = postgres.freshSchema()
      try {
        const ran = await run("postgres", schema, { WINDLASS_POSTGRES_URL: postgres.postgres.url })
        assert.deepStrictEqual(ran, { code: 0, stderr: "", lines: promised })
      } finally {
        await cleaned(Layer.provide(postgres.dropped(schema), postgres.client()))
      }
    })
  }

  if (redis !== undefined) {
    it("redis (L12)", async () => {
      const prefix = redis.freshPrefix()
      try {
        const ran = await run("redis", prefix, { WINDLASS_REDIS_URL: redis.redis.url })
        assert.deepStrictEqual(ran, { code: 0, stderr: "", lines: promised })
      } finally {
        await cleaned(Layer.provide(redis.deleted(prefix), redis.client()))
      }
    })
  }

  it("a backend that there is not is refused with the names of those that there are", async () => {
    const { code, stderr } = await run("oracle", "unused")
    assert.strictEqual(code, 1)
    assert.include(stderr, "choose one of memory, sqlite, postgres, redis")
  })
})
