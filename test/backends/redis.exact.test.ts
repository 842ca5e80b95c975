/**
 * What needs a hand on the engine's clock, to the millisecond: the scripts on the test's clock.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { Redis } from "effect/persistence/Redis"
import * as References from "effect/References"
import * as RedisBackend from "windlass/backends/RedisBackend"
import * as Conformance from "../../src/testing/Conformance.ts"
import { onTestClock } from "./redis/clocked.ts"
import { client, deleted, freshPrefix } from "./redis/server.ts"

const runtime = ManagedRuntime.make(client())
const redis = await runtime.runPromise(Redis)
afterAll(() => runtime.dispose())

const layer = Layer.suspend(() => {
  const prefix = freshPrefix()
  return RedisBackend.layer({ prefix, callTimeout: "20 days" }).pipe(
    Layer.provide(Layer.succeed(Redis, onTestClock(redis, prefix))),
    Layer.provideMerge(deleted(prefix)),
    Layer.provide(Layer.succeed(Redis, redis)),
    Layer.provide(Layer.succeed(References.MinimumLogLevel, "Error"))
  )
})

const seeds = (process.env["CONFORMANCE_SEEDS"] ?? "1,500").split(",").map(Number)

describe("redis on the test's clock", () => {
  for (const tried of Conformance.cases.filter(({ needs }) => needs.includes("ExactTime"))) {
    for (const seed of tried.id.startsWith("random/") ? seeds : [1]) {
      it.live(`${tried.id}: ${tried.title} (seed ${seed}; ${tried.holds.join(", ")})`, () =>
        Effect.gen(function*() {
          const verdict = yield* Conformance.runCase({ name: "redis", layer, clock: "test", scale: 10, seed }, tried)
          assert.strictEqual(verdict._tag, "Held", verdict._tag === "Failed" ? verdict.message : "it does not apply")
        }), 60_000)
    }
  }
})
