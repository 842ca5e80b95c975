/**
 * Groups with limits on Postgres under many claims at once, on connections of several processes. The database itself watches:
 * a trigger on what is claimed counts who runs, while the claim that starts one still holds the group's lane.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Backend, type Delivery, type Item, type Settlement, type Subscription } from "windlass/Backend"
import * as PostgresBackend from "windlass/backends/PostgresBackend"
import * as Capability from "windlass/Capability"
import { onPostgres } from "./postgres/here.ts"
import { backend, client, freshSchema, postgres } from "./postgres/server.ts"

const item = (id: string, options: Partial<Item> = {}): Item => ({
  envelope: { id, task: "T", version: 1, payload: "{}", headers: {}, origin: "user" },
  ...options
})

const succeeded: Settlement = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }

const retried = (after: number, to?: Settlement.Retry["to"]): Settlement => ({
  _tag: "Retry",
  why: "failed",
  after,
  attempt: "spent",
  place: "back",
  error: undefined,
  to
})

const ids = (deliveries: ReadonlyArray<Delivery>) => deliveries.map(({ envelope }) => envelope.id)

/** numbers below `n`, the same for the same seed */
const random = (seed: number) => {
  let state = seed * 2_654_435_761 >>> 0
  return (n: number): number => {
    state = (state * 1_664_525 + 1_013_904_223) >>> 0
    return Math.floor(state / 2 ** 32 * n)
  }
}

/** a database of its own: what the server counts in it is nobody else's */
const database = Effect.gen(function*() {
  const name = freshSchema()
  const sql = Context.get(yield* Layer.build(client()), PgClient.PgClient)
  yield* Effect.acquireRelease(
    sql.unsafe(`CREATE DATABASE ${name} TEMPLATE template0`),
    () => Effect.orDie(sql.unsafe(`DROP DATABASE ${name} WITH (FORCE)`))
  )
  const url = new URL(postgres.url)
  url.pathname = name
  const deadlocks = Effect.map(
    sql<{ deadlocks: number }>`SELECT deadlocks::int FROM pg_stat_database WHERE datname = ${name}`,
    (rows) => rows[0]!.deadlocks
  )
  return { url: Redacted.make(url.href), deadlocks }
})

/**
 * Fails a claim that starts one member more than its group allows, and notes the order in which members start: fences of one
 * group grow with the claims, and those of one claim start together.
 */
const watch = (sql: PgClient.PgClient) =>
  Effect.gen(function*() {
    yield* sql.unsafe("CREATE TABLE windlass.started (fence int8, num int8, grp text, id text)")
    yield* sql.unsafe(`CREATE FUNCTION windlass.watch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF NEW.grp IS NULL THEN RETURN NULL; END IF;
      IF (SELECT count(*) FROM windlass.active a WHERE a.queue = NEW.queue AND a.grp = NEW.grp)
        > (SELECT lim FROM windlass.lane l WHERE l.queue = NEW.queue AND l.grp = NEW.grp)
      THEN RAISE EXCEPTION 'more of group % run than may', NEW.grp; END IF;
      INSERT INTO windlass.started SELECT NEW.fence, num, NEW.grp, id FROM windlass.job WHERE num = NEW.num;
      RETURN NULL;
    END $$`)
    yield* sql.unsafe(
      "CREATE TRIGGER watch AFTER INSERT ON windlass.active FOR EACH ROW EXECUTE FUNCTION windlass.watch()"
    )
  })

