/**
 * Who is told of a marker that a connection took: a worker that waits, one that is just looking, or another process; and
 * how soon a worker of the producer's own process looks.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Redis } from "effect/persistence/Redis"
import * as Queue from "effect/Queue"
import * as References from "effect/References"
import { Backend, type Item } from "windlass/Backend"
import * as RedisBackend from "windlass/backends/RedisBackend"
import { Calls } from "../../src/backends/redis/calls.ts"
import { Listen } from "../../src/backends/redis/listen.ts"
import { scripts } from "../../src/backends/redis/scripts.ts"
import { topicOf, Wake } from "../../src/backends/redis/wake.ts"
import { client, deleted, freshPrefix } from "./redis/server.ts"

/** a server whose markers come when the test says so; what is sent to it is noted */
const stage = Effect.gen(function*() {
  const sent: Array<string> = []
  /** somebody blocks on the reserved connection, and gets the answer from here */
  const blocked = yield* Queue.unbounded<Deferred.Deferred<ReadonlyArray<string>>>()
  const send = (command: string) => Effect.sync(() => void sent.push(command) as never)
  const redis = {
    send,
    reserve: Effect.succeed({
      send: (command: string) =>
        command !== "BZPOPMIN" ? send(command) : Effect.gen(function*() {
          const answer = yield* Deferred.make<ReadonlyArray<string>>()
          yield* Queue.offer(blocked, answer)
          return (yield* Deferred.await(answer)) as never
        })
    })
  } as unknown as Redis["Service"]
  const settings = {
    lease: 1_000,
    name: "redis",
    prefix: "p",
    timeout: 1_000,
    retention: { failures: 0, successes: 0 }
  }
  const wake = new Wake()
  const scope = yield* Effect.scope
  const listen = new Listen(
    new Calls(redis, settings),
    wake,
    true,
    (effect) => void Effect.runFork(Effect.forkIn(effect, scope))
  )
  const unwant = listen.want("q")
  const answer = yield* Queue.take(blocked)
  /** what came of it can be seen when this returns */
  const marker = Effect.andThen(
    Deferred.succeed(answer, [listenedKey, "0", "0"]),
    Effect.yieldNow.pipe(Effect.repeat({ times: 20 }))
  )
  return { listen, marker, sent, signals: () => wake.count(topicOf.queue("q")), unwant }
})
const listenedKey = "{p:q}:wake"
const settled = Effect.yieldNow.pipe(Effect.repeat({ times: 20 }))

const item = (id: string): Item => ({
  envelope: { id, task: "T", version: 1, payload: "{}", headers: {}, origin: "user" }
})

describe("markers", () => {
  it.effect("who waits is told", () =>
    Effect.gen(function*() {
      const { marker, sent, signals } = yield* stage
      yield* marker
      assert.deepStrictEqual([signals(), sent], [1, []])
    }).pipe(Effect.scoped))

  it.effect("when nobody waits any more it is put back, for another process", () =>
    Effect.gen(function*() {
      const { marker, sent, signals, unwant } = yield* stage
      unwant()
      yield* marker
      assert.deepStrictEqual([signals(), sent], [0, ["ZADD"]])
    }).pipe(Effect.scoped))

  it.effect("who is just looking and has room left looks again", () =>
    Effect.gen(function*() {
      const { listen, marker, sent, signals, unwant } = yield* stage
      unwant()
      const done = listen.claiming("q")
      yield* marker
      assert.deepStrictEqual([signals(), sent], [0, []])
      done(true)
      yield* settled
      assert.deepStrictEqual([signals(), sent], [1, []])
      // and that is over with it
      listen.claiming("q")(false)
      listen.claiming("q")(true)
      yield* settled
      assert.deepStrictEqual([signals(), sent], [1, []])
    }).pipe(Effect.scoped))

  it.effect("when all that are just looking took what they could it is put back, once", () =>
    Effect.gen(function*() {
      const { listen, marker, sent, signals, unwant } = yield* stage
      unwant()
      const [one, two] = [listen.claiming("q"), listen.claiming("q")]
      yield* marker
      one(false)
      yield* settled
      assert.deepStrictEqual(sent, [])
      two(false)
      yield* settled
      assert.deepStrictEqual([signals(), sent], [0, ["ZADD"]])
    }).pipe(Effect.scoped))

  it.effect("one of two that are just looking has room left", () =>
    Effect.gen(function*() {
      const { listen, marker, sent, signals, unwant } = yield* stage
      unwant()
      const [one, two] = [listen.claiming("q"), listen.claiming("q")]
      yield* marker
      one(true)
      two(false)
      yield* settled
      assert.deepStrictEqual([signals(), sent], [1, []])
    }).pipe(Effect.scoped))

  it.live(
    "an idle worker of the producer's process claims in the script that publishes; no marker is put back",
    () =>
      Effect.gen(function*() {
        const prefix = freshPrefix()
        yield* Layer.build(deleted(prefix))
        const redis = yield* Redis
        const log: Array<string> = []
        const idle = { waits: false, blocks: 0 }
        const names = new Map(Object.entries(scripts).map(([name, { sha }]) => [sha, name]))
        const noting: Redis["Service"] = {
          ...redis,
          send: <A>(command: string, ...args: ReadonlyArray<string>) => {
            const what = command === "EVALSHA" ? names.get(args[0]!)! : command
            return Effect.suspend(() => {
              log.push(what)
              return Effect.tap(redis.send<A>(command, ...args), () => Effect.sync(() => log.push(`${what} answered`)))
            })
          },
          reserve: Effect.map(redis.reserve, (connection) => ({
            ...connection,
            send: <A>(command: string, ...args: ReadonlyArray<string>) =>
              Effect.suspend(() => {
                idle.blocks++
                return Effect.ensuring(connection.send<A>(command, ...args), Effect.sync(() => void idle.blocks--))
              })
          }))
        }
        yield* Effect.gen(function*() {
          const queue = yield* Backend
          const subscription = yield* queue.subscribe("q", { worker: "w" })
          const came = yield* Queue.unbounded<string>()
          yield* Effect.forkScoped(Effect.forever(Effect.gen(function*() {
            idle.waits = true
            yield* subscription.await(10)
            idle.waits = false
            const deliveries = yield* subscription.take(10)
            for (const { envelope } of deliveries) yield* Queue.offer(came, envelope.id)
          })))
          for (let n = 0; n < 20; n++) {
            while (!idle.waits || idle.blocks === 0) yield* Effect.sleep(1)
            log.length = 0
            yield* queue.publish("q", [item(`j-${n}`)])
            assert.strictEqual(yield* Queue.take(came), `j-${n}`)
            assert.strictEqual(log[0], "publishAndExchange")
            assert.notInclude(log, "publish")
            while (!idle.waits || idle.blocks === 0) yield* Effect.sleep(1)
            assert.notInclude(log, "ZADD")
          }
        }).pipe(
          Effect.scoped,
          Effect.provide(
            RedisBackend.layer({ prefix, pollInterval: "1 hour" }).pipe(
              Layer.provide(Layer.succeed(Redis, noting)),
              Layer.provide(Layer.succeed(References.MinimumLogLevel, "Error"))
            )
          )
        )
      }).pipe(Effect.scoped, Effect.provide(client())),
    20_000
  )
})
