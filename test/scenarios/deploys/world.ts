/**
 * One queue, one table of effects, and the processes of both versions: started, listened to line by line, ended. Everything
 * is gone when it is disposed of.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import * as Capability from "windlass/Capability"
import * as effects from "./effects.ts"
import { produce, type Version } from "./produce.ts"
import { open, type Place, type Services } from "./queue.ts"

const script = join(import.meta.dirname, "child.ts")

export class Child {
  readonly lines: Array<string> = []
  /** the exit code, or the signal that ended it */
  readonly ended: Promise<number | string | null>
  readonly process: ChildProcess
  private readonly onLine: () => void
  private errors = ""
  private over = false

  constructor(args: ReadonlyArray<string>, onLine: () => void) {
    this.onLine = onLine
    this.process = spawn(process.execPath, ["--conditions=windlass-source", "--no-warnings", script, ...args], {
      stdio: ["pipe", "pipe", "pipe"]
    })
    createInterface({ input: this.process.stdout! }).on("line", (line) => {
      this.lines.push(line)
      this.onLine()
    })
    this.process.stderr!.on("data", (chunk) => this.errors += String(chunk))
    this.process.stdin!.on("error", () => {})
    this.ended = new Promise((resolve) =>
      this.process.once("close", (code, signal) => {
        this.over = true
        resolve(code ?? signal)
        this.onLine()
      })
    )
  }

  count(text: string): number {
    return this.lines.filter((line) => line.includes(text)).length
  }

  get failure(): string | undefined {
    return this.over ? `it ended: ${this.lines.slice(-5).join(" | ")} ${this.errors}` : undefined
  }

  order(): void {
    this.process.stdin!.write("\n")
  }

  /** asks it to stop, as a deploy does */
  async drained(): Promise<number | string | null> {
    this.process.kill("SIGTERM")
    return this.ended
  }
}

export class World {
  readonly place: Place
  private readonly folder = mkdtempSync(join(tmpdir(), "windlass-deploys-"))
  private readonly effectsFile = join(this.folder, "effects.db")
  private readonly children: Array<Child> = []
  private readonly clean: (place: Place) => Promise<void>
  private readonly waiting = new Set<() => void>()
  /** lines about jobs that a test wants to see dead */
  readonly expected = new Set<string>()
  private fault: string | undefined

  constructor(at: (folder: string) => Place, clean: (place: Place) => Promise<void>) {
    this.place = at(this.folder)
    this.clean = clean
  }

  private start(role: string, version: Version, args: ReadonlyArray<string>): Child {
    const { engine, space, where } = this.place
    const child = new Child([role, version, engine, where, space, ...args], () => {
      for (const look of Array.from(this.waiting)) look()
    })
    this.children.push(child)
    return child
  }

  /** a worker of that version; resolves when it is there */
  async worker(version: Version, options: { readonly unknownFor?: number } = {}): Promise<Child> {
    const child = this.start("work", version, [this.effectsFile, String(options.unknownFor ?? 3_600_000)])
    await this.until(() => child.count("ready") > 0, child)
    return child
  }

  /** the ids that a producer of that version stored; `tasks` says how many of which */
  produce(version: Version, prefix: string, tasks: Readonly<Record<string, number>>): Promise<ReadonlyArray<string>> {
    return this.ask(produce(version, prefix, tasks))
  }

  /** as `produce`, in a process of its own */
  async producer(
    version: Version,
    prefix: string,
    tasks: Readonly<Record<string, number>>
  ): Promise<ReadonlyArray<string>> {
    const child = this.start("produce", version, [prefix, JSON.stringify(tasks)])
    const code = await child.ended
    if (code !== 0) throw new Error(`the ${version} producer failed (${code}); ${child.failure}`)
    return child.lines.filter((line) => line.startsWith("stored ")).map((line) => line.slice("stored ".length))
  }

  /** waits until so; looks whenever a child says something, and gives up when the child that it is about has ended */
  until(isSo: () => boolean, about?: Child): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const done = isSo()
        const failure = done ? undefined : about?.failure ?? this.fault
        if (!done && failure === undefined) return
        this.waiting.delete(look)
        if (done) resolve()
        else reject(new Error(failure))
      }
      this.waiting.add(look)
      look()
    })
  }

  /** waits until all of these have run; a job that died instead is the end of it */
  async ran(ids: ReadonlyArray<string>): Promise<void> {
    this.fault = undefined
    await this.until(() => {
      const said = new Set(this.children.flatMap(({ lines }) => lines))
      const dead = Array.from(said).filter((line) => line.startsWith("dead ") && !this.expected.has(line))
      if (dead.length > 0) this.fault = dead.join(", ")
      return ids.every((id) => said.has(`did ${id}`))
    })
  }

  effects(): ReadonlyArray<effects.Row> {
    return effects.read(this.effectsFile)
  }

  /** what the queue says */
  ask<A, E>(effect: Effect.Effect<A, E, Services>): Promise<A> {
    return Effect.runPromise(Effect.provide(effect, open(this.place)))
  }

  counts(): Promise<Capability.Counts> {
    return this.ask(Effect.flatMap(Capability.Inspect, (inspect) => inspect.counts("default")))
  }

  /** who did what to a job, without what everybody does */
  history(id: string): Promise<ReadonlyArray<string>> {
    return this.ask(
      Effect.flatMap(
        Capability.Inspect,
        (inspect) =>
          Effect.map(
            inspect.get(id),
            (job) =>
              Option.getOrThrow(job).history.map(({ event, worker }) =>
                worker === undefined ? event : `${event} by ${worker}`
              )
          )
      )
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.children) child.process.kill("SIGKILL")
    await Promise.all(this.children.map(({ ended }) => ended))
    rmSync(this.folder, { recursive: true, force: true })
    await this.clean(this.place)
  }
}
