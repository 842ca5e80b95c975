/**
 * Enqueues and settlements that join a transaction of the user: with connections that are killed between the statements.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { Backend, type Item, type Subscription } from "windlass/Backend"
import * as PostgresBackend from "windlass/backends/PostgresBackend"
import * as Capability from "windlass/Capability"
import * as Middleware from "windlass/Middleware"
import * as TransactionalSettlement from "windlass/middleware/TransactionalSettlement"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { onPostgres } from "./postgres/here.ts"
import { backend, client, dropped, freshSchema } from "./postgres/server.ts"

const item = (id: string, options: Partial<Item> = {}): Item => ({
  envelope: { id, task: "T", version: 1, payload: "{}", headers: {}, origin: "user" },
  ...options
})

const publish = (...ids: ReadonlyArray<string>) =>
  Effect.flatMap(Backend, (one) => one.publish("q", ids.map((id) => item(id))))

const waitingIds = Effect.gen(function*() {
  const counts = yield* (yield* Capability.Inspect).counts("q")
  const subscription = yield* (yield* Backend).subscribe("q", { worker: "look" })
  const ids = (yield* subscription.take(100)).map(({ envelope }) => envelope.id)
  assert.strictEqual(counts.ready, ids.length)
  return ids
})

/** as a worker does: a false alarm is allowed */
const receive = (subscription: Subscription): ReturnType<Subscription["take"]> =>
  Effect.flatMap(
    Effect.andThen(subscription.await(1), subscription.take(1)),
    (taken) => taken.length > 0 ? Effect.succeed(taken) : receive(subscription)
  )

/** ends the session of the transaction that is open, as a crash of the server or of the network does */
const killMyself = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  const [row] = yield* sql<{ pid: number }>`SELECT pg_backend_pid() AS pid`
  // on another connection
  yield* Effect.scoped(Effect.flatMap(
    sql.reserve,
    (other) => other.executeRaw("SELECT pg_terminate_backend($1)", [row!.pid])
  ))
})

