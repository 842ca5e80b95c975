/** Jobs that are stored with the reply: what is answered for is there, and what failed leaves nothing. */
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { TransactionConnection } from "effect/sql/SqlClient"
import type { Backend } from "windlass/Backend"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Capability from "windlass/Capability"
import * as Enqueue from "windlass/Enqueue"
import { BackgroundTasks, TestClient } from "windlass/http"
import * as Task from "windlass/Task"
import { outsideOfTransactions } from "../../src/http/internal/context.ts"
import { Pass } from "../../src/http/internal/pass.ts"
import { onPostgres } from "../backends/postgres/here.ts"
import { backend, client } from "../backends/postgres/server.ts"
import { get, hearing, journal, raw, served } from "./support.ts"

class SendEmail extends Task.make("SendEmail", { payload: { to: Schema.String } }) {}
class Boom extends Schema.TaggedError<Boom>()("Boom", {}) {}

const done = HttpServerResponse.text("done")
const root = HttpClientRequest.get("/")

const stored = Effect.flatMap(Capability.Inspect, ({ counts }) => counts("default")).pipe(
  Effect.map(({ ready }) => ready)
)

const send = (to: string) => BackgroundTasks.enqueue(SendEmail.enqueue({ to }))

type Needs = Backend | Capability.AllButTransactional | PgClient.PgClient | BackgroundTasks.BackgroundTasks

/** one request to a handler, over the router in process */
const exchange = <R extends Needs | Scope.Scope>(
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, R>,
  ...middleware: ReadonlyArray<Layer.Layer<never, never, HttpRouter.HttpRouter>>
) =>
  Effect.gen(function*() {
    const routes = HttpRouter.add("GET", "/", handler).pipe(
      Layer.provideMerge(BackgroundTasks.layer()),
      (routes) => middleware.reduce((routes, one) => Layer.provide(routes, one), routes)
    )
    const { exchange } = yield* TestClient.TestClient.pipe(Effect.provide(TestClient.layerInProcess(routes)))
    return yield* exchange(root)
  })

const beforeSending = (note: (line: string) => Effect.Effect<void>) =>
  HttpRouter.middleware(
    (app) =>
      Effect.andThen(
        HttpEffect.appendPreResponseHandler((_, response) => Effect.as(note("first byte"), response)),
        app
      ),
    { global: true }
  )

