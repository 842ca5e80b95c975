/**
 * What is SQS' own: what is stored of attempts, dead letters, long polls and what they bring, messages of other programs, and a
 * worker on all of that.
 */
import * as Sqs from "@aws-sdk/client-sqs"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Backend, Settlement } from "windlass/Backend"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as SqsBackend from "windlass/backends/SqsBackend"
import * as Enqueue from "windlass/Enqueue"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { published, read, write } from "../../src/backends/sqs/message.ts"
import { Claim, deliveryOf } from "../../src/backends/sqs/receive.ts"
import {
  backendOf,
  behind,
  build,
  client,
  dead,
  ids,
  item,
  retry,
  server,
  settings,
  standard,
  succeeded,
  takeOne
} from "./sqs/here.ts"
import { at, freshPrefix } from "./sqs/server.ts"

describe("attempts on a standard queue", () => {
  it.live("are counted by what is stored: spent and kept, the time of the first failure, and nothing lost", () =>
    Effect.gen(function*() {
      const { layer, look } = standard()
      const backend = yield* backendOf(layer)
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      yield* backend.publish("q", [item("a", { due: { _tag: "After", millis: 1 } })])
      const seen: Array<unknown> = []
      let first: number | undefined
      yield* subscription.await(1)
      for (
        const [why, attempt] of [["snoozed", "kept"], ["failed", "spent"], ["released", "kept"], [
          "failed",
          "spent"
        ]] as const
      ) {
        const delivery = yield* takeOne(subscription)
        seen.push([delivery.attempt, delivery.unsettled, delivery.lostFrom, delivery.scheduledFor !== undefined])
        if (first === undefined) first = delivery.firstFailedAt
        else assert.strictEqual(delivery.firstFailedAt, first)
        yield* subscription.settle([[delivery.receipt, retry({ why, attempt })]])
      }
      const last = yield* takeOne(subscription)
      assert.deepStrictEqual(seen, [1, 1, 2, 2].map((attempt) => [attempt, 0, undefined, true]))
      assert.strictEqual(last.attempt, 3)
      assert.isNumber(first)
      assert.isAtLeast(first!, last.enqueuedAt!)
      assert.deepStrictEqual(yield* subscription.settle([[last.receipt, succeeded]]), ["Settled"])
      assert.deepStrictEqual(look("q").messages, { ready: [], delayed: [], inflight: [] })
    }).pipe(Effect.scoped))

  it.live("a second delivery of one message was lost by its owner", () =>
    Effect.gen(function*() {
      const { layer } = standard({ lease: "1 second" })
      const backend = yield* backendOf(layer)
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      yield* backend.publish("q", [item("a")])
      const before = yield* takeOne(subscription)
      yield* subscription.await(1)
      const after = yield* takeOne(subscription)
      assert.deepStrictEqual([after.attempt, after.unsettled, after.lostFrom?.worker], [1, 1, "unknown"])
      // it stays so when it goes back as if it had never been claimed, and in no other settlement
      const unbegun = retry({ why: "released", attempt: "kept", unbegun: true })
      assert.deepStrictEqual(yield* subscription.settle([[after.receipt, unbegun]]), ["Settled"])
      const still = yield* takeOne(subscription)
      assert.deepStrictEqual([still.attempt, still.unsettled, still.lostFrom?.worker], [1, 1, "unknown"])
      assert.deepStrictEqual(yield* subscription.settle([[still.receipt, { ...unbegun, unbegun: undefined }]]), [
        "Settled"
      ])
      const last = yield* takeOne(subscription)
      assert.deepStrictEqual([last.attempt, last.unsettled, last.lostFrom], [1, 0, undefined])
      // what the old owner would send again is one job too many
      assert.deepStrictEqual(yield* subscription.settle([[before.receipt, retry()], [last.receipt, retry()]]), [
        "Lost",
        "Settled"
      ])
      assert.deepStrictEqual([(yield* subscription.take(10)).length, yield* subscription.take(10)], [1, []])
    }).pipe(Effect.scoped))

  it.live("one receipt settles once, also twice in a batch (L13)", () =>
    Effect.gen(function*() {
      const { layer } = standard()
      const backend = yield* backendOf(layer)
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      for (const settlement of [succeeded, retry(), dead]) {
        yield* backend.publish("q", [item("a")])
        const { receipt } = yield* takeOne(subscription)
        const lease = subscription.lease._tag === "Timed" ? subscription.lease : assert.fail("the lease is timed")
        assert.deepStrictEqual(yield* subscription.settle([[receipt, settlement], [receipt, succeeded]]), [
          "Settled",
          "Lost"
        ])
        assert.deepStrictEqual(yield* subscription.settle([[receipt, succeeded]]), ["Lost"])
        assert.deepStrictEqual(yield* lease.extend([receipt, { id: "a", fence: "nobody's" }]), ["Lost", "Lost"])
        for (const { receipt } of yield* subscription.take(10)) yield* subscription.settle([[receipt, succeeded]])
      }
    }).pipe(Effect.scoped))

  it.live("a retry that waits for longer than SQS delays a message is hidden until its time", () =>
    Effect.gen(function*() {
      const { layer, look, prefix } = standard()
      const backend = yield* backendOf(layer)
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      yield* backend.publish("q", [item("a")])
      const hour = 3_600_000
      const from = Date.now()
      yield* subscription.settle([[(yield* takeOne(subscription)).receipt, retry({ after: hour })]])
      const [parked] = look("q").messages.delayed
      const stored = read(parked!.body)!
      assert.isAtLeast(stored.notBefore!, from + hour)
      assert.isAtMost(Math.abs(parked!.delayUntil! - parked!.sentTimestamp - 900_000), 10)
      // the quarter of an hour is over, and the pause is not
      const notBefore = Date.now() + 1_200
      yield* Effect.promise(() =>
        client.send(
          new Sqs.SendMessageCommand({
            QueueUrl: server.inspectQueue(`${prefix}q`)!.url,
            MessageBody: write({ ...stored, notBefore })
          })
        )
      )
      assert.deepStrictEqual(yield* subscription.take(10), [])
      assert.strictEqual(look("q").messages.inflight.length, 1)
      const delivery = yield* Effect.flatMap(subscription.await(1), () => takeOne(subscription))
      assert.isAtLeast(Date.now(), notBefore)
      assert.strictEqual(delivery.attempt, 2)
    }).pipe(Effect.scoped))

  it("deliveries that such a pause took are not losses", () => {
    const sentAt = 1_000_000
    const hour = 3_600_000
    const claim = (after: number, receives: number) =>
      deliveryOf(
        new Claim(
          { lease: 30, fifo: false } as ConstructorParameters<typeof Claim>[0],
          { queue: "q", url: "u", deadUrl: "d" },
          {
            MessageId: "m",
            ReceiptHandle: "h",
            Body: write({
              ...published(item("a").envelope, { group: undefined, delayed: undefined, scheduledFor: undefined }),
              notBefore: sentAt + after
            }),
            Attributes: { ApproximateReceiveCount: String(receives), SentTimestamp: String(sentAt) }
          },
          0
        ),
        false
      ).unsettled
    assert.deepStrictEqual([claim(hour, 1), claim(hour, 2), claim(hour, 3)], [0, 0, 1])
    assert.deepStrictEqual([claim(20 * hour, 3), claim(20 * hour, 4)], [0, 1])
    assert.deepStrictEqual([claim(60_000, 1), claim(60_000, 2)], [0, 1])
  })
})

