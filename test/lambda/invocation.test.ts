/** What belongs to an invocation and to the environment that it runs in: time, resources, telemetry, the end. */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import * as Job from "windlass/Job"
import { Lambda, LambdaClient, Routes } from "windlass/lambda"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { root } from "../support/tsc.ts"
import { act, App, closing, logged, routes } from "./support.ts"

class NoConnection extends Schema.TaggedError<NoConnection>()("NoConnection", { message: Schema.String }) {}

class Work extends Task.make("Work", { payload: { name: Schema.String }, success: Schema.Unknown }) {}
const Works = TaskGroup.make(Work)
const workRoutes = Routes.make({ key: "type", tasks: [Work] })
const work = (name: string, group?: string) =>
  LambdaClient.json({ type: "Work", name }, { messageId: name, ...(group === undefined ? {} : { group }) })
const failures = (...ids: ReadonlyArray<string>) => ({
  batchItemFailures: ids.map((itemIdentifier) => ({ itemIdentifier }))
})

/** a function on the clock of the test: its time runs out when the test says so */
const onTestClock = Effect.fnUntraced(function*(
  body: (name: string) => Effect.Effect<unknown, never, Job.Current>,
  options: { readonly margin?: Duration.Input; readonly order?: Lambda.Order; readonly around?: Lambda.Around } = {}
) {
  const clock = yield* Clock.Clock
  const lines: Array<string> = []
  const handler = closing(Lambda.handler(Works, {
    routes: workRoutes,
    order: options.order,
    around: options.around,
    margin: options.margin,
    layer: Layer.mergeAll(
      Work.toLayer(({ name }) => body(name)),
      logged(lines),
      Layer.succeed(Clock.Clock, clock)
    )
  }))
  yield* Effect.promise(() => handler.build())
  const call = (messages: ReadonlyArray<LambdaClient.Message>, seconds: number) =>
    Effect.forkChild(
      Effect.promise(() => {
        const until = clock.currentTimeMillisUnsafe() + seconds * 1_000
        return handler(LambdaClient.make(handler).event(messages), {
          getRemainingTimeInMillis: () => until - clock.currentTimeMillisUnsafe()
        })
      }),
      { startImmediately: true }
    )
  return { call, handler, lines }
})

