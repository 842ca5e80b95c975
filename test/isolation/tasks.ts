/** The contracts that the isolation tests share with the processes that run their handlers. */
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { IsolateDied } from "windlass/isolation/IsolateDied"
import * as Task from "windlass/Task"

export class Rejected extends Schema.TaggedError<Rejected>()("Rejected", { code: Schema.Number }) {}

/** one handler that does whatever it is told */
const settings = {
  payload: {
    what: Schema.Literals([
      "echo",
      "reject",
      "die",
      "discard",
      "job",
      "fork",
      "failing fork",
      "progress",
      "log",
      "trace",
      "reroute",
      "spin",
      "hold",
      "deaf",
      "wait",
      "hog",
      "exit",
      "pid",
      "misfit"
    ]),
    at: Schema.optional(Schema.Date)
  },
  success: Schema.String,
  error: Schema.Union([Rejected, IsolateDied])
} as const

export class Odd extends Task.make("Odd", settings) {}

/** is tried again, at once */
export class Again extends Task.make("Again", {
  ...settings,
  retry: { schedule: Schedule.recurs(1) }
}) {}

/** does not declare that its process may die */
export class Undeclared extends Task.make("Undeclared", {
  payload: { code: Schema.Number },
  success: Schema.String
}) {}

/** may take two seconds */
export class Short extends Task.make("Short", { ...settings, timeout: "2 seconds" }) {}

export class Quick extends Task.make("Quick", { payload: { n: Schema.Number }, success: Schema.String }) {}

/** no process serves it */
export class Unserved extends Task.make("Unserved") {}
