/**
 * The conformance kit on Redis. The server has its own time, so the kit waits, with short leases; cases run side by side,
 * each with a prefix of its own.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { Redis } from "effect/persistence/Redis"
import * as References from "effect/References"
import * as RedisBackend from "windlass/backends/RedisBackend"
import * as Conformance from "../../src/testing/Conformance.ts"
import { client, deleted, freshPrefix } from "./redis/server.ts"

const limits = { delayMillis: 365 * 86_400_000 }

const runtime = ManagedRuntime.make(client({ maxConnections: 500 }))
const redis = await runtime.runPromise(Redis)
afterAll(() => runtime.dispose())

const layer = Layer.suspend(() => {
  const prefix = freshPrefix()
  return RedisBackend.layer({ prefix, lease: "3 seconds", limits }).pipe(
    Layer.provideMerge(deleted(prefix)),
    Layer.provide(Layer.succeed(Redis, redis)),
    // a server for tests keeps nothing on disk, and says so every time
    Layer.provide(Layer.succeed(References.MinimumLogLevel, "Error"))
  )
})

describe.concurrent("redis", () => {
  const { apply, doNotApply } = Conformance.suite({
    name: "redis",
    layer,
    clock: "live",
    lacks: ["Transactional"],
    // cases run side by side: what one of them sees late must not be too late for it
    unit: 300,
    scale: 4
  }, it.live)

  it("all cases apply but those of Transactional and those that need a hand on the engine's clock", () => {
    const others = Conformance.cases.filter(({ needs }) =>
      needs.includes("ExactTime") || needs.includes("Transactional")
    )
    assert.deepStrictEqual(doNotApply, others)
    assert.strictEqual(apply.length, Conformance.cases.length - others.length)
  })

  it.live("the layer needs nothing but a Redis", () =>
    Effect.gen(function*() {
      yield* Effect.scoped(Layer.build(layer))
    }))
})
