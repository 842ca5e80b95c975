/**
 * Child processes of the tests: started, listened to line by line, killed.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { redis } from "./server.ts"

const script = fileURLToPath(new URL("./child.ts", import.meta.url))

/** a child ended without saying what was waited for */
export class Ended extends Data.TaggedError("Ended")<{ readonly message: string }> {}

export class Child {
  readonly lines: Array<string> = []
  readonly ended: Promise<void>
  private readonly waiting = new Set<() => void>()
  private readonly process
  private errors = ""
  private over = false

  constructor(args: ReadonlyArray<string>) {
    this.process = spawn(process.execPath, ["--conditions=windlass-source", "--no-warnings", script, ...args], {
      stdio: ["pipe", "pipe", "pipe"]
    })
    const output = createInterface({ input: this.process.stdout })
    output.on("line", (line) => {
      this.lines.push(line)
      this.notify()
    })
    this.process.stderr.on("data", (chunk) => this.errors += String(chunk))
    // who was killed may not read its orders any more
    this.process.stdin.on("error", () => {})
    this.ended = new Promise((resolve) =>
      this.process.once("close", () => {
        this.over = true
        resolve()
        this.notify()
      })
    )
  }

  /** waits until so many lines begin like this, and returns the last of them */
  line(start: string, count = 1): Effect.Effect<string, Ended> {
    const find = () => this.lines.filter((line) => line.startsWith(start))[count - 1]
    return Effect.callback((resume) => {
      const look = () => {
        const found = find()
        if (found === undefined && !this.over) return
        this.waiting.delete(look)
        resume(
          found !== undefined
            ? Effect.succeed(found)
            : Effect.fail(
              new Ended({ message: `ended without "${start}": ${this.lines.slice(-3).join(" | ")} ${this.errors}` })
            )
        )
      }
      this.waiting.add(look)
      look()
      return Effect.sync(() => void this.waiting.delete(look))
    })
  }

  get order(): Effect.Effect<void> {
    return Effect.sync(() => void this.process.stdin.write("\n"))
  }

  get kill(): Effect.Effect<void> {
    return Effect.promise(() => {
      this.process.kill("SIGKILL")
      return this.ended
    })
  }

  private notify(): void {
    for (const look of Array.from(this.waiting)) look()
  }
}

/** killed with the scope, if it still runs then */
export const start = (role: string, prefix: string, ...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(Effect.sync(() => new Child([role, redis.url, prefix, ...args])), (child) => child.kill)
