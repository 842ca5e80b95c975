/** The program as one layer: what it needs is provided from the bottom up, and what it holds is released top down. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import { Cause, Effect, FileSystem, Layer, Logger, Path, References, Stream } from "effect"
import { type Backend, Capability, type Task, Worker } from "windlass"
import * as SqliteBackend from "windlass/backends/SqliteBackend"
import { begin, queue, type State, untilDone } from "./drive.ts"
import { IndexFileLive, WalkDirectoryLive } from "./handlers.ts"
import * as Implementations from "./middleware.ts"
import type { Options } from "./options.ts"
import { Progress, type Screen } from "./progress.ts"
import { observer, Recorder, Stats } from "./stats.ts"
import * as Store from "./store.ts"
import { quoted, summary } from "./summary.ts"
import { Tasks } from "./tasks.ts"
import * as Trace from "./trace.ts"

/** how long the jobs of a process that was killed are kept for it, before another takes them */
const lease = "5 seconds"

export interface Place {
  readonly screen: Screen
  readonly env: Readonly<Record<string, string | undefined>>
  /** how to start this program again, and how to ask its index, as commands */
  readonly again: string
  readonly ask: string
  /** the index in a file */
  readonly store: (filename: string) => Layer.Layer<Store.Index, Store.IndexError>
}

export const layer = (
  options: Options,
  place: Place
): Layer.Layer<
  Worker.Worker,
  Store.IndexError | Backend.BackendError | Task.InvalidTask | Worker.InvalidWorker
> => {
  const recorder = new Recorder()
  const progress = new Progress(place.screen, place.env)
  const state: State = { finished: false, started: performance.now() }
  // for every job of this worker, outermost first; what only the tasks need stands in their own lists
  const middleware = [observer(recorder), Implementations.lastWord] as const

  return Layer.unwrap(Effect.gen(function*() {
    const root = yield* rootOf(options.root)
    const databases = yield* Effect.forEach([options.database, options.queue], real)

    const worker = Worker.layer(Tasks, {
      concurrency: options.concurrency,
      middleware,
      // kill -9 hits whatever is running, sixteen innocents at a time: five in a row prove nothing here
      poisonLimit: 25
    }).pipe(
      Layer.provide([IndexFileLive, WalkDirectoryLive({ except: ownFiles(databases) })]),
      Layer.provide(Implementations.layer)
    )

    return Layer.effectDiscard(Effect.forkScoped(untilDone(progress, state))).pipe(
      Layer.provideMerge(worker),
      Layer.provide(begin(root, progress)),
      Layer.provide(Layer.effectDiscard(sayAtTheEnd({ options, place, root, progress, state, middleware }))),
      Layer.provideMerge(place.store(options.database)),
      Layer.provideMerge(SqliteBackend.layer({ filename: options.queue, lease })),
      Layer.provideMerge(Layer.succeed(Stats, recorder)),
      Layer.provideMerge(Trace.layer(options.trace))
    )
  })).pipe(
    Layer.provide([NodeFileSystem.layer, NodePath.layer, logger(progress)]),
    Layer.provide(Layer.succeed(References.MinimumLogLevel, "Warn"))
  )
}

/** The real path, so that a tree has one name; fails where there is no directory. */
const rootOf = Effect.fnUntraced(function*(given: string) {
  const fs = yield* FileSystem.FileSystem
  const failed = (why: string) => new Store.IndexError({ message: `${given} cannot be indexed: ${why}` })
  const root = yield* Effect.mapError(fs.realPath(given), (error) => failed(error.reason._tag))
  const info = yield* Effect.mapError(fs.stat(root), (error) => failed(error.reason._tag))
  return info.type === "Directory" ? root : yield* failed("it is no directory")
})

/** The real path of a file that may not be there yet. */
const real = Effect.fnUntraced(function*(file: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const directory = yield* Effect.mapError(
    fs.realPath(path.dirname(file)),
    () => new Store.IndexError({ message: `there is no directory ${path.dirname(file)} for ${path.basename(file)}` })
  )
  return path.join(directory, path.basename(file))
})

/** the index must not index itself */
const ownFiles = (databases: ReadonlyArray<string>): ReadonlySet<string> =>
  new Set(databases.flatMap((file) => ["", "-wal", "-shm", "-journal"].map((suffix) => `${file}${suffix}`)))

/** Released after the worker, so everything has ended when this looks. */
const sayAtTheEnd = (input: {
  readonly options: Options
  readonly place: Place
  readonly root: string
  readonly progress: Progress
  readonly state: State
  readonly middleware: NonNullable<Parameters<typeof Worker.describe>[1]>["middleware"]
}) =>
  Effect.gen(function*() {
    const index = yield* Store.Index
    const stats = yield* Stats
    const inspect = yield* Capability.Inspect
    const letters = yield* Capability.DeadLetter
    const profile = yield* Trace.Profile
    const { options, place, progress, root, state } = input
    yield* Effect.addFinalizer(() =>
      Effect.gen(function*() {
        progress.end()
        place.screen.write(summary({
          root,
          database: options.database,
          finished: state.finished,
          elapsed: performance.now() - state.started,
          stats,
          totals: yield* index.totals(root),
          deadLetters: yield* Stream.runCollect(Stream.take(letters.list(queue), 6)),
          counts: yield* inspect.counts(queue),
          spent: profile.spent(),
          middleware: input.middleware,
          again: place.again,
          ask: `${place.ask} ${quoted(options.database)}`
        }))
      }).pipe(Effect.catch((error) => Effect.logError("the summary could not be made", error)))
    )
  })

/** Messages of the worker, one line each, above the bar. */
const logger = (progress: Progress) =>
  Logger.layer([
    Logger.make(({ cause, logLevel, message }) => {
      const parts = [...(Array.isArray(message) ? message : [message]), ...(cause.reasons.length === 0 ? [] : [cause])]
      progress.print(`${logLevel.toLowerCase()}: ${parts.map(line).join(" ")}`)
    })
  ])

const line = (part: unknown): string => {
  if (typeof part === "string") return part
  const error = Cause.isCause(part) ? Cause.squash(part) : part
  return (error instanceof Error ? error.message : String(error)).replace(/\s+/g, " ")
}
