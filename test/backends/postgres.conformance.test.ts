/**
 * The conformance kit on Postgres. The server has its own time, so the kit waits, with short leases; cases run side by
 * side, each in a schema of its own.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { afterAll, assert, it } from "@effect/vitest"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as PostgresBackend from "windlass/backends/PostgresBackend"
import * as Conformance from "../../src/testing/Conformance.ts"
import { onPostgres } from "./postgres/here.ts"
import { client, dropped, freshSchema } from "./postgres/server.ts"

const limits = { delayMillis: 365 * 86_400_000 }

/** of the program whose transactions an enqueue joins */
const runtime = ManagedRuntime.make(client())
const sql = await runtime.runPromise(PgClient.PgClient)
afterAll(() => runtime.dispose())

const layer = (notify: boolean) =>
  Layer.suspend(() => {
    const schema = freshSchema()
    return PostgresBackend.layer({ schema, lease: "2 seconds", notify, limits }).pipe(
      Layer.provideMerge(dropped(schema)),
      Layer.provide(Layer.succeed(PgClient.PgClient, sql))
    )
  })

const modes = [["with notify", true], ["without notify", false]] as const

for (const [mode, notify] of modes) {
  const name = `postgres ${mode}`
  onPostgres(`postgres ${mode}`, () => {
    const { apply, doNotApply } = Conformance.suite({
      name,
      layer: layer(notify),
      clock: "live",
      scale: 4,
      transaction: (effect) => sql.withTransaction(effect)
    }, it.live)

    it("all cases apply but those that need a hand on the engine's clock", () => {
      const exact = Conformance.cases.filter(({ needs }) => needs.includes("ExactTime"))
      assert.deepStrictEqual(doNotApply, exact)
      assert.strictEqual(apply.length, Conformance.cases.length - exact.length)
    })
  }, { concurrent: true })
}
