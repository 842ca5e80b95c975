/** What the contract declares, done: each of these is a function around a function, and a layer supplies it. */
import { ByteSize, Cause, Effect, FileSystem, Layer, Option, Path, type PlatformError, Schema } from "effect"
import { Decide, Middleware } from "windlass"
import { limit } from "./content.ts"
import { Index } from "./store.ts"
import {
  Facts,
  Handle,
  IndexFile,
  Journal,
  Subject,
  TooLarge,
  Unreadable,
  WalkDirectory,
  WithFacts,
  WithHandle,
  WithSubject
} from "./tasks.ts"
import { typeOfName } from "./types.ts"

// ---------------------------------------------------------------------------------------------------------- subject

/** a wrap is generic in its input, so it has to look whether that is something it knows */
const subjectOf = Schema.decodeUnknownSync(IndexFile.payloadSchema)

const withSubject: Middleware.Wrap<Subject> = (next, input) =>
  Effect.suspend(() => Effect.provideService(next(input), Subject, subjectOf(input)))

// ---------------------------------------------------------------------------------------------------------- journal

/** the tag of what decides about a failed run, and a line about it; undefined when nothing went wrong */
const describe = (cause: Cause.Cause<unknown>): { readonly error: string; readonly detail: string } | undefined => {
  if (Cause.hasInterruptsOnly(cause)) return undefined
  const failure = Option.getOrUndefined(Cause.findErrorOption(cause))
  if (failure === undefined) return { error: "Died", detail: String(Cause.squash(cause)) }
  // a Decide is no failure of the file: whoever decided has done what there was to do
  if (Decide.isDecide(failure)) return undefined
  const { _tag, message } = failure as { readonly _tag?: string; readonly message?: string }
  return { error: _tag ?? "Unknown", detail: message ?? String(failure) }
}

/** Every failed attempt leaves its row; a later attempt that succeeds writes over it. */
const journal =
  (index: Index["Service"], path: Path.Path): Middleware.Wrap<never, Decide.Decide, Subject> => (next, input) =>
    next(input).pipe(
      Effect.tapCause((cause) => {
        const failed = describe(cause)
        if (failed === undefined) return Effect.void
        return Effect.flatMap(
          Subject,
          (seen) =>
            index.fail({ ...seen, ...failed, dir: path.dirname(seen.path), type: typeOfName(path.basename(seen.path)) })
        )
      }),
      Effect.catch((failure) => Effect.fail(failure instanceof TooLarge ? Decide.discard("TooLarge") : failure))
    )

// ------------------------------------------------------------------------------------------------ facts and handle

/** "EACCES" says more than "PermissionDenied", and is there for codes that have no word */
const reasonOf = (error: PlatformError.PlatformError): string =>
  (error.reason.cause as { readonly code?: string } | undefined)?.code ?? error.reason._tag

/**
 * The file was there when its directory was read. A name that came out of the directory with U+FFFD is not valid UTF-8,
 * so the file under it is there and cannot be reached by a string.
 */
export const isGone = (error: PlatformError.PlatformError, path: string): boolean =>
  error.reason._tag === "NotFound" && !path.includes("\uFFFD")

export const unreadable = (error: PlatformError.PlatformError, path: string): Unreadable =>
  new Unreadable({
    path,
    reason: error.reason._tag === "NotFound" && !isGone(error, path) ? "its name is not valid UTF-8" : reasonOf(error)
  })

/** what is gone has no row, and its job is discarded: there is nothing left to do */
export const orGone =
  (index: Index["Service"], path: string) =>
  (error: PlatformError.PlatformError): Effect.Effect<never, Unreadable | Decide.Decide> =>
    isGone(error, path)
      ? Effect.andThen(index.forget(path), Effect.fail(Decide.discard("Vanished")))
      : Effect.fail(unreadable(error, path))

const withFacts = (fs: FileSystem.FileSystem, index: Index["Service"]) =>
  Middleware.hooks({
    provides: Facts,
    before: Effect.fnUntraced(function*() {
      const { path } = yield* Subject
      const info = yield* Effect.catch(fs.lstat(path), orGone(index, path))
      if (info.type !== "File") {
        yield* index.forget(path)
        return yield* Decide.discard("NoFile")
      }
      const bytes = Number(ByteSize.toBigInt(info.size))
      if (bytes > limit) return yield* new TooLarge({ path, bytes, limit })
      return { bytes, modified: Option.match(info.mtime, { onNone: () => 0, onSome: (date) => date.getTime() }) }
    })
  })

/** `open` is scoped, and a middleware has a scope of its own: the file is closed when the handler is over */
const withHandle = (fs: FileSystem.FileSystem, index: Index["Service"]) =>
  Middleware.hooks({
    provides: Handle,
    before: Effect.fnUntraced(function*() {
      const { path } = yield* Subject
      return yield* Effect.catch(fs.open(path, { flag: "r" }), orGone(index, path))
    })
  })

export const layer: Layer.Layer<
  WithSubject | Journal | WithFacts | WithHandle,
  never,
  Index | FileSystem.FileSystem | Path.Path
> = Layer.unwrap(Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const index = yield* Index
  return Layer.mergeAll(
    Layer.succeed(WithSubject, withSubject),
    Layer.succeed(Journal, journal(index, path)),
    Layer.succeed(WithFacts, withFacts(fs, index)),
    Layer.succeed(WithHandle, withHandle(fs, index))
  )
}))

// -------------------------------------------------------------------------------------------------------- last word

const filePayload = Schema.decodeUnknownOption(Schema.fromJsonString(IndexFile.payloadSchema))
const directoryPayload = Schema.decodeUnknownOption(Schema.fromJsonString(WalkDirectory.payloadSchema))

/**
 * A job can end as dead without its chain being entered: as poison (it was running whenever the process died), or with
 * a payload of another version. This stands around all of that, so such a file or directory has its row too.
 */
export const lastWord = Middleware.delivery<Index | Path.Path>(
  "last word",
  (next, delivery) =>
    Effect.tap(next(delivery), (settlement) =>
      Effect.gen(function*() {
        // what failed in the chain, the journal knows better
        if (settlement._tag !== "Dead" || ["failed", "timeout"].includes(settlement.reason)) return
        const index = yield* Index
        const path = yield* Path.Path
        const why = { error: settlement.reason, detail: settlement.error ?? settlement.reason }
        const { payload, task } = delivery.envelope
        const file = task === IndexFile._tag ? filePayload(payload) : Option.none()
        const directory = task === WalkDirectory._tag ? directoryPayload(payload) : Option.none()
        if (Option.isSome(file)) {
          const type = typeOfName(path.basename(file.value.path))
          yield* index.fail({ ...file.value, ...why, dir: path.dirname(file.value.path), type })
        }
        if (Option.isSome(directory)) {
          yield* index.unlisted({ path: directory.value.path, parent: path.dirname(directory.value.path), ...why })
        }
      }))
)
