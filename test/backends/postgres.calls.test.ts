/** The deadline of a call to Postgres, whatever becomes of the call when it is given up. */
import type { PgPool } from "@effect/sql-pg/PgPool"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Calls, type Settings } from "../../src/backends/postgres/calls.ts"
import * as Names from "../../src/backends/postgres/names.ts"

/** a pool whose calls are this one; the deadline is half a second after the server's own time-out */
const callsOf = (call: Effect.Effect<never>) => {
  const settings: Settings = {
    name: "postgres",
    names: Names.make("s", "w"),
    config: {},
    connections: 1,
    statementTimeout: 1
  }
  return new Calls(settings, { use: () => call } as unknown as PgPool)
}

describe("a call that the server does not answer", () => {
  for (
    const [where, call] of [
      ["waits for a connection, and ends as it is given up", Effect.never],
      ["takes a while to be given up", Effect.onInterrupt(Effect.never, () => Effect.sleep(50))]
    ] as const
  ) {
    it.live(`counts as one whose answer was lost, where it ${where}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(callsOf(call).run("publish", "SELECT 1"))
        assert.deepStrictEqual([error.retryable, error.outcome], [true, "Unknown"])
        assert.match(error.message, /did not answer within/)
      }))
  }
})
