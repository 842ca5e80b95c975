/** What the processes of the isolation tests run. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { writeSync } from "node:fs"
import * as Capability from "windlass/Capability"
import * as Decide from "windlass/Decide"
import * as Isolated from "windlass/isolation/Isolated"
import * as Job from "windlass/Job"
import { Again, Odd, Quick, Rejected, Short, Undeclared } from "./tasks.ts"

/** a resource of the process, and one of each run: the log says when each is released */
class Engine extends Context.Service<Engine, string>()("test/Engine") {}
const EngineLive = Layer.effect(
  Engine,
  Effect.acquireRelease(Effect.succeed("steam"), () => Effect.logInfo("engine released"))
)

/** what a destination is asked of a backend, of which there is none here */
const RerouteLive = Layer.succeed(Capability.Reroute, { prepare: () => Effect.void })

const spin = (): never => {
  for (;;);
}

/** past any limit that a test sets */
const hog = (): never => {
  const held: Array<unknown> = []
  for (;;) held.push(Array.from({ length: 10_000 }, (_, i) => ({ i })))
}

const odd = ({ at, what }: typeof Odd.payloadSchema.Type) =>
  Effect.gen(function*() {
    const job = yield* Job.Current
    switch (what) {
      case "echo":
        return `${yield* Engine} ${at?.toISOString()}`
      case "reject":
        return yield* new Rejected({ code: 550 })
      case "die":
        throw new Error("a defect")
      case "discard":
        return yield* Decide.discard("not wanted")
      case "job": {
        const left = yield* job.remaining
        return [job.id, job.task, job.queue, job.attempt, job.lastAttempt, job.headers["tenant"], Option.isSome(left)]
          .join(" ")
      }
      case "fork": {
        let said = "nothing"
        yield* Job.fork(Effect.andThen(
          Effect.yieldNow,
          Effect.sync(() => {
            said = "forked"
          })
        ))
        yield* Effect.addFinalizer(() => Effect.logInfo(`joined: ${said}`))
        return "over"
      }
      case "failing fork":
        yield* Job.fork(Effect.fail(new Rejected({ code: 1 })))
        return "over"
      case "progress":
        yield* Effect.orDie(Isolated.progress({ done: 3, of: 4 }))
        return yield* Effect.never
      case "log":
        yield* Effect.annotateLogs(Effect.logWarning("half full", { of: "water" }), { glass: 7 })
        yield* Effect.logDebug("whispered")
        return "logged"
      case "trace": {
        const span = yield* Effect.orDie(Effect.currentParentSpan)
        return `${span.traceId} ${span.spanId}`
      }
      case "reroute":
        yield* Effect.orDie(Job.reroute({ priority: 7 }))
        return job.attempt > 1 ? `priority ${job.priority}` : yield* Decide.retry()
      case "spin":
        // it says so first, and was heard, before the loop holds the process up
        yield* Effect.orDie(Isolated.progress(process.pid))
        writeSync(1, "spinning\n")
        return spin()
      case "hold":
        yield* Effect.orDie(Isolated.progress(process.pid))
        yield* Effect.orDie(Isolated.progress("hold"))
        return "held"
      case "deaf":
        yield* Effect.orDie(Isolated.progress("deaf"))
        return yield* Effect.uninterruptible(Effect.never)
      case "wait":
        yield* Effect.addFinalizer(() => Effect.logInfo(`released, for ${job.stopping}`))
        yield* Effect.orDie(Isolated.progress(process.pid))
        return yield* Effect.never
      case "hog":
        return hog()
      case "exit":
        if (job.attempt > 1) return `attempt ${job.attempt}`
        console.error("it had enough")
        return process.exit(3)
      case "pid":
        return String(process.pid)
      case "misfit":
        return 7 as unknown as string
    }
  })

Isolated.serve(
  Layer.mergeAll(
    Isolated.handler(Odd, odd),
    Isolated.handler(Again, odd),
    Isolated.handler(Short, odd),
    Isolated.handler(Undeclared, ({ code }) => Effect.sync(() => process.exit(code))),
    Isolated.handler(Quick, Effect.succeed(() => Effect.succeed(String(process.pid))))
  ).pipe(Layer.provide([EngineLive, RerouteLive]))
)
