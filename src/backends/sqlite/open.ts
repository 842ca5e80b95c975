/**
 * Opening the file: recognise it, bring its schema up to date, and set up the connection. A file that is not ours, or
 * newer than we are, is left exactly as it was.
 *
 * @since 0.1.0
 */
import { existsSync } from "node:fs"
import { dirname } from "node:path"
import { DatabaseSync } from "node:sqlite"
import type { BackendError } from "../../Backend.ts"
import { began } from "./boot.ts"
import { isBusy, refusal } from "./errors.ts"
import { applicationId, latest, migrations, unreleased } from "./schema.ts"

export interface Settings {
  readonly name: string
  readonly filename: string
  readonly synchronous: "normal" | "full"
  /** milliseconds that one try for the write lock may hold up the event loop */
  readonly busyTimeout: number
}

/** what is wrong with the file itself, apart from what SQLite reports */
export class Foreign extends Error {
  readonly error: BackendError
  constructor(error: BackendError) {
    super(error.message)
    this.error = error
  }
}

/** what SQLite takes: 31 bits of milliseconds */
const longestTimeout = 2 ** 31 - 1

/** throws `Foreign`, or SQLite's own error: busy ones are worth another try */
export const open = (settings: Settings): DatabaseSync => {
  const { filename } = settings
  const directory = dirname(filename)
  if (filename !== ":memory:" && !filename.startsWith("file:") && !existsSync(directory)) {
    throw foreign(settings, `the directory ${directory} of ${filename} does not exist: create it first`)
  }
  // no time-out while opening: whoever finds the file busy tries again without holding up the event loop
  const database = new DatabaseSync(filename, { timeout: 0, enableForeignKeyConstraints: false })
  try {
    // before the first table: it cannot be changed later
    if (recognise(database, settings) === 0) database.exec("PRAGMA auto_vacuum = INCREMENTAL")
    database.exec("PRAGMA journal_mode = WAL")
    migrate(database, settings)
    began(database)
    checkWritable(database)
    database.exec(`
      PRAGMA synchronous = ${settings.synchronous === "full" ? "FULL" : "NORMAL"};
      PRAGMA busy_timeout = ${Math.min(Math.max(0, Math.round(settings.busyTimeout)), longestTimeout)};
      PRAGMA cache_size = -16384;
      PRAGMA temp_store = MEMORY;
    `)
    return database
  } catch (cause) {
    database.close()
    throw cause
  }
}

export const pragma = (database: DatabaseSync, name: string): number =>
  Number(Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0])

/** the version of the schema that the file has: 0 when it is empty */
const recognise = (database: DatabaseSync, settings: Settings): number => {
  const { filename } = settings
  const { id, tables, version } = marks(database)
  if (id === applicationId) {
    if (version > 0 && version <= unreleased) {
      throw foreign(
        settings,
        `${filename} has version ${version} of the queue's schema, which is of a windlass that was never released: name ` +
          `another file, or remove this one with the jobs in it`
      )
    }
    if (version <= latest) return version
    throw foreign(
      settings,
      `${filename} has version ${version} of the queue's schema, this windlass knows versions up to ` +
        `${latest}: upgrade windlass in this process, or name another file`
    )
  }
  if (id !== 0) {
    throw foreign(
      settings,
      `${filename} belongs to another application (application_id 0x${(id >>> 0).toString(16)}, a windlass queue has ` +
        `0x${applicationId.toString(16)}): name a file of its own for the queue`
    )
  }
  if (tables.length > 0 || version !== 0) {
    const found = tables.length > 0
      ? `the tables ${tables.slice(0, 3).join(", ")}${tables.length > 3 ? ", ..." : ""}`
      : `user_version ${version}`
    throw foreign(
      settings,
      `${filename} is a database of something else (it has ${found}, and no mark of a windlass queue): name a file of ` +
        `its own for the queue`
    )
  }
  return 0
}

interface Marks {
  readonly id: number
  readonly version: number
  /** the first few, and views */
  readonly tables: ReadonlyArray<string>
}

/** what the file says that it is, all of one moment: another process may be about to make the queue in it */
const marks = (database: DatabaseSync): Marks => {
  const isOwn = !database.isTransaction
  if (isOwn) database.exec("BEGIN")
  try {
    return {
      id: pragma(database, "application_id"),
      version: pragma(database, "user_version"),
      tables: database.prepare("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name LIMIT 4")
        .all().map(({ name }) => String(name))
    }
  } finally {
    if (isOwn) database.exec("COMMIT")
  }
}

/** several processes may do this at once: the first to get the lock does it, the others find it done */
const migrate = (database: DatabaseSync, settings: Settings): void => {
  if (recognise(database, settings) === latest) return
  database.exec("BEGIN IMMEDIATE")
  try {
    const version = recognise(database, settings)
    for (const migration of migrations.slice(Math.max(0, version - unreleased))) database.exec(migration)
    database.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${latest}`)
    database.exec("COMMIT")
  } catch (cause) {
    if (database.isTransaction) database.exec("ROLLBACK")
    throw cause
  }
}

/** SQLite opens a file that it may not write all the same, and would only fail at the first job */
const checkWritable = (database: DatabaseSync): void => {
  try {
    database.exec("BEGIN IMMEDIATE; UPDATE sequence SET value = value; ROLLBACK")
  } catch (cause) {
    // somebody else is writing, so it can be written
    if (!isBusy(cause)) throw cause
  }
}

const foreign = (settings: Settings, message: string): Foreign => new Foreign(refusal(settings.name, "open", message))
