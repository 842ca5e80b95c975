/**
 * A client for tests: a reply comes back when its background work is over, and a background task that failed fails the
 * call. Against a real server ({@link layer}), or in process without a socket ({@link layerInProcess}).
 *
 * ```ts
 * it.effect("signs up", () => Effect.gen(function*() {
 *   const client = yield* TestClient.TestClient
 *   const response = yield* client.post("/signup")      // fails with BackgroundTasksFailed if the mail could not be sent
 *   assert.strictEqual(response.status, 200)
 *   assert.deepStrictEqual(yield* sentMails, ["welcome"]) // no waiting: it has been sent
 * }).pipe(Effect.provide(TestClient.layerInProcess(App))))
 * ```
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import type { HttpClientError } from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { type BackgroundTasks, BackgroundTasksFailed, type Report, Supervisor } from "./BackgroundTasks.ts"
import { nameOf } from "./internal/pass.ts"

/**
 * A reply, read to its end, and what became of its background work: undefined if the request never came to the
 * background tasks' middleware.
 *
 * @category models
 * @since 0.1.0
 */
export interface Exchange {
  readonly response: HttpClientResponse.HttpClientResponse
  readonly report: Report | undefined
}

/**
 * An `HttpClient` whose calls end when the background work is over, and fail with what failed in it. `exchange` is one
 * call that does not fail for that and says what became of each task.
 *
 * Bodies are read to their end: for replies without an end take a client of your own.
 *
 * @category services
 * @since 0.1.0
 */
export class TestClient extends Context.Service<
  TestClient,
  HttpClient.HttpClient.With<HttpClientError | BackgroundTasksFailed> & {
    readonly exchange: (request: HttpClientRequest.HttpClientRequest) => Effect.Effect<Exchange, HttpClientError>
  }
>()("windlass/http/TestClient") {}

/** by this header a request is known again when it has arrived; the server's side does nothing with it */
const header = "x-windlass-test-request"

let requests = 0

const make = (
  http: Pick<HttpClient.HttpClient, "execute">,
  supervisor: Supervisor["Service"]
): TestClient["Service"] => {
  const exchange = (
    effect: (id: string) => Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError>
  ): Effect.Effect<Exchange, HttpClientError> =>
    Effect.scoped(Effect.gen(function*() {
      const id = `${++requests}`
      const over = Deferred.makeUnsafe<Report>()
      let hasArrived = false
      yield* supervisor.observe((request) => {
        if (request.headers[header] !== id) return
        hasArrived = true
        return (report) => void Deferred.doneUnsafe(over, Effect.succeed(report))
      })
      // the last byte is sent only to somebody who reads
      const response = yield* Effect.flatMap(effect(id), read)
      return { response, report: hasArrived ? yield* Deferred.await(over) : undefined }
    }))
  const client = HttpClient.makeWith<HttpClientError, never, HttpClientError | BackgroundTasksFailed, never>(
    (request) =>
      Effect.flatMap(request, (request) =>
        Effect.flatMap(
          exchange((id) => http.execute(HttpClientRequest.setHeader(request, header, id))),
          ({ report, response }) =>
            report === undefined || report.failures.length === 0
              ? Effect.succeed(response)
              : Effect.fail(failed(report))
        )),
    Effect.succeed
  )
  return Object.assign(client, {
    exchange: (request: HttpClientRequest.HttpClientRequest) =>
      exchange((id) => http.execute(HttpClientRequest.setHeader(request, header, id)))
  })
}

const failed = ({ failures, request }: Report): BackgroundTasksFailed =>
  new BackgroundTasksFailed({
    message: `background work of ${nameOf(request)} failed after the reply: ${
      failures.map(({ cause, task }) => `${task} (${String(Cause.squash(cause))})`).join(", ")
    }`,
    failures
  })

/** the same response with its whole body in memory */
const read = (
  response: HttpClientResponse.HttpClientResponse
): Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError> =>
  Effect.map(response.arrayBuffer, (body) => {
    const { headers, status, statusText } = Option.getOrElse(
      HttpClientResponse.toWeb(response),
      () => ({ headers: { ...response.headers }, status: response.status, statusText: "" })
    )
    return HttpClientResponse.fromWeb(
      response.request,
      new Response(body.byteLength === 0 ? null : body, { headers, status, statusText })
    )
  })

/** requests that name a host go there, as those of a redirection that is followed do */
const either = (
  based: HttpClient.HttpClient,
  http: HttpClient.HttpClient
): Pick<HttpClient.HttpClient, "execute"> => ({
  execute: (request) => unfollowed((/^https?:\/\//i.test(request.url) ? http : based).execute(request))
})

/** what "fetch" follows by itself is a second request, for whose background work nobody would wait */
const unfollowed = <A, E, R>(response: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(
    Effect.serviceOption(FetchHttpClient.RequestInit),
    (init) =>
      Effect.provideService(response, FetchHttpClient.RequestInit, {
        redirect: "manual",
        ...Option.getOrUndefined(init)
      })
  )

/**
 * A client of a real server, by its address. Requests that name no host go there. A redirection is the reply, as it is
 * in process: `HttpClient.followRedirects` makes a client that follows, and waits for the background work of each request.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<TestClient, never, HttpServer.HttpServer | Supervisor> = Layer.effect(
  TestClient,
  Effect.gen(function*() {
    return make(either(yield* HttpServer.makeTestClient, yield* HttpClient.HttpClient), yield* Supervisor)
  })
).pipe(Layer.provide(FetchHttpClient.layer))

/**
 * A client of an app that no server serves: the requests go to its router. The app keeps its background tasks' layer
 * (`Layer.provideMerge(BackgroundTasks.layer())`), so that the client can look on. There is no network, so the last byte
 * of a reply is sent when it was handed over, that of a streamed body when it was read.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerInProcess = <A, E, R>(
  app: Layer.Layer<A | Supervisor, E, R>
): Layer.Layer<
  TestClient,
  HttpRouter.Request.Without<E>,
  | Exclude<HttpRouter.Request.Without<R>, HttpRouter.HttpRouter>
  | Exclude<
    HttpRouter.Request.Only<"Requires", R> | HttpRouter.Request.Only<"GlobalRequires", R>,
    A | BackgroundTasks | HttpRouter.GlobalProvided
  >
> =>
  Layer.effect(
    TestClient,
    Effect.gen(function*() {
      const context = yield* Layer.build(Layer.provideMerge(app as Layer.Layer<A | Supervisor, E>, HttpRouter.layer))
      const all = Context.merge(yield* Effect.context<never>(), context)
      const router = Context.get(context, HttpRouter.HttpRouter)
      const handle = HttpEffect.toWebHandlerWith<never, HttpServerRequest | Scope.Scope>(all)(router.asHttpEffect())
      const fetch: typeof globalThis.fetch = (input, init) => handle(new Request(input, init))
      const http = HttpClient.transformResponse(
        yield* HttpClient.HttpClient,
        Effect.provideService(FetchHttpClient.Fetch, fetch)
      )
      return make(
        either(HttpClient.mapRequest(http, HttpClientRequest.prependUrl("http://in-process")), http),
        Context.get(context, Supervisor)
      )
    })
  ).pipe(Layer.provide(FetchHttpClient.layer)) as never
