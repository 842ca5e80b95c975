/** What the tasks do. Everything around it (opening, closing, recording failures) is middleware. */
import { ByteSize, Effect, FileSystem, Option, Path } from "effect"
import * as Crypto from "node:crypto"
import { Capability, Decide, Enqueue, Job } from "windlass"
import { read } from "./content.ts"
import { isGone, orGone, unreadable } from "./middleware.ts"
import { Stats } from "./stats.ts"
import { Index, type Known } from "./store.ts"
import {
  Facts,
  Handle,
  IndexFile,
  NotText,
  type Subject,
  type TooLarge,
  type Unreadable,
  WalkDirectory
} from "./tasks.ts"
import { promisesText, typeOfName } from "./types.ts"

// ------------------------------------------------------------------------------------------------------------- file

export const IndexFileLive = IndexFile.toLayer(Effect.gen(function*() {
  const path = yield* Path.Path
  const index = yield* Index
  return Effect.fnUntraced(function*(seen) {
    const name = path.basename(seen.path)
    const facts = yield* Facts
    const content = yield* read(yield* Handle, { path: seen.path, bytes: facts.bytes }).pipe(
      Effect.catchTag("PlatformError", (error) => Effect.fail(unreadable(error, seen.path)))
    )
    if (promisesText(name) && !content.isText) return yield* new NotText({ path: seen.path })
    yield* index.save({
      ...content,
      path: seen.path,
      dir: path.dirname(seen.path),
      type: typeOfName(name) ?? (content.isText ? "text" : "binary"),
      // of before it was read: a change meanwhile is found by the next run
      modified: facts.modified
    })
  })
}))

// -------------------------------------------------------------------------------------------------------- directory

type Seen = typeof Subject.Service

const hash = (text: string) => Crypto.createHash("sha256").update(text).digest("hex").slice(0, 32)

/** The same file in the same state has the same id, so walking twice, after a crash, enqueues nothing twice. */
const idOfFile = (seen: Seen) => `file-${hash(seen.path)}-${seen.bytes ?? "?"}-${seen.modified ?? "?"}`

const idOfWalk = (walk: { readonly path: string; readonly run: number }) => `walk-${walk.run}-${hash(walk.path)}`

/** jobs of one call; a crash between two calls loses nothing, because the walk of this directory then runs again */
const batch = 250

/** A directory, or the root of the tree: enqueued before files, so that it is soon known how much there is to do. */
export const enqueueWalks = (walks: ReadonlyArray<typeof WalkDirectory.payloadSchema.Type>) =>
  WalkDirectory.enqueueMany(walks).pipe(Enqueue.id(idOfWalk), Enqueue.priority(1))

const enqueueFiles = (files: ReadonlyArray<Seen>) =>
  Effect.forEach(
    Array.from({ length: Math.ceil(files.length / batch) }, (_, i) => files.slice(i * batch, (i + 1) * batch)),
    (some) => IndexFile.enqueueMany(some).pipe(Enqueue.id(idOfFile)),
    { discard: true }
  )

/** without an error, or with one that stays until the file changes; every other is worth a new try in every run */
const lasting: ReadonlyArray<string | null> = [null, "NotText", "TooLarge"] satisfies ReadonlyArray<
  (NotText | TooLarge)["_tag"] | null
>

const isDone = (seen: Seen, known: Known | undefined) =>
  known !== undefined && seen.bytes !== null && seen.modified !== null
  && known.bytes === seen.bytes && known.modified === seen.modified
  && lasting.includes(known.error)

export const WalkDirectoryLive = (options: { readonly except: ReadonlySet<string> }) =>
  WalkDirectory.toLayer(Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const index = yield* Index
    const stats = yield* Stats
    const deadLetters = yield* Capability.DeadLetter

    /** undefined when it has vanished meanwhile, facts missing when the system does not tell them */
    const look = (file: string): Effect.Effect<Seen | undefined> =>
      fs.lstat(file).pipe(
        Effect.map((info) => ({
          path: file,
          bytes: Number(ByteSize.toBigInt(info.size)),
          modified: Option.match(info.mtime, { onNone: () => null, onSome: (date) => date.getTime() })
        })),
        Effect.catch((error) =>
          Effect.succeed(isGone(error, file) ? undefined : { path: file, bytes: null, modified: null })
        )
      )

    const recordUnlisted = (here: { readonly path: string; readonly parent: string }, error: Unreadable) =>
      index.unlisted({ ...here, error: error._tag, detail: error.reason })

    /** after the last attempt a dead letter would be of no use: every run walks anew, under another id */
    const givenUp = (error: Unreadable): Effect.Effect<never, Unreadable | Decide.Decide, Job.Current> =>
      Effect.flatMap(Job.Current, (job) => Effect.fail(job.lastAttempt ? Decide.discard(error._tag) : error))

    /** a dead letter keeps its id, so a file that failed for good is put back with its history, not enqueued again */
    const revived = (seen: Seen) => Effect.orDie(deadLetters.retry(idOfFile(seen)))

    return Effect.fnUntraced(function*(walk) {
      const { run, started } = yield* index.latest(walk.root)
      if (run > walk.run) return yield* Decide.discard("Superseded")
      const here = { path: walk.path, parent: path.dirname(walk.path) }
      const entries = yield* fs.readDirectoryEntries(walk.path).pipe(
        Effect.catch(orGone(index, walk.path)),
        Effect.catchTag("Unreadable", (error) => Effect.andThen(recordUnlisted(here, error), givenUp(error)))
      )
      const inside = (type: FileSystem.File.Type) =>
        entries.filter((entry) => entry.type === type).map((entry) => path.join(walk.path, entry.name))
      // links are not followed: what they point to is in the tree under its own name, or is not of the tree
      const directories = inside("Directory")
      const files = inside("File").filter((file) => !options.except.has(file))
      const others = entries.filter((entry) => entry.type !== "Directory" && entry.type !== "File").length

      yield* enqueueWalks(directories.map((directory) => ({ ...walk, path: directory })))
      const known = yield* index.known(walk.path)
      const seen = (yield* Effect.forEach(files, look, { concurrency: 16 })).filter((file) => file !== undefined)
      const todo: Array<Seen> = []
      for (const file of seen) {
        if (isDone(file, known.get(file.path))) continue
        const before = known.get(file.path)
        const failedBefore = before !== undefined && before.error !== null && before.indexed < started
        if (!(failedBefore && (yield* revived(file)))) todo.push(file)
      }
      yield* enqueueFiles(todo)
      stats.listed(seen.length, seen.filter((file) => isDone(file, known.get(file.path))).length)
      yield* index.listed({ ...here, files: new Set(files), directories: new Set(directories), others })
    }, Effect.catchTag(["windlass/BackendError", "windlass/InvalidEnqueue", "windlass/Refused"], Effect.die))
  }))
