/**
 * The limit of SQLite through `node:sqlite`: the same move of rows in the same thread on one file, batches of 100 in one
 * transaction each. No runtime, no tasks, no leases.
 */
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import type { Contender, Payload } from "../contender.ts"

const size = 100

interface Row {
  readonly rank: number
  readonly pos: number
  readonly id: string
  readonly payload: string
}

export const contenders: ReadonlyArray<Contender> = [{
  name: "raw statements",
  engine: "sqlite",
  settings: "WAL, synchronous normal, batches of 100, one transaction settles the last and claims the next",
  open: async (place) => {
    const database = new DatabaseSync(join(place.folder, `${place.name}.db`))
    database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
      CREATE TABLE ready (queue INTEGER, rank INTEGER, pos INTEGER, id TEXT NOT NULL, payload TEXT NOT NULL,
        PRIMARY KEY (queue, rank, pos)) WITHOUT ROWID;
      CREATE TABLE active (num INTEGER PRIMARY KEY, id TEXT NOT NULL, payload TEXT NOT NULL, expires INTEGER)`)
    const insert = database.prepare("INSERT INTO ready VALUES (1, 0, ?, ?, ?)")
    const take = database.prepare("SELECT rank, pos, id, payload FROM ready WHERE queue = 1 ORDER BY rank, pos LIMIT ?")
    const gone = database.prepare("DELETE FROM ready WHERE queue = 1 AND rank = ? AND pos = ?")
    const activate = database.prepare("INSERT INTO active VALUES (?, ?, ?, ?)")
    const settle = database.prepare("DELETE FROM active WHERE num = ?")
    let num = 0
    const store = (payloads: ReadonlyArray<Payload>) => {
      database.exec("BEGIN IMMEDIATE")
      for (const payload of payloads) insert.run(++num, String(payload.i), JSON.stringify(payload))
      database.exec("COMMIT")
    }
    return {
      enqueueEach: async (payloads) => {
        for (const payload of payloads) store([payload])
      },
      enqueueMany: async (payloads) => {
        for (let n = 0; n < payloads.length; n += 1_000) store(payloads.slice(n, n + 1_000))
      },
      work: async (_, onJob) => {
        const stopped = new AbortController()
        const loop = (async () => {
          let done: ReadonlyArray<number> = []
          while (!stopped.signal.aborted) {
            database.exec("BEGIN IMMEDIATE")
            for (const pos of done) settle.run(pos)
            const rows = take.all(size) as unknown as ReadonlyArray<Row>
            const expires = Date.now() + 30_000
            for (const { id, payload, pos, rank } of rows) {
              gone.run(rank, pos)
              activate.run(pos, id, payload, expires)
            }
            database.exec("COMMIT")
            for (const { payload } of rows) onJob(JSON.parse(payload) as Payload)
            done = rows.map(({ pos }) => pos)
            await new Promise((resolve) => setImmediate(resolve))
          }
        })()
        return {
          stop: () => {
            stopped.abort()
            return loop
          }
        }
      },
      close: async () => database.close()
    }
  }
}]
