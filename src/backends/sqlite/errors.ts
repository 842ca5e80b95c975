/**
 * What SQLite reports, as a `BackendError` that says what to do about it.
 *
 * @since 0.1.0
 */
import { BackendError } from "../../Backend.ts"

/** how far a call had come: what failed in a commit may have been written all the same */
export type Stage = "before" | "commit"

/** the primary result code of SQLite, or `undefined` when the cause is none of its errors */
export const codeOf = (cause: unknown): number | undefined =>
  typeof cause === "object" && cause !== null && "errcode" in cause && typeof cause.errcode === "number"
    ? cause.errcode & 0xff
    : undefined

const BUSY = 5
const LOCKED = 6
const NOMEM = 7
const READONLY = 8
const IOERR = 10
const CORRUPT = 11
const FULL = 13
const CANTOPEN = 14
const NOTADB = 26

/** somebody else is writing: trying again a little later helps */
export const isBusy = (cause: unknown): boolean => {
  const code = codeOf(cause)
  return code === BUSY || code === LOCKED
}

const retryables: ReadonlySet<number> = new Set([BUSY, LOCKED, NOMEM, IOERR, FULL])

const advice = (code: number | undefined, filename: string): string => {
  switch (code) {
    case BUSY:
    case LOCKED:
      return `another process holds the write lock of ${filename} for too long: end its transaction, or raise lockTimeout`
    case READONLY:
      return `${filename} cannot be written: give this process write permission on the file and its directory, and ` +
        `mount the file system for writing`
    case FULL:
      return `the disk that holds ${filename} is full: free space on it; nothing that was stored is lost`
    case CANTOPEN:
      return `${filename} cannot be opened: the directory must exist and be writable for this process, and the name ` +
        `must not be a directory`
    case NOTADB:
      return `${filename} is not an SQLite database: name a file of its own for the queue`
    case CORRUPT:
      return `${filename} is damaged: restore it from a backup, or save what can be read with the .recover command of ` +
        `the sqlite3 shell. Network file systems and copying an open file are the usual reasons`
    case IOERR:
      return `reading or writing ${filename} failed: look at the disk; network file systems are not supported`
    default:
      return `SQLite refused the call on ${filename}`
  }
}

export const fromCause = (
  backend: string,
  operation: string,
  filename: string,
  cause: unknown,
  stage: Stage = "before"
): BackendError => {
  const code = codeOf(cause)
  const said = cause instanceof Error ? cause.message : String(cause)
  return new BackendError({
    backend,
    operation,
    message: `${advice(code, filename)} (${said})`,
    retryable: code !== undefined && retryables.has(code),
    // a full disk cannot take the commit record either; an I/O error may strike after it was written
    outcome: stage === "commit" && code !== FULL && code !== BUSY ? "Unknown" : "NotApplied",
    cause
  })
}

/** a call that is wrong in itself: trying again never helps */
export const refusal = (backend: string, operation: string, message: string): BackendError =>
  new BackendError({ backend, operation, message, retryable: false, outcome: "NotApplied" })
