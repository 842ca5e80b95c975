/**
 * Jobs that were claimed together stand in one row while they run, and whoever has something to say about one of them
 * finds it there: settlements of some, in whatever order and by however many at once, cancels, heartbeats, lost owners, a
 * transaction of the user.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import {
  Backend,
  type Delivery,
  type Held,
  type Item,
  type Receipt,
  type Settled,
  type Settlement,
  type Subscription
} from "windlass/Backend"
import type * as PostgresBackend from "windlass/backends/PostgresBackend"
import * as Capability from "windlass/Capability"
import { onPostgres } from "./postgres/here.ts"
import { backend, freshSchema } from "./postgres/server.ts"

const item = (id: string, options: Partial<Item> = {}): Item => ({
  envelope: { id, task: "T", version: 1, payload: `{"id":"${id}"}`, headers: {}, origin: "user" },
  ...options
})

const succeeded: Settlement = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }
const failed: Settlement = {
  _tag: "Retry",
  after: 0,
  attempt: "spent",
  place: "back",
  why: "failed",
  error: "again"
}

const all = (deliveries: ReadonlyArray<Delivery>, settlement: Settlement = succeeded) =>
  deliveries.map(({ receipt }) => [receipt, settlement] as const)

const ids = (deliveries: ReadonlyArray<Delivery>) => deliveries.map(({ envelope }) => envelope.id)

const names = (count: number, from = 0) => Array.from({ length: count }, (_, n) => `j${from + n}`)

const extend = (subscription: Subscription, receipts: ReadonlyArray<Receipt>) =>
  subscription.lease._tag === "Timed" ? subscription.lease.extend(receipts) : assert.fail("the lease is timed")

interface Place {
  readonly schema: string
  readonly sql: PgClient.PgClient
  readonly one: Backend["Service"]
  readonly worker: Subscription
  readonly publish: (some: ReadonlyArray<string>, options?: Partial<Item>) => Effect.Effect<void>
  /** how many jobs each claim's row has, and how many have a row of their own */
  readonly rows: Effect.Effect<readonly [together: ReadonlyArray<number>, own: number]>
  /** how many there are in the queue, wherever they stand */
  readonly left: Effect.Effect<number>
}

const at = <A, E>(
  body: (place: Place) => Effect.Effect<A, E, PostgresBackend.Services | PgClient.PgClient | Scope.Scope>,
  options: PostgresBackend.Options = {}
) =>
  Effect.suspend(() => {
    const schema = options.schema ?? freshSchema()
    return Effect.scoped(Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const one = yield* Backend
      const worker = yield* one.subscribe("q", { worker: "w" })
      return yield* body({
        schema,
        sql,
        one,
        worker,
        publish: (some, options) => Effect.orDie(Effect.asVoid(one.publish("q", some.map((id) => item(id, options))))),
        rows: Effect.orDie(Effect.gen(function*() {
          const claims = yield* sql<{ n: number }>`SELECT cardinality(nums) AS n FROM ${
            sql(schema)
          }.claim ORDER BY fence`
          const [active] = yield* sql<{ n: number }>`SELECT count(*)::int AS n FROM ${sql(schema)}.active`
          return [claims.map(({ n }) => n), active!.n] as const
        })),
        left: Effect.orDie(Effect.map(
          sql<{ n: number }>`SELECT count(*)::int AS n FROM ${sql(schema)}.job`,
          ([row]) => row!.n
        ))
      })
    })).pipe(Effect.provide(backend({ ...options, schema })))
  })

const settled = (count: number) => new Array<Settled>(count).fill("Settled")

