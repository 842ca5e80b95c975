/**
 * What is SQLite's own: the file, its marks and its errors, plans of the hot statements, waiting on a virtual clock.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { mkdirSync, rmSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { Backend, type BackendError, type Item, type Settlement, type Subscription } from "windlass/Backend"
import * as SqliteBackend from "windlass/backends/SqliteBackend"
import * as Capability from "windlass/Capability"
import { Connection } from "../../src/backends/sqlite/connection.ts"
import { Engine } from "../../src/backends/sqlite/engine.ts"
import { open, pragma } from "../../src/backends/sqlite/open.ts"
import { applicationId, latest, migrations, unreleased } from "../../src/backends/sqlite/schema.ts"
import { Wake } from "../../src/backends/sqlite/wake.ts"
import { folder } from "./sqlite/process.ts"

const item = (id: string, options: Partial<Item> = {}): Item => ({
  envelope: { id, task: "T", version: 1, payload: "{}", headers: {}, origin: "user" },
  ...options
})

const succeeded: Settlement = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }

const newFile = Effect.map(folder, (path) => join(path, "queue.db"))

/** what another program did with the file, before or between */
const byHand = (filename: string, sql: string) =>
  Effect.sync(() => {
    const database = new DatabaseSync(filename)
    try {
      database.exec(sql)
    } finally {
      database.close()
    }
  })

const opening = (filename: string): Effect.Effect<BackendError> =>
  Layer.build(SqliteBackend.layer({ filename })).pipe(
    Effect.scoped,
    Effect.andThen(Effect.die(`${filename} was opened`)),
    Effect.flip
  )

const use = <A, E>(
  filename: string,
  effect: Effect.Effect<A, E, SqliteBackend.Services | Scope.Scope>,
  options: Omit<SqliteBackend.Options, "filename"> = {}
) => Effect.scoped(Effect.provide(effect, SqliteBackend.layer({ filename, ...options })))

const takeAll = (subscription: Subscription) =>
  Effect.map(subscription.take(100), (deliveries) => deliveries.map(({ envelope }) => envelope.id))

