/** Background tasks on a real server, with clients that read slowly, go away, or send the next request meanwhile. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { once } from "node:events"
import { createServer } from "node:http"
import * as Http2 from "node:http2"
import { BackgroundTasks } from "windlass/http"
import { get, journal, port, raw, served } from "./support.ts"

/** more than what sockets on both sides keep for a reader that does not read */
const large = "x".repeat(32 * 1024 * 1024)

type Routes = Layer.Layer<
  never,
  never,
  | HttpRouter.HttpRouter
  | HttpRouter.Request<"Requires", BackgroundTasks.BackgroundTasks>
  | HttpRouter.Request<"GlobalRequires", BackgroundTasks.BackgroundTasks>
>

const serving = (routes: Routes, options?: BackgroundTasks.Options) =>
  served(routes.pipe(Layer.provideMerge(BackgroundTasks.layer(options))))

const done = HttpServerResponse.text("done")

const bodies = {
  "a text": HttpServerResponse.text(large),
  "a stream": HttpServerResponse.stream(
    Stream.encodeText(Stream.fromIterable(Array.from({ length: 32 }, () => large.slice(0, 1024 * 1024))))
  ),
  "a small text": HttpServerResponse.text("done")
}

describe("when background tasks begin", () => {
  for (const [name, body] of Object.entries(bodies)) {
    const isSmall = name === "a small text"
    it.live(`STAR-02 after the last byte of ${name}, with middleware in the stack${isSmall ? "" : ", and a slow reader"}`, () => {
      const { lines, note } = journal()
      return Effect.gen(function*() {
        const ran = yield* Deferred.make<void>()
        const routes = HttpRouter.add(
          "GET",
          "/",
          Effect.as(BackgroundTasks.add(Effect.andThen(note("task"), Deferred.succeed(ran, undefined))), body)
        ).pipe(Layer.provide([
          HttpRouter.middleware((app) => Effect.map(app, HttpServerResponse.setHeader("x-inner", "1")), {
            global: true
          }),
          HttpRouter.middleware((app) => Effect.tap(app, note("replied")), { global: true })
        ]))
        yield* Effect.gen(function*() {
          const client = yield* raw
          client.socket.pause()
          yield* client.send(get("/"))
          // another request comes and goes, and the first one is still being sent
          const other = yield* raw
          yield* other.send(get("/none"))
          yield* other.until("404")
          if (!isSmall) yield* note("read")
          client.socket.resume()
          yield* Deferred.await(ran)
          assert.deepStrictEqual(lines, isSmall ? ["replied", "task"] : ["replied", "read", "task"])
        }).pipe(Effect.provide(serving(routes)))
      })
    })
  }

  it.live("after the last byte what the request acquired is released, also when there are none", () => {
    const { lines, note } = journal()
    return Effect.gen(function*() {
      const released = yield* Deferred.make<void>()
      const release = Effect.andThen(note("released"), Deferred.succeed(released, undefined))
      const routes = HttpRouter.add(
        "GET",
        "/",
        Effect.as(Effect.addFinalizer(() => release), HttpServerResponse.text(large))
      )
      yield* Effect.gen(function*() {
        const client = yield* raw
        client.socket.pause()
        yield* client.send(get("/"))
        const other = yield* raw
        yield* other.send(get("/none"))
        yield* other.until("404")
        yield* note("read")
        client.socket.resume()
        yield* Deferred.await(released)
        assert.deepStrictEqual(lines, ["read", "released"])
      }).pipe(Effect.provide(serving(routes)))
    })
  })

  it.live("when a body breaks off: the reply stays what it was, no second one comes", () => {
    const { lines, note } = journal()
    return Effect.gen(function*() {
      const latch = yield* Latch.make()
      const body = Stream.make("begun").pipe(
        Stream.concat(Stream.fromEffect(Effect.andThen(latch.await, Effect.die(new Error("no more"))))),
        Stream.encodeText
      )
      const routes = HttpRouter.add(
        "GET",
        "/",
        Effect.as(BackgroundTasks.add(note("task")), HttpServerResponse.stream(body))
      )
      yield* Effect.gen(function*() {
        const client = yield* raw
        yield* client.send(get("/"))
        yield* client.until("begun")
        yield* latch.open
        yield* client.closed
        const received = yield* client.until("begun")
        assert.deepStrictEqual(received.match(/HTTP\/1.1 \d+/g), ["HTTP/1.1 200"])
      }).pipe(Effect.provide(serving(routes)))
      assert.deepStrictEqual(lines, ["task"])
    })
  })

  for (const [how, leave] of [["was sent", false], ["could not be sent, as the client is gone", true]] as const) {
    it.live(`over HTTP/2 when the last byte ${how}`, () => {
      const { lines, note } = journal()
      return Effect.gen(function*() {
        const ran = yield* Deferred.make<void>()
        const routes = HttpRouter.add(
          "GET",
          "/",
          Effect.as(
            BackgroundTasks.add(Effect.andThen(note("task"), Deferred.succeed(ran, undefined))),
            HttpServerResponse.text(large)
          )
        )
        const server = HttpRouter.serve(routes.pipe(Layer.provide(BackgroundTasks.layer())), {
          disableListenLog: true,
          disableLogger: true
        }).pipe(Layer.provideMerge(NodeHttpServer.layerServer(Http2.createServer, { port: 0, host: "127.0.0.1" })))
        yield* Effect.gen(function*() {
          const at = yield* port
          const session = yield* Effect.acquireRelease(
            Effect.sync(() => Http2.connect(`http://127.0.0.1:${at}`)),
            (session) => Effect.sync(() => session.destroy())
          )
          const stream = session.request({ ":path": "/" })
          yield* Effect.promise(() => once(stream, "response"))
          yield* note("read")
          if (leave) session.destroy()
          else stream.resume()
          yield* Deferred.await(ran)
          assert.deepStrictEqual(lines, ["read", "task"])
        }).pipe(Effect.provide(server))
      })
    })
  }
})