describe("dead letters", () => {
  it.live("a dead job is the job as it was published, with why it died beside it", () =>
    Effect.gen(function*() {
      const { layer, look } = standard()
      const backend = yield* backendOf(layer)
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      yield* backend.publish("q", [item("a")])
      yield* subscription.settle([[(yield* takeOne(subscription)).receipt, retry()]])
      yield* subscription.settle([[(yield* takeOne(subscription)).receipt, dead]])
      assert.deepStrictEqual(look("q").messages, { ready: [], delayed: [], inflight: [] })
      const [letter] = look("q-dead").messages.ready
      const stored = read(letter!.body)!
      assert.deepStrictEqual([stored.envelope, stored.spent, stored.firstFailedAt], [item("a").envelope, 0, undefined])
      assert.deepStrictEqual(
        Object.fromEntries(
          Object.entries(letter!.messageAttributes).map(([name, { StringValue }]) => [name, StringValue])
        ),
        {
          "windlass.reason": "failed",
          "windlass.queue": "q",
          "windlass.error": "it\ufffd broke \ufffd\ufffd",
          "windlass.exit": "{\"exit\":1}"
        }
      )
    }).pipe(Effect.scoped))

  it.live("they go where the queue's redrive policy says", () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const { queueArn } = server.createQueue(`${prefix}morgue`)
      server.createQueue(`${prefix}q`, {
        attributes: { RedrivePolicy: JSON.stringify({ deadLetterTargetArn: queueArn, maxReceiveCount: 5 }) }
      })
      const { layer, look } = standard({ prefix, create: false })
      const backend = yield* backendOf(layer)
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      yield* backend.publish("q", [item("a")])
      yield* subscription.settle([[(yield* takeOne(subscription)).receipt, dead]])
      assert.strictEqual(look("morgue").messages.ready.length, 1)
    }).pipe(Effect.scoped))

  it.live("an exit that has no room stays out, and the job is a dead letter all the same", () =>
    Effect.gen(function*() {
      const { layer, look } = standard()
      const backend = yield* backendOf(layer)
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      const payload = "x".repeat(SqsBackend.defaults.limits.payloadBytes)
      yield* backend.publish("q", [{ envelope: { ...item("a").envelope, payload } }])
      const { receipt } = yield* takeOne(subscription)
      const exit = "e".repeat(10_000)
      assert.deepStrictEqual(yield* subscription.settle([[receipt, { ...dead, exit } as Settlement]]), ["Settled"])
      const [letter] = look("q-dead").messages.ready
      assert.deepStrictEqual(Object.keys(letter!.messageAttributes), [
        "windlass.reason",
        "windlass.queue",
        "windlass.error"
      ])
      assert.strictEqual(read(letter!.body)!.envelope.payload.length, payload.length)
    }).pipe(Effect.scoped))

  it.live("it is not deleted from its queue before it is a dead letter, and a settlement tried again buries it once", () =>
    Effect.gen(function*() {
      const { backend, look, proxy } = yield* behind()
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      yield* backend.publish("q", [item("a")])
      const { receipt } = yield* takeOne(subscription)
      const refused = { status: 400, body: { __type: "com.amazonaws.sqs#AccessDeniedException", message: "no" } }
      proxy.play("SendMessageBatch", { _tag: "answer", ...refused })
      const error = yield* Effect.flip(subscription.settle([[receipt, dead]]))
      assert.deepStrictEqual([error.outcome, error.retryable], ["NotApplied", false])
      assert.match(error.message, /lack a right on queue "q".*sqs:SendMessage/)
      assert.strictEqual(look("q").messages.inflight.length, 1)
      proxy.play("DeleteMessageBatch", { _tag: "cut" })
      const half = yield* Effect.flip(subscription.settle([[receipt, dead]]))
      assert.deepStrictEqual([half.outcome, half.retryable], ["Unknown", true])
      assert.deepStrictEqual(yield* subscription.settle([[receipt, dead]]), ["Settled"])
      assert.strictEqual(look("q-dead").messages.ready.length, 1)
      assert.deepStrictEqual(look("q").messages, { ready: [], delayed: [], inflight: [] })
    }).pipe(Effect.scoped))
})

