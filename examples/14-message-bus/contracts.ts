/** What the services say to each other: channels, and nothing of how anybody handles them. */
import { Schema } from "effect"
import * as Channel from "windlass/bus/Channel"

export class OrderPlaced extends Channel.make("orders.{region}.{id}", {
  name: "OrderPlaced",
  parameters: { region: Schema.Literals(["eu", "us"]), id: Schema.FiniteFromString },
  headers: { "x-customer": Schema.String },
  payload: { total: Schema.Number }
}) {}

export class InvoiceDue extends Channel.make("invoices.{id}", {
  name: "InvoiceDue",
  payload: { total: Schema.Number }
}) {}

/** for a broker that is not one of ours */
export class Alert extends Channel.make("alerts.{level}", { name: "Alert", payload: { text: Schema.String } }) {}