onPostgres("a claim is one row", () => {
  it.live("of the jobs that nothing else is known of, and every look shows them as running (PROC-20)", () =>
    at(({ left, publish, rows, worker }) =>
      Effect.gen(function*() {
        yield* publish(names(10))
        yield* publish(["member"], { group: "g" })
        const taken = yield* worker.take(20)
        assert.strictEqual(taken.length, 11)
        // the member of a group is counted by its row
        assert.deepStrictEqual(yield* rows, [[10], 1])
        const inspect = yield* Capability.Inspect
        assert.deepStrictEqual(yield* inspect.counts("q"), { ready: 0, scheduled: 0, active: 11, dead: 0 })
        const record = Option.getOrThrow(yield* inspect.get("j3"))
        assert.deepStrictEqual([record.state, record.worker, record.attempt], ["active", "w", 1])
        assert.isNumber(record.claimedAt)
        const listed = yield* Stream.runCollect(inspect.list({ queue: "q", states: ["active"] }))
        assert.deepStrictEqual(listed.map(({ envelope }) => envelope.id), [...names(10), "member"])
        assert.deepStrictEqual(yield* worker.settle(all(taken)), settled(11))
        assert.deepStrictEqual(yield* rows, [[], 0])
        assert.strictEqual(yield* left, 0)
      })
    ))

  it.live("and of a few jobs each has a row of its own", () =>
    at(({ publish, rows, worker }) =>
      Effect.gen(function*() {
        yield* publish(names(10))
        const few = yield* worker.take(7)
        assert.deepStrictEqual(yield* rows, [[], 7])
        assert.deepStrictEqual(yield* worker.settle(all(few)), settled(7))
      })
    ))

  it.live("where jobs are not settled together each has a row from then on, until they are again", () =>
    at(({ publish, rows, worker }) =>
      Effect.gen(function*() {
        yield* publish(names(40))
        const first = yield* worker.take(10)
        assert.deepStrictEqual(yield* rows, [[10], 0])
        const [, second] = yield* worker.exchange(all(first.slice(0, 4)), 10)
        assert.deepStrictEqual(yield* rows, [[], 16])
        // what is left of the first says nothing about the second
        const [, third] = yield* worker.exchange(all(first.slice(4)), 10)
        assert.deepStrictEqual(yield* rows, [[], 20])
        const [, fourth] = yield* worker.exchange([...all(third), ...all(second)], 10)
        assert.deepStrictEqual(yield* rows, [[10], 0])
        assert.deepStrictEqual(yield* worker.settle(all(fourth)), settled(10))
      })
    ))

  it.live("not where ends are kept: those are written job by job", () =>
    at(({ publish, rows, worker }) =>
      Effect.gen(function*() {
        yield* publish(names(9))
        yield* worker.take(9)
        assert.deepStrictEqual(yield* rows, [[], 9])
      }), { retention: { successes: "1 hour" } }))
})

onPostgres("a settlement of many claims", () => {
  it.live("whatever its order, finds the jobs of each; others of them go on (L16)", () =>
    at(({ left, one, publish, rows }) =>
      Effect.gen(function*() {
        yield* publish(names(400))
        yield* publish(names(4, 400), { priority: 3 })
        // a new subscription a claim, so that each is one row; the first has jobs of two priorities
        const claims = yield* Effect.forEach(
          names(40),
          (worker) => Effect.flatMap(one.subscribe("q", { worker }), (subscription) => subscription.take(10))
        )
        assert.deepStrictEqual(yield* rows, [new Array<number>(40).fill(10), 0])
        const worker = yield* one.subscribe("q", { worker: "settles" })
        const mixed = Array.from({ length: 10 }, (_, n) => claims.map((claim) => claim[(n * 7) % 10]!)).flat()
        const [now, later] = [mixed.slice(0, 130), mixed.slice(130)]
        assert.deepStrictEqual(yield* worker.settle(all(now.toReversed())), settled(130))
        assert.deepStrictEqual([yield* rows, yield* left], [[[], 270], 274])
        assert.deepStrictEqual(yield* worker.settle(all([...later, now[0]!])), [...settled(270), "Lost"])
        assert.strictEqual(yield* left, 4)
      })
    ))

  it.live("the latest receipt of a job counts, wherever it stands", () =>
    at(({ one, publish, worker }) =>
      Effect.gen(function*() {
        yield* publish(names(8))
        const stale = yield* worker.take(8)
        const taker = yield* one.subscribe("q", { worker: "taker" })
        const back = yield* untilTaken(taker, 8)
        const of = (deliveries: ReadonlyArray<Delivery>, id: string) =>
          all(deliveries.filter(({ envelope }) => envelope.id === id))
        const items = [...of(stale, "j1"), ...of(back, "j1"), ...of(back, "j2"), ...of(stale, "j2")]
        assert.deepStrictEqual(yield* taker.settle(items), ["Lost", "Settled", "Settled", "Lost"])
      }), { lease: "1 second" }))
})

