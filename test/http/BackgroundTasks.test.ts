/** What background tasks promise whatever the server is: on a real one with real sockets, and in process. */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { BackgroundTasks, TestClient } from "windlass/http"
import { broken, hearing, journal, served } from "./support.ts"

type App = Layer.Layer<
  never,
  never,
  | HttpRouter.HttpRouter
  | HttpRouter.Request<"Requires", BackgroundTasks.BackgroundTasks>
  | HttpRouter.Request<"GlobalRequires", BackgroundTasks.BackgroundTasks>
  | HttpRouter.Request<"Error", unknown>
  | HttpRouter.Request<"GlobalError", unknown>
  | BackgroundTasks.Supervisor
>

const places = {
  "a real server": (app: App, options?: BackgroundTasks.Options) =>
    TestClient.layer.pipe(Layer.provide(served(app.pipe(Layer.provideMerge(BackgroundTasks.layer(options)))))),
  "in process": (app: App, options?: BackgroundTasks.Options) =>
    TestClient.layerInProcess(app.pipe(Layer.provideMerge(BackgroundTasks.layer(options))))
}

class Boom extends Schema.TaggedError<Boom>()("Boom", {}) {}

const done = HttpServerResponse.text("done")

/** one turn of Node's event loop */
const turn = Effect.promise(() => new Promise((go) => setImmediate(go)))
const root = HttpClientRequest.get("/?token=secret")

