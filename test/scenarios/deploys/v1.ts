/** The older version of the application: three tasks. */
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import type { Handler } from "./effects.ts"

class Mail extends Task.make("Mail", { payload: { to: Schema.String } }) {}

class Report extends Task.make("Report", { payload: { name: Schema.String } }) {}

class Notify extends Task.make("Notify", { payload: { text: Schema.String } }) {}

export const enqueue = {
  Mail: (n: number) => Mail.enqueue({ to: `guest ${n}` }),
  Report: (n: number) => Report.enqueue({ name: `Ada${n} Lovelace` }),
  Notify: (n: number) => Notify.enqueue({ text: `hello ${n}` })
}

export const worker = (handler: Handler, settings: Worker.Settings) =>
  Worker.layer(TaskGroup.make(Mail, Report, Notify), settings).pipe(Layer.provide([
    Mail.toLayer(({ to }) => handler(`Mail to ${to}`)),
    Report.toLayer(({ name }) => handler(`Report on ${name}`)),
    Notify.toLayer(({ text }) => handler(`Notify: ${text}`))
  ]))