describe("an enqueue that is part of the reply", () => {
  it.live("is done when the handler has succeeded and before the first byte, in order", () => {
    const { lines, note } = journal()
    return Effect.gen(function*() {
      yield* exchange(
        Effect.gen(function*() {
          yield* BackgroundTasks.enqueue(Effect.andThen(
            note("stored 1"),
            BackgroundTasks.enqueue(note("added by the first"))
          ))
          yield* BackgroundTasks.add(note("task"))
          yield* BackgroundTasks.enqueue(note("stored 2"))
          yield* note("handler")
          return done
        }),
        beforeSending(note)
      )
      assert.deepStrictEqual(lines, ["handler", "stored 1", "stored 2", "added by the first", "first byte", "task"])
    })
  })

  it.live("is stored when the client has the reply, on a real server", () =>
    Effect.gen(function*() {
      const context = yield* Effect.context<Backend | Capability.AllButTransactional>()
      const routes = HttpRouter.add("GET", "/", Effect.as(send("ann"), done)).pipe(
        Layer.provide(BackgroundTasks.layer())
      )
      yield* Effect.gen(function*() {
        const connection = yield* raw
        yield* connection.send(get("/"))
        yield* connection.until("200 OK")
        assert.strictEqual(yield* stored, 1)
      }).pipe(Effect.provide(served(routes)), Effect.provideContext(context))
    }).pipe(Effect.provide(MemoryBackend.layer)))

  it.live("a handler that fails, and one whose client went away, store nothing, and say so", () => {
    const heard = hearing()
    return Effect.gen(function*() {
      const context = yield* Effect.context<Backend | Capability.AllButTransactional>()
      const { response } = yield* exchange(Effect.andThen(send("ann"), new Boom()))
      assert.strictEqual(response.status, 500)
      assert.deepStrictEqual(heard.logs, ["Info: 1 enqueues of GET / were not done, because the request failed"])

      const begun = yield* Deferred.make<void>()
      const over = yield* Deferred.make<void>()
      const routes = HttpRouter.add(
        "GET",
        "/",
        Effect.gen(function*() {
          yield* send("bob")
          yield* BackgroundTasks.add(Deferred.succeed(over, undefined))
          yield* Deferred.succeed(begun, undefined)
          return yield* Effect.never
        })
      ).pipe(Layer.provide(BackgroundTasks.layer()))
      yield* Effect.gen(function*() {
        const connection = yield* raw
        yield* connection.send(get("/"))
        yield* Deferred.await(begun)
        connection.socket.destroy()
        yield* Deferred.await(over)
      }).pipe(Effect.provide(served(routes)), Effect.provideContext(context))
      assert.strictEqual(yield* stored, 0)
    }).pipe(Effect.provide(Layer.merge(MemoryBackend.layer, heard.layer)))
  })

  it.live("is done also when the client goes away meanwhile: the handler has succeeded", () => {
    const { lines, note } = journal()
    return Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const latch = yield* Latch.make()
      const routes = HttpRouter.add(
        "GET",
        "/",
        Effect.as(
          BackgroundTasks.enqueue(
            Deferred.succeed(begun, undefined).pipe(
              Effect.andThen(latch.await),
              Effect.andThen(note("stored"))
            )
          ),
          done
        )
      ).pipe(Layer.provide(BackgroundTasks.layer()))
      yield* Effect.gen(function*() {
        const connection = yield* raw
        yield* connection.send(get("/"))
        yield* Deferred.await(begun)
        connection.socket.destroy()
        yield* connection.closed
        // the server has seen it, too
        const other = yield* raw
        yield* other.send(get("/none"))
        yield* other.until("404")
        yield* latch.open
      }).pipe(Effect.provide(served(routes)))
      assert.deepStrictEqual(lines, ["stored"])
    })
  })

  it.live("that fails fails the request with EnqueueFailed: 500, and no background task runs", () => {
    const { lines, note } = journal()
    const heard = hearing()
    return Effect.gen(function*() {
      const { report, response } = yield* exchange(Effect.gen(function*() {
        yield* BackgroundTasks.add(note("task"), { name: "mail" })
        yield* BackgroundTasks.enqueue(note("stored before"))
        yield* BackgroundTasks.enqueue(new Boom())
        yield* BackgroundTasks.enqueue(note("never"))
        return done
      }))
      assert.strictEqual(response.status, 500)
      assert.deepStrictEqual(report?.dropped, ["mail"])
      assert.deepStrictEqual(lines, ["stored before"])
      assert.deepStrictEqual(heard.reports.map(({ name }) => name), ["windlass/EnqueueFailed"])
      assert.include(String(heard.reports[0]?.cause), "Boom")
      assert.include(heard.logs, "Info: 1 enqueues of GET / were not done, because the request failed")
    }).pipe(Effect.provide(heard.layer))
  })

  it.live("whose failure is none is handled where it is given", () =>
    Effect.gen(function*() {
      const once = BackgroundTasks.enqueue(
        SendEmail.enqueue({ to: "ann" }).pipe(
          Enqueue.uniqueBy("ann"),
          Effect.catchTag("windlass/AlreadyEnqueued", () => Effect.void)
        )
      )
      const { response } = yield* exchange(Effect.as(Effect.andThen(once, once), done))
      assert.strictEqual(response.status, 200)
      assert.strictEqual(yield* stored, 1)
    }).pipe(Effect.provide(MemoryBackend.layer)))

  it.effect("waits no longer once all that waited are stored, so that none comes too late to be stored", () =>
    Effect.gen(function*() {
      const request = HttpServerRequest.fromWeb(new Request("http://test/"))
      const pass = new Pass(request, {
        policy: "continue",
        onFailure: "drop",
        isFailure: ({ status }) => status >= 400
      })
      assert.strictEqual(pass.phase, "handling")
      yield* pass.returned(done)
      assert.strictEqual(pass.phase, "waiting")
    }))

  it.live("in a background task is done at once", () => {
    const { lines, note } = journal()
    return Effect.gen(function*() {
      yield* exchange(Effect.as(
        BackgroundTasks.add(Effect.andThen(BackgroundTasks.enqueue(note("stored")), note("after it"))),
        done
      ))
      assert.deepStrictEqual(lines, ["stored", "after it"])
    })
  })
})