const route = <E = never, R = never>(handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
  HttpRouter.add("GET", "/", handler)

/** a middleware around every route, that adds a task before or after the handler */
const around = (name: string, when: "before" | "after", task: Effect.Effect<void>) =>
  HttpRouter.middleware(
    (app) => {
      const add = BackgroundTasks.add(task, { name, first: when === "after" })
      return when === "before" ? Effect.andThen(add, app) : Effect.tap(app, add)
    },
    { global: true }
  )

for (const [place, clientOf] of Object.entries(places)) {
  /** one request; what became of its background work, and of its reply */
  const exchange = (app: App, options?: BackgroundTasks.Options) =>
    Effect.gen(function*() {
      const client = yield* TestClient.TestClient
      const { report, response } = yield* client.exchange(root)
      assert(report !== undefined)
      return { report, status: response.status, text: yield* response.text }
    }).pipe(Effect.provide(clientOf(app, options)))

  describe(`background tasks: ${place}`, () => {
    it.live("run in the order in which they were added, and those that they add in the same pass", () => {
      const { lines, note } = journal()
      return Effect.gen(function*() {
        const { report, text } = yield* exchange(route(Effect.gen(function*() {
          yield* BackgroundTasks.add(
            note("one").pipe(
              Effect.andThen(BackgroundTasks.add(Effect.andThen(note("four"), BackgroundTasks.add(note("five"))))),
              Effect.andThen(BackgroundTasks.add(note("three"), { first: true }))
            )
          )
          yield* BackgroundTasks.add(note("two"), { first: true })
          yield* note("handler")
          return done
        })))
        assert.strictEqual(text, "done")
        assert.deepStrictEqual(lines, ["handler", "two", "one", "three", "four", "five"])
        assert.strictEqual(report.ran, 5)
      })
    })

    it.live("STAR-04 those of middleware come before the handler's, the outer one's first, each once", () => {
      const { lines, note } = journal()
      const app = route(Effect.as(BackgroundTasks.add(note("handler's")), done)).pipe(
        Layer.provide(around("inner", "before", note("inner's"))),
        Layer.provide(around("outer", "before", note("outer's")))
      )
      return Effect.gen(function*() {
        yield* exchange(app)
        assert.deepStrictEqual(lines, ["outer's", "inner's", "handler's"])
      })
    })

    it.live("STAR-04 the same for middleware that adds when it has seen the reply", () => {
      const { lines, note } = journal()
      const app = route(Effect.as(BackgroundTasks.add(note("handler's")), done)).pipe(
        Layer.provide(around("inner", "after", note("inner's"))),
        Layer.provide(around("outer", "after", note("outer's")))
      )
      return Effect.gen(function*() {
        yield* exchange(app)
        assert.deepStrictEqual(lines, ["outer's", "inner's", "handler's"])
      })
    })

    it.live("are one list for a handler and the services that it uses", () => {
      const { lines, note } = journal()
      class Audit extends Context.Service<Audit, {
        readonly log: (line: string) => Effect.Effect<void, never, BackgroundTasks.BackgroundTasks>
      }>()("test/Audit") {}
      const AuditLive = Layer.succeed(Audit, { log: (line) => BackgroundTasks.add(note(line)) })
      const app = route(Effect.gen(function*() {
        const audit = yield* Audit
        yield* BackgroundTasks.add(note("handler"))
        yield* audit.log("service")
        yield* BackgroundTasks.add(note("handler again"))
        return done
      })).pipe(HttpRouter.provideRequest(AuditLive))
      return Effect.gen(function*() {
        yield* exchange(app)
        assert.deepStrictEqual(lines, ["handler", "service", "handler again"])
      })
    })

    it.live("STAR-03 continue, the default: one that fails or dies is reported, and the others run", () => {
      const { lines, note } = journal()
      const heard = hearing()
      const app = route(Effect.gen(function*() {
        yield* BackgroundTasks.add(Effect.fail(new Boom()), { name: "fails" })
        yield* BackgroundTasks.add(note("between"))
        yield* BackgroundTasks.add(Effect.die(new Error("dies")), { name: "dies" })
        yield* BackgroundTasks.add(Effect.interrupt, { name: "interrupts itself" })
        yield* BackgroundTasks.add(note("last"))
        return done
      }))
      return Effect.gen(function*() {
        const { report } = yield* exchange(app)
        assert.deepStrictEqual(lines, ["between", "last"])
        assert.deepStrictEqual(report.failures.map(({ task }) => task), ["fails", "dies", "interrupts itself"])
        assert.strictEqual(report.ran, 5)
        assert.deepStrictEqual(heard.reports.map(({ name, message }) => name === "Error" ? message : name), [
          "Boom",
          "dies"
        ])
        assert.deepStrictEqual(heard.logs, [
          `Error: background work "fails" of GET / failed; the reply was not changed by it`,
          `Error: background work "dies" of GET / failed; the reply was not changed by it`,
          `Error: background work "interrupts itself" of GET / failed; the reply was not changed by it`
        ])
      }).pipe(Effect.provide(heard.layer))
    })

    it.live("STAR-03 failFast: those after one that failed are skipped, and named", () => {
      const { lines, note } = journal()
      const heard = hearing()
      const app = route(Effect.gen(function*() {
        yield* BackgroundTasks.add(note("first"))
        yield* BackgroundTasks.add(Effect.fail(new Boom()), { name: "fails" })
        yield* BackgroundTasks.add(note("never"), { name: "mail" })
        yield* BackgroundTasks.add(note("never"), { name: "cache" })
        return done
      }))
      return Effect.gen(function*() {
        const { report } = yield* exchange(app, { policy: "failFast" })
        assert.deepStrictEqual(lines, ["first"])
        assert.deepStrictEqual(report.skipped, ["mail", "cache"])
        assert.strictEqual(report.ran, 2)
        assert.strictEqual(
          heard.logs.at(-1),
          `Warn: background tasks of GET / were skipped, because "fails" failed: mail, cache`
        )
      }).pipe(Effect.provide(heard.layer))
    })

    it.live("STAR-07 a failure changes no reply, is caught by nothing around the handler, and is reported", () => {
      const heard = hearing()
      const { lines, note } = journal()
      const app = route(Effect.as(BackgroundTasks.add(Effect.fail(new Boom()), { name: "mail" }), done)).pipe(
        Layer.provide(HttpRouter.middleware(
          (app) => Effect.onExit(app, (exit) => exit._tag === "Failure" ? note("caught") : Effect.void),
          { global: true }
        ))
      )
      return Effect.gen(function*() {
        const { report, status, text } = yield* exchange(app)
        assert.strictEqual(status, 200)
        assert.strictEqual(text, "done")
        assert.deepStrictEqual(lines, [])
        assert.deepStrictEqual(heard.reports.map(({ name }) => name), ["Boom"])
        assert.instanceOf(Cause.squash(report.failures[0]!.cause), Boom)
      }).pipe(Effect.provide(heard.layer))
    })

    it.live("a logger or a reporter that dies takes nothing along", () => {
      const { lines, note } = journal()
      const app = route(Effect.gen(function*() {
        yield* BackgroundTasks.add(Effect.fail(new Boom()))
        yield* BackgroundTasks.add(note("after"))
        return done
      }))
      return Effect.gen(function*() {
        yield* exchange(app)
        assert.deepStrictEqual(lines, ["after"])
      }).pipe(Effect.provide(broken))
    })

    it.live("FAPI-02 a reply that something else put in the place of the handler's loses none", () => {
      const { lines, note } = journal()
      const app = route(Effect.gen(function*() {
        yield* BackgroundTasks.add(note("added"))
        const own = HttpServerResponse.text("own", { headers: { "x-own": "1" } })
        yield* BackgroundTasks.add(note("with its own reply"))
        return own
      })).pipe(
        Layer.provide(HttpRouter.middleware(
          (app) => Effect.as(app, HttpServerResponse.text("another", { status: 202 })),
          { global: true }
        ))
      )
      return Effect.gen(function*() {
        const { status, text } = yield* exchange(app)
        assert.strictEqual(status, 202)
        assert.strictEqual(text, "another")
        assert.deepStrictEqual(lines, ["added", "with its own reply"])
      })
    })

    it.live("FAPI-03 drop, the default: a request that failed runs none but those that say so, and the others are named", () => {
      const { lines, note } = journal()
      const heard = hearing()
      const app = route(Effect.gen(function*() {
        yield* BackgroundTasks.add(note("mail"), { name: "mail" })
        yield* BackgroundTasks.add(note("audit"), { name: "audit", onFailure: "run" })
        return yield* new Boom()
      }))
      return Effect.gen(function*() {
        const { report, status } = yield* exchange(app)
        assert.strictEqual(status, 500)
        assert.deepStrictEqual(lines, ["audit"])
        assert.deepStrictEqual(report.dropped, ["mail"])
        assert.include(heard.logs, "Info: background tasks of GET / were dropped, because the request failed: mail")
      }).pipe(Effect.provide(heard.layer))
    })

    it.live("FAPI-03 run: they run also when the request failed, but for those that say otherwise", () => {
      const { lines, note } = journal()
      const app = route(Effect.gen(function*() {
        yield* BackgroundTasks.add(note("mail"))
        yield* BackgroundTasks.add(note("cache"), { onFailure: "drop" })
        return yield* Effect.die(new Error("unforeseen"))
      }))
      return Effect.gen(function*() {
        const { status } = yield* exchange(app, { onFailure: "run" })
        assert.strictEqual(status, 500)
        assert.deepStrictEqual(lines, ["mail"])
      })
    })

    it.live("FAPI-03 a reply with an error status is a failure, unless isFailure says otherwise; it is sent as it is", () => {
      const { lines, note } = journal()
      const app = route(Effect.gen(function*() {
        yield* BackgroundTasks.add(note("mail"))
        yield* BackgroundTasks.enqueue(note("stored"))
        return HttpServerResponse.text("no", { status: 400 })
      }))
      return Effect.gen(function*() {
        const first = yield* exchange(app)
        assert.deepStrictEqual([first.status, first.text], [400, "no"])
        assert.deepStrictEqual(first.report.dropped, ["task 1"])
        assert.deepStrictEqual(lines, [])
        const second = yield* exchange(app, { isFailure: ({ status }) => status >= 500 })
        assert.deepStrictEqual([second.status, second.text], [400, "no"])
        assert.deepStrictEqual(lines, ["stored", "mail"])
      })
    })

    it.live("an isFailure that throws fails the request, and its scope is closed", () => {
      const { lines, note } = journal()
      const app = route(Effect.gen(function*() {
        yield* Effect.addFinalizer(() => note("released"))
        yield* BackgroundTasks.add(note("task"))
        return done
      }))
      const isFailure = () => {
        throw new Error("unforeseen")
      }
      return Effect.gen(function*() {
        const { report, status } = yield* exchange(app, { isFailure })
        assert.strictEqual(status, 500)
        assert.deepStrictEqual(report.dropped, ["task 1"])
        assert.deepStrictEqual(lines, ["released"])
      })
    })

    it.live("FAPI-03 a redirection is no failure", () => {
      const { lines, note } = journal()
      const app = route(Effect.as(BackgroundTasks.add(note("mail")), HttpServerResponse.empty({ status: 399 })))
      return Effect.gen(function*() {
        yield* exchange(app)
        assert.deepStrictEqual(lines, ["mail"])
      })
    })

    it.live("FAPI-04 what the request acquired is open for them and closed after them, a narrower scope before the reply", () => {
      const { lines, note } = journal()
      class Session extends Context.Service<Session, { readonly use: Effect.Effect<void> }>()("test/Session") {}
      const session = HttpRouter.middleware<{ provides: Session }>()((app) =>
        Effect.flatMap(
          Effect.acquireRelease(
            Effect.sync(() => {
              let isOpen = true
              return { use: Effect.suspend(() => note(isOpen ? "open" : "closed")), close: () => void (isOpen = false) }
            }),
            (session) => Effect.andThen(note("released"), Effect.sync(session.close))
          ),
          (session) => Effect.provideService(app, Session, session)
        )
      )
      const app = route(Effect.gen(function*() {
        const { use } = yield* Session
        yield* Effect.scoped(Effect.acquireRelease(note("narrow"), () => note("narrow released")))
        yield* BackgroundTasks.add(use)
        yield* BackgroundTasks.add(Effect.andThen(
          Effect.acquireRelease(note("task's own"), () => note("task's own released")),
          Effect.fail(new Boom())
        ))
        yield* BackgroundTasks.add(Effect.flatMap(Session, ({ use }) => use))
        yield* note("reply")
        return done
      })).pipe(Layer.provide(session.layer))
      return Effect.gen(function*() {
        yield* exchange(app)
        assert.deepStrictEqual(lines, [
          "narrow",
          "narrow released",
          "reply",
          "open",
          "task's own",
          "task's own released",
          "open",
          "released"
        ])
      })
    })

    it.live("FAPI-04 a finalizer of the request may add some, and one that dies is reported and takes none along", () => {
      const { lines, note } = journal()
      const app = route(Effect.gen(function*() {
        const tasks = yield* BackgroundTasks.BackgroundTasks
        yield* Effect.addFinalizer(() => Effect.die(new Error("no release")))
        yield* Effect.addFinalizer(() => tasks.add(note("added by a finalizer")))
        yield* BackgroundTasks.add(note("task"))
        return done
      }))
      return Effect.gen(function*() {
        const { report } = yield* exchange(app)
        assert.deepStrictEqual(lines, ["task", "added by a finalizer"])
        assert.deepStrictEqual(report.failures.map(({ task }) => task), ["the request's scope"])
      })
    })

    it.live("keep what was set around the place where they were added (STAR-11)", () => {
      const { lines, note } = journal()
      const app = route(
        BackgroundTasks.add(Effect.flatMap(References.CurrentLogAnnotations, ({ tenant }) => note(String(tenant))))
          .pipe(
            Effect.annotateLogs("tenant", "acme"),
            Effect.as(done)
          )
      )
      return Effect.gen(function*() {
        yield* exchange(app)
        assert.deepStrictEqual(lines, ["acme"])
      })
    })

    it.live("wait for a body that is streamed, which may add some, and whose resources stay open", () => {
      const { lines, note } = journal()
      const app = route(Effect.gen(function*() {
        const tasks = yield* BackgroundTasks.BackgroundTasks
        yield* Effect.acquireRelease(note("acquired"), () => note("released"))
        // what does not wait for the last chunk has time enough to show it
        const last = Effect.andThen(Effect.repeat(turn, { times: 10 }), tasks.add(note("added by the body")))
        const body = Stream.fromEffect(Effect.as(note("first chunk"), "a")).pipe(
          Stream.concat(Stream.fromEffect(Effect.as(Effect.andThen(last, note("last chunk")), "b"))),
          Stream.encodeText
        )
        yield* BackgroundTasks.add(note("task"))
        return HttpServerResponse.stream(body)
      }))
      return Effect.gen(function*() {
        const { text } = yield* exchange(app)
        assert.strictEqual(text, "ab")
        assert.deepStrictEqual(lines, [
          "acquired",
          "first chunk",
          "last chunk",
          "task",
          "added by the body",
          "released"
        ])
      })
    })

    it.live("run for a body that is streamed when only the body adds them", () => {
      const { lines, note } = journal()
      const app = route(
        Effect.map(
          BackgroundTasks.BackgroundTasks,
          (tasks) =>
            HttpServerResponse.stream(Stream.encodeText(Stream.fromEffect(Effect.as(tasks.add(note("task")), "a"))))
        )
      )
      return Effect.gen(function*() {
        yield* exchange(app)
        assert.deepStrictEqual(lines, ["task"])
      })
    })

    it.live("a streamed body may give its resources to the request, and the tasks have none", () => {
      const { lines, note } = journal()
      const app = route(Effect.map(Effect.scope, (scope) =>
        HttpServerResponse.stream(
          Stream.fromEffect(Effect.as(Scope.addFinalizer(scope, note("released")), "a")).pipe(
            Stream.concat(Stream.fromEffect(Effect.as(note("last chunk"), "b"))),
            Stream.encodeText
          )
        )))
      return Effect.gen(function*() {
        yield* exchange(app)
        assert.deepStrictEqual(lines, ["last chunk", "released"])
      })
    })

    it.live("a resource that a fiber gives to a request that is over is released at once", () => {
      const { lines, note } = journal()
      return Effect.gen(function*() {
        const scope = yield* Deferred.make<Scope.Scope>()
        yield* exchange(route(Effect.as(Effect.flatMap(Effect.scope, (own) => Deferred.succeed(scope, own)), done)))
        yield* Scope.addFinalizer(yield* Deferred.await(scope), note("released"))
        assert.deepStrictEqual(lines, ["released"])
      })
    })

    it.live("run for HEAD, for an empty reply, and for a path that there is not", () => {
      const { lines, note } = journal()
      const app = Layer.mergeAll(
        route(Effect.as(BackgroundTasks.add(note("head")), done)),
        HttpRouter.add("DELETE", "/", Effect.as(BackgroundTasks.add(note("empty")), HttpServerResponse.empty()))
      ).pipe(Layer.provide(HttpRouter.middleware(
        (app) => Effect.andThen(BackgroundTasks.add(note("seen"), { onFailure: "run" }), app),
        { global: true }
      )))
      return Effect.gen(function*() {
        const client = yield* TestClient.TestClient
        assert.strictEqual((yield* client.head("/")).status, 200)
        assert.strictEqual((yield* client.del("/")).status, 204)
        assert.strictEqual((yield* client.get("/none")).status, 404)
        assert.deepStrictEqual(lines, ["seen", "head", "seen", "empty", "seen"])
      }).pipe(Effect.provide(clientOf(app)))
    })

    it.live("the middleware of one route adds to its requests alone", () => {
      const { lines, note } = journal()
      const audited = HttpRouter.middleware((app) => Effect.andThen(BackgroundTasks.add(note("audit")), app))
      const only = HttpRouter.add("GET", "/audited", Effect.as(BackgroundTasks.add(note("task")), done)).pipe(
        Layer.provide(audited.combine(BackgroundTasks.forRoutes).layer)
      )
      return Effect.gen(function*() {
        const client = yield* TestClient.TestClient
        yield* client.get("/audited")
        yield* client.get("/")
        assert.deepStrictEqual(lines, ["audit", "task", "plain"])
      }).pipe(Effect.provide(clientOf(Layer.merge(only, route(Effect.as(BackgroundTasks.add(note("plain")), done))))))
    })

    it.live("a middleware that reads the body takes it from nobody, and the tasks have the request too", () => {
      const { lines, note } = journal()
      const text = Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => request.text)
      const app = HttpRouter.add(
        "POST",
        "/",
        Effect.gen(function*() {
          yield* BackgroundTasks.add(Effect.flatMap(text, (body) => note(`task: ${body}`)))
          yield* note(`handler: ${yield* text}`)
          return done
        })
      ).pipe(Layer.provide(HttpRouter.middleware(
        (app) => Effect.andThen(Effect.flatMap(text, (body) => note(`middleware: ${body}`)), app),
        { global: true }
      )))
      return Effect.gen(function*() {
        const client = yield* TestClient.TestClient
        yield* client.post("/", { body: HttpBody.text("hello") })
        assert.deepStrictEqual(lines, ["middleware: hello", "handler: hello", "task: hello"])
      }).pipe(Effect.provide(clientOf(app)))
    })

    it.live("a failure of the handler passes with its cause, and a task's has its own (STAR-10)", () => {
      const heard = hearing()
      class Outer extends Schema.TaggedError<Outer>()("Outer", { cause: Schema.Defect() }) {}
      const app = route(Effect.gen(function*() {
        const because = (name: string) => new Outer({ cause: new Error("inner", { cause: name }) })
        yield* BackgroundTasks.add(because("task"), { onFailure: "run" })
        return yield* because("handler")
      }))
      return Effect.gen(function*() {
        yield* exchange(app)
        const causes = heard.reports.map(({ cause }) => cause instanceof Error ? String(cause.cause) : undefined)
        assert.deepStrictEqual(causes, ["Error: handler", "Error: task"])
      }).pipe(Effect.provide(heard.layer))
    })

    it.live("belong to the outermost middleware when it stands twice in a stack", () => {
      const { lines, note } = journal()
      const app = route(Effect.as(BackgroundTasks.add(note("once")), done)).pipe(
        Layer.provide(BackgroundTasks.layer({ policy: "failFast" }))
      )
      return Effect.gen(function*() {
        const { report } = yield* exchange(app)
        assert.deepStrictEqual(lines, ["once"])
        assert.strictEqual(report.ran, 1)
      })
    })

    it.live("added by a fiber that outlived the request they run nevertheless", () => {
      const { lines, note } = journal()
      return Effect.gen(function*() {
        const over = yield* Deferred.make<void>()
        const late = yield* Deferred.make<void>()
        const app = route(Effect.gen(function*() {
          yield* Effect.forkDetach(
            Deferred.await(over).pipe(
              // one after the other, as all
              Effect.andThen(BackgroundTasks.add(Effect.andThen(Effect.repeat(turn, { times: 10 }), note("late")))),
              Effect.andThen(BackgroundTasks.add(Effect.andThen(note("later"), Deferred.succeed(late, undefined))))
            )
          )
          yield* BackgroundTasks.add(note("task"))
          return done
        }))
        yield* Effect.gen(function*() {
          const client = yield* TestClient.TestClient
          yield* client.get("/")
          yield* Deferred.succeed(over, undefined)
          yield* Deferred.await(late)
          assert.deepStrictEqual(lines, ["task", "late", "later"])
        }).pipe(Effect.provide(clientOf(app)))
      })
    })
  })
}
