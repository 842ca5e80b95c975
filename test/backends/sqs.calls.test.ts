/**
 * The look at a queue before it is worked on, the errors of SQS as errors of the contract, and calls that go wrong half-way.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SqsBackend from "windlass/backends/SqsBackend"
import { read } from "../../src/backends/sqs/message.ts"
import { backendOf, behind, ids, item, refusedWith, retry, server, standard, succeeded, takeOne } from "./sqs/here.ts"
import { at, credentials, freshPrefix } from "./sqs/server.ts"

describe("a queue before work begins", () => {
  const declare = (options: SqsBackend.Options, queue = "q") =>
    Effect.flatMap(backendOf(standard({ create: false, ...options }).layer), (backend) => backend.declare(queue))

  it.live("one that is not there is refused with what to do, by workers and by producers", () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const error = yield* refusedWith(declare({ prefix }), /no queue "wltest-.*-q".*create it, .*create: true/)
      assert.deepStrictEqual([error._tag, error.retryable], ["windlass/BackendError", false])
      const backend = yield* backendOf(standard({ prefix, create: false }).layer)
      const unsent = yield* refusedWith(backend.publish("q", [item("a")]), /no queue "wltest-.*-q"/)
      assert.deepStrictEqual([unsent.outcome, unsent.retryable], ["NotApplied", false])
      // made meanwhile: a failure is not remembered
      server.createQueue(`${prefix}q`)
      assert.deepStrictEqual(yield* backend.publish("q", [item("a")]), [{ _tag: "Stored" }])
    }).pipe(Effect.scoped))

  it.live("one without a queue for its dead jobs is refused: none is dropped", () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      server.createQueue(`${prefix}q`)
      yield* refusedWith(declare({ prefix }), /no queue ".*-q-dead" for the dead jobs of queue "q"/)
      server.createQueue(`${prefix}q-dlq`)
      yield* declare({ prefix, deadLetters: "-dlq" })
    }).pipe(Effect.scoped))

  it.live("a name that SQS does not take is refused, one of the other kind with the layer for it", () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      yield* refusedWith(
        declare({ prefix }, "a b"),
        /would be ".*a b" on SQS, which takes up to 80 letters.*something else/
      )
      yield* refusedWith(declare({ prefix }, "a".repeat(80)), /up to 80 letters/)
      yield* refusedWith(declare({ prefix }, "orders.fifo"), /use SqsBackend.layerFifo, with "orders" for the name/)
      const long = yield* backendOf(SqsBackend.layerFifo(at(server, { prefix: "" })))
      yield* refusedWith(long.declare("a".repeat(76)), /up to 80 letters/)
    }).pipe(Effect.scoped))

  it.live("one that takes smaller messages than the layer promises is refused with the limit to set", () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      server.createQueue(`${prefix}q`, { attributes: { MaximumMessageSize: "262144" } })
      server.createQueue(`${prefix}q-dead`)
      const error = yield* refusedWith(declare({ prefix }), /set limits.payloadBytes to 253952/)
      assert.strictEqual(error.outcome, "NotApplied")
      yield* declare({ prefix, limits: { payloadBytes: 253_952 } })
    }).pipe(Effect.scoped))

  it.live("a FIFO queue is made with a redrive policy, for nobody else can count its deliveries", () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const backend = yield* backendOf(SqsBackend.layerFifo(at(server, { prefix })))
      yield* backend.declare("q")
      const { attributes } = server.inspectQueue(`${prefix}q.fifo`)!
      const policy = JSON.parse(attributes["RedrivePolicy"]!)
      assert.strictEqual(policy.maxReceiveCount, 100)
      assert.strictEqual(policy.deadLetterTargetArn, server.inspectQueue(`${prefix}q-dead.fifo`)!.arn)
    }).pipe(Effect.scoped))

  it.live("is made by whoever comes first, with room for what the layer carries", () =>
    Effect.gen(function*() {
      const { layer, look } = standard({ limits: { payloadBytes: 60_000 } })
      const producer = yield* backendOf(layer)
      assert.deepStrictEqual(yield* producer.publish("q", [item("a")]), [{ _tag: "Stored" }])
      const { attributes, messages } = look("q")
      assert.strictEqual(attributes["MaximumMessageSize"], String(60_000 + 8 * 1024))
      assert.deepStrictEqual([messages.ready.length, look("q-dead").messages.ready.length], [1, 0])
      yield* Effect.flatMap(backendOf(layer), (worker) => worker.declare("q"))
    }).pipe(Effect.scoped))

  it.live("options that make no sense fail the layer", () =>
    Effect.gen(function*() {
      yield* refusedWith(
        backendOf(SqsBackend.layer({ lease: "1500 millis" })),
        /lease is 1.5 s: SQS counts in whole seconds/
      )
      yield* refusedWith(backendOf(SqsBackend.layer({ lease: "2 hours" })), /lease is 7200 s/)
      yield* refusedWith(backendOf(SqsBackend.layer({ pollWait: "30 seconds" })), /pollWait is 30 s/)
      yield* refusedWith(backendOf(SqsBackend.layer({ receivers: 0 })), /receivers is 0/)
      yield* refusedWith(backendOf(SqsBackend.layer({ callTimeout: 1 })), /callTimeout is 1 ms/)
    }).pipe(Effect.scoped))

  it.live("settings come from the configuration", () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const layer = SqsBackend.layerConfig({
        region: Config.String("REGION"),
        endpoint: Config.String("ENDPOINT"),
        prefix: Config.String("PREFIX"),
        create: Config.Boolean("CREATE")
      }, { client: { credentials } }).pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({
        REGION: "us-east-1",
        ENDPOINT: `http://127.0.0.1:${server.port}`,
        PREFIX: prefix,
        CREATE: "true"
      }))))
      const backend = yield* backendOf(layer)
      yield* backend.declare("q")
      yield* backend.ping
      assert.isDefined(server.inspectQueue(`${prefix}q`))
    }).pipe(Effect.scoped))
})

describe("errors", () => {
  const failing = (status: number, type: string) =>
    Effect.gen(function*() {
      const { backend, proxy } = yield* behind()
      yield* backend.declare("q")
      proxy.play("SendMessageBatch", {
        _tag: "answer",
        status,
        body: { __type: `com.amazonaws.sqs#${type}`, message: "said SQS" }
      })
      const { message, outcome, retryable } = yield* Effect.flip(backend.publish("q", [item("a")]))
      assert.match(message, /said SQS/)
      return [retryable, outcome, message] as const
    }).pipe(Effect.scoped)

  it.live("say whether another try can help, whether it may have happened, and what to do", () =>
    Effect.gen(function*() {
      const told =
        (words: RegExp, retryable: boolean, outcome: string) => (found: readonly [boolean, string, string]) => {
          assert.match(found[2], words)
          assert.deepStrictEqual([found[0], found[1]], [retryable, outcome])
        }
      yield* Effect.map(failing(400, "ThrottlingException"), told(/fewer at once/, true, "NotApplied"))
      yield* Effect.map(failing(403, "ExpiredTokenException"), told(/credentials have expired/, true, "NotApplied"))
      yield* Effect.map(failing(403, "InvalidClientTokenId"), told(/refused the credentials/, false, "NotApplied"))
      yield* Effect.map(failing(400, "AccessDeniedException"), told(/lack a right on queue "q"/, false, "NotApplied"))
      yield* Effect.map(failing(400, "QueueDoesNotExist"), told(/queue "q" is not there/, false, "NotApplied"))
      yield* Effect.map(failing(400, "OverLimit"), told(/messages in flight/, true, "NotApplied"))
      yield* Effect.map(failing(500, "InternalError"), told(/status 500/, true, "Unknown"))
    }))

  it.live("nobody there: nothing happened, and it may be tried again", () =>
    Effect.gen(function*() {
      const backend = yield* backendOf(
        SqsBackend.layer({
          endpoint: "http://127.0.0.1:1",
          region: "us-east-1",
          client: { credentials, maxAttempts: 1 }
        })
      )
      const error = yield* Effect.flip(backend.ping)
      assert.deepStrictEqual([error.retryable, error.outcome], [true, "NotApplied"])
      assert.match(error.message, /look at region, endpoint and network/)
    }).pipe(Effect.scoped))

  it.live("no region, and no credentials: said before anything is sent, with what to set", () =>
    Effect.gen(function*() {
      const nowhere = yield* backendOf(
        SqsBackend.layer({
          client: { credentials, region: (): Promise<string> => Promise.reject(new Error("Region is missing")) }
        })
      )
      const homeless = yield* refusedWith(nowhere.ping, /no region is set: .*AWS_REGION/)
      assert.deepStrictEqual([homeless.retryable, homeless.outcome], [false, "NotApplied"])
      const none = Object.assign(new Error("nobody answers"), { name: "CredentialsProviderError" })
      const nobody = yield* backendOf(
        SqsBackend.layer(at(server, { client: { credentials: () => Promise.reject(none) } }))
      )
      // where the SDK finds them may come back
      const refused = yield* refusedWith(nobody.ping, /no credentials could be had/)
      assert.deepStrictEqual([refused.retryable, refused.outcome], [true, "NotApplied"])
    }).pipe(Effect.scoped))

  it.live("no answer in time is an outcome that nobody knows", () =>
    Effect.gen(function*() {
      const { backend, look, proxy } = yield* behind({ callTimeout: "200 millis" })
      yield* backend.declare("q")
      proxy.play("SendMessageBatch", { _tag: "hang" }, 3)
      const error = yield* refusedWith(backend.publish("q", [item("a")]), /did not answer within 200 ms/)
      assert.deepStrictEqual([error.retryable, error.outcome], [true, "Unknown"])
      assert.deepStrictEqual(look("q").messages.ready, [])
    }).pipe(Effect.scoped))

  it.live("what is above the limits is refused before anything is sent: too late, too many, too long once it is written", () =>
    Effect.gen(function*() {
      const backend = yield* backendOf(standard().layer)
      yield* backend.declare("q")
      const late = item("late", { due: { _tag: "After", millis: 900_001 } })
      yield* refusedWith(backend.publish("q", [item("a"), late]), /delayed by 900001 ms, SQS delays up to 900000 ms/)
      yield* refusedWith(backend.publish("q", Array.from({ length: 101 }, (_, n) => item(`${n}`))), /101 jobs/)
      const wide = { envelope: { ...item("wide").envelope, payload: "🧵".repeat(250_000) } }
      yield* refusedWith(backend.publish("q", [item("a"), wide]), /as a message, and 1046528 are free/)
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      assert.deepStrictEqual(yield* subscription.take(10), [])
    }).pipe(Effect.scoped))
})

describe("calls that go wrong half-way", () => {
  const failEntry = (place: number, code = "InternalError", senderFault = false) => ({
    _tag: "edit" as const,
    request: (body: any) => ({ ...body, Entries: body.Entries.filter((entry: any) => entry.Id !== String(place)) }),
    answer: (body: any) => ({
      ...body,
      Failed: [{ Id: String(place), Code: code, Message: "not just now", SenderFault: senderFault }]
    })
  })

  it.live("a job of a batch that SQS could not take is sent again, and the others are not", () =>
    Effect.gen(function*() {
      const { backend, look, proxy } = yield* behind()
      yield* backend.declare("q")
      proxy.play("SendMessageBatch", failEntry(1))
      const answers = yield* backend.publish("q", [item("a"), item("b"), item("c")])
      assert.deepStrictEqual(answers.map(({ _tag }) => _tag), ["Stored", "Stored", "Stored"])
      const stored = look("q").messages.ready.map(({ body }) => read(body)!.envelope.id)
      assert.deepStrictEqual(stored.toSorted(), ["a", "b", "c"])
    }).pipe(Effect.scoped))

  it.live("a batch of which a part is refused for good is never said not to have happened", () =>
    Effect.gen(function*() {
      const { backend, look, proxy } = yield* behind()
      yield* backend.declare("q")
      proxy.play("SendMessageBatch", failEntry(0, "InvalidMessageContents", true))
      const error = yield* refusedWith(backend.publish("q", [item("a"), item("b")]), /1 of 2 jobs are stored/)
      assert.deepStrictEqual([error.outcome, error.retryable], ["Unknown", false])
      assert.strictEqual(look("q").messages.ready.length, 1)
    }).pipe(Effect.scoped))

  it.live("a settlement that SQS did not do is Unknown for that job alone, and is done when it is said again", () =>
    Effect.gen(function*() {
      const { backend, look, proxy } = yield* behind()
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      yield* backend.publish("q", [item("a"), item("b"), item("c")])
      const [a, b, c] = yield* subscription.take(3)
      proxy.play("DeleteMessageBatch", failEntry(1))
      assert.deepStrictEqual(
        yield* subscription.settle([[a!.receipt, succeeded], [b!.receipt, succeeded], [c!.receipt, succeeded]]),
        ["Settled", "Unknown", "Settled"]
      )
      assert.deepStrictEqual(
        look("q").messages.inflight.map(({ message }) => read(message.body)!.envelope.id),
        [b!.envelope.id]
      )
      assert.deepStrictEqual(yield* subscription.settle([[b!.receipt, succeeded]]), ["Settled"])
      assert.deepStrictEqual(look("q").messages.inflight, [])
    }).pipe(Effect.scoped))

  it.live("a retry whose old message was not deleted is sent once, however often it is said", () =>
    Effect.gen(function*() {
      const { backend, look, proxy } = yield* behind()
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      yield* backend.publish("q", [item("a")])
      const { receipt } = yield* takeOne(subscription)
      const Failed = [{ Id: "0", Code: "InternalError", SenderFault: false }]
      proxy.play("DeleteMessageBatch", { _tag: "answer", status: 200, body: { Successful: [], Failed } }, 2)
      assert.deepStrictEqual(yield* subscription.settle([[receipt, retry()]]), ["Unknown"])
      assert.deepStrictEqual(yield* subscription.settle([[receipt, retry()]]), ["Unknown"])
      assert.deepStrictEqual(yield* subscription.settle([[receipt, retry()]]), ["Settled"])
      assert.deepStrictEqual([look("q").messages.ready.length, look("q").messages.inflight.length], [1, 0])
    }).pipe(Effect.scoped))

  it.live("a lease of which SQS did not say whether it was renewed is not called held", () =>
    Effect.gen(function*() {
      const { backend, proxy } = yield* behind()
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      const lease = subscription.lease._tag === "Timed" ? subscription.lease : assert.fail("the lease is timed")
      yield* backend.publish("q", [item("a"), item("b")])
      const receipts = (yield* subscription.take(2)).map(({ receipt }) => receipt)
      proxy.play("ChangeMessageVisibilityBatch", failEntry(1))
      const error = yield* Effect.flip(lease.extend(receipts))
      assert.isTrue(error.retryable)
      proxy.play("ChangeMessageVisibilityBatch", failEntry(1, "ReceiptHandleIsInvalid", true))
      assert.deepStrictEqual(yield* lease.extend(receipts), ["Held", "Lost"])
    }).pipe(Effect.scoped))

  it.live("an exchange of which one half fails keeps what the other brought", () =>
    Effect.gen(function*() {
      const { backend, proxy } = yield* behind()
      const subscription = yield* backend.subscribe("q", { worker: "w" })
      yield* backend.publish("q", [item("a"), item("b")])
      const first = yield* takeOne(subscription)
      proxy.play("DeleteMessageBatch", { _tag: "cut" })
      const error = yield* Effect.flip(subscription.exchange([[first.receipt, succeeded]], 1))
      assert.strictEqual(error.outcome, "Unknown")
      const second = yield* takeOne(subscription)
      assert.deepStrictEqual(ids([first, second]).toSorted(), ["a", "b"])
      proxy.play("ReceiveMessage", { _tag: "cut" })
      assert.deepStrictEqual(
        yield* subscription.exchange([[first.receipt, succeeded], [second.receipt, succeeded]], 1),
        [
          ["Settled", "Settled"],
          []
        ]
      )
    }).pipe(Effect.scoped))
})
