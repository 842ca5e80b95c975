/** Background tasks on a real server, with clients that read slowly, go away, or send the next request meanwhile. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import { BackgroundTasks } from "windlass/http"
import { get, journal, raw, served } from "./support.ts"

/** more than what sockets on both sides keep for a reader that does not read */
const large = "x".repeat(32 * 1024 * 1024)

const serving = (
  app: Layer.Layer<
    never,
    never,
    HttpRouter.HttpRouter | HttpRouter.Request<"Requires", BackgroundTasks.BackgroundTasks>
  >,
  options?: BackgroundTasks.Options
) => served(app.pipe(Layer.provideMerge(BackgroundTasks.layer(options))))

describe("when background tasks begin", () => {
  it.live("STAR-02 a reader that is slow delays them until its last byte was sent", () => {
    const { lines, note } = journal()
    return Effect.gen(function*() {
      const ran = yield* Deferred.make<void>()
      const app = HttpRouter.add(
        "GET",
        "/",
        Effect.gen(function*() {
          yield* BackgroundTasks.add(Effect.andThen(note("task"), Deferred.succeed(ran, undefined)))
          return HttpServerResponse.text(large)
        })
      )
      yield* Effect.gen(function*() {
        const client = yield* raw
        client.socket.pause()
        yield* client.send(get("/"))
        // another request comes and goes, and the first one is still being sent
        const other = yield* raw
        yield* other.send(get("/none"))
        yield* other.until("404")
        yield* note("read")
        client.socket.resume()
        yield* Deferred.await(ran)
        assert.deepStrictEqual(lines, ["read", "task"])
      }).pipe(Effect.provide(serving(app)))
    })
  })
})