describe("the file", () => {
  it.effect("what was stored, scheduled, paused, dead or running is there after a restart", () =>
    Effect.gen(function*() {
      const filename = yield* newFile
      yield* use(
        filename,
        Effect.gen(function*() {
          const backend = yield* Backend
          yield* backend.publish("q", [
            item("late", { due: { _tag: "After", millis: 5_000 } }),
            item("low"),
            item("dies", { priority: 2 }),
            item("runs", { priority: 3 }),
            item("key", { unique: { key: "k", until: "finished" } }),
            item("first", { group: "g" }),
            item("second", { group: "g" })
          ])
          const subscription = yield* backend.subscribe("q", { worker: "w" })
          const [runs, dies] = yield* subscription.take(2)
          assert.deepStrictEqual([runs!.envelope.id, dies!.envelope.id], ["runs", "dies"])
          yield* subscription.settle([[dies!.receipt, {
            _tag: "Dead",
            reason: "failed",
            error: "no",
            exit: undefined
          }]])
          yield* (yield* Capability.Pause).set("q", true)
        })
      )
      yield* TestClock.adjust("31 seconds")
      yield* use(
        filename,
        Effect.gen(function*() {
          const backend = yield* Backend
          const subscription = yield* backend.subscribe("q", { worker: "w2" })
          assert.isTrue(yield* (yield* Capability.Pause).get("q"))
          assert.deepStrictEqual(yield* subscription.take(10), [])
          yield* (yield* Capability.Pause).set("q", false)
          assert.deepStrictEqual(
            yield* backend.publish("q", [item("other", { unique: { key: "k", until: "finished" } })]),
            [{ _tag: "Duplicate", existing: "key" }]
          )
          const deliveries = yield* subscription.take(10)
          assert.deepStrictEqual(deliveries.map(({ envelope }) => envelope.id), ["runs", "low", "key", "first", "late"])
          assert.deepStrictEqual(deliveries[0]!.lostFrom, { worker: "w", claimedAt: 0 })
          const dead = yield* Stream.runCollect((yield* Capability.DeadLetter).list("q"))
          assert.deepStrictEqual(dead.map(({ envelope, history, reason }) => [envelope.id, reason, history.length]), [
            ["dies", "failed", 2]
          ])
        })
      )
    }))

  it.effect("a newer schema is a typed error that names both versions, and the file is left alone", () =>
    Effect.gen(function*() {
      const filename = yield* newFile
      yield* use(filename, Effect.void)
      yield* byHand(filename, `PRAGMA user_version = ${latest + 3}`)
      const error = yield* opening(filename)
      assert.strictEqual(error._tag, "windlass/BackendError")
      assert.isFalse(error.retryable)
      assert.include(error.message, `version ${latest + 3}`)
      assert.include(error.message, `up to ${latest}`)
      assert.include(error.message, "upgrade windlass")
    }))

  it.effect("a file that no release made is refused, and is left alone", () =>
    Effect.gen(function*() {
      const filename = yield* newFile
      yield* use(filename, Effect.void)
      for (let version = 1; version <= unreleased; version++) {
        yield* byHand(filename, `PRAGMA user_version = ${version}`)
        const error = yield* opening(filename)
        assert.isFalse(error.retryable)
        assert.include(error.message, `version ${version}`)
        assert.include(error.message, "never released: name another file")
      }
      // the version is all that is wrong with it
      yield* byHand(filename, `PRAGMA user_version = ${latest}`)
      yield* use(filename, Effect.void)
    }))

  for (
    const [what, sql, says] of [
      ["an application_id of another program", "PRAGMA application_id = 4711", "0x1267"],
      ["tables of the same names", "CREATE TABLE job (id TEXT); CREATE TABLE ready (x)", "job, ready"],
      ["tables of something else", "CREATE TABLE customers (id TEXT)", "customers"],
      ["a user_version of somebody", "PRAGMA user_version = 7", "user_version 7"]
    ] as const
  ) {
    it.effect(`a foreign file (${what}) is a typed error, and is left as it was`, () =>
      Effect.gen(function*() {
        const filename = yield* newFile
        yield* byHand(filename, `PRAGMA journal_mode = DELETE; ${sql}`)
        const before = statSync(filename).mtimeMs
        const error = yield* opening(filename)
        assert.include(error.message, says)
        assert.include(error.message, "a file of its own")
        assert.isFalse(error.retryable)
        assert.strictEqual(statSync(filename).mtimeMs, before)
      }))
  }

  it.effect("a new file that another process makes a queue of while it is looked at is a queue", () =>
    Effect.gen(function*() {
      const settings = { name: "sqlite", filename: yield* newFile, synchronous: "normal", busyTimeout: 0 } as const
      const { prepare } = DatabaseSync.prototype
      let met = 0
      // the other one comes after the first mark was read, and gets as far as it gets
      DatabaseSync.prototype.prepare = function(sql, ...rest) {
        const statement = prepare.call(this, sql, ...rest)
        if (sql === "PRAGMA user_version" && met++ === 0) {
          try {
            open(settings).close()
          } catch (error) {
            assert.match(String(error), /locked/)
          }
        }
        return statement
      }
      try {
        const database = open(settings)
        assert.deepStrictEqual([pragma(database, "application_id"), pragma(database, "user_version")], [
          applicationId,
          latest
        ])
        database.close()
      } finally {
        DatabaseSync.prototype.prepare = prepare
      }
      assert.isAbove(met, 1)
      open(settings).close()
    }))

  it.effect("a file that is no database, a missing directory, a directory, a read-only file: each says its fix", () =>
    Effect.gen(function*() {
      const path = yield* folder
      const text = join(path, "text.db")
      writeFileSync(text, "this is no database at all, but long enough to be one, ".repeat(40))
      assert.include((yield* opening(text)).message, "is not an SQLite database")

      assert.include((yield* opening(join(path, "missing", "queue.db"))).message, "does not exist: create it first")

      mkdirSync(join(path, "folder"))
      assert.include((yield* opening(join(path, "folder"))).message, "must not be a directory")

      const filename = join(path, "queue.db")
      yield* use(filename, Effect.void)
      const error = yield* opening(`file:${filename}?mode=ro`)
      assert.include(error.message, "cannot be written")
      assert.isFalse(error.retryable)
      assert.strictEqual(error.outcome, "NotApplied")
    }))

  it.effect("what was written by version 1 carries the marks of a queue", () =>
    Effect.gen(function*() {
      const filename = yield* newFile
      yield* use(filename, Effect.void)
      const database = new DatabaseSync(filename, { readOnly: true })
      assert.deepStrictEqual({ ...database.prepare("PRAGMA application_id").get() }, { application_id: applicationId })
      assert.deepStrictEqual({ ...database.prepare("PRAGMA user_version").get() }, { user_version: latest })
      assert.deepStrictEqual({ ...database.prepare("PRAGMA journal_mode").get() }, { journal_mode: "wal" })
      database.close()
    }))

  it.effect("ping notices that the file was deleted while it was open", () =>
    Effect.gen(function*() {
      const filename = yield* newFile
      yield* use(
        filename,
        Effect.gen(function*() {
          const backend = yield* Backend
          yield* backend.ping
          rmSync(filename)
          assert.include((yield* Effect.flip(backend.ping)).message, "deleted or replaced")
        })
      )
    }))

  it.effect("the end of the layer leaves no write-ahead log behind, and calls after it fail", () =>
    Effect.gen(function*() {
      const filename = yield* newFile
      const backend = yield* use(
        filename,
        Effect.gen(function*() {
          const backend = yield* Backend
          yield* backend.publish("q", [item("a")])
          assert.isAbove(statSync(`${filename}-wal`).size, 0)
          return backend
        })
      )
      assert.isUndefined(statSync(`${filename}-wal`, { throwIfNoEntry: false }))
      const error = yield* Effect.flip(backend.publish("q", [item("b")]))
      assert.include(error.message, "was closed")
      assert.isFalse(error.retryable)
    }))

  it.effect("the write-ahead log is emptied when nothing happens", () =>
    Effect.gen(function*() {
      const filename = yield* newFile
      yield* use(
        filename,
        Effect.gen(function*() {
          const backend = yield* Backend
          yield* backend.publish("q", Array.from({ length: 500 }, (_, i) => item(`job ${i}`)))
          assert.isAbove(statSync(`${filename}-wal`).size, 0)
          yield* TestClock.adjust("1 minute")
          assert.strictEqual(statSync(`${filename}-wal`).size, 0)
        })
      )
    }))

  it.effect("a file that was large gives its space back when nothing happens", () =>
    Effect.gen(function*() {
      const filename = yield* newFile
      yield* use(
        filename,
        Effect.gen(function*() {
          const backend = yield* Backend
          const subscription = yield* backend.subscribe("q", { worker: "w" })
          const payload = JSON.stringify("x".repeat(20_000))
          yield* backend.publish(
            "q",
            Array.from({ length: 300 }, (_, i) => {
              const job = item(`job ${i}`)
              return { ...job, envelope: { ...job.envelope, payload } }
            })
          )
          const deliveries = yield* subscription.take(300)
          yield* TestClock.adjust("10 seconds")
          assert.isAbove(statSync(filename).size, 6_000_000)
          yield* subscription.settle(deliveries.map(({ receipt }) => [receipt, succeeded]))
          yield* TestClock.adjust("1 hour")
          assert.isBelow(statSync(filename).size, 2_000_000)
        })
      )
    }))

  it.effect("options come from the configuration", () =>
    Effect.gen(function*() {
      const filename = yield* newFile
      const layer = SqliteBackend.layerConfig({
        filename: Config.String("QUEUE_FILE"),
        lease: Config.Duration("QUEUE_LEASE"),
        synchronous: Config.succeed("full" as const)
      })
      yield* Effect.gen(function*() {
        const subscription = yield* (yield* Backend).subscribe("q", { worker: "w" })
        assert.deepInclude(subscription.lease, { _tag: "Timed", millis: 2_000 })
      }).pipe(
        Effect.scoped,
        Effect.provide(Layer.provide(
          layer,
          ConfigProvider.layer(ConfigProvider.fromUnknown({ QUEUE_FILE: filename, QUEUE_LEASE: "2 seconds" }))
        ))
      )
      assert.isTrue(statSync(filename).isFile())
    }))

  it.effect("texts of every kind come back as they were", () =>
    Effect.gen(function*() {
      const payload = JSON.stringify({ nul: "a\u0000b", lone: "\ud800", wide: "𝄞 żółć 漢字", quotes: "'\";--" })
      const headers = { "x-ünïcode": "wert\u0000 'mit' allem", empty: "", ["__proto__"]: "own" }
      const envelope = { id: "id 'with' \n and ✓", task: "T", version: 3, payload, headers, origin: "cron" as const }
      yield* use(
        yield* newFile,
        Effect.gen(function*() {
          const backend = yield* Backend
          yield* backend.publish("q ✓ '", [{ envelope, group: "g\u0001'" }])
          const subscription = yield* backend.subscribe("q ✓ '", { worker: "w" })
          const [delivery] = yield* subscription.take(1)
          assert.deepStrictEqual(delivery!.envelope, envelope)
          assert.strictEqual(delivery!.group, "g\u0001'")
          const found = yield* (yield* Capability.Inspect).get(envelope.id)
          assert.deepStrictEqual(Option.map(found, (record) => record.envelope), Option.some(envelope))
        })
      )
    }))
})

