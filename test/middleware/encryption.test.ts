import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Exit, Layer, Option, Redacted, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Backend, type Envelope, type Settlement } from "../../src/Backend.ts"
import * as MemoryBackend from "../../src/backends/MemoryBackend.ts"
import * as SqliteBackend from "../../src/backends/SqliteBackend.ts"
import { DeadLetter, Inspect } from "../../src/Capability.ts"
import * as Enqueue from "../../src/Enqueue.ts"
import * as Job from "../../src/Job.ts"
import * as Encryption from "../../src/middleware/Encryption.ts"
import * as Task from "../../src/Task.ts"
import * as TaskGroup from "../../src/TaskGroup.ts"
import * as Harness from "../../src/testing/Harness.ts"
import * as Worker from "../../src/Worker.ts"
import { Boom, deliveryOf, envelopeOf } from "./support.ts"

const key = (id: string, fill: number): Encryption.Key => ({
  id,
  key: Redacted.make(Buffer.alloc(32, fill).toString("base64"))
})
const k1 = key("k1", 1)
const k2 = key("k2", 2)

class Secret extends Task.make("Secret", {
  payload: { card: Schema.String, fails: Schema.Number },
  success: Schema.String,
  error: Boom,
  retry: Schedule.spaced("1 minute").pipe(Schedule.upTo({ times: 5 }))
}) {}
class Open extends Task.make("Open", { payload: { text: Schema.String } }) {}

const live = (ran: Array<string>) =>
  Layer.mergeAll(
    Secret.toLayer(({ card, fails }) =>
      Effect.gen(function*() {
        const job = yield* Job.Current
        ran.push(`${card} ${job.attempt}`)
        return job.attempt <= fails ? yield* new Boom({ why: "x" }) : card
      })
    ),
    Open.toLayer(({ text }) => Effect.sync(() => void ran.push(text)))
  )

const stored = (id: string) =>
  Effect.flatMap(Effect.flatMap(Inspect, (inspect) => inspect.get(id)), (job) => Effect.fromOption(job))

/** the settlement that the delivery half chooses, and what stands inside of it saw */
const deliver = (envelope: Envelope, options?: Parameters<typeof Encryption.delivery>[0], enqueuedAt = 0) => {
  const seen: Array<Envelope> = []
  const middleware = Encryption.delivery(options)
  return Effect.scoped(middleware.wrap(
    (delivery) =>
      Effect.sync(() => {
        seen.push(delivery.envelope)
        return { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined } as const
      }),
    { ...deliveryOf({ enqueuedAt }), envelope }
  )).pipe(
    Effect.map((settlement) => ({ settlement, seen })),
    Effect.provideService(Job.Current, undefined as never)
  ) as Effect.Effect<
    { readonly settlement: Settlement; readonly seen: ReadonlyArray<Envelope> },
    never,
    Encryption.Cipher
  >
}

const seal = (envelope: Envelope, keys = [k1]) =>
  Effect.flatMap(Encryption.Cipher, (cipher) => cipher.seal(envelope)).pipe(Effect.provide(Encryption.layer(keys)))

