import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { Backend, type Delivery, type Item, type Receipt, type Shape, type Subscription } from "windlass/Backend"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as SqliteBackend from "windlass/backends/SqliteBackend"
import * as Capability from "windlass/Capability"
import * as Conformance from "../../src/testing/Conformance.ts"

type Full = Backend | Capability.AllButTransactional

const sqliteFile = Layer.unwrap(Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "windlass-conformance-"))),
    (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true }))
  ),
  (directory) => SqliteBackend.layer({ filename: path.join(directory, "queue.db") })
))

const backends: ReadonlyArray<{ readonly name: string; readonly layer: Layer.Layer<Full, unknown> }> = [
  { name: "memory", layer: MemoryBackend.layer },
  {
    name: "memory with a limit",
    layer: MemoryBackend.layerWith({ limits: { delayMillis: 86_400_000, payloadBytes: 500_000 } })
  },
  { name: "sqlite on a file", layer: sqliteFile },
  { name: "sqlite in memory", layer: SqliteBackend.layer({ filename: ":memory:" }) }
]

for (const { layer, name } of backends) {
  describe(`conformance of ${name}`, () => {
    const { apply, doNotApply } = Conformance.suite({ name, layer, clock: "test", lacks: ["Transactional"] }, it.live)

    it(`${name}: all cases apply but those of Transactional`, () => {
      assert.deepStrictEqual(doNotApply.map(({ id }) => id), ["transaction/rollback", "transaction/commit"])
      assert.strictEqual(apply.length, Conformance.cases.length - 2)
      assert.isAtLeast(apply.length, 160)
    })
  })
}

/** the memory backend, with something broken */
const broken = (change: (backend: Shape) => Partial<Shape>, layer: Layer.Layer<Full> = MemoryBackend.layer) =>
  Layer.effectContext(Effect.map(Layer.build(Layer.fresh(layer)), (context) => {
    const backend = Context.get(context, Backend)
    return Context.add(context, Backend, { ...backend, ...change(backend) })
  }))

const brokenItems = (change: (item: Item) => Item) =>
  broken((backend) => ({
    publish: (queue, items, options) => backend.publish(queue, items.map(change), options)
  }))

const brokenSubscription = (change: (subscription: Subscription) => Partial<Subscription>, layer?: Layer.Layer<Full>) =>
  broken((backend) => ({
    subscribe: (queue, options) =>
      Effect.map(backend.subscribe(queue, options), (subscription) => ({ ...subscription, ...change(subscription) }))
  }), layer)

const brokenDeliveries = (change: (delivery: Delivery) => ReadonlyArray<Delivery>) =>
  brokenSubscription(({ exchange, take }) => ({
    take: (max) => Effect.map(take(max), (deliveries) => deliveries.flatMap(change)),
    exchange: (items, max) =>
      Effect.map(exchange(items, max), ([answers, deliveries]) => [answers, deliveries.flatMap(change)] as const)
  }))

const brokenSettlements = (change: (entry: Parameters<Subscription["settle"]>[0][number]) => typeof entry) =>
  brokenSubscription(({ exchange, settle }) => ({
    settle: (items) => settle(items.map(change)),
    exchange: (items, max) => exchange(items.map(change), max)
  }))

/** a fence that is not looked at: every receipt of a job is as good as its last one */
const noFence = () => {
  const last = new Map<string, Receipt>()
  const fresh = (receipt: Receipt) => last.get(receipt.id) ?? receipt
  const note = (deliveries: ReadonlyArray<Delivery>) => {
    for (const { receipt } of deliveries) last.set(receipt.id, receipt)
    return deliveries
  }
  return brokenSubscription(({ exchange, settle, take }) => ({
    take: (max) => Effect.map(take(max), note),
    settle: (items) => settle(items.map(([receipt, settlement]) => [fresh(receipt), settlement] as const)),
    exchange: (items, max) =>
      Effect.map(
        exchange(items.map(([receipt, settlement]) => [fresh(receipt), settlement] as const), max),
        ([answers, deliveries]) => [answers, note(deliveries)] as const
      )
  }))
}

const without = (...keys: ReadonlyArray<Context.Key<any, any>>) =>
  Layer.effectContext(Effect.map(
    Layer.build(Layer.fresh(MemoryBackend.layer)),
    (context) => Context.omit(...keys)(context) as Context.Context<Full>
  ))

