/** What each process runs: the handlers, with what they need. It is started by the worker, never imported. */
import { Effect } from "effect"
import * as Isolated from "windlass/isolation/Isolated"
import { BadPattern, Search } from "./tasks.ts"

Isolated.serve(
  Isolated.handler(Search, ({ pattern, text }) =>
    Effect.try({
      // JavaScript looks for a match until it has found one or tried everything; nothing in this process can stop it
      try: () => new RegExp(pattern).exec(text)?.[0] ?? null,
      catch: (error) => new BadPattern({ reason: String(error) })
    }))
)