describe("Encryption", () => {
  it.effect("any payload comes back as it was, and is never readable in between", () =>
    Effect.promise(() => {
      let looked = 0
      return fc.assert(
        fc.asyncProperty(
          fc.oneof(
            fc.jsonValue().map((value) => JSON.stringify(value)),
            fc.string({ unit: "grapheme", minLength: 7 }),
            fc.constant("\ufeffx")
          ),
          fc.record({ id: fc.uuid(), task: fc.string({ minLength: 1 }), version: fc.nat(9) }),
          (payload, over) =>
            Effect.runPromise(
              Effect.gen(function*() {
                const envelope = envelopeOf({ ...over, payload, headers: { tenant: "t" } })
                const sealed = yield* seal(envelope)
                const again = yield* seal(envelope)
                assert.notStrictEqual(sealed.payload, again.payload)
                assert.deepStrictEqual(sealed.headers, { tenant: "t", "windlass-encryption": "a256gcm:k1" })
                if (payload.length > 6) {
                  looked++
                  assert.notInclude(sealed.payload, payload)
                  assert.notInclude(Buffer.from(sealed.payload, "base64").toString("latin1"), payload)
                }
                const { seen, settlement } = yield* deliver(sealed).pipe(Effect.provide(Encryption.layer([k2, k1])))
                assert.strictEqual(settlement._tag, "Complete")
                assert.deepStrictEqual(seen, [envelope])
              })
            )
        ),
        { numRuns: 200 }
      ).then(() => assert.isAbove(looked, 60))
    }))

  it.effect("whatever is changed, and wherever it is moved, it is dead and nothing inside sees it", () =>
    Effect.promise(() => {
      const seen: Record<string, number> = {}
      const change = fc.oneof(
        fc.record({ what: fc.constant("bit" as const), at: fc.nat(10_000), bit: fc.nat(7) }),
        fc.record({ what: fc.constantFrom("id", "task", "version", "cut", "other key", "not base64") })
      )
      return fc.assert(
        fc.asyncProperty(fc.json(), change, (payload, how) =>
          Effect.runPromise(
            Effect.gen(function*() {
              seen[how.what] = (seen[how.what] ?? 0) + 1
              const sealed = yield* seal(envelopeOf({ payload }), how.what === "other key" ? [key("k1", 9)] : [k1])
              const bytes = Buffer.from(sealed.payload, "base64")
              if ("bit" in how) bytes[how.at % bytes.length]! ^= 1 << how.bit
              const changed: Envelope = {
                ...sealed,
                id: how.what === "id" ? "job-2" : sealed.id,
                task: how.what === "task" ? "Other" : sealed.task,
                version: how.what === "version" ? 2 : sealed.version,
                payload: how.what === "cut"
                  ? bytes.subarray(0, bytes.length / 2).toString("base64")
                  : how.what === "not base64"
                  ? "{}"
                  : bytes.toString("base64")
              }
              const result = yield* deliver(changed).pipe(Effect.provide(Encryption.layer([k1])))
              assert.deepInclude(result.settlement, { _tag: "Dead", reason: "undecryptable" })
              assert.deepStrictEqual(result.seen, [])
            })
          )),
        { numRuns: 300 }
      ).then(() => {
        process.stdout.write(`changes: ${JSON.stringify(seen)}\n`)
        assert.strictEqual(Object.keys(seen).length, 7)
        for (const count of Object.values(seen)) assert.isAbove(count, 8)
      })
    }))

  it.effect("alone at the enqueue point: every job of a batch, or those of some tasks", () =>
    Effect.gen(function*() {
      const payloads = [{ card: "4242", fails: 0 }, { card: "4343", fails: 0 }]
      const all = yield* Harness.enqueue(Encryption.enqueue(), { task: Secret, payloads })
      const items = all.published.flatMap((batch) => batch.items)
      assert.strictEqual(items.length, 2)
      for (const [i, item] of items.entries()) {
        assert.notInclude(item.envelope.payload, "card")
        const cipher = yield* Encryption.Cipher
        assert.deepStrictEqual(JSON.parse((yield* cipher.open(item.envelope)).payload), payloads[i])
      }
      const some = yield* Harness.enqueue(Encryption.enqueue({ only: ["Other"] }), { task: Secret, payloads })
      assert.deepStrictEqual(
        some.published.flatMap((b) => b.items.map((item) => JSON.parse(item.envelope.payload))),
        payloads
      )
    }).pipe(Effect.provide(Encryption.layer([k1]))))

  it.effect("jobs that are not encrypted are dead, or accepted if asked, or of tasks that need not be", () =>
    Effect.gen(function*() {
      const plain = envelopeOf({ payload: "{}" })
      assert.deepInclude((yield* deliver(plain)).settlement, { _tag: "Dead", reason: "unencrypted" })
      assert.deepStrictEqual((yield* deliver(plain, { unencrypted: "accept" })).seen, [plain])
      assert.deepStrictEqual((yield* deliver(plain, { only: ["Other"] })).seen, [plain])
      assert.deepInclude((yield* deliver(plain, { only: ["Send"] })).settlement, { reason: "unencrypted" })
    }).pipe(Effect.provide(Encryption.layer([k1]))))

  it.effect("an unknown key is dead, or waits for its roll-out as long as the job is young", () =>
    Effect.gen(function*() {
      const sealed = yield* seal(envelopeOf({ payload: "{}" }), [k2])
      assert.deepInclude((yield* deliver(sealed)).settlement, { _tag: "Dead", reason: "unknown-key" })
      const unknownKey = { retryAfter: "10 seconds", for: "1 minute" } as const
      yield* TestClock.setTime(59_999)
      assert.deepInclude((yield* deliver(sealed, { unknownKey })).settlement, {
        _tag: "Retry",
        why: "released",
        after: 10_000,
        attempt: "kept"
      })
      yield* TestClock.setTime(60_000)
      assert.deepInclude((yield* deliver(sealed, { unknownKey })).settlement, { _tag: "Dead", reason: "unknown-key" })
      const strange = { ...sealed, headers: { "windlass-encryption": "rot13:k1" } }
      assert.deepInclude((yield* deliver(strange)).settlement, { _tag: "Dead", reason: "unknown-key" })
    }).pipe(Effect.provide(Encryption.layer([k1]))))

  it.effect("keys from configuration, and what is wrong with them, without the key itself", () =>
    Effect.gen(function*() {
      const bytes = Buffer.alloc(32, 7).toString("base64")
      const from = (text: string) =>
        seal(envelopeOf({ payload: "{}" }), []).pipe(
          Effect.provide(
            Encryption.layerConfig().pipe(
              Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ WINDLASS_ENCRYPTION_KEYS: text })))
            )
          )
        )
      const built = (text: string) =>
        Effect.flatMap(Encryption.Cipher, (cipher) => cipher.seal(envelopeOf())).pipe(
          Effect.provide(Encryption.layerConfig(Config.succeed(Redacted.make(text)))),
          Effect.exit
        )
      const good = yield* built(` new:${bytes} , old:${Redacted.value(k1.key)}`)
      assert.strictEqual(Exit.isSuccess(good) && good.value.headers["windlass-encryption"], "a256gcm:new")
      assert.isTrue(Exit.isFailure(yield* Effect.exit(from(""))))
      const problems: ReadonlyArray<readonly [string, RegExp]> = [
        ["", /needs at least one key/],
        [bytes, /the key id "" is not/],
        [`a b:${bytes}`, /the key id "a b" is not/],
        [`x:${bytes},x:${bytes}`, /two keys have the id x/],
        [`x:${bytes.slice(0, 20)}`, /key x is not 32 bytes in base64/],
        [`x:${bytes.slice(4)}`, /key x is not 32 bytes in base64/],
        ["x:!!!", /key x is not 32 bytes in base64/]
      ]
      for (const [text, message] of problems) {
        const exit = yield* built(text)
        const error = Option.getOrThrow(Exit.findErrorOption(exit)) as Error
        assert.instanceOf(error, Encryption.InvalidKeys)
        assert.match(error.message, message)
        assert.notInclude(error.message, bytes.slice(4, 20))
      }
      const made = Redacted.value(yield* Encryption.generateKey)
      assert.strictEqual(Buffer.from(made, "base64").length, 32)
      assert.notStrictEqual(made, Redacted.value(yield* Encryption.generateKey))
    }))

  it.effect("with a worker: stored unreadable, handled readable, on every attempt; keys rotate; dead letters come back", () =>
    Effect.gen(function*() {
      const ran: Array<string> = []
      const context = yield* Layer.build(MemoryBackend.layer)
      const producer = (keys: ReadonlyArray<Encryption.Key>) =>
        Enqueue.layer(Encryption.enqueue()).pipe(Layer.provide(Encryption.layer(keys)))
      const worker = (keys: ReadonlyArray<Encryption.Key>, options?: Parameters<typeof Encryption.delivery>[0]) =>
        Worker.layer(TaskGroup.make(Secret), { middleware: [Encryption.delivery(options)] }).pipe(
          Layer.provide(live(ran)),
          Layer.provide(Encryption.layer(keys)),
          Layer.provide(Layer.succeedContext(context))
        )
      const put = (id: string, fails: number, keys: ReadonlyArray<Encryption.Key>) =>
        Secret.enqueue({ card: `card of ${id}`, fails }).pipe(Enqueue.id(id), Effect.provide(producer(keys)))
      yield* Effect.gen(function*() {
        yield* put("a", 2, [k1])
        for (const what of [yield* stored("a")]) assert.notInclude(JSON.stringify(what.envelope), "card of a")
        yield* Effect.gen(function*() {
          yield* TestClock.adjust("1 minute")
          // between two attempts it is stored as it was
          assert.notInclude(JSON.stringify(yield* stored("a")), "card of a")
          yield* TestClock.adjust("10 minutes")
        }).pipe(Effect.provide(worker([k1])))
        assert.deepStrictEqual(ran.splice(0), ["card of a 1", "card of a 2", "card of a 3"])

        // producers have the new key before this worker does: the job waits, then dies with the old worker
        yield* put("b", 0, [k2, k1])
        yield* put("c", 0, [k2, k1])
        yield* Effect.gen(function*() {
          yield* TestClock.adjust("30 minutes")
        }).pipe(Effect.provide(worker([k1], { unknownKey: { retryAfter: "1 minute", for: "1 day" } })))
        assert.deepStrictEqual([ran.splice(0), (yield* stored("b")).attempt], [[], 1])
        yield* TestClock.adjust("5 minutes").pipe(Effect.provide(worker([k2, k1])))
        assert.sameMembers(ran.splice(0), ["card of b 1", "card of c 1"])

        yield* put("d", 0, [k2])
        yield* TestClock.adjust("5 minutes").pipe(Effect.provide(worker([k1])))
        const dead = yield* stored("d")
        assert.deepStrictEqual([dead.state, dead.reason], ["dead", "unknown-key"])
        assert.notInclude(JSON.stringify(dead), "card of d")
        const letters = yield* DeadLetter
        assert.isTrue(yield* letters.retry("d"))
        yield* TestClock.adjust("5 minutes").pipe(Effect.provide(worker([k1, k2])))
        assert.deepStrictEqual(ran.splice(0), ["card of d 1"])
      }).pipe(Effect.provideContext(context))
    }))

  it.live("with SQLite: no file of the database has the plain payload in it", () =>
    Effect.gen(function*() {
      const folder = mkdtempSync(join(tmpdir(), "windlass-encryption-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true, force: true })))
      const files = () =>
        readdirSync(folder).map((file) => readFileSync(join(folder, file)).toString("latin1")).join("\n")
      const ran: Array<string> = []
      yield* Effect.gen(function*() {
        yield* Secret.enqueue({ card: "4242-4242-4242", fails: 0 })
        // shows that one would see it
        const backend = yield* Backend
        yield* backend.publish("elsewhere", [{
          envelope: envelopeOf({ id: "plain", payload: "{\"card\":\"5555-5555\"}" })
        }])
        assert.include(files(), "5555-5555")
        assert.notInclude(files(), "4242-4242")
        const cipher = Encryption.layer([k1])
        const worker = Worker.layer(TaskGroup.make(Secret), { mode: "drain", middleware: [Encryption.delivery()] })
          .pipe(
            Layer.provide(live(ran)),
            Layer.provide(cipher)
          )
        assert.strictEqual((yield* Worker.launch(worker)).succeeded, 1)
        assert.deepStrictEqual(ran, ["4242-4242-4242 1"])
        assert.notInclude(files(), "4242-4242")
      }).pipe(Effect.provide(Layer.merge(
        Enqueue.layer(Encryption.enqueue()).pipe(Layer.provide(Encryption.layer([k1]))),
        SqliteBackend.layer({ filename: join(folder, "w.db") })
      )))
    }).pipe(Effect.scoped))
})