onPostgres("a part of a claim", () => {
  it.live("is settled, and the rest goes on, each by itself; a second settlement finds nothing (L16)", () =>
    at(({ left, publish, rows, worker }) =>
      Effect.gen(function*() {
        yield* publish(names(8))
        const taken = yield* worker.take(8)
        const [a, b, ...others] = all(taken)
        // of two settlements with the same receipt the first one counts
        assert.deepStrictEqual(yield* worker.settle([a!, b!, a!]), ["Settled", "Settled", "Lost"])
        assert.deepStrictEqual(yield* rows, [[], 6])
        assert.deepStrictEqual(yield* worker.settle([b!, ...others]), ["Lost", ...settled(6)])
        assert.deepStrictEqual([yield* rows, yield* left], [[[], 0], 0])
      })
    ))

  it.live("fails, and the others succeed in the same call", () =>
    at(({ left, publish, rows, worker }) =>
      Effect.gen(function*() {
        yield* publish(names(9))
        const taken = yield* worker.take(9)
        const items = taken.map(({ envelope, receipt }) =>
          [receipt, envelope.id === "j2" ? failed : succeeded] as const
        )
        const [answers, again] = yield* worker.exchange(items, 5)
        assert.deepStrictEqual(answers, settled(9))
        assert.deepStrictEqual([ids(again), again[0]!.attempt], [["j2"], 2])
        assert.deepStrictEqual([yield* rows, yield* left], [[[], 1], 1])
      })
    ))

  it.live("is asked to abort, and only that (PROC-25)", () =>
    at(({ publish, worker }) =>
      Effect.gen(function*() {
        const cancel = yield* Capability.Cancel
        yield* publish(names(8))
        const taken = yield* worker.take(8)
        assert.strictEqual(yield* cancel.request("j1"), "Requested")
        const receipts = taken.map(({ receipt }) => receipt)
        assert.deepStrictEqual(yield* extend(worker, receipts), ["Held", "Abort", ...new Array<Held>(6).fill("Held")])
        assert.deepStrictEqual(
          yield* worker.settle(all(taken, failed)),
          ["Settled", "Aborted", ...settled(6)]
        )
      })
    ))

  it.live("reports its progress, and a stale owner reports none", () =>
    at(({ publish, worker }) =>
      Effect.gen(function*() {
        const inspect = yield* Capability.Inspect
        yield* publish(names(8))
        const taken = yield* worker.take(8)
        assert.strictEqual(yield* inspect.progress(taken[1]!.receipt, "7"), "Stored")
        assert.strictEqual(Option.getOrThrow(yield* inspect.get("j1")).progress, "7")
        assert.deepStrictEqual(yield* worker.settle(all(taken)), settled(8))
        assert.strictEqual(yield* inspect.progress(taken[1]!.receipt, "8"), "Lost")
      })
    ))

  it.live("is renewed, and who is not named loses its lease alone (L16)", () =>
    at(({ one, publish, worker }) =>
      Effect.gen(function*() {
        yield* publish(names(8))
        const taken = yield* worker.take(8)
        const kept = taken.slice(1)
        const beat = yield* Effect.forkChild(Effect.forever(
          Effect.andThen(extend(worker, kept.map(({ receipt }) => receipt)), Effect.sleep("200 millis"))
        ))
        const taker = yield* one.subscribe("q", { worker: "taker" })
        const back = yield* untilTaken(taker, 1)
        assert.deepStrictEqual([ids(back), back[0]!.unsettled, back[0]!.lostFrom?.worker], [["j0"], 1, "w"])
        yield* Fiber.interrupt(beat)
        assert.deepStrictEqual(yield* worker.settle(all(taken)), ["Lost", ...settled(7)])
        assert.deepStrictEqual(yield* taker.settle(all(back)), ["Settled"])
      }), { lease: "1 second" }))
})

/** claims until so many came */
const untilTaken = (
  subscription: Subscription,
  count: number
): Effect.Effect<ReadonlyArray<Delivery>, Effect.Error<ReturnType<Subscription["take"]>>> =>
  Effect.gen(function*() {
    const taken: Array<Delivery> = []
    while (taken.length < count) {
      taken.push(...(yield* subscription.take(count - taken.length)))
      if (taken.length < count) yield* subscription.await(1)
    }
    return taken
  })

