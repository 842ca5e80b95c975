/** Everything but the backend: tasks, handlers, and a program that uses most of what a queue can do. It names no engine. */
import { Console, Effect, Layer, Schedule, Schema } from "effect"
import * as Capability from "windlass/Capability"
import * as Enqueue from "windlass/Enqueue"
import * as Job from "windlass/Job"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"

class Say extends Task.make("Say", { payload: { text: Schema.String } }) {}

class TooLarge extends Schema.TaggedError<TooLarge>()("TooLarge", { limit: Schema.Number }) {}

class Square extends Task.make("Square", {
  payload: { n: Schema.Number },
  success: Schema.Number,
  error: TooLarge,
  retry: Schedule.recurs(2)
}) {}

const App = TaskGroup.make(Say, Square)

const SayLive = Say.toLayer(({ text }) => Console.log(text))

const SquareLive = Square.toLayer(Effect.fnUntraced(function*({ n }) {
  const { attempt } = yield* Job.Current
  if (attempt < 3) return yield* new TooLarge({ limit: attempt })
  if (n > 100) return yield* new TooLarge({ limit: 100 })
  return n * n
}))

/** one job at a time, so that the order shows */
export const worker = Worker.layer(App, { concurrency: 1, logJobs: false }).pipe(Layer.provide([SayLive, SquareLive]))

export const program = Effect.gen(function*() {
  const pause = yield* Capability.Pause
  const dead = yield* Capability.DeadLetter

  yield* Console.log("a result comes back, after two attempts that failed:")
  yield* Console.log(yield* Square.execute({ n: 12 }))
  yield* Square.execute({ n: 500 }).pipe(
    Effect.catchTag("TooLarge", ({ limit }) => Console.log(`and so does a failure: the limit is ${limit}`))
  )
  yield* Console.log(`its job is a dead letter, and goes: ${yield* dead.purge("default")}`)

  yield* Console.log("what is more urgent overtakes:")
  yield* pause.set("default", true)
  yield* Say.enqueue({ text: "  third" })
  yield* Say.enqueue({ text: "  first" }).pipe(Enqueue.priority(10))
  yield* Say.enqueue({ text: "  second" }).pipe(Enqueue.priority(5))
  yield* Say.enqueueMany(["  fourth", "  fifth"].map((text) => ({ text })))

  const once = Say.enqueue({ text: "  sixth, once" }).pipe(
    Enqueue.uniqueBy("greeting", { until: "finished", onConflict: "fail" })
  )
  yield* once
  yield* once.pipe(Effect.catchTag("windlass/AlreadyEnqueued", () => Console.log("  (there is one of that key)")))
  yield* pause.set("default", false)
  yield* Say.execute({ text: "  the last" }).pipe(Enqueue.priority(-1))

  yield* Console.log("what is for later comes later:")
  yield* Effect.all([
    Say.execute({ text: "  in a moment" }).pipe(Enqueue.delay("1 second")),
    Say.execute({ text: "  now" })
  ], { concurrency: "unbounded" })
})
