/** An enqueue whose caller waits for what becomes of the job. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Backend from "../Backend.ts"
import { Inspect, Results } from "../Capability.ts"
import * as Job from "../Job.ts"
import type * as Task from "../Task.ts"
import { describe } from "./line.ts"
import type { Options } from "./options.ts"
import { submit } from "./producer.ts"

/** how long the result of an `execute` is kept unless its caller says otherwise, in milliseconds */
const keepResultMillis = 3_600_000

/** @internal */
export const execute = (task: Task.Any, payload: unknown, options: Options): Effect.Effect<any, any, any> =>
  Effect.gen(function*() {
    const results = yield* Results
    const [accepted] = yield* submit(task, [payload], { keepResult: keepResultMillis, ...options }, (all) => all)
    const { dropped, id, isNew } = accepted!
    // nothing will ever run, so there is nothing to wait for
    if (dropped !== undefined) return yield* new Job.Discarded({ id, reason: dropped })
    const result = yield* isNew ? results.await(id) : Effect.raceFirst(results.await(id), gone(id))
    const decoded = result.exit === undefined ? undefined : task.codecs.decodeExit(result.exit)
    const exit = decoded !== undefined && Exit.isSuccess(decoded) ? decoded.value : undefined
    if (result.state === "succeeded" && exit !== undefined && Exit.isSuccess(exit)) return exit.value
    if (result.state === "dead" && exit !== undefined && Exit.hasFails(exit)) return yield* exit
    switch (result.state) {
      case "discarded":
        return yield* new Job.Discarded({ id, reason: result.reason ?? "discarded" })
      case "aborted":
        return yield* new Job.Aborted({ id, reason: result.reason ?? "aborted" })
      case "dead":
        return yield* new Job.Dead({
          id,
          reason: result.reason ?? "dead",
          detail: detailOf(exit) ?? result.exit
        })
      case "succeeded":
        if (result.exit === undefined) return yield* noResult(id)
        return yield* new Job.Dead({
          id,
          reason: "undecodable",
          detail: detailOf(exit) ??
            `the stored result of task ${task._tag} does not fit the schemas that this program has: ${result.exit}`
        })
    }
  })

const detailOf = (exit: Exit.Exit<unknown, unknown> | undefined): string | undefined =>
  exit !== undefined && Exit.isFailure(exit) ? describe(Cause.squash(exit.cause)) : undefined

const noResult = (id: string) =>
  new Job.Dead({
    id,
    reason: "no-result",
    detail: `job ${id}, which holds the unique key, is over and its result was not kept: nobody had asked for it`
  })

/** how often a job that somebody else enqueued is looked for, in milliseconds */
const lookAgain = 5_000

/**
 * Fails once a job that was there before is there no more. Nobody may have asked to keep its result, and its key may
 * outlive it: then there is nothing to wait for.
 */
const gone = (id: string): Effect.Effect<never, Job.Dead | Backend.BackendError> =>
  Effect.gen(function*() {
    const context = yield* Effect.context<never>()
    const inspect = Context.getOrUndefined(context as Context.Context<Inspect>, Inspect)
    if (inspect === undefined) return yield* Effect.never
    while (Option.isSome(yield* inspect.get(id))) yield* Effect.sleep(lookAgain)
    // it may have ended this moment, and the answer may be under way
    yield* Effect.sleep(1_000)
    return yield* noResult(id)
  })