onPostgres("a claim whose owner is lost", () => {
  it.live("comes back whole, in its order, and its owner settles nothing any more (L16, RT-14)", () =>
    at(({ left, one, publish, rows, worker }) =>
      Effect.gen(function*() {
        yield* publish(names(8))
        const taken = yield* worker.take(8)
        assert.deepStrictEqual(yield* rows, [[8], 0])
        const taker = yield* one.subscribe("q", { worker: "taker" })
        const back = yield* untilTaken(taker, 8)
        assert.deepStrictEqual(ids(back), names(8))
        assert.deepStrictEqual(back.map(({ unsettled }) => unsettled), new Array<number>(8).fill(1))
        assert.deepStrictEqual(yield* worker.settle(all(taken)), new Array<Settled>(8).fill("Lost"))
        assert.deepStrictEqual(yield* taker.settle(all(back)), settled(8))
        assert.strictEqual(yield* left, 0)
      }), { lease: "1 second" }))

  it.live("is found when its subscription has ended: the row that says when its lease ends stays", () =>
    at(({ one, publish, rows, schema, sql }) =>
      Effect.gen(function*() {
        yield* publish(names(8))
        yield* Effect.scoped(Effect.flatMap(one.subscribe("q", { worker: "gone" }), (gone) => gone.take(8)))
        assert.deepStrictEqual(yield* rows, [[8], 0])
        // whoever finds them may have leases of another length
        const sessions = yield* sql<{ worker: string }>`SELECT worker FROM ${sql(schema)}.session ORDER BY id`
        assert.deepStrictEqual(sessions.map(({ worker }) => worker), ["w", "gone"])
        const taker = yield* one.subscribe("q", { worker: "taker" })
        assert.deepStrictEqual(yield* taker.take(8), [])
        const back = yield* untilTaken(taker, 8)
        assert.deepStrictEqual(back.map(({ lostFrom }) => lostFrom?.worker), new Array<string>(8).fill("gone"))
      }), { lease: "1 second" }))
})

onPostgres("a job of a claim that ends in a transaction of the user", () => {
  for (const isolation of ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] as const) {
    it.live(`${isolation}: those that were claimed with it wait for nothing`, () =>
      at(({ left, publish, rows, sql, worker }) =>
        Effect.gen(function*() {
          const transactional = yield* Capability.Transactional
          yield* publish(names(20))
          const [inside, ...others] = yield* worker.take(10)
          assert.deepStrictEqual(yield* rows, [[10], 0])
          const done = yield* Deferred.make<void>()
          const go = yield* Deferred.make<void>()
          const transaction = yield* Effect.forkChild(transactional.transaction(Effect.gen(function*() {
            yield* sql.unsafe(`SET TRANSACTION ISOLATION LEVEL ${isolation}`)
            yield* sql`SELECT 1`
            const answer = yield* transactional.settle(inside!.receipt, succeeded)
            yield* Deferred.succeed(done, undefined)
            yield* Deferred.await(go)
            return answer
          })))
          yield* Deferred.await(done)
          assert.deepStrictEqual(yield* worker.settle(all(others)), settled(9))
          // nor does what is claimed from now on
          const next = yield* worker.take(10)
          assert.deepStrictEqual(yield* rows, [[], 11])
          yield* Deferred.succeed(go, undefined)
          assert.strictEqual(yield* Fiber.join(transaction), "Settled")
          assert.deepStrictEqual(yield* rows, [[], 10])
          assert.deepStrictEqual(yield* worker.settle(all(next)), settled(10))
          assert.strictEqual(yield* left, 0)
        })
      ))
  }

  it.live("in one that the user began the others wait for its commit, that once; then each has a row of its own", () =>
    at(({ left, publish, rows, sql, worker }) =>
      Effect.gen(function*() {
        const transactional = yield* Capability.Transactional
        yield* publish(names(20))
        const [inside, ...others] = yield* worker.take(10)
        const rest = yield* sql.withTransaction(Effect.gen(function*() {
          yield* sql`SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`
          yield* sql`SELECT 1`
          assert.strictEqual(yield* transactional.settle(inside!.receipt, succeeded), "Settled")
          return yield* Effect.forkDetach(worker.settle(all(others)), { startImmediately: true })
        }))
        assert.deepStrictEqual(yield* Fiber.join(rest), settled(9))
        const next = yield* worker.take(10)
        assert.deepStrictEqual(yield* rows, [[], 10])
        assert.deepStrictEqual(yield* worker.settle(all(next)), settled(10))
        assert.strictEqual(yield* left, 0)
      })
    ))

  it.live("in one that is nested in the user's, nothing is spread beside it: its snapshot would not show that", () =>
    at(({ left, publish, sql, worker }) =>
      Effect.gen(function*() {
        const transactional = yield* Capability.Transactional
        yield* publish(names(10))
        const [inside, ...others] = yield* worker.take(10)
        const answer = yield* sql.withTransaction(Effect.gen(function*() {
          yield* sql`SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`
          yield* sql`SELECT 1`
          return yield* transactional.transaction(transactional.settle(inside!.receipt, succeeded))
        }))
        assert.strictEqual(answer, "Settled")
        assert.deepStrictEqual(yield* worker.settle(all(others)), settled(9))
        assert.strictEqual(yield* left, 0)
      })
    ))

  it.live("and is rolled back: it is in its claim as before", () =>
    at(({ left, publish, rows, sql, worker }) =>
      Effect.gen(function*() {
        const transactional = yield* Capability.Transactional
        yield* publish(names(10))
        const taken = yield* worker.take(10)
        yield* Effect.exit(sql.withTransaction(
          Effect.andThen(transactional.settle(taken[0]!.receipt, succeeded), Effect.fail("no"))
        ))
        assert.deepStrictEqual(yield* rows, [[10], 0])
        assert.deepStrictEqual(yield* worker.settle(all(taken)), settled(10))
        assert.strictEqual(yield* left, 0)
      })
    ))

  it.live("a claim that is on its way when the first transaction begins is spread before it does", () =>
    at(({ left, publish, rows, schema, sql, worker }) =>
      Effect.gen(function*() {
        const transactional = yield* Capability.Transactional
        yield* publish(names(10))
        const locked = yield* Deferred.make<void>()
        const unlock = yield* Deferred.make<void>()
        // the claim waits in the server
        const lock = yield* Effect.forkChild(sql.withTransaction(Effect.gen(function*() {
          yield* sql`LOCK TABLE ${sql(schema)}.ready IN SHARE MODE`
          yield* Deferred.succeed(locked, undefined)
          yield* Deferred.await(unlock)
        })))
        yield* Deferred.await(locked)
        const claim = yield* Effect.forkChild(worker.take(10), { startImmediately: true })
        const answers = yield* Effect.forkChild(
          transactional.transaction(Effect.gen(function*() {
            yield* sql`SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`
            yield* sql`SELECT 1`
            return yield* Effect.forEach(yield* Fiber.join(claim), ({ receipt }) =>
              transactional.settle(receipt, succeeded))
          })),
          { startImmediately: true }
        )
        yield* Deferred.succeed(unlock, undefined)
        yield* Fiber.join(lock)
        assert.deepStrictEqual(yield* Fiber.join(answers), settled(10))
        assert.deepStrictEqual([yield* rows, yield* left], [[[], 0], 0])
      })
    ))
})

