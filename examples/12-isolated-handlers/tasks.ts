/** The contract: search a text with a pattern that a user gave, which may take for ever. */
import { Schema } from "effect"
import { IsolateDied } from "windlass/isolation/IsolateDied"
import * as Task from "windlass/Task"

export class BadPattern extends Schema.TaggedError<BadPattern>()("BadPattern", { reason: Schema.String }) {}

export class Search extends Task.make("Search", {
  payload: { pattern: Schema.String, text: Schema.String },
  success: Schema.NullOr(Schema.String),
  error: Schema.Union([BadPattern, IsolateDied]),
  timeout: "4 seconds"
}) {}
