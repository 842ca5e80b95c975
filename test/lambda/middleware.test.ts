/** Middleware around records: results that hooks see, duplicates, and what a delivery middleware can tell the queue. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as KeyValueStore from "effect/persistence/KeyValueStore"
import * as Schema from "effect/Schema"
import { assert, describe, it } from "vitest"
import type * as Job from "windlass/Job"
import { Lambda, LambdaClient, Routes } from "windlass/lambda"
import * as Middleware from "windlass/Middleware"
import * as Idempotency from "windlass/middleware/Idempotency"
import * as Timing from "windlass/middleware/Timing"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import { act, App, closing, logged, Refused, routes } from "./support.ts"

const message = (name: string, act = "ok", more: Omit<LambdaClient.Message, "body"> = {}) =>
  LambdaClient.json({ type: "act", name, act }, { messageId: name, ...more })

describe("hooks around a record", () => {
  it("FSQS-01 before reads function, group, task; after the other way round", async () => {
    const trace: Array<string> = []
    const both = (name: string) =>
      Middleware.make(
        name,
        Middleware.hooks({
          before: () => Effect.sync(() => void trace.push(`${name}.before`)),
          after: () => Effect.sync(() => void trace.push(`${name}.after`))
        })
      )
    const Group = TaskGroup.shared("group", { middleware: [both("group")] })
    class One extends Group.make("One", { middleware: [both("task")] }) {}
    const handler = closing(Lambda.handler(TaskGroup.make(One), {
      routes: Routes.make({ key: "type", tasks: [One] }),
      middleware: [both("function")],
      layer: Layer.merge(One.toLayer(() => Effect.sync(() => void trace.push("handler"))), logged())
    }))
    await LambdaClient.make(handler).send(LambdaClient.json({ type: "One" }))
    assert.deepStrictEqual(trace, [
      "function.before",
      "group.before",
      "task.before",
      "handler",
      "task.after",
      "group.after",
      "function.after"
    ])
  })

  it("FSQS-10 a before that fails: the outer after sees its failure, its own does not run, siblings are unaffected", async () => {
    const trace: Array<string> = []
    class Denied extends Schema.TaggedError<Denied>()("Denied", {}) {}
    class Deny extends Middleware.Service<Deny>()("test/Deny", { error: Denied }) {}
    class One extends Task.make("One", { payload: { allowed: Schema.Boolean }, middleware: [Deny] }) {}
    const DenyLive = Layer.succeed(
      Deny,
      Middleware.hooks({
        before: (job) => job.headers["allowed"] === "yes" ? Effect.void : Effect.fail(new Denied()),
        after: () => Effect.sync(() => void trace.push("deny.after"))
      })
    )
    const handler = closing(Lambda.handler(TaskGroup.make(One), {
      routes: Routes.make({ key: "type", tasks: [One] }),
      concurrency: 1,
      middleware: [
        Middleware.make(
          "outer",
          Middleware.hooks({
            after: (exit) =>
              Effect.sync(() => {
                const error = exit._tag === "Failure" ? Cause.squash(exit.cause) : undefined
                trace.push(`outer.after ${error instanceof Denied ? "Denied" : exit._tag}`)
              })
          })
        )
      ],
      layer: Layer.merge(
        One.toLayer(() => Effect.sync(() => void trace.push("handler"))).pipe(Layer.provide(DenyLive)),
        logged()
      )
    }))
    const one = (allowed: string) =>
      LambdaClient.json({ type: "One", allowed: true }, { messageId: allowed, attributes: { allowed } })
    const sent = await LambdaClient.make(handler).sendBatch([one("no"), one("yes")])
    assert.deepStrictEqual(sent.failed, ["no"])
    assert.deepStrictEqual(trace, ["outer.after Denied", "handler", "deny.after", "outer.after Success"])
  })

  it("the handler's result: opaque to hooks for every task, typed for the task's own wrap; none when it failed", async () => {
    const seen: Array<unknown> = []
    class Sum extends Task.make("Sum", {
      payload: { of: Schema.Array(Schema.Number) },
      success: Schema.Number,
      error: Refused
    }) {}
    const Wrapped = Sum.wrap((next, payload) =>
      Effect.onExit(next(payload), (exit) =>
        Effect.sync(() => {
          // typed: exit is Exit<number, Refused | Decide>
          seen.push(Exit.isSuccess(exit) ? exit.value.toFixed(1) : "none")
        }))
    )
    const handler = closing(Lambda.handler(TaskGroup.make(Wrapped), {
      routes: Routes.make({ key: "type", tasks: [Wrapped] }),
      middleware: [
        Middleware.make(
          "after",
          Middleware.hooks({
            after: (exit) => Effect.sync(() => void seen.push(Exit.isSuccess(exit) ? exit.value : "failed"))
          })
        )
      ],
      layer: Layer.merge(
        Wrapped.toLayer(({ of }) =>
          of.length === 0 ? Effect.fail(new Refused({ name: "sum" })) : Effect.succeed(of.reduce((a, b) => a + b))
        ),
        logged()
      )
    }))
    const client = LambdaClient.make(handler)
    await client.send(LambdaClient.json({ type: "Sum", of: [1, 2, 3] }))
    await client.send(LambdaClient.json({ type: "Sum", of: [] }))
    assert.deepStrictEqual(seen, ["6.0", 6, "none", "failed"])
  })

  it("records that run side by side do not see each other's state", async () => {
    const pairs: Array<readonly [string, string]> = []
    const handler = closing(Lambda.handler(App, {
      routes,
      middleware: [
        Middleware.make(
          "state",
          Middleware.hooks({
            before: (job: Job.Job) => Effect.as(Effect.yieldNow, job.id),
            after: (_, before, job) => Effect.sync(() => void pairs.push([before, job.id]))
          })
        )
      ],
      layer: Layer.merge(act([]), logged())
    }))
    await LambdaClient.make(handler).sendBatch(Array.from({ length: 20 }, (_, i) => message(`m${i}`)))
    assert.strictEqual(pairs.length, 20)
    for (const [before, after] of pairs) assert.strictEqual(before, after)
  })

  it("what a middleware provides is made once per record, however many ask for it; a failure to make it is the record's", async () => {
    class Connection extends Context.Service<Connection, { readonly number: number }>()("test/Connection") {}
    class NoConnection extends Schema.TaggedError<NoConnection>()("NoConnection", {}) {}
    class WithConnection extends Middleware.Service<WithConnection, { provides: Connection }>()("test/WithConnection", {
      error: NoConnection
    }) {}
    class WithUser extends Middleware.Service<WithUser, { requires: Connection }>()("test/WithUser") {}
    class One extends Task.make("One", { middleware: [WithConnection, WithUser] }) {}
    const trace: Array<string> = []
    let made = 0
    const WithConnectionLive = Layer.succeed(
      WithConnection,
      Middleware.hooks({
        provides: Connection,
        before: (job) =>
          job.id === "unlucky" ? Effect.fail(new NoConnection()) : Effect.acquireRelease(
            Effect.sync(() => ({ number: ++made })),
            ({ number }) => Effect.sync(() => void trace.push(`close ${number}`))
          )
      })
    )
    const WithUserLive = Layer.succeed(WithUser, (next, input, job) =>
      Effect.andThen(
        Effect.map(Connection, ({ number }) => void trace.push(`user of ${job.id} by ${number}`)),
        next(input)
      ))
    const handler = closing(Lambda.handler(TaskGroup.make(One), {
      routes: Routes.make({ key: "type", tasks: [One] }),
      concurrency: 1,
      layer: Layer.merge(
        One.toLayer(() => Effect.map(Connection, ({ number }) => void trace.push(`handler by ${number}`))).pipe(
          Layer.provide([WithConnectionLive, WithUserLive])
        ),
        logged()
      )
    }))
    const one = (messageId: string) => LambdaClient.json({ type: "One" }, { messageId })
    const sent = await LambdaClient.make(handler).sendBatch([one("a"), one("unlucky"), one("b")])
    assert.deepStrictEqual(sent.failed, ["unlucky"])
    assert.deepStrictEqual(trace, [
      "user of a by 1",
      "handler by 1",
      "close 1",
      "user of b by 2",
      "handler by 2",
      "close 2"
    ])
  })

  it("an observer that dies changes no answer", async () => {
    const handler = closing(Lambda.handler(App, {
      routes,
      middleware: [Middleware.observe({ name: "dies", before: () => Effect.die("a"), after: () => Effect.die("b") })],
      layer: Layer.merge(act([]), logged())
    }))
    const sent = await LambdaClient.make(handler).sendBatch([message("a"), message("b", "fail")])
    assert.deepStrictEqual(sent.failed, ["b"])
  })

  it("Timing and its collector, as in a worker", async () => {
    const timings = Timing.collector()
    const handler = closing(Lambda.handler(App, {
      routes,
      middleware: [timings.observer],
      layer: Layer.merge(act([]), logged())
    }))
    await LambdaClient.make(handler).sendBatch([message("a"), message("b"), message("c", "fail")])
    const [summary] = timings.summary()
    assert.deepStrictEqual(summary?.outcomes, { Succeeded: 2, Dead: 1 })
  })
})

describe("duplicates", () => {
  const once = (ran: Array<string>, store: Layer.Layer<Idempotency.Store>) =>
    closing(Lambda.handler(App, {
      routes,
      middleware: [Idempotency.middleware({ key: (job) => job.headers["key"] ?? job.id })],
      layer: Layer.mergeAll(act(ran), store, logged())
    }))

  const stores = {
    memory: () => Idempotency.layerMemory,
    KeyValueStore: () => Layer.provide(Idempotency.layerKeyValueStore(), KeyValueStore.layerMemory)
  }
  for (const [name, store] of Object.entries(stores)) {
    it(`a record that was done already is acknowledged, not failed, and not run (${name})`, async () => {
      const ran: Array<string> = []
      const client = LambdaClient.make(once(ran, store()))
      const keyed = (id: string) => message(id, "ok", { attributes: { key: "charge-1" } })
      assert.deepStrictEqual((await client.send(keyed("a"))).acknowledged, ["a"])
      // the same message again, and another message of the same key
      assert.deepStrictEqual((await client.send({ ...keyed("a"), receiveCount: 2 })).acknowledged, ["a"])
      assert.deepStrictEqual((await client.send(keyed("b"))).acknowledged, ["b"])
      assert.deepStrictEqual(ran, ["a"])
    })

    it(`a failed record never blocks its redelivery (L10, ${name})`, async () => {
      const ran: Array<string> = []
      const client = LambdaClient.make(once(ran, store()))
      for (const act of ["fail", "die", "interrupt", "snooze", "ok"]) {
        const sent = await client.send(message("a", act))
        assert.deepStrictEqual(sent.failed, act === "ok" ? [] : ["a"])
      }
      assert.deepStrictEqual(ran, ["a", "a", "a", "a", "a"])
      await client.send(message("a"))
      assert.strictEqual(ran.length, 5)
    })
  }
})

describe("what a delivery middleware tells the queue", () => {
  it("a dead letter that it has put somewhere else is acknowledged", async () => {
    const buried: Array<string> = []
    const ran: Array<string> = []
    const handler = closing(Lambda.handler(App, {
      routes,
      middleware: [
        Middleware.delivery(
          "bury",
          (next, delivery) =>
            Effect.flatMap(next(delivery), (settlement) =>
              settlement._tag === "Dead"
                // here: a SendMessage to the queue's dead letters
                ? Effect.sync(() => {
                  buried.push(`${delivery.envelope.id} ${settlement.reason}`)
                  return { _tag: "Complete", how: "discarded", exit: undefined, reason: "moved to the dead letters" }
                })
                : Effect.succeed(settlement))
        )
      ],
      layer: Layer.merge(act(ran), logged())
    }))
    const sent = await LambdaClient.make(handler).sendBatch([
      message("a", "fail"),
      message("b", "snooze"),
      LambdaClient.raw("{", { messageId: "c" }),
      message("d")
    ])
    assert.deepStrictEqual(sent.failed, ["b"])
    assert.sameMembers(buried, ["a failed", "c undecodable"])
  })

  it("a delay that the answer cannot carry is there with the receipt handle, to be set by whoever has a client", async () => {
    const changed: Array<readonly [unknown, number]> = []
    const handler = closing(Lambda.handler(App, {
      routes,
      middleware: [
        Middleware.delivery(
          "delay",
          (next, delivery) =>
            Effect.tap(next(delivery), (settlement) =>
              settlement._tag === "Retry"
                // here: ChangeMessageVisibility
                ? Effect.sync(() => void changed.push([delivery.receipt.fence, settlement.after]))
                : Effect.void)
        )
      ],
      layer: Layer.merge(act([]), logged())
    }))
    const sent = await LambdaClient.make(handler).sendBatch([message("a", "snooze"), message("b")])
    assert.deepStrictEqual(sent.failed, ["a"])
    assert.deepStrictEqual(changed, [["receipt-1", 60_000]])
  })
})

describe("attempts", () => {
  it("the queue counts them and decides: a failing record comes back until the redrive policy takes it", async () => {
    const attempts: Array<string> = []
    class Flaky extends Task.make("Flaky", { payload: { good: Schema.Number }, error: Refused }) {}
    const handler = closing(Lambda.handler(TaskGroup.make(Flaky), {
      routes: Routes.make({ key: "type", tasks: [Flaky] }),
      middleware: [
        Middleware.make(
          "see",
          (next, input, job) => Effect.suspend(() => (attempts.push(`${job.id} ${job.attempt}`), next(input)))
        )
      ],
      layer: Layer.merge(
        Flaky.toLayer(({ good }) =>
          Effect.suspend(() =>
            attempts.filter((line) => line.startsWith(`${good === 2 ? "second" : "never"} `)).length >= good
              ? Effect.void
              : Effect.fail(new Refused({ name: "flaky" }))
          )
        ),
        logged()
      )
    }))
    const settled = await LambdaClient.make(handler).sendUntilSettled([
      LambdaClient.json({ type: "Flaky", good: 2 }, { messageId: "second" }),
      LambdaClient.json({ type: "Flaky", good: 9 }, { messageId: "never" })
    ], { maxReceiveCount: 3 })
    assert.deepStrictEqual(settled.acknowledged, ["second"])
    assert.deepStrictEqual(settled.deadLetters, ["never"])
    assert.deepStrictEqual(settled.rounds.map((round) => round.failed), [["second", "never"], ["never"], ["never"]])
    // a sibling that succeeded is not delivered again
    assert.deepStrictEqual(attempts, ["second 1", "never 1", "second 2", "never 2", "never 3"])
  })
})
