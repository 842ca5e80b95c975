/** What wears an engine out, or is too much for it. */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { DatabaseSync } from "node:sqlite"
import { Backend, BackendError } from "windlass/Backend"
import { concurrency, durable, type Fault } from "../fault.ts"
import { engines, options } from "../options.ts"
import type { Place } from "../places.ts"
import type { Point } from "../work.ts"
import { jobs, type World } from "../world.ts"

class Unexpected extends Data.TaggedError("Unexpected")<{ readonly message: string }> {}

const nothing = { allowed: 0, recovery: undefined }

// --------------------------------------------------------------------------------------------------- an old transaction

/** a transaction that has read, and stays open until the scope ends */
const pin = (place: Place): Effect.Effect<void, unknown, Scope.Scope> =>
  place.engine === "sqlite"
    ? Effect.asVoid(Effect.acquireRelease(
      Effect.sync(() => {
        const database = new DatabaseSync(place.url, { readOnly: true })
        database.exec("BEGIN; SELECT count(*) FROM job")
        return database
      }),
      (database) => Effect.sync(() => database.close())
    ))
    : Effect.gen(function*() {
      const context = yield* Layer.build(PgClient.layer({ url: Redacted.make(place.url), maxConnections: 1 }))
      const connection = yield* Context.get(context, PgClient.PgClient).reserve
      yield* connection.executeUnprepared("BEGIN ISOLATION LEVEL REPEATABLE READ", [], undefined)
      yield* connection.executeUnprepared("SELECT pg_current_xact_id()::text", [], undefined)
    })

const pinned: Fault = {
  name: options.long ? "an old transaction pinned for two minutes" : "an old transaction pinned for three seconds",
  engines: ["sqlite", "postgres"],
  why: "none",
  run: Effect.fnUntraced(function*(world) {
    yield* world.publish(10)
    yield* pin(world.place)
    yield* world.child({ worker: "child", concurrency })
    yield* world.survivor()
    // every job makes rows that cannot be cleaned away while the transaction is open
    const until = performance.now() + (options.long ? 120_000 : 3_000)
    while (performance.now() < until) {
      yield* world.publish(50, { takes: 10 })
      yield* world.allDone(world.ids)
    }
    yield* world.drained
    return nothing
  })
}

// ---------------------------------------------------------------------------------------------------------------- sizes

const sizes: Fault = {
  name: "a payload at the limit, and one byte over it",
  engines,
  why: "none",
  run: Effect.fnUntraced(function*(world) {
    const backend = yield* Backend
    const payload = (bytes: number) => {
      const empty = JSON.stringify({ fails: false, takes: 0, text: "" })
      // two bytes each in UTF-8, one code unit each in a string
      const room = bytes - empty.length
      return JSON.stringify({ fails: false, takes: 0, text: "ü".repeat(room >> 1) + "x".repeat(room % 2) })
    }
    const publish = (id: string, bytes: number) =>
      backend.publish("default", [{
        envelope: { id, task: "Work", version: 1, payload: payload(bytes), headers: {}, origin: "user" }
      }])
    const limit = backend.limits.payloadBytes
    world.ids.push("largest")
    yield* publish("largest", limit)
    const refused = yield* Effect.flip(publish("too large", limit + 1))
    if (!(refused instanceof BackendError) || refused.retryable || refused.outcome !== "NotApplied") {
      return yield* new Unexpected({ message: `a payload of one byte too many was answered ${String(refused)}` })
    }
    yield* world.survivor()
    yield* world.drained
    if (world.ledger.isDone("too large")) return yield* new Unexpected({ message: "what was refused ran" })
    return nothing
  })
}

// -------------------------------------------------------------------------------------------------------- slow consumers

const slow: Fault = {
  name: "1,000 slow consumers: all hold a job for longer than the lease",
  engines,
  lease: 4_000,
  weight: 4,
  why: "none: every lease is renewed",
  run: Effect.fnUntraced(function*(world) {
    const takes = 1.25 * world.place.lease
    const many = { worker: "slow", workers: 10, concurrency: 100 }
    yield* world.publish(jobs(1_000), { takes }, 500)
    if (world.place.engine === "memory") yield* world.survivor(many)
    else yield* world.child(many)
    yield* world.drained
    return nothing
  })
}

// ---------------------------------------------------------------------------------------------------------- over and over

const anyPoint = (world: World): { readonly point: Point; readonly nth: number } => {
  const points = ["claimed", "before", "handler", "after", "settle"] as const
  const point = points[world.chance.between(0, points.length - 1)]!
  const isBatch = point === "claimed" || point === "settle"
  return { point, nth: world.chance.between(1, isBatch ? 2 : 12) }
}

/** as long as the victim has not come to its point there is something to do */
const feed = (world: World) =>
  Effect.forever(Effect.andThen(world.publish(40, { takes: 25 }), Effect.suspend(() => world.allDone(world.ids))))

const over: Fault = {
  name: "two workers work while a third is killed over and over",
  engines: durable,
  lease: 3_000,
  weight: 2,
  why: "what each of the killed had begun and not settled",
  run: Effect.fnUntraced(function*(world) {
    const { ledger } = world
    yield* world.child({ worker: "second", concurrency: 4 })
    yield* world.survivor({ concurrency: 4 })
    let allowed = 0
    let recovery = 0
    for (let round = 1; round <= (options.long ? 20 : 3); round++) {
      const worker = `victim ${round}`
      const victim = yield* world.child({ worker, concurrency, stop: anyPoint(world) })
      yield* Effect.raceFirst(victim.atPoint, feed(world))
      const from = performance.now()
      yield* victim.kill
      const held = ledger.held(worker)
      allowed += ledger.enteredOf(held)
      yield* world.allDone(world.ids)
      recovery = Math.max(recovery, ledger.recovery(from, held))
    }
    yield* world.drained
    return { allowed, recovery }
  })
}

// ------------------------------------------------------------------------------------------------------- many processes

const many: Fault = {
  name: "no fault: 10,000 jobs through four processes",
  engines: durable,
  weight: 4,
  why: "none",
  run: Effect.fnUntraced(function*(world) {
    for (const worker of ["one", "two", "three", "four"]) yield* world.child({ worker, concurrency })
    yield* world.publish(jobs(10_000), {}, 500)
    yield* world.drained
    return nothing
  })
}

export const loads: ReadonlyArray<Fault> = [over, pinned, sizes, slow, many]
