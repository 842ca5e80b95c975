/** What the test shares with its workers. */
import * as Schema from "effect/Schema"
import * as Task from "windlass/Task"

export class Step extends Task.make("Step", { payload: { name: Schema.String } }) {}
