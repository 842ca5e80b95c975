/**
 * What Postgres' own parts do when connections break: answers that are lost, sessions that are ended, silence; and hints
 * between processes, with and without them.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Backend, type BackendError, type Item, type Settlement, type Subscription } from "windlass/Backend"
import * as PostgresBackend from "windlass/backends/PostgresBackend"
import * as Capability from "windlass/Capability"
import { onPostgres } from "./postgres/here.ts"
import { proxy } from "./postgres/proxy.ts"
import { backend, client, dropped, freshSchema, postgres } from "./postgres/server.ts"

const item = (id: string, options: Partial<Item> = {}): Item => ({
  envelope: { id, task: "T", version: 1, payload: "{}", headers: {}, origin: "user" },
  ...options
})

const succeeded: Settlement = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }

/** as a worker does: claims, waits when there is nothing, and goes on when the backend fails */
const receive = (subscription: Subscription): Effect.Effect<Effect.Success<ReturnType<Subscription["take"]>>> =>
  Effect.flatMap(
    Effect.catch(subscription.take(10), () => Effect.as(Effect.sleep("20 millis"), [])),
    (taken) =>
      taken.length > 0
        ? Effect.succeed(taken)
        : Effect.andThen(Effect.ignore(subscription.await(10)), receive(subscription))
  )

/** a connection may be found dead only when it is used */
const again = <A, R>(effect: Effect.Effect<A, BackendError, R>): Effect.Effect<A, BackendError, R> =>
  Effect.retry(effect, { while: (error) => error.retryable })

const ids = (deliveries: ReadonlyArray<{ readonly envelope: { readonly id: string } }>) =>
  deliveries.map(({ envelope }) => envelope.id)

/** another process on the same queue: nothing is shared but the database */
const other = (options: PostgresBackend.Options, url = postgres.url) =>
  Effect.map(
    Layer.build(Layer.fresh(
      PostgresBackend.layer(options).pipe(Layer.provide(Layer.fresh(client({ url: Redacted.make(url) }))))
    )),
    (context) => Context.get(context, Backend)
  )

const through = (port: number): string => {
  const url = new URL(postgres.url)
  url.hostname = "127.0.0.1"
  url.port = String(port)
  return url.href
}

onPostgres("leases", () => {
  it.live("a claim whose answer was lost comes back, although its worker goes on renewing what it holds (L16)", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const between = yield* proxy(postgres.url)
      const options = { schema, lease: "1 second", notify: false } as const
      const here = yield* Backend
      const far = yield* other({ ...options, connections: 2 }, through(between.port))
      const worker = yield* far.subscribe("q", { worker: "far" })
      yield* here.publish("q", [item("held")])
      const [held] = yield* receive(worker)
      assert.strictEqual(held!.envelope.id, "held")
      yield* here.publish("q", [item("lost")])
      // the claim is committed and its answer goes nowhere
      const sql = yield* PgClient.PgClient
      between.loseReplies()
      const claim = yield* Effect.forkChild(worker.take(10), { startImmediately: true })
      for (;;) {
        const rows = yield* sql`SELECT FROM ${sql(schema)}.active`
        if (rows.length === 2) break
        yield* Effect.sleep("5 millis")
      }
      between.restore()
      between.cut()
      const error = yield* Effect.flip(Fiber.join(claim))
      assert.deepStrictEqual([error.outcome, error.retryable], ["Unknown", true])
      const lease = worker.lease._tag === "Timed" ? worker.lease : assert.fail("the lease is timed")
      const beat = yield* Effect.forkChild(Effect.forever(
        Effect.andThen(Effect.ignore(lease.extend([held!.receipt])), Effect.sleep("300 millis"))
      ))
      const taker = yield* here.subscribe("q", { worker: "here" })
      const [lost] = yield* receive(taker)
      assert.strictEqual(lost!.envelope.id, "lost")
      assert.deepStrictEqual([lost!.unsettled, lost!.lostFrom?.worker], [1, "far"])
      assert.deepStrictEqual(yield* lease.extend([held!.receipt]), ["Held"])
      assert.deepStrictEqual(yield* taker.take(10), [])
      yield* Fiber.interrupt(beat)
      assert.deepStrictEqual(yield* worker.settle([[held!.receipt, succeeded]]), ["Settled"])
    }).pipe(Effect.scoped, Effect.provide(backend({ schema, lease: "1 second" })))
  })

  it.live("one row is written by a heartbeat, however many jobs it names", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const one = yield* Backend
      const sql = yield* PgClient.PgClient
      yield* one.publish("q", Array.from({ length: 100 }, (_, n) => item(`${n}`)))
      const worker = yield* one.subscribe("q", { worker: "w" })
      const taken = yield* worker.take(100)
      const lease = worker.lease._tag === "Timed" ? worker.lease : assert.fail("the lease is timed")
      assert.strictEqual((yield* lease.extend(taken.map(({ receipt }) => receipt))).length, 100)
      const rows = yield* sql<{ own: number; all: number }>`
        SELECT count(*) FILTER (WHERE lease IS NOT NULL)::int AS own, count(*)::int AS all FROM ${sql(schema)}.active`
      assert.deepStrictEqual([rows[0]!.own, rows[0]!.all], [0, 100])
      // who is not named keeps the end that it had, as its own
      yield* lease.extend(taken.slice(1).map(({ receipt }) => receipt))
      const [row] = yield* sql<{ own: number }>`
        SELECT count(*) FILTER (WHERE lease IS NOT NULL)::int AS own FROM ${sql(schema)}.active`
      assert.strictEqual(row!.own, 1)
    }).pipe(Effect.scoped, Effect.provide(backend({ schema })))
  })
})

