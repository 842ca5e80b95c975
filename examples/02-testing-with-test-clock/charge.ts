/** The code under test: an invoice is charged, and charged again for a month when the bank declines. */
import { Context, Effect, Schedule, Schema } from "effect"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"

export class Declined extends Schema.TaggedError<Declined>()("Declined", { invoice: Schema.String }) {}

export class Bank extends Context.Service<Bank, {
  readonly charge: (invoice: string) => Effect.Effect<void, Declined>
}>()("example/Bank") {}

export class Receipt extends Task.make("Receipt", { payload: { invoice: Schema.String } }) {}

export class Charge extends Task.make("Charge", {
  payload: { invoice: Schema.String },
  error: Declined,
  // after 1, 2, 4, 8 and 16 days: the last attempt is on day 31
  retry: Schedule.exponential("1 day").pipe(Schedule.upTo({ times: 5 }))
}) {}

export const App = TaskGroup.make(Charge, Receipt)

export const ChargeLive = Charge.toLayer(Effect.fnUntraced(function*({ invoice }) {
  const bank = yield* Bank
  yield* bank.charge(invoice)
  yield* Effect.orDie(Receipt.enqueue({ invoice }))
}))

export const ReceiptLive = Receipt.toLayer(() => Effect.void)
