/**
 * `MemoryBackend.as`: what it knows of other engines is compared with the engines themselves, so that it cannot drift. What
 * it must not compile is in test/types/fixtures/posing.ts.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import {
  Backend,
  type BackendError,
  type Destination,
  type Envelope,
  type Item,
  type Limits,
  type Settlement
} from "windlass/Backend"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as SqliteBackend from "windlass/backends/SqliteBackend"
import * as SqsBackend from "windlass/backends/SqsBackend"
import * as Capability from "windlass/Capability"
import * as Enqueue from "windlass/Enqueue"
import * as Task from "windlass/Task"
import { core } from "../../src/backends/memory/core.ts"
import { Engine } from "../../src/backends/memory/engine.ts"
import { only } from "../../src/backends/memory/profiles.ts"
import { ifItAnswers } from "../support/answers.ts"
import { at, start } from "./sqs/server.ts"

const postgres = await ifItAnswers(() => import("./postgres/server.ts"))
const redis = await ifItAnswers(() => import("./redis/server.ts"))

const sqs = await start()
afterAll(() => sqs.stop())

type Real = (limits?: Partial<Limits>) => Layer.Layer<Backend, unknown>

const engines: ReadonlyArray<readonly [name: MemoryBackend.Engines, real: Real]> = [
  ["sqlite", (limits) => SqliteBackend.layer({ filename: ":memory:", limits })],
  ...postgres === undefined ? [] : [["postgres", (limits?: Partial<Limits>) => postgres.backend({ limits })] as const],
  ...redis === undefined ? [] : [["redis", (limits?: Partial<Limits>) => redis.backend({ limits })] as const]
]

/** everything that a layer says about itself: its capabilities with their facts, and what it carries */
const facts = (context: Context.Context<Backend>) => {
  const every = Object.values(Capability) as ReadonlyArray<Context.Key<any, any>>
  const backend = Context.get(context, Backend)
  const ask = <I, S, A>(key: Context.Key<I, S>, facts: (service: S) => A) =>
    Option.getOrUndefined(Option.map(Context.getOption(context, key), facts))
  return {
    capabilities: every.filter((key) => Option.isSome(Context.getOption(context, key))).map(({ key }) => key).sort(),
    limits: { ...backend.limits },
    name: backend.name,
    fence: backend.fence,
    delay: ask(Capability.Delay, (it) => it.granularityMillis),
    priority: ask(Capability.Priority, ({ max, min }) => ({ min, max })),
    unique: ask(Capability.Unique, ({ scopes }) => [...scopes].sort()),
    groups: ask(Capability.Groups, ({ ordered }) => ordered),
    groupLimit: ask(Capability.GroupLimit, ({ max }) => max),
    batch: ask(Capability.AtomicBatch, ({ max }) => max)
  }
}

/** without the warnings about how the server of the tests is set up */
const build = <A, E>(layer: Layer.Layer<A, E>) =>
  Effect.provideService(Layer.build(layer), References.MinimumLogLevel, "Error")

const envelope = (id: string, extra?: Partial<Envelope>): Envelope => ({
  id,
  task: "Test",
  version: 1,
  payload: "{}",
  headers: {},
  origin: "user",
  ...extra
})

