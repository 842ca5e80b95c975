/**
 * The index: an SQLite file of its own, next to the queue's. A row is written by its path (`ON CONFLICT ... DO UPDATE`),
 * so a job that runs twice (at least once is what a queue can promise) leaves one row. The calls are synchronous and
 * take microseconds; a database that fails is a defect of the attempt, and the attempt is tried again.
 */
import { Context, Effect, Layer, Schema } from "effect"
import { sep } from "node:path"
import { DatabaseSync } from "node:sqlite"
import type { Content } from "./content.ts"

/** "Tree": `PRAGMA application_id` of an index */
const applicationId = 0x54726565

const schema = `
  CREATE TABLE files (
    path TEXT PRIMARY KEY,
    dir TEXT NOT NULL,
    type TEXT,                  -- by name, or "text" and "binary" by content
    bytes INTEGER,
    lines INTEGER,
    gzip INTEGER,               -- bytes when compressed
    sha256 TEXT,
    modified INTEGER,           -- milliseconds since the epoch
    error TEXT,                 -- tag of what went wrong; NULL when nothing did
    detail TEXT,
    indexed INTEGER NOT NULL    -- when this row was written, milliseconds since the epoch
  ) STRICT;
  CREATE INDEX files_dir ON files (dir);
  CREATE TABLE directories (
    path TEXT PRIMARY KEY,
    parent TEXT NOT NULL,
    files INTEGER NOT NULL,     -- regular files in it, not below
    others INTEGER NOT NULL,    -- symbolic links, pipes, sockets, devices: neither followed nor indexed
    error TEXT,
    detail TEXT
  ) STRICT;
  CREATE INDEX directories_parent ON directories (parent);
  CREATE TABLE runs (
    run INTEGER PRIMARY KEY,
    root TEXT NOT NULL,
    started INTEGER NOT NULL,
    finished INTEGER
  ) STRICT;
  PRAGMA application_id = ${applicationId};
`

/** The index cannot be used. `message` says why and what to do. */
export class IndexError extends Schema.TaggedError<IndexError>()("IndexError", { message: Schema.String }) {}

/** What the index knows about a file. */
export interface Known {
  readonly path: string
  readonly bytes: number | null
  readonly modified: number | null
  readonly error: string | null
  /** when that was written, in milliseconds since the epoch */
  readonly indexed: number
}

export interface Failure {
  readonly path: string
  readonly dir: string
  readonly type: string | undefined
  readonly bytes: number | null
  readonly modified: number | null
  /** the tag */
  readonly error: string
  readonly detail: string
}

export interface Totals {
  readonly files: number
  readonly failed: number
  readonly bytes: number
  readonly directories: number
  readonly others: number
  readonly errors: ReadonlyArray<{ readonly error: string; readonly files: number; readonly example: string }>
}

export class Index extends Context.Service<Index, {
  /** a new run over the tree below `root`; walks of earlier ones are out of date from now on */
  readonly begin: (root: string) => Effect.Effect<{ readonly run: number; readonly continues: boolean }>
  readonly finish: (run: number) => Effect.Effect<void>
  /** the last run over this tree; `started` in milliseconds since the epoch */
  readonly latest: (root: string) => Effect.Effect<{ readonly run: number; readonly started: number }>
  /** the files of one directory, by path */
  readonly known: (directory: string) => Effect.Effect<ReadonlyMap<string, Known>>
  readonly save: (
    file: Content & { readonly path: string; readonly dir: string; readonly type: string; readonly modified: number }
  ) => Effect.Effect<void>
  /** the row of a file that could not be indexed */
  readonly fail: (failure: Failure) => Effect.Effect<void>
  /** forgets a file, or a directory with everything below it */
  readonly forget: (path: string) => Effect.Effect<void>
  /** what a directory holds now: rows of what it no longer holds are removed */
  readonly listed: (directory: {
    readonly path: string
    readonly parent: string
    readonly files: ReadonlySet<string>
    readonly directories: ReadonlySet<string>
    readonly others: number
  }) => Effect.Effect<void>
  readonly unlisted: (directory: {
    readonly path: string
    readonly parent: string
    readonly error: string
    readonly detail: string
  }) => Effect.Effect<void>
  readonly totals: (root: string) => Effect.Effect<Totals>
}>()("tree/Index") {}

const open = (filename: string): DatabaseSync => {
  const db = new DatabaseSync(filename, { timeout: 5_000 })
  const id = Number(db.prepare("PRAGMA application_id").get()?.["application_id"])
  const tables = Number(db.prepare("SELECT count(*) AS n FROM sqlite_master").get()?.["n"])
  if (id !== applicationId && (id !== 0 || tables > 0)) {
    db.close()
    throw new IndexError({ message: `${filename} is a database of something else: name another file with --db` })
  }
  // what the queue forgets because a job is done must be in the index by then, also after kill -9: WAL gives that
  db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
  db.exec("BEGIN IMMEDIATE")
  if (Number(db.prepare("PRAGMA application_id").get()?.["application_id"]) !== applicationId) db.exec(schema)
  db.exec("COMMIT")
  return db
}

const afterSep = String.fromCharCode(sep.charCodeAt(0) + 1)

