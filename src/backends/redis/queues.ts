/**
 * The queues of a prefix. Their names are in one hash, which is written before a queue's first job; so whoever knows a job
 * by its id alone asks each queue, and no index of ids is kept beside the jobs. Beside the name stands the layout that the
 * queue's keys have: a version of this backend reads its own, and says so when it meets another.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { BackendError } from "../../Backend.ts"
import type { Calls } from "./calls.ts"
import { codeOf, refusal } from "./errors.ts"
import { layout } from "./keys.ts"

/** queues asked at the same time for an id */
const together = 16

export class Queues {
  private readonly calls: Calls
  /** met by this process */
  private readonly met = new Set<string>()

  constructor(calls: Calls) {
    this.calls = calls
  }

  /** fails when queues of the prefix have another layout than this version reads */
  get check(): Effect.Effect<void, BackendError> {
    const { keys, name } = this.calls
    const refused = refusal(
      name,
      "open",
      `queues under the prefix "${keys.prefix}" were written by another version of Windlass, whose keys this one does not ` +
        `read: let that version end their jobs and delete the keys {${keys.prefix}*, or use another prefix`
    )
    return this.calls.send<ReadonlyArray<string>>("open", "HVALS", keys.queues).pipe(
      // before there was a number for it, the names were a set
      Effect.catch((error) => Effect.fail(codeOf(error.cause) === "WRONGTYPE" ? refused : error)),
      Effect.flatMap((layouts) => layouts.every((one) => one === layout) ? Effect.void : Effect.fail(refused))
    )
  }

  /** the queue is in the hash from now on */
  register(queue: string): Effect.Effect<void, BackendError> {
    return Effect.suspend(() => this.met.has(queue) ? Effect.void : this.write(queue))
  }

  /** again, because a server that lost its data, or its last moments, forgot them */
  get registerAll(): Effect.Effect<void, BackendError> {
    return Effect.suspend(() => Effect.forEach(Array.from(this.met), (queue) => this.write(queue), { discard: true }))
  }

  private write(queue: string): Effect.Effect<void, BackendError> {
    return Effect.map(
      this.calls.send("declare", "HSETNX", this.calls.keys.queues, queue, layout),
      () => void this.met.add(queue)
    )
  }

  get known(): Iterable<string> {
    return this.met
  }

  get all(): Effect.Effect<ReadonlyArray<string>, BackendError> {
    return Effect.map(
      this.calls.send<ReadonlyArray<string>>("queues", "HKEYS", this.calls.keys.queues),
      (names) => Array.from(new Set([...this.met, ...names])).sort()
    )
  }

  /** those that hold or held a job */
  get used(): Effect.Effect<ReadonlyArray<string>, BackendError> {
    return Effect.flatMap(this.all, (names) =>
      Effect.map(
        Effect.forEach(
          names,
          (name) => this.calls.send<number>("queues", "HEXISTS", this.calls.keys.key(name, "meta"), "seq"),
          { concurrency: together }
        ),
        (used) => names.filter((_, i) => used[i] === 1)
      ))
  }

  /**
   * As `ask`, for a job that may be on its way from one queue to another: it has left one that was not asked yet, for one
   * that was. So nobody is told that there is none before all were asked twice
   */
  find<A>(ask: (queue: string) => Effect.Effect<A, BackendError>, none: (answer: A) => boolean) {
    return Effect.flatMap(
      this.ask(ask, none),
      (found) => found === undefined ? this.ask(ask, none) : Effect.succeed(found)
    )
  }

  /** asks every queue; the first answer that is none of `none` */
  ask<A>(ask: (queue: string) => Effect.Effect<A, BackendError>, none: (answer: A) => boolean) {
    return Effect.flatMap(this.all, (names) =>
      Effect.map(
        Effect.forEach(names, ask, { concurrency: together }),
        (answers) => {
          const i = answers.findIndex((answer) => !none(answer))
          return i === -1 ? undefined : { queue: names[i]!, answer: answers[i]! }
        }
      ))
  }
}