describe("the function's remaining time", () => {
  it.effect("is the deadline: a margin before it bodies are interrupted, and what was not begun is reported unrun", () =>
    Effect.gen(function*() {
      const begun: Array<string> = []
      const ends: Array<string> = []
      const started = yield* Deferred.make<void>()
      let remaining: Option.Option<unknown> = Option.none()
      const { call } = yield* onTestClock((name) =>
        Effect.gen(function*() {
          begun.push(name)
          if (name === "quick") return
          remaining = yield* (yield* Job.Current).remaining
          yield* Deferred.succeed(started, undefined)
          return yield* Effect.onInterrupt(Effect.never, () => Effect.sync(() => ends.push(`${name} interrupted`)))
        }), { margin: "2 seconds", order: "haltBatch" })
      const running = yield* call([work("quick"), work("slow"), work("late")], 10)
      yield* Deferred.await(started)
      assert.strictEqual(String(Option.getOrThrow(remaining)), "8000 millis")
      yield* TestClock.adjust("7999 millis")
      assert.deepStrictEqual(ends, [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* Fiber.join(running), failures("slow", "late"))
      assert.deepStrictEqual(ends, ["slow interrupted"])
      assert.deepStrictEqual(begun, ["quick", "slow"])
    }))

  it.effect("a chain that does not end is given up in time for an answer, and counts as failed", () =>
    Effect.gen(function*() {
      const started = yield* Deferred.make<void>()
      const { call, lines } = yield* onTestClock((name) =>
        name === "good"
          ? Effect.void
          : Effect.andThen(Deferred.succeed(started, undefined), Effect.uninterruptible(Effect.never)), {
        margin: "2 seconds"
      })
      const running = yield* call([work("good"), work("stuck")], 10)
      yield* Deferred.await(started)
      yield* TestClock.adjust("9 seconds")
      assert.deepStrictEqual(yield* Fiber.join(running), failures("stuck"))
      assert.include(lines.join("\n"), "job stuck")
    }))

  it.effect("less than the margin: nothing is begun, everything is reported, and the log says why", () =>
    Effect.gen(function*() {
      const begun: Array<string> = []
      const { call, lines } = yield* onTestClock((name) => Effect.sync(() => begun.push(name)))
      const running = yield* call([work("a"), work("b")], 1)
      assert.deepStrictEqual(yield* Fiber.join(running), failures("a", "b"))
      assert.deepStrictEqual(begun, [])
      assert.include(lines.join("\n"), "nothing is begun: 1000 ms are left, and the margin is 1000 ms")
    }))

  it.effect("in an isolated group the record that was cut takes the rest of its group with it, no other", () =>
    Effect.gen(function*() {
      const started = yield* Deferred.make<void>()
      const { call } = yield* onTestClock((name) =>
        name.startsWith("slow")
          ? Effect.andThen(Deferred.succeed(started, undefined), Effect.never)
          : Effect.void, { order: "isolateGroups" })
      const running = yield* call([work("a", "x"), work("slow", "y"), work("b", "x"), work("c", "y")], 5)
      yield* Deferred.await(started)
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(yield* Fiber.join(running), failures("slow", "c"))
    }))

  it("random work against a random deadline: done is exactly what ended in time, in every order (L13)", async () => {
    const counts = { done: 0, cut: 0, unrun: 0 }
    const job = fc.record({ takes: fc.nat(19).map((n) => 4 * n + 4), group: fc.constantFrom("x", "y", "z") })
    const orders = fc.constantFrom<Lambda.Order>("concurrent", "isolateGroups", "haltBatch")
    await fc.assert(
      fc.asyncProperty(fc.array(job, { maxLength: 8 }), orders, fc.nat(30), async (jobs, order, quarter) => {
        const limit = 4 * quarter + 2 // never the moment at which a job ends
        const begun = new Set<string>()
        const ends = new Map<string, string>()
        const answer = await Effect.runPromise(
          Effect.gen(function*() {
            const { call } = yield* onTestClock((name) =>
              Effect.onExit(
                Effect.andThen(
                  Effect.sync(() => begun.add(name)),
                  Effect.suspend(() => Effect.sleep(jobs[Number(name)]!.takes))
                ),
                (exit) => Effect.sync(() => ends.set(name, exit._tag))
              ), { order, margin: "10 millis" })
            const running = yield* call(jobs.map(({ group }, i) => work(`${i}`, group)), (limit + 10) / 1_000)
            // every step at a time of its own, as time passes
            for (let i = 0; i <= limit; i++) yield* TestClock.adjust(1)
            return yield* Fiber.join(running)
          }).pipe(Effect.provide(TestClock.layer()))
        )
        // when each would end, by the documentation: Infinity when something before it does not end in time
        const at = new Map<string, number>()
        const reported = jobs.flatMap(({ group, takes }, i) => {
          const scope = order === "concurrent" ? `${i}` : order === "haltBatch" ? "all" : group
          const before = at.get(scope) ?? 0
          const end = before + takes
          const done = end < limit
          at.set(scope, done ? end : Infinity)
          assert.strictEqual(begun.has(`${i}`), before < limit, `${i} begun`)
          assert.strictEqual(ends.get(`${i}`), done ? "Success" : before < limit ? "Failure" : undefined)
          counts[done ? "done" : before < limit ? "cut" : "unrun"]++
          return done ? [] : [`${i}`]
        })
        assert.deepStrictEqual(answer, failures(...reported))
      }),
      { numRuns: 100 }
    )
    process.stdout.write(`against the deadline: ${JSON.stringify(counts)}\n`)
    for (const count of Object.values(counts)) assert.isAtLeast(count, 30)
  })

  it("a context that says no time sets no limit", async () => {
    const handler = closing(Lambda.handler(Works, {
      routes: workRoutes,
      layer: Layer.merge(Work.toLayer(() => Effect.map(Job.Current, (job) => job.remaining)), logged())
    }))
    const event = LambdaClient.make(handler).event([work("a")])
    assert.deepStrictEqual(await handler(event), failures())
    assert.deepStrictEqual(await handler(event, {}), failures())
    assert.deepStrictEqual(await handler(event, null as never), failures())
    assert.deepStrictEqual(await handler(event, { getRemainingTimeInMillis: () => Number.NaN }), failures())
  })
})

describe("the environment", () => {
  const counting = (trace: Array<string>, fails: () => boolean = () => false) =>
    Layer.effectDiscard(Effect.suspend(() =>
      fails()
        ? Effect.andThen(
          Effect.sync(() => trace.push("failed")),
          Effect.fail(new NoConnection({ message: "no connection" }))
        )
        : Effect.acquireRelease(
          Effect.sync(() => trace.push("open")),
          () => Effect.sync(() => trace.push("close"))
        )
    ))

  it("is built once, at the first invocation, and kept between invocations; close releases it, once", async () => {
    const trace: Array<string> = []
    const handler = closing(Lambda.handler(App, { routes, layer: Layer.mergeAll(act([]), counting(trace), logged()) }))
    assert.deepStrictEqual(trace, [])
    const client = LambdaClient.make(handler)
    await Promise.all([client.invoke([]), client.invoke([])])
    await client.send(LambdaClient.json({ type: "act", name: "a" }))
    assert.deepStrictEqual(trace, ["open"])
    await Promise.all([handler.close(), handler.close()])
    await handler.close()
    assert.deepStrictEqual(trace, ["open", "close"])
    assert.deepStrictEqual((await client.send(LambdaClient.json({ type: "act", name: "a" }))).failed, [])
    assert.deepStrictEqual(trace, ["open", "close", "open"])
  })

  it("can be built in the init phase", async () => {
    const trace: Array<string> = []
    const handler = closing(Lambda.handler(App, { routes, layer: Layer.mergeAll(act([]), counting(trace), logged()) }))
    await handler.build()
    assert.deepStrictEqual(trace, ["open"])
    await LambdaClient.make(handler).invoke([])
    assert.deepStrictEqual(trace, ["open"])
  })

  it("AMGI-22 a build that fails runs no record, fails the invocation, and is tried again at the next one", async () => {
    const trace: Array<string> = []
    const ran: Array<string> = []
    let broken = true
    const handler = closing(Lambda.handler(App, {
      routes,
      layer: Layer.mergeAll(act(ran), Layer.provideMerge(counting(trace, () => broken), counting(trace)), logged())
    }))
    const client = LambdaClient.make(handler)
    const message = LambdaClient.json({ type: "act", name: "a" }, { messageId: "a" })
    const sent = await client.send(message)
    assert.include(String(sent.error), "no connection")
    assert.deepStrictEqual(sent.failed, ["a"])
    // what was built before the failure is released
    assert.deepStrictEqual(trace, ["open", "failed", "close"])
    broken = false
    assert.deepStrictEqual((await client.send(message)).acknowledged, ["a"])
    assert.deepStrictEqual(ran, ["a"])
  })

  it("a list of middleware that cannot work fails the first build, not a record", async () => {
    const twice = Middleware.make("twice", (next, input) => next(input))
    const handler = closing(
      Lambda.handler(App, { routes, middleware: [twice, twice], layer: Layer.merge(act([]), logged()) })
    )
    const error = await handler.build().then(() => undefined, (error: unknown) => error)
    assert.instanceOf(error, Worker.InvalidWorker)
  })

  it("a concurrency or a margin that cannot work fails the first build", async () => {
    for (
      const options of [{ concurrency: 0 }, { concurrency: 1.5 }, { concurrency: Number.NaN }, {
        margin: "Infinity" as const
      }]
    ) {
      const handler = closing(Lambda.handler(App, { routes, ...options, layer: Layer.merge(act([]), logged()) }))
      const sent = await LambdaClient.make(handler).send(
        LambdaClient.json({ type: "act", name: "a" }, { messageId: "a" })
      )
      assert.instanceOf(sent.error, Worker.InvalidWorker)
      assert.deepStrictEqual(sent.failed, ["a"])
    }
  })

  it("closing interrupts what runs: it is reported, its releases run, then the layer's", async () => {
    const trace: Array<string> = []
    const started = Deferred.makeUnsafe<void>()
    const handler = closing(Lambda.handler(Works, {
      routes: workRoutes,
      order: "haltBatch",
      layer: Layer.mergeAll(
        Work.toLayer(() =>
          Effect.andThen(
            Effect.acquireRelease(Effect.void, () => Effect.sync(() => trace.push("release"))),
            Effect.andThen(Deferred.succeed(started, undefined), Effect.never)
          )
        ),
        counting(trace),
        logged()
      )
    }))
    const sending = LambdaClient.make(handler).sendBatch([work("a"), work("b")])
    await Effect.runPromise(Deferred.await(started))
    await handler.close()
    assert.deepStrictEqual((await sending).response, failures("a", "b"))
    assert.deepStrictEqual(trace, ["open", "release", "close"])
  })

  it("SIGTERM closes the layer before the process ends", async () => {
    const child = spawn(process.execPath, ["--conditions=windlass-source", "test/lambda/sigterm.child.ts"], {
      cwd: root,
      stdio: ["ignore", "pipe", "inherit"]
    })
    const exited = once(child, "close")
    const lines: Array<string> = []
    for await (const line of createInterface(child.stdout)) {
      lines.push(line)
      if (line === "answered") child.kill("SIGTERM")
    }
    assert.deepStrictEqual(await exited, [0, null])
    assert.deepStrictEqual(lines, ["open", "answered", "close"])
  })
})

describe("around an invocation", () => {
  const telemetry = (trace: Array<string>): Lambda.Around => (next, { context }) =>
    Effect.ensuring(
      Effect.andThen(Effect.sync(() => trace.push(`begin ${typeof context.awsRequestId}`)), next),
      Effect.sync(() => trace.push("flush"))
    )

  it("stands the whole invocation: a flush comes after the last job and before the answer", async () => {
    const trace: Array<string> = []
    const handler = closing(Lambda.handler(App, {
      routes,
      around: telemetry(trace),
      layer: Layer.merge(act(trace), logged())
    }))
    const client = LambdaClient.make(handler)
    await client.sendBatch([
      LambdaClient.json({ type: "act", name: "a" }),
      LambdaClient.json({ type: "act", name: "b" })
    ])
    assert.deepStrictEqual(trace, ["begin string", "a", "b", "flush"])
  })

  it("sees a whole batch that fails, and cannot change what it comes to", async () => {
    const trace: Array<string> = []
    const handler = closing(Lambda.handler(App, {
      routes,
      partialFailures: false,
      around: (next) => Effect.onExit(next, (exit) => Effect.sync(() => trace.push(exit._tag))),
      layer: Layer.merge(act([]), logged())
    }))
    const sent = await LambdaClient.make(handler).send(LambdaClient.json({ type: "act", name: "a", act: "fail" }))
    assert.instanceOf(sent.error, Lambda.BatchFailed)
    assert.deepStrictEqual(trace, ["Failure"])
  })

  it("runs the batch once, however often it runs next", async () => {
    const ran: Array<string> = []
    const handler = closing(Lambda.handler(App, {
      routes,
      partialFailures: false,
      around: (next) => Effect.retry(Effect.andThen(next, next), { times: 2 }),
      layer: Layer.merge(act(ran), logged())
    }))
    const client = LambdaClient.make(handler)
    const good = await client.send(LambdaClient.json({ type: "act", name: "a" }))
    assert.deepStrictEqual(good.response, failures())
    const bad = await client.send(LambdaClient.json({ type: "act", name: "b", act: "fail" }))
    assert.instanceOf(bad.error, Lambda.BatchFailed)
    assert.deepStrictEqual(ran, ["a", "b"])
  })

  it("that dies after the batch does not have it delivered again; one that dies before it runs nothing", async () => {
    const ran: Array<string> = []
    const lines: Array<string> = []
    let early = false
    const handler = closing(Lambda.handler(App, {
      routes,
      around: (next) =>
        early
          ? Effect.andThen(Effect.die(new Error("no telemetry")), next)
          : Effect.ensuring(next, Effect.die(new Error("no flush"))),
      layer: Layer.merge(act(ran), logged(lines))
    }))
    const client = LambdaClient.make(handler)
    const two = [
      LambdaClient.json({ type: "act", name: "a" }, { messageId: "a" }),
      LambdaClient.json({ type: "act", name: "b", act: "fail" }, { messageId: "b" })
    ]
    assert.deepStrictEqual((await client.sendBatch(two)).response, failures("b"))
    assert.include(lines.join("\n"), "no flush")
    early = true
    const sent = await client.sendBatch(two)
    assert.include(String(sent.error), "no telemetry")
    assert.deepStrictEqual(sent.failed, ["a", "b"])
    assert.deepStrictEqual(ran, ["a", "b"])
  })

  it.effect("that never comes to the batch: everything is reported in time, and nothing is begun afterwards", () =>
    Effect.gen(function*() {
      const begun: Array<string> = []
      const gate = yield* Deferred.make<void>()
      const { call } = yield* onTestClock((name) => Effect.sync(() => begun.push(name)), {
        margin: "2 seconds",
        around: (next) => Effect.andThen(Effect.uninterruptible(Deferred.await(gate)), next)
      })
      const running = yield* call([work("a"), work("b")], 10)
      yield* TestClock.adjust("9500 millis")
      assert.deepStrictEqual(yield* Fiber.join(running), failures("a", "b"))
      yield* Deferred.succeed(gate, undefined)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(begun, [])
    }))

  it("needs services of the layer", async () => {
    class Telemetry extends Context.Service<Telemetry, { readonly flush: Effect.Effect<void> }>()("test/Telemetry") {}
    let flushed = 0
    const handler = closing(Lambda.handler(App, {
      routes,
      around: (next) => Effect.flatMap(Telemetry, ({ flush }) => Effect.ensuring(next, flush)),
      layer: Layer.mergeAll(
        act([]),
        logged(),
        Layer.succeed(Telemetry, { flush: Effect.sync(() => void flushed++) })
      )
    }))
    await LambdaClient.make(handler).invoke([])
    assert.strictEqual(flushed, 1)
  })

  it.effect("a flush that hangs does not hold up the answer beyond the function's time", () =>
    Effect.gen(function*() {
      const { call, lines } = yield* onTestClock(() => Effect.void, {
        margin: "2 seconds",
        around: (next) => Effect.ensuring(next, Effect.never)
      })
      const running = yield* call([work("a")], 10)
      yield* TestClock.adjust("9 seconds")
      assert.isUndefined(running.pollUnsafe())
      yield* TestClock.adjust("500 millis")
      assert.deepStrictEqual(yield* Fiber.join(running), failures())
      assert.include(lines.join("\n"), "the answer is given without it")
    }))
})

describe("what a job sees", () => {
  it("the record, the event and the context; nothing of the record before it", async () => {
    const seen: Array<Lambda.Received | undefined> = []
    const handler = closing(Lambda.handler(Works, {
      routes: workRoutes,
      middleware: [
        Middleware.make("see", (next, input) => Effect.flatMap(Lambda.Current, (now) => (seen.push(now), next(input)))),
        Middleware.delivery(
          "see too",
          (next, delivery) => Effect.flatMap(Lambda.Current, (now) => (seen.push(now), next(delivery)))
        )
      ],
      layer: Layer.merge(Work.toLayer(() => Effect.map(Lambda.Current, (now) => void seen.push(now))), logged())
    }))
    const client = LambdaClient.make(handler)
    const event = client.event([work("a")])
    await client.invoke(event)
    assert.strictEqual(seen.length, 3)
    for (const now of seen) {
      assert.strictEqual(now?.record.messageId, "a")
      assert.strictEqual(now?.record.attributes?.SenderId, "AIDAEXAMPLE")
      assert.strictEqual(now?.event, event)
      assert.isString(now?.context.awsRequestId)
    }
    assert.isUndefined(Effect.runSync(Effect.map(Lambda.Current, (now) => now)))
  })

  it("the delivery: attempt, time, group, queue and receipt handle", async () => {
    let job: Job.Info | undefined
    let receipt: unknown
    const handler = closing(Lambda.handler(Works, {
      routes: workRoutes,
      middleware: [Middleware.observe({ name: "see", before: ({ delivery }) => void (receipt = delivery.receipt) })],
      layer: Layer.merge(
        Work.toLayer(() =>
          Effect.map(Job.Current, (now) => {
            const { attempt, enqueuedAt, group, id, queue, task } = now
            job = { ...now, attempt, enqueuedAt, group, id, queue, task }
          })
        ),
        logged()
      )
    }))
    await LambdaClient.make(handler, { queue: "orders.fifo" }).send({
      ...work("m-1", "customer-7"),
      receiveCount: 3,
      sentAt: 1_700_000_000_000
    })
    assert.deepInclude(job, {
      id: "m-1",
      task: "Work",
      queue: "orders.fifo",
      attempt: 3,
      enqueuedAt: 1_700_000_000_000,
      group: "customer-7"
    })
    assert.deepStrictEqual(receipt, { id: "m-1", fence: "receipt-1" })
  })

  it("asking its worker to stop ends the batch: what was not begun is reported, the next invocation works", async () => {
    const ran: Array<string> = []
    const handler = closing(Lambda.handler(Works, {
      routes: workRoutes,
      concurrency: 1,
      layer: Layer.merge(
        Work.toLayer(({ name }) =>
          Effect.gen(function*() {
            ran.push(name)
            if (name === "b") yield* (yield* Job.Current).worker.stop
          })
        ),
        logged()
      )
    }))
    const client = LambdaClient.make(handler)
    assert.deepStrictEqual((await client.sendBatch(["a", "b", "c", "d"].map((name) => work(name)))).failed, ["c", "d"])
    assert.deepStrictEqual((await client.sendBatch([work("c"), work("d")])).failed, [])
    assert.deepStrictEqual(ran, ["a", "b", "c", "d"])
  })
})
