/**
 * The parent's end of one child process: its start with a handshake, the messages, its polite end, and the hard one. Not
 * on `effect/workers`: what is needed here is the exit code, the signal and the standard error of a process that died,
 * and to kill it at a time of our own.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ChildProcess, fork } from "node:child_process"
import type { Readable } from "node:stream"
import { IsolateDied } from "../IsolateDied.ts"
import { address, variable } from "./preload.ts"
import type { Line, ToChild, ToParent } from "./protocol.ts"

export interface Settings {
  readonly module: URL | string
  /** MiB of the heap */
  readonly memory: number | undefined
  /** milliseconds */
  readonly startTimeout: number
  readonly grace: number
  readonly recycleAfter: number | undefined
  readonly execArgv: ReadonlyArray<string>
  readonly env: Readonly<Record<string, string | undefined>>
  /** what it must serve: names and versions */
  readonly tasks: ReadonlyMap<string, number>
}

/** how much of the standard error is kept for the one who asks why */
const keptErrors = 8_192

/** processes know no `TestClock`: their time is the machine's */
export const wait = (millis: number): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const timer = setTimeout(() => resume(Effect.void), millis)
    return Effect.sync(() => clearTimeout(timer))
  })

export class Child {
  /** jobs that it ran */
  jobs = 0
  /** what takes the messages of the job that it runs; the rest goes to `onLog` */
  listener: ((message: ToParent) => void) | undefined = undefined
  private ended = false
  private exitCode: number | null = null
  private signal: NodeJS.Signals | null = null
  private errors = ""
  private readonly process: ChildProcess
  private readonly settings: Settings
  private readonly waiting = new Set<() => void>()

  constructor(settings: Settings, onLog: (line: Line) => void) {
    this.settings = settings
    const memory = settings.memory === undefined ? [] : [`--max-old-space-size=${settings.memory}`]
    this.process = fork(settings.module, [], {
      execArgv: [...settings.execArgv, ...memory, `--import=${address}`],
      env: { ...settings.env, [variable]: "1" },
      // the last one is held open for as long as this process lives
      stdio: ["ignore", "inherit", "pipe", "ipc", "pipe"]
    })
    this.process.stderr!.on("data", (chunk: Buffer) => {
      this.errors = (this.errors + chunk.toString()).slice(-keptErrors)
      process.stderr.write(chunk)
    })
    ;(this.process.stdio[4] as Readable).on("error", () => {})
    this.process.on("message", (message: ToParent) => {
      if (message._tag === "Log" && this.listener === undefined) onLog(message.line)
      else this.listener?.(message)
    })
    this.process.once("error", (error) => {
      // it was never there
      if (this.process.pid !== undefined) return
      this.errors = error.message
      this.end()
    })
    this.process.once("exit", (code, signal) => {
      this.exitCode = code
      this.signal = signal
      // the last of its standard error may be under way; a process that it left behind may hold it open for ever
      const timer = setTimeout(() => this.end(), 500)
      this.process.once("close", () => {
        clearTimeout(timer)
        this.end()
      })
    })
  }

  get pid(): number | undefined {
    return this.process.pid
  }

  get alive(): boolean {
    return this.process.exitCode === null && this.process.signalCode === null && this.process.connected
  }

  private end(): void {
    this.ended = true
    for (const resume of Array.from(this.waiting)) resume()
  }

  /** calls back once the process is gone and all that it said is known; returns what takes the call back */
  onEnd(callback: () => void): () => void {
    if (this.ended) {
      callback()
      return () => {}
    }
    this.waiting.add(callback)
    return () => void this.waiting.delete(callback)
  }

  get awaitEnd(): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const forget = this.onEnd(() => resume(Effect.void))
      return Effect.sync(forget)
    })
  }

  /** to a process that is gone nothing is said, and its end says the rest */
  send(message: ToChild): void {
    if (this.process.connected) this.process.send(message, () => {})
  }

  /** `kill -9`; returns when it is gone */
  get kill(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.process.kill("SIGKILL")
      return this.awaitEnd
    })
  }

  /** asks it to end, and kills it after the grace period; returns when it is gone */
  get stop(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.send({ _tag: "Bye" })
      return Effect.raceFirst(this.awaitEnd, Effect.andThen(wait(this.settings.grace), this.kill))
    })
  }

  died(phase: IsolateDied["phase"], detail = ""): IsolateDied {
    return new IsolateDied({
      module: String(this.settings.module),
      phase,
      exitCode: this.exitCode,
      signal: this.signal,
      detail: detail !== "" ? detail : /heap out of memory|Reached heap limit/.test(this.errors)
        ? `out of memory${
          this.settings.memory === undefined ? "" : `: its heap is limited to ${this.settings.memory} MiB`
        }`
        : this.errors.trim().slice(-1_000)
    })
  }
}

/** Waits until it is ready, or says why it never will be. */
const handshake = (child: Child, settings: Settings): Effect.Effect<void, IsolateDied> => {
  const ready = Effect.callback<void, IsolateDied>((resume) => {
    const forget = child.onEnd(() => resume(Effect.fail(child.died("start"))))
    child.listener = (message) => {
      if (message._tag === "Failed") {
        resume(Effect.fail(child.died("start", `its layer could not be built: ${message.error}`)))
      } else if (message._tag === "Ready") {
        const wrong = mismatch(settings, message.tasks)
        resume(wrong === undefined ? Effect.void : Effect.fail(child.died("start", wrong)))
      }
    }
    return Effect.sync(forget)
  })
  const late = Effect.flatMap(wait(settings.startTimeout), () =>
    Effect.fail(
      child.died(
        "start",
        `it was not ready within ${settings.startTimeout} ms: it must call Isolated.serve, or needs a longer startTimeout`
      )
    ))
  return Effect.ensuring(
    Effect.raceFirst(ready, late),
    Effect.sync(() => {
      child.listener = undefined
    })
  )
}

const mismatch = (settings: Settings, serves: Readonly<Record<string, number>>): string | undefined => {
  for (const [name, version] of settings.tasks) {
    if (serves[name] === undefined) {
      const names = Object.keys(serves)
      return `it serves ${names.length === 0 ? "no task" : names.join(", ")} and not ${name}: ` +
        `add Isolated.handler(${name}, ...) to what it serves`
    }
    if (serves[name] !== version) {
      return `it has version ${
        serves[name]
      } of task ${name} and this process has version ${version}: deploy them together`
    }
  }
  return undefined
}

/** A child that is ready for jobs. The scope's end asks it to end, and kills it after the grace period. */
export const start = (
  settings: Settings,
  onLog: (line: Line) => void
): Effect.Effect<Child, IsolateDied, Scope.Scope> =>
  Effect.tap(
    Effect.acquireRelease(Effect.sync(() => new Child(settings, onLog)), (child) => child.stop),
    // a child that never became ready has nothing to close
    (child) => Effect.onError(handshake(child, settings), () => child.kill)
  )
