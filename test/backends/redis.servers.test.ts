/**
 * The Redis backend on servers of its own: what befalls a server, and what only a server in a certain state shows.
 */
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import { Redis } from "effect/persistence/Redis"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import {
  Backend,
  type BackendError,
  type Delivery,
  type Item,
  type Settlement,
  type Subscription
} from "windlass/Backend"
import * as RedisBackend from "windlass/backends/RedisBackend"
import * as Capability from "windlass/Capability"
import { startRedis } from "../support/services.ts"

const item = (id: string, options: Omit<Item, "envelope"> = {}): Item => ({
  envelope: { id, task: "T", version: 1, payload: "{}", headers: {}, origin: "user" },
  ...options
})
const many = (count: number, prefix = "j"): ReadonlyArray<Item> =>
  Array.from({ length: count }, (_, n) => item(`${prefix}-${n}`))
const succeeded: Settlement = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }
const failed: Settlement = { _tag: "Retry", why: "failed", after: 0, attempt: "spent", place: "back", error: "no" }
const dead: Settlement = { _tag: "Dead", reason: "failed", error: "no", exit: undefined }
const idsOf = (deliveries: ReadonlyArray<Delivery>) => deliveries.map(({ envelope }) => envelope.id)
const complete = (deliveries: ReadonlyArray<Delivery>) => deliveries.map(({ receipt }) => [receipt, succeeded] as const)

/** as a worker does: claims, and waits when there is nothing or the server is away */
const receive = (subscription: Subscription): Effect.Effect<ReadonlyArray<Delivery>> =>
  Effect.flatMap(Effect.orElseSucceed(subscription.take(1), () => []), (taken) =>
    taken.length > 0
      ? Effect.succeed(taken)
      : Effect.andThen(Effect.ignore(subscription.await(1)), Effect.suspend(() => receive(subscription))))

/** ended with the scope */
const server = (...args: Parameters<typeof startRedis>) =>
  Effect.acquireRelease(Effect.promise(() => startRedis(...args)), ({ stop }) => Effect.promise(() => stop("SIGKILL")))

const quiet = Layer.succeed(References.MinimumLogLevel, "None" as const)
const on = (url: string, options: RedisBackend.Options = {}) =>
  RedisBackend.layer(options).pipe(Layer.provideMerge(NodeRedis.layer({ url })), Layer.provide(quiet))

