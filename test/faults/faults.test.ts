/**
 * Real faults on real servers and real processes. Every fault is one test per engine; what it cost goes into one table.
 * How it is asked for is in `options.ts`; what there is, in `catalogue/`.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { connections } from "./catalogue/connections.ts"
import { freezes } from "./catalogue/freezes.ts"
import { kills } from "./catalogue/kills.ts"
import { loads } from "./catalogue/loads.ts"
import { clean } from "./children.ts"
import type { Fault } from "./fault.ts"
import { Chance, type Engine, options } from "./options.ts"
import * as servers from "./servers.ts"
import * as table from "./table.ts"
import { provided, World } from "./world.ts"

/** milliseconds: short, but no worker that is only slow may lose it */
const lease = 2_000

const catalogue: ReadonlyArray<Fault> = [...kills, ...freezes, ...connections, ...loads]
const order = Array.from(new Set(catalogue.map(({ name }) => name)))

const isAsked = ({ name }: Fault) => options.only.length === 0 || options.only.some((part) => name.includes(part))

/** in CI its tests fail; elsewhere it is named at the end */
const missing = process.env["CI"] ? [] : options.engines.map(servers.missing).filter((what) => what !== undefined)

const asked = catalogue.filter(isAsked).flatMap((fault) =>
  fault.engines.filter((engine) =>
    options.engines.includes(engine) && (process.env["CI"] !== undefined || servers.missing(engine) === undefined)
  )
    .map((engine) => ({ fault, engine }))
)

if (!catalogue.some(isAsked)) {
  throw new Error(`FAULTS_ONLY is ${options.only.join()}: no fault has such a name. There are:\n${order.join("\n")}`)
}

// ------------------------------------------------------------------------------------------------------------ servers

const suite = Scope.makeUnsafe()

const memo = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>): () => Promise<A> => {
  let made: Promise<A> | undefined
  return () => made ??= Effect.runPromise(Scope.provide(effect, suite))
}

/** one server for faults that keep to their own place, and one for those that do not: these go one at a time */
const started = {
  postgres: { quiet: memo(servers.postgres), rough: memo(servers.postgres), turn: Semaphore.makeUnsafe(1) },
  redis: { quiet: memo(servers.redis), rough: memo(servers.redis), turn: Semaphore.makeUnsafe(1) }
}

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "windlass-faults-sqlite-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

let places = 0

const world = (fault: Fault, engine: Engine) =>
  Effect.gen(function*() {
    const chance = new Chance(options.seed, `${fault.name} ${engine}`)
    const own = { engine, name: `faults_${++places}`, lease: fault.lease ?? lease, keep: chance.coin }
    if (engine === "memory") return new World({ ...own, url: "" }, chance, undefined)
    if (engine === "sqlite") return new World({ ...own, url: join(yield* folder, "queue.db") }, chance, undefined)
    const server = yield* Effect.promise(() => started[engine][fault.rough === true ? "rough" : "quiet"]())
    return new World({ ...own, url: server.url }, chance, server)
  })

/** faults run side by side, as far as the machine carries them; each for so many milliseconds at most */
const machine = Semaphore.makeUnsafe(8)
const atMost = options.long ? 900_000 : 120_000

const inTurn = <A, E, R>(fault: Fault, engine: Engine, effect: Effect.Effect<A, E, R>) => {
  const turn = fault.rough === true && (engine === "postgres" || engine === "redis") ? started[engine].turn : undefined
  const here = Semaphore.withPermits(machine, fault.weight ?? 1)(Effect.timeout(effect, atMost))
  return turn === undefined ? here : Semaphore.withPermits(turn, 1)(here)
}

// -------------------------------------------------------------------------------------------------------------- tests

const rows: Array<table.Row> = []
let passed = 0

const integrity = (filename: string) => {
  const database = new DatabaseSync(filename)
  try {
    return database.prepare("PRAGMA integrity_check").all().map((row) => row["integrity_check"])
  } finally {
    database.close()
  }
}

const costs = (fault: Fault, engine: Engine) =>
  Effect.gen(function*() {
    const here = yield* world(fault, engine)
    const { found, lost } = yield* provided(
      here,
      Effect.gen(function*() {
        // with its scope its workers are gone, and everything that they said was heard
        const found = yield* Effect.scoped(fault.run(here))
        return { found, lost: yield* here.lost }
      })
    )
    const { duplicates, settledTwice } = here.ledger
    const { again } = here
    const { recovery } = found
    // what the fault does not explain, as far as the machine does
    const starved = Math.max(0, Math.min(here.starved, duplicates - found.allowed))
    const allowed = found.allowed + starved
    const jobs = here.ids.length
    rows.push({
      fault: fault.name,
      engine,
      jobs,
      lost: lost.length,
      duplicates,
      allowed,
      again: again.count,
      why: starved === 0 ? fault.why : `${fault.why}; ${starved} whose lease ended on a machine too busy for it`,
      recovery
    })
    assert.deepStrictEqual(lost, [], "jobs that were enqueued and have not succeeded")
    assert.deepStrictEqual(settledTwice, [], "jobs whose success was settled twice")
    assert.deepStrictEqual(again.wrong, [], "ids that ran anew, and no publish of an unknown outcome explains it")
    if (found.again !== undefined) {
      assert.strictEqual(again.count, found.again, "jobs that were published again and ran anew")
    }
    assert.isAtMost(duplicates, allowed, "entries into handlers beyond the first")
    if (engine === "sqlite") assert.deepStrictEqual(integrity(here.place.url), ["ok"])
    passed++
    // what workers and backends log of faults that are wanted says nothing to anybody
  }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None"))

/** all are started with the first test; each test waits for its own */
const running = memo(
  Effect.forEach(asked, ({ engine, fault }) => Effect.forkScoped(inTurn(fault, engine, costs(fault, engine))))
)

describe(`faults, seed ${options.seed}`, () => {
  asked.forEach(({ engine, fault }, i) => {
    it.live(
      `${fault.name} (${engine})`,
      () => Effect.flatMap(Effect.promise(running), (fibers) => Fiber.join(fibers[i]!)),
      atMost * 10
    )
  })
})

afterAll(async () => {
  await Effect.runPromise(Scope.close(suite, Exit.void))
  clean()
  const unrun = missing.map((what) => `not run: ${what}\n`).join("")
  process.stdout.write(`\n${table.text(rows, order)}\n\n${unrun}again: ${table.command()}\n`)
  if (!options.write) return
  const all = catalogue.flatMap((fault) => fault.engines).length
  if (passed < all) throw new Error(`${passed} of ${all} rows are as they should be: the table is not written`)
  table.write(rows, order, lease)
}, 60_000)
