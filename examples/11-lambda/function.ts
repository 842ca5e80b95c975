/**
 * 11: a Lambda function behind an SQS queue, with the middleware that the FastSQS guide "Write middleware" writes.
 *
 * Every message is a record of the queue; a `type` in its body says which task takes it. The tasks' middleware times and
 * audits each record, requires a tenant, and holds a slot of a pool. What fails is reported to SQS, and nothing else.
 */
import { Clock, Console, Context, Effect, Layer, References, Schema } from "effect"
import { Lambda, Routes } from "windlass/lambda"
import * as Middleware from "windlass/Middleware"
import * as TaskGroup from "windlass/TaskGroup"

// ---- before and after: what `before` returns is what `after` gets, one value per record

const Timing = Middleware.make(
  "timing",
  Middleware.hooks({
    before: () => Clock.currentTimeMillis,
    after: (exit, t0, job) =>
      Effect.flatMap(
        Clock.currentTimeMillis,
        (now) => Console.log(`${job.id} ${exit._tag === "Success" ? "ok" : "failed"} in ${now - t0} ms`)
      )
  })
)

// ---- looking on: the raw delivery, the outcome, and no way to change it. One that dies is logged, and that is all

export const Audit = Middleware.observe({
  name: "audit",
  after: (outcome, _, { delivery }) =>
    outcome._tag === "Dead"
      ? Console.log(`audit: ${delivery.envelope.id}, attempt ${delivery.attempt}: ${outcome.reason}, ${outcome.error}`)
      : undefined
})

export const Fragile = Middleware.observe({ name: "fragile", after: () => Effect.die(new Error("no sink")) })

// ---- a service per record: the handler has a tenant, or there is no handler to run

export class Tenant extends Context.Service<Tenant, string>()("example/Tenant") {}

export class MissingTenant extends Schema.TaggedError<MissingTenant>()("MissingTenant", {}) {}

export class RequireTenant extends Middleware.Service<RequireTenant, { provides: Tenant }>()("example/RequireTenant", {
  error: MissingTenant
}) {}

const RequireTenantLive = Layer.succeed(RequireTenant, (next, payload) => {
  const tenant: unknown = typeof payload === "object" && payload !== null && "tenant" in payload && payload.tenant
  return typeof tenant === "string"
    ? Effect.provideService(next(payload), Tenant, tenant)
    : Effect.fail(new MissingTenant())
})

// ---- a resource: released whether the handler, or a middleware inside of this one, fails or not

const Slot = Middleware.make("slot", (next, payload, job) =>
  Effect.andThen(
    Effect.acquireRelease(Console.log(`${job.id} takes a slot`), () => Console.log(`${job.id} gives it back`)),
    next(payload)
  ))

// ---- the tasks

const Orders = TaskGroup.shared("orders", { middleware: [Timing, Slot, RequireTenant] })

class OutOfStock extends Schema.TaggedError<OutOfStock>()("OutOfStock", { order: Schema.String }) {
  override get message() {
    return `nothing left for order ${this.order}`
  }
}

export class OrderCreated extends Orders.make("OrderCreated", {
  payload: { order_id: Schema.String, amount: Schema.Number, tenant: Schema.optional(Schema.String) },
  success: Schema.String,
  error: OutOfStock
}) {}

const OrderCreatedLive = OrderCreated.toLayer(Effect.fnUntraced(function*({ amount, order_id }) {
  if (amount > 100) return yield* new OutOfStock({ order: order_id })
  yield* Console.log(`processing order ${order_id} of ${amount} for ${yield* Tenant}`)
  return `order ${order_id} is packed`
}))

// ---- the function: `export const handler = ...` is all that Lambda needs

export const handler = Lambda.handler(TaskGroup.make(OrderCreated), {
  routes: Routes.make({ key: "type", tasks: [OrderCreated], names: "flexible" }),
  middleware: [Audit, Fragile],
  // built at the first invocation and kept: connections belong here. (What is logged is left out of what this prints.)
  layer: OrderCreatedLive.pipe(
    Layer.provide(RequireTenantLive),
    Layer.merge(Layer.succeed(References.MinimumLogLevel, "Fatal"))
  )
})