onPostgres("transactional enqueue", () => {
  it.live("an enqueue in a transaction exists when it commits, and not when it fails (PROC-43)", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql.withTransaction(publish("a"))
      yield* Effect.exit(sql.withTransaction(Effect.andThen(publish("b"), Effect.fail("no"))))
      yield* publish("c")
      assert.deepStrictEqual(yield* waitingIds, ["a", "c"])
    }).pipe(Effect.scoped, Effect.provide(backend())))

  it.live("who ends when nothing is left also finds what committed late, below what was claimed meanwhile", () =>
    Effect.gen(function*() {
      const schema = freshSchema()
      yield* Layer.build(dropped(schema).pipe(Layer.provide(client())))
      // two processes: nothing that one knows reaches the other but through the tables
      const process = PostgresBackend.layer({ schema, notify: false }).pipe(Layer.provideMerge(client()))
      const one = yield* Layer.build(process)
      const other = yield* Layer.build(process)
      const stored = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const early = yield* Effect.forkChild(
        Effect.flatMap(PgClient.PgClient, (sql) =>
          sql.withTransaction(
            publish("early").pipe(
              Effect.andThen(Deferred.succeed(stored, undefined)),
              Effect.andThen(Deferred.await(go))
            )
          )).pipe(Effect.provide(other))
      )
      yield* Deferred.await(stored)
      yield* Effect.provide(publish("late"), other)
      const subscription = yield* Context.get(one, Backend).subscribe("q", { worker: "w", thorough: true })
      const [late] = yield* subscription.take(10)
      assert.strictEqual(late?.envelope.id, "late")
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.join(early)
      const [, [found]] = yield* subscription.exchange([[late!.receipt, {
        _tag: "Complete",
        how: "succeeded",
        exit: undefined,
        reason: undefined
      }]], 10)
      assert.strictEqual(found?.envelope.id, "early")
    }).pipe(Effect.scoped))

  it.live("a savepoint that is rolled back takes its enqueues with it, and leaves the others", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql.withTransaction(Effect.gen(function*() {
        yield* publish("outer")
        yield* Effect.exit(sql.withTransaction(Effect.andThen(publish("inner"), Effect.fail("no"))))
        yield* sql.withTransaction(publish("kept"))
      }))
      assert.deepStrictEqual(yield* waitingIds, ["outer", "kept"])
    }).pipe(Effect.scoped, Effect.provide(backend())))

  it.live("a connection that is killed between the enqueue and the commit leaves neither effect nor job", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const exit = yield* Effect.exit(sql.withTransaction(Effect.gen(function*() {
        yield* publish("a", "b")
        yield* killMyself
        yield* publish("c")
      })))
      assert.isTrue(Exit.isFailure(exit))
      // nothing is in its way afterwards
      yield* publish("a")
      assert.deepStrictEqual(yield* waitingIds, ["a"])
    }).pipe(Effect.scoped, Effect.provide(backend())))

  it.live("claims, settlements and looks inside of a transaction are not part of it", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const one = yield* Backend
      const cancel = yield* Capability.Cancel
      yield* publish("a", "b", "c")
      const subscription = yield* one.subscribe("q", { worker: "w" })
      yield* Effect.exit(sql.withTransaction(Effect.gen(function*() {
        const [a] = yield* subscription.take(1)
        yield* subscription.settle([[a!.receipt, {
          _tag: "Complete",
          how: "succeeded",
          exit: undefined,
          reason: undefined
        }]])
        yield* cancel.request("b")
        return yield* Effect.fail("rolled back")
      })))
      assert.deepStrictEqual((yield* subscription.take(10)).map(({ envelope }) => envelope.id), ["c"])
    }).pipe(Effect.scoped, Effect.provide(backend())))

  it.live("a transaction that stays open holds up neither claims nor settlements, groups and keys included", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const one = yield* Backend
      const unique = { key: "k", until: "finished" } as const
      yield* one.publish("q", [item("first", { group: "g", unique })])
      const subscription = yield* one.subscribe("q", { worker: "w" })
      const [first] = yield* subscription.take(1)
      const enqueued = yield* Deferred.make<ReadonlyArray<string>>()
      const go = yield* Deferred.make<void>()
      const open = yield* Effect.forkChild(sql.withTransaction(Effect.gen(function*() {
        const answers = yield* one.publish("q", [
          item("second", { group: "g" }),
          item("twice", { unique }),
          item("other", { unique: { key: "l", until: "finished" } })
        ])
        yield* Deferred.succeed(enqueued, answers.map(({ _tag }) => _tag))
        yield* Deferred.await(go)
      })))
      assert.deepStrictEqual(yield* Deferred.await(enqueued), ["Stored", "Duplicate", "Stored"])
      yield* one.publish("q", [item("third", { group: "g" }), item("plain")])
      const [settled, next] = yield* subscription.exchange([
        [first!.receipt, { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }]
      ], 10)
      assert.deepStrictEqual(settled, ["Settled"])
      assert.deepStrictEqual(next.map(({ envelope }) => envelope.id).sort(), ["plain", "third"])
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.join(open)
      assert.deepStrictEqual((yield* receive(subscription)).map(({ envelope }) => envelope.id), ["other"])
    }).pipe(Effect.scoped, Effect.provide(backend())))

  it.live("a transaction that stays open with a job's key holds up no move of that job to its queue", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const one = yield* Backend
      const unique = { key: "k", until: "finished" } as const
      yield* one.publish("q", [item("moving", { unique })])
      const subscription = yield* one.subscribe("q", { worker: "w" })
      const there = yield* one.subscribe("other", { worker: "v" })
      const [moving] = yield* subscription.take(1)
      const to = { queue: "other" }
      yield* (yield* Capability.Reroute).prepare("q", to)
      const enqueued = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const open = yield* Effect.forkChild(sql.withTransaction(Effect.gen(function*() {
        yield* one.publish("other", [item("pending", { unique })])
        yield* Deferred.succeed(enqueued, undefined)
        yield* Deferred.await(go)
      })))
      yield* Deferred.await(enqueued)
      const settled = yield* subscription.settle([[
        moving!.receipt,
        { _tag: "Retry", why: "failed", after: 0, attempt: "spent", place: "back", error: undefined, to }
      ]])
      assert.deepStrictEqual(settled, ["Settled"])
      assert.deepStrictEqual((yield* there.take(10)).map(({ envelope }) => envelope.id), ["moving"])
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.join(open)
      // the one that had the key first keeps it, the other goes on without
      assert.deepStrictEqual(yield* one.publish("other", [item("third", { unique })]), [
        { _tag: "Duplicate", existing: "pending" }
      ])
    }).pipe(Effect.scoped, Effect.provide(backend())))

  it.live("jobs of a committed transaction wake who waits", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const subscription = yield* (yield* Backend).subscribe("q", { worker: "w" })
      assert.deepStrictEqual(yield* subscription.take(1), [])
      const taken = yield* Effect.forkChild(receive(subscription))
      yield* sql.withTransaction(publish("a"))
      assert.strictEqual((yield* Fiber.join(taken)).length, 1)
    }).pipe(Effect.scoped, Effect.provide(backend({ pollInterval: "1 hour" }))))
})