describe("what background tasks do not delay", () => {
  const blocked = (latch: Latch.Latch, note: (line: string) => Effect.Effect<void>) =>
    HttpRouter.add(
      "GET",
      "/:name",
      Effect.gen(function*() {
        const { name } = yield* HttpRouter.params
        yield* BackgroundTasks.add(Effect.andThen(latch.await, note(`task of ${name}`)))
        return HttpServerResponse.text(`reply ${name}`)
      })
    )

  it.live("STAR-06 the replies to others, nor their tasks", () => {
    const { lines, note } = journal()
    return Effect.gen(function*() {
      const latch = yield* Latch.make()
      const quick = yield* Deferred.make<void>()
      const routes = Layer.merge(
        blocked(latch, note),
        HttpRouter.add("POST", "/", Effect.as(BackgroundTasks.add(Deferred.succeed(quick, undefined)), done))
      )
      yield* Effect.gen(function*() {
        const [one, two, three] = yield* Effect.all([raw, raw, raw])
        yield* one.send(get("/one"))
        yield* two.send(get("/two"))
        yield* Effect.all([one.until("reply one"), two.until("reply two")])
        yield* three.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n")
        yield* three.until("done")
        yield* Deferred.await(quick)
        assert.deepStrictEqual(lines, [])
        yield* latch.open
      }).pipe(Effect.provide(serving(routes)))
      // the server's end has waited for them
      assert.deepStrictEqual(lines.toSorted(), ["task of one", "task of two"])
    })
  })

  it.live("STAR-06 the next request of the same connection, sent after the reply or with the first one", () => {
    const { lines, note } = journal()
    return Effect.gen(function*() {
      const latch = yield* Latch.make()
      yield* Effect.gen(function*() {
        const client = yield* raw
        yield* client.send(get("/one"))
        yield* client.until("reply one")
        yield* client.send(get("/two") + get("/three") + get("/four"))
        yield* client.until("reply four")
        assert.deepStrictEqual(lines, [])
        yield* latch.open
      }).pipe(Effect.provide(serving(blocked(latch, note))))
      assert.deepStrictEqual(lines.toSorted(), ["task of four", "task of one", "task of three", "task of two"])
    })
  })
})

