/** A worker on the memory backend whose handlers run in processes, and what a test hears of them. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Queue from "effect/Queue"
import * as References from "effect/References"
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import * as Capability from "windlass/Capability"
import * as Isolated from "windlass/isolation/Isolated"
import type * as Middleware from "windlass/Middleware"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { memory } from "../support/backends.ts"
import { Again, Odd, Quick, Short, Undeclared } from "./tasks.ts"

/** processes read the sources too, on a machine that may be busy */
export const options = (name = "handlers.isolate.ts"): Isolated.Options => ({
  module: new URL(`./${name}`, import.meta.url),
  execArgv: ["--conditions=windlass-source", "--disable-warning=ExperimentalWarning"],
  startTimeout: "1 minute",
  grace: "20 seconds"
})

const script = fileURLToPath(new URL("./parent.ts", import.meta.url))

export interface Line {
  readonly level: string
  readonly message: string
  readonly annotations: Readonly<Record<string, unknown>>
}

export interface Heard {
  readonly lines: Array<Line>
  /** what handlers reported, in order */
  readonly progress: Queue.Queue<{ readonly id: string; readonly value: unknown }>
  /** waits for a line of the log with these words */
  readonly line: (words: string) => Effect.Effect<Line>
}

/** whether a process is there */
export const isThere = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** a whole worker in a process of its own: what it prints, line by line, and its end */
export const program = (what: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(
        process.execPath,
        ["--conditions=windlass-source", "--disable-warning=ExperimentalWarning", script, what],
        { stdio: ["pipe", "pipe", "inherit"] }
      )
      const lines: Array<string> = []
      const waiting = new Set<() => void>()
      let end: number | NodeJS.Signals | null | undefined
      const notify = () => {
        for (const look of Array.from(waiting)) look()
      }
      createInterface(child.stdout).on("line", (line) => {
        lines.push(line)
        notify()
      })
      // after the end of the process and of everything that has its output open
      child.once("close", (code, signal) => {
        end = signal ?? code
        notify()
      })
      const until = <A>(found: () => A | undefined) =>
        Effect.callback<A>((resume) => {
          const look = () => {
            const one = found()
            if (one === undefined) return
            waiting.delete(look)
            resume(Effect.succeed(one))
          }
          waiting.add(look)
          look()
        })
      return {
        lines,
        line: (words: string) => until(() => lines.find((line) => line.includes(words))),
        closed: until(() => end),
        kill: (signal: NodeJS.Signals) => void child.kill(signal),
        say: (line: string) => void child.stdin.write(`${line}\n`)
      }
    }),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )

/** runs a program beside a worker that has everything in processes; all is over when it returns */
export const beside = <A, E>(
  settings: Partial<Isolated.Options> & {
    readonly worker?: Worker.Settings & { readonly middleware?: ReadonlyArray<Middleware.Inline> }
  },
  program: (heard: Heard) => Effect.Effect<
    A,
    E,
    Layer.Success<ReturnType<typeof memory>> | Worker.Worker
  >
): Effect.Effect<A, unknown> =>
  Effect.gen(function*() {
    const lines: Array<Line> = []
    const waiting = new Set<() => void>()
    const logger = Logger.make<unknown, void>(({ fiber, logLevel, message }) => {
      lines.push({
        level: logLevel,
        message: (Array.isArray(message) ? message : [message]).map(String).join(" "),
        annotations: fiber.getRef(References.CurrentLogAnnotations)
      })
      for (const look of waiting) look()
    })
    const progress = yield* Queue.unbounded<{ readonly id: string; readonly value: unknown }>()
    const heard: Heard = {
      lines,
      progress,
      line: (words) =>
        Effect.callback((resume) => {
          const look = () => {
            const found = lines.find(({ message }) => message.includes(words))
            if (found === undefined) return
            waiting.delete(look)
            resume(Effect.succeed(found))
          }
          waiting.add(look)
          look()
        })
    }
    const heardInspect = Layer.effect(
      Capability.Inspect,
      Effect.map(Capability.Inspect, (inspect) => ({
        ...inspect,
        progress: (receipt: Parameters<typeof inspect.progress>[0], value: string) =>
          Effect.tap(
            inspect.progress(receipt, value),
            () => Queue.offer(progress, { id: receipt.id, value: JSON.parse(value) as unknown })
          )
      }))
    )
    const { worker, ...isolated } = settings
    const layer = Worker.layer(TaskGroup.make(Odd, Again, Short, Undeclared, Quick), { logJobs: false, ...worker })
      .pipe(
        Layer.provide(Isolated.toLayer([Odd, Again, Short, Undeclared, Quick], { pool: 1, ...options(), ...isolated })),
        Layer.provideMerge(heardInspect),
        Layer.provideMerge(memory()),
        Layer.provide(Logger.layer([logger]))
      )
    return yield* Effect.provide(program(heard), layer)
  })