describe("a NUL in a text", () => {
  const database = new DatabaseSync(":memory:")
  const whole = database.prepare("SELECT 'a' || char(0) || 'b' AS text").get()!["text"] === "a\u0000b"
  database.close()

  it.effect(`is ${whole ? "kept" : "refused"} by this Node, and never cuts anything silently`, () =>
    Effect.gen(function*() {
      yield* use(
        yield* newFile,
        Effect.gen(function*() {
          const backend = yield* Backend
          const publish = (...items: ReadonlyArray<Item>) => backend.publish("q", items)
          const key = (name: string) => item(name, { unique: { key: `k\u0000${name}`, until: "finished" } })
          if (!whole) {
            const error = yield* Effect.flip(publish(item("good"), item("a\u0000b")))
            assert.include(error.message, "NUL")
            const elsewhere = yield* Effect.flip((yield* Capability.Reroute).prepare("q", { group: "a\u0000b" }))
            assert.include(elsewhere.message, "NUL")
            assert.deepStrictEqual(yield* (yield* Capability.Inspect).queues, [])
            return
          }
          assert.deepStrictEqual(yield* publish(item("a\u0000b"), item("a\u0000c"), key("x"), key("y")), [
            { _tag: "Stored" },
            { _tag: "Stored" },
            { _tag: "Stored" },
            { _tag: "Stored" }
          ])
          const subscription = yield* backend.subscribe("q", { worker: "w" })
          assert.deepStrictEqual(yield* takeAll(subscription), ["a\u0000b", "a\u0000c", "x", "y"])
        })
      )
    }))
})

