/**
 * The SQLite backend among processes: wake-ups, leadership, waiting for the lock, and `kill -9` at any moment.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { Backend, type BackendError, type Settlement } from "windlass/Backend"
import * as SqliteBackend from "windlass/backends/SqliteBackend"
import * as Capability from "windlass/Capability"
import { type Child, folder, start } from "./sqlite/process.ts"

const item = (id: string) => ({
  envelope: { id, task: "T", version: 1, payload: "{}", headers: {}, origin: "user" as const }
})
const succeeded: Settlement = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }

const integrity = (filename: string) => {
  const database = new DatabaseSync(filename)
  try {
    return database.prepare("PRAGMA integrity_check").all().map((row) => row["integrity_check"])
  } finally {
    database.close()
  }
}

/** no row of a place without its job, and no live job without exactly one place */
const strays = (filename: string) => {
  const database = new DatabaseSync(filename)
  try {
    return database.prepare(`
      SELECT j.id, (SELECT count(*) FROM ready r WHERE r.queue = j.queue AND r.rank = j.rank AND r.pos = j.pos AND r.num = j.num)
        + (SELECT count(*) FROM scheduled s WHERE s.num = j.num)
        + (SELECT count(*) FROM active a WHERE a.num = j.num)
        + (SELECT count(*) FROM ended e WHERE e.num = j.num) AS places
      FROM job j WHERE j.grp IS NULL AND places <> 1
      UNION ALL SELECT 'ready ' || num, 0 FROM ready WHERE num NOT IN (SELECT num FROM job)
      UNION ALL SELECT 'active ' || num, 0 FROM active WHERE num NOT IN (SELECT num FROM job)
      UNION ALL SELECT 'ended ' || num, 0 FROM ended WHERE num NOT IN (SELECT num FROM job)
      UNION ALL SELECT 'history ' || num, 0 FROM history WHERE num NOT IN (SELECT num FROM job)
    `).all()
  } finally {
    database.close()
  }
}

const wordsOf = (children: ReadonlyArray<Child>, start: string) =>
  children.flatMap(({ lines }) => lines)
    .filter((line) => line.startsWith(`${start} `))
    .flatMap((line) => line.split(" ").slice(1))

const countOf = (words: ReadonlyArray<string>) => {
  const counts = new Map<string, number>()
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1)
  return counts
}

/** runs what is left in this process, until nothing is */
const drain = Effect.gen(function*() {
  const backend = yield* Backend
  const inspect = yield* Capability.Inspect
  const subscription = yield* backend.subscribe("q", { worker: "last" })
  const ran: Array<string> = []
  for (;;) {
    const { active, ready, scheduled } = yield* inspect.counts("q")
    if (active + ready + scheduled === 0) return ran
    yield* subscription.await(100)
    const deliveries = yield* subscription.take(100)
    ran.push(...deliveries.map(({ envelope }) => envelope.id))
    const answers = yield* subscription.settle(deliveries.map(({ receipt }) => [receipt, succeeded]))
    assert.isTrue(answers.every((answer) => answer === "Settled"))
  }
}).pipe(Effect.scoped)

