/** The definition of a task: schemas, versions, queue, aliases, and what a definition may not be. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Enqueue from "windlass/Enqueue"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { follow, publishRaw, record, scenario, startWorker } from "../support/backends.ts"

const drain = { mode: "drain" } as const

class Missing extends Schema.TaggedError<Missing>()("Missing", { since: Schema.Date }) {}

describe("schemas", () => {
  scenario(
    "the payload is encoded for the queue and decoded for the handler; so are success and error",
    () =>
      Effect.gen(function*() {
        class Look extends Task.make("Look", {
          payload: { at: Schema.Date, tags: Schema.Array(Schema.String), note: Schema.optional(Schema.String) },
          success: Schema.Option(Schema.Date),
          error: Missing
        }) {}
        const seen: Array<unknown> = []
        const live = Look.toLayer(({ at, tags }) =>
          Effect.suspend(() => {
            seen.push(at, tags)
            return tags.length === 0 ? Effect.fail(new Missing({ since: at })) : Effect.succeed(Option.some(at))
          })
        )
        yield* startWorker(Worker.layer(TaskGroup.make(Look)).pipe(Layer.provide(live)))
        const at = new Date("2024-02-29T12:00:00Z")
        const id = yield* Look.enqueue({ at, tags: ["a"] })
        assert.strictEqual(
          (yield* record(id)).envelope.payload,
          "{\"at\":\"2024-02-29T12:00:00.000Z\",\"tags\":[\"a\"]}"
        )
        assert.deepStrictEqual(yield* Look.execute({ at, tags: ["b"] }), Option.some(at))
        const error = yield* Effect.flip(Look.execute({ at, tags: [] }))
        assert.instanceOf(error, Missing)
        assert.deepStrictEqual(error._tag === "Missing" && error.since, at)
        assert.instanceOf(seen[0], Date)
      })
  )

  scenario("a payload that is no struct, and none at all", () =>
    Effect.gen(function*() {
      class Square extends Task.make("Square", { payload: Schema.Number, success: Schema.Number }) {}
      class Tick extends Task.make("Tick", { success: Schema.String }) {}
      const live = Layer.mergeAll(
        Square.toLayer((n) => Effect.succeed(n * n)),
        Tick.toLayer((payload) => Effect.succeed(String(payload)))
      )
      yield* startWorker(Worker.layer(TaskGroup.make(Square, Tick)).pipe(Layer.provide(live)))
      assert.strictEqual(yield* Square.execute(7), 49)
      assert.strictEqual(yield* Tick.execute(), "undefined")
    }))

  scenario(
    "a payload that its schema refuses is refused where it is enqueued, with a typed error, and nothing is stored",
    () =>
      Effect.gen(function*() {
        class Pay extends Task.make("Pay", { payload: { cents: Schema.Int.check(Schema.isGreaterThan(0)) } }) {}
        const error = yield* Effect.flip(Pay.enqueueMany([{ cents: 1 }, { cents: -1 }]))
        assert.strictEqual(error._tag, "windlass/InvalidEnqueue")
        assert.strictEqual(error._tag === "windlass/InvalidEnqueue" && error.reason, "Payload")
        assert.include(error.message, "task Pay: the payload does not fit its schema")
        assert.include(error.message, "cents")
        const report = yield* Worker.launch(
          Worker.layer(TaskGroup.make(Pay), drain).pipe(Layer.provide(Pay.toLayer(() => Effect.void)))
        )
        assert.strictEqual(report.claimed, 0)
      })
  )

  scenario(
    "a result that its schema refuses ends the job all the same, and whoever waits hears of it",
    () =>
      Effect.gen(function*() {
        class Odd extends Task.make("Odd", { success: Schema.Int }) {}
        yield* startWorker(
          Worker.layer(TaskGroup.make(Odd)).pipe(Layer.provide(Odd.toLayer(() => Effect.succeed(0.5))))
        )
        const error = yield* Effect.flip(Odd.execute())
        if (error._tag !== "windlass/Dead") throw error
        assert.strictEqual(error.reason, "undecodable")
        assert.include(error.detail, "does not fit its schema")
      })
  )
})

describe("versions", () => {
  class User extends Task.make("User", {
    payload: { first: Schema.String, last: Schema.String, admin: Schema.Boolean },
    success: Schema.String,
    version: 3,
    upcast: {
      1: ({ name }: { name: string }) => ({ first: name.split(" ")[0], last: name.split(" ")[1] }),
      2: (payload: object) => ({ ...payload, admin: false })
    }
  }) {}
  const seen: Array<unknown> = []
  const live = User.toLayer((user) => Effect.sync(() => (seen.push(user), "")))

  scenario("older payloads are cast step by step to the current version", () =>
    Effect.gen(function*() {
      seen.length = 0
      yield* publishRaw({ id: "v1", task: "User", version: 1, payload: "{\"name\":\"Ada Lovelace\"}" })
      yield* publishRaw({ id: "v2", task: "User", version: 2, payload: "{\"first\":\"Alan\",\"last\":\"Turing\"}" })
      const id = yield* User.enqueue({ first: "Grace", last: "Hopper", admin: true })
      assert.strictEqual((yield* record(id)).envelope.version, 3)
      yield* Worker.launch(Worker.layer(TaskGroup.make(User), { ...drain, concurrency: 1 }).pipe(Layer.provide(live)))
      assert.deepStrictEqual(seen, [
        { first: "Ada", last: "Lovelace", admin: false },
        { first: "Alan", last: "Turing", admin: false },
        { first: "Grace", last: "Hopper", admin: true }
      ])
      // the stored payload stays as it was written
      assert.strictEqual((yield* record("v1")).envelope.payload, "{\"name\":\"Ada Lovelace\"}")
    }))

  scenario(
    "a missing up-cast, and one that throws, make the job dead as undecodable with a message that says what to add",
    () =>
      Effect.gen(function*() {
        class Gap extends Task.make("Gap", {
          payload: { a: Schema.Number },
          version: 3,
          upcast: {
            2: () => {
              throw new Error("no way up")
            }
          }
        }) {}
        yield* publishRaw({ id: "v1", task: "Gap", version: 1, payload: "{}" })
        yield* publishRaw({ id: "v2", task: "Gap", version: 2, payload: "{}" })
        yield* Worker.launch(
          Worker.layer(TaskGroup.make(Gap), drain).pipe(Layer.provide(Gap.toLayer(() => Effect.void)))
        )
        const [v1, v2] = [yield* record("v1"), yield* record("v2")]
        assert.deepStrictEqual([v1.state, v1.reason, v2.state, v2.reason], [
          "dead",
          "undecodable",
          "dead",
          "undecodable"
        ])
        assert.include(v1.error, "task Gap has version 3 and no up-cast of version 1")
        assert.include(v1.error, "add upcast[1]")
        assert.include(v2.error, "no way up")
      })
  )

  scenario(
    "a newer version than this worker knows is given back for a worker that does, and dead only after unknownFor",
    () =>
      Effect.gen(function*() {
        class Next extends Task.make("User", { payload: { whole: Schema.String }, version: 4 }) {}
        const worker = yield* startWorker(Worker.layer(TaskGroup.make(User)).pipe(Layer.provide(live)))
        const events = yield* follow(worker)
        const [kept, given] = yield* Next.enqueueMany([{ whole: "1" }, { whole: "2" }])
        yield* events.until("Released", { count: 2 })
        assert.include(
          (yield* record(kept!)).history.at(-1)?.detail,
          "payload version 4 of task User is newer than the 3"
        )
        yield* worker.stop
        // the deploy goes on: a newer worker takes them
        yield* TestClock.adjust("1 minute")
        const report = yield* Worker.launch(
          Worker.layer(TaskGroup.make(Next), drain).pipe(Layer.provide(Next.toLayer(() => Effect.void)))
        )
        assert.strictEqual(report.succeeded, 2)
        assert.strictEqual((yield* record(given!)).attempt, 1)
        // and where no newer one ever comes
        const lost = yield* Next.enqueue({ whole: "3" })
        const old = yield* startWorker(Worker.layer(TaskGroup.make(User)).pipe(Layer.provide(live)))
        const last = yield* follow(old)
        yield* TestClock.adjust("70 minutes")
        assert.strictEqual((yield* last.until("Dead")).detail, "unknown-task")
        assert.include((yield* record(lost)).error, "is newer")
      })
  )

  it("an up-cast that leads past the version, a version below 1 and a task without a name are refused", () => {
    assert.throws(
      () => Task.make("A", { version: 2, upcast: { 2: () => ({}) } }),
      Task.InvalidTask,
      "task A: up-cast of version 2 leads past the version 2 that the task has"
    )
    assert.throws(() => Task.make("A", { version: 0 }), Task.InvalidTask, "version 0 is not a number from 1")
    assert.throws(() => Task.make("A", { version: 1.5 }), Task.InvalidTask)
    assert.throws(() => Task.make(""), Task.InvalidTask, "a task needs a name")
  })
})

describe("names and queues", () => {
  scenario("jobs stored under an alias run as the task that took the name over", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      class Before extends Task.make("SendMail", { payload: { to: Schema.String } }) {}
      class Now extends Task.make("SendEmail", { payload: { to: Schema.String }, aliases: ["SendMail", "Mail"] }) {}
      const name = Middleware.make("name", (next, input, job) =>
        Effect.suspend(() => {
          seen.push(job.task)
          return next(input)
        }))
      const id = yield* Before.enqueue({ to: "ada" })
      const live = Now.toLayer(({ to }) => Effect.sync(() => void seen.push(to)))
      yield* Worker.launch(
        Worker.layer(TaskGroup.make(Now), { ...drain, middleware: [name] }).pipe(Layer.provide(live))
      )
      assert.deepStrictEqual(seen, ["SendEmail", "ada"])
      assert.deepInclude(yield* record(id), { state: "succeeded" })
    }))

  scenario("a task's queue is where its jobs go; Enqueue.queue sends one elsewhere", () =>
    Effect.gen(function*() {
      class Plain extends Task.make("Plain") {}
      class Mail extends Task.make("Mail", { queue: "mail" }) {}
      const ids = [yield* Plain.enqueue(), yield* Mail.enqueue(), yield* Mail.enqueue().pipe(Enqueue.queue("bulk"))]
      assert.deepStrictEqual(
        yield* Effect.forEach(ids, (id) => Effect.map(record(id), (job) => job.queue)),
        ["default", "mail", "bulk"]
      )
    }))
})

describe("handlers", () => {
  scenario(
    "an effect instead of a function is run once, when the layer is built, and its scope lasts as long as the layer",
    () =>
      Effect.gen(function*() {
        const log: Array<string> = []
        class Prefix extends Context.Service<Prefix, string>()("t/Prefix") {}
        class Greet extends Task.make("Greet", { payload: { name: Schema.String }, success: Schema.String }) {}
        const live = Greet.toLayer(Effect.gen(function*() {
          const prefix = yield* Prefix
          yield* Effect.acquireRelease(
            Effect.sync(() => void log.push("built")),
            () => Effect.sync(() => void log.push("closed"))
          )
          return ({ name }) => Effect.sync(() => (log.push(name), `${prefix} ${name}`))
        })).pipe(Layer.provide(Layer.succeed(Prefix, "hello")))
        yield* Effect.scoped(Effect.gen(function*() {
          yield* startWorker(Worker.layer(TaskGroup.make(Greet)).pipe(Layer.provide(live)))
          assert.strictEqual(yield* Greet.execute({ name: "ada" }), "hello ada")
          assert.strictEqual(yield* Greet.execute({ name: "alan" }), "hello alan")
        }))
        assert.deepStrictEqual(log, ["built", "ada", "alan", "closed"])
      })
  )

  scenario(
    "a function runs once per job, with services of the layer's build, in a scope of its own",
    () =>
      Effect.gen(function*() {
        const log: Array<string> = []
        class Prefix extends Context.Service<Prefix, string>()("t/Prefix") {}
        class Greet extends Task.make("Greet", { payload: { name: Schema.String } }) {}
        const live = Greet.toLayer(({ name }) =>
          Effect.gen(function*() {
            const prefix = yield* Prefix
            yield* Effect.addFinalizer(() => Effect.sync(() => log.push(`end of ${name}`)))
            log.push(`${prefix} ${name}`)
          })
        ).pipe(Layer.provide(Layer.succeed(Prefix, "hello")))
        yield* startWorker(Worker.layer(TaskGroup.make(Greet)).pipe(Layer.provide(live)))
        yield* Greet.execute({ name: "ada" })
        yield* Greet.execute({ name: "alan" })
        assert.deepStrictEqual(log, ["hello ada", "end of ada", "hello alan", "end of alan"])
      })
  )

  scenario(
    "a handler that throws instead of returning an effect is a failed job, and the worker goes on",
    () =>
      Effect.gen(function*() {
        class Bad extends Task.make("Bad", { payload: { fail: Schema.Boolean } }) {}
        const live = Bad.toLayer(({ fail }) => {
          if (fail) throw new Error("thrown")
          return Effect.void
        })
        yield* startWorker(Worker.layer(TaskGroup.make(Bad)).pipe(Layer.provide(live)))
        const error = yield* Effect.flip(Bad.execute({ fail: true }))
        assert.strictEqual(error._tag === "windlass/Dead" ? error.reason : error._tag, "failed")
        yield* Bad.execute({ fail: false })
      })
  )
})

describe("a task's own wrap", () => {
  scenario(
    "replaces payload and result, provides to the handler, fails with what the task declares, sees the job",
    () =>
      Effect.gen(function*() {
        const log: Array<string> = []
        class Db extends Context.Service<Db, { readonly name: string }>()("t/Db") {}
        class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {}
        const Count = Task.make("Count", { payload: { n: Schema.Number }, success: Schema.Number, error: Refused })
          .wrap<Db>((next, payload, job) =>
            Effect.gen(function*() {
              if (payload.n < 0) return yield* new Refused()
              yield* Effect.acquireRelease(
                Effect.sync(() => log.push(`open for ${job.task}`)),
                () => Effect.sync(() => log.push("close"))
              )
              const n = yield* Effect.provideService(next({ n: payload.n * 10 }), Db, { name: "db" })
              return n + 1
            })
          )
        const live = Count.toLayer(({ n }) => Effect.map(Db, (db) => (log.push(`${db.name} ${n}`), n)))
        yield* startWorker(Worker.layer(TaskGroup.make(Count)).pipe(Layer.provide(live)))
        assert.strictEqual(yield* Count.execute({ n: 4 }), 41)
        assert.deepStrictEqual(log, ["open for Count", "db 40", "close"])
        assert.strictEqual((yield* Effect.flip(Count.execute({ n: -1 })))._tag, "Refused")
        assert.lengthOf(log, 3)
      })
  )
})
