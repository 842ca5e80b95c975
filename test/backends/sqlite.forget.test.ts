/** Successes that leave nothing behind go in runs of numbers: against one that looks at every number by itself. */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { DatabaseSync } from "node:sqlite"
import { Connection } from "../../src/backends/sqlite/connection.ts"
import { Forget } from "../../src/backends/sqlite/forget.ts"
import { migrations } from "../../src/backends/sqlite/schema.ts"

const jobs = 60

/** whose each job is, by its number: of this fence, of another's, or of nobody's */
const held = fc.array(fc.constantFrom(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 0), { minLength: jobs, maxLength: jobs })
const mine = fc.constant(Array.from({ length: jobs }, () => 1))

/** numbers in the order of their settlements: pieces of the order of the claim, mixed or not, some of them twice */
const asked = fc.tuple(
  fc.array(fc.tuple(fc.integer({ min: 1, max: jobs }), fc.integer({ min: 1, max: 30 })), { maxLength: 4 }),
  fc.boolean(),
  fc.boolean()
).chain(([pieces, mixed, twice]) => {
  const all = pieces.flatMap(([from, count]) =>
    Array.from({ length: Math.min(count, jobs + 1 - from) }, (_, i) => from + i)
  )
  const nums = twice ? all : Array.from(new Set(all))
  return mixed ? fc.shuffledSubarray(nums, { minLength: nums.length }) : fc.constant(nums)
})

describe("successes that are forgotten", () => {
  it.effect("L16 fenced: those that the fence holds go, each once, and no other", () =>
    Effect.gen(function*() {
      const clock = yield* Clock.clockWith(Effect.succeed)
      const database = new DatabaseSync(":memory:")
      for (const sql of migrations) database.exec(sql)
      const forget = new Forget(
        new Connection(database, clock, { name: "sqlite", filename: "q.db", lockTimeout: 1_000 })
      )
      const addJob = database.prepare(
        `INSERT INTO job (num, id, queue, task, version, origin, rank, pos, enqueued, payload)
         VALUES (?, ?, 1, 'T', 1, 'user', 0, 1, 0, '{}')`
      )
      const addActive = database.prepare("INSERT INTO active VALUES (?, ?, 1, 'w', 0, 0)")
      const left = (table: string) =>
        database.prepare(`SELECT num FROM ${table} ORDER BY num`).all().map(({ num }) => Number(num))
      const seen = { all: 0, some: 0, long: 0 }
      const property = fc.property(fc.oneof(held, mine), asked, (owners, nums) => {
        database.exec("DELETE FROM job; DELETE FROM active")
        owners.forEach((owner, i) => {
          addJob.run(i + 1, String(i + 1))
          if (owner > 0) addActive.run(i + 1, owner)
        })
        const gone = new Set(nums.filter((num) => owners[num - 1] === 1))
        const every = gone.size === nums.length
        seen[every ? "all" : "some"]++
        if (every && nums.length >= 8) seen.long++
        assert.deepStrictEqual(forget.take(nums, 1), every ? undefined : gone)
        const rest = owners.map((_, i) => i + 1).filter((num) => !gone.has(num))
        assert.deepStrictEqual(left("job"), rest)
        assert.deepStrictEqual(left("active"), rest.filter((num) => owners[num - 1]! > 0))
      })
      fc.assert(property, { numRuns: 400 })
      assert.isAbove(Math.min(seen.all, seen.some, seen.long), 40, JSON.stringify(seen))
      database.close()
    }))
})