describe("two layers of one process on one file", () => {
  it.effect("wake each other without real time, and share jobs, leaders and results", () =>
    Effect.gen(function*() {
      const filename = yield* newFile
      const build = Effect.gen(function*() {
        const context = yield* Layer.build(Layer.fresh(SqliteBackend.layer({ filename })))
        return <A, E>(effect: Effect.Effect<A, E, SqliteBackend.Services | Scope.Scope>) =>
          Effect.provideContext(effect, context)
      })
      const [one, other] = [yield* build, yield* build]
      const subscription = yield* one(Effect.flatMap(Backend, (b) => b.subscribe("q", { worker: "w" })))
      const awaiting = yield* Effect.forkChild(subscription.await(1), { startImmediately: true })
      const hint = yield* Effect.forkChild(Stream.runHead(subscription.aborts!), { startImmediately: true })
      yield* Effect.yieldNow
      assert.isUndefined(awaiting.pollUnsafe())

      yield* other(Effect.flatMap(Backend, (b) => b.publish("q", [item("a")])))
      yield* Fiber.join(awaiting)
      const [delivery] = yield* subscription.take(1)
      assert.strictEqual(delivery!.envelope.id, "a")

      const result = yield* Effect.forkChild(
        other(Effect.flatMap(Capability.Results, (results) => results.await("a"))),
        { startImmediately: true }
      )
      yield* other(Effect.flatMap(Capability.Cancel, (cancel) => cancel.request("a")))
      assert.deepStrictEqual(yield* Fiber.join(hint), Option.some("a"))
      assert.deepStrictEqual(
        yield* subscription.settle([[delivery!.receipt, {
          _tag: "Retry",
          why: "interrupted",
          after: 0,
          attempt: "kept",
          place: "front",
          error: undefined
        }]]),
        ["Aborted"]
      )
      assert.deepStrictEqual(yield* Fiber.join(result), {
        state: "aborted",
        reason: "abort requested",
        exit: undefined
      })

      const lead = Effect.flatMap(Capability.Leader, (leader) => leader.hold("cron"))
      const scope = yield* Scope.make()
      assert.deepStrictEqual(yield* Scope.provide(one(lead), scope), { epoch: 1 })
      const next = yield* Effect.forkChild(other(lead), { startImmediately: true })
      yield* Effect.yieldNow
      assert.isUndefined(next.pollUnsafe())
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* Fiber.join(next), { epoch: 2 })
    }).pipe(Effect.scoped))
})

