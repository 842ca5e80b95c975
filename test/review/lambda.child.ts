/** A function's environment whose end takes a while, and is asked for twice: by the program and by a SIGTERM. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Lambda } from "windlass/lambda"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"

class Work extends Task.make("Work") {}

const say = (line: string) => Effect.sync(() => void process.stdout.write(`${line}\n`))

const asked = Effect.callback<void>((resume) => {
  process.once("SIGTERM", function mine() {
    process.off("SIGTERM", mine)
    resume(Effect.void)
  })
})

const handler = Lambda.handler(TaskGroup.make(Work), {
  layer: Layer.merge(
    Work.toLayer(() => Effect.void),
    Layer.effectDiscard(
      Effect.acquireRelease(Effect.void, () =>
        Effect.gen(function*() {
          yield* say("closing")
          yield* asked
          yield* say("asked")
          // past the answer of whoever did not wait for this
          yield* Effect.sleep("50 millis")
          yield* say("closed")
        }))
    )
  )
})

setInterval(() => {}, 1_000)
await handler({ Records: [] })
void handler.close()
