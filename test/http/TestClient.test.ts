/** The test client: it waits for the background work of its own request, and fails with what failed in it. */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { BackgroundTasks, TestClient } from "windlass/http"
import { journal, served } from "./support.ts"

class MailRejected extends Schema.TaggedError<MailRejected>()("MailRejected", { code: Schema.Number }) {}
class Latches extends Context.Service<Latches, Latch.Latch>()("test/Latches") {}

const routes = Layer.mergeAll(
  HttpRouter.add(
    "GET",
    "/fails",
    Effect.as(
      BackgroundTasks.add(new MailRejected({ code: 550 }), { name: "mail" }),
      HttpServerResponse.text("sent", { headers: { "x-kept": "1" }, status: 201 })
    )
  ),
  HttpRouter.add(
    "GET",
    "/waits",
    Effect.gen(function*() {
      const latch = yield* Latches
      yield* BackgroundTasks.add(latch.await)
      return HttpServerResponse.text("reply")
    })
  ),
  HttpRouter.add(
    "POST",
    "/echo",
    Effect.gen(function*() {
      const request = yield* HttpServerRequest.HttpServerRequest
      return HttpServerResponse.setCookieUnsafe(HttpServerResponse.text(yield* request.text), "a", "b")
    })
  ),
  HttpRouter.add("GET", "/empty", HttpServerResponse.empty()),
  HttpRouter.add("POST", "/moves", HttpServerResponse.redirect("/fails", { status: 303 }))
)

const app = routes.pipe(Layer.provideMerge(BackgroundTasks.layer()))

const clients = {
  "a real server": TestClient.layer.pipe(Layer.provide(served(app))),
  "in process": TestClient.layerInProcess(app)
}

for (const [place, client] of Object.entries(clients)) {
  const live = client.pipe(Layer.provideMerge(Layer.effect(Latches, Latch.make())))

  describe(`TestClient: ${place}`, () => {
    it.live("fails with what a background task failed with", () =>
      Effect.gen(function*() {
        const client = yield* TestClient.TestClient
        const failure = yield* Effect.flip(client.get("/fails"))
        assert.instanceOf(failure, BackgroundTasks.BackgroundTasksFailed)
        const { failures, message } = failure as BackgroundTasks.BackgroundTasksFailed
        assert.match(message, /^background work of GET \/fails failed after the reply: mail \(/)
        assert.deepStrictEqual(failures.map(({ cause, task }) => [task, Cause.squash(cause)]), [
          ["mail", new MailRejected({ code: 550 })]
        ])
      }).pipe(Effect.provide(live)))

    it.live("exchange does not fail for it, and says what became of each", () =>
      Effect.gen(function*() {
        const { exchange } = yield* TestClient.TestClient
        const { report, response } = yield* exchange(HttpClientRequest.get("/fails"))
        assert.strictEqual(response.status, 201)
        assert.strictEqual(response.headers["x-kept"], "1")
        assert.strictEqual(yield* response.text, "sent")
        assert.strictEqual(report?.ran, 1)
        assert.deepStrictEqual(report?.failures.map(({ task }) => task), ["mail"])
      }).pipe(Effect.provide(live)))

    it.live("waits for the background work of its own request, not for that of others", () => {
      const { lines, note } = journal()
      return Effect.gen(function*() {
        const client = yield* TestClient.TestClient
        const latch = yield* Latches
        const waiting = yield* Effect.forkChild(Effect.andThen(client.get("/waits"), note("waited")))
        const echoed = yield* client.post("/echo", { body: HttpBody.text("hello") })
        assert.strictEqual(yield* echoed.text, "hello")
        assert.strictEqual(echoed.headers["set-cookie"], "a=b")
        yield* note("other")
        yield* latch.open
        yield* Fiber.join(waiting)
        assert.deepStrictEqual(lines, ["other", "waited"])
      }).pipe(Effect.provide(live))
    })

    it.live("a redirection is a reply; one that is followed is waited for as any request", () =>
      Effect.gen(function*() {
        const client = yield* TestClient.TestClient
        const { report, response } = yield* client.exchange(HttpClientRequest.post("/moves"))
        assert.deepStrictEqual([response.status, response.headers["location"]], [303, "/fails"])
        assert.strictEqual(report?.request.url, "/moves")
        const failure = yield* Effect.flip(HttpClient.followRedirects(client).post("/moves"))
        assert.instanceOf(failure, BackgroundTasks.BackgroundTasksFailed)
      }).pipe(Effect.provide(live)))

    it.live("returns replies without a body and of paths that there are not", () =>
      Effect.gen(function*() {
        const client = yield* TestClient.TestClient
        assert.strictEqual((yield* client.get("/empty")).status, 204)
        const { report, response } = yield* client.exchange(HttpClientRequest.get("/none"))
        assert.strictEqual(response.status, 404)
        assert.strictEqual(report?.ran, 0)
      }).pipe(Effect.provide(live)))
  })
}

describe("TestClient of a server without background tasks", () => {
  it.live("has no report and waits for nothing", () => {
    const plain = TestClient.layer.pipe(
      Layer.provide(served(HttpRouter.add("GET", "/", HttpServerResponse.text("plain")))),
      Layer.provide(BackgroundTasks.supervisor())
    )
    return Effect.gen(function*() {
      const { exchange } = yield* TestClient.TestClient
      const { report, response } = yield* exchange(HttpClientRequest.get("/"))
      assert.strictEqual(yield* response.text, "plain")
      assert.isUndefined(report)
    }).pipe(Effect.provide(plain))
  })
})