onPostgres("many at once", () => {
  it.live("parts of claims settled crosswise, cancelled and renewed at the same time: every job ends once (L4, L16)", () =>
    at(({ left, one, publish, rows }) =>
      Effect.gen(function*() {
        const cancel = yield* Capability.Cancel
        for (let round = 0; round < 12; round++) {
          const workers = yield* Effect.forEach(names(3), (worker) => one.subscribe("q", { worker }))
          const jobs = names(120, round * 1_000)
          yield* publish(jobs)
          // three claims each, which are all one row: the subscriptions are new
          const claims = yield* Effect.forEach(workers, (worker) => Effect.replicateEffect(worker.take(13), 3))
          assert.deepStrictEqual((yield* rows)[0], new Array<number>(9).fill(13))
          const answers = yield* Effect.forEach(workers, (worker, w) => {
            const mine = claims[w]!.flat()
            // a settlement takes from all three claims; which of them first is different from call to call
            const parts = Array.from({ length: 5 }, (_, part) => {
              const some = mine.filter((_, n) => n % 5 === part)
              return part % 2 === 0 ? some : some.toReversed()
            })
            return Effect.all([
              Effect.forEach(parts, (part) =>
                worker.settle(part.map(({ receipt }, n) =>
                  [receipt, n % 4 === 3 ? failed : succeeded] as const
                )), {
                concurrency: "unbounded"
              }),
              Effect.forEach(
                mine.filter((_, n) =>
                  n % 7 === 0
                ),
                ({ envelope }) => cancel.request(envelope.id),
                { concurrency: 4, discard: true }
              ),
              Effect.replicateEffect(extend(worker, mine.map(({ receipt }) => receipt)), 3)
            ], { concurrency: "unbounded" })
          }, { concurrency: "unbounded" })
          const said = answers.flatMap(([settled]) => settled.flat())
          assert.strictEqual(said.length, 117)
          assert.notInclude(said, "Lost")
          assert.deepStrictEqual(yield* rows, [[], 0])
          // what failed is there again, unless it was to abort, and is settled by whoever takes it
          const rest = yield* workers[0]!.take(200)
          assert.strictEqual(new Set(ids(rest)).size, rest.length)
          assert.deepStrictEqual(yield* workers[0]!.settle(all(rest)), settled(rest.length))
          const inspect = yield* Capability.Inspect
          const counts = yield* inspect.counts("q")
          assert.deepStrictEqual([counts.ready, counts.active, counts.scheduled], [0, 0, 0])
        }
        assert.strictEqual(yield* left, 0)
      }), { retention: { failures: 0 }, connections: 8 }))
})
