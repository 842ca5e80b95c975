/**
 * 08: the middleware page of redis-tasks, in Windlass: a middleware that waits before it runs the task, one that reports
 * when a task is done, and the list of both in the configuration.
 *
 * | there | here |
 * | --- | --- |
 * | `def run_task(self, task, run, args, kwargs)` | `Middleware.make(name, (next, payload, job) => ...)` |
 * | `run(*args, **kwargs)` | `yield* next(payload)` |
 * | `def process_outcome(self, task, *exc_info)` | `OutcomeHook.make(name, (outcome, job) => ...)` |
 * | `return True` there: the error is suppressed | `OutcomeHook.suppress` |
 * | `raise` there: another error | `Effect.fail(...)` |
 * | `MIDDLEWARE = ["middleware.SleepMiddleware"]` | `Configured.layer(Config.Array(...), registry, worker)` |
 *
 *     MIDDLEWARE=report,sleep node --conditions=windlass-source examples/08-sleep-and-report/main.ts
 */
import { Config, Console, Context, Effect, Layer, References, Schema } from "effect"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Middleware from "windlass/Middleware"
import * as Configured from "windlass/middleware/Configured"
import * as OutcomeHook from "windlass/middleware/OutcomeHook"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"

// ------------------------------------------------------------------------------------------------------- middleware

// waits before the task. A middleware is not interrupted by a shutdown; a wait that may be cut short says so
const sleep = Middleware.make("sleep", (next, payload, job) =>
  Effect.gen(function*() {
    yield* Effect.interruptible(Effect.sleep("100 millis"))
    yield* Console.log(`${job.task}: slept, now it runs`)
    return yield* next(payload)
  }))

class Mail extends Context.Service<Mail, {
  readonly send: (mail: { readonly to: string; readonly subject: string; readonly text: string }) => Effect.Effect<void>
}>()("app/Mail") {}

// reports what became of a job, whatever that was: also of one that no middleware and no handler ever saw. The mailbox is
// opened once, when the worker starts, and not for every job
const report = Effect.map(Mail, (mail) =>
  OutcomeHook.make("report", (outcome, job) =>
    mail.send({
      to: "client@example.org",
      subject: "Daily Report",
      text: outcome._tag === "Dead" ? `${job.task} is dead: ${outcome.reason}` : `${job.task}: ${outcome._tag}`
    })))

// ------------------------------------------------------------------------------------------------------------- tasks

class NoSuchShop extends Schema.TaggedError<NoSuchShop>()("NoSuchShop", { shop: Schema.String }) {}

class CountSales extends Task.make("CountSales", {
  payload: { shop: Schema.String },
  error: NoSuchShop
}) {}

const CountSalesLive = CountSales.toLayer(({ shop }) =>
  shop === "Atlantis" ? Effect.fail(new NoSuchShop({ shop })) : Console.log(`CountSales: counts ${shop}`)
)

// what a producer of another release enqueues under the same name
class CountSalesOfTomorrow extends Task.make("CountSales", { payload: { region: Schema.String } }) {}

// -------------------------------------------------------------------------------------------------------------- main

const WorkerLive = Configured.layer(
  Config.withDefault(Config.Array(Schema.String, "MIDDLEWARE"), ["sleep", "report"]),
  { sleep, report },
  (middleware) =>
    Worker.layer(TaskGroup.make(CountSales), { mode: "drain", concurrency: 1, logJobs: false, middleware })
).pipe(
  Layer.provide(CountSalesLive),
  Layer.provide(Layer.succeed(Mail, {
    send: ({ subject, text, to }) => Console.log(`  mail to ${to}: ${subject}: ${text}`)
  }))
)

const program = Effect.gen(function*() {
  yield* CountSales.enqueue({ shop: "Paris" })
  yield* CountSales.enqueue({ shop: "Atlantis" })
  yield* CountSalesOfTomorrow.enqueue({ region: "North" })
  const { dead, succeeded } = yield* Worker.launch(WorkerLive)
  yield* Console.log(`${succeeded} succeeded, ${dead} dead`)
}).pipe(
  Effect.catchTag("windlass/InvalidMiddlewareList", ({ message }) => Console.log(`not started: ${message}`)),
  Effect.provideService(References.MinimumLogLevel, "Warn")
)

Effect.runPromise(Effect.provide(program, MemoryBackend.layer))