const sabotages: ReadonlyArray<{
  readonly what: string
  readonly layer: Layer.Layer<Full>
  readonly caughtBy: ReadonlyArray<string>
}> = [
  {
    what: "L16 the fence is dropped",
    layer: noFence(),
    caughtBy: ["fence/after-reclaim-complete", "fence/after-reclaim-retry", "fence/after-reclaim-dead", "random/timed"]
  },
  {
    what: "L16 Lost is called Settled",
    layer: brokenSubscription(({ settle }) => ({
      settle: (items) => Effect.map(settle(items), (answers) => answers.map(() => "Settled"))
    })),
    caughtBy: ["fence/twice-complete", "fence/mixed", "random/untimed"]
  },
  {
    what: "L16 a lost lease is called held",
    layer: brokenSubscription(({ lease }) => ({
      lease: lease._tag === "Timed"
        ? {
          ...lease,
          extend: (receipts) => Effect.map(lease.extend(receipts), (answers) => answers.map(() => "Held"))
        }
        : lease
    })),
    caughtBy: ["fence/extend-settled", "cancel/running", "random/timed"]
  },
  {
    what: "a lease is shorter than it says",
    layer: brokenSubscription(
      ({ lease }) => ({ lease: lease._tag === "Timed" ? { ...lease, millis: 30_000 } : lease }),
      MemoryBackend.layerWith({ lease: "20 seconds" })
    ),
    caughtBy: ["lease/exact", "lease/retried-meanwhile", "random/timed"]
  },
  {
    what: "a job is handed out twice",
    layer: brokenDeliveries((delivery) => delivery.envelope.id.endsWith("7") ? [delivery, delivery] : [delivery]),
    caughtBy: ["load/every-job-once", "random/untimed"]
  },
  {
    what: "L13 deliveries without settlement are not counted",
    layer: brokenDeliveries((delivery) => [{ ...delivery, unsettled: 0 }]),
    caughtBy: ["lease/unsettled", "lease/expiry", "random/timed"]
  },
  {
    what: "attempts are always spent",
    layer: brokenSettlements(([receipt, settlement]) => [
      receipt,
      settlement._tag === "Retry" ? { ...settlement, attempt: "spent" } : settlement
    ]),
    caughtBy: ["attempt/count", "random/untimed"]
  },
  {
    what: "RT-12 the front is the back",
    layer: brokenSettlements(([receipt, settlement]) => [
      receipt,
      settlement._tag === "Retry" ? { ...settlement, place: "back" } : settlement
    ]),
    caughtBy: ["order/retry-front", "random/untimed"]
  },
  {
    what: "a delay of a retry is forgotten",
    layer: brokenSettlements(([receipt, settlement]) => [
      receipt,
      settlement._tag === "Retry" ? { ...settlement, after: 0 } : settlement
    ]),
    caughtBy: ["core/retry-delay", "await/delayed-retry", "random/timed"]
  },
  {
    what: "an exchange takes before it settles",
    layer: brokenSubscription(({ settle, take }) => ({
      exchange: (items, max) =>
        Effect.flatMap(
          take(max),
          (deliveries) => Effect.map(settle(items), (answers) => [answers, deliveries] as const)
        )
    })),
    caughtBy: ["core/exchange-sees", "groups/one-claim", "random/untimed"]
  },
  {
    what: "who waits is not woken",
    layer: brokenSubscription(() => ({ await: () => Effect.never })),
    caughtBy: ["await/there", "await/publish", "await/between", "await/everybody", "delay/await", "lease/await"]
  },
  {
    what: "who waits is woken by publishes alone, and only when it waited before",
    layer: broken((backend) => {
      const waiting = new Set<() => void>()
      return {
        publish: (queue, items, options) =>
          Effect.tap(backend.publish(queue, items, options), () =>
            Effect.sync(() => {
              for (const wake of waiting) wake()
              waiting.clear()
            })),
        subscribe: (queue, options) =>
          Effect.map(backend.subscribe(queue, options), (subscription) => ({
            ...subscription,
            await: () =>
              Effect.callback<void>((resume) => {
                waiting.add(() => resume(Effect.void))
              })
          }))
      }
    }),
    caughtBy: ["await/between", "await/retry", "lease/await", "delay/await"]
  },
  {
    what: "priorities are turned round",
    layer: brokenItems((item) => ({ ...item, priority: item.priority === undefined ? undefined : -item.priority })),
    caughtBy: ["order/priority", "random/untimed"]
  },
  {
    what: "PROC-41 groups are ignored",
    layer: brokenItems((item) => ({ ...item, group: undefined })),
    caughtBy: ["groups/one-at-a-time", "groups/scheduled-head", "groups/many", "random/untimed"]
  },
  {
    what: "limits of groups are ignored",
    layer: brokenItems((item) => ({ ...item, groupLimit: undefined })),
    caughtBy: [
      "groups/limit-at-once",
      "groups/limit-raised",
      "groups/limit-refused",
      "groups/limit-many",
      "random/limited-untimed"
    ]
  },
  {
    what: "one more than the limit runs at once",
    layer: brokenItems((item) => item.groupLimit === 3 ? { ...item, groupLimit: 4 } : item),
    caughtBy: ["groups/limit-workers", "groups/limit-state", "groups/limit-many", "random/limited-untimed"]
  },
  {
    what: "a limit once said is never lowered",
    layer: Layer.suspend(() => {
      const highest = new Map<string, number>()
      return brokenItems((item) => {
        if (item.group === undefined) return item
        const groupLimit = Math.max(item.groupLimit ?? 1, highest.get(item.group) ?? 1)
        highest.set(item.group, groupLimit)
        return { ...item, groupLimit }
      })
    }),
    caughtBy: ["groups/limit-lowered", "groups/limit-batch", "groups/limit-retry-limit", "random/limited-untimed"]
  },
  {
    what: "a limit once said is never raised",
    layer: Layer.suspend(() => {
      const first = new Map<string, number>()
      return brokenItems((item) => {
        if (item.group === undefined) return item
        if (!first.has(item.group)) first.set(item.group, item.groupLimit ?? 1)
        return { ...item, groupLimit: first.get(item.group) }
      })
    }),
    caughtBy: ["groups/limit-raised", "groups/limit-raised-wakes", "groups/limit-state", "random/limited-untimed"]
  },
  {
    what: "PROC-42 unique keys are ignored",
    layer: brokenItems((item) => ({ ...item, unique: undefined })),
    caughtBy: ["unique/finished", "unique/started", "unique/window", "atomic/clash", "random/untimed"]
  },
  {
    what: "a key is held to the end though it was to be free at the start",
    layer: brokenItems((item) => ({
      ...item,
      unique: item.unique?.until === "started" ? { ...item.unique, until: "finished" } : item.unique
    })),
    caughtBy: ["unique/started", "random/untimed"]
  },
  {
    what: "PROC-43 a batch is not atomic",
    layer: broken((backend) => ({ publish: (queue, items) => backend.publish(queue, items) })),
    caughtBy: ["atomic/clash", "atomic/within", "random/untimed"]
  },
  {
    what: "delays are ignored",
    layer: brokenItems((item) => ({ ...item, due: undefined })),
    caughtBy: ["delay/after", "delay/exact", "delay/await", "random/timed"]
  },
  {
    what: "results are kept for too long",
    layer: brokenItems((item) => ({ ...item, keepResult: item.keepResult === undefined ? undefined : 1e9 })),
    caughtBy: ["results/expiry", "random/timed"]
  },
  {
    what: "payloads are normalised",
    layer: brokenItems((item) => ({
      ...item,
      envelope: { ...item.envelope, payload: item.envelope.payload.normalize("NFC") }
    })),
    caughtBy: ["core/payload"]
  },
  {
    what: "PROC-25 a running job that was asked to stop is retried",
    layer: Layer.effectContext(Effect.map(Layer.build(Layer.fresh(MemoryBackend.layer)), (context) => {
      const cancel = Context.get(context, Capability.Cancel)
      const inspect = Context.get(context, Capability.Inspect)
      return Context.add(context, Capability.Cancel, {
        request: (id) =>
          Effect.flatMap(inspect.get(id), (record) =>
            record._tag === "Some" && record.value.state === "active"
              ? Effect.succeed("Requested" as const)
              : cancel.request(id))
      })
    })),
    caughtBy: ["cancel/never-retried", "cancel/running", "random/untimed"]
  },
  {
    what: "a paused queue hands out",
    layer: Layer.effectContext(Effect.map(
      Layer.build(Layer.fresh(MemoryBackend.layer)),
      (context) => Context.add(context, Capability.Pause, { set: () => Effect.void, get: () => Effect.succeed(true) })
    )),
    caughtBy: ["pause/hold", "pause/await", "random/untimed"]
  },
  {
    what: "two lead at once",
    layer: Layer.effectContext(Effect.map(
      Layer.build(Layer.fresh(MemoryBackend.layer)),
      (context) => {
        let epoch = 0
        return Context.add(context, Capability.Leader, { hold: () => Effect.sync(() => ({ epoch: ++epoch })) })
      }
    )),
    caughtBy: ["leader/one", "leader/crowd"]
  }
]