describe("waiting", () => {
  it.live("what a long poll brought and no claim took goes back, with nothing spent and nothing lost", () =>
    Effect.gen(function*() {
      const { layer } = standard()
      const backend = yield* backendOf(layer)
      const two = yield* backend.subscribe("q", { worker: "two" })
      yield* Effect.scoped(Effect.gen(function*() {
        const one = yield* backend.subscribe("q", { worker: "one" })
        yield* backend.publish("q", [item("a"), item("b")])
        yield* one.await(10)
        assert.deepStrictEqual(yield* two.take(10), [])
      }))
      const deliveries = yield* two.take(10)
      assert.deepStrictEqual(ids(deliveries).toSorted(), ["a", "b"])
      assert.deepStrictEqual(
        deliveries.map(({ attempt, lostFrom, unsettled }) => [attempt, unsettled, lostFrom]),
        [[1, 0, undefined], [1, 0, undefined]]
      )
    }).pipe(Effect.scoped))

  it.live("who stops waiting holds nothing for long: what the poll brings then goes back", () =>
    Effect.gen(function*() {
      const { layer } = standard({ lease: "8 seconds" })
      const backend = yield* backendOf(layer)
      const one = yield* backend.subscribe("q", { worker: "one" })
      const two = yield* backend.subscribe("q", { worker: "two" })
      yield* Fiber.interrupt(yield* Effect.forkChild(one.await(10), { startImmediately: true }))
      yield* backend.publish("q", [item("a")])
      yield* two.await(10)
      const delivery = yield* takeOne(two)
      // it was given back: had its lease run out, it would be said to be lost
      assert.deepStrictEqual([delivery.attempt, delivery.unsettled], [1, 0])
    }).pipe(Effect.scoped))

  it.live("who waits again joins the poll that is under way", () =>
    Effect.gen(function*() {
      const { backend, proxy } = yield* behind()
      const one = yield* backend.subscribe("q", { worker: "one" })
      for (let n = 0; n < 5; n++) {
        yield* Fiber.interrupt(yield* Effect.forkChild(one.await(10), { startImmediately: true }))
      }
      const waiting = yield* Effect.forkChild(one.await(10), { startImmediately: true })
      yield* backend.publish("q", [item("a")])
      yield* Fiber.join(waiting)
      assert.deepStrictEqual(ids(yield* one.take(10)), ["a"])
      const polls = proxy.calls.filter(({ body, operation }) =>
        operation === "ReceiveMessage" && body.WaitTimeSeconds > 0
      )
      assert.strictEqual(polls.length, 1)
      assert.deepStrictEqual([polls[0]!.body.WaitTimeSeconds, polls[0]!.body.MaxNumberOfMessages], [20, 10])
    }).pipe(Effect.scoped))

  it.live("a poll that fails says so to who waits, and the next one is made", () =>
    Effect.gen(function*() {
      const { backend, proxy } = yield* behind()
      const one = yield* backend.subscribe("q", { worker: "one" })
      proxy.play("ReceiveMessage", { _tag: "cut" })
      const error = yield* Effect.flip(one.await(1))
      assert.deepStrictEqual([error.operation, error.retryable, error.outcome], ["await", true, "Unknown"])
      yield* backend.publish("q", [item("a")])
      yield* one.await(1)
      assert.deepStrictEqual(ids(yield* one.take(1)), ["a"])
    }).pipe(Effect.scoped))

  it.live("a busy queue is asked by several receives at once, of ten each at most", () =>
    Effect.gen(function*() {
      const { backend, proxy } = yield* behind({ receivers: 3 })
      const one = yield* backend.subscribe("q", { worker: "one" })
      yield* backend.publish("q", Array.from({ length: 60 }, (_, n) => item(`${n}`)))
      assert.strictEqual((yield* one.take(1_000)).length, 10)
      assert.strictEqual((yield* one.take(1_000)).length, 30)
      assert.strictEqual((yield* one.take(15)).length, 15)
      const sizes = proxy.calls.flatMap(({ body, operation }) =>
        operation === "ReceiveMessage" ? [body.MaxNumberOfMessages] : []
      )
      assert.deepStrictEqual(sizes.toSorted(), [10, 10, 10, 10, 10, 5])
    }).pipe(Effect.scoped))
})