/** everything below a directory is what sorts between `dir/` and `dir0`, since `0` comes after `/` */
const range = (directory: string): readonly [string, string] => {
  const prefix = directory.endsWith(sep) ? directory.slice(0, -sep.length) : directory
  return [`${prefix}${sep}`, `${prefix}${afterSep}`]
}

const make = (db: DatabaseSync): Index["Service"] => {
  const latest = db.prepare("SELECT run, started FROM runs WHERE root = ? ORDER BY run DESC LIMIT 1")
  const known = db.prepare("SELECT path, bytes, modified, error, indexed FROM files WHERE dir = ?")
  const put = db.prepare(`
    INSERT INTO files (path, dir, type, bytes, lines, gzip, sha256, modified, error, detail, indexed)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (path) DO UPDATE SET type = excluded.type, bytes = excluded.bytes, lines = excluded.lines,
      gzip = excluded.gzip, sha256 = excluded.sha256, modified = excluded.modified, error = excluded.error,
      detail = excluded.detail, indexed = excluded.indexed`)
  const putDirectory = db.prepare(`
    INSERT INTO directories (path, parent, files, others, error, detail) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (path) DO UPDATE SET files = excluded.files, others = excluded.others, error = excluded.error,
      detail = excluded.detail`)
  const children = db.prepare("SELECT path FROM directories WHERE parent = ?")
  const dropFile = db.prepare("DELETE FROM files WHERE path = ?")
  const dropFiles = db.prepare("DELETE FROM files WHERE path >= ? AND path < ?")
  const dropDirectories = db.prepare("DELETE FROM directories WHERE path = ? OR (path >= ? AND path < ?)")

  const forget = (path: string) => {
    const below = range(path)
    dropFile.run(path)
    dropFiles.run(...below)
    dropDirectories.run(path, ...below)
  }
  const atomically = (f: () => void) =>
    Effect.sync(() => {
      db.exec("BEGIN IMMEDIATE")
      try {
        f()
        db.exec("COMMIT")
      } catch (cause) {
        if (db.isTransaction) db.exec("ROLLBACK")
        throw cause
      }
    })

  return {
    begin: (root) =>
      Effect.sync(() => {
        const before = db.prepare("SELECT run, finished FROM runs WHERE root = ? ORDER BY run DESC LIMIT 1").get(root)
        const { lastInsertRowid } = db.prepare("INSERT INTO runs (root, started) VALUES (?, ?)").run(root, Date.now())
        return { run: Number(lastInsertRowid), continues: before !== undefined && before["finished"] === null }
      }),
    finish: (run) =>
      Effect.sync(() => void db.prepare("UPDATE runs SET finished = ? WHERE run = ?").run(Date.now(), run)),
    latest: (root) => Effect.sync(() => latest.get(root) as { readonly run: number; readonly started: number }),
    known: (directory) =>
      Effect.sync(() => new Map(known.all(directory).map((row) => [String(row["path"]), row as unknown as Known]))),
    save: (file) =>
      Effect.sync(() => {
        const { bytes, dir, gzip, lines, modified, path, sha256, type } = file
        put.run(path, dir, type, bytes, file.isText ? lines : null, gzip, sha256, modified, null, null, Date.now())
      }),
    fail: (failure) =>
      Effect.sync(() => {
        const { bytes, detail, dir, error, modified, path, type } = failure
        put.run(path, dir, type ?? null, bytes, null, null, null, modified, error, detail, Date.now())
      }),
    forget: (path) => atomically(() => forget(path)),
    listed: (directory) =>
      atomically(() => {
        for (const { path } of known.all(directory.path)) {
          if (!directory.files.has(String(path))) dropFile.run(path!)
        }
        for (const { path } of children.all(directory.path)) {
          if (!directory.directories.has(String(path))) forget(String(path))
        }
        putDirectory.run(directory.path, directory.parent, directory.files.size, directory.others, null, null)
      }),
    unlisted: ({ detail, error, parent, path }) =>
      Effect.sync(() => void putDirectory.run(path, parent, 0, 0, error, detail)),
    totals: (root) =>
      Effect.sync(() => {
        const below = range(root)
        const files = db.prepare(
          `SELECT count(*) AS files, count(error) AS failed, coalesce(sum(bytes), 0) AS bytes FROM files
           WHERE path >= ? AND path < ?`
        ).get(...below)
        const directories = db.prepare(
          `SELECT count(*) AS directories, coalesce(sum(others), 0) AS others FROM directories
           WHERE path = ? OR (path >= ? AND path < ?)`
        ).get(root, ...below)
        const errors = db.prepare(
          `SELECT error, count(*) AS files, min(path) AS example FROM (
             SELECT path, error FROM files UNION ALL SELECT path || '${sep}', error FROM directories)
           WHERE error IS NOT NULL AND path >= ? AND path < ? GROUP BY error ORDER BY files DESC`
        ).all(...below)
        return { ...files, ...directories, errors } as unknown as Totals
      })
  }
}

export const layer = (filename: string): Layer.Layer<Index, IndexError> =>
  Layer.effect(
    Index,
    Effect.map(
      Effect.acquireRelease(
        Effect.try({
          try: () => open(filename),
          catch: (cause) =>
            cause instanceof IndexError ? cause : new IndexError({ message: `${filename} cannot be opened: ${cause}` })
        }),
        (db) => Effect.sync(() => db.close())
      ),
      make
    )
  )
