/**
 * A worker in a process of its own. `node child.ts JSON`: see `work.ts` for what it says. At its crash point the whole
 * process stands still, as it is, until it is killed or reads an order:
 *
 * - `go`
 * - `jump MILLIS`: its clock jumps, and it goes on
 * - `burn FILE`: it burns the CPU until the file is there, and goes on
 */
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import { existsSync, readSync, writeSync } from "node:fs"
import { StatementSync } from "node:sqlite"
import { layerOf, type Place } from "./places.ts"
import { type Options, run } from "./work.ts"

export interface Settings extends Options {
  readonly place: Place
  /** SQLite only: it stands still at this statement of the transaction that begins after the crash point */
  readonly statement?: number | undefined
}

const settings = JSON.parse(process.argv[2]!) as Settings

const write = (to: 1 | 2, text: string): void => {
  const bytes = Buffer.from(text)
  for (let from = 0; from < bytes.length;) {
    try {
      from += writeSync(to, bytes, from)
    } catch (error) {
      // the pipe is full for the moment
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error
    }
  }
}
const say = (line: string): void => write(1, `${line}\n`)

// the standard output is for what is said; Effect logs to the console
for (const level of ["log", "info", "warn", "error", "debug"] as const) {
  console[level] = (...parts: ReadonlyArray<unknown>) => write(2, `${parts.map(String).join(" ")}\n`)
}

const order = (): ReadonlyArray<string> => {
  const byte = Buffer.alloc(1)
  let line = ""
  for (;;) {
    if (readSync(0, byte) === 0) process.exit(0)
    if (byte[0] === 10) return line.split(" ")
    line += byte.toString()
  }
}

let jumped = 0
const now = Date.now
Date.now = () => now() + jumped

const standStill = (): void => {
  const [what, how] = order()
  if (what === "jump") jumped += Number(how)
  if (what === "burn") { while (!existsSync(how!)); }
}

/** from `BEGIN` on; a transaction with fewer statements stands still before it is committed */
let statements: number | undefined
if (settings.statement !== undefined) {
  for (const name of ["run", "get", "all"] as const) {
    const original = StatementSync.prototype[name] as (this: StatementSync, ...args: Array<any>) => any
    StatementSync.prototype[name] = function(this: StatementSync, ...args: Array<any>) {
      if (statements !== undefined && (statements > 0 || this.sourceSQL.startsWith("BEGIN IMMEDIATE"))) {
        if (statements === settings.statement || this.sourceSQL === "COMMIT") {
          say(`inside ${statements} ${this.sourceSQL.trim().split(/\s+/).slice(0, 3).join(" ")}`)
          statements = undefined
          standStill()
        } else statements++
      }
      return original.apply(this, args)
    }
  }
}

const stop = (): void => {
  if (settings.statement === undefined) standStill()
  else statements = 0
}

// whoever started it may be killed himself
const parent = process.ppid
setInterval(() => {
  if (process.ppid !== parent) process.exit(1)
}, 1_000).unref()

process.once("SIGTERM", () => process.exit(0))
say("begin")
await Effect.runPromise(
  run(settings, { say, stop }).pipe(
    Effect.provide(layerOf(settings.place)),
    Effect.provideService(References.MinimumLogLevel, "Warn")
  )
)
