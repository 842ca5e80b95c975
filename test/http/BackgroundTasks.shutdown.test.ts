/** The end of a server with background work under way: it is waited for, to a deadline, and what is cut is named. */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpRouter from "effect/http/HttpRouter"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { vi } from "vitest"
import { BackgroundTasks } from "windlass/http"
import { Pass } from "../../src/http/internal/pass.ts"
import { get, hearing, journal, raw, served } from "./support.ts"

const done = HttpServerResponse.text("done")

type Handler = Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  never,
  BackgroundTasks.BackgroundTasks | Scope.Scope
>

/** a server whose end is ours to ask for, and a client of it that has sent a request */
const started = (handler: Handler, options?: BackgroundTasks.Options) =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const routes = HttpRouter.add("GET", "/", handler).pipe(Layer.provide(BackgroundTasks.layer(options)))
    const context = yield* Layer.buildWithScope(served(routes), scope)
    const client = yield* Effect.provideContext(raw, context)
    yield* client.send(get("/", "connection: close"))
    return { client, end: Scope.close(scope, Exit.void), context }
  })

/** moves the clock until the fiber has ended */
const waitFor = <A, E>(fiber: Fiber.Fiber<A, E>): Effect.Effect<A, E> =>
  Effect.suspend(() =>
    fiber.pollUnsafe() !== undefined ?
      Fiber.join(fiber) :
      Effect.promise(() => new Promise((go) => setImmediate(go))).pipe(
        Effect.andThen(TestClock.adjust("1 second")),
        Effect.andThen(waitFor(fiber))
      )
  )

