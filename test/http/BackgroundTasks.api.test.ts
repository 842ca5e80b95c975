/** Background tasks in the handlers of an `HttpApi`, and of an upgraded connection. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { BackgroundTasks, TestClient } from "windlass/http"
import { journal, port, served } from "./support.ts"

class NoSuchUser extends Schema.TaggedError<NoSuchUser>()("NoSuchUser", {}) {}

class Users extends HttpApiGroup.make("users").add(
  HttpApiEndpoint.get("hello", "/hello", { success: Schema.String }),
  HttpApiEndpoint.get("nobody", "/nobody", { success: Schema.String, error: NoSuchUser })
) {}
class Api extends HttpApi.make("api").add(Users) {}

describe("background tasks of an HttpApi", () => {
  it.live("run after the reply; an error that an endpoint declares is a failure of the request", () => {
    const { lines, note } = journal()
    const handlers = HttpApiBuilder.group(Api, "users", (handlers) =>
      handlers
        .handle("hello", () => Effect.as(BackgroundTasks.add(note("hello")), "hello"))
        .handle("nobody", () => Effect.andThen(BackgroundTasks.add(note("nobody")), new NoSuchUser())))
    const app = HttpApiBuilder.layer(Api).pipe(
      Layer.provide(handlers),
      Layer.provideMerge(BackgroundTasks.layer()),
      Layer.provide(HttpServer.layerServices)
    )
    return Effect.gen(function*() {
      const client = yield* TestClient.TestClient
      assert.strictEqual((yield* client.get("/hello")).status, 200)
      assert.strictEqual((yield* client.get("/nobody")).status, 500)
      assert.deepStrictEqual(lines, ["hello"])
    }).pipe(Effect.provide(TestClient.layerInProcess(app)))
  })
})

describe("background tasks of a connection that was upgraded", () => {
  it.live("run when it is over", () => {
    const { lines, note } = journal()
    return Effect.gen(function*() {
      const ran = yield* Deferred.make<void>()
      const routes = HttpRouter.add(
        "GET",
        "/",
        Effect.gen(function*() {
          yield* BackgroundTasks.add(Effect.andThen(note("task"), Deferred.succeed(ran, undefined)))
          const request = yield* HttpServerRequest.HttpServerRequest
          const socket = yield* request.upgrade
          yield* Effect.ignore(Effect.scoped(Effect.gen(function*() {
            const reader = yield* socket.reader
            return yield* Effect.forever(Effect.flatMap(reader.pull, (messages) => note(String(messages))))
          })))
          return HttpServerResponse.empty()
        })
      )
      yield* Effect.gen(function*() {
        const at = yield* port
        const socket = new WebSocket(`ws://127.0.0.1:${at}/`)
        yield* Effect.callback<void>((resume) => {
          socket.addEventListener("open", () => resume(Effect.void), { once: true })
        })
        socket.send("hello")
        socket.close()
        yield* Deferred.await(ran)
        assert.deepStrictEqual(lines, ["hello", "task"])
      }).pipe(Effect.provide(served(routes.pipe(Layer.provide(BackgroundTasks.layer())))))
    })
  })
})
