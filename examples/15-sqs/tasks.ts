/** The contract, and the handlers. They name no queue: the same ones run on every other backend, and as a Lambda function. */
import { Console, Effect, Schedule, Schema } from "effect"
import * as Job from "windlass/Job"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"

export class Unreachable extends Schema.TaggedError<Unreachable>()("Unreachable", { host: Schema.String }) {}

/** for a standard queue: in no order, and tried again */
export class Ping extends Task.make("Ping", {
  payload: { host: Schema.String },
  error: Unreachable,
  retry: Schedule.recurs(2)
}) {}

/** for a FIFO queue: the changes of one account, one after the other */
export class Book
  extends Task.make("Book", { payload: { account: Schema.String, amount: Schema.Number }, queue: "books" })
{}

export const Pings = TaskGroup.make(Ping)
export const Books = TaskGroup.make(Book)

export const PingLive = Ping.toLayer(Effect.fnUntraced(function*({ host }) {
  const { attempt } = yield* Job.Current
  yield* Console.log(`ping ${host}, attempt ${attempt}`)
  if (host === "down" || attempt < 2) return yield* new Unreachable({ host })
}))

export const BookLive = Book.toLayer(({ account, amount }) => Console.log(`${account}: ${amount}`))
