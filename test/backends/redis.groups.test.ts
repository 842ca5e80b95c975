/**
 * Groups with limits on Redis, beside the conformance kit: several connections at once, and limits that are moved far.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Redis } from "effect/persistence/Redis"
import * as Queue from "effect/Queue"
import * as References from "effect/References"
import { Backend, type Delivery, type Item, type Settled, type Settlement } from "windlass/Backend"
import * as RedisBackend from "windlass/backends/RedisBackend"
import * as Capability from "windlass/Capability"
import { prng } from "../../src/testing/conformance/model/random.ts"
import { type Ending, Groups, type Stored } from "./redis/groupModel.ts"
import { inOrder } from "./redis/ordered.ts"
import { backend, client, deleted, freshPrefix, keysOf } from "./redis/server.ts"

const quiet = Layer.succeed(References.MinimumLogLevel, "Error" as const)
const retention = { failures: 0, successes: 0 }

const item = (id: string, options: Omit<Item, "envelope"> = {}): Item => ({
  envelope: { id, task: "T", version: 1, payload: "{}", headers: {}, origin: "user" },
  ...options
})
const succeeded: Settlement = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }
const retry = (place: "back" | "front", group?: string, after = 0): Settlement => ({
  _tag: "Retry",
  why: "failed",
  after,
  attempt: "spent",
  place,
  error: undefined,
  to: group === undefined ? undefined : { group }
})
class Prefix extends Context.Service<Prefix, string>()("test/Prefix") {}
/** a backend with a prefix that the test knows */
const own = () => {
  const prefix = freshPrefix()
  return Layer.merge(backend({ prefix, retention }).pipe(Layer.provide(quiet)), Layer.succeed(Prefix, prefix))
}
const idsOf = (deliveries: ReadonlyArray<Delivery>) => deliveries.map(({ envelope }) => envelope.id)
const complete = (deliveries: ReadonlyArray<Delivery>) => deliveries.map(({ receipt }) => [receipt, succeeded] as const)
const sortedBy = <A>(all: ReadonlyArray<A>, place: (one: A) => number) => all.toSorted((a, b) => place(a) - place(b))

type Call =
  | { readonly _tag: "publish"; readonly items: ReadonlyArray<Stored> }
  | { readonly _tag: "cancel"; readonly id: string; readonly answer: string }
  | {
    readonly _tag: "exchange"
    readonly endings: ReadonlyArray<readonly [id: string, ending: Ending]>
    readonly answers: ReadonlyArray<Settled>
    readonly max: number
    readonly claimed: ReadonlyArray<string>
  }

const names = ["a", "b", "c"]
const connections = 4
const steps = 120

