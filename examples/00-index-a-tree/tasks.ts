/**
 * The contract: what there is to do, what may go wrong, and through which middleware it runs. A program that enqueues
 * and a program that works both import this file; here one program does both.
 */
import { Context, Effect, type FileSystem, Schedule, Schema } from "effect"
import { Middleware, TaskGroup } from "windlass"

// ------------------------------------------------------------------------------------------------- what may go wrong

/** The operating system would not give it to us. It may next time, so it is tried again before it is given up. */
export class Unreadable extends Schema.TaggedError<Unreadable>()("Unreadable", {
  path: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `${this.path}: ${this.reason}`
  }
}

/** Bigger than this index cares for: no fault of anybody, so its job is discarded, not failed. */
export class TooLarge extends Schema.TaggedError<TooLarge>()("TooLarge", {
  path: Schema.String,
  bytes: Schema.Number,
  limit: Schema.Number
}) {
  override get message(): string {
    return `${this.path}: ${this.bytes} bytes, the limit is ${this.limit}`
  }
}

/** Its name promises text and its bytes are something else. Trying again cannot help: dead at the first attempt. */
export class NotText extends Schema.TaggedError<NotText>()("NotText", { path: Schema.String }) {
  override get message(): string {
    return `${this.path}: not UTF-8 text, as its name promises`
  }
}

// ------------------------------------------------------------------------------------------------------- middleware

/** What the walk saw of a file; null where it could not look. `modified` in milliseconds since the epoch. */
const FileSeen = Schema.Struct({
  path: Schema.String,
  bytes: Schema.NullOr(Schema.Number),
  modified: Schema.NullOr(Schema.Number)
})

/** The file that the job is about, as the walk saw it. */
export class Subject extends Context.Service<Subject, typeof FileSeen.Type>()("tree/Subject") {}

/** The file as it is now. */
export class Facts extends Context.Service<Facts, { readonly bytes: number; readonly modified: number }>()(
  "tree/Facts"
) {}

/** The file, open for reading for as long as the attempt lasts. */
export class Handle extends Context.Service<Handle, FileSystem.File>()("tree/Handle") {}

/** Tells everything inside which file it is about. */
export class WithSubject extends Middleware.Service<WithSubject, { provides: Subject }>()("WithSubject") {}

/** Writes every failure from inside into the table of files, so that a file that failed has its row as well. */
export class Journal extends Middleware.Service<Journal, { requires: Subject }>()("Journal") {}

/** Looks before anything is opened: opening a pipe would wait for ever, reading a huge file would fill the memory. */
export class WithFacts extends Middleware.Service<WithFacts, { requires: Subject; provides: Facts }>()("WithFacts", {
  error: Schema.Union([Unreadable, TooLarge])
}) {}

/** Opens the file and closes it again, whatever happens in between. */
export class WithHandle extends Middleware.Service<WithHandle, { requires: Subject | Facts; provides: Handle }>()(
  "WithHandle",
  { error: Unreadable }
) {}

/** Says on the span of the run which file it was; without a tracer there is no span and this does nothing. */
const annotated = Middleware.make<Subject | Facts>("annotate the span", (next, input) =>
  Effect.gen(function*() {
    const { path } = yield* Subject
    const { bytes } = yield* Facts
    yield* Effect.annotateCurrentSpan({ path, bytes })
    return yield* next(input)
  }))

// ------------------------------------------------------------------------------------------------------------ tasks

/** what the tasks share: one queue, and an end to an attempt that hangs (a network mount, a dying disk) */
const Tree = TaskGroup.shared("tree", { queue: "tree", timeout: "1 minute" })

const isWorthAnotherTry = (failure: { readonly _tag: string }): boolean =>
  failure._tag !== "NotText" && failure._tag !== "TooLarge"

const retry = {
  schedule: Schedule.exponential("200 millis"),
  while: isWorthAnotherTry,
  maxAttempts: 3
}

/** One file: its hash, its size plain and compressed, its lines, its type, into the table of files. */
export class IndexFile extends Tree.make("IndexFile", {
  payload: FileSeen,
  error: Schema.Union([Unreadable, TooLarge, NotText]),
  // Subject for all; Journal sees what fails inside of it; Facts decide whether the file is opened at all
  middleware: [WithSubject, Journal, WithFacts, annotated, WithHandle],
  retry
}) {}

/** One directory: a job for every file that is new or changed, a job for every directory in it. */
export class WalkDirectory extends Tree.make("WalkDirectory", {
  payload: { root: Schema.String, path: Schema.String, run: Schema.Number },
  error: Unreadable,
  retry,
  // there are directories with millions of entries
  timeout: "1 hour"
}) {}

export const Tasks = TaskGroup.make(IndexFile, WalkDirectory)
