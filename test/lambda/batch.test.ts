/** Which messages of a batch are reported, and in which order its records run: standard queues, FIFO queues, bad records. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import { Lambda, LambdaClient } from "windlass/lambda"
import { runBatch } from "../../src/lambda/internal/batch.ts"
import { elementsOf } from "../../src/lambda/internal/event.ts"
import { acting, logged } from "./support.ts"

const message = (name: string, act = "ok", more: Omit<LambdaClient.Message, "body"> = {}) =>
  LambdaClient.json({ type: "act", name, act }, { messageId: name, ...more })

const inGroup = (group: string, name: string, act = "ok") => message(name, act, { group })

const failures = (...ids: ReadonlyArray<string>) => ({
  batchItemFailures: ids.map((itemIdentifier) => ({ itemIdentifier }))
})

const rejection = async (promise: Promise<unknown>): Promise<unknown> => {
  const ended = await promise.then((value) => ({ value }), (error: unknown) => ({ error }))
  assert.property(ended, "error", "it should have failed")
  return (ended as { readonly error: unknown }).error
}

describe("a batch of a standard queue", () => {
  it("FSQS-20 one of three fails: only its id is reported", async () => {
    const { handler, ran } = acting()
    const sent = await LambdaClient.make(handler).sendBatch([message("a"), message("b", "fail"), message("c")])
    assert.deepStrictEqual(sent.response, failures("b"))
    assert.deepStrictEqual([sent.acknowledged, sent.failed], [["a", "c"], ["b"]])
    assert.sameMembers(ran, ["a", "b", "c"])
  })

  it("FSQS-20 with partial reporting off the invocation fails and names the ids", async () => {
    const { handler } = acting({ partialFailures: false })
    const client = LambdaClient.make(handler)
    const sent = await client.sendBatch([message("a"), message("b", "fail"), message("c", "die")])
    assert.instanceOf(sent.error, Lambda.BatchFailed)
    assert.deepStrictEqual((sent.error as Lambda.BatchFailed).ids, ["b", "c"])
    assert.include((sent.error as Lambda.BatchFailed).message, "b, c")
    assert.deepStrictEqual(sent.failed, ["a", "b", "c"])
    assert.deepStrictEqual((await client.send(message("d"))).response, failures())
  })

  it("every way to end: succeeded and discarded are done, all others are reported", async () => {
    const { handler } = acting()
    const acts = ["ok", "discard", "fail", "die", "interrupt", "dead", "snooze"]
    const { response } = await LambdaClient.make(handler).sendBatch(acts.map((act) => message(act, act)))
    assert.deepStrictEqual(response, failures("fail", "die", "interrupt", "dead", "snooze"))
  })

  it("a handler that interrupts itself is no success (L13)", async () => {
    for (const queue of ["orders", "orders.fifo"]) {
      const { handler, ran } = acting()
      const sent = await LambdaClient.make(handler, { queue }).sendBatch([
        inGroup("g", "a", "interrupt"),
        inGroup("g", "b")
      ])
      assert.deepStrictEqual(sent.failed, queue === "orders" ? ["a"] : ["a", "b"])
      assert.deepStrictEqual(ran, queue === "orders" ? ["a", "b"] : ["a"])
    }
  })

  it("runs side by side, and never more than `concurrency` at once", async () => {
    let open = 0
    let most = 0
    const meeting = Deferred.makeUnsafe<void>()
    const { handler } = acting({
      concurrency: 3,
      others: (name) =>
        Effect.gen(function*() {
          open++
          most = Math.max(most, open)
          // nobody leaves before three are there: they do run side by side
          if (open === 3) yield* Deferred.succeed(meeting, undefined)
          yield* Deferred.await(meeting)
          yield* Effect.yieldNow
          open--
          return name
        })
    })
    const sent = await LambdaClient.make(handler).sendBatch(
      Array.from({ length: 12 }, (_, i) => message(`m${i}`, "meet"))
    )
    assert.deepStrictEqual(sent.failed, [])
    assert.strictEqual(most, 3)
  })

  it("message groups of a standard queue (fair queues) ask for no order", async () => {
    const { handler, ran } = acting()
    const sent = await LambdaClient.make(handler).sendBatch([inGroup("g", "a", "fail"), inGroup("g", "b")])
    assert.deepStrictEqual(sent.failed, ["a"])
    assert.deepStrictEqual(ran, ["a", "b"])
  })
})

describe("a batch of a FIFO queue", () => {
  it("isolateGroups: a failure reports its record and the rest of its group, unrun; other groups go on", async () => {
    const { handler, ran } = acting()
    const sent = await LambdaClient.make(handler, { queue: "orders.fifo" }).sendBatch([
      inGroup("x", "x1"),
      inGroup("y", "y1"),
      inGroup("x", "x2", "fail"),
      inGroup("y", "y2"),
      inGroup("x", "x3"),
      inGroup("y", "y3")
    ])
    assert.deepStrictEqual(sent.response, failures("x2", "x3"))
    assert.deepStrictEqual(ran.filter((name) => name.startsWith("x")), ["x1", "x2"])
    assert.deepStrictEqual(ran.filter((name) => name.startsWith("y")), ["y1", "y2", "y3"])
  })

  it("haltBatch: the first failure reports itself and all behind it, of any group, unrun", async () => {
    const { handler, ran } = acting({ order: "haltBatch" })
    const sent = await LambdaClient.make(handler, { queue: "orders.fifo" }).sendBatch([
      inGroup("x", "x1"),
      inGroup("y", "y1", "die"),
      inGroup("x", "x2"),
      inGroup("z", "z1")
    ])
    assert.deepStrictEqual(sent.response, failures("y1", "x2", "z1"))
    assert.deepStrictEqual(ran, ["x1", "y1"])
  })

  it("the ARN decides, also when the first record has none; an explicit order wins", async () => {
    const fifo = acting()
    const client = LambdaClient.make(fifo.handler, { queue: "orders.fifo" })
    const { Records } = client.event([inGroup("g", "a"), inGroup("g", "b", "fail"), inGroup("g", "c")])
    const { eventSourceARN: _, ...first } = Records[0]!
    assert.deepStrictEqual(await client.invoke({ Records: [first, ...Records.slice(1)] }), failures("b", "c"))
    const explicit = acting({ order: "concurrent" })
    const sent = await LambdaClient.make(explicit.handler, { queue: "orders.fifo" }).sendBatch([
      inGroup("g", "a", "fail"),
      inGroup("g", "b")
    ])
    assert.deepStrictEqual(sent.failed, ["a"])
    const grouped = acting({ order: "isolateGroups" })
    const standard = await LambdaClient.make(grouped.handler).sendBatch([inGroup("g", "a", "fail"), inGroup("g", "b")])
    assert.deepStrictEqual(standard.failed, ["a", "b"])
  })

  it("FSQS-23 two groups that wait for each other both end under a concurrency of 1", async () => {
    const there = { a: Deferred.makeUnsafe<void>(), b: Deferred.makeUnsafe<void>() }
    const { handler } = acting({
      concurrency: 1,
      others: (name) =>
        Effect.gen(function*() {
          yield* Deferred.succeed(there[name as "a" | "b"], undefined)
          yield* Deferred.await(there[name === "a" ? "b" : "a"])
          return name
        })
    })
    const sent = await LambdaClient.make(handler, { queue: "orders.fifo" }).sendBatch([
      inGroup("x", "a", "meet"),
      inGroup("y", "b", "meet")
    ])
    assert.deepStrictEqual(sent.response, failures())
  })

  it("records that name no group are one group", async () => {
    const { handler, ran } = acting()
    const sent = await LambdaClient.make(handler, { queue: "orders.fifo" }).sendBatch([
      message("a"),
      message("b", "fail"),
      message("c"),
      inGroup("g", "d")
    ])
    assert.deepStrictEqual(sent.response, failures("b", "c"))
    assert.sameMembers(ran, ["a", "b", "d"])
  })

  it("attributes in another case than SQS writes them still keep the groups apart", async () => {
    const { handler } = acting()
    const client = LambdaClient.make(handler, { queue: "orders.fifo" })
    const { Records } = client.event([inGroup("x", "a", "fail"), inGroup("y", "b"), inGroup("x", "c")])
    const lower = Records.map((record) => ({
      ...record,
      attributes: { messageGroupId: record.attributes["MessageGroupId"] }
    }))
    assert.deepStrictEqual(await client.invoke({ Records: lower }), failures("a", "c"))
  })
})

describe("records that are not what they should be", () => {
  it("FSQS-21 a failed record with an empty, null or missing id is never reported as blank; siblings keep theirs", async () => {
    for (const queue of ["orders", "orders.fifo"]) {
      const { handler, lines } = acting()
      const client = LambdaClient.make(handler, { queue })
      const { Records } = client.event([
        inGroup("1", "good"),
        { ...inGroup("2", "empty", "fail"), messageId: "" },
        { ...inGroup("3", "null", "fail"), messageId: null },
        { ...inGroup("4", "blank", "fail"), messageId: "  " },
        inGroup("5", "missing", "fail"),
        inGroup("6", "bad", "fail")
      ])
      const { messageId: _, ...missing } = Records[4]!
      const response = await client.invoke({ Records: [...Records.slice(0, 4), missing, Records[5]] })
      const unknown = Lambda.unknownIdentifier
      assert.deepStrictEqual(response, failures(unknown, unknown, unknown, unknown, "bad"))
      assert.isTrue(lines.some((line) => line.startsWith("Error") && line.includes("at 1, 2, 3, 4 of the event")))
    }
  })

  it("FSQS-21 a record without an id that succeeds is no failure", async () => {
    const { handler } = acting()
    const client = LambdaClient.make(handler)
    assert.deepStrictEqual((await client.send({ ...message("a"), messageId: "" })).response, failures())
  })

  it("FSQS-24 an element that is no record fails alone, anywhere in a standard or FIFO batch", async () => {
    for (const queue of ["orders", "orders.fifo"]) {
      for (const broken of [null, undefined, 7, "record", [], true]) {
        for (const place of [0, 1, 2]) {
          const { handler, ran } = acting()
          const client = LambdaClient.make(handler, { queue })
          const { Records } = client.event([inGroup("g", "a"), inGroup("g", "b")])
          const response = await client.invoke({
            Records: (Records as ReadonlyArray<unknown>).toSpliced(place, 0, broken)
          })
          assert.deepStrictEqual(response, failures(Lambda.unknownIdentifier))
          assert.deepStrictEqual(ran, ["a", "b"])
        }
      }
    }
  })

  it("FSQS-24 under haltBatch it is a failure like any other: what is behind it is reported", async () => {
    const { handler, ran } = acting({ order: "haltBatch" })
    const client = LambdaClient.make(handler, { queue: "orders.fifo" })
    const { Records } = client.event([inGroup("g", "a"), inGroup("g", "b")])
    const response = await client.invoke({ Records: [Records[0], null, Records[1]] })
    assert.deepStrictEqual(response, failures(Lambda.unknownIdentifier, "b"))
    assert.deepStrictEqual(ran, ["a"])
  })

  it("a record with strange fields fails alone and by its id", async () => {
    const { handler, ran, lines } = acting()
    const client = LambdaClient.make(handler)
    const { Records } = client.event([message("a")])
    const base = Records[0]!
    const response = await client.invoke({
      Records: [
        base,
        { messageId: "no-body" },
        { ...base, messageId: "number", body: 7 },
        { ...base, messageId: "no-json", body: "{", md5OfBody: undefined },
        { ...base, messageId: "a-list", body: "[1]", md5OfBody: undefined },
        { ...base, messageId: "null-attributes", attributes: null, messageAttributes: null },
        { ...base, messageId: "odd-attributes", attributes: 3, messageAttributes: { a: null, b: 1 }, eventSourceARN: 1 }
      ]
    })
    assert.deepStrictEqual(response, failures("no-body", "number", "no-json", "a-list"))
    assert.deepStrictEqual(ran, ["a", "a", "a"])
    assert.isTrue(lines.some((line) => line.includes("undecodable") && line.includes("no JSON")), lines.join("\n"))
  })

  it("a body that does not have the MD5 that its record says is failed without being run", async () => {
    const { handler, ran } = acting()
    const sent = await LambdaClient.make(handler).sendBatch([
      message("a"),
      message("b", "ok", { md5OfBody: "0".repeat(32) })
    ])
    assert.deepStrictEqual(sent.response, failures("b"))
    assert.deepStrictEqual(ran, ["a"])
  })
})

describe("the shapes of an event", () => {
  it("Records, the bare list of a pipe, one record alone, and an empty batch", async () => {
    const { handler, ran } = acting()
    const client = LambdaClient.make(handler)
    const { Records } = client.event([message("a"), message("b", "fail")])
    assert.deepStrictEqual(await client.invoke({ Records }), failures("b"))
    assert.deepStrictEqual(await client.invoke(Records), failures("b"))
    assert.deepStrictEqual(await client.invoke(Records[1]), failures("b"))
    assert.deepStrictEqual(await client.invoke({ Records: [] }), failures())
    assert.deepStrictEqual(await client.invoke([]), failures())
    assert.deepStrictEqual(ran, ["a", "b", "a", "b", "b"])
  })

  it("what is no batch fails the invocation: an empty answer would acknowledge it", async () => {
    const { handler } = acting()
    for (
      const event of [null, undefined, 7, "text", {}, { Records: null }, { Records: "x" }, { Records: {} }, { body: 1 }]
    ) {
      const error = await rejection(handler(event))
      assert.instanceOf(error, Lambda.InvalidEvent)
      assert.include((error as Lambda.InvalidEvent).message, "Expected { Records: [...] }")
    }
  })
})

describe("a fiber that dies outside of any record's run", () => {
  it("reports its record and the rest of its group, and takes no other group with it", async () => {
    const record = (messageId: string, MessageGroupId: string) => ({ messageId, attributes: { MessageGroupId } })
    const elements = elementsOf([
      record("a", "x"),
      record("b", "y"),
      record("c", "x"),
      record("d", "x"),
      record("e", "y")
    ])
    assert.isArray(elements)
    if (typeof elements === "string") return
    const reported = (order: Lambda.Order) =>
      Effect.runPromise(
        runBatch(elements, order, 10, ({ messageId }) => messageId === "c" ? Effect.die("boom") : Effect.succeed(true))
          .pipe(Effect.map((failed) => failed.map(({ messageId }) => messageId)), Effect.provide(logged()))
      )
    assert.deepStrictEqual(await reported("isolateGroups"), ["c", "d"])
    assert.deepStrictEqual(await reported("haltBatch"), ["c", "d", "e"])
    assert.deepStrictEqual(await reported("concurrent"), ["c"])
  })
})

describe("any batch", () => {
  const acts = ["ok", "ok", "ok", "discard", "fail", "die", "interrupt", "dead", "snooze"] as const
  const done = new Set<string>(["ok", "discard"])
  const element = fc.record({
    act: fc.constantFrom(...acts),
    group: fc.constantFrom(undefined, "g1", "g2", "g3"),
    shape: fc.constantFrom("record", "record", "record", "record", "no id", "no object", "no json"),
    yields: fc.nat(3)
  })
  type One = {
    readonly act: string
    readonly group: string | undefined
    readonly shape: string
    readonly yields: number
  }

  const isOk = ({ act, shape }: One) => (shape === "record" || shape === "no id") && done.has(act)
  const groupOf = ({ group, shape }: One, index: number) => shape === "no object" ? `alone ${index}` : `group ${group}`

  /** by the documentation, without a look at the implementation */
  const expected = (batch: ReadonlyArray<One>, order: Lambda.Order) => {
    const halted = new Set<string>()
    let run: ReadonlyArray<number> = []
    const reported = batch.flatMap((one, index) => {
      const scope = order === "haltBatch" ? "all" : order === "concurrent" ? `${index}` : groupOf(one, index)
      if (halted.has(scope)) return [index]
      if (one.shape === "record" || one.shape === "no id") run = [...run, index]
      if (isOk(one)) return []
      halted.add(scope)
      return [index]
    })
    return { reported, run }
  }

  for (const order of ["concurrent", "isolateGroups", "haltBatch"] as const) {
    it(`${order}: reports exactly what must be reported, and keeps the order that it promises`, async () => {
      const counts = { batches: 0, failed: 0, unrun: 0 }
      const { handler, ran } = acting({ order })
      await fc.assert(
        fc.asyncProperty(fc.array(element, { maxLength: 12 }), fc.constantFrom("q", "q.fifo"), async (batch, queue) => {
          ran.length = 0
          const client = LambdaClient.make(handler, { queue })
          const { Records } = client.event(batch.map(({ act, group, shape, yields }, i) => ({
            ...LambdaClient.json({ type: "act", name: `m${i}`, act, yields }, { messageId: `m${i}`, group }),
            ...(shape === "no json" ? { body: "{" } : {}),
            ...(shape === "no id" ? { messageId: "" } : {})
          })))
          const response = await client.invoke({
            Records: Records.map((record, i) => batch[i]!.shape === "no object" ? null : record)
          })
          const { reported, run } = expected(batch, order)
          const idOf = (i: number) =>
            batch[i]!.shape === "no id" || batch[i]!.shape === "no object" ? Lambda.unknownIdentifier : `m${i}`
          assert.deepStrictEqual(response, failures(...reported.map(idOf)))
          assert.sameMembers(ran, run.map((i) => `m${i}`))
          const scopes = order === "haltBatch" ?
            [run] :
            Array.from(new Set(batch.map(groupOf))).map((group) => run.filter((i) => groupOf(batch[i]!, i) === group))
          if (order !== "concurrent") {
            for (const scope of scopes) {
              const names = scope.map((i) => `m${i}`)
              assert.deepStrictEqual(ran.filter((name) => names.includes(name)), names)
            }
          }
          counts.batches++
          counts.failed += reported.length
          counts.unrun += batch.length - run.length
        }),
        { numRuns: 300 }
      )
      process.stdout.write(`${order}: ${JSON.stringify(counts)}\n`)
      assert.isAtLeast(counts.batches, 300)
      assert.isAtLeast(counts.failed, 300)
      assert.isAtLeast(counts.unrun, 100)
    })
  }
})
