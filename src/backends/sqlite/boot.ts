/**
 * Which start of the machine the file's leases are counted from. Leases stand on the clock that counts from it, which all
 * processes share and nobody sets. Whoever held one before the machine was started again is gone, so the first process
 * that opens the file afterwards ends them all.
 *
 * @since 0.1.0
 */
import { readFileSync } from "node:fs"
import type { DatabaseSync } from "node:sqlite"

/** milliseconds: where the system gives a start no name it is known by its time, which moves a little with every setting */
const tolerance = 60_000

const nameOf = (): string => {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim()
  } catch {
    return ""
  }
}

interface Start {
  readonly id: string
  readonly began: number
}

const isSame = (seen: Start, now: Start): boolean =>
  seen.id === now.id && (now.id !== "" || Math.abs(seen.began - now.began) <= tolerance)

/** called when the file is opened */
export const began = (database: DatabaseSync): void => {
  const now: Start = { id: nameOf(), began: Date.now() - Number(process.hrtime.bigint() / 1_000_000n) }
  const find = database.prepare("SELECT id, began FROM boot WHERE one = 1")
  const isKnown = () => {
    const seen = find.get() as unknown as Start | undefined
    return seen !== undefined && isSame(seen, now)
  }
  if (isKnown()) return
  database.exec("BEGIN IMMEDIATE")
  try {
    // of several that open it at once, the first has done it
    if (!isKnown()) {
      database.prepare("INSERT OR REPLACE INTO boot (one, id, began) VALUES (1, ?, ?)").run(now.id, now.began)
      database.exec("UPDATE active SET lease = 0; UPDATE leader SET expires = 0")
    }
    database.exec("COMMIT")
  } catch (cause) {
    if (database.isTransaction) database.exec("ROLLBACK")
    throw cause
  }
}