/** what several connections did to one queue at once, in the order in which the server did it */
const play = Effect.fnUntraced(function*(prefix: string, seed: number, tightly: boolean) {
  const calls: Array<readonly [place: number, call: Call]> = []
  const known: Array<string> = []

  const one = Effect.fnUntraced(function*(n: number) {
    const random = prng(seed * 1_000 + n)
    const places: Array<number> = []
    const layer = RedisBackend.layer({ prefix, retention }).pipe(
      Layer.provide(Layer.effect(
        Redis,
        Effect.map(Redis, (redis) =>
          inOrder(redis, tightly, (script, place) => {
            if (script !== "retention") places.push(place)
          }))
      )),
      Layer.provide(client()),
      Layer.provide(quiet)
    )
    const services = yield* Layer.build(layer)
    const queue = Context.get(services, Backend)
    const cancel = Context.get(services, Capability.Cancel)
    const held: Array<Delivery> = []
    /** one call of this connection is under way at a time, so what was noted meanwhile is its place */
    const done = (call: Call) => void calls.push([places.splice(0).at(-1)!, call])
    const subscription = yield* queue.subscribe("q", { worker: `w${n}` })

    const endings: ReadonlyArray<() => readonly [Settlement, Ending]> = [
      () => [succeeded, { _tag: "over" }],
      () => [succeeded, { _tag: "over" }],
      () => [{ _tag: "Dead", reason: "failed", error: undefined, exit: undefined }, { _tag: "over" }],
      () => [retry("back"), { _tag: "back" }],
      () => [retry("front"), { _tag: "back" }],
      () => {
        const group = random.pick(names)
        return [retry("back", group), { _tag: "elsewhere", group }]
      }
    ]
    const exchange = Effect.fnUntraced(function*(count: number, max: number) {
      if (count === 0 && max === 0) return
      const settled = Array.from({ length: Math.min(count, held.length) }, () => {
        const [delivery] = held.splice(random.int(held.length), 1)
        return [delivery!, random.pick(endings)()] as const
      })
      const [answers, deliveries] = yield* subscription.exchange(
        settled.map(([{ receipt }, [settlement]]) => [receipt, settlement]),
        max
      )
      if (places.length === 0) return
      held.push(...deliveries)
      done({
        _tag: "exchange",
        endings: settled.map(([{ envelope }, [, ending]]) => [envelope.id, ending]),
        answers,
        max,
        claimed: idsOf(deliveries)
      })
    })
    const publish = Effect.fnUntraced(function*(step: number) {
      const items = Array.from({ length: random.int(5) + 1 }, (_, k): Stored => ({
        id: `${n}-${step}-${k}`,
        group: random.pick(names),
        priority: random.int(3) - 1,
        limit: random.pick([1, 1, 2, 3, 5])
      }))
      yield* queue.publish(
        "q",
        items.map(({ group, id, limit, priority }) => item(id, { group, groupLimit: limit, priority }))
      )
      known.push(...items.map(({ id }) => id))
      done({ _tag: "publish", items })
    })
    const stop = Effect.gen(function*() {
      const id = held.length > 0 && random.chance(0.5) ? random.pick(held).envelope.id : random.pick(known)
      const answer = yield* cancel.request(id)
      // who is told that there is none was asked twice
      if (answer === "NotFound") places.splice(0)
      else done({ _tag: "cancel", id, answer })
    })

    places.splice(0)
    return {
      run: Effect.gen(function*() {
        for (let step = 0; step < steps; step++) {
          const dice = random.int(10)
          if (dice < 4) yield* publish(step)
          else if (dice < 5 && known.length > 0) yield* stop
          else yield* exchange(random.int(5), random.int(6))
        }
      }),
      drain: Effect.gen(function*() {
        for (;;) {
          yield* exchange(held.length, 7)
          if (held.length === 0) return
        }
      })
    }
  })

  const all = yield* Effect.forEach(Array.from({ length: connections }, (_, n) => n), one)
  yield* Effect.forEach(all, ({ run }) => run, { concurrency: "unbounded" })
  for (;;) {
    const before = calls.length
    yield* Effect.forEach(all, ({ drain }) => drain)
    // every connection looked and found nothing
    if (calls.slice(before).every(([, call]) => call._tag === "exchange" && call.claimed.length === 0)) break
  }
  return sortedBy(calls, ([place]) => place).map(([, call]) => call)
})

/** plays what the server did on the model; `exact`: a claim takes all that it may */
const check = (calls: ReadonlyArray<Call>, exact: boolean, seen: Record<Kind, number>, note: string) => {
  const groups = new Groups()
  for (const call of calls) {
    if (call._tag === "publish") {
      for (const { group, limit } of call.items) {
        if (groups.limit(group) > 0 && limit > groups.limit(group)) seen.raised++
        if (limit < groups.limit(group)) seen.lowered++
      }
      groups.publish(call.items)
      seen.above += names.filter((group) => groups.members(group, "running").length > groups.limit(group)).length
    } else if (call._tag === "cancel") {
      assert.strictEqual(call.answer, groups.cancel(call.id), `${note}: cancel of ${call.id}`)
      if (call.answer === "Cancelled") seen.cancelled++
    } else {
      const answers = call.endings.map(([id, ending]) => groups.settle(id, ending))
      assert.deepStrictEqual(call.answers, answers, `${note}: settlements`)
      seen.aborted += answers.filter((answer) => answer === "Aborted").length
      seen.moved += call.endings.filter(([, { _tag }]) => _tag === "elsewhere").length
      const best = groups.turns.slice(0, call.max)
      if (exact) assert.deepStrictEqual(call.claimed, best, `${note}: what a claim of ${call.max} took`)
      assert.isAtMost(call.claimed.length, call.max, note)
      for (const id of call.claimed) {
        assert.isTrue(groups.start(id), `${note}: ${id} started out of its turn`)
        if (groups.members(groups.jobs.get(id)!.group, "running").length > 1) seen.severalAtOnce++
        seen.starts++
      }
    }
  }
  assert.deepStrictEqual(
    Array.from(groups.jobs.values()).filter(({ phase }) => phase !== "over"),
    [],
    `${note}: left over`
  )
}

const kinds = ["starts", "severalAtOnce", "above", "raised", "lowered", "moved", "cancelled", "aborted"] as const
type Kind = (typeof kinds)[number]