/** what may or may not be stored, by name; each is published alone */
const probes = (limits: Limits, priority: { readonly min: number; readonly max: number }) => {
  const year3000 = Date.UTC(3000, 0, 1)
  const items: Record<string, Omit<Item, "envelope"> & { readonly envelope?: Partial<Envelope> }> = {
    "a payload at the limit": { envelope: { payload: "a".repeat(limits.payloadBytes) } },
    "a payload of one byte more": { envelope: { payload: "a".repeat(limits.payloadBytes + 1) } },
    "headers count": { envelope: { payload: "a".repeat(limits.payloadBytes - 1), headers: { ab: "" } } },
    "two-byte characters at the limit": { envelope: { payload: "é".repeat(limits.payloadBytes / 2) } },
    "two-byte characters beyond it": { envelope: { payload: `${"é".repeat(limits.payloadBytes / 2)}a` } },
    "a delay at the limit": { due: { _tag: "After", millis: limits.delayMillis } },
    "a delay of one second more": { due: { _tag: "After", millis: limits.delayMillis + 1_000 } },
    "a time beyond the delay": { due: { _tag: "At", time: year3000 } },
    "a time of the past": { due: { _tag: "At", time: 0 } },
    "no time": { due: { _tag: "After", millis: Number.NaN } },
    "a part of a millisecond": { due: { _tag: "After", millis: 0.25 } },
    "the highest priority": { priority: priority.max },
    "a higher one": { priority: priority.max + 1 },
    "the lowest priority": { priority: priority.min },
    "a lower one": { priority: priority.min - 1 },
    "between two priorities": { priority: 0.5 },
    "a result that is kept for ever": { keepResult: Infinity },
    "a result that is kept for no duration": { keepResult: Number.NaN },
    "a key that is held for no duration": { unique: { key: "k1", until: { millis: Number.NaN } } },
    "NUL in a payload": { envelope: { payload: "\"a\0b\"" } },
    "half a surrogate pair in a payload": { envelope: { payload: "\"\ud800\"" } },
    "a whole surrogate pair": { envelope: { payload: "\"\ud83d\ude00\"" } },
    "NUL in a group": { group: "a\0b" },
    "a group with a limit of one": { group: "one", groupLimit: 1 },
    "a group with a limit of two": { group: "two", groupLimit: 2 },
    "a group with a limit of none": { group: "none", groupLimit: 0 },
    "a group with half a limit": { group: "half", groupLimit: 2.5 },
    "a group with a limit that is no number": { group: "nan", groupLimit: Number.NaN },
    "a group with the highest limit": { group: "highest", groupLimit: 2 ** 31 - 1 },
    "a group with a higher one": { group: "higher", groupLimit: 2 ** 31 },
    "NUL in a key": { unique: { key: "a\0b", until: "finished" } },
    "NUL in a header": { envelope: { headers: { a: "\0" } } },
    "a group of 2,000 characters": { group: "g".repeat(2_000) },
    "a group of 2,001": { group: "g".repeat(2_001) },
    "a key of 2,000 characters": { unique: { key: "k".repeat(2_000), until: "finished" } },
    "a key of 2,001": { unique: { key: "k".repeat(2_001), until: "finished" } },
    "an id of 2,001": { envelope: { id: "i".repeat(2_001) } },
    "a task of 2,001": { envelope: { task: "t".repeat(2_001) } }
  }
  return Object.entries(items).map(([name, { envelope: extra, ...item }], i): readonly [string, Item] => [
    name,
    { ...item, envelope: envelope(`probe-${i}`, extra) }
  ])
}

/** what a backend answers: what became of each item, or how it was refused */
const answers = (context: Context.Context<Backend>, limits: Limits, priority: { min: number; max: number }) =>
  Effect.gen(function*() {
    const backend = Context.get(context, Backend)
    yield* backend.declare("probes")
    const said = (effect: Effect.Effect<ReadonlyArray<unknown>, BackendError>) =>
      Effect.match(effect, {
        onSuccess: (answers) => answers.length > 3 ? answers.length : answers,
        onFailure: ({ outcome, retryable }) => ({ refused: outcome, retryable })
      })
    const all: Record<string, unknown> = {}
    for (const [name, item] of probes(limits, priority)) all[name] = yield* said(backend.publish("probes", [item]))
    const reroute = Option.getOrThrow(Context.getOption(context, Capability.Reroute))
    const destinations: Readonly<Record<string, Destination>> = {
      "another queue": { queue: "other-probes" },
      "out of its group": { group: null },
      "the highest priority": { priority: priority.max },
      "a higher one": { priority: priority.max + 1 },
      "the lowest priority": { priority: priority.min },
      "a lower one": { priority: priority.min - 1 },
      "between two priorities": { priority: 0.5 },
      "a group of 2,000 characters": { group: "g".repeat(2_000) },
      "a group of 2,001": { group: "g".repeat(2_001) },
      "a queue of 2,001": { queue: "q".repeat(2_001) },
      "NUL in a group": { group: "a\0b" }
    }
    for (const [name, to] of Object.entries(destinations)) {
      all[`going on: ${name}`] = yield* said(Effect.as(reroute.prepare("probes", to), []))
    }
    const many = Array.from({ length: limits.publishBatch + 1 }, (_, i) => ({ envelope: envelope(`many-${i}`) }))
    all["a batch at the limit"] = yield* said(backend.publish("probes", many.slice(1)))
    all["a batch of one more"] = yield* said(backend.publish("probes", many))
    const subscription = yield* backend.subscribe("probes", { worker: "w" })
    const taken: Array<number> = []
    for (let i = 0; i < 2; i++) taken.push((yield* subscription.take(limits.takeBatch + 1)).length)
    all["a claim of more than the limit"] = taken[0]
    const receipt = { id: "nobody", fence: "nobody's" }
    const settlement: Settlement = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }
    all["a settlement of one more than the limit"] = yield* said(
      subscription.settle(Array.from({ length: limits.settleBatch + 1 }, () => [receipt, settlement]))
    )
    return all
  }).pipe(Effect.scoped)

