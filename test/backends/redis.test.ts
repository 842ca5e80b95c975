/**
 * The Redis backend on the server that tests share: what is its own beside the contract.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { Redis } from "effect/persistence/Redis"
import * as References from "effect/References"
import { Backend, type BackendError, type Delivery, type Item, type Settlement } from "windlass/Backend"
import * as RedisBackend from "windlass/backends/RedisBackend"
import * as Capability from "windlass/Capability"
import { Calls } from "../../src/backends/redis/calls.ts"
import { Queues } from "../../src/backends/redis/queues.ts"
import { serverRefused, serverWarnings } from "../../src/backends/redis/server.ts"
import { backend, client, deleted, freshPrefix, keysOf } from "./redis/server.ts"

const item = (id: string, options: Omit<Item, "envelope"> = {}): Item => ({
  envelope: { id, task: "T", version: 1, payload: "{}", headers: {}, origin: "user" },
  ...options
})
const many = (count: number, prefix = "j"): ReadonlyArray<Item> =>
  Array.from({ length: count }, (_, n) => item(`${prefix}-${n}`))
const succeeded: Settlement = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }
const failed: Settlement = {
  _tag: "Retry",
  why: "failed",
  after: 0,
  attempt: "spent",
  place: "back",
  error: "no"
}
const dead: Settlement = { _tag: "Dead", reason: "failed", error: "no", exit: undefined }
const idsOf = (deliveries: ReadonlyArray<Delivery>) => deliveries.map(({ envelope }) => envelope.id)
const complete = (deliveries: ReadonlyArray<Delivery>) => deliveries.map(({ receipt }) => [receipt, succeeded] as const)

const quiet = Layer.succeed(References.MinimumLogLevel, "Error" as const)
const fresh = (options: RedisBackend.Options = {}) => backend(options).pipe(Layer.provide(quiet))

describe("redis", () => {
  it.live("nothing is left when everything has ended but the list of queues and the queue's last numbers", () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const retention = { failures: 0, successes: 0 }
      yield* Effect.gen(function*() {
        const queue = yield* Backend
        const cancel = yield* Capability.Cancel
        const subscription = yield* queue.subscribe("q", { worker: "w" })
        const unique = (until: "started" | "finished" | { readonly millis: number }, key: string) => ({ key, until })
        yield* queue.publish("q", [
          ...many(20),
          item("late", { due: { _tag: "After", millis: 60_000 } }),
          item("late-too", { due: { _tag: "After", millis: 60_000 }, group: "h" }),
          item("g1", { group: "g" }),
          item("g2", { group: "g" }),
          item("k1", { unique: unique("started", "a") }),
          item("k2", { unique: unique("finished", "b") }),
          item("k3", { unique: unique({ millis: 100 }, "c") }),
          item("r", { keepResult: 100 })
        ])
        for (let round = 0;; round++) {
          const deliveries = yield* subscription.take(7)
          if (deliveries.length === 0) break
          const settlements = [succeeded, failed, dead]
          yield* subscription.settle(
            deliveries.map((
              { attempt, receipt },
              n
            ) => [receipt, attempt > 2 ? succeeded : settlements[(round + n) % 3]!])
          )
        }
        assert.strictEqual(yield* cancel.request("late"), "Cancelled")
        assert.strictEqual(yield* cancel.request("late-too"), "Cancelled")
        // the window and the result
        yield* Effect.sleep(150)
        assert.deepStrictEqual(yield* subscription.take(1), [])
      }).pipe(Effect.scoped, Effect.provide(RedisBackend.layer({ prefix, retention }).pipe(Layer.provide(quiet))))
      assert.deepStrictEqual(yield* keysOf(prefix), [`{${prefix}:q}:meta`, `{${prefix}}:queues`])
      yield* Layer.build(deleted(prefix))
    }).pipe(Effect.scoped, Effect.provide(client())))

  it.live("a fence grows with every claim of a queue, also when the server forgot its last numbers", () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const redis = yield* Redis
      yield* Effect.gen(function*() {
        const queue = yield* Backend
        const subscription = yield* queue.subscribe("q", { worker: "w" })
        const tokenOf = ({ receipt }: Delivery) => Number((receipt.fence as { readonly token: string }).token)
        yield* queue.publish("q", many(1))
        let last = 0
        for (let round = 0; round < 20; round++) {
          const [delivery] = yield* subscription.take(1)
          assert.isAbove(tokenOf(delivery!), last)
          last = tokenOf(delivery!)
          yield* subscription.settle([[delivery!.receipt, failed]])
          if (round === 10) yield* redis.send("DEL", `{${prefix}:q}:meta`)
        }
      }).pipe(Effect.scoped, Effect.provide(backend({ prefix }).pipe(Layer.provide(quiet))))
    }).pipe(Effect.scoped, Effect.provide(client())))

  it.live("queues that are waited for share one connection, and each is woken", () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      // one process waits, the other publishes: two layers share nothing
      const waits = yield* Layer.build(
        backend({ prefix, pollInterval: "1 hour" }, { maxConnections: 1 }).pipe(Layer.provide(quiet))
      )
      const publishes = Context.get(yield* Layer.build(backend({ prefix }).pipe(Layer.provide(quiet))), Backend)
      const queues = Array.from({ length: 5 }, (_, n) => `q${n}`)
      for (const name of queues) {
        const subscription = yield* Context.get(waits, Backend).subscribe(name, { worker: "w" })
        // its connection for hints is up, and tells so once
        yield* subscription.take(1)
        const waiting = yield* Effect.forkChild(
          Effect.gen(function*() {
            for (;;) {
              const deliveries = yield* subscription.take(1)
              if (deliveries.length > 0) return idsOf(deliveries)
              yield* subscription.await(1)
            }
          }),
          { startImmediately: true }
        )
        yield* publishes.publish(name, [item(`in-${name}`)])
        assert.deepStrictEqual(yield* Fiber.join(waiting), [`in-${name}`])
      }
    }).pipe(Effect.scoped), 20_000)

  it.live(
    "L4 a call on a connection that was killed fails with a typed error or succeeds, and work goes on",
    () =>
      Effect.gen(function*() {
        const queue = yield* Backend
        const redis = yield* Redis
        const own = yield* redis.send<number>("CLIENT", "ID")
        const subscription = yield* queue.subscribe("q", { worker: "w" })
        yield* queue.publish("q", many(30))
        const seen = new Set<string>()
        const killer = yield* Layer.build(client())
        for (let round = 0; seen.size < 30 && round < 200; round++) {
          const taken = yield* Effect.forkChild(Effect.result(subscription.take(3)), { startImmediately: true })
          if (round < 5) {
            yield* Effect.ignore(Context.get(killer, Redis).send("CLIENT", "KILL", "ID", String(own + round)))
          }
          const result = yield* Fiber.join(taken)
          if (result._tag === "Failure") {
            assert.strictEqual(result.failure._tag, "windlass/BackendError")
            assert.isTrue(result.failure.retryable)
            continue
          }
          const settled = yield* Effect.result(subscription.settle(complete(result.success)))
          if (settled._tag === "Success") { for (const id of idsOf(result.success)) seen.add(id) }
          if (result.success.length === 0) yield* subscription.await(1)
        }
        assert.strictEqual(seen.size, 30)
      }).pipe(Effect.scoped, Effect.provide(fresh({ lease: "1 second" }))),
    20_000
  )

  it.live("a prefix that could be mistaken for another one is refused, and so is a lease that is none", () =>
    Effect.gen(function*() {
      for (const prefix of ["", "a:b", "{a}", "a b"]) {
        const error = yield* Effect.flip(Layer.build(RedisBackend.layer({ prefix })))
        assert.include(error.message, "prefix")
        assert.strictEqual(error.outcome, "NotApplied")
      }
      const error = yield* Effect.flip(Layer.build(RedisBackend.layer({ lease: 1 })))
      assert.include(error.message, "lease is 1 ms")
    }).pipe(Effect.scoped, Effect.provide(client())))

  it.live("building the layer warns when the server keeps nothing on disk", () =>
    Effect.gen(function*() {
      const redis = yield* Redis
      const logged: Array<string> = []
      const logger = Logger.make(({ message }) => void logged.push(String(message)))
      const info = (policy: string, aof: number) =>
        `redis_version:7.0.15\r\nmaxmemory_policy:${policy}\r\naof_enabled:${aof}`
      const told = (text: string): Redis["Service"] => ({
        ...redis,
        send: <A>(command: string, ...args: ReadonlyArray<string>) =>
          command === "INFO" ? Effect.succeed(text as A) : redis.send<A>(command, ...args)
      })
      const build = (text: string) =>
        Effect.scoped(Layer.build(RedisBackend.layer({ prefix: freshPrefix() }))).pipe(
          Effect.provideService(Redis, told(text)),
          Effect.provide(Logger.layer([logger]))
        )
      yield* build(info("allkeys-lru", 0))
      assert.strictEqual(logged.length, 2)
      assert.include(logged[0], "maxmemory-policy is allkeys-lru")
      assert.include(logged[1], "appendonly")
      yield* build(info("noeviction", 1))
      assert.strictEqual(logged.length, 2)
      const old = yield* Effect.flip(build("redis_version:6.0.16\r\nrole:master"))
      assert.include(old.message, "6.2 or later")
      assert.isFalse(old.retryable)
    }).pipe(Effect.scoped, Effect.provide(client())))

  it.live("a job that goes to another queue leaves nothing behind, wherever it was in", () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      yield* Effect.gen(function*() {
        const queue = yield* Backend
        const here = yield* queue.subscribe("here", { worker: "w" })
        const there = yield* queue.subscribe("there", { worker: "w" })
        yield* queue.publish("here", [
          item("plain", { priority: 3 }),
          item("full", { group: "g", unique: { key: "k", until: "finished" }, keepResult: 1 }),
          item("early", { unique: { key: "l", until: "started" }, due: { _tag: "At", time: 1 } })
        ])
        const to = { queue: "there", priority: -2 }
        yield* (yield* Capability.Reroute).prepare("here", to)
        const claimed = yield* here.take(10)
        assert.strictEqual(claimed.length, 3)
        yield* here.settle(claimed.map(({ receipt }) => [receipt, { ...failed, after: 1, to }] as const))
        const left = (yield* keysOf(prefix)).filter((key) => key.includes(":here}"))
        assert.deepStrictEqual(left, [`{${prefix}:here}:meta`])
        const arrived = new Set<string>()
        while (arrived.size < 3) {
          yield* there.await(10)
          const next = yield* there.take(10)
          for (const { envelope, priority } of next) {
            assert.strictEqual(priority, -2)
            arrived.add(envelope.id)
          }
          yield* there.settle(complete(next))
        }
      }).pipe(Effect.scoped, Effect.provide(fresh({ prefix, retention: { failures: 0, successes: 0 } })))
    }).pipe(Effect.provide(client())))

  it.live("a queue with a job of the same id keeps a job out, which stays where it is; one that is merely kept makes room", () =>
    Effect.gen(function*() {
      const queue = yield* Backend
      const here = yield* queue.subscribe("here", { worker: "w" })
      const there = yield* queue.subscribe("there", { worker: "w" })
      const to = { queue: "there", priority: 5 }
      yield* (yield* Capability.Reroute).prepare("here", to)
      yield* queue.publish("here", [item("live"), item("dead"), item("kept")])
      yield* queue.publish("there", [item("live"), item("dead"), item("kept")])
      const [live, letter, kept] = yield* there.take(3)
      yield* there.settle([[letter!.receipt, dead], [kept!.receipt, succeeded]])
      const claimed = yield* here.take(3)
      const answers = yield* here.settle(claimed.map(({ receipt }) => [receipt, { ...failed, to }] as const))
      assert.deepStrictEqual(answers, ["Settled", "Settled", "Settled"])
      const stayed = yield* here.take(10)
      assert.deepStrictEqual(stayed.map(({ attempt, envelope, priority }) => [envelope.id, attempt, priority]), [
        ["live", 2, 5],
        ["dead", 2, 5]
      ])
      const moved = yield* there.take(10)
      assert.deepStrictEqual(moved.map(({ attempt, envelope, priority }) => [envelope.id, attempt, priority]), [
        ["kept", 2, 5]
      ])
      // those that were there are what they were
      assert.deepStrictEqual(yield* there.settle([[live!.receipt, succeeded]]), ["Settled"])
      assert.strictEqual((yield* (yield* Capability.Inspect).counts("there")).dead, 1)
    }).pipe(Effect.scoped, Effect.provide(fresh({ retention: { failures: "1 day", successes: "1 day" } }))))

  it.live("a job that is on its way from one queue to another is found by its id", () =>
    Effect.gen(function*() {
      const settings = { lease: 1_000, name: "redis", timeout: 1_000, retention: { failures: 0, successes: 0 } }
      const prefix = freshPrefix()
      yield* Effect.gen(function*() {
        const queues = new Queues(new Calls(yield* Redis, { ...settings, prefix }))
        for (const name of ["a", "b"]) yield* queues.register(name)
        const asked: Array<string> = []
        const looking = (place: string, goesTo: string) => {
          asked.length = 0
          const ask = (queue: string) =>
            Effect.sync(() => {
              asked.push(queue)
              const isThere = place === queue
              // it moves while nobody looks: between the two questions
              if (asked.length === 1) place = goesTo
              return isThere
            })
          return queues.find(ask, (isThere) => !isThere)
        }
        assert.strictEqual((yield* looking("b", "a"))?.queue, "a")
        assert.deepStrictEqual(asked, ["a", "b", "a", "b"])
        assert.strictEqual((yield* looking("b", "b"))?.queue, "b")
        assert.deepStrictEqual(asked, ["a", "b"])
        assert.isUndefined(yield* looking("nowhere", "nowhere"))
      }).pipe(Effect.provide(deleted(prefix)))
    }).pipe(Effect.provide(client())))

  it.live("an idle worker is given what it was woken for, whatever was asked for the jobs and whatever is known of them", () =>
    Effect.gen(function*() {
      const queue = yield* Backend
      const subscription = yield* queue.subscribe("q", { worker: "w" })
      const waits = yield* Latch.make()
      const receive: Effect.Effect<ReadonlyArray<Delivery>, BackendError> = Effect.flatMap(
        subscription.take(10),
        (taken) =>
          taken.length > 0
            ? Effect.succeed(taken)
            : Effect.andThen(Effect.andThen(waits.open, subscription.await(10)), Effect.suspend(() => receive))
      )
      /** what is published while one waits, and what that one gets */
      const publish = Effect.fnUntraced(function*(...items: ReadonlyArray<Item>) {
        const idle = yield* Effect.forkChild(receive, { startImmediately: true })
        yield* waits.await
        waits.closeUnsafe()
        const answers = yield* queue.publish("q", items)
        return [answers.map(({ _tag }) => _tag), idsOf(yield* Fiber.join(idle))]
      })
      const later: Item["due"] = { _tag: "After", millis: 60_000 }
      const key = { key: "k", until: "finished" } as const
      assert.deepStrictEqual(yield* publish(item("a"), item("b")), [["Stored", "Stored"], ["a", "b"]])
      assert.deepStrictEqual(yield* publish(item("a"), item("c"), item("c")), [
        ["Duplicate", "Stored", "Duplicate"],
        ["c"]
      ])
      assert.deepStrictEqual(
        yield* publish(
          item("low", { priority: -1 }),
          item("high", { priority: 1 }),
          item("late", { due: later }),
          item("g1", { group: "g" }),
          item("g2", { group: "g" }),
          item("k1", { unique: key }),
          item("k2", { unique: key })
        ),
        [
          ["Stored", "Stored", "Stored", "Stored", "Stored", "Stored", "Duplicate"],
          ["high", "g1", "k1", "low"]
        ]
      )
    }).pipe(Effect.scoped, Effect.provide(fresh())))

  it.live("a claim says when its own lease ends, so a worker that waits looks for its lost jobs in time", () =>
    Effect.gen(function*() {
      const settings = { lease: 10_000, name: "redis", timeout: 1_000, retention: { failures: 0, successes: 0 } }
      const prefix = freshPrefix()
      yield* Effect.gen(function*() {
        const queue = yield* Backend
        yield* queue.publish("q", many(1))
        const calls = new Calls(yield* Redis, { ...settings, prefix })
        const claimed = yield* calls.run<ReadonlyArray<unknown>>("take", "exchange", "q", ["w", "5", "0", "0", ""])
        assert.deepStrictEqual([claimed[3], claimed[4]], [10_000, 0])
      }).pipe(Effect.provide(fresh({ prefix })))
    }).pipe(Effect.provide(client())))

  it("what the server must be and should be", () => {
    assert.isUndefined(serverRefused("# Server\r\nredis_version:6.2.0\r\nrole:master\r\n"))
    assert.isUndefined(serverRefused("redis_version:7.4.1"))
    assert.include(serverRefused("redis_version:5.0.7")!, "5.0.7")
    assert.include(serverRefused("redis_version:7.0.0\r\nrole:slave\r\nmaster_host:h\r\nmaster_port:1")!, "h:1")
    assert.deepStrictEqual(serverWarnings("maxmemory_policy:noeviction\r\naof_enabled:1", undefined), [])
    assert.include(serverWarnings("aof_enabled:0", "")[0], "loses all jobs")
    assert.include(serverWarnings("aof_enabled:0", "3600 1")[0], "since the last snapshot")
    assert.include(serverWarnings("maxmemory_policy:volatile-ttl", undefined)[0], "seats of leaders")
  })
})
