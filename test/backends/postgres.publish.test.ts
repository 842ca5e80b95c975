/**
 * Batches of plain jobs are stored without a look for their ids, and with care when one of those is there: nobody can tell
 * which it was but by the time that it took, and by the numbers that were given out in vain.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as PgConnection from "@effect/sql-pg/PgConnection"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Redacted from "effect/Redacted"
import * as fc from "fast-check"
import { Backend, type Item, type Published, type Settlement } from "windlass/Backend"
import * as Capability from "windlass/Capability"
import * as Names from "../../src/backends/postgres/names.ts"
import { onPostgres } from "./postgres/here.ts"
import { backend, freshSchema, postgres } from "./postgres/server.ts"

const item = (id: string, envelope: Partial<Item["envelope"]> = {}, options: Partial<Item> = {}): Item => ({
  envelope: { id, task: "T", version: 1, payload: "{}", headers: {}, origin: "user", ...envelope },
  ...options
})

const numbered = (count: number, name: string): ReadonlyArray<string> =>
  Array.from({ length: count }, (_, n) => `${name}${n}`)

/** every time another order than that of the ids */
const shuffled = (ids: ReadonlyArray<string>) =>
  ids.map((id) => [Math.random(), id] as const).sort(([a], [b]) => a - b).map(([, id]) => id)

const stored: Published = { _tag: "Stored" }
const duplicate = (existing: string): Published => ({ _tag: "Duplicate", existing })
const succeeded: Settlement = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }

onPostgres("batches of plain jobs", () => {
  it.live("they are claimed in the order in which they were given", () =>
    Effect.gen(function*() {
      const one = yield* Backend
      const subscription = yield* one.subscribe("q", { worker: "w" })
      const ids = [...shuffled(numbered(100, "a")), ...shuffled(numbered(100, "b"))]
      yield* one.publish("q", ids.slice(0, 100).map((id) => item(id)))
      yield* one.publish("q", ids.slice(100).map((id) => item(id)))
      const taken = yield* subscription.take(200)
      assert.deepStrictEqual(taken.map(({ envelope }) => envelope.id), ids)
    }).pipe(Effect.scoped, Effect.provide(backend())))

  it.live("ids that are there keep their jobs out and nobody else's, in the next batches too", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const one = yield* Backend
      const subscription = yield* one.subscribe("q", { worker: "w" })
      const old = numbered(20, "old")
      assert.deepStrictEqual(yield* one.publish("q", old.map((id) => item(id))), old.map(() => stored))
      const expected = [...old]
      // the first batch tries and is undone, the second one is careful from the start
      for (const name of ["first", "second"]) {
        const ids = shuffled([...numbered(20, name), "old3", "old7"])
        // and one that is there twice
        const answers = yield* one.publish("q", [...ids, ids[0]!].map((id) => item(id)))
        const expects = (id: string, again: boolean) => again || id.startsWith("old") ? duplicate(id) : stored
        assert.deepStrictEqual(answers, [...ids.map((id) => expects(id, false)), expects(ids[0]!, true)])
        expected.push(...ids.filter((id) => id.startsWith(name)))
      }
      // nothing was numbered that was not stored then
      const sql = yield* PgClient.PgClient
      const [row] = yield* sql<{ gap: number }>`
        SELECT (min(num) FILTER (WHERE id LIKE 'second%') - max(num) FILTER (WHERE id LIKE 'first%'))::int4 AS gap
        FROM ${sql(schema)}.job`
      assert.isBelow(row!.gap, 23)
      const taken = yield* subscription.take(100)
      assert.deepStrictEqual(taken.map(({ envelope }) => envelope.id), expected)
      assert.strictEqual((yield* (yield* Capability.Inspect).counts("q")).ready, 0)
    }).pipe(Effect.scoped, Effect.provide(backend({ schema })))
  })

  it.live("a job that ended and is kept makes room for one with its id, in a batch as well", () =>
    Effect.gen(function*() {
      const one = yield* Backend
      const inspect = yield* Capability.Inspect
      const subscription = yield* one.subscribe("q", { worker: "w" })
      const ids = numbered(20, "a")
      yield* one.publish("q", ids.map((id) => item(id)))
      const taken = yield* subscription.take(20)
      yield* subscription.settle(taken.map(({ receipt }) => [receipt, succeeded]))
      assert.strictEqual(Option.getOrThrow(yield* inspect.get("a7")).state, "succeeded")
      assert.deepStrictEqual(yield* one.publish("q", ids.map((id) => item(id))), ids.map(() => stored))
      const again = yield* subscription.take(20)
      assert.deepStrictEqual(again.map(({ envelope }) => envelope.id), ids)
    }).pipe(Effect.scoped, Effect.provide(backend({ retention: { successes: "1 hour" } }))))

  it.live("each keeps what it was given, whether the others have the same or not", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          fc.array(
            fc.record({
              task: fc.constantFrom("T", "U"),
              version: fc.constantFrom(1, 2),
              origin: fc.constantFrom("user" as const, "cron" as const),
              headers: fc.constantFrom({}, { a: "1" }, { a: "2" }),
              payload: fc.constantFrom("{}", "\"'\\\\{}\"", "null")
            }),
            { minLength: 1, maxLength: 12 }
          ),
          fc.boolean(),
          (envelopes, isSame) =>
            Effect.gen(function*() {
              const one = yield* Backend
              const subscription = yield* one.subscribe("q", { worker: "w" })
              const items = envelopes.map((envelope, n) =>
                item(`${n}`, isSame ? { ...envelopes[0], payload: envelope.payload } : envelope)
              )
              yield* one.publish("q", items)
              const taken = yield* subscription.take(20)
              assert.deepStrictEqual(taken.map(({ envelope }) => envelope), items.map(({ envelope }) => envelope))
            }).pipe(Effect.scoped, Effect.provide(backend()), Effect.runPromise)
        ),
        { numRuns: 8 }
      )
    ))

  it.live("in a transaction nothing is a subtransaction, and a batch with ids that are there is answered the same", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const one = yield* Backend
      const sql = yield* PgClient.PgClient
      const ids = numbered(20, "a")
      yield* sql.withTransaction(Effect.gen(function*() {
        yield* one.publish("q", ids.map((id) => item(id)))
        // all rows have the transaction's own number
        const [row] = yield* sql<{ own: boolean }>`
          SELECT bool_and(xmin::text::int8 = txid_current() % 4294967296) AS own FROM ${sql(schema)}.job`
        assert.isTrue(row!.own)
      }))
      const answers = yield* sql.withTransaction(one.publish("q", [...ids, "b"].map((id) => item(id))))
      assert.deepStrictEqual(answers, [...ids.map(duplicate), stored])
    }).pipe(Effect.scoped, Effect.provide(backend({ schema })))
  })

  it.live("those who wait in other processes are told of it", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const one = yield* Backend
      const connection = yield* PgConnection.make({ url: Redacted.make(postgres.url) })
      const heard = yield* connection.listen(Names.make(schema, "").channel)
      yield* one.publish("q", numbered(20, "a").map((id) => item(id)))
      assert.match((yield* Queue.take(heard)).payload, /^q\d+$/)
    }).pipe(Effect.scoped, Effect.provide(backend({ schema })))
  })
})