onPostgres("with a transaction", () => {
  const seen = Effect.flatMap(PgClient.PgClient, (sql) => Effect.serviceOption(sql.transactionService)).pipe(
    Effect.map(Option.isSome)
  )

  it.live("an enqueue is done at once, in it: it is stored when it commits, and not when it is rolled back", () => {
    const { lines, note } = journal()
    return Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const first = yield* exchange(
        Effect.gen(function*() {
          yield* sql.withTransaction(Effect.gen(function*() {
            yield* send("ann")
            yield* BackgroundTasks.enqueue(Effect.flatMap(seen, (inside) => note(`inside: ${inside}`)))
            // only this transaction sees it yet
            assert.strictEqual(yield* stored, 0)
          }))
          yield* note("handler")
          return done
        })
      )
      assert.strictEqual(first.response.status, 200)
      assert.deepStrictEqual(lines, ["inside: true", "handler"])
      assert.strictEqual(yield* stored, 1)

      const second = yield* exchange(sql.withTransaction(Effect.andThen(send("bob"), new Boom())))
      assert.strictEqual(second.response.status, 500)
      assert.strictEqual(yield* stored, 1)
    }).pipe(Effect.provide(backend()))
  })

  it.live("that is around the whole request it is the same, and outside of any it waits for the handler", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const around = HttpRouter.middleware((app) => sql.withTransaction(app), { global: true })
      const routes = (handler: Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, Needs>) =>
        TestClient.layerInProcess(
          HttpRouter.add("GET", "/", handler).pipe(Layer.provide(around), Layer.provideMerge(BackgroundTasks.layer()))
        )
      const call = Effect.flatMap(TestClient.TestClient, ({ exchange }) => exchange(root))
      yield* Effect.provide(call, routes(Effect.andThen(send("ann"), new Boom())))
      assert.strictEqual(yield* stored, 0)
      yield* Effect.provide(call, routes(Effect.as(send("ann"), done)))
      assert.strictEqual(yield* stored, 1)
      yield* exchange(Effect.andThen(send("bob"), Effect.as(Effect.map(stored, (n) => assert.strictEqual(n, 1)), done)))
      assert.strictEqual(yield* stored, 2)
    }).pipe(Effect.provide(backend())))

  it.live("of a database that the queue is not in, it waits for the handler, and does not see the transaction", () => {
    const { lines, note } = journal()
    return Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* exchange(Effect.gen(function*() {
        yield* sql.withTransaction(BackgroundTasks.enqueue(Effect.flatMap(seen, (inside) => note(`inside: ${inside}`))))
        yield* note("handler")
        return done
      }))
      assert.deepStrictEqual(lines, ["handler", "inside: false"])
    }).pipe(Effect.provide(Layer.merge(MemoryBackend.layer, client())))
  })

  it.live("a background task that was added in it runs outside of it, when it is over", () => {
    const { lines, note } = journal()
    return Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql`CREATE TEMPORARY TABLE users (name TEXT)`
      const { report } = yield* exchange(
        sql.withTransaction(Effect.gen(function*() {
          yield* sql`INSERT INTO users VALUES ('ann')`
          yield* BackgroundTasks.add(Effect.gen(function*() {
            const rows = yield* sql<{ name: string }>`SELECT name FROM users`
            yield* note(`${rows.map(({ name }) => name)}, inside: ${yield* seen}`)
          }))
          return done
        }))
      )
      assert.deepStrictEqual(report?.failures, [])
      assert.deepStrictEqual(lines, ["ann, inside: false"])
    }).pipe(Effect.provide(backend({}, { maxConnections: 1 })))
  })
})

describe("the context of a background task", () => {
  it("is without the transactions of any client, those with a key of their own too", () => {
    class Kept extends Context.Service<Kept, string>()("test/Kept") {}
    class Own extends Context.Service<Own, string>()("test/OwnTransaction") {}
    const current = Context.Reference<unknown>("effect/sql/CurrentTransactionService", {
      defaultValue: () => undefined
    })
    const context = Context.make(Kept, "kept").pipe(
      Context.add(TransactionConnection(3), [{} as never, 0]),
      Context.add(Own, "own"),
      Context.add(current, Own)
    )
    assert.deepStrictEqual(Array.from(outsideOfTransactions(context).mapUnsafe.keys()), ["test/Kept"])
    const plain = Context.make(Kept, "kept")
    assert.strictEqual(outsideOfTransactions(plain), plain)
  })
})