describe("the end of a server", () => {
  it.live("waits for the tasks that run", () => {
    const { lines, note } = journal()
    return Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const latch = yield* Latch.make()
      const { client, context, end } = yield* started(Effect.as(
        BackgroundTasks.add(
          Deferred.succeed(begun, undefined).pipe(
            Effect.andThen(latch.await),
            Effect.andThen(BackgroundTasks.add(note("added at the end"))),
            Effect.andThen(note("task"))
          )
        ),
        done
      ))
      yield* client.until("done")
      yield* Deferred.await(begun)
      const idle = yield* Effect.provideContext(raw, context)
      yield* idle.send(get("/none"))
      yield* idle.until("404")
      const ending = yield* Effect.forkChild(Effect.andThen(end, note("ended")))
      // the server closes its idle connections: it is on its way down
      yield* idle.closed
      yield* latch.open
      yield* Fiber.join(ending)
      assert.deepStrictEqual(lines, ["task", "added at the end", "ended"])
    })
  })

  it.live("waits for those of a request that is still handled when it begins", () => {
    const { lines, note } = journal()
    return Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const latch = yield* Latch.make()
      const { client, context, end } = yield* started(Effect.gen(function*() {
        yield* Deferred.succeed(begun, undefined)
        yield* latch.await
        yield* BackgroundTasks.add(note("task"))
        return done
      }))
      const idle = yield* Effect.provideContext(raw, context)
      yield* idle.send(get("/none"))
      yield* idle.until("404")
      yield* Deferred.await(begun)
      const ending = yield* Effect.forkChild(Effect.andThen(end, note("ended")))
      yield* idle.closed
      yield* latch.open
      yield* client.until("done")
      yield* Fiber.join(ending)
      assert.deepStrictEqual(lines, ["task", "ended"])
    })
  })

  it.effect("interrupts what is not over at the deadline, begins nothing after it, closes the request's scope, and names what it cut", () => {
    const { lines, note } = journal()
    const heard = hearing()
    let cutAt = 0
    return Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const { client, end } = yield* started(
        Effect.gen(function*() {
          yield* Effect.acquireRelease(note("acquired"), () => note("released"))
          yield* BackgroundTasks.add(
            Deferred.succeed(begun, undefined).pipe(
              Effect.andThen(Effect.never),
              Effect.onInterrupt(() =>
                Effect.flatMap(Clock.currentTimeMillis, (now) => {
                  cutAt = now
                  return note("interrupted")
                })
              )
            ),
            { name: "mail" }
          )
          yield* BackgroundTasks.add(Effect.uninterruptible(note("never")), { name: "cache" })
          return done
        }),
        { shutdownGrace: "45 seconds" }
      )
      yield* client.until("done")
      yield* Deferred.await(begun)
      yield* waitFor(yield* Effect.forkChild(end))
      assert.deepStrictEqual(lines, ["acquired", "interrupted", "released"])
      assert.isAtLeast(cutAt, 45_000)
      assert.deepStrictEqual(heard.logs, [
        "Error: background tasks of GET / did not end before the shutdown's deadline and were cut: mail, cache"
      ])
    }).pipe(Effect.provide(heard.layer))
  })

  it.effect("does not wait for ever for a task that cannot be interrupted, and says which request's it is", () => {
    const { lines, note } = journal()
    const heard = hearing()
    return Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const latch = yield* Latch.make()
      const over = yield* Deferred.make<void>()
      const { client, end } = yield* started(Effect.as(
        BackgroundTasks.add(Effect.uninterruptible(
          Deferred.succeed(begun, undefined).pipe(
            Effect.andThen(latch.await),
            Effect.andThen(note("over after all")),
            Effect.andThen(Deferred.succeed(over, undefined))
          )
        )),
        done
      ))
      yield* client.until("done")
      yield* Deferred.await(begun)
      yield* waitFor(yield* Effect.forkChild(end))
      assert.deepStrictEqual(heard.logs, [
        "Error: background tasks are stuck: interrupted, and not over after 10 seconds: GET /"
      ])
      yield* latch.open
      yield* Deferred.await(over)
      assert.deepStrictEqual(lines, ["over after all"])
    }).pipe(Effect.provide(heard.layer))
  })

  it.effect("a reply that nobody reads is given up by the server, and then its tasks run", () => {
    const { lines, note } = journal()
    return Effect.gen(function*() {
      const { client, end } = yield* started(Effect.gen(function*() {
        yield* BackgroundTasks.add(note("task"))
        const chunk = "x".repeat(1024 * 1024)
        return HttpServerResponse.stream(Stream.encodeText(Stream.forever(Stream.make(chunk))))
      }))
      yield* client.until("200 OK")
      client.socket.pause()
      yield* waitFor(yield* Effect.forkChild(Effect.andThen(end, note("ended"))))
      assert.deepStrictEqual(lines, ["task", "ended"])
    })
  })

  it.effect("at the deadline a task that still waits for its reply's last byte is cut, and the request's scope is closed", () => {
    const { lines, note } = journal()
    const heard = hearing()
    return Effect.gen(function*() {
      const scope = yield* Scope.make()
      const supervisor = yield* Layer.buildWithScope(BackgroundTasks.supervisor(), scope)
      const app = BackgroundTasks.middleware(Effect.gen(function*() {
        yield* Effect.acquireRelease(note("acquired"), () => note("released"))
        yield* BackgroundTasks.add(Effect.uninterruptible(note("never")), { name: "mail" })
        return HttpServerResponse.stream(Stream.encodeText(Stream.make("a", "b")))
      }))
      const context = Context.merge(yield* Effect.context<never>(), supervisor)
      const handle = HttpEffect.toWebHandlerWith<
        BackgroundTasks.Supervisor,
        BackgroundTasks.Supervisor | HttpServerRequest | Scope.Scope
      >(context)(app)
      // nobody reads its body
      const response = yield* Effect.promise(() => handle(new Request("http://in-process/")))
      assert.strictEqual(response.status, 200)
      yield* waitFor(yield* Effect.forkChild(Scope.close(scope, Exit.void)))
      assert.deepStrictEqual(lines, ["acquired", "released"])
      assert.deepStrictEqual(heard.logs, [
        "Error: background tasks of GET / did not end before the shutdown's deadline and were cut: mail"
      ])
    }).pipe(Effect.provide(heard.layer))
  })

  it.live("waits for what a fiber added to a request that was over", () => {
    const { lines, note } = journal()
    return Effect.gen(function*() {
      const over = yield* Deferred.make<void>()
      const begun = yield* Deferred.make<void>()
      const latch = yield* Latch.make()
      const { client, context, end } = yield* started(Effect.as(
        Effect.forkDetach(Effect.andThen(
          Deferred.await(over),
          BackgroundTasks.add(Effect.andThen(
            Effect.andThen(Deferred.succeed(begun, undefined), latch.await),
            note("late")
          ))
        )),
        done
      ))
      yield* client.closed
      yield* Deferred.succeed(over, undefined)
      yield* Deferred.await(begun)
      const idle = yield* Effect.provideContext(raw, context)
      yield* idle.send(get("/none"))
      yield* idle.until("404")
      const ending = yield* Effect.forkChild(Effect.andThen(end, note("ended")))
      yield* idle.closed
      // the server is over, and what remains is to wait
      const looks = vi.spyOn(Pass.prototype, "await", "get")
      for (let i = 0; i < 10; i++) yield* Effect.promise(() => new Promise((go) => setImmediate(go)))
      // it waits, and does not look again and again
      assert.isAtMost(looks.mock.calls.length, 1)
      looks.mockRestore()
      yield* latch.open
      yield* Fiber.join(ending)
      assert.deepStrictEqual(lines, ["late", "ended"])
    })
  })

  it.live("what a fiber adds after it does not run, and is named", () => {
    const { lines, note } = journal()
    const heard = hearing()
    return Effect.gen(function*() {
      const over = yield* Deferred.make<void>()
      const added = yield* Deferred.make<void>()
      const { client, end } = yield* started(Effect.as(
        Effect.forkDetach(
          Deferred.await(over).pipe(
            Effect.andThen(BackgroundTasks.add(note("never"), { name: "late" })),
            Effect.andThen(Deferred.succeed(added, undefined))
          )
        ),
        done
      ))
      yield* client.until("done")
      yield* end
      yield* Deferred.succeed(over, undefined)
      yield* Deferred.await(added)
      while (heard.logs.length === 0) yield* Effect.yieldNow
      assert.deepStrictEqual(lines, [])
      assert.deepStrictEqual(heard.logs, [
        "Error: background tasks of GET / did not end before the shutdown's deadline and were cut: late"
      ])
    }).pipe(Effect.provide(heard.layer))
  })
})
