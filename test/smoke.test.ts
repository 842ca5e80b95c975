import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as MemoryBackend from "../src/backends/MemoryBackend.ts"
import * as Job from "../src/Job.ts"
import * as Middleware from "../src/Middleware.ts"
import * as Task from "../src/Task.ts"
import * as TaskGroup from "../src/TaskGroup.ts"
import * as Worker from "../src/Worker.ts"

class Tenant extends Context.Service<Tenant, { readonly id: string }>()("t/Tenant") {}
class RequireTenant extends Middleware.Service<RequireTenant, { provides: Tenant }>()("t/RequireTenant") {}
class Boom extends Schema.TaggedError<Boom>()("Boom", { n: Schema.Number }) {}
class Send extends Task.make("Send", {
  payload: { to: Schema.String },
  success: Schema.String,
  error: Boom,
  middleware: [RequireTenant],
  retry: Schedule.exponential("1 day").pipe(Schedule.upTo({ times: 3 }))
}) {}
const App = TaskGroup.make(Send)

describe("smoke", () => {
  it.effect("runs, retries and returns a typed result", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const live = Layer.mergeAll(
        Send.toLayer(({ to }) =>
          Effect.gen(function*() {
            const t = yield* Tenant
            const job = yield* Job.Current
            seen.push(`${job.attempt}${to}${t.id}`)
            if (to === "bad" && job.attempt < 3) return yield* new Boom({ n: job.attempt })
            if (to === "worse") return yield* new Boom({ n: job.attempt })
            return "ok " + to
          })
        )
      ).pipe(Layer.provide(Layer.succeed(
        RequireTenant,
        Middleware.hooks({ provides: Tenant, before: () => Effect.succeed({ id: "T" }) })
      )))
      yield* Effect.gen(function*() {
        assert.strictEqual(yield* Send.execute({ to: "a" }), "ok a")
        const bad = yield* Effect.forkChild(Send.execute({ to: "bad" }), { startImmediately: true })
        yield* TestClock.adjust("10 days")
        assert.strictEqual(
          yield* Effect.flatten(Effect.exit(Effect.flatMap(Effect.succeed(bad), (f) => f.pollUnsafe()!))),
          "ok bad"
        )
        const worse = yield* Effect.forkChild(Effect.flip(Send.execute({ to: "worse" })), { startImmediately: true })
        yield* TestClock.adjust("30 days")
        const e = yield* worse.pollUnsafe()!
        assert.deepStrictEqual(e._tag === "Boom" ? e.n : e._tag, 4)
        const health = yield* Worker.health
        assert.isTrue(health.ready)
        const report = yield* Worker.stop
        assert.strictEqual(report.succeeded, 2)
      }).pipe(
        Effect.provide(
          Worker.layer(App, { concurrency: 3 }).pipe(Layer.provide(live), Layer.provideMerge(MemoryBackend.layer))
        )
      )
      assert.deepStrictEqual(seen, ["1aT", "1badT", "2badT", "3badT", "1worseT", "2worseT", "3worseT", "4worseT"])
    }))
})
