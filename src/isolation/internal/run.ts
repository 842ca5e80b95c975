/** One job through a child: hand it over, answer what the handler asks for, and see to its end, polite or hard. */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as Tracer from "effect/Tracer"
import { BackendError } from "../../Backend.ts"
import { Decide } from "../../Decide.ts"
import * as trace from "../../internal/trace.ts"
import * as Job from "../../Job.ts"
import type * as Task from "../../Task.ts"
import type { IsolateDied } from "../IsolateDied.ts"
import { type Child, wait } from "./child.ts"
import type { Answer, Line, Request, ToParent } from "./protocol.ts"

/** How the child's part of an attempt ended. */
type Ended = { readonly _tag: "Died" } | Extract<ToParent, { readonly _tag: "Done" | "Decided" }>

const encodeError = Schema.encodeUnknownSync(Schema.toCodecJson(BackendError))

/**
 * Runs one job in a child that runs no other. Interrupted, it asks the child's handler to stop, and kills the process when
 * it has not within the grace period: whatever comes out, the child is either free again or gone.
 */
export const run = (
  child: Child,
  task: Task.Any,
  payload: unknown,
  grace: number
): Effect.Effect<unknown, unknown, Job.Current> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const job = yield* Job.Current
      const context = yield* Effect.context<never>()
      const request = yield* requestOf(task, payload, job)
      let ended: Ended | undefined
      let look: (() => void) | undefined
      const over = (how: Ended) => {
        ended ??= how
        look?.()
      }
      const forget = child.onEnd(() => over({ _tag: "Died" }))
      child.jobs++
      child.listener = (message) => {
        switch (message._tag) {
          case "Done":
          case "Decided":
            return over(message)
          case "Log":
            return log(context, message.line)
          case "Reroute":
            return Job.controls(job).reroute(message.to)
          case "StopWorker":
            return void Effect.runForkWith(context)(job.worker.stop)
          case "Progress":
            Effect.runForkWith(context)(
              Effect.map(store(job, message.value), (answer) =>
                child.send({ _tag: "Answer", call: message.call, answer }))
            )
        }
      }
      child.send({ _tag: "Run", request })
      const answer = Effect.callback<Ended>((resume) => {
        look = () => {
          if (ended !== undefined) {
            resume(Effect.succeed(ended))
          }
        }
        look()
      })
      const exit = yield* Effect.exit(restore(answer))
      if (Exit.isFailure(exit)) {
        child.send({ _tag: "Stop", why: job.stopping })
        yield* Effect.raceFirst(answer, Effect.andThen(wait(grace), child.kill))
      }
      forget()
      child.listener = undefined
      // after an interruption that is what this effect ends with, whatever stands here
      return yield* Exit.isFailure(exit) ? exit : outcome(child, task, exit.value)
    })
  )

const requestOf = (task: Task.Any, payload: unknown, job: Job.Job): Effect.Effect<Request> =>
  Effect.withFiber((fiber) =>
    Effect.map(job.remaining, (remaining) => {
      const span = Context.getOption(fiber.context as Context.Context<never>, Tracer.ParentSpan)
      return {
        task: task._tag,
        // what a wrap of the task made of it
        payload: task.codecs.encodePayload(payload),
        job: {
          id: job.id,
          queue: job.queue,
          attempt: job.attempt,
          lastAttempt: job.lastAttempt,
          origin: job.origin,
          headers: job.headers,
          enqueuedAt: job.enqueuedAt,
          startedAt: job.startedAt,
          scheduledFor: job.scheduledFor,
          priority: job.priority,
          group: job.group,
          lostFrom: job.lostFrom,
          worker: job.worker.id
        },
        remaining: Option.getOrUndefined(Option.map(remaining, Duration.toMillis)),
        trace: Option.isSome(span) ? trace.encode(span.value) : job.headers[trace.header],
        logLevel: fiber.getRef(References.MinimumLogLevel)
      }
    })
  )

const outcome = (child: Child, task: Task.Any, ended: Ended): Effect.Effect<unknown, unknown> => {
  switch (ended._tag) {
    case "Died":
      return failure(task, child.died("run"))
    case "Decided":
      return Effect.fail(new Decide({ decision: ended.decision }))
    case "Done": {
      const decoded = task.codecs.decodeExit(ended.exit)
      return Exit.isSuccess(decoded) ? decoded.value : Effect.die(
        new Error(`the exit of task ${task._tag} in its own process does not fit its schemas: ${ended.exit}`)
      )
    }
  }
}

/** With its type for a task that declares it, a defect for the others. */
export const failure = (task: Task.Any, died: IsolateDied): Effect.Effect<never, unknown> =>
  Schema.is(task.errorSchema)(died) ? Effect.fail(died) : Effect.die(died)

const store = (job: Job.Job, value: string): Effect.Effect<Answer> =>
  Effect.matchCause(Effect.suspend(() => Job.controls(job).progress(value)), {
    onSuccess: (): Answer => ({ _tag: "Ok" }),
    onFailure: (cause): Answer => {
      const reason = cause.reasons.find((one) => one._tag === "Fail")
      return reason !== undefined
        ? { _tag: "Error", error: encodeError(reason.error) }
        : { _tag: "Defect", message: String(cause.reasons.find((one) => one._tag === "Die")?.defect) }
    }
  })

/** A line of the child, among those of the job that it runs. */
export const log = (context: Context.Context<never>, line: Line): void => {
  Effect.runForkWith(context)(
    Effect.annotateLogs(Effect.logWithLevel(line.level)(...line.message), line.annotations)
  )
}
