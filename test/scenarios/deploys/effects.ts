/**
 * What a handler does to the world: one row per run, in a table that forbids nothing, so that a job that ran twice has two.
 */
import * as Effect from "effect/Effect"
import { writeSync } from "node:fs"
import { createInterface } from "node:readline"
import { DatabaseSync } from "node:sqlite"
import * as Job from "windlass/Job"

export interface Row {
  readonly job: string
  /** which version ran it */
  readonly worker: string
  /** the handler that ran it, and what it made of the payload */
  readonly said: string
}

const open = (filename: string): DatabaseSync => {
  const database = new DatabaseSync(filename)
  database.exec("PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL")
  database.exec("CREATE TABLE IF NOT EXISTS effect (job TEXT NOT NULL, worker TEXT NOT NULL, said TEXT NOT NULL)")
  return database
}

export const read = (filename: string): ReadonlyArray<Row> => {
  const database = open(filename)
  const rows = database.prepare("SELECT job, worker, said FROM effect ORDER BY job").all()
  database.close()
  return rows.map((row) => ({ ...row }) as unknown as Row)
}

/** a line for the parent, written before the next step is taken */
export const say = (line: string): void => void writeSync(1, `${line}\n`)

/** any line on the input */
const order = Effect.callback<void>((resume) => {
  const input = createInterface({ input: process.stdin })
  input.once("line", () => {
    process.stdin.destroy()
    resume(Effect.void)
  })
})

/** a job whose id begins with `held` waits for the parent's order */
export const handlerOf = (filename: string) => {
  const database = open(filename)
  const insert = database.prepare("INSERT INTO effect (job, worker, said) VALUES (?, ?, ?)")
  return (said: string) =>
    Effect.gen(function*() {
      const job = yield* Job.Current
      if (job.id.startsWith("held")) {
        say(`holds ${job.id}`)
        yield* order
      }
      insert.run(job.id, job.worker.id, said)
      say(`did ${job.id}`)
    })
}

export type Handler = ReturnType<typeof handlerOf>
