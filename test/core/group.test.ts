/** Task groups: shared middleware and settings, groups in groups, name clashes, and `Worker.describe`. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { scenario, startWorker } from "../support/backends.ts"

const pass = (name: string) => Middleware.make(name, (next, input) => next(input))

class Tenant extends Context.Service<Tenant, string>()("t/Tenant") {}
class RequireTenant extends Middleware.Service<RequireTenant, { provides: Tenant }>()("t/RequireTenant") {}
class NeedsTenant extends Middleware.Service<NeedsTenant, { requires: Tenant }>()("t/NeedsTenant") {}

describe("shared middleware and settings", () => {
  it("a task's settings win over its group's, an inner group's over an outer one's", () => {
    const retry = Schedule.recurs(1)
    const Outer = TaskGroup.shared("outer", {
      queue: "outer",
      timeout: "1 minute",
      deadline: "1 hour",
      onInterrupted: "retry",
      onLost: "fail",
      retry
    })
    const Inner = Outer.shared("inner", { queue: "inner", timeout: "2 minutes" })
    const Alone = Outer.shared("alone", { inherit: false, timeout: "3 minutes" })
    const group = TaskGroup.make(
      Outer.make("A"),
      Inner.make("B", { timeout: "5 minutes", onLost: "requeue" }),
      Alone.make("C")
    )
    const described = Worker.describe(group).map((
      { deadline, maxAttempts, onInterrupted, onLost, queue, timeout }
    ) => ({
      queue,
      timeout,
      deadline,
      onInterrupted,
      onLost,
      maxAttempts
    }))
    assert.deepStrictEqual(described, [
      { queue: "outer", timeout: 60_000, deadline: 3_600_000, onInterrupted: "retry", onLost: "fail", maxAttempts: 25 },
      {
        queue: "inner",
        timeout: 300_000,
        deadline: 3_600_000,
        onInterrupted: "retry",
        onLost: "requeue",
        maxAttempts: 25
      },
      {
        queue: "default",
        timeout: 180_000,
        deadline: undefined,
        onInterrupted: "requeue",
        onLost: "requeue",
        maxAttempts: 1
      }
    ])
  })

  scenario(
    "what a group's middleware provides, its tasks' middleware and handlers may need",
    () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const Tenants = TaskGroup.shared("tenants", { middleware: [RequireTenant] })
        class Work extends Tenants.make("Work", { middleware: [NeedsTenant] }) {}
        const live = Work.toLayer(() => Effect.map(Tenant, (tenant) => void seen.push(`handler ${tenant}`))).pipe(
          Layer.provide([
            Layer.succeed(RequireTenant, Middleware.hooks({ provides: Tenant, before: () => Effect.succeed("acme") })),
            Layer.succeed(NeedsTenant, (next, input) =>
              Effect.flatMap(Tenant, (tenant) => {
                seen.push(`middleware ${tenant}`)
                return next(input)
              }))
          ])
        )
        yield* startWorker(Worker.layer(TaskGroup.make(Work)).pipe(Layer.provide(live)))
        yield* Work.execute()
        assert.deepStrictEqual(seen, ["middleware acme", "handler acme"])
      })
  )

  scenario("the same middleware in two scopes runs twice", () =>
    Effect.gen(function*() {
      let runs = 0
      const counting = Middleware.make("counting", (next, input) =>
        Effect.suspend(() => {
          runs++
          return next(input)
        }))
      const Group = TaskGroup.shared("g", { middleware: [counting] })
      class Work extends Group.make("Work", { middleware: [counting] }) {}
      const live = Work.toLayer(() => Effect.void)
      yield* startWorker(Worker.layer(TaskGroup.make(Work), { middleware: [counting] }).pipe(Layer.provide(live)))
      yield* Work.execute()
      assert.strictEqual(runs, 3)
    }))
})

describe("what a group or a list may not be", () => {
  it("two tasks of one name, and an alias that is another task's name", () => {
    const A = Task.make("A")
    const B = Task.make("B", { aliases: ["A"] })
    assert.throws(() => TaskGroup.make(A, Task.make("A")), Task.InvalidTask, "the name A belongs to task A already")
    assert.throws(() => TaskGroup.make(A, B), Task.InvalidTask, "task B: the name A belongs to task A already")
    // also over groups in groups
    assert.throws(() => TaskGroup.make(TaskGroup.make(A), TaskGroup.make(B)), Task.InvalidTask)
    assert.deepStrictEqual(TaskGroup.make(TaskGroup.make(A), Task.make("C")).tasks.map((task) => task._tag), ["A", "C"])
  })

  it("one middleware twice in one list", () => {
    const one = pass("one")
    assert.throws(
      () => Task.make("A", { middleware: [one, one] }),
      Task.InvalidTask,
      "task A: middleware one stands twice in one list: name it once"
    )
    assert.throws(
      () => TaskGroup.shared("g", { middleware: [RequireTenant, RequireTenant] }),
      Task.InvalidTask,
      "group g: middleware t/RequireTenant stands twice"
    )
  })

  scenario(
    "one middleware twice in a worker's list keeps it from starting; so do one that adds an error and a concurrency below 1",
    () =>
      Effect.gen(function*() {
        const one = pass("one")
        class Work extends Task.make("Work") {}
        const live = Work.toLayer(() => Effect.void)
        const group = TaskGroup.make(Work)
        const twice = yield* Effect.flip(
          startWorker(Worker.layer(group, { middleware: [one, one] }).pipe(Layer.provide(live)))
        )
        assert.strictEqual(twice._tag, "windlass/InvalidWorker")
        assert.include(twice.message, "middleware one stands twice in the worker's list")
        class Guard extends Middleware.Service<Guard>()("t/Guard", { error: Schema.String }) {}
        const erroring = [Guard] as unknown as readonly []
        const adds = yield* Effect.flip(
          startWorker(Worker.layer(group, { middleware: erroring }).pipe(Layer.provide(live)))
        )
        assert.include(adds.message, "middleware t/Guard adds an error that the types of the tasks do not know")
        const none = yield* Effect.flip(startWorker(Worker.layer(group, { concurrency: 0 }).pipe(Layer.provide(live))))
        assert.include(none.message, "concurrency 0 is less than 1")
        for (const queues of [[], {}]) {
          const nowhere = yield* Effect.flip(startWorker(Worker.layer(group, { queues }).pipe(Layer.provide(live))))
          assert.strictEqual(nowhere._tag, "windlass/InvalidWorker")
          assert.strictEqual(
            nowhere.message,
            "queues names no queue, so it would never claim: name one, or leave the option out to claim from those of the tasks"
          )
        }
      })
  )
})

describe("Worker.describe", () => {
  it("is the resolved chain of every task as data, from the definitions alone", () => {
    const observer = Middleware.observe({ name: "observer" })
    const delivery = Middleware.delivery("delivery", (next, delivery) => next(delivery))
    const Emails = TaskGroup.shared("emails", { middleware: [RequireTenant], queue: "emails" })
    const Send = Emails.make("Send", {
      version: 2,
      aliases: ["Mail"],
      middleware: [NeedsTenant, pass("of the task")],
      retry: { schedule: Schedule.recurs(3), maxAttempts: 4 },
      timeout: "30 seconds"
    })
      .wrap((next, payload) => next(payload))
      .wrap((next, payload) => next(payload))
    const group = TaskGroup.make(Send, Task.make("Bare"))
    const described = Worker.describe(group, { middleware: [pass("of the worker"), delivery, observer] })
    const ofWorker = [
      { name: "observer", scope: "worker", point: "observe" },
      { name: "delivery", scope: "worker", point: "delivery" },
      { name: "of the worker", scope: "worker", point: "run" }
    ] as const
    assert.deepStrictEqual(described, [
      {
        task: "Send",
        version: 2,
        aliases: ["Mail"],
        queue: "emails",
        chain: [
          ...ofWorker,
          { name: "t/RequireTenant", scope: "group emails", point: "run" },
          { name: "t/NeedsTenant", scope: "task", point: "run" },
          { name: "of the task", scope: "task", point: "run" },
          { name: "Send.wrap 2", scope: "own", point: "run" },
          { name: "Send.wrap 1", scope: "own", point: "run" }
        ],
        maxAttempts: 4,
        timeout: 30_000,
        deadline: undefined,
        onInterrupted: "requeue",
        onLost: "requeue"
      },
      {
        task: "Bare",
        version: 1,
        aliases: [],
        queue: "default",
        chain: ofWorker,
        maxAttempts: 1,
        timeout: undefined,
        deadline: undefined,
        onInterrupted: "requeue",
        onLost: "requeue"
      }
    ])
    // pure: asking again says the same, and data is data
    assert.deepStrictEqual(
      JSON.parse(JSON.stringify(Worker.describe(group, { middleware: [pass("of the worker"), delivery, observer] }))),
      JSON.parse(JSON.stringify(described))
    )
  })
})