onPostgres("connections", () => {
  it.live("all sessions are ended by the server, over and over: nothing is lost, nothing is done twice", () => {
    const schema = freshSchema()
    const total = 400
    return Effect.gen(function*() {
      const one = yield* Backend
      const sql = yield* PgClient.PgClient
      const ended = new Map<string, number>()
      const all = yield* Deferred.make<void>()
      yield* one.publish("q", Array.from({ length: total }, (_, n) => item(`${n}`)))
      const work = Effect.gen(function*() {
        const worker = yield* again(one.subscribe("q", { worker: "w" }))
        for (;;) {
          const taken = (yield* receive(worker)).slice()
          let open = taken.map(({ receipt }) => [receipt, succeeded] as const)
          // as the runtime does: again while nobody knows, and then Lost may mean that it was settled before
          let unknown = false
          while (open.length > 0) {
            const settled = yield* Effect.match(worker.settle(open), {
              onSuccess: (answers) => answers,
              onFailure: (error) => {
                unknown ||= error.outcome === "Unknown"
                return undefined
              }
            })
            if (settled === undefined) {
              yield* Effect.sleep("10 millis")
              continue
            }
            for (let i = 0; i < open.length; i++) {
              if (settled[i] === "Settled" || unknown) {
                ended.set(open[i]![0].id, (ended.get(open[i]![0].id) ?? 0) + 1)
              }
            }
            open = []
          }
          if (ended.size === total) yield* Deferred.succeed(all, undefined)
        }
      })
      yield* Effect.forkChild(Effect.forEach([1, 2, 3], () => work, { concurrency: "unbounded" }))
      // in the midst of claims, settlements and the making of connections
      for (let n = 0; n < 40; n++) {
        yield* sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE application_name = ${`windlass ${schema}`} AND pid <> pg_backend_pid()`
        yield* Effect.sleep(n % 7)
      }
      // a claim whose answer was lost comes back when its lease has ended
      yield* Deferred.await(all)
      const counts = yield* again((yield* Capability.Inspect).counts("q"))
      assert.deepStrictEqual(counts, { ready: 0, scheduled: 0, active: 0, dead: 0 })
      assert.strictEqual(ended.size, total)
    }).pipe(Effect.scoped, Effect.provide(backend({ schema, lease: "1 second", name: schema })))
  })

  it.live("a server that falls silent is given up after the statement time-out, in words", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const between = yield* proxy(postgres.url)
      const far = yield* other(
        { schema, lease: "1 second", statementTimeout: "500 millis", connections: 2, notify: false },
        through(between.port)
      )
      yield* again(far.publish("q", [item("first")]))
      between.loseReplies()
      const error = yield* Effect.flip(far.publish("q", [item("a")]))
      assert.deepStrictEqual([error.outcome, error.retryable], ["Unknown", true])
      assert.include(error.message, "did not answer")
      between.restore()
      // it was stored, and publishing it again says so
      for (;;) {
        const answers = yield* Effect.result(far.publish("q", [item("a")]))
        if (answers._tag === "Failure") continue
        assert.deepStrictEqual(answers.success, [{ _tag: "Duplicate", existing: "a" }])
        break
      }
    }).pipe(Effect.scoped, Effect.provide(dropped(schema).pipe(Layer.provideMerge(client()))))
  })

  it.live("a lock that is held for long ends a call after the statement time-out, and says what to look for", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const one = yield* Backend
      yield* one.declare("q")
      const held = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const locking = yield* Effect.forkChild(sql.withTransaction(Effect.gen(function*() {
        yield* sql`LOCK TABLE ${sql(schema)}.job`
        yield* Deferred.succeed(held, undefined)
        yield* Deferred.await(go)
      })))
      yield* Deferred.await(held)
      const error = yield* Effect.flip(one.publish("q", [item("a")]))
      assert.deepStrictEqual([error.outcome, error.retryable], ["NotApplied", true])
      assert.include(error.message, "statementTimeout")
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.join(locking)
      assert.deepStrictEqual(yield* one.publish("q", [item("a")]), [{ _tag: "Stored" }])
    }).pipe(Effect.scoped, Effect.provide(backend({ schema, statementTimeout: "300 millis" })))
  })
})

onPostgres("hints", () => {
  const waits = (subscription: Subscription) =>
    Effect.gen(function*() {
      while ((yield* subscription.take(1)).length > 0) { /* nothing is left */ }
      return yield* Effect.forkChild(receive(subscription))
    })

  it.live("a job of another process is announced, singly and after a pause in which nobody polled", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const here = yield* Backend
      const there = yield* other({ schema })
      // somebody listens for the channel of this schema
      for (;;) {
        const rows = yield* sql`SELECT FROM pg_stat_activity WHERE query = ${`LISTEN "${schema}."`}`
        if (rows.length === 2) break
        yield* Effect.sleep("5 millis")
      }
      const subscription = yield* here.subscribe("q", { worker: "w" })
      for (let n = 0; n < 20; n++) {
        const received = yield* waits(subscription)
        yield* there.publish("q", [item(`${n}`)])
        assert.deepStrictEqual(ids(yield* Fiber.join(received)), [`${n}`])
      }
    }).pipe(Effect.scoped, Effect.provide(backend({ schema, pollInterval: "1 hour" })))
  })

  it.live("when the connection that listens is ended, it is made again and everybody looks", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const here = yield* Backend
      const there = yield* other({ schema, notify: false })
      const subscription = yield* here.subscribe("q", { worker: "w" })
      const listener = Effect.map(
        sql<{ pid: number }>`SELECT pid FROM pg_stat_activity WHERE query = ${`LISTEN "${schema}."`}`,
        (rows) => rows[0]?.pid
      )
      const listening = Effect.gen(function*() {
        for (;;) {
          const pid = yield* listener
          if (pid !== undefined) return pid
          yield* Effect.sleep("5 millis")
        }
      })
      const before = yield* listening
      const received = yield* waits(subscription)
      yield* sql`SELECT pg_terminate_backend(${before})`
      // this one announces nothing
      yield* there.publish("q", [item("a")])
      assert.deepStrictEqual(ids(yield* Fiber.join(received)), ["a"])
      assert.notStrictEqual(yield* listening, before)
    }).pipe(Effect.scoped, Effect.provide(backend({ schema, pollInterval: "1 hour" })))
  })
})

onPostgres("floors", () => {
  it.live("a job that was numbered early and committed late is handed out soon, behind a backlog too", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const one = yield* Backend
      const stored = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const late = yield* Effect.forkChild(sql.withTransaction(Effect.gen(function*() {
        yield* one.publish("q", [item("late")])
        yield* Deferred.succeed(stored, undefined)
        yield* Deferred.await(go)
      })))
      yield* Deferred.await(stored)
      yield* one.publish("q", Array.from({ length: 1_000 }, (_, n) => item(`${n}`)))
      const subscription = yield* one.subscribe("q", { worker: "w" })
      for (let n = 0; n < 5; n++) assert.strictEqual((yield* subscription.take(10)).length, 10)
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.join(late)
      // looking everywhere is allowed half of the time now
      let claims = 0
      for (;;) {
        claims++
        if (ids(yield* subscription.take(10)).includes("late")) break
      }
      assert.isBelow(claims, 20)
    }).pipe(Effect.scoped, Effect.provide(backend({ schema })))
  })
})
