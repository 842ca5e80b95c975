/** The contract: one channel with its middleware. The list reads from the outside in, however it came about. */
import { Console, Effect, Schema } from "effect"
import * as Channel from "windlass/bus/Channel"
import * as Middleware from "windlass/Middleware"
import * as TaskGroup from "windlass/TaskGroup"

export class Timing extends Middleware.Service<Timing>()("example/Timing") {}

const saying = (name: string) =>
  Middleware.make(name, (next, input) =>
    Console.log(`  ${name} before`).pipe(
      Effect.andThen(next(input)),
      Effect.onExit(() => Console.log(`  ${name} after`))
    ))

export class HandleOrder extends Channel.make("orders", {
  name: "HandleOrder",
  payload: Schema.Int,
  middleware: [Timing, saying("SecondMiddleware"), saying("FirstMiddleware")]
}) {}

export const App = TaskGroup.make(HandleOrder)