describe("redis servers", () => {
  it.live(
    "L16 SCRIPT FLUSH in the middle: the scripts are sent again, nothing is lost or done twice",
    () =>
      Effect.gen(function*() {
        const { url } = yield* server()
        yield* Effect.gen(function*() {
          const queue = yield* Backend
          const redis = yield* Redis
          yield* queue.publish("q", many(50))
          const subscription = yield* queue.subscribe("q", { worker: "w" })
          const seen: Array<string> = []
          for (;;) {
            yield* redis.send("SCRIPT", "FLUSH")
            const deliveries = yield* subscription.take(10)
            if (deliveries.length === 0) break
            seen.push(...idsOf(deliveries))
            yield* redis.send("SCRIPT", "FLUSH")
            assert.deepStrictEqual(yield* subscription.settle(complete(deliveries)), deliveries.map(() => "Settled"))
          }
          assert.deepStrictEqual(seen, many(50).map(({ envelope }) => envelope.id))
        }).pipe(Effect.scoped, Effect.provide(on(url)))
      }).pipe(Effect.scoped),
    20_000
  )

  it.live(
    "a batch of 10,000 is one script where the limits allow it, and so is its settlement",
    () =>
      Effect.gen(function*() {
        const { url } = yield* server()
        const limits = { publishBatch: 10_000, takeBatch: 10_000, settleBatch: 10_000 }
        yield* Effect.gen(function*() {
          const queue = yield* Backend
          const subscription = yield* queue.subscribe("q", { worker: "w" })
          const answers = yield* queue.publish("q", many(10_000), { atomic: true })
          assert.isTrue(answers.every(({ _tag }) => _tag === "Stored"))
          const again = yield* queue.publish("q", [...many(9_999, "other"), item("j-5000")], { atomic: true })
          assert.deepStrictEqual(again[0], { _tag: "Skipped" })
          assert.deepStrictEqual(again[9_999], { _tag: "Duplicate", existing: "j-5000" })
          const deliveries = yield* subscription.take(20_000)
          assert.deepStrictEqual(idsOf(deliveries), many(10_000).map(({ envelope }) => envelope.id))
          // half of them one by one inside of the script, half together
          const settled = yield* subscription.settle(
            deliveries.map(({ receipt }, n) => [receipt, n % 2 === 0 ? succeeded : failed])
          )
          assert.strictEqual(settled.filter((answer) => answer === "Settled").length, 10_000)
          const inspect = yield* Capability.Inspect
          assert.deepStrictEqual(yield* inspect.counts("q"), { ready: 5_000, scheduled: 0, active: 0, dead: 0 })
        }).pipe(Effect.scoped, Effect.provide(on(url, { limits })))
      }).pipe(Effect.scoped),
    30_000
  )

  it.live(
    "all keys of a call are in one slot: every operation works on a node of a cluster",
    () =>
      Effect.gen(function*() {
        const { url } = yield* server({ args: ["--cluster-enabled", "yes"] })
        const admin = Context.get(yield* Layer.build(NodeRedis.layer({ url })), Redis)
        yield* admin.send("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        const isReady = Effect.map(admin.send("CLUSTER", "INFO"), (info) => String(info).includes("cluster_state:ok"))
        while (!(yield* isReady)) yield* Effect.sleep(20)

        const calls: Array<{ readonly keys: ReadonlyArray<string> }> = []
        const recording = Layer.effect(
          Redis,
          Effect.map(Redis, (redis): Redis["Service"] => ({
            ...redis,
            send: <A>(command: string, ...args: ReadonlyArray<string>) => {
              if (command === "EVALSHA") calls.push({ keys: args.slice(2, 2 + Number(args[1])) })
              return redis.send<A>(command, ...args)
            }
          }))
        )
        const layer = RedisBackend.layer({ pollInterval: "1 hour" }).pipe(
          Layer.provide(recording),
          Layer.provide(NodeRedis.layer({ url })),
          Layer.provide(quiet)
        )
        yield* Effect.gen(function*() {
          const queue = yield* Backend
          const results = yield* Capability.Results
          const inspect = yield* Capability.Inspect
          const cancel = yield* Capability.Cancel
          const pause = yield* Capability.Pause
          const letters = yield* Capability.DeadLetter
          const leader = yield* Capability.Leader
          const cursor = yield* Capability.Cursor
          for (const name of ["one", "a{b}c", "}{"]) {
            const id = (what: string) => `${name}-${what}`
            const subscription = yield* queue.subscribe(name, { worker: "w" })
            yield* subscription.take(1)
            const waiting = yield* Effect.forkChild(receive(subscription), { startImmediately: true })
            yield* Effect.andThen(Effect.sleep(50), queue.publish(name, [item(id("a"), { keepResult: 60_000 })]))
            const [a] = yield* Fiber.join(waiting)
            yield* queue.publish(name, [
              item(id("b"), { group: "g" }),
              item(id("c"), { group: "g" }),
              item(id("d"), { unique: { key: "k", until: "finished" }, due: { _tag: "After", millis: 60_000 } })
            ], { atomic: true })
            yield* inspect.progress(a!.receipt, "1")
            assert.strictEqual(yield* cancel.request(id("a")), "Requested")
            if (subscription.lease._tag === "Timed") {
              assert.deepStrictEqual(yield* subscription.lease.extend([a!.receipt]), ["Abort"])
            }
            const [settled, [b]] = yield* subscription.exchange([[a!.receipt, succeeded]], 10)
            assert.deepStrictEqual(settled, ["Settled"])
            assert.strictEqual((yield* results.await(id("a"))).state, "succeeded")
            yield* subscription.settle([[b!.receipt, dead]])
            assert.strictEqual(yield* letters.redrive(name), 1)
            assert.strictEqual(yield* cancel.request(id("d")), "Cancelled")
            yield* pause.set(name, true)
            yield* pause.set(name, false)
            assert.strictEqual(
              (yield* cursor.advance({ queue: name, name: "n", from: undefined, to: 1 }, []))._tag,
              "Advanced"
            )
            assert.strictEqual((yield* Stream.runCollect(inspect.list({ queue: name }))).length, 4)
            assert.strictEqual((yield* inspect.counts(name)).ready, 2)
          }
          assert.strictEqual((yield* Effect.scoped(leader.hold("n"))).epoch, 1)
          assert.deepStrictEqual(yield* inspect.queues, ["a{b}c", "one", "}{"])
        }).pipe(Effect.scoped, Effect.provide(layer))

        assert.isAbove(calls.length, 40)
        const slots = new Map<string, unknown>()
        for (const { keys } of calls) {
          for (const key of keys) if (!slots.has(key)) slots.set(key, yield* admin.send("CLUSTER", "KEYSLOT", key))
          assert.strictEqual(new Set(keys.map((key) => slots.get(key))).size, 1, keys.join())
        }
      }).pipe(Effect.scoped),
    30_000
  )

  it.live(
    "a full server takes no new jobs and says so; what is stored is claimed, prolonged and settled",
    () =>
      Effect.gen(function*() {
        const { url } = yield* server()
        yield* Effect.gen(function*() {
          const queue = yield* Backend
          const redis = yield* Redis
          yield* queue.publish("q", [...many(10), item("g1", { group: "g" }), item("g2", { group: "g" })])
          const subscription = yield* queue.subscribe("q", { worker: "w" })
          yield* redis.send("CONFIG", "SET", "maxmemory", "1mb")
          const error = yield* Effect.flip(queue.publish("q", [item("more")]))
          assert.strictEqual(error.outcome, "NotApplied")
          assert.isTrue(error.retryable)
          assert.include(error.message, "maxmemory")
          const taken = yield* subscription.take(11)
          assert.strictEqual(taken.length, 11)
          if (subscription.lease._tag === "Timed") {
            const held = yield* subscription.lease.extend(taken.map(({ receipt }) => receipt))
            assert.deepStrictEqual(held, taken.map(() => "Held"))
          }
          const [settled, next] = yield* subscription.exchange(
            taken.map(({ receipt }, n) => [receipt, n % 2 === 0 ? succeeded : n % 4 === 1 ? failed : dead] as const),
            100
          )
          assert.isTrue(settled.every((answer) => answer === "Settled"))
          assert.include(idsOf(next), "g2")
          yield* redis.send("CONFIG", "SET", "maxmemory", "0")
          assert.deepStrictEqual(yield* queue.publish("q", [item("more")]), [{ _tag: "Stored" }])
        }).pipe(Effect.scoped, Effect.provide(on(url)))
      }).pipe(Effect.scoped),
    20_000
  )

  it.live(
    "what an idle worker is to be given is refused by a full server, and the worker goes on; SCRIPT FLUSH holds up neither",
    () =>
      Effect.gen(function*() {
        const { url } = yield* server()
        yield* Effect.gen(function*() {
          const queue = yield* Backend
          const redis = yield* Redis
          const subscription = yield* queue.subscribe("q", { worker: "w" })
          const waits = yield* Latch.make()
          const noting = {
            ...subscription,
            await: (room: number) => Effect.andThen(waits.open, subscription.await(room))
          }
          const idle = yield* Effect.forkChild(receive(noting), { startImmediately: true })
          yield* waits.await
          yield* redis.send("CONFIG", "SET", "maxmemory", "1mb")
          const error = yield* Effect.flip(queue.publish("q", [item("a")]))
          assert.deepStrictEqual([error.operation, error.outcome], ["publish", "NotApplied"])
          yield* redis.send("CONFIG", "SET", "maxmemory", "0")
          yield* redis.send("SCRIPT", "FLUSH")
          assert.deepStrictEqual(yield* queue.publish("q", [item("b")]), [{ _tag: "Stored" }])
          assert.deepStrictEqual(idsOf(yield* Fiber.join(idle)), ["b"])
        }).pipe(Effect.scoped, Effect.provide(on(url, { pollInterval: "1 hour" })))
      }).pipe(Effect.scoped),
    20_000
  )

  it.live(
    "a user with the rights that the module names can do everything; one without them is told so",
    () =>
      Effect.gen(function*() {
        const { port, url } = yield* server()
        const admin = Context.get(yield* Layer.build(NodeRedis.layer({ url })), Redis)
        const rights = [
          "~{windlass:*",
          "~{windlass}:*",
          "&{windlass}:hints",
          "+@all",
          "-@admin",
          "-@dangerous",
          "+info"
        ]
        yield* admin.send(
          "ACL",
          "SETUSER",
          "app",
          "on",
          ">p",
          "resetkeys",
          "resetchannels",
          ...rights,
          "+client|unblock"
        )
        yield* Effect.gen(function*() {
          const queue = yield* Backend
          const cancel = yield* Capability.Cancel
          const leader = yield* Capability.Leader
          const inspect = yield* Capability.Inspect
          const subscription = yield* queue.subscribe("q", { worker: "w" })
          const waiting = yield* Effect.forkChild(receive(subscription), { startImmediately: true })
          yield* Effect.sleep(50)
          yield* queue.publish("q", [item("a", { keepResult: 60_000 })])
          yield* queue.publish("q", [item("b", { due: { _tag: "After", millis: 60_000 } })])
          assert.deepStrictEqual(yield* subscription.settle(complete(yield* Fiber.join(waiting))), ["Settled"])
          assert.strictEqual(yield* cancel.request("b"), "Cancelled")
          assert.strictEqual((yield* Effect.scoped(leader.hold("n"))).epoch, 1)
          assert.deepStrictEqual(yield* inspect.queues, ["q"])
          yield* admin.send("ACL", "SETUSER", "app", "-evalsha")
          const error = yield* Effect.flip(queue.publish("q", [item("c")]))
          assert.include(error.message, "the user lacks a right")
          assert.strictEqual(error.outcome, "NotApplied")
          assert.isFalse(error.retryable)
        }).pipe(Effect.scoped, Effect.provide(on(`redis://app:p@127.0.0.1:${port}`)))
      }).pipe(Effect.scoped),
    20_000
  )

  it.live(
    "a replica is refused when the layer is built, and one that becomes a replica says so",
    () =>
      Effect.gen(function*() {
        const primary = yield* server()
        const other = yield* server()
        yield* Effect.gen(function*() {
          const queue = yield* Backend
          const redis = yield* Redis
          yield* queue.publish("q", many(1))
          yield* redis.send("REPLICAOF", "127.0.0.1", String(primary.port))
          const error = yield* Effect.flip(queue.publish("q", many(1, "k")))
          assert.strictEqual(error.outcome, "NotApplied")
          assert.include(error.message, "replica")
        }).pipe(Effect.scoped, Effect.provide(on(other.url)))
        const error = yield* Effect.flip(Layer.build(on(other.url)))
        assert.include(String(error.message), `connect to its primary, 127.0.0.1:${primary.port}`)
      }).pipe(Effect.scoped),
    20_000
  )

  it.live(
    "L16 L4 all connections killed again and again: no job is lost, none is done twice",
    () =>
      Effect.gen(function*() {
        const { url } = yield* server()
        const admin = Context.get(yield* Layer.build(NodeRedis.layer({ url })), Redis)
        const kills = 20
        let killed = 0
        const isOver = () => killed >= kills
        const published: Array<string> = []
        const seen = new Set<string>()
        const settled = new Map<string, number>()
        const outcomes = new Set<string>()
        const heard = <A>(call: Effect.Effect<A, BackendError>) =>
          Effect.result(Effect.tapError(call, ({ outcome }) => Effect.sync(() => void outcomes.add(outcome))))
        yield* Effect.gen(function*() {
          const queue = yield* Backend
          const inspect = yield* Capability.Inspect
          const subscription = yield* queue.subscribe("q", { worker: "w" })
          const killing = Effect.forEach(Array.from({ length: kills }), () =>
            Effect.andThen(
              Effect.sleep(25),
              Effect.map(admin.send("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"), () => void killed++)
            ), { discard: true })
          // as a caller does: again with the same ids when nobody knows what became of it
          const producing = Effect.gen(function*() {
            for (let n = 0; !isOver(); n++) {
              const items = many(10, `b${n}`)
              while ((yield* heard(queue.publish("q", items)))._tag === "Failure") yield* Effect.yieldNow
              published.push(...items.map(({ envelope }) => envelope.id))
            }
          })
          const working = yield* Effect.forkChild(Effect.gen(function*() {
            for (;;) {
              const taken = yield* heard(subscription.take(10))
              if (taken._tag === "Failure" || taken.success.length === 0) {
                yield* Effect.ignore(subscription.await(10))
                continue
              }
              const answers = yield* heard(subscription.settle(complete(taken.success)))
              for (const [n, id] of idsOf(taken.success).entries()) {
                seen.add(id)
                if (answers._tag === "Success" && answers.success[n] === "Settled") {
                  settled.set(id, (settled.get(id) ?? 0) + 1)
                }
              }
            }
          }))
          yield* Effect.all([killing, producing], { concurrency: 2 })
          const left = Effect.map(inspect.counts("q"), ({ active, ready }) => active + ready)
          while ((yield* Effect.orElseSucceed(left, () => 1)) > 0) yield* Effect.sleep(50)
          yield* Fiber.interrupt(working)
        }).pipe(Effect.scoped, Effect.provide(on(url, { lease: "1 second" })))
        assert.isAbove(published.length, 0)
        assert.deepStrictEqual(published.filter((id) => !seen.has(id)), [])
        assert.isTrue(Array.from(settled.values()).every((times) => times === 1))
        assert.include(Array.from(outcomes), "Unknown")
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "L16 a server that stands still: the call is given up as unknown, and its claim hands out nothing later",
    () =>
      Effect.gen(function*() {
        const started = yield* server()
        yield* Effect.gen(function*() {
          const queue = yield* Backend
          const subscription = yield* queue.subscribe("q", { worker: "w" })
          yield* queue.publish("q", many(5))
          assert.strictEqual((yield* subscription.take(1)).length, 1)
          started.signal("SIGSTOP")
          const error = yield* Effect.flip(subscription.take(10))
          assert.strictEqual(error.outcome, "Unknown")
          assert.isTrue(error.retryable)
          // by the time it is read nobody waits for it
          yield* Effect.sleep(100)
          started.signal("SIGCONT")
          assert.strictEqual((yield* subscription.take(10)).length, 4)
        }).pipe(Effect.scoped, Effect.provide(on(started.url, { lease: "1 minute", callTimeout: "300 millis" })))
      }).pipe(Effect.scoped),
    20_000
  )

  it.live(
    "PROC-20 a server that is killed and started again on its file: jobs, fences, waits and leases go on",
    () =>
      Effect.gen(function*() {
        const args = ["--appendonly", "yes", "--appendfsync", "always"]
        const before = yield* server({ args })
        yield* Effect.gen(function*() {
          const queue = yield* Backend
          const subscription = yield* queue.subscribe("q", { worker: "w" })
          yield* queue.publish("q", many(20))
          const held = yield* subscription.take(5)
          const waiting = yield* queue.subscribe("other", { worker: "w" })
          yield* waiting.take(1)
          const heard = yield* Effect.forkChild(receive(waiting), { startImmediately: true })
          yield* Effect.promise(() => before.kill())
          yield* server({ args, port: before.port, folder: before.folder })
          // the client comes back by itself
          const answers = yield* subscription.settle(complete(held)).pipe(Effect.retry({ times: 5 }))
          assert.deepStrictEqual(answers, held.map(() => "Settled"))
          const rest = yield* subscription.take(100)
          assert.deepStrictEqual(idsOf(rest), many(20).map(({ envelope }) => envelope.id).slice(5))
          assert.isAbove(
            Number((rest[0]!.receipt.fence as { readonly token: string }).token),
            Number((held[0]!.receipt.fence as { readonly token: string }).token)
          )
          yield* queue.publish("other", [item("heard")])
          assert.deepStrictEqual(idsOf(yield* Fiber.join(heard)), ["heard"])
        }).pipe(Effect.scoped, Effect.provide(on(before.url)))
      }).pipe(Effect.scoped),
    30_000
  )
})
