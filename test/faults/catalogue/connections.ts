/** The server, or the way to it, fails under workers that live on. */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Backend } from "windlass/Backend"
import { concurrency, type Fault, networked } from "../fault.ts"
import { type Engine, options } from "../options.ts"
import { layerOf } from "../places.ts"
import { before } from "../proxy.ts"
import { flushScripts } from "../servers.ts"
import { jobs } from "../world.ts"

class Answered extends Data.TaggedError("Answered")<{ readonly message: string }> {}

/** the worker's connections are cut as it settles; there is no other worker */
const cut = (when: "before" | "after", name: string, why: string): Fault => ({
  name: `connection cut ${name}`,
  engines: networked,
  why,
  run: Effect.fnUntraced(function*(world) {
    yield* world.publish(jobs(40))
    const { proxy, url } = yield* before(world.place.url)
    const worker = yield* world.child({
      worker: "cut off",
      concurrency,
      stop: { point: "settle", nth: options.nth ?? world.chance.between(1, 2) },
      url
    })
    yield* world.comes(worker.atPoint)
    const hit = yield* proxy.cut(when)
    yield* worker.order("go")
    yield* hit
    const from = performance.now()
    const held = world.ledger.held()
    yield* world.drained
    return { allowed: 0, recovery: world.ledger.recovery(from, held) }
  })
})

/** nothing goes through for longer than the lease, and nobody is told; then it does again */
const blackHole: Fault = {
  name: "black hole past the lease, then the way is free again",
  engines: networked,
  why: "what it held: others began it after the lease",
  run: Effect.fnUntraced(function*(world) {
    const { ledger } = world
    yield* world.publish(jobs(40), { takes: 20 })
    const { proxy, url } = yield* before(world.place.url)
    const worker = yield* world.child({ worker: "cut off", concurrency, url })
    yield* world.done(world.chance.between(1, 16))
    yield* proxy.blackHole
    const from = performance.now()
    const held = ledger.held()
    yield* Effect.scoped(Effect.gen(function*() {
      yield* world.survivor()
      yield* world.drained
    }))
    const recovery = ledger.recovery(from, held)
    yield* proxy.heal
    // it works again, and alone
    yield* world.publish(10)
    yield* worker.line(/^claimed /, worker.lines.filter((line) => line.startsWith("claimed ")).length + 1)
    yield* world.drained
    return { allowed: concurrency + held.size, recovery }
  })
}

/**
 * The server stores a batch, and its producer never hears of it. It sends the batch again when the jobs have run and are
 * forgotten. An engine knows an id for as long as it has the job, so they run anew; unless the jobs hold a unique key for
 * a while, which outlives them.
 */
const unheard = (name: string, window: number | undefined, why: string): Fault => ({
  name: `a publish whose answer is lost, sent again after its jobs have ended${name}`,
  engines: networked,
  why,
  run: Effect.fnUntraced(function*(world) {
    const { proxy, url } = yield* before(world.place.url)
    const far = Context.get(yield* Layer.build(layerOf({ ...world.place, url })), Backend)
    // the first one makes the queue, in a call of its own
    yield* world.send(far, world.jobs(1))
    const items = world.jobs(20).map((item) => ({
      ...item,
      unique: window === undefined ? undefined : { key: item.envelope.id, until: { millis: window } }
    }))
    const hit = yield* proxy.cut("unanswered")
    const from = performance.now()
    const failure = yield* Effect.flip(world.send(far, items))
    yield* hit
    // or the client waits for the answer when it is to close
    yield* proxy.sever
    if (failure.outcome !== "Unknown" || !failure.retryable) {
      return yield* new Answered({ message: `a publish without an answer failed as ${failure.outcome}` })
    }
    yield* world.survivor()
    yield* world.allDone(world.ids)
    yield* world.drained
    const recovery = world.ledger.recovery(from, new Set(world.ids))
    const answers = (yield* world.send(yield* Backend, items)).map(({ _tag }) => _tag)
    const expected = window === undefined ? "Stored" : "Duplicate"
    if (answers.some((answer) => answer !== expected)) {
      return yield* new Answered({ message: `it was answered ${answers.join()}, and not ${expected}` })
    }
    yield* world.drained
    return { allowed: 0, again: window === undefined ? items.length : 0, recovery }
  })
})

const restart = (name: string, engines: ReadonlyArray<Engine>, signal: NodeJS.Signals): Fault => ({
  name,
  engines,
  rough: true,
  why: "what was held when it went down, if its lease ended before its settlement went through",
  run: Effect.fnUntraced(function*(world) {
    const { ledger, server } = world
    if (server === undefined) return yield* Effect.die(new Error("there is no server to stop"))
    yield* world.publish(jobs(60), { takes: 10 })
    yield* world.child({ worker: "child", concurrency })
    yield* world.survivor()
    yield* world.done(world.chance.between(1, 30))
    yield* Effect.promise(() => server.stop(signal))
    const from = performance.now()
    const held = ledger.held()
    // enqueued while there is no server: tried again with the same ids until it is said to be stored
    const publishing = yield* Effect.forkScoped(world.publish(jobs(30), { takes: 10 }, 5), { startImmediately: true })
    yield* Effect.promise(() => server.start())
    yield* Fiber.join(publishing)
    yield* world.drained
    return { allowed: held.size, recovery: ledger.recovery(from, held) }
  })
})

/** while workers work, again and again */
const disturbed = (options: {
  readonly name: string
  readonly engine: Engine
  readonly rough: boolean
  readonly why: string
  readonly allowed: (held: number) => number
  readonly disturb: (url: string) => Effect.Effect<void, unknown>
}): Fault => ({
  name: options.name,
  engines: [options.engine],
  rough: options.rough,
  why: options.why,
  run: Effect.fnUntraced(function*(world) {
    const { ledger } = world
    yield* world.publish(jobs(90), { takes: 10 })
    yield* world.child({ worker: "child", concurrency })
    yield* world.survivor()
    let allowed = 0
    let recovery = 0
    const rounds = jobs(3)
    for (let round = 1; round <= rounds; round++) {
      yield* world.done(round * 20)
      const from = performance.now()
      const held = ledger.held()
      yield* options.disturb(world.place.url)
      allowed += options.allowed(held.size)
      yield* world.allDone(held)
      recovery = Math.max(recovery, ledger.recovery(from, held))
    }
    yield* world.drained
    return { allowed, recovery }
  })
})

const terminate = (url: string) =>
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    yield* sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'`
  }).pipe(Effect.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 1 })))

export const connections: ReadonlyArray<Fault> = [
  restart("server restart, immediate", ["postgres"], "SIGQUIT"),
  restart("server restart, immediate", ["redis"], "SIGTERM"),
  restart("server restart after kill -9", networked, "SIGKILL"),
  cut("before", "before the request", "none: the settlement is sent again"),
  cut("after", "after the request, before the reply", "none: it is settled; what was claimed with it comes back unrun"),
  blackHole,
  unheard("", undefined, "all of them, once more: their ids went with them"),
  unheard(", within the time of a unique key", 600_000, "none: the key is kept for its time"),
  disturbed({
    name: "pg_terminate_backend on all, three times",
    engine: "postgres",
    rough: true,
    why: "none, unless a lease ends before the worker has connected again",
    allowed: (held) => held,
    disturb: terminate
  }),
  disturbed({
    name: "SCRIPT FLUSH, three times",
    engine: "redis",
    rough: false,
    why: "none: the scripts are sent again",
    allowed: () => 0,
    disturb: (url) => Effect.asVoid(flushScripts(url))
  })
]
