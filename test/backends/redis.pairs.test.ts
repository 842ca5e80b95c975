/**
 * A publish and the claim of the idle worker that it wakes: when they are one script, and what each is told of it.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { type Redis, RedisError } from "effect/persistence/Redis"
import { Calls } from "../../src/backends/redis/calls.ts"
import { Pairs } from "../../src/backends/redis/pairs.ts"
import { scripts } from "../../src/backends/redis/scripts.ts"

const names = new Map(Object.entries(scripts).map(([name, { sha }]) => [sha, name]))

/** a server that answers each script when and as the test says */
const stage = Effect.sync(() => {
  const sent: Array<{
    readonly name: string
    readonly args: ReadonlyArray<string>
    readonly answer: Deferred.Deferred<never, RedisError>
  }> = []
  const redis = {
    send: (_: string, sha: string, keys: string, ...rest: ReadonlyArray<string>) =>
      Effect.suspend(() => {
        const answer = Deferred.makeUnsafe<never, RedisError>()
        sent.push({ name: names.get(sha)!, args: rest.slice(Number(keys) + 5), answer })
        return Deferred.await(answer)
      })
  } as unknown as Redis["Service"]
  const calls = new Calls(redis, {
    lease: 1_000,
    name: "redis",
    prefix: "p",
    timeout: 1_000,
    retention: { failures: 0, successes: 0 }
  })
  const pairs = new Pairs(calls)
  const claim = (queue = "q") => Effect.runFork(pairs.exchange<string>("take", queue, ["w", "1"], []))
  return {
    pairs,
    claim,
    sent,
    ran: () => sent.map(({ name }) => name),
    answer: (n: number, value: unknown) => Deferred.doneUnsafe(sent[n]!.answer, Effect.succeed(value as never)),
    refuse: (n: number, message: string) =>
      Deferred.doneUnsafe(sent[n]!.answer, Effect.fail(new RedisError({ cause: new Error(message) })))
  }
})

const job = ["0", "2", "id", "T"]

describe("a publish and the claim that it wakes", () => {
  it.effect("are one script, and each gets its own answer", () =>
    Effect.gen(function*() {
      const { answer, claim, pairs, ran, sent } = yield* stage
      let claimed!: ReturnType<typeof claim>
      const published = pairs.offer("q", 1, job, () => void (claimed = claim()))
      assert.deepStrictEqual(ran(), ["publishAndExchange"])
      assert.deepStrictEqual(sent[0]!.args, ["4", ...job, "w", "1"])
      answer(0, [["dx"], "jobs"])
      assert.deepStrictEqual(yield* published!, ["dx"])
      assert.strictEqual(yield* Fiber.join(claimed), "jobs")
    }))

  it.effect("a publish goes alone when nobody claims, and what claims later does not have it", () =>
    Effect.gen(function*() {
      const { claim, pairs, ran } = yield* stage
      assert.isUndefined(pairs.offer("q", 1, job, () => {}))
      claim()
      assert.deepStrictEqual(ran(), ["exchange"])
    }))

  it.effect("the first claim of that queue takes it, others go alone", () =>
    Effect.gen(function*() {
      const { claim, pairs, ran } = yield* stage
      const published = pairs.offer("q", 1, job, () => {
        claim("other")
        claim()
        claim()
      })
      assert.isDefined(published)
      assert.deepStrictEqual(ran(), ["exchange", "publishAndExchange", "exchange"])
    }))

  it.effect("what wakes and publishes itself while it does goes alone", () =>
    Effect.gen(function*() {
      const { claim, pairs, sent } = yield* stage
      let inner: unknown = "not asked"
      const outer = pairs.offer("q", 1, job, () => {
        inner = pairs.offer("q", 1, ["0", "2", "second", "T"], () => {})
        claim()
      })
      assert.isUndefined(inner)
      assert.isDefined(outer)
      assert.deepStrictEqual(sent.map(({ args }) => args), [["4", ...job, "w", "1"]])
    }))

  it.effect("a large publish is not offered: it would hold up the claim", () =>
    Effect.gen(function*() {
      const { claim, pairs, ran } = yield* stage
      assert.isDefined(pairs.offer("q", 100, job, () => void claim()))
      assert.isUndefined(pairs.offer("q", 101, job, () => void claim()))
      assert.deepStrictEqual(ran(), ["publishAndExchange"])
    }))

  it.effect("a failure of which nobody knows what it did is told to both, and nothing is sent again (L4)", () =>
    Effect.gen(function*() {
      const { claim, pairs, ran, refuse } = yield* stage
      let claimed!: ReturnType<typeof claim>
      const published = pairs.offer("q", 1, job, () => void (claimed = claim()))
      refuse(0, "Socket closed unexpectedly")
      const errors = [yield* Effect.flip(published!), yield* Effect.flip(Fiber.join(claimed))]
      assert.deepStrictEqual(errors.map(({ operation, outcome }) => [operation, outcome]), [
        ["publish", "Unknown"],
        ["take", "Unknown"]
      ])
      assert.deepStrictEqual(ran(), ["publishAndExchange"])
    }))

  it.effect("what was refused as a whole is refused to who publishes, and the claim goes alone", () =>
    Effect.gen(function*() {
      const { answer, claim, pairs, ran, refuse } = yield* stage
      let claimed!: ReturnType<typeof claim>
      const published = pairs.offer("q", 1, job, () => void (claimed = claim()))
      refuse(0, "OOM command not allowed when used memory > 'maxmemory'.")
      const error = yield* Effect.flip(published!)
      assert.deepStrictEqual([error.operation, error.outcome], ["publish", "NotApplied"])
      assert.deepStrictEqual(ran(), ["publishAndExchange", "exchange"])
      answer(1, "jobs")
      assert.strictEqual(yield* Fiber.join(claimed), "jobs")
    }))

  it.effect("who publishes is answered when who claims was interrupted meanwhile", () =>
    Effect.gen(function*() {
      const { answer, claim, pairs } = yield* stage
      let claimed!: ReturnType<typeof claim>
      const published = pairs.offer("q", 1, job, () => void (claimed = claim()))
      claimed.interruptUnsafe()
      answer(0, [[], "jobs"])
      assert.deepStrictEqual(yield* published!, [])
    }))
})