describe("messages of other programs", () => {
  const sendRaw = (url: string, MessageBody: string, attributes: Record<string, string> = {}) =>
    Effect.promise(() =>
      client.send(
        new Sqs.SendMessageCommand({
          QueueUrl: url,
          MessageBody,
          MessageAttributes: Object.fromEntries(
            Object.entries(attributes).map(([name, StringValue]) => [name, { DataType: "String", StringValue }])
          )
        })
      )
    )

  it.live("are the jobs that `foreign` says, go back as they are, and die as they came", () =>
    Effect.gen(function*() {
      const { layer, look } = standard({
        foreign: ({ attributes, body }) => ({ task: String(attributes["type"]), payload: body })
      })
      const backend = yield* backendOf(layer)
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      yield* sendRaw(look("q").url, "{\"to\":\"ann\"}", { type: "SendEmail" })
      const first = yield* takeOne(subscription)
      assert.deepStrictEqual(first.envelope, {
        id: first.envelope.id,
        task: "SendEmail",
        version: 1,
        payload: "{\"to\":\"ann\"}",
        headers: { type: "SendEmail" },
        origin: "user"
      })
      yield* subscription.settle([[first.receipt, retry()]])
      const second = yield* takeOne(subscription)
      // nothing can be stored with it, so its deliveries are counted, and none is called lost
      assert.deepStrictEqual([second.envelope.id, second.attempt, second.unsettled], [first.envelope.id, 2, 0])
      yield* subscription.settle([[second.receipt, dead]])
      const [letter] = look("q-dead").messages.ready
      assert.strictEqual(letter!.body, "{\"to\":\"ann\"}")
      assert.strictEqual(letter!.messageAttributes["type"]!.StringValue, "SendEmail")
      assert.strictEqual(letter!.messageAttributes["windlass.reason"]!.StringValue, "failed")
      assert.deepStrictEqual(look("q").messages, { ready: [], delayed: [], inflight: [] })
    }).pipe(Effect.scoped))

  it.live("that ask for no job are of no task, and are not dropped", () =>
    Effect.gen(function*() {
      const { layer, look } = standard()
      const backend = yield* backendOf(layer)
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      for (const body of ["hello", "{\"windlass\":1,\"id\":1}\n", "{\"windlass\":1,no json\n"]) {
        yield* sendRaw(look("q").url, body)
        const delivery = yield* takeOne(subscription)
        assert.deepStrictEqual([delivery.envelope.task, delivery.envelope.payload], ["", body])
        yield* subscription.settle([[delivery.receipt, succeeded]])
      }
    }).pipe(Effect.scoped))
})

