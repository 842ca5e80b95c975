/**
 * Child processes: started, listened to line by line, stopped, killed. Whatever still runs when its scope ends is killed.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import type { Settings } from "./child.ts"

const script = fileURLToPath(new URL("./child.ts", import.meta.url))

let folder: string | undefined

/** children load the same modules again and again: what is compiled is kept until the suite ends */
const cache = (): string => folder ??= mkdtempSync(join(tmpdir(), "windlass-faults-cache-"))

/** after the last child */
export const clean = (): void => {
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
  folder = undefined
}

/** a child ended without saying what was waited for */
export class Ended extends Data.TaggedError("Ended")<{ readonly message: string }> {}

export class Child {
  readonly lines: Array<string> = []
  readonly name: string
  private readonly process
  private readonly ended: Promise<void>
  private readonly waiting = new Set<() => void>()
  private errors = ""
  private over = false

  constructor(settings: Settings, told: (line: string) => void) {
    this.name = settings.worker
    this.process = spawn(process.execPath, ["--conditions=windlass-source", script, JSON.stringify(settings)], {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, NODE_COMPILE_CACHE: cache() }
    })
    createInterface({ input: this.process.stdout }).on("line", (line) => {
      this.lines.push(line)
      told(line)
      this.notify()
    })
    this.process.stderr.on("data", (chunk) => {
      this.errors = (this.errors + String(chunk)).slice(-4_000)
    })
    // who was killed reads no orders
    this.process.stdin.on("error", () => {})
    this.ended = new Promise((resolve) =>
      this.process.once("close", () => {
        this.over = true
        resolve()
        this.notify()
      })
    )
  }

  private notify(): void {
    for (const look of Array.from(this.waiting)) look()
  }

  /** waits until so many lines match, and returns the last of them */
  line(pattern: RegExp, count = 1): Effect.Effect<string, Ended> {
    return Effect.callback((resume) => {
      const look = () => {
        const found = this.lines.filter((line) => pattern.test(line))[count - 1]
        if (found === undefined && !this.over) return
        this.waiting.delete(look)
        resume(
          found !== undefined ? Effect.succeed(found) : Effect.fail(
            new Ended({
              message: `${this.name} ended without ${pattern}: ${this.lines.slice(-3).join(" | ")} ${this.errors}`
            })
          )
        )
      }
      this.waiting.add(look)
      look()
      return Effect.sync(() => void this.waiting.delete(look))
    })
  }

  /** waits until it stands still at its crash point, and returns the ids that it has there */
  get atPoint(): Effect.Effect<ReadonlyArray<string>, Ended> {
    return Effect.map(this.line(/^at /), (line) => line.split(" ").slice(2))
  }

  order(what: string): Effect.Effect<void> {
    return Effect.sync(() => void this.process.stdin.write(`${what}\n`))
  }

  signal(name: "SIGSTOP" | "SIGCONT"): Effect.Effect<void> {
    return Effect.sync(() => void this.process.kill(name))
  }

  /** `kill -9`; returns when it is gone and everything that it said was heard */
  get kill(): Effect.Effect<void> {
    return Effect.promise(() => {
      this.process.kill("SIGKILL")
      return this.ended
    })
  }

  /** the last of what it wrote to its standard error, for people */
  get log(): string {
    return this.errors
  }
}

export const start = (settings: Settings, told: (line: string) => void) =>
  Effect.acquireRelease(Effect.sync(() => new Child(settings, told)), (child) => child.kill)