describe("a client that goes away", () => {
  const scenario = (
    handler: (
      started: Effect.Effect<void>
    ) => Effect.Effect<HttpServerResponse.HttpServerResponse, never, BackgroundTasks.BackgroundTasks>,
    task: Effect.Effect<void>
  ) =>
    Effect.gen(function*() {
      const started = yield* Deferred.make<void>()
      const ran = yield* Deferred.make<void>()
      const routes = HttpRouter.add(
        "GET",
        "/",
        Effect.andThen(
          BackgroundTasks.add(Effect.andThen(task, Deferred.succeed(ran, undefined))),
          handler(Effect.asVoid(Deferred.succeed(started, undefined)))
        )
      )
      yield* Effect.gen(function*() {
        const client = yield* raw
        yield* client.send(get("/"))
        yield* Deferred.await(started)
        client.socket.destroy()
        yield* Deferred.await(ran)
      }).pipe(Effect.provide(serving(routes)))
    })

  it.live("before the reply: the handler is interrupted, and what it had added runs", () => {
    const { lines, note } = journal()
    return Effect.gen(function*() {
      yield* scenario(
        (started) =>
          started.pipe(
            Effect.andThen(Effect.never),
            Effect.onInterrupt(() => note("interrupted"))
          ),
        note("task")
      )
      assert.deepStrictEqual(lines, ["interrupted", "task"])
    })
  })

  it.live("before the reply of a route that is uninterruptible: the handler ends, then its tasks run", () => {
    const { lines, note } = journal()
    return Effect.gen(function*() {
      const gone = yield* Deferred.make<void>()
      const begun = yield* Deferred.make<void>()
      const ran = yield* Deferred.make<void>()
      const routes = HttpRouter.add(
        "GET",
        "/",
        Effect.gen(function*() {
          yield* BackgroundTasks.add(note("before"))
          yield* Deferred.succeed(begun, undefined)
          yield* Deferred.await(gone)
          yield* note("handler ends")
          yield* BackgroundTasks.add(Effect.andThen(note("after"), Deferred.succeed(ran, undefined)))
          return done
        }),
        { uninterruptible: true }
      )
      yield* Effect.gen(function*() {
        const client = yield* raw
        yield* client.send(get("/"))
        yield* Deferred.await(begun)
        client.socket.destroy()
        yield* client.closed
        yield* Deferred.succeed(gone, undefined)
        yield* Deferred.await(ran)
      }).pipe(Effect.provide(serving(routes)))
      assert.deepStrictEqual(lines, ["handler ends", "before", "after"])
    })
  })

  it.live("while the body is sent: the tasks run", () => {
    const { lines, note } = journal()
    return Effect.gen(function*() {
      yield* scenario(
        (started) =>
          Effect.succeed(HttpServerResponse.stream(
            Stream.concat(Stream.make("a"), Stream.fromEffect(Effect.andThen(started, Effect.never))).pipe(
              Stream.encodeText,
              Stream.ensuring(note("body ended"))
            )
          )),
        note("task")
      )
      assert.sameMembers(lines, ["body ended", "task"])
    })
  })

  it.live("while a body that is in memory is sent: the tasks run", () => {
    const { lines, note } = journal()
    return Effect.gen(function*() {
      const ran = yield* Deferred.make<void>()
      const routes = HttpRouter.add(
        "GET",
        "/",
        Effect.as(
          BackgroundTasks.add(Effect.andThen(note("task"), Deferred.succeed(ran, undefined))),
          HttpServerResponse.text(large)
        )
      )
      yield* Effect.gen(function*() {
        const client = yield* raw
        yield* client.send(get("/"))
        yield* client.until("200 OK")
        client.socket.destroy()
        yield* Deferred.await(ran)
      }).pipe(Effect.provide(serving(routes)))
      assert.deepStrictEqual(lines, ["task"])
    })
  })

  it.live("while its tasks run: they run to their end", () => {
    const { lines, note } = journal()
    return Effect.gen(function*() {
      const gone = yield* Deferred.make<void>()
      const begun = yield* Deferred.make<void>()
      const routes = HttpRouter.add(
        "GET",
        "/",
        Effect.as(
          BackgroundTasks.add(
            Deferred.succeed(begun, undefined).pipe(
              Effect.andThen(Deferred.await(gone)),
              Effect.andThen(note("ended")),
              Effect.onInterrupt(() => note("interrupted"))
            )
          ),
          done
        )
      )
      yield* Effect.gen(function*() {
        const client = yield* raw
        yield* client.send(get("/"))
        yield* Deferred.await(begun)
        client.socket.destroy()
        yield* client.closed
        // the server has seen it, too
        const other = yield* raw
        yield* other.send(get("/none"))
        yield* other.until("404")
        yield* Deferred.succeed(gone, undefined)
      }).pipe(Effect.provide(serving(routes)))
      assert.deepStrictEqual(lines, ["ended"])
    })
  })

  it.live("while its reply waits behind another one on the connection: the tasks run", () => {
    const { lines, note } = journal()
    return Effect.gen(function*() {
      const latch = yield* Latch.make()
      const replied = yield* Deferred.make<void>()
      const ran = yield* Deferred.make<void>()
      const routes = Layer.merge(
        HttpRouter.add("GET", "/first", Effect.as(latch.await, done), { uninterruptible: true }),
        HttpRouter.add(
          "GET",
          "/second",
          Effect.as(BackgroundTasks.add(Effect.andThen(note("task"), Deferred.succeed(ran, undefined))), done)
        )
      ).pipe(Layer.provide(HttpRouter.middleware(
        (app) => Effect.tap(app, Effect.andThen(note("replied"), Deferred.succeed(replied, undefined))),
        { global: true }
      )))
      yield* Effect.gen(function*() {
        const client = yield* raw
        yield* client.send(get("/first") + get("/second"))
        yield* Deferred.await(replied)
        client.socket.destroy()
        yield* Deferred.await(ran)
        assert.deepStrictEqual(lines, ["replied", "task"])
        yield* latch.open
      }).pipe(Effect.provide(serving(routes)))
    })
  })
})

describe("without a router", () => {
  it.live("middleware and supervisor do the same around a plain app", () => {
    const { lines, note } = journal()
    const app = BackgroundTasks.middleware(Effect.as(BackgroundTasks.add(note("task")), done))
    const server = HttpServer.serve(app).pipe(
      Layer.provide(BackgroundTasks.supervisor()),
      Layer.provideMerge(NodeHttpServer.layerServer(createServer, { port: 0, host: "127.0.0.1" }))
    )
    return Effect.gen(function*() {
      yield* Effect.gen(function*() {
        const client = yield* raw
        yield* client.send(get("/"))
        yield* client.until("done")
      }).pipe(Effect.provide(server))
      assert.deepStrictEqual(lines, ["task"])
    })
  })
})