describe("groups with limits on redis", () => {
  for (const tightly of [false, true]) {
    it.live(
      `PROC-40 several connections claim and settle at once while limits change: never a start above the limit, in order, ` +
        `nothing left over${tightly ? "; also when turns are given and taken back one at a time" : ""}`,
      () =>
        Effect.gen(function*() {
          const seen = Object.fromEntries(kinds.map((kind) => [kind, 0])) as Record<Kind, number>
          const runs = Number(process.env["WINDLASS_RUNS"] ?? 3)
          for (let seed = 1; seed <= runs; seed++) {
            const prefix = freshPrefix()
            yield* Effect.gen(function*() {
              check(yield* play(prefix, seed, tightly), !tightly, seen, `seed ${seed}`)
              assert.deepStrictEqual(
                yield* keysOf(prefix),
                [`{${prefix}:q}:meta`, `{${prefix}}:hints:order`, `{${prefix}}:queues`]
              )
            }).pipe(Effect.scoped, Effect.provide(Layer.provideMerge(deleted(prefix), client())))
          }
          for (const kind of kinds) assert.isAtLeast(seen[kind], runs * 5, kind)
          process.stdout.write(`groups with limits on redis, ${runs} runs: ${JSON.stringify(seen)}\n`)
        }),
      120_000
    )
  }

  it.live(
    "a limit that is raised by thousands wakes who waits, and gives the turns in steps",
    () =>
      Effect.gen(function*() {
        const prefix = freshPrefix()
        const waits = yield* Layer.build(
          backend({ prefix, pollInterval: "1 hour", retention }).pipe(Layer.provide(quiet))
        )
        const publishes = yield* Layer.build(backend({ prefix, retention }).pipe(Layer.provide(quiet)))
        const queue = Context.get(publishes, Backend)
        const due = { _tag: "After", millis: 600_000 } as const
        // those that come first hold slots, so the turns of all are given before there is one to run
        for (let n = 0; n < 2_500; n += 500) {
          yield* queue.publish("q", Array.from({ length: 500 }, (_, k) => item(`late-${n + k}`, { group: "g", due })))
        }
        yield* queue.publish("q", Array.from({ length: 400 }, (_, n) => item(`j-${n}`, { group: "g" })))
        const subscription = yield* Context.get(waits, Backend).subscribe("q", { worker: "w" })
        assert.deepStrictEqual(yield* subscription.take(1_000), [])
        yield* queue.publish("q", [item("last", { group: "g", groupLimit: 2_800 })])
        const stateOf = (id: string) =>
          Effect.map(
            Context.get(publishes, Capability.Inspect).get(id),
            (found) => found._tag === "Some" ? found.value.state : "none"
          )
        assert.strictEqual(yield* stateOf("j-0"), "blocked")
        yield* subscription.await(1_000)
        const first = yield* subscription.take(1_000)
        assert.deepStrictEqual(idsOf(first), Array.from({ length: 300 }, (_, n) => `j-${n}`))
        assert.strictEqual(yield* stateOf("j-300"), "blocked")
        const [, rest] = yield* subscription.exchange(complete(first), 1_000)
        assert.deepStrictEqual(idsOf(rest), [...Array.from({ length: 100 }, (_, n) => `j-${n + 300}`), "last"])
      }).pipe(Effect.scoped),
    30_000
  )

  it.live("only those whose turn it is stand among the ready, so no worker is woken for the others", () =>
    Effect.gen(function*() {
      const queue = yield* Backend
      const redis = yield* Redis
      const prefix = yield* Prefix
      const subscription = yield* queue.subscribe("q", { worker: "w" })
      const inReady = redis.send<number>("ZCARD", `{${prefix}:q}:ready`)
      const member = (priority: number, groupLimit: number) =>
        item(`p${priority}`, { group: "g", priority, groupLimit })
      // in one batch, and one after another; each comes before the last that has a turn, or behind it
      yield* queue.publish("q", [member(0, 1), member(-1, 1), member(1, 1)])
      assert.strictEqual(yield* inReady, 1)
      yield* queue.publish("q", [member(2, 1)])
      yield* queue.publish("q", [member(-2, 1)])
      assert.strictEqual(yield* inReady, 1)
      yield* queue.publish("q", [member(-3, 4)])
      assert.strictEqual(yield* inReady, 4)
      yield* queue.publish("q", [member(3, 2)])
      assert.strictEqual(yield* inReady, 2)
      const deliveries = yield* subscription.take(10)
      assert.deepStrictEqual(idsOf(deliveries), ["p3", "p2"])
      assert.strictEqual(yield* inReady, 0)
      const [, next] = yield* subscription.exchange(complete(deliveries), 1)
      assert.deepStrictEqual([idsOf(next), yield* inReady], [["p1"], 1])
      yield* subscription.take(10)
      // one that becomes due behind another
      yield* queue.publish("q", [
        item("now", { group: "h" }),
        item("soon", { group: "h", due: { _tag: "After", millis: 1 } })
      ])
      yield* Effect.sleep(5)
      assert.deepStrictEqual([idsOf(yield* subscription.take(1)), yield* inReady], [["now"], 0])
    }).pipe(Effect.scoped, Effect.provide(own())))

  it.live(
    "a limit that is lowered by thousands holds at once, and what was ready is taken back in steps",
    () =>
      Effect.gen(function*() {
        const queue = yield* Backend
        const redis = yield* Redis
        const prefix = yield* Prefix
        const subscription = yield* queue.subscribe("q", { worker: "w" })
        const grouped = (from: number, count: number, groupLimit: number) =>
          Array.from({ length: count }, (_, n) => item(`j-${from + n}`, { group: "g", groupLimit }))
        for (let n = 0; n < 4_000; n += 1_000) yield* queue.publish("q", grouped(n, 1_000, 1_000_000))
        const inReady = redis.send<number>("ZCARD", `{${prefix}:q}:ready`)
        assert.strictEqual(yield* inReady, 4_000)
        yield* queue.publish("q", [...grouped(4_000, 1, 2), item("alone")])
        assert.strictEqual(yield* inReady, 3_001)
        const first = yield* subscription.take(10)
        assert.deepStrictEqual(idsOf(first), ["j-0", "j-1"])
        // what stands before it is passed over
        assert.deepStrictEqual(idsOf(yield* subscription.take(10)), ["alone"])
        assert.deepStrictEqual(yield* subscription.take(10), [])
        assert.strictEqual(yield* inReady, 0)
        const [, next] = yield* subscription.exchange(complete(first.slice(0, 1)), 10)
        assert.deepStrictEqual(idsOf(next), ["j-2"])
        yield* queue.publish("q", grouped(4_001, 1, 3))
        assert.deepStrictEqual(idsOf(yield* subscription.take(10)), ["j-3"])
      }).pipe(Effect.scoped, Effect.provide(own())),
    30_000
  )

  it.live("a job that is due sooner is told of while turns are still owed", () =>
    Effect.gen(function*() {
      const queue = yield* Backend
      const redis = yield* Redis
      const prefix = yield* Prefix
      const due = { _tag: "After", millis: 600_000 } as const
      for (let n = 0; n < 1_200; n += 600) {
        yield* queue.publish("q", Array.from({ length: 600 }, (_, k) => item(`late-${n + k}`, { group: "g", due })))
      }
      yield* queue.publish("q", [item("raises", { group: "g", groupLimit: 2_000, due })])
      assert.strictEqual(yield* redis.send<number>("ZCOUNT", `{${prefix}:q}:sched`, "0", "0"), 1)
      const hints = yield* redis.subscribe(`{${prefix}}:hints`)
      yield* queue.publish("q", [item("sooner", { due: { _tag: "After", millis: 300_000 } })])
      assert.strictEqual((yield* Queue.take(hints)).message, `["q","q"]`)
    }).pipe(Effect.scoped, Effect.provide(own())))

  it.live("a prefix whose keys have another layout is refused", () =>
    Effect.gen(function*() {
      const redis = yield* Redis
      const prefix = freshPrefix()
      yield* Layer.build(deleted(prefix))
      const open = Effect.scoped(Layer.build(RedisBackend.layer({ prefix }).pipe(Layer.provide(quiet))))
      // as it was before layouts had a number
      yield* redis.send("SADD", `{${prefix}}:queues`, "q")
      const earlier = yield* Effect.flip(open)
      assert.include(earlier.message, `under the prefix "${prefix}"`)
      assert.deepStrictEqual([earlier.retryable, earlier.outcome], [false, "NotApplied"])
      yield* redis.send("DEL", `{${prefix}}:queues`)
      yield* open
      yield* Effect.scoped(
        Effect.gen(function*() {
          yield* (yield* Backend).declare("q")
        }).pipe(Effect.provide(RedisBackend.layer({ prefix }).pipe(Layer.provide(quiet))))
      )
      yield* open
      yield* redis.send("HSET", `{${prefix}}:queues`, "q", "1000")
      assert.include((yield* Effect.flip(open)).message, "another version of Windlass")
    }).pipe(Effect.scoped, Effect.provide(client())))
})
