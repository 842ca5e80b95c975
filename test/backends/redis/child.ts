/**
 * What another process does with the same prefix. `node child.ts ROLE URL PREFIX ...`: says what it did on its standard
 * output, a line each; where a role waits for an order, any line on its input is one.
 */
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import type * as Scope from "effect/Scope"
import { writeSync } from "node:fs"
import { createInterface } from "node:readline"
import { Backend, type Settlement } from "windlass/Backend"
import * as RedisBackend from "windlass/backends/RedisBackend"

const [role = "", url = "", prefix = "", ...args] = process.argv.slice(2)

const say = (line: string) => void writeSync(1, `${line}\n`)

const orders = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const order = Effect.promise(() => orders.next())

const succeeded: Settlement = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }

const job = (id: string) => ({
  envelope: { id, task: "T", version: 1, payload: `"${id}"`, headers: {}, origin: "user" as const }
})

const roles: Record<string, Effect.Effect<unknown, unknown, RedisBackend.Services | Scope.Scope>> = {
  /** ID: publishes one job per order, and says when (a monotonic clock that all processes of the machine share) */
  ping: Effect.gen(function*() {
    const backend = yield* Backend
    yield* backend.declare("q")
    say("begin")
    for (let n = 0;; n++) {
      yield* order
      const at = process.hrtime.bigint()
      yield* backend.publish("q", [job(`${args[0]}-${n}`)])
      say(`published ${at}`)
    }
  }),

  /** ID COUNT BATCH: publishes, and says when all is stored */
  publish: Effect.gen(function*() {
    const backend = yield* Backend
    const [id, count, batch] = [args[0]!, Number(args[1]), Number(args[2])]
    say("begin")
    for (let n = 0; n < count; n += batch) {
      yield* backend.publish("q", Array.from({ length: batch }, (_, k) => job(`${id}-${n + k}`)))
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
      const done = deliveries.filter(({ attempt, envelope }, n) =>
        answers[n] === "Settled" && !(attempt === 1 && Number(envelope.id.split("-")[1]) % 7 === 0)
      )
      say(`done ${done.map(({ envelope }) => envelope.id).join(" ")}`)
    }
  })
}

await Effect.runPromise(
  Effect.scoped(roles[role]!).pipe(
    Effect.provide(
      RedisBackend.layer({ prefix, lease: "1 second", pollInterval: "10 seconds" }).pipe(
        Layer.provide(NodeRedis.layer({ url })),
        Layer.provide(Layer.succeed(References.MinimumLogLevel, "Error"))
      )
    )
  )
)
