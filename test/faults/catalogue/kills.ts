/** `kill -9` of a worker at each crash point. Another worker does what is left. */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { concurrency, durable, type Fault, networked } from "../fault.ts"
import { options } from "../options.ts"
import { before, type Cut } from "../proxy.ts"
import type { Point } from "../work.ts"
import { jobs, type World } from "../world.ts"

const count = 40

/** at the nth job, or at the nth batch of jobs */
const stopAt = (world: World, point: Point) => {
  const isBatch = point === "claimed" || point === "settle" || point === "requeue"
  return { point, nth: options.nth ?? world.chance.between(1, isBatch ? 3 : 20) }
}

const publish = (world: World, point: Point) => world.publish(jobs(count), { fails: point === "requeue" })

/** what the killed worker had begun and not settled is begun once more, and no other job */
const afterKill = Effect.fnUntraced(function*(world: World, from: number) {
  const held = world.ledger.held()
  const allowed = world.repeatedAtMost(world.ledger.enteredOf(held))
  yield* world.survivor()
  yield* world.drained
  return { allowed, recovery: world.ledger.recovery(from, held) }
})

const at = (point: Point, name: string, why: string): Fault => ({
  name: `kill -9 ${name}`,
  engines: durable,
  why,
  run: Effect.fnUntraced(function*(world) {
    yield* publish(world, point)
    const victim = yield* world.child({ worker: "victim", concurrency, stop: stopAt(world, point) })
    yield* world.comes(victim.atPoint)
    const from = performance.now()
    yield* victim.kill
    return yield* afterKill(world, from)
  })
})

const begun = "what was begun and not settled"

/** SQLite is in the process: it is killed between two statements of the transaction, or before its commit */
const inTransaction = (point: "settle" | "requeue", name: string): Fault => ({
  name: `kill -9 ${name}`,
  engines: ["sqlite"],
  why: `${begun}: the transaction is undone`,
  run: Effect.fnUntraced(function*(world) {
    yield* publish(world, point)
    const victim = yield* world.child({
      worker: "victim",
      concurrency,
      stop: { ...stopAt(world, point), nth: world.chance.between(1, 2) },
      statement: options.nth ?? world.chance.between(1, 30)
    })
    yield* world.comes(victim.line(/^inside /))
    const from = performance.now()
    yield* victim.kill
    return yield* afterKill(world, from)
  })
})

/** the request or its answer is held back by a proxy while the worker is killed */
const inTransit = (point: "settle" | "requeue", cut: Cut, name: string, why: string): Fault => ({
  name: `kill -9 ${name}`,
  engines: networked,
  why,
  run: Effect.fnUntraced(function*(world) {
    yield* publish(world, point)
    const { proxy, url } = yield* before(world.place.url)
    const victim = yield* world.child({
      worker: "victim",
      concurrency,
      stop: { ...stopAt(world, point), nth: world.chance.between(1, 2) },
      url
    })
    yield* world.comes(victim.atPoint)
    const hit = yield* proxy.cut(cut)
    yield* victim.order("go")
    yield* hit
    const from = performance.now()
    yield* victim.kill
    return yield* afterKill(world, from)
  })
})

/** the server has done a part of the batch and waits for a row that somebody else has locked */
const inStatement = (point: "settle" | "requeue", name: string): Fault => ({
  name: `kill -9 ${name}, by then half done in the server`,
  engines: ["postgres"],
  why: `${begun}, if the server undoes it; none if it goes on`,
  run: Effect.fnUntraced(function*(world) {
    const { chance, place } = world
    yield* publish(world, point)
    const victim = yield* world.child({ worker: "victim", concurrency, stop: { ...stopAt(world, point), nth: 1 } })
    yield* world.comes(victim.atPoint)
    const from = yield* Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const goesOn = chance.coin
      return yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`SELECT num FROM ${sql(place.name)}.active ORDER BY num DESC LIMIT 1 FOR UPDATE`
        yield* sql`SELECT fence FROM ${sql(place.name)}.claim ORDER BY fence DESC LIMIT 1 FOR UPDATE`
        yield* victim.order("go")
        const blocked = sql<{ readonly pid: number }>`
          SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pg_backend_pid() = ANY (pg_blocking_pids(pid))`
        let found = yield* blocked
        while (found.length === 0) found = yield* blocked
        const from = performance.now()
        yield* victim.kill
        if (!goesOn) yield* sql`SELECT pg_terminate_backend(${found[0]!.pid})`
        return from
      }))
    }).pipe(Effect.provide(PgClient.layer({ url: Redacted.make(place.url), maxConnections: 1 })))
    return yield* afterKill(world, from)
  })
})

const middle = { settle: "in the middle of a settlement batch", requeue: "in the middle of a re-enqueue" } as const

const points = ["settle", "requeue"] as const

export const kills: ReadonlyArray<Fault> = [
  at("claimed", "after the claim", "none of the claim: nothing was begun"),
  at("before", "in `before`", begun),
  at("handler", "in the handler", begun),
  at("after", "in `after`", begun),
  at("settle", "after the handlers, before their settlement", begun),
  at("requeue", "after failed handlers, before their re-enqueue", begun),
  ...points.map((point) => inTransaction(point, middle[point])),
  ...points.map((point) => inTransit(point, "half", `${middle[point]}`, `${begun}: half a request is none`)),
  ...points.map((point) => inStatement(point, middle[point])),
  inTransit(
    "settle",
    "unanswered",
    "between a settlement and its answer",
    "none: it is settled; what was begun if it was a heartbeat's answer that was held back"
  )
]
