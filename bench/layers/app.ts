/** The application around the job: twelve services, a task with a checked payload, a handler that uses a service. */
import { Context, Effect, Layer, Logger, Schema } from "effect"
import type * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import type { Cell, Payload } from "./contender.ts"
import { engine } from "./engine.ts"

export const payloadSchema = Schema.Struct({ i: Schema.Number, to: Schema.String, t: Schema.Number })

export interface Used {
  readonly used: () => void
}

const services = Array.from({ length: 12 }, (_, n) => Context.Service<Used, Used>(`bench/Service${n}`))
export const application: Context.Context<Used> = services.reduce(
  (context, service) => Context.add(context, service, { used: () => {} }),
  Context.empty() as Context.Context<Used>
)

/** the same for Windlass and for Effect alone; one that ends at once, and one that waits for a promise */
export const handlers = {
  sync: (cell: Cell) => (payload: Payload): Effect.Effect<void, never, Used> =>
    Effect.map(services[0]!, (service) => {
      service.used()
      cell.onJob(payload)
    }),
  async: (cell: Cell) => (payload: Payload): Effect.Effect<void, never, Used> =>
    Effect.flatMap(services[0]!, (service) =>
      Effect.promise(async () => {
        await undefined
        service.used()
        cell.onJob(payload)
      }))
}

/** nothing is logged for a job that succeeds; the worker's own start and end are no news here */
const quiet = Logger.layer([])

export interface Stack {
  /** around every job of the worker */
  readonly worker?: ReadonlyArray<Middleware.ForWorker>
  /** in the list of the task, first = outermost */
  readonly task?: ReadonlyArray<Middleware.Any>
  /** implementations of what is declared in it */
  readonly implementations?: Layer.Layer<never>
  /** the task's own wraps */
  readonly own?: ReadonlyArray<Task.OwnWrap<Payload, void, never, never, never>>
  /** of the stored jobs */
  readonly headers?: Readonly<Record<string, string>>
  /** a tracer */
  readonly services?: Layer.Layer<never>
}

/** Runs the cell's jobs through a worker with these layers around the handler, as `main` of a program would. */
export const work = (cell: Cell, stack: Stack, handler: keyof typeof handlers = "sync"): Promise<Worker.Report> => {
  const plain = Task.make("Bench", { payload: payloadSchema, middleware: stack.task ?? [] })
  const task = (stack.own ?? []).reduce((task, wrap) => task.wrap(wrap) as typeof plain, plain)
  const live = task.toLayer(handlers[handler](cell)) as Layer.Layer<Task.Handler<"Bench">, never, Used>
  const worker = Worker.layer(TaskGroup.make(task), {
    concurrency: cell.concurrency,
    mode: "drain",
    middleware: stack.worker ?? []
  }).pipe(
    Layer.provide(live),
    Layer.provide(stack.implementations ?? Layer.empty),
    Layer.provide(engine("Bench", cell.jobs, stack.headers)),
    Layer.provide(Layer.succeedContext(application)),
    Layer.provide(stack.services ?? Layer.empty),
    Layer.provide(quiet)
  ) as Layer.Layer<Worker.Worker>
  return Effect.runPromise(Worker.launch(worker))
}