onPostgres("groups with limits", () => {
  for (const seed of [1, 2, 3]) {
    it.live(
      `claims, settlements and limits that change, all at once: no more than the limit run, first starts are in order, nothing is left over, no deadlock (PROC-40; seed ${seed})`,
      () =>
        Effect.gen(function*() {
          const below = random(seed)
          const { deadlocks, url } = yield* database
          // two processes, without hints: they meet in the tables alone
          const process = Layer.fresh(
            PostgresBackend.layer({ connections: 5, notify: false }).pipe(
              Layer.provideMerge(Layer.fresh(PgClient.layer({ url })))
            )
          )
          const contexts = [yield* Layer.build(process), yield* Layer.build(process)]
          const [here] = contexts
          const sql = Context.get(here!, PgClient.PgClient)
          yield* watch(sql)

          const groups = ["a", "b", "c"]
          const perGroup = 120
          const total = groups.length * perGroup
          let ended = 0
          let clock = 0
          /** of each group: what was said last, when that was known, and whether somebody is about to say something else */
          const said = new Map<string, { limit: number; since: number; pending: boolean }>()
          /** who runs for certain: handed out, and nobody has begun to settle it */
          const held = new Map<string, { readonly group: string; readonly since: number }>()
          const attempts = new Map<string, number>()
          const published = new Map<string, Array<string>>(groups.map((group) => [group, []]))
          const wrong: Array<string> = []
          const counts = { claims: 0, refused: 0, lowered: 0, retried: 0, cancelled: 0, most: 0 }

          const producer = Effect.fnUntraced(function*(group: string) {
            const one = Context.get(contexts[below(2)]!, Backend)
            const cancel = Context.get(here!, Capability.Cancel)
            for (let n = 0; n < perGroup;) {
              const groupLimit = 1 + below(5)
              const size = Math.min(1 + below(4), perGroup - n)
              const names = Array.from({ length: size }, (_, k) => `${group}${n + k}`)
              const before = said.get(group)
              if (before !== undefined && before.limit > groupLimit) counts.lowered++
              said.set(group, { limit: groupLimit, since: clock, pending: true })
              // one in four in a transaction, before which another is rolled back
              const publish = one.publish("q", names.map((id) => item(id, { group, groupLimit })))
              if (below(4) === 0) {
                const own = Context.get(here!, PgClient.PgClient)
                const inside = Context.get(here!, Backend)
                yield* Effect.exit(own.withTransaction(
                  Effect.andThen(
                    inside.publish("q", [item(`${group}never`, { group, groupLimit: 9 })]),
                    Effect.fail("no")
                  )
                ))
                yield* own.withTransaction(inside.publish("q", names.map((id) => item(id, { group, groupLimit }))))
              } else yield* publish
              published.get(group)!.push(...names)
              said.set(group, { limit: groupLimit, since: clock, pending: false })
              n += size
              if (below(10) === 0) {
                const name = names[below(names.length)]!
                if ((yield* cancel.request(name)) === "Cancelled") {
                  counts.cancelled++
                  ended++
                }
              }
              // as many pauses as others take to work
              for (let k = below(6); k > 0; k--) yield* one.ping
            }
          })

          const worker = Effect.fnUntraced(function*(subscription: Subscription) {
            let open: ReadonlyArray<Delivery> = []
            while (ended < total) {
              const began = ++clock
              counts.claims++
              const finished: Array<readonly [Delivery, Settlement]> = open.map((delivery) => {
                const { id } = delivery.envelope
                held.delete(id)
                const again = (attempts.get(id) ?? 0) < 2 && below(5) === 0
                attempts.set(id, (attempts.get(id) ?? 0) + 1)
                if (again) counts.retried++
                return [delivery, again ? retried(below(2) * 3) : succeeded]
              })
              const [answers, next] = yield* subscription.exchange(
                finished.map(([{ receipt }, settlement]) => [receipt, settlement]),
                1 + below(4)
              )
              for (const [n, [{ envelope }, settlement]] of finished.entries()) {
                if (settlement._tag === "Complete") ended++
                // who was asked to stop is not retried
                else if (answers[n] === "Aborted") ended++
                if (answers[n] === "Lost") wrong.push(`${envelope.id} was lost`)
              }
              open = next
              const now = ++clock
              for (const { envelope, group } of next) held.set(envelope.id, { group: group!, since: now })
              if (next.length === 0) counts.refused++
              for (const group of new Set(next.map(({ group }) => group!))) {
                const all = [...held].filter(([id, one]) =>
                  one.group === group && (one.since < began || next.some(({ envelope }) => envelope.id === id))
                ).length
                counts.most = Math.max(counts.most, all)
                const last = said.get(group)!
                if (!last.pending && last.since < began && all > last.limit) {
                  wrong.push(`${all} of ${group} run after a claim that began when the limit was ${last.limit}`)
                }
              }
              if (next.length === 0) {
                yield* subscription.await(1)
              }
            }
          })

          const workers = yield* Effect.forEach([0, 1, 2, 3, 4], (n) =>
            Context.get(contexts[n % 2]!, Backend).subscribe("q", { worker: `w${n}` }))
          yield* Effect.all([...groups.map(producer), ...workers.map(worker)], { concurrency: "unbounded" })

          assert.deepStrictEqual(wrong, [])
          const started = yield* sql<{ grp: string; id: string }>`
          SELECT grp, id FROM windlass.started ORDER BY fence, num`
          for (const group of groups) {
            const firsts = new Set(
              started.filter(({ grp }) =>
                grp === group
              ).map(({ id }) =>
                id
              )
            )
            assert.deepStrictEqual(
              [...firsts],
              published.get(group)!.filter((id) => firsts.has(id)),
              `starts of ${group}`
            )
          }
          const left = yield* Context.get(here!, Capability.Inspect).counts("q")
          assert.deepStrictEqual(left, { ready: 0, scheduled: 0, active: 0, dead: 0 })
          for (const table of ["lane", "nudge", "ready", "waiting"]) {
            assert.deepStrictEqual(yield* sql`SELECT * FROM windlass.${sql(table)}`, [], table)
          }
          assert.strictEqual(yield* deadlocks, 0, "deadlocks")
          // a run that met none of this would hold nothing
          assert.isAbove(
            Math.min(counts.refused, counts.lowered, counts.retried, counts.most),
            1,
            JSON.stringify(counts)
          )
        }).pipe(Effect.scoped),
      60_000
    )
  }

  it.live("an enqueue whose transaction is rolled back says nothing about the limit, and one that stays open holds nobody up", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const one = yield* Backend
      const subscription = yield* one.subscribe("q", { worker: "w" })
      const group = "g"
      yield* one.publish("q", ["a", "b", "c", "d"].map((id) => item(id, { group, groupLimit: 2 })))
      yield* Effect.exit(sql.withTransaction(
        Effect.andThen(one.publish("q", [item("never", { group, groupLimit: 4 })]), Effect.fail("no"))
      ))
      const [a, b, ...more] = yield* subscription.take(10)
      assert.deepStrictEqual(ids([a!, b!, ...more]), ["a", "b"])
      yield* sql.withTransaction(Effect.gen(function*() {
        yield* one.publish("q", [item("e", { group, groupLimit: 4 })])
        // not yet
        assert.deepStrictEqual(yield* subscription.take(10), [])
        yield* subscription.settle([[a!.receipt, succeeded]])
        assert.deepStrictEqual(ids(yield* subscription.take(10)), ["c"])
      }))
      assert.deepStrictEqual(ids(yield* subscription.take(10)), ["d", "e"])
    }).pipe(Effect.scoped, Effect.provide(backend())))

  it.live("a job that comes in a transaction to a group whose last member ends meanwhile brings its own limit", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const one = yield* Backend
      const transactional = yield* Capability.Transactional
      const subscription = yield* one.subscribe("q", { worker: "w" })
      const to = { group: "g" }
      yield* (yield* Capability.Reroute).prepare("q", to)
      yield* one.publish("q", [item("last", { group: "g", groupLimit: 5 })])
      const [last] = yield* subscription.take(1)
      yield* one.publish("q", ["a", "b", "c"].map((id) => item(id, { group: "h", groupLimit: 3 })))
      const [a, b, c] = yield* subscription.take(3)
      yield* sql.withTransaction(Effect.gen(function*() {
        // it sees that somebody is in the group
        assert.strictEqual(yield* transactional.settle(a!.receipt, retried(0, to)), "Settled")
        yield* subscription.settle([[last!.receipt, succeeded]])
        // who looks now sees nobody, and forgets the group
        assert.deepStrictEqual(yield* subscription.take(10), [])
      }))
      for (const delivery of [b!, c!]) yield* subscription.settle([[delivery.receipt, retried(0, to)]])
      assert.deepStrictEqual(ids(yield* subscription.take(10)), ["a", "b", "c"])
    }).pipe(Effect.scoped, Effect.provide(backend())))

  it.live("more members than turns stand ready at once: all that the limit allows are handed out, claim by claim, in order", () =>
    Effect.gen(function*() {
      const one = yield* Backend
      const subscription = yield* one.subscribe("q", { worker: "w" })
      const names = Array.from({ length: 350 }, (_, n) => `${n}`)
      yield* one.publish("q", names.map((id) => item(id, { group: "g", groupLimit: 330 })))
      const taken: Array<Delivery> = []
      for (let more = yield* subscription.take(400); more.length > 0; more = yield* subscription.take(400)) {
        taken.push(...more)
      }
      assert.deepStrictEqual(ids(taken), names.slice(0, 330))
      yield* subscription.settle(taken.map(({ receipt }) => [receipt, succeeded]))
      assert.deepStrictEqual(ids(yield* subscription.take(400)), names.slice(330))
    }).pipe(Effect.scoped, Effect.provide(backend())))

  /** in another transaction, as a claim that is under way has them, until the scope ends */
  const locked = (statement: string) =>
    Effect.gen(function*() {
      const other = Context.get(yield* Layer.build(Layer.fresh(client({ maxConnections: 1 }))), PgClient.PgClient)
      const connection = yield* other.reserve
      const run = (sql: string) => connection.executeUnprepared(sql, [], undefined)
      yield* run("BEGIN")
      yield* run(statement)
      yield* Effect.addFinalizer(() => Effect.orDie(run("ROLLBACK")))
    })

  /** who inserts such a row there stops, until the scope ends */
  const stopped = (schema: string, table: string, when: string) =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql.unsafe(`CREATE FUNCTION ${schema}.stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM pg_advisory_xact_lock_shared(hashtext('${schema}')); RETURN NEW;
      END $$`)
      yield* sql.unsafe(`CREATE TRIGGER stop BEFORE INSERT ON ${schema}.${table}
        FOR EACH ROW WHEN (${when}) EXECUTE FUNCTION ${schema}.stop()`)
      yield* locked(`SELECT pg_advisory_xact_lock(hashtext('${schema}'))`)
    })

  /** until a call of that function waits for a lock */
  const waits = (schema: string, name: string) =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      for (;;) {
        const rows = yield* sql`SELECT FROM pg_stat_activity
          WHERE wait_event_type = 'Lock' AND position(${schema} IN query) > 0 AND position(${name} IN query) > 0`
        if (rows.length > 0) return
      }
    })

  it.live("a member that is cancelled while a claim moves it, for it is due: neither waits for the other", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const one = yield* Backend
      const cancel = yield* Capability.Cancel
      const subscription = yield* one.subscribe("q", { worker: "w" })
      // nobody has looked at the group, and the member is due at once
      yield* one.publish("q", [item("a", { group: "g", due: { _tag: "After", millis: 1 } })])
      const [claim, request] = yield* Effect.scoped(Effect.gen(function*() {
        yield* stopped(schema, "nudge", "NEW.lim IS NULL")
        const claim = yield* Effect.forkDetach(subscription.take(10), { startImmediately: true })
        yield* waits(schema, "exchange")
        const request = yield* Effect.forkDetach(cancel.request("a"), { startImmediately: true })
        yield* waits(schema, "cancel")
        // the claim is to come to the group's lane without a wait for who waits for the claim
        yield* sql.withTransaction(Effect.andThen(
          sql`SET LOCAL lock_timeout = '100ms'`,
          sql`INSERT INTO ${sql(schema)}.lane (queue, grp, lim) SELECT num, 'g', 0 FROM ${sql(schema)}.queue`
        ))
        return [claim, request] as const
      }))
      const taken = ids(yield* Fiber.join(claim))
      assert.deepStrictEqual(
        [yield* Fiber.join(request), taken],
        taken.length > 0 ? ["Requested", ["a"]] : ["Cancelled", []]
      )
    }).pipe(Effect.scoped, Effect.provide(backend({ schema, notify: false })))
  })

  it.live("a member that ran and was retried while its cancel was under way leaves nothing behind", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const one = yield* Backend
      const cancel = yield* Capability.Cancel
      const { counts } = yield* Capability.Inspect
      const subscription = yield* one.subscribe("q", { worker: "w" })
      yield* one.publish("q", [item("a", { group: "g" })])
      const request = yield* Effect.scoped(Effect.gen(function*() {
        yield* stopped(schema, "lane", "NEW.lim = 0")
        const request = yield* Effect.forkDetach(cancel.request("a"), { startImmediately: true })
        yield* waits(schema, "cancel")
        const [a] = yield* subscription.take(1)
        yield* subscription.settle([[a!.receipt, retried(60_000)]])
        return request
      }))
      assert.strictEqual(yield* Fiber.join(request), "Cancelled")
      assert.deepStrictEqual(yield* counts("q"), { ready: 0, scheduled: 0, active: 0, dead: 0 })
    }).pipe(Effect.scoped, Effect.provide(backend({ schema, notify: false })))
  })

  it.live("a cancel that comes too late does not bring back a group that is forgotten", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const one = yield* Backend
      const cancel = yield* Capability.Cancel
      const subscription = yield* one.subscribe("q", { worker: "w" })
      yield* one.publish("q", [item("a", { group: "g" })])
      const request = yield* Effect.scoped(Effect.gen(function*() {
        yield* stopped(schema, "lane", "NEW.lim = 0")
        const request = yield* Effect.forkDetach(cancel.request("a"), { startImmediately: true })
        yield* waits(schema, "cancel")
        const [a] = yield* subscription.take(1)
        yield* subscription.exchange([[a!.receipt, succeeded]], 1)
        return request
      }))
      assert.strictEqual(yield* Fiber.join(request), "NotFound")
      assert.deepStrictEqual(yield* sql`SELECT * FROM ${sql(schema)}.lane`, [])
    }).pipe(Effect.scoped, Effect.provide(backend({ schema, notify: false })))
  })

  it.live("a cancel in a group that nobody has looked at says nothing about its limit", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const one = yield* Backend
      const cancel = yield* Capability.Cancel
      const transactional = yield* Capability.Transactional
      const subscription = yield* one.subscribe("q", { worker: "w" })
      const to = { group: "g" }
      yield* (yield* Capability.Reroute).prepare("q", to)
      yield* one.publish("q", [item("last", { group: "g", groupLimit: 5 })])
      const [last] = yield* subscription.take(1)
      yield* one.publish("q", ["a", "b", "c"].map((id) => item(id, { group: "h", groupLimit: 3 })))
      const moving = yield* subscription.take(3)
      yield* sql.withTransaction(Effect.gen(function*() {
        // they see that somebody is in the group
        for (const { receipt } of moving) {
          assert.strictEqual(yield* transactional.settle(receipt, retried(0, to)), "Settled")
        }
        yield* subscription.settle([[last!.receipt, succeeded]])
        // who looks now sees nobody, and forgets the group
        assert.deepStrictEqual(yield* subscription.take(10), [])
      }))
      assert.strictEqual(yield* cancel.request("a"), "Cancelled")
      assert.deepStrictEqual(ids(yield* subscription.take(10)), ["b", "c"])
    }).pipe(Effect.scoped, Effect.provide(backend())))

  it.live("a turn at a priority that is new when the claim is under way is found by that claim, before those behind it", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const one = yield* Backend
      const subscription = yield* one.subscribe("q", { worker: "w" })
      yield* one.publish("q", [item("later", { group: "h", due: { _tag: "After", millis: 1 } })])
      const claim = yield* Effect.scoped(Effect.gen(function*() {
        // a claim stops where it moves what is due, before its look at the groups
        yield* stopped(schema, "nudge", "NEW.lim IS NULL")
        const claim = yield* Effect.forkDetach(subscription.take(1), { startImmediately: true })
        yield* waits(schema, "exchange")
        yield* one.publish("q", [
          item("last", { group: "g", groupLimit: 2 }),
          item("first", { group: "g", groupLimit: 2, priority: 5 })
        ])
        return claim
      }))
      assert.deepStrictEqual(ids(yield* Fiber.join(claim)), ["first"])
    }).pipe(Effect.scoped, Effect.provide(backend({ schema, notify: false })))
  })

  it.live("members of many groups that one claim starts are handed out in the order of each group", () =>
    Effect.gen(function*() {
      const one = yield* Backend
      const { counts } = yield* Capability.Inspect
      const subscription = yield* one.subscribe("q", { worker: "w" })
      const groups = Array.from({ length: 10 }, (_, n) => `g${n}`)
      const names = [2, 1, 0].flatMap((priority) => [0, 1, 2].map((n) => ({ priority, name: `${priority}.${n}` })))
      yield* one.publish(
        "q",
        groups.flatMap((group) =>
          names.map(({ name, priority }) => item(`${group}.${name}`, { group, groupLimit: 9, priority }))
        )
      )
      // turns are given, and nobody has claimed them
      yield* counts("q")
      const taken = yield* subscription.take(90)
      for (const group of groups) {
        assert.deepStrictEqual(
          ids(taken.filter((delivery) => delivery.group === group)),
          names.map(({ name }) => `${group}.${name}`)
        )
      }
    }).pipe(Effect.scoped, Effect.provide(backend())))

  it.live("who ends when nothing is left is not told so by a claim that saw only some of the groups (PROC-40)", () =>
    Effect.gen(function*() {
      const one = yield* Backend
      const subscription = yield* one.subscribe("q", { worker: "w", thorough: true })
      const due = { _tag: "After", millis: 3_600_000 } as const
      yield* one.publish("q", Array.from({ length: 1_100 }, (_, n) => item(`${n}`, { group: `h${n}`, due })))
      yield* one.publish("q", [item("a", { group: "g" })])
      assert.deepStrictEqual(ids(yield* subscription.take(10)), ["a"])
      assert.deepStrictEqual(ids(yield* subscription.take(10)), [])
    }).pipe(Effect.scoped, Effect.provide(backend())))

  it.live("who ends when nothing is left is not told so while somebody else looks at a group (PROC-40)", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const one = yield* Backend
      const { counts } = yield* Capability.Inspect
      const subscription = yield* one.subscribe("q", { worker: "w", thorough: true })
      yield* one.publish("q", [item("a", { group: "g" })])
      yield* counts("q")
      const claim = yield* Effect.scoped(Effect.gen(function*() {
        yield* locked(`SELECT FROM ${schema}.lane FOR UPDATE`)
        const claim = yield* Effect.forkDetach(subscription.take(10), { startImmediately: true })
        // it has looked once at least
        for (;;) {
          const calls = yield* sql`SELECT FROM pg_stat_activity
            WHERE state = 'idle' AND position(${schema} IN query) > 0 AND position('exchange' IN query) > 0`
          if (calls.length > 0) return claim
        }
      }))
      assert.deepStrictEqual(ids(yield* Fiber.join(claim)), ["a"])
    }).pipe(Effect.scoped, Effect.provide(backend({ schema })))
  })

  it.live("a turn that could not be taken back when the limit was lowered starts nobody above it, and is gone then", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const one = yield* Backend
      const subscription = yield* one.subscribe("q", { worker: "w" })
      const group = "g"
      yield* one.publish("q", ["a", "b", "c"].map((id) => item(id, { group, groupLimit: 3 })))
      const [a] = yield* subscription.take(1)
      yield* Effect.scoped(Effect.gen(function*() {
        yield* locked(`SELECT FROM ${schema}.ready WHERE grp = 'g' FOR UPDATE`)
        yield* one.publish("q", [item("d", { group, groupLimit: 1 })])
        assert.deepStrictEqual(yield* subscription.take(10), [])
        assert.strictEqual((yield* sql`SELECT FROM ${sql(schema)}.ready`).length, 2)
      }))
      assert.deepStrictEqual(yield* subscription.take(10), [])
      assert.strictEqual((yield* sql`SELECT FROM ${sql(schema)}.ready`).length, 0)
      yield* subscription.settle([[a!.receipt, succeeded]])
      assert.deepStrictEqual(ids(yield* subscription.take(10)), ["b"])
    }).pipe(Effect.scoped, Effect.provide(backend({ schema })))
  })

  it.live("a limit that was lowered behind more nudges than one look sees is not overstepped", () =>
    Effect.gen(function*() {
      const one = yield* Backend
      const { counts } = yield* Capability.Inspect
      const subscription = yield* one.subscribe("q", { worker: "w" })
      yield* one.publish("q", ["a", "b", "c"].map((id) => item(id, { group: "g", groupLimit: 3 })))
      yield* counts("q")
      yield* one.publish("q", Array.from({ length: 600 }, (_, n) => item(`${n}`, { group: `h${n}` })))
      yield* one.publish("q", [item("d", { group: "g", groupLimit: 1 })])
      const taken: Array<Delivery> = []
      while (taken.length < 601) {
        taken.push(...yield* subscription.take(50))
        assert.isAtMost(taken.filter(({ group }) => group === "g").length, 1)
      }
    }).pipe(Effect.scoped, Effect.provide(backend())))

  it.live("whoever claims a turn starts the first who may, at its priority, and its key is free at that start", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const one = yield* Backend
      const { counts } = yield* Capability.Inspect
      const subscription = yield* one.subscribe("q", { worker: "w" })
      const unique = { key: "k", until: "started" } as const
      const limited = { group: "g", groupLimit: 4 }
      yield* one.publish("q", [
        item("a", { ...limited, priority: 5, unique }),
        item("b", { ...limited, priority: 5 }),
        item("c", limited),
        item("d", limited)
      ])
      // turns are given, and nobody has claimed them
      yield* counts("q")
      yield* Effect.scoped(Effect.gen(function*() {
        yield* locked(`SELECT FROM ${schema}.ready WHERE rank = -5 FOR UPDATE`)
        const [a, b, ...more] = yield* subscription.take(2)
        assert.deepStrictEqual([a!, b!, ...more].map(({ envelope, priority }) => [envelope.id, priority]), [
          ["a", 5],
          ["b", 5]
        ])
        assert.deepStrictEqual(yield* one.publish("q", [item("again", { unique })]), [{ _tag: "Stored" }])
      }))
      const rest = yield* subscription.take(10)
      assert.deepStrictEqual(ids(rest.filter(({ group }) => group === "g")), ["c", "d"])
    }).pipe(Effect.scoped, Effect.provide(backend({ schema })))
  })

  it.live("a claim starts nobody of a group at which somebody else looked meanwhile: its limit may be a lower one", () => {
    const schema = freshSchema()
    return Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const one = yield* Backend
      const { counts } = yield* Capability.Inspect
      const subscription = yield* one.subscribe("q", { worker: "w" })
      yield* one.publish("q", ["a", "b"].map((id) => item(id, { group: "g", groupLimit: 2 })))
      yield* counts("q")
      // a claim stops where it gives the turn of the other group, after its look at this one
      yield* sql.unsafe(`CREATE FUNCTION ${schema}.stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM pg_advisory_xact_lock(hashtext('${schema}')); RETURN NEW;
      END $$`)
      yield* sql.unsafe(
        `CREATE TRIGGER stop BEFORE INSERT ON ${schema}.ready FOR EACH ROW EXECUTE FUNCTION ${schema}.stop()`
      )
      yield* one.publish("q", [item("c", { group: "g", groupLimit: 1 })])
      yield* one.publish("q", [item("h", { group: "h" })])
      const claim = yield* Effect.scoped(Effect.gen(function*() {
        yield* locked(`SELECT pg_advisory_xact_lock(hashtext('${schema}'))`)
        // nobody looks at the lane any more when the claim goes on
        return yield* Effect.scoped(Effect.gen(function*() {
          yield* locked(`SELECT FROM ${schema}.lane WHERE grp = 'g' FOR UPDATE`)
          const claim = yield* Effect.forkDetach(subscription.take(10), { startImmediately: true })
          for (;;) {
            const waits = yield* sql`SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
              AND objid = (hashtext(${schema})::int8 & 4294967295)::oid`
            if (waits.length > 0) return claim
          }
        }))
      }))
      assert.deepStrictEqual(ids(yield* Fiber.join(claim)), ["h"])
      assert.deepStrictEqual(ids(yield* subscription.take(10)), ["a"])
    }).pipe(Effect.scoped, Effect.provide(backend({ schema })))
  })
})
