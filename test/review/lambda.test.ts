/** A function and its client as a stranger would use them: other sources' events, odd answers, ends that overlap. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import { assert, describe, it } from "vitest"
import { Lambda, LambdaClient, Routes } from "windlass/lambda"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import { act, acting, App, closing, logged, routes } from "../lambda/support.ts"
import { root } from "../support/tsc.ts"

const message = (name: string, act = "ok") => LambdaClient.json({ type: "act", name, act }, { messageId: name })
const failures = (...ids: ReadonlyArray<string>) => ({
  batchItemFailures: ids.map((itemIdentifier) => ({ itemIdentifier }))
})
const rejection = (promise: Promise<unknown>) =>
  promise.then((value) => assert.fail(`answered ${JSON.stringify(value)}`), (error: unknown) => error)

describe("what is no batch of SQS", () => {
  for (
    const [name, event] of [
      ["S3", { Records: [{ eventVersion: "2.1", eventSource: "aws:s3", eventName: "ObjectCreated:Put", s3: {} }] }],
      ["SNS", { Records: [{ EventVersion: "1.0", EventSource: "aws:sns", Sns: { MessageId: "m", Message: "{}" } }] }],
      ["Kinesis", { Records: [{ eventID: "shard:1", eventSource: "aws:kinesis", kinesis: { sequenceNumber: "1" } }] }]
    ] as const
  ) {
    it(`an event of ${name} fails the invocation: its caller reads no batchItemFailures of messages`, async () => {
      const { handler, ran } = acting()
      assert.instanceOf(await rejection(handler(event)), Lambda.InvalidEvent)
      assert.deepStrictEqual(ran, [])
    })
  }
})

describe("a body that claims to be a job of the SQS backend", () => {
  it("has strange fields: only its own record suffers", async () => {
    const { handler, ran } = acting({ order: "isolateGroups" })
    const bodies = [
      `{"windlass":1,"id":"x","task":"Act","version":1,"origin":"user","headers":5}\n{"name":"f0"}`,
      `{"windlass":1,"id":"x","task":"Act","version":1,"origin":"user","headers":{"a":1,"traceparent":{}}}\n{"name":"f1"}`,
      `{"windlass":1,"id":"x","task":"Act","version":1,"origin":"user","spent":"zz","enqueuedAt":"now","firstFailedAt":[],"scheduledFor":{}}\n{"name":"f2","act":"fail"}`,
      `{"windlass":1,"id":"x","task":"Act","version":1,"origin":"user","notBefore":"zz"}\n{"name":"f3"}`,
      `{"windlass":1,"id":"","task":"__proto__","version":1,"origin":"user"}\n{"name":"f4"}`,
      `{"windlass":1,"id":"x","task":"Act","version":-1.5,"origin":"zz","encoding":"zz","group":7}\n{"name":"f5"}`,
      `{"windlass":1,"id":"x","task":"Act","version":1,"origin":"user"}`
    ]
    const sent = await LambdaClient.make(handler).sendBatch([
      message("a"),
      ...bodies.map((b, i) => LambdaClient.raw(b, { messageId: `f${i}`, group: `g${i}` })),
      message("z")
    ])
    assert.deepStrictEqual(sent.response, failures("f2", "f4", "f5", "f6"))
    assert.deepStrictEqual(ran.toSorted(), ["a", "f0", "f1", "f2", "f3", "z"])
  })
})

describe("the end of an environment", () => {
  it("closing again, however late, waits for the close that is under way", async () => {
    const releasing = Deferred.makeUnsafe<void>()
    const mayEnd = Deferred.makeUnsafe<void>()
    const trace: Array<string> = []
    const handler = closing(Lambda.handler(App, {
      routes,
      layer: Layer.mergeAll(
        act([]),
        logged(),
        Layer.effectDiscard(Effect.acquireRelease(Effect.void, () =>
          Effect.gen(function*() {
            yield* Deferred.succeed(releasing, undefined)
            yield* Deferred.await(mayEnd)
            trace.push("released")
          })))
      )
    }))
    await handler.build()
    const first = handler.close()
    await Effect.runPromise(Deferred.await(releasing))
    const second = handler.close().then(() => trace.push("closed"))
    for (let i = 0; i < 50; i++) await Promise.resolve()
    Deferred.doneUnsafe(mayEnd, Effect.void)
    await Promise.all([first, second])
    assert.deepStrictEqual(trace, ["released", "closed"])
  })

  it("SIGTERM while somebody closes it ends the process when that is over", async () => {
    const child = spawn(process.execPath, ["--conditions=windlass-source", "test/review/lambda.child.ts"], {
      cwd: root,
      stdio: ["ignore", "pipe", "inherit"]
    })
    const exited = once(child, "close")
    const lines: Array<string> = []
    for await (const line of createInterface(child.stdout)) {
      lines.push(line)
      if (line === "closing") child.kill("SIGTERM")
    }
    assert.deepStrictEqual(await exited, [0, null])
    assert.deepStrictEqual(lines, ["closing", "asked", "closed"])
  })

  it("an invocation after close was asked for gets an environment of its own", async () => {
    let built = 0
    const ran: Array<string> = []
    const handler = closing(Lambda.handler(App, {
      routes,
      layer: Layer.mergeAll(act(ran), logged(), Layer.effectDiscard(Effect.sync(() => void built++)))
    }))
    await handler.build()
    const ended = handler.close()
    const sent = await LambdaClient.make(handler).send(message("a"))
    await ended
    assert.deepStrictEqual([sent.failed, ran, built], [[], ["a"], 2])
  })

  it("an invocation that a close overtakes reports its records", async () => {
    for (let ticks = 0; ticks < 12; ticks++) {
      const { handler, ran } = acting()
      await handler.build()
      const sending = LambdaClient.make(handler).send(message("a"))
      for (let i = 0; i < ticks; i++) await Promise.resolve()
      const ended = handler.close()
      const sent = await sending
      await ended
      assert.isUndefined(sent.error, `${ticks}: ${sent.error}`)
      assert.deepStrictEqual(sent.acknowledged, ran, `${ticks}`)
    }
  })
})

describe("the client", () => {
  it("takes no answer for a batch that is done, as the mapping does", async () => {
    for (const answer of [null, undefined, {}, { batchItemFailures: null }]) {
      const sent = await LambdaClient.make(() => Promise.resolve(answer as never)).send(message("a"))
      assert.deepStrictEqual([sent.acknowledged, sent.failed], [["a"], []], JSON.stringify(answer))
    }
    for (const answer of [{ batchItemFailures: "a" }, { batchItemFailures: ["a"] }, { batchItemFailures: [null] }]) {
      const sent = await LambdaClient.make(() => Promise.resolve(answer as never)).send(message("a"))
      assert.deepStrictEqual([sent.acknowledged, sent.failed], [[], ["a"]], JSON.stringify(answer))
    }
  })

  it("hands out a new receipt handle at every delivery", async () => {
    const receipts: Array<string> = []
    const client = LambdaClient.make((event) => {
      receipts.push((event as { Records: Array<Lambda.Record> }).Records[0]!.receiptHandle)
      return Promise.resolve(failures("a"))
    })
    await client.sendUntilSettled([message("a")], { maxReceiveCount: 3 })
    assert.strictEqual(new Set(receipts).size, 3)
  })
})

describe("routes", () => {
  it("in any spelling, letters of every alphabet are letters", () => {
    class Oil extends Task.make("Öl2Gekauft") {}
    class Anger extends Task.make("Är2Gekauft") {}
    const { entries } = Routes.make({ key: "type", tasks: [Oil, Anger], names: "flexible" })
    assert.deepStrictEqual(Array.from(entries).filter(([, task]) => task === Oil).map(([value]) => value).sort(), [
      "Öl2Gekauft",
      "öl2-gekauft",
      "öl2Gekauft",
      "öl2_gekauft"
    ])
    assert.strictEqual(entries.size, 8)
  })

  it("a task that is listed twice is refused, as any value that is taken twice", () => {
    class Twice extends Task.make("Twice") {}
    assert.throws(() => Routes.make({ key: "type", tasks: [Twice, Twice] }), /task Twice is in tasks twice/)
  })
})

describe("given up", () => {
  it("a chain past its runTimeout is lost, whatever a delivery middleware makes of it", async () => {
    class Slow extends Task.make("Slow", { timeout: "10 millis", runTimeout: "20 millis" }) {}
    const wait = Middleware.delivery(
      "wait",
      (next, delivery) =>
        Effect.flatMap(next(delivery), (s) => Effect.as(Effect.ignoreCause(Effect.interruptible(Effect.never)), s))
    )
    const handler = closing(Lambda.handler(TaskGroup.make(Slow), {
      routes: Routes.make({ key: "type", tasks: [Slow] }),
      middleware: [wait],
      layer: Layer.merge(Slow.toLayer(() => Effect.void), logged())
    }))
    const sent = await LambdaClient.make(handler).send(LambdaClient.json({ type: "Slow" }, { messageId: "a" }))
    assert.deepStrictEqual(sent.failed, ["a"])
  })
})

describe("cut short", () => {
  it("a delivery middleware whose own wait was cut, and who catches that, ends no job that never ran (L13)", async () => {
    const waiting = Deferred.makeUnsafe<void>()
    const ran: Array<string> = []
    // as one that fetches a key, and gives up on what it has none for
    const keyed = Middleware.delivery("keyed", (next, delivery) =>
      Deferred.succeed(waiting, undefined).pipe(
        Effect.andThen(Effect.interruptible(Effect.never)),
        Effect.andThen(next(delivery)),
        Effect.catchCause(() =>
          Effect.succeed({ _tag: "Complete" as const, how: "discarded" as const, exit: undefined, reason: "no key" })
        )
      ))
    const handler = closing(
      Lambda.handler(App, { routes, middleware: [keyed], layer: Layer.merge(act(ran), logged()) })
    )
    const sending = LambdaClient.make(handler).send(message("a"))
    await Effect.runPromise(Deferred.await(waiting))
    await handler.close()
    assert.deepStrictEqual([(await sending).response, ran], [failures("a"), []])
  })
})