class Flaky extends Schema.TaggedError<Flaky>()("Flaky", {}) {}

class Send extends Task.make("Send", {
  payload: { to: Schema.String },
  error: Flaky,
  retry: Schedule.recurs(2)
}) {}

describe("a worker", () => {
  /** runs until what it waits for has happened; the layer's end stops the worker */
  const work = <S, E, A>(
    backend: Layer.Layer<Backend | S, E>,
    handler: (to: string, job: Job.Info) => Effect.Effect<void, Flaky>,
    program: (worker: Worker.Worker["Service"]) => Effect.Effect<A, unknown, Backend | S>
  ) =>
    Effect.gen(function*() {
      const live = Worker.layer(TaskGroup.make(Send), { concurrency: 5, logJobs: false }).pipe(
        Layer.provide(Send.toLayer(({ to }) => Effect.flatMap(Job.Current, (job) => handler(to, job)))),
        Layer.provideMerge(backend)
      )
      const context = yield* build(live)
      return yield* Effect.provide(program(Context.get(context, Worker.Worker)), context)
    }).pipe(Effect.scoped)

  it.live("runs jobs, retries what fails, buries what has no attempt left, and stops", () =>
    Effect.gen(function*() {
      const { layer, look } = standard()
      const seen: Array<string> = []
      const all = yield* Deferred.make<void>()
      yield* work(
        layer,
        (to, { attempt }) =>
          Effect.suspend(() => {
            seen.push(`${to} ${attempt}`)
            if (seen.length === 7) Deferred.doneUnsafe(all, Exit.void)
            return to === "bad" || (to === "flaky" && attempt < 3) ? new Flaky() : Effect.void
          }),
        (worker) =>
          Effect.gen(function*() {
            yield* Send.enqueueMany([{ to: "good" }, { to: "flaky" }, { to: "bad" }])
            yield* Deferred.await(all)
            yield* worker.stop
          })
      )
      assert.deepStrictEqual(seen.toSorted(), [
        "bad 1",
        "bad 2",
        "bad 3",
        "flaky 1",
        "flaky 2",
        "flaky 3",
        "good 1"
      ])
      assert.deepStrictEqual(look("default").messages, { ready: [], delayed: [], inflight: [] })
      const [letter, ...more] = look("default-dead").messages.ready
      assert.deepStrictEqual(more, [])
      assert.match(letter!.messageAttributes["windlass.exit"]!.StringValue!, /Flaky/)
    }))

  const traceOn = <S, E>(backend: Layer.Layer<Backend | S, E>) =>
    Effect.gen(function*() {
      const trace: Array<string> = []
      const events: Array<string> = []
      const noted = Middleware.make("noted", (next, input, { attempt, id }) =>
        Effect.suspend(() => {
          trace.push(`before ${id} ${attempt}`)
          return Effect.onExit(next(input), (exit) => Effect.sync(() => void trace.push(`after ${exit._tag}`)))
        }))
      const live = Worker.layer(TaskGroup.make(Send), { concurrency: 1, logJobs: false, middleware: [noted] }).pipe(
        Layer.provide(Send.toLayer(() =>
          Effect.flatMap(Job.Current, ({ attempt }) => {
            trace.push(`handler ${attempt}`)
            return attempt < 3 ? new Flaky() : Effect.void
          })
        )),
        Layer.provideMerge(backend)
      )
      const context = yield* build(live)
      const heard = yield* Effect.forkChild(
        Context.get(context, Worker.Worker).events.pipe(
          Stream.tap(({ _tag, attempt }) => Effect.sync(() => void events.push(`${_tag} ${attempt}`))),
          Stream.takeUntil(({ _tag }) => _tag === "Succeeded"),
          Stream.runDrain
        ),
        { startImmediately: true }
      )
      yield* Effect.provide(Send.enqueue({ to: "ann" }).pipe(Enqueue.id("job-1")), context)
      yield* Fiber.join(heard)
      return { events, trace }
    }).pipe(Effect.scoped)

  it.live("meets the same points as on memory, on either kind of queue (L12)", () =>
    Effect.gen(function*() {
      const expected = yield* traceOn(MemoryBackend.layer)
      assert.deepStrictEqual([expected.trace.length, expected.events.at(-1)], [9, "Succeeded 3"])
      assert.deepStrictEqual(yield* traceOn(standard().layer), expected)
      assert.deepStrictEqual(yield* traceOn(SqsBackend.layerFifo(at(server, settings))), expected)
      assert.deepStrictEqual(yield* traceOn(MemoryBackend.as("sqs")), expected)
      assert.deepStrictEqual(yield* traceOn(MemoryBackend.as("sqs-fifo")), expected)
    }))

  it.live("that is stopped in the middle gives back what it has, for the next one", () =>
    Effect.gen(function*() {
      const { layer, look } = standard()
      const begun = yield* Deferred.make<void>()
      yield* work(
        layer,
        () => Effect.andThen(Deferred.succeed(begun, undefined), Effect.never),
        (worker) =>
          Effect.gen(function*() {
            yield* Send.enqueueMany(Array.from({ length: 12 }, (_, n) => ({ to: `${n}` })))
            yield* Deferred.await(begun)
            yield* worker.interrupt
          })
      )
      const { inflight, ready } = look("default").messages
      assert.deepStrictEqual([ready.length, inflight.length], [12, 0])
      const counts = ready.map(({ approximateReceiveCount, body }) => [approximateReceiveCount, read(body)!.spent])
      assert.isTrue(counts.every(([receives, spent]) => receives === 0 && spent === 0))
    }))

  it.live("on a FIFO queue runs a group in order, one at a time, over failures", () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const seen: Array<string> = []
      let running = 0
      const all = yield* Deferred.make<void>()
      yield* work(
        SqsBackend.layerFifo(at(server, { ...settings, prefix })),
        (to, { attempt }) =>
          Effect.gen(function*() {
            running++
            seen.push(`${to} ${attempt} ${running}`)
            yield* Effect.yieldNow
            running--
            if (seen.length === 5) Deferred.doneUnsafe(all, Exit.void)
            if (to === "b" && attempt < 3) return yield* new Flaky()
          }),
        (worker) =>
          Effect.gen(function*() {
            yield* Send.enqueueMany(["a", "b", "c"].map((to) => ({ to }))).pipe(Enqueue.group("g"))
            yield* Deferred.await(all)
            yield* worker.stop
          })
      )
      assert.deepStrictEqual(seen, ["a 1 1", "b 1 1", "b 2 1", "b 3 1", "c 1 1"])
    }))
})
