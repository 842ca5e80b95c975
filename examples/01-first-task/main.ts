/**
 * 01: a first task and a first middleware, in one file.
 *
 * The task says what it takes, what it returns and how it may fail. The middleware looks up the tenant that a job belongs
 * to and provides it to the handler, or fails with an error of its own. Both failures arrive typed at the caller.
 *
 *     node --conditions=windlass-source examples/01-first-task/main.ts
 *
 * (The condition makes Node read this checkout's sources; in a project of your own leave it out.)
 */
import { Console, Context, Effect, Layer, References, Schema } from "effect"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Enqueue from "windlass/Enqueue"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"

// ---- the contract: producer and worker share it

class Tenant extends Context.Service<Tenant, { readonly name: string }>()("example/Tenant") {}

class UnknownTenant extends Schema.TaggedError<UnknownTenant>()("UnknownTenant", { id: Schema.String }) {}

class WithTenant extends Middleware.Service<WithTenant, { provides: Tenant }>()("example/WithTenant", {
  error: UnknownTenant
}) {}

class MailRejected extends Schema.TaggedError<MailRejected>()("MailRejected", { to: Schema.String }) {}

class SendEmail extends Task.make("SendEmail", {
  payload: { to: Schema.String, subject: Schema.String },
  success: Schema.String,
  error: MailRejected,
  middleware: [WithTenant]
}) {}

// ---- the worker's side: implementations are layers

const tenants: Record<string, string> = { acme: "Acme Ltd" }

const WithTenantLive = Layer.succeed(
  WithTenant,
  Middleware.hooks({
    provides: Tenant,
    before: (job) => {
      const id = job.headers["tenant"] ?? "nobody"
      const name = tenants[id]
      return name === undefined ? Effect.fail(new UnknownTenant({ id })) : Effect.succeed({ name })
    }
  })
)

const SendEmailLive = SendEmail.toLayer(Effect.fnUntraced(function*({ to, subject }) {
  const tenant = yield* Tenant // take WithTenant off the task, and this does not compile any more
  if (!to.includes("@")) return yield* new MailRejected({ to })
  return `"${subject}" from ${tenant.name} to ${to}`
}))

// ---- the program: enqueues jobs and waits for what becomes of them

const program = Effect.gen(function*() {
  const acme = Enqueue.headers({ tenant: "acme" })

  const sent = yield* SendEmail.execute({ to: "ada@example.org", subject: "Welcome" }).pipe(acme)
  yield* Console.log(`sent: ${sent}`)

  yield* SendEmail.execute({ to: "nowhere", subject: "Welcome" }).pipe(
    acme,
    Effect.catchTag("MailRejected", (error) => Console.log(`the handler failed: no such address as ${error.to}`))
  )

  yield* SendEmail.execute({ to: "bob@example.org", subject: "Welcome" }).pipe(
    Effect.catchTag("UnknownTenant", (error) => Console.log(`the middleware failed: no tenant ${error.id}`))
  )
})

const Live = Worker.layer(TaskGroup.make(SendEmail)).pipe(
  Layer.provide(SendEmailLive),
  Layer.provide(WithTenantLive),
  // swap this line for SqliteBackend.layer({ filename }), and the jobs survive the process
  Layer.provideMerge(MemoryBackend.layer)
)

await Effect.runPromise(program.pipe(
  Effect.provide(Live),
  // the worker logs what it gives up; here the program says it
  Effect.provideService(References.MinimumLogLevel, "Fatal")
))