class Transfer extends Task.make("Transfer", {
  payload: { id: Schema.Number },
  success: Schema.Number,
  middleware: [TransactionalSettlement.middleware]
}) {}

const App = TaskGroup.make(Transfer)

/** a table of effects beside the queue, in the schema that the test drops */
const ledger = (schema: string) =>
  Effect.flatMap(PgClient.PgClient, (sql) => sql`CREATE TABLE ${sql(schema)}.ledger (job int NOT NULL)`)

const entries = (schema: string) =>
  Effect.flatMap(
    PgClient.PgClient,
    (sql) =>
      Effect.map(sql<{ job: number }>`SELECT job FROM ${sql(schema)}.ledger ORDER BY job`, (rows) =>
        rows.map(({ job }) => job))
  )

onPostgres("settlement in the handler's transaction", () => {
  const schema = () => `wltest_${Math.random().toString(36).slice(2, 12)}`

  it.live("effects and completion commit together; the runtime's settlement is answered Settled, results are kept", () => {
    const name = schema()
    return Effect.gen(function*() {
      yield* ledger(name)
      const live = Transfer.toLayer(({ id }) =>
        Effect.gen(function*() {
          const sql = yield* PgClient.PgClient
          yield* sql`INSERT INTO ${sql(name)}.ledger VALUES (${id})`
          return id * 2
        }).pipe(Effect.orDie)
      )
      yield* Effect.gen(function*() {
        assert.strictEqual(yield* Transfer.execute({ id: 1 }), 2)
        yield* Transfer.enqueue({ id: 2 })
        assert.strictEqual(yield* Transfer.execute({ id: 3 }), 6)
        const report = yield* Worker.stop
        assert.deepStrictEqual([report.succeeded, report.lost], [3, 0])
      }).pipe(Effect.provide(Worker.layer(App).pipe(Layer.provide(live))))
      assert.deepStrictEqual(yield* entries(name), [1, 2, 3])
      const counts = yield* (yield* Capability.Inspect).counts("default")
      assert.deepStrictEqual(counts, { ready: 0, scheduled: 0, active: 0, dead: 0 })
    }).pipe(Effect.scoped, Effect.provide(backend({ schema: name })))
  })

  it.live("a handler whose connection is killed leaves no effect, and its job runs again (L4)", () => {
    const name = schema()
    return Effect.gen(function*() {
      yield* ledger(name)
      const attempts: Array<number> = []
      class Again extends Task.make("Again", {
        payload: { id: Schema.Number },
        middleware: [TransactionalSettlement.middleware],
        retry: Schedule.recurs(5)
      }) {}
      const live = Again.toLayer(({ id }) =>
        Effect.gen(function*() {
          const sql = yield* PgClient.PgClient
          attempts.push(id)
          yield* sql`INSERT INTO ${sql(name)}.ledger VALUES (${id})`
          if (attempts.length < 3) yield* killMyself
        }).pipe(Effect.orDie)
      )
      yield* Effect.gen(function*() {
        yield* Again.execute({ id: 1 })
        const report = yield* Worker.stop
        assert.deepStrictEqual([report.succeeded, report.retried], [1, 2])
      }).pipe(Effect.provide(Worker.layer(TaskGroup.make(Again)).pipe(Layer.provide(live))))
      assert.deepStrictEqual(attempts, [1, 1, 1])
      assert.deepStrictEqual(yield* entries(name), [1])
    }).pipe(Effect.scoped, Effect.provide(backend({ schema: name })))
  })

  it.live("an owner whose lease was lost commits nothing (L16)", () => {
    const name = schema()
    return Effect.gen(function*() {
      yield* ledger(name)
      const one = yield* Backend
      const transactional = yield* Capability.Transactional
      const sql = yield* PgClient.PgClient
      yield* publish("a")
      const before = yield* one.subscribe("q", { worker: "before" })
      const [stale] = yield* before.take(1)
      const after = yield* one.subscribe("q", { worker: "after" })
      const [fresh] = yield* receive(after)
      const done = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined } as const
      const work = (receipt: typeof stale) =>
        Effect.exit(transactional.transaction(Effect.gen(function*() {
          yield* sql`INSERT INTO ${sql(name)}.ledger VALUES (1)`
          if ((yield* transactional.settle(receipt!.receipt, done)) === "Lost") return yield* Effect.fail("lost")
        })))
      assert.isTrue(Exit.isFailure(yield* work(stale)))
      assert.deepStrictEqual(yield* entries(name), [])
      assert.isTrue(Exit.isSuccess(yield* work(fresh)))
      assert.deepStrictEqual(yield* entries(name), [1])
      // until the runtime has settled it too
      assert.deepStrictEqual(
        after.lease._tag === "Timed" ? yield* after.lease.extend([fresh!.receipt, stale!.receipt]) : [],
        ["Held", "Lost"]
      )
      assert.deepStrictEqual(yield* after.settle([[fresh!.receipt, done]]), ["Settled"])
      assert.deepStrictEqual(yield* after.settle([[fresh!.receipt, done]]), ["Lost"])
    }).pipe(Effect.scoped, Effect.provide(backend({ schema: name, lease: "1 second" })))
  })

  it.live("a connection that is killed between the settlement and the commit takes both back (L4)", () => {
    const name = schema()
    return Effect.gen(function*() {
      yield* ledger(name)
      const transactional = yield* Capability.Transactional
      const sql = yield* PgClient.PgClient
      yield* publish("a")
      const subscription = yield* (yield* Backend).subscribe("q", { worker: "w" })
      const [a] = yield* subscription.take(1)
      const done = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined } as const
      const exit = yield* Effect.exit(transactional.transaction(Effect.gen(function*() {
        yield* sql`INSERT INTO ${sql(name)}.ledger VALUES (1)`
        assert.strictEqual(yield* transactional.settle(a!.receipt, done), "Settled")
        yield* killMyself
      })))
      assert.isTrue(Exit.isFailure(exit))
      assert.deepStrictEqual(yield* entries(name), [])
      assert.deepStrictEqual(yield* subscription.settle([[a!.receipt, done]]), ["Settled"])
    }).pipe(Effect.scoped, Effect.provide(backend({ schema: name })))
  })

  it.live("a settlement that is rolled back has not happened; one outside of a transaction is refused", () =>
    Effect.gen(function*() {
      const one = yield* Backend
      const transactional = yield* Capability.Transactional
      yield* publish("a")
      const subscription = yield* one.subscribe("q", { worker: "w" })
      const [a] = yield* subscription.take(1)
      const done = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined } as const
      const refused = yield* Effect.flip(transactional.settle(a!.receipt, done))
      assert.include(refused.message, "none is open")
      yield* Effect.exit(transactional.transaction(
        Effect.andThen(transactional.settle(a!.receipt, done), Effect.fail("no"))
      ))
      assert.deepStrictEqual(yield* subscription.settle([[a!.receipt, done]]), ["Settled"])
    }).pipe(Effect.scoped, Effect.provide(backend())))

  it.live("what fails outside of it after the commit cannot undo it: the job is over and is not run again", () => {
    const name = schema()
    return Effect.gen(function*() {
      yield* ledger(name)
      class Outside extends Task.make("Outside", {
        payload: { id: Schema.Number },
        middleware: [
          Middleware.make("fails", (next, input) => Effect.andThen(next(input), Effect.die("too late"))),
          TransactionalSettlement.middleware
        ],
        retry: Schedule.recurs(5)
      }) {}
      const live = Outside.toLayer(({ id }) =>
        Effect.flatMap(PgClient.PgClient, (sql) => sql`INSERT INTO ${sql(name)}.ledger VALUES (${id})`).pipe(
          Effect.orDie
        )
      )
      yield* Outside.enqueue({ id: 1 })
      yield* Outside.enqueue({ id: 2 })
      yield* Effect.gen(function*() {
        const report = yield* Effect.flatMap(Worker.Worker, (worker) => worker.await)
        assert.strictEqual(report.lost, 2)
      }).pipe(
        Effect.provide(Worker.layer(TaskGroup.make(Outside), { mode: "drain" }).pipe(Layer.provide(live)))
      )
      assert.deepStrictEqual(yield* entries(name), [1, 2])
    }).pipe(Effect.scoped, Effect.provide(backend({ schema: name })))
  })
})
