/** Three services, each with channels of its own, a queue of its own, and a worker of its own. */
import { Console, Effect, Layer, Schedule, Schema } from "effect"
import * as Channel from "windlass/bus/Channel"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { Alert, InvoiceDue } from "./contracts.ts"

// ------------------------------------------------------------------------------------------------------------ billing

class BillOrder extends Channel.make("orders.{region}.{id}", {
  name: "BillOrder",
  queue: "billing",
  payload: { total: Schema.Number },
  emits: [InvoiceDue, Alert],
  retry: Schedule.recurs(2)
}) {}

const BillOrderLive = BillOrder.toLayer(Effect.fnUntraced(function*({ parameters: { id }, payload: { total } }) {
  yield* Channel.emit(InvoiceDue, { parameters: { id }, payload: { total } })
  if (total < 1_000) return
  // what cannot be sent fails here, and may be caught here
  yield* Channel.emit(Alert, { parameters: { level: "high" }, payload: { text: `order ${id}: ${total}` } }).pipe(
    Effect.catchTag("windlass/BackendError", ({ message }) => Console.log(`billing: no alert for ${id}: ${message}`))
  )
}, Effect.orDie))

export const Billing = TaskGroup.make(BillOrder)
export const BillingWorker = Worker.layer(Billing, { id: "billing" }).pipe(Layer.provide(BillOrderLive))

// ----------------------------------------------------------------------------------------------------------- shipping

/** the more specific address wins, whatever the order in the group */
class ShipAnywhere extends Channel.make("orders.{region}.{id}", {
  name: "ShipAnywhere",
  queue: "shipping",
  headers: { "x-customer": Schema.String }
}) {}
class ShipInEurope extends Channel.make("orders.eu.{id}", { name: "ShipInEurope", queue: "shipping" }) {}

export const Shipping = TaskGroup.make(ShipAnywhere, ShipInEurope)
export const ShippingWorker = Worker.layer(Shipping, { id: "shipping" }).pipe(
  Layer.provide([
    ShipAnywhere.toLayer(({ headers, parameters }) =>
      Console.log(`shipping: order ${parameters.id} to ${headers["x-customer"]} in ${parameters.region}, by sea`)
    ),
    ShipInEurope.toLayer(({ parameters }) => Console.log(`shipping: order ${parameters.id} in Europe, by train`))
  ])
)

// -------------------------------------------------------------------------------------------------------------- audit

class Audit extends Channel.make("invoices.{id}", {
  name: "Audit",
  queue: "audit",
  payload: { total: Schema.Number }
}) {}

export const Auditing = TaskGroup.make(Audit)
export const AuditingWorker = Worker.layer(Auditing, { id: "audit" }).pipe(
  Layer.provide(
    Audit.toLayer(({ parameters, payload }) => Console.log(`audit: invoice ${parameters.id} over ${payload.total}`))
  )
)
