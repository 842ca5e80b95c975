/** Functions to test: tasks whose messages say what they are to come to, and handlers that are closed with the test. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Schema from "effect/Schema"
import { afterEach } from "vitest"
import * as Decide from "windlass/Decide"
import { Lambda, Routes } from "windlass/lambda"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"

export class Refused extends Schema.TaggedError<Refused>()("Refused", { name: Schema.String }) {}

/** does what its message says */
export class Act extends Task.make("Act", {
  payload: { name: Schema.String, act: Schema.optional(Schema.String), yields: Schema.optional(Schema.Number) },
  success: Schema.String,
  error: Refused
}) {}

export const App = TaskGroup.make(Act)

export const routes = Routes.make({ key: "type", values: { act: Act } })

/** the handler of {@link Act}: `ran` gets the names in the order in which they begin */
export const act = (
  ran: Array<string>,
  others: (name: string, act: string) => Effect.Effect<string, Refused> = other
) =>
  Act.toLayer(({ act = "ok", name, yields = 0 }) =>
    Effect.gen(function*() {
      ran.push(name)
      for (let i = 0; i < yields; i++) yield* Effect.yieldNow
      switch (act) {
        case "ok":
          return yield* Effect.succeed(`did ${name}`)
        case "fail":
          return yield* Effect.fail(new Refused({ name }))
        case "die":
          return yield* Effect.die(new Error(`${name} died`))
        case "interrupt":
          return yield* Effect.interrupt
        case "discard":
          return yield* Effect.fail(Decide.discard())
        case "dead":
          return yield* Effect.fail(Decide.dead())
        case "snooze":
          return yield* Effect.fail(Decide.snooze("1 minute"))
        default:
          return yield* others(name, act)
      }
    })
  )

const other = (name: string, act: string) => Effect.die(new Error(`${name}: no act ${act}`))

/** keeps log lines instead of printing them */
export const logged = (lines: Array<string> = []): Layer.Layer<never> =>
  Logger.layer([
    Logger.make(({ cause, logLevel, message }) => {
      const text = Array.isArray(message) ? message.map(String).join(" ") : String(message)
      lines.push(`${logLevel} ${text}${cause.reasons.length === 0 ? "" : ` ${Cause.pretty(cause)}`}`)
    })
  ])

const open: Array<Lambda.Handler> = []
afterEach(async () => {
  for (const handler of open.splice(0)) await handler.close()
})

/** closed after the test */
export const closing = (handler: Lambda.Handler): Lambda.Handler => {
  open.push(handler)
  return handler
}

/** a function of {@link Act} with what it ran */
export const acting = (
  options: Omit<Lambda.Options<"Act">, "layer" | "middleware" | "around"> & {
    readonly others?: (name: string, act: string) => Effect.Effect<string, Refused>
  } = {}
) => {
  const ran: Array<string> = []
  const lines: Array<string> = []
  const { others, ...rest } = options
  const handler = closing(
    Lambda.handler(App, { routes, ...rest, layer: Layer.merge(act(ran, others), logged(lines)) })
  )
  return { handler, ran, lines }
}