/** small, so that the probes are quick; what the engines carry by default is compared as a fact */
const small = { payloadBytes: 4_096, delayMillis: 86_400_000, publishBatch: 20, takeBatch: 7, settleBatch: 5 }

describe("memory posing as another engine", () => {
  it.effect("AS-00 a Postgres and a Redis were there to compare with, or were named", () =>
    Effect.sync(() => {
      const there = engines.map(([name]) => name)
      assert.include(there, "sqlite")
      if ((process.env["CI"] ?? "") !== "") assert.deepStrictEqual(there, ["sqlite", "postgres", "redis"])
    }))

  for (const [name, real] of engines) {
    it.live(`AS-01 as ${name}: the capabilities, their facts and the limits of the real layer`, () =>
      Effect.gen(function*() {
        const actual = facts(yield* build(real()))
        const posed = facts(yield* build(MemoryBackend.as(name)))
        // there is no database whose transaction could be joined
        const possible = actual.capabilities.filter((key) => key !== Capability.Transactional.key)
        assert.deepStrictEqual(posed, { ...actual, capabilities: possible })
        assert.isAbove(posed.capabilities.length, 5)
      }).pipe(Effect.scoped))

    it.live(`AS-02 as ${name}: what the real layer refuses is refused, and nothing else`, () =>
      Effect.gen(function*() {
        const actual = yield* build(real(small))
        const posed = yield* build(MemoryBackend.as(name, { limits: small }))
        const priority = facts(actual).priority!
        const expected = yield* answers(actual, small, priority)
        assert.deepStrictEqual(yield* answers(posed, small, priority), expected)
        const refused = Object.values(expected).filter((one) =>
          typeof one === "object" && one !== null && "refused" in one
        )
        // a probe that nothing refuses proves nothing
        assert.isAtLeast(refused.length, 12)
      }).pipe(Effect.scoped))
  }

  const few: ReadonlyArray<
    readonly ["sqs" | "sqs-fifo", (options: SqsBackend.Options) => Layer.Layer<Backend, unknown>]
  > = [["sqs", SqsBackend.layer], ["sqs-fifo", SqsBackend.layerFifo]]
  const posing = (name: "sqs" | "sqs-fifo", limits?: Partial<Limits>): Layer.Layer<Backend> =>
    name === "sqs" ? MemoryBackend.as("sqs", { limits }) : MemoryBackend.as("sqs-fifo", { limits })
  for (const [name, real] of few) {
    it.live(`AS-01 as ${name}: the capability, its facts, the fence and the limits of the real layer`, () =>
      Effect.gen(function*() {
        const actual = facts(yield* build(real(at(sqs))))
        assert.deepStrictEqual(facts(yield* build(posing(name))), actual)
        assert.deepStrictEqual([actual.capabilities.length, actual.fence], [1, "weak"])
      }).pipe(Effect.scoped))

    it.live(`AS-02 as ${name}: what the real layer refuses is refused, and nothing else`, () =>
      Effect.gen(function*() {
        const { payloadBytes, publishBatch, settleBatch } = small
        const context = yield* build(real(at(sqs, { limits: { payloadBytes, publishBatch, settleBatch } })))
        const { limits } = Context.get(context, Backend)
        // what no option of theirs can ask for is nobody's to refuse
        const foreign = name === "sqs"
          ? ["priority", "unique", "keepResult", "group"]
          : ["priority", "unique", "keepResult"]
        const asked = probes(limits, { min: 0, max: 0 }).filter(([, item]) => !foreign.some((option) => option in item))
        const ask = Effect.fnUntraced(function*(context: Context.Context<Backend>) {
          const backend = Context.get(context, Backend)
          yield* backend.declare("probes")
          const subscription = yield* backend.subscribe("probes", { worker: "w" })
          const said = (effect: Effect.Effect<unknown, BackendError>) =>
            Effect.match(effect, {
              onSuccess: () => "done",
              onFailure: ({ outcome, retryable }) => ({ outcome, retryable })
            })
          const many = Array.from({ length: limits.publishBatch + 1 }, (_, i) => ({ envelope: envelope(`many-${i}`) }))
          const nobody = { id: "nobody", fence: "nobody's" }
          const settlement: Settlement = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }
          const all: Record<string, unknown> = {}
          for (const [probe, item] of asked) all[probe] = yield* said(backend.publish("probes", [item]))
          all["a batch at the limit"] = yield* said(backend.publish("probes", many.slice(1)))
          all["a batch of one more"] = yield* said(backend.publish("probes", many))
          for (const more of [0, 1]) {
            const items = Array.from({ length: limits.settleBatch + more }, () => [nobody, settlement] as const)
            all[`a settlement of ${more} more than the limit`] = yield* said(subscription.settle(items))
          }
          return all
        })
        const expected = yield* Effect.scoped(ask(context))
        assert.deepStrictEqual(yield* Effect.scoped(ask(yield* build(posing(name, limits)))), expected)
        assert.isAtLeast(Object.values(expected).filter((one) => one !== "done").length, 8)
      }).pipe(Effect.scoped))
  }

  it.effect("AS-03 a program that production would refuse is refused in the test", () =>
    Effect.gen(function*() {
      const Big = Task.make("Big", { payload: { text: Schema.String } })
      const enqueue = Big.enqueue({ text: "a".repeat(2_000_000) })
      const far = Big.enqueue({ text: "" }).pipe(Enqueue.delay("40000 days"))
      const low = Big.enqueue({ text: "" }).pipe(Enqueue.priority(-32_768))
      const said = <E extends { readonly _tag: string }, R>(effect: Effect.Effect<string, E, R>) =>
        Effect.match(effect, { onSuccess: () => "stored", onFailure: ({ _tag }) => _tag })
      const all = Effect.all([said(enqueue), said(far), said(low)])
      const [large, late, under] = ["windlass/InvalidEnqueue", "windlass/InvalidEnqueue", "windlass/BackendError"]
      assert.deepStrictEqual(yield* Effect.provide(all, MemoryBackend.as("sqlite")), [large, late, "stored"])
      assert.deepStrictEqual(yield* Effect.provide(all, MemoryBackend.as("redis")), [large, late, "stored"])
      assert.deepStrictEqual(yield* Effect.provide(all, MemoryBackend.as("postgres")), [large, late, under])
      // as itself it keeps any delay
      assert.deepStrictEqual(yield* Effect.provide(all, MemoryBackend.layer), [large, "stored", "stored"])
    }))

  it.effect("AS-04 it names itself as the engine, unless told otherwise, and its options hold", () =>
    Effect.gen(function*() {
      const backend = yield* Effect.provide(
        Backend,
        MemoryBackend.as("redis", { name: "cache", limits: { takeBatch: 3 } })
      )
      assert.strictEqual(backend.name, "cache")
      assert.deepStrictEqual(
        [backend.limits.takeBatch, backend.limits.publishBatch],
        [3, (yield* Effect.provide(Backend, MemoryBackend.as("redis"))).limits.publishBatch]
      )
    }))

  it.effect("AS-05 times are rounded up to the engine's granularity: delays, times and retries", () =>
    Effect.gen(function*() {
      const clock = yield* TestClock.testClockWith(Effect.succeed)
      const engine = new Engine({ lease: 30_000, keepFailures: 0, keepSuccesses: 0 })
      const rules = { priorities: { min: 0, max: 0 }, groupLimit: false, granularityMillis: 1_000 }
      const backend = core(engine, clock, "coarse", { ...MemoryBackend.defaults.limits }, rules)
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      const due = (millis: number) => TestClock.setTime(millis).pipe(Effect.andThen(subscription.take(10)))
      yield* backend.publish("q", [
        { envelope: envelope("after"), due: { _tag: "After", millis: 1_001 } },
        { envelope: envelope("at"), due: { _tag: "At", time: 2_999 } },
        { envelope: envelope("exact"), due: { _tag: "After", millis: 1_000 } }
      ])
      assert.deepStrictEqual((yield* due(999)).length, 0)
      const [exact] = yield* due(1_000)
      assert.strictEqual(exact!.envelope.id, "exact")
      assert.deepStrictEqual((yield* due(1_999)).length, 0)
      assert.deepStrictEqual((yield* due(2_000)).map((one) => one.envelope.id), ["after"])
      assert.deepStrictEqual((yield* due(2_999)).length, 0)
      yield* TestClock.setTime(3_000)
      const again: Settlement = {
        _tag: "Retry",
        why: "failed",
        after: 1,
        attempt: "spent",
        place: "back",
        error: undefined
      }
      assert.deepStrictEqual((yield* subscription.take(10)).map((one) => one.envelope.id), ["at"])
      yield* subscription.settle([[exact!.receipt, again]])
      assert.deepStrictEqual((yield* due(3_999)).length, 0)
      assert.deepStrictEqual((yield* due(4_000)).map((one) => one.envelope.id), ["exact"])
    }).pipe(Effect.scoped))

  it.effect("AS-06 what an engine lacks is not there", () =>
    Effect.gen(function*() {
      const full = yield* build(MemoryBackend.layer)
      const bare = only(["Delay", "Results"], Backend, full)
      assert.deepStrictEqual(facts(bare).capabilities, [Capability.Delay.key, Capability.Results.key])
      assert.strictEqual(Context.get(bare, Backend), Context.get(full, Backend))
    }).pipe(Effect.scoped))
})
