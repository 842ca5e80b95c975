/**
 * The newer version of the application: `Report` has another payload, `Notify` has become `Alert` (with another payload as
 * well), and `Archive` is new.
 */
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import type { Handler } from "./effects.ts"

class Mail extends Task.make("Mail", { payload: { to: Schema.String } }) {}

class Report extends Task.make("Report", {
  payload: { first: Schema.String, last: Schema.String },
  version: 2,
  upcast: {
    1: ({ name }: { readonly name: string }) => {
      const [first, last] = name.split(" ")
      return { first, last }
    }
  }
}) {}

class Alert extends Task.make("Alert", {
  payload: { text: Schema.String, level: Schema.Literals(["info", "urgent"]) },
  aliases: ["Notify"],
  version: 2,
  upcast: { 1: (payload: object) => ({ ...payload, level: "info" }) }
}) {}

class Archive extends Task.make("Archive", { payload: { path: Schema.String } }) {}

export const enqueue = {
  Mail: (n: number) => Mail.enqueue({ to: `guest ${n}` }),
  Report: (n: number) => Report.enqueue({ first: `Ada${n}`, last: "Lovelace" }),
  Alert: (n: number) => Alert.enqueue({ text: `hello ${n}`, level: "urgent" }),
  Archive: (n: number) => Archive.enqueue({ path: `${n}.txt` })
}

export const worker = (handler: Handler, settings: Worker.Settings) =>
  Worker.layer(TaskGroup.make(Mail, Report, Alert, Archive), settings).pipe(Layer.provide([
    Mail.toLayer(({ to }) => handler(`Mail to ${to}`)),
    Report.toLayer(({ first, last }) => handler(`Report on ${last}, ${first}`)),
    Alert.toLayer(({ level, text }) => handler(`Alert (${level}): ${text}`)),
    Archive.toLayer(({ path }) => handler(`Archive of ${path}`))
  ]))
