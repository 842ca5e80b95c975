/**
 * 09: background tasks in a handler, in a middleware, and jobs that are stored with the reply.
 *
 * The app of "FastAPI Background Tasks and Middleware" (Sentry Answers), part by part; what it is called there stands
 * beside each. The last route is what is missing there: the same call, made durable.
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { BackgroundTasks } from "windlass/http"
import * as Task from "windlass/Task"

/** def my_longrunning_background_function(status): sleep(5); print(...). How long it takes is up to the caller here */
const longRunning = (sleep: Effect.Effect<void>, status: string) =>
  Effect.andThen(sleep, Console.log(`All done, status ${status}`))

/** @app.get("/") async def hello(background_tasks: BackgroundTasks) */
const hello = (sleep: Effect.Effect<void>) =>
  HttpRouter.add(
    "GET",
    "/",
    Effect.gen(function*() {
      // background_tasks.add_task(my_longrunning_background_function, status="my status")
      yield* BackgroundTasks.add(longRunning(sleep, "of the handler"))
      return yield* HttpServerResponse.json({ message: "Hello World" })
    })
  )

/** @app.get("/goodbye") */
const goodbye = HttpRouter.add("GET", "/goodbye", HttpServerResponse.json({ message: "Goodbye World" }))

/** @app.middleware("http") async def my_middleware(request, call_next) */
const iExecuted = HttpRouter.middleware(
  (app) => Effect.tap(app, Console.log("I executed")), // response = await call_next(request); print("I executed")
  { global: true }
)

/** @app.middleware("http") async def my_longrunning_background_function_middleware(request, call_next) */
const afterEveryReply = (sleep: Effect.Effect<void>) =>
  HttpRouter.middleware(
    (app) =>
      Effect.gen(function*() {
        const response = yield* app // response = await call_next(request)
        // response.background = background_tasks: before the handler's own, as there
        yield* BackgroundTasks.add(longRunning(sleep, "of the middleware"), { first: true })
        return response
      }),
    { global: true }
  )

export class SendWelcome extends Task.make("SendWelcome", { payload: { to: Schema.String } }) {}

/** a crash loses a background task; a job is stored when the client has its reply, and a worker runs it */
const signup = HttpRouter.add(
  "POST",
  "/signup",
  Effect.gen(function*() {
    yield* BackgroundTasks.enqueue(SendWelcome.enqueue({ to: "ada@example.org" }))
    return yield* HttpServerResponse.json({ message: "Check your mail" })
  })
)

export const app = (sleep: Effect.Effect<void>) =>
  Layer.mergeAll(hello(sleep), goodbye, signup).pipe(
    Layer.provide([iExecuted, afterEveryReply(sleep)]),
    Layer.provideMerge(BackgroundTasks.layer())
  )