describe("a leader", () => {
  it.effect("that lost its lease says so, and leaves the next one its seat", () =>
    Effect.gen(function*() {
      const filename = yield* newFile
      const warnings: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => {
        if (logLevel === "Warn") warnings.push(String(message))
      })
      yield* use(
        filename,
        Effect.gen(function*() {
          const leader = yield* Capability.Leader
          const scope = yield* Scope.make()
          assert.deepStrictEqual(yield* Scope.provide(leader.hold("cron"), scope), { epoch: 1 })
          yield* TestClock.adjust("1 hour")
          assert.deepStrictEqual(warnings, [])
          // as if this process had stood still, and another had taken the seat
          yield* byHand(filename, "UPDATE leader SET holder = 'other', epoch = 2, expires = 9e12")
          yield* TestClock.adjust("10 seconds")
          assert.strictEqual(warnings.length, 1)
          assert.include(warnings[0], "was lost")
          yield* Scope.close(scope, Exit.void)
        })
      ).pipe(Effect.provide(Logger.layer([logger])))
      const database = new DatabaseSync(filename)
      assert.deepStrictEqual({ ...database.prepare("SELECT holder, epoch FROM leader").get() }, {
        holder: "other",
        epoch: 2
      })
      database.close()
    }))
})

describe("the virtual clock", () => {
  it.effect("moves by ten weeks with a worker waiting in a moment, and every lease, delay and retention is kept", () =>
    Effect.gen(function*() {
      yield* use(
        yield* newFile,
        Effect.gen(function*() {
          const backend = yield* Backend
          const inspect = yield* Capability.Inspect
          const subscription = yield* backend.subscribe("q", { worker: "w" })
          yield* backend.publish("q", [item("dies"), item("late", { due: { _tag: "After", millis: 70 * 86_400_000 } })])
          const [dies] = yield* subscription.take(1)
          yield* subscription.settle([[dies!.receipt, {
            _tag: "Dead",
            reason: "x",
            error: undefined,
            exit: undefined
          }]])
          const awaiting = yield* Effect.forkChild(subscription.await(1), { startImmediately: true })
          yield* TestClock.adjust("6 days")
          assert.isTrue(Option.isSome(yield* inspect.get("dies")))
          yield* TestClock.adjust("2 days")
          assert.isTrue(Option.isNone(yield* inspect.get("dies")))
          assert.isUndefined(awaiting.pollUnsafe())
          yield* TestClock.adjust("62 days")
          yield* Fiber.join(awaiting)
          assert.deepStrictEqual(yield* takeAll(subscription), ["late"])
        })
      )
    }))
})

