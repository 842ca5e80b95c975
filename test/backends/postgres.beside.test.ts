/** A job per round trip, with several calls under way for one queue, each on a connection of its own. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Backend } from "windlass/Backend"
import * as Capability from "windlass/Capability"
import * as Enqueue from "windlass/Enqueue"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { onPostgres } from "./postgres/here.ts"
import { backend } from "./postgres/server.ts"

class A extends Task.make("A", { payload: { n: Schema.Number } }) {}
const many = (count: number) => Array.from({ length: count }, (_, n) => ({ n }))
const limits = { takeBatch: 1, settleBatch: 1 }

const drained = (concurrency: number, handler: (n: number) => Effect.Effect<void>) =>
  Worker.launch(
    Worker.layer(TaskGroup.make(A), { mode: "drain", concurrency }).pipe(
      Layer.provide(A.toLayer(({ n }) => handler(n)))
    )
  )

const none = Effect.gen(function*() {
  const inspect = yield* Capability.Inspect
  const { active, ready } = yield* inspect.counts("default")
  assert.deepStrictEqual([active, ready], [0, 0])
})

onPostgres("Postgres: calls beside each other", () => {
  it.live("one connection is left to heartbeats, however few there are", () =>
    Effect.gen(function*() {
      for (const connections of [2, 4]) {
        const exchanges = yield* Effect.scoped(
          Effect.flatMap(
            Backend,
            (one) => Effect.map(one.subscribe("q", { worker: "w" }), ({ exchanges }) => exchanges)
          )
        ).pipe(Effect.provide(backend({ connections })))
        assert.strictEqual(exchanges, connections - 1)
      }
    }))

  it.live("every job runs once, and a worker that drains leaves none", () =>
    Effect.gen(function*() {
      const ran: Array<number> = []
      yield* A.enqueueMany(many(300))
      const report = yield* drained(20, (n) => Effect.sync(() => void ran.push(n)))
      assert.deepStrictEqual([report.succeeded, report.lost, report.released], [300, 0, 0])
      assert.deepStrictEqual(ran.toSorted((a, b) => a - b), many(300).map(({ n }) => n))
      yield* none
    }).pipe(Effect.provide(backend({ limits }))))

  it.live("members of a group still start one at a time and in order", () =>
    Effect.gen(function*() {
      const groups = 10
      const ran = new Map<number, Array<number>>()
      const running = new Set<number>()
      for (const { n } of many(100)) yield* A.enqueue({ n }).pipe(Enqueue.group(`g${n % groups}`))
      const report = yield* drained(20, (n) =>
        Effect.gen(function*() {
          const group = n % groups
          assert.isFalse(running.has(group))
          running.add(group)
          ran.set(group, [...ran.get(group) ?? [], n])
          yield* Effect.yieldNow
          running.delete(group)
        }))
      assert.deepStrictEqual([report.succeeded, report.lost], [100, 0])
      for (const [group, order] of ran) {
        assert.deepStrictEqual(order, many(100).map(({ n }) => n).filter((n) => n % groups === group))
      }
      yield* none
    }).pipe(Effect.provide(backend({ limits }))), 30_000)
})