describe("SQLite among processes", () => {
  for (const keep of [true, false]) {
    it.live(
      `RT-14 kill -9 at random moments loses nothing (successes ${keep ? "kept" : "forgotten"})`,
      () =>
        Effect.gen(function*() {
          const filename = join(yield* folder, "queue.db")
          const env: Record<string, string> = keep ? { LEASE: "400", KEEP: "1" } : { LEASE: "400" }
          const workers: Array<Child> = []
          const publishers: Array<Child> = []
          const work = Effect.tap(
            start("work", [filename, `w${workers.length}`], env),
            (child) => Effect.sync(() => workers.push(child))
          )
          const publish = Effect.tap(
            Effect.suspend(() => start("publish", [filename, `p${publishers.length}`, "400", "8"], env)),
            (child) => Effect.sync(() => publishers.push(child))
          )
          let publisher = yield* publish
          const running = [yield* work, yield* work]
          let kills = 0
          for (let round = 0; round < 8; round++) {
            const lines = 1 + Math.floor(Math.random() * 12)
            const at = round % running.length
            const child = running[at]!
            yield* child.line("run", lines).pipe(
              // the others may have done all the work before
              Effect.raceFirst(Effect.promise(() => publisher.ended))
            )
            yield* child.kill
            kills++
            running[at] = yield* work
            if (round % 2 === 0) {
              yield* publisher.line("stored", 1 + Math.floor(Math.random() * 20))
              yield* publisher.kill
              publisher = yield* publish
            }
          }
          yield* publisher.line("end")
          for (const child of running) yield* child.kill

          assert.deepStrictEqual(integrity(filename), ["ok"])
          const last = yield* drain.pipe(
            Effect.provide(SqliteBackend.layer({
              filename,
              lease: 400,
              ...(keep ? { retention: { successes: "1 hour" as const } } : {})
            }))
          )
          const stored = wordsOf(publishers, "stored")
          const runs = countOf([...wordsOf(workers, "run"), ...last])
          assert.isAbove(stored.length, 400)
          assert.deepStrictEqual(stored.filter((id) => !runs.has(id)), [], "stored and never run")
          assert.deepStrictEqual(integrity(filename), ["ok"])
          assert.deepStrictEqual(strays(filename), [])

          const database = new DatabaseSync(filename)
          const rows = database.prepare(
            `SELECT j.id, e.state, (SELECT count(*) FROM history h WHERE h.num = j.num AND h.event IN ('lost', 'failed')) AS again
           FROM job j LEFT JOIN ended e ON e.num = j.num`
          ).all() as unknown as ReadonlyArray<{ id: string; state: string | null; again: number }>
          database.close()
          if (keep) {
            const byId = new Map(rows.map((row) => [row.id, row]))
            assert.deepStrictEqual(stored.filter((id) => byId.get(id)?.state !== "succeeded"), [], "stored, not done")
            // a job runs again only when it was lost or retried: what was claimed by a killed process before it could say
            // so makes fewer runs than that, never more
            assert.deepStrictEqual(
              rows.filter(({ again, id }) => (runs.get(id) ?? 0) > again + 1).map(({ id }) => id),
              [],
              "run more often than handed out again"
            )
            process.stdout.write(
              `kill -9: ${kills} workers, ${publishers.length - 1} publishers; ${stored.length} stored, ` +
                `${rows.filter(({ again }) => again > 0).length} redelivered\n`
            )
          } else {
            assert.deepStrictEqual(rows, [], "all done, all forgotten")
          }
          // nobody was told "Lost": each lease was longer than a settlement took
          assert.isFalse(workers.some((worker) => worker.lines.some((line) => /^answer .*Unknown/.test(line))))
        }).pipe(Effect.scoped),
      60_000
    )
  }

  it.live("a job that another process publishes wakes an idle worker", () =>
    Effect.gen(function*() {
      const filename = join(yield* folder, "queue.db")
      const child = yield* start("await", [filename])
      yield* child.line("waiting")
      yield* Effect.gen(function*() {
        const backend = yield* Backend
        yield* backend.publish("q", [item("a")])
        assert.strictEqual(yield* child.line("found"), "found a")
      }).pipe(Effect.provide(SqliteBackend.layer({ filename })))
    }).pipe(Effect.scoped))

  it.live("PROC-25 an abort that another process requests reaches the worker that runs the job", () =>
    Effect.gen(function*() {
      const filename = join(yield* folder, "queue.db")
      yield* Effect.gen(function*() {
        const backend = yield* Backend
        const subscription = yield* backend.subscribe("q", { worker: "here" })
        yield* backend.publish("q", [item("a")])
        const [delivery] = yield* subscription.take(1)
        const hint = yield* Effect.forkChild(Stream.runHead(subscription.aborts!))
        // the same file through a second layer of another connection counts as another process does
        yield* Effect.sync(() => {
          const database = new DatabaseSync(filename)
          database.exec("UPDATE job SET abort = 1 WHERE id = 'a'")
          database.close()
        })
        assert.deepStrictEqual(yield* Fiber.join(hint), Option.some("a"))
        assert.strictEqual(subscription.lease._tag, "Timed")
        if (subscription.lease._tag === "Timed") {
          assert.deepStrictEqual(yield* subscription.lease.extend([delivery!.receipt]), ["Abort"])
        }
      }).pipe(Effect.scoped, Effect.provide(SqliteBackend.layer({ filename })))
    }).pipe(Effect.scoped))

  it.live("one leader among processes: the next one follows when it gives up, and when it is killed", () =>
    Effect.gen(function*() {
      const filename = join(yield* folder, "queue.db")
      const env = { LEASE: "2000" }
      const first = yield* start("lead", [filename, "cron"], env)
      assert.strictEqual(yield* first.line("leads"), "leads 1")
      const second = yield* start("lead", [filename, "cron"], env)
      const third = yield* start("lead", [filename, "cron"], env)
      yield* second.line("asking")
      yield* third.line("asking")
      yield* first.order
      const [next, after] = yield* Effect.raceFirst(
        Effect.as(second.line("leads"), [second, third] as const),
        Effect.as(third.line("leads"), [third, second] as const)
      )
      assert.include(next.lines, "leads 2")
      assert.isFalse(after.lines.some((line) => line.startsWith("leads")))
      yield* next.kill
      assert.strictEqual(yield* after.line("leads"), "leads 3")
    }).pipe(Effect.scoped))

  it.live("many processes may open a new file at the same moment", () =>
    Effect.gen(function*() {
      const filename = join(yield* folder, "queue.db")
      const children = yield* Effect.all(Array.from({ length: 6 }, () => start("open", [filename])))
      for (const child of children) yield* child.line("ready")
      for (const child of children) yield* child.order
      for (const child of children) yield* child.line("opened")
      assert.deepStrictEqual(integrity(filename), ["ok"])
    }).pipe(Effect.scoped))

  it.live("seven processes write at once: everything is stored once, and the event loop goes on", () =>
    Effect.gen(function*() {
      const filename = join(yield* folder, "queue.db")
      const children = yield* Effect.all(
        Array.from({ length: 6 }, (_, i) => start("publish", [filename, `p${i}`, "300", "1"]))
      )
      yield* Effect.gen(function*() {
        const backend = yield* Backend
        for (const child of children) yield* child.line("stored")
        let worst = 0
        for (let i = 0; i < 100; i++) {
          const started = performance.now()
          yield* Effect.sleep(1)
          worst = Math.max(worst, performance.now() - started - 1)
          yield* backend.publish("q", [item(`here-${i}`)])
        }
        assert.isBelow(worst, 1_000, "milliseconds that the event loop stood still")
        for (const child of children) yield* child.line("end")
        assert.strictEqual((yield* (yield* Capability.Inspect).counts("q")).ready, 6 * 300 + 100)
      }).pipe(Effect.provide(SqliteBackend.layer({ filename })))
      assert.deepStrictEqual(integrity(filename), ["ok"])
      assert.deepStrictEqual(strays(filename), [])
    }).pipe(Effect.scoped))

  it.live("while another process holds the write lock, a call waits and the event loop goes on", () =>
    Effect.gen(function*() {
      const filename = join(yield* folder, "queue.db")
      yield* Effect.gen(function*() {
        const backend = yield* Backend
        yield* backend.declare("q")
        const child = yield* start("lock", [filename])
        yield* child.line("locked")
        const publishing = yield* Effect.forkChild(backend.publish("q", [item("a")]), { startImmediately: true })
        // a hundred turns of the loop while the call waits; the worst of them is what the call costs the others
        let worst = 0
        let last = performance.now()
        for (let turn = 0; turn < 100; turn++) {
          yield* Effect.sleep(5)
          worst = Math.max(worst, performance.now() - last - 5)
          last = performance.now()
        }
        assert.isUndefined(publishing.pollUnsafe(), "it waits still")
        assert.isBelow(worst, 1_000, "milliseconds that the event loop stood still")
        yield* child.order
        assert.deepStrictEqual(yield* Fiber.join(publishing), [{ _tag: "Stored" }])
      }).pipe(Effect.provide(SqliteBackend.layer({ filename })))
    }).pipe(Effect.scoped))

  it.live("a lock that is held for too long is a retryable error that says what to do", () =>
    Effect.gen(function*() {
      const filename = join(yield* folder, "queue.db")
      yield* Effect.gen(function*() {
        const backend = yield* Backend
        yield* backend.declare("q")
        const child = yield* start("lock", [filename])
        yield* child.line("locked")
        const error: BackendError = yield* Effect.flip(backend.publish("q", [item("a")]))
        assert.isTrue(error.retryable)
        assert.strictEqual(error.outcome, "NotApplied")
        assert.include(error.message, "lockTimeout")
        // who only looks is not held up
        assert.deepStrictEqual(yield* (yield* Capability.Inspect).counts("q"), {
          ready: 0,
          scheduled: 0,
          active: 0,
          dead: 0
        })
        yield* child.order
        yield* child.line("unlocked")
        assert.deepStrictEqual(yield* backend.publish("q", [item("a")]), [{ _tag: "Stored" }])
      }).pipe(Effect.provide(SqliteBackend.layer({ filename, lockTimeout: 200 })))
    }).pipe(Effect.scoped))

  it.live("L16 a worker that was stopped for longer than its lease is told Lost when it goes on", () =>
    Effect.gen(function*() {
      const filename = join(yield* folder, "queue.db")
      const layer = SqliteBackend.layer({ filename, lease: 100 })
      const take = Effect.gen(function*() {
        const subscription = yield* (yield* Backend).subscribe("q", { worker: "w" })
        yield* subscription.await(1)
        const [delivery] = yield* subscription.take(1)
        return { subscription, delivery: delivery! }
      })
      yield* Effect.gen(function*() {
        yield* (yield* Backend).publish("q", [item("a")])
        const first = yield* take
        const second = yield* Effect.provide(take, layer, { local: true })
        assert.strictEqual(second.delivery.unsettled, 1)
        assert.strictEqual(second.delivery.lostFrom?.worker, "w")
        assert.notDeepEqual(second.delivery.receipt.fence, first.delivery.receipt.fence)
        assert.deepStrictEqual(yield* first.subscription.settle([[first.delivery.receipt, succeeded]]), ["Lost"])
        // settled through the first layer: the receipt is all that it needs
        assert.deepStrictEqual(yield* first.subscription.settle([[second.delivery.receipt, succeeded]]), ["Settled"])
      }).pipe(Effect.scoped, Effect.provide(layer))
    }).pipe(Effect.scoped))
})