describe("the conformance kit", () => {
  for (const { caughtBy, layer, what } of sabotages) {
    it.live(`catches it when ${what}`, () =>
      Effect.gen(function*() {
        const options = { name: "broken", layer, clock: "test", scale: 20 } as const
        const report = yield* Conformance.run(
          options,
          Conformance.cases.filter(({ id }) => caughtBy.includes(id))
        )
        assert.deepStrictEqual(report.failed.map((failure) => failure.case.id).toSorted(), caughtBy.toSorted())
        for (const { message } of report.failed) assert.isAbove(message.length, 30)
      }))
  }

  it.live("a random run that fails is told as the shortest one that was found", () =>
    Effect.gen(function*() {
      const layer = brokenItems((item) => ({ ...item, group: undefined }))
      const report = yield* Conformance.run(
        { name: "broken", layer, clock: "test" },
        Conformance.cases.filter(({ id }) => id === "random/untimed")
      )
      const lines = report.failed[0]!.message.split("\n").slice(1)
      assert.isAtMost(lines.length, 4)
      assert.isTrue(lines.some((line) => line.includes("\"group\"")))
    }))

  it.live("an engine with a time of its own is given the time: the cases that wait hold on the live clock", () =>
    Effect.gen(function*() {
      const waiting = [
        "core/retry-delay",
        "delay/after",
        "delay/await",
        "await/delayed-retry",
        "lease/expiry",
        "lease/await",
        "groups/scheduled-head",
        "results/expiry",
        "unique/window",
        "leader/one",
        "random/untimed"
      ]
      const verdicts = yield* Effect.forEach(
        Conformance.cases.filter(({ id }) => waiting.includes(id)),
        (tried) =>
          Conformance.runCase({
            name: "live",
            layer: MemoryBackend.layerWith({ lease: "2 seconds" }),
            clock: "live",
            scale: 10
          }, tried),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(verdicts.length, waiting.length)
      assert.deepStrictEqual(verdicts.filter(({ _tag }) => _tag !== "Held"), [])

      const { doNotApply } = Conformance.suite(
        { name: "live", layer: MemoryBackend.layer, clock: "live", lacks: ["Transactional"] },
        () => {}
      )
      assert.deepStrictEqual(
        doNotApply.filter(({ needs }) => !needs.includes("Transactional")).map(({ id }) => id),
        ["delay/exact", "lease/exact", "random/timed", "random/limited-timed"]
      )
    }))

  it.live("reports what does not apply, and why", () =>
    Effect.gen(function*() {
      const layer = without(Capability.Groups, Capability.Cancel, Capability.Leader)
      const report = yield* Conformance.run({ name: "less", layer, clock: "test", scale: 20 })
      assert.deepStrictEqual(report.failed, [])
      assert.strictEqual(report.held.length + report.notApplicable.length, Conformance.cases.length)
      const groups = report.notApplicable.filter(({ missing }) => missing.includes("Groups"))
      assert.strictEqual(groups.length, Conformance.cases.filter(({ needs }) => needs.includes("Groups")).length)
      const text = Conformance.format(report)
      assert.include(text, "does not apply: leader/one")
      assert.include(text, "it needs Leader")
    }))

  it.live("a capability that is missing without being named in `lacks` fails, and one named that is there", () =>
    Effect.gen(function*() {
      const tests = (options: Conformance.Options<Full, never>) => {
        const found = new Map<string, () => Effect.Effect<void, Conformance.ConformanceFailure>>()
        const { doNotApply } = Conformance.suite(options, (title, run) => found.set(title, run))
        return { doNotApply, run: (id: string) => Array.from(found).find(([title]) => title.includes(` ${id}:`))![1]() }
      }
      const unnamed = tests({ name: "less", layer: without(Capability.Pause), clock: "test" })
      assert.include((yield* Effect.flip(unnamed.run("pause/hold"))).message, "needs Pause")

      const named = tests({ name: "less", layer: without(Capability.Pause), clock: "test", lacks: ["Pause"] })
      yield* named.run("pause/hold")
      assert.deepStrictEqual(named.doNotApply.map(({ id }) => id), ["pause/hold", "pause/await"])

      const wrongly = tests({ name: "full", layer: MemoryBackend.layer, clock: "test", lacks: ["Pause"] })
      assert.include((yield* Effect.flip(wrongly.run("pause/hold"))).message, "said to lack Pause")
    }))

  it.live("a layer that cannot be built fails every case with the reason", () =>
    Effect.gen(function*() {
      const layer = Layer.effectContext(Effect.fail("no such server")) as Layer.Layer<Full, string>
      const report = yield* Conformance.run({ name: "none", layer, clock: "test" }, Conformance.cases.slice(0, 2))
      assert.strictEqual(report.failed.length, 2)
      assert.include(report.failed[0]!.message, "no such server")
    }))

  it("ids are given once, and every case says what it needs to hold", () => {
    const ids = Conformance.cases.map(({ id }) => id)
    assert.strictEqual(new Set(ids).size, ids.length)
    for (const { id, title } of Conformance.cases) {
      assert.match(id, /^[a-z]+\/[a-z-]+$/)
      assert.isAbove(title.length, 10)
    }
  })
})
