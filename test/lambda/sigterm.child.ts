/** A function's environment: it answers one invocation and then waits, as Lambda's runtime does. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Lambda } from "windlass/lambda"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"

class Work extends Task.make("Work") {}

const say = (line: string) => Effect.sync(() => void process.stdout.write(`${line}\n`))

const handler = Lambda.handler(TaskGroup.make(Work), {
  layer: Layer.merge(
    Work.toLayer(() => Effect.void),
    Layer.effectDiscard(Effect.acquireRelease(say("open"), () => say("close")))
  )
})

setInterval(() => {}, 1_000)
await handler({ Records: [] })
await Effect.runPromise(say("answered"))
