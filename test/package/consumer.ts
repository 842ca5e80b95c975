/**
 * A program that uses the published package and nothing else: pack.test.ts copies it into a scratch project, compiles it
 * there against the tarball's types and runs it. In the checkout it compiles against the sources.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Middleware, Task, TaskGroup, Worker } from "windlass"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Job from "windlass/Job"

class Tenant extends Context.Service<Tenant, { readonly id: string }>()("consumer/Tenant") {}

class RequireTenant extends Middleware.Service<RequireTenant, { provides: Tenant }>()("consumer/RequireTenant") {}

class Greet extends Task.make("Greet", {
  payload: { name: Schema.String },
  success: Schema.String,
  middleware: [RequireTenant]
}) {}

const GreetLive = Greet.toLayer(({ name }) =>
  Effect.gen(function*() {
    const tenant = yield* Tenant
    const job = yield* Job.Current
    return `${tenant.id} greets ${name}, attempt ${job.attempt}`
  })
)

const RequireTenantLive = Layer.succeed(
  RequireTenant,
  Middleware.hooks({ provides: Tenant, before: () => Effect.succeed({ id: "acme" }) })
)

const live = Worker.layer(TaskGroup.make(Greet), { concurrency: 2 }).pipe(
  Layer.provide(GreetLive),
  Layer.provide(RequireTenantLive),
  Layer.provideMerge(MemoryBackend.layer)
)

const program = Effect.gen(function*() {
  const said = yield* Greet.execute({ name: "world" })
  const report = yield* Worker.stop
  return `${said}; ${report.succeeded} succeeded`
})

const line = await Effect.runPromise(Effect.provide(program, live))
process.stdout.write(`${line}\n`)
