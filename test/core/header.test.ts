/** Typed headers: one half of a middleware writes at enqueue, the other half reads when the job runs. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Enqueue from "windlass/Enqueue"
import * as Header from "windlass/Header"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { publishRaw, record, scenario, startWorker } from "../support/backends.ts"

const TenantHeader = Header.make("tenant", Schema.Struct({ id: Schema.String, since: Schema.Date }))

class CurrentTenant
  extends Context.Service<CurrentTenant, { readonly id: string; readonly since: Date }>()("t/CurrentTenant")
{}
class ForTenant extends Middleware.Service<ForTenant, { provides: CurrentTenant }>()("t/ForTenant", {
  enqueue: true,
  error: Header.HeaderError
}) {}

const RunHalf = Layer.succeed(ForTenant, (next, input) =>
  Effect.gen(function*() {
    const tenant = yield* TenantHeader.read
    return yield* Effect.provideService(next(input), CurrentTenant, tenant)
  }))

const acme = { id: "acme", since: new Date("2020-01-01T00:00:00Z") }

describe("headers", () => {
  class Broken extends Schema.TaggedError<Broken>()("Broken", {}) {}
  class Bill extends Task.make("Bill", {
    success: Schema.String,
    error: Broken,
    middleware: [ForTenant],
    retry: Schedule.recurs(1)
  }) {}

  scenario(
    "what the enqueue half wrote is what the run half reads, decoded, on every attempt",
    () =>
      Effect.gen(function*() {
        let halves = 0
        const EnqueueHalf = Middleware.layerEnqueue(
          ForTenant,
          Enqueue.mapItems((item) => {
            halves++
            return TenantHeader.set(acme)(item)
          })
        )
        const live = Bill.toLayer(() =>
          Effect.gen(function*() {
            const tenant = yield* CurrentTenant
            if ((yield* Job.Current).attempt === 1) return yield* new Broken()
            assert.instanceOf(tenant.since, Date)
            return `${tenant.id} since ${tenant.since.getUTCFullYear()}`
          })
        ).pipe(Layer.provide(RunHalf))
        yield* startWorker(Worker.layer(TaskGroup.make(Bill)).pipe(Layer.provide(live)))
        assert.strictEqual(yield* Bill.execute().pipe(Effect.provide(EnqueueHalf)), "acme since 2020")
        assert.strictEqual(halves, 1)
        const id = yield* Bill.enqueue().pipe(Effect.provide(EnqueueHalf))
        assert.deepInclude((yield* record(id)).envelope.headers, TenantHeader.entry(acme))
      })
  )

  scenario("a missing and a malformed header are typed failures that name the header", () =>
    Effect.gen(function*() {
      const live = Bill.toLayer(() => Effect.succeed("")).pipe(Layer.provide(RunHalf))
      yield* publishRaw({ id: "missing", task: "Bill" })
      yield* publishRaw({ id: "malformed", task: "Bill", headers: { tenant: "{\"id\":1}" } })
      yield* Worker.launch(Worker.layer(TaskGroup.make(Bill), { mode: "drain" }).pipe(Layer.provide(live)))
      const [missing, malformed] = [yield* record("missing"), yield* record("malformed")]
      assert.deepStrictEqual([missing.state, malformed.state], ["dead", "dead"])
      assert.include(missing.error, "job missing of task Bill has no header tenant: write it at the enqueue point")
      assert.include(malformed.error, "header tenant does not fit its schema: {\"id\":1}")
    }))

  it.effect("a string is written as it is, everything else as JSON; parse tells absent from malformed", () =>
    Effect.gen(function*() {
      const Name = Header.make("name", Schema.String)
      const Count = Header.make("count", Schema.Number)
      const When = Header.make("when", Schema.Date)
      assert.deepStrictEqual(Name.entry("a \"b\""), { name: "a \"b\"" })
      assert.deepStrictEqual(Count.entry(7), { count: "7" })
      assert.deepStrictEqual(yield* Name.parse({ name: "7" }), Option.some("7"))
      assert.deepStrictEqual(yield* Count.parse({ count: "7" }), Option.some(7))
      assert.deepStrictEqual(yield* When.parse(When.entry(acme.since)), Option.some(acme.since))
      assert.deepStrictEqual(yield* Count.parse({}), Option.none())
      assert.deepInclude(yield* Effect.flip(Count.parse({ count: "seven" })), { header: "count", reason: "Malformed" })
    }))
})