describe("the engine on a connection", () => {
  const open = (database: DatabaseSync) =>
    Effect.map(
      Clock.clockWith(Effect.succeed),
      (clock) => new Connection(database, clock, { name: "sqlite", filename: "queue.db", lockTimeout: 1_000 })
    )

  const schema = (database: DatabaseSync) => {
    for (const sql of migrations) database.exec(sql)
    return database
  }

  it.effect("no statement walks a big table", () =>
    Effect.gen(function*() {
      const statements: Array<string> = []
      const { prepare } = DatabaseSync.prototype
      DatabaseSync.prototype.prepare = function(sql: string) {
        statements.push(sql)
        return prepare.call(this, sql)
      }
      yield* use(yield* newFile, Effect.flatMap(Backend, (backend) => backend.subscribe("q", { worker: "w" }))).pipe(
        Effect.ensuring(Effect.sync(() => {
          DatabaseSync.prototype.prepare = prepare
        }))
      )
      const database = schema(new DatabaseSync(":memory:"))
      const plans = statements.filter((sql) => /^\s*(SELECT|INSERT|UPDATE|DELETE)/.test(sql)).flatMap((sql) =>
        database.prepare(`EXPLAIN QUERY PLAN ${sql}`).all().map(({ detail }) => ({ sql, detail: String(detail) }))
      )
      assert.isAbove(plans.filter(({ detail }) => detail.startsWith("SEARCH")).length, 50)
      // Node 22 does not bind them by position
      assert.deepStrictEqual(statements.filter((sql) => /\?\d/.test(sql)), [])
      const walks = plans.filter(({ detail }) =>
        detail.startsWith("SCAN") && !/^SCAN (json_each|CONSTANT ROW|queue|sqlite_master)/.test(detail) &&
        // in the order of an index whose entries are all wanted, and no further than the limit
        !/^SCAN (ended|ukey) USING (COVERING )?INDEX \w+_expires/.test(detail)
      )
      assert.deepStrictEqual(walks, [])
      // sorting means that rows are read which are not returned
      assert.deepStrictEqual(
        plans.filter(({ detail, sql }) => /TEMP B-TREE FOR ORDER BY/.test(detail) && !sql.includes("sqlite_master")),
        []
      )
      database.close()
    }))

  it.effect("a full disk is a retryable error, and nothing of the batch is stored", () =>
    Effect.gen(function*() {
      const database = schema(new DatabaseSync(":memory:"))
      const connection = yield* open(database)
      const engine = new Engine(connection, new Wake(), { lease: 1_000, retention: { failures: 0, successes: 0 } })
      const publish = (items: ReadonlyArray<Item>) =>
        connection.write("publish", (now) => engine.publish("q", items, false, now))
      yield* publish([item("before")])
      const pages = Object.values(database.prepare("PRAGMA page_count").get()!)[0]
      database.exec(`PRAGMA max_page_count = ${pages}`)
      const big = item("big")
      const error = yield* Effect.flip(publish([
        item("small"),
        { ...big, envelope: { ...big.envelope, payload: JSON.stringify("x".repeat(100_000)) } }
      ]))
      assert.include(error.message, "free space")
      assert.isTrue(error.retryable)
      assert.strictEqual(error.outcome, "NotApplied")
      database.exec("PRAGMA max_page_count = 1000000")
      assert.deepStrictEqual(yield* publish([item("before"), item("small")]), [
        { _tag: "Duplicate", existing: "before" },
        { _tag: "Stored" }
      ])
      database.close()
    }))

  it.effect("a commit that fails half-way has an unknown outcome; one that can be taken back has not happened", () =>
    Effect.gen(function*() {
      const failing = (code: number, ends: boolean) => {
        const database = schema(new DatabaseSync(":memory:"))
        const prepare = database.prepare.bind(database)
        database.prepare = (sql: string) => {
          const statement = prepare(sql)
          if (sql === "COMMIT") {
            statement.run = () => {
              if (ends) database.exec("COMMIT")
              throw Object.assign(new Error("disk I/O error"), { errcode: code })
            }
          }
          return statement
        }
        return database
      }
      const write = (database: DatabaseSync) =>
        Effect.flatMap(
          open(database),
          (connection) => Effect.flip(connection.write("publish", () => database.exec("UPDATE sequence SET value = 5")))
        )
      const value = (database: DatabaseSync) => database.prepare("SELECT value FROM sequence").get()!["value"]

      const ended = failing(10, true)
      const unknown = yield* write(ended)
      assert.strictEqual(unknown.outcome, "Unknown")
      assert.isTrue(unknown.retryable)
      assert.strictEqual(value(ended), 5)

      const open_ = failing(10, false)
      const notApplied = yield* write(open_)
      assert.strictEqual(notApplied.outcome, "NotApplied")
      assert.strictEqual(value(open_), 0)
    }))

  it.effect("what a transaction wants done comes after its commit, and not when it failed", () =>
    Effect.gen(function*() {
      const database = schema(new DatabaseSync(":memory:"))
      const connection = yield* open(database)
      const heard: Array<string> = []
      const ask = (name: string) => {
        connection.after(() => heard.push(`${name} ${database.isTransaction ? "inside" : "noted"}`))
        connection.tell(() => heard.push(`${name} ${database.isTransaction ? "inside" : "told"}`))
      }
      yield* Effect.map(connection.write("one", () => ask("one")), () => heard.push("one returned"))
      yield* Effect.yieldNow
      yield* Effect.flip(connection.write("two", () => {
        ask("two")
        throw Object.assign(new Error("no"), { errcode: 1 })
      }))
      yield* connection.write("three", () => {})
      yield* Effect.yieldNow
      assert.deepStrictEqual(heard, ["one noted", "one returned", "one told"])
      database.close()
    }))

  it.effect("who is woken runs after the call that woke it, never inside of it", () =>
    use(
      ":memory:",
      Effect.gen(function*() {
        const backend = yield* Backend
        const subscription = yield* backend.subscribe("q", { worker: "w" })
        const log: Array<string> = []
        const result = yield* Effect.forkChild(
          Effect.map((yield* Capability.Results).await("a"), ({ state }) => log.push(state)),
          { startImmediately: true }
        )
        const worker = yield* Effect.forkChild(
          Effect.gen(function*() {
            yield* subscription.await(1)
            const [delivery] = yield* subscription.take(1)
            log.push("taken")
            yield* subscription.settle([[delivery!.receipt, succeeded]])
            log.push("settled")
          }),
          { startImmediately: true }
        )
        yield* Effect.map(backend.publish("q", [item("a")]), () => log.push("published"))
        yield* Fiber.join(worker)
        yield* Fiber.join(result)
        assert.deepStrictEqual(log, ["published", "taken", "settled", "succeeded"])
      })
    ))
})
