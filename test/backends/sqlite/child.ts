/**
 * What another process does with the same file. `node child.ts ROLE FILE ...`: says what it did on its standard output, a
 * line each, written before the next step is taken; where a role waits for an order, any line on its input is one.
 */
import * as Effect from "effect/Effect"
import { writeSync } from "node:fs"
import { createInterface } from "node:readline"
import { DatabaseSync } from "node:sqlite"
import { Backend, type Settlement } from "windlass/Backend"
import * as SqliteBackend from "windlass/backends/SqliteBackend"
import { Leader } from "windlass/Capability"

const [role = "", filename = "", ...args] = process.argv.slice(2)

const say = (line: string) => void writeSync(1, `${line}\n`)

const order = Effect.callback<void>((resume) => {
  const input = createInterface({ input: process.stdin })
  input.once("line", () => resume(Effect.void))
  return Effect.sync(() => input.close())
})

const succeeded: Settlement = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }

const roles: Record<string, Effect.Effect<unknown, unknown, SqliteBackend.Services>> = {
  /** PREFIX COUNT BATCH: publishes, and says which ids are stored */
  publish: Effect.gen(function*() {
    const [prefix, count, batch] = [args[0]!, Number(args[1]), Number(args[2])]
    const backend = yield* Backend
    for (let i = 0; i < count; i += batch) {
      const ids = Array.from({ length: batch }, (_, j) => `${prefix}-${i + j}`)
      yield* backend.publish(
        "q",
        ids.map((id) => ({
          envelope: { id, task: "T", version: 1, payload: `"${id}"`, headers: {}, origin: "user" as const }
        }))
      )
      say(`stored ${ids.join(" ")}`)
    }
    say("end")
  }),

  /** NAME: runs jobs until it is killed; every seventh is retried once */
  work: Effect.gen(function*() {
    const backend = yield* Backend
    const subscription = yield* backend.subscribe("q", { worker: args[0]! })
    say("begin")
    for (;;) {
      yield* subscription.await(10)
      const deliveries = yield* subscription.take(10)
      if (deliveries.length === 0) continue
      say(`run ${deliveries.map(({ envelope }) => envelope.id).join(" ")}`)
      const answers = yield* subscription.settle(deliveries.map(({ attempt, envelope, receipt }) => [
        receipt,
        attempt === 1 && Number(envelope.id.split("-")[1]) % 7 === 0
          ? { _tag: "Retry", why: "failed", after: 0, attempt: "spent", place: "back", error: "once" }
          : succeeded
      ]))
      say(`answer ${answers.join(" ")}`)
    }
  }).pipe(Effect.scoped),

  /** waits for work, and says when it found some */
  await: Effect.gen(function*() {
    const backend = yield* Backend
    const subscription = yield* backend.subscribe("q", { worker: "child" })
    say("waiting")
    yield* subscription.await(1)
    const [delivery] = yield* subscription.take(1)
    say(`found ${delivery?.envelope.id}`)
    yield* order
  }).pipe(Effect.scoped),

  /** NAME: holds a leadership until it gets an order, and another order to end */
  lead: Effect.gen(function*() {
    say("asking")
    yield* Effect.scoped(Effect.gen(function*() {
      const { epoch } = yield* (yield* Leader).hold(args[0]!)
      say(`leads ${epoch}`)
      yield* order
    }))
    say("gave up")
  }),

  /** runs one job of which an abort may be requested meanwhile */
  hold: Effect.gen(function*() {
    const backend = yield* Backend
    const subscription = yield* backend.subscribe("q", { worker: "child" })
    yield* subscription.await(1)
    const [delivery] = yield* subscription.take(1)
    say(`holds ${delivery?.envelope.id}`)
    yield* order
  }).pipe(Effect.scoped),

  /** opens the file as soon as it is told to */
  open: Effect.sync(() => say("opened"))
}

if (role === "lock") {
  // a writer that does not let go, as another program might
  const database = new DatabaseSync(filename)
  database.exec("BEGIN IMMEDIATE")
  say("locked")
  await Effect.runPromise(order)
  database.exec("COMMIT")
  database.close()
  say("unlocked")
  process.exit(0)
}

if (role === "open") {
  say("ready")
  await Effect.runPromise(order)
}

await Effect.runPromise(roles[role]!.pipe(
  Effect.provide(SqliteBackend.layer({
    filename,
    lease: Number(process.env["LEASE"] ?? 30_000),
    ...(process.env["KEEP"] === undefined ? {} : { retention: { successes: "1 hour" } })
  }))
))
process.exit(0)
