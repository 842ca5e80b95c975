/** CloudEvents over HTTP, with the official client against a real server. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { assert, describe, it } from "@effect/vitest"
import { CloudEvent, HTTP } from "cloudevents"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpRouter from "effect/http/HttpRouter"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as fc from "fast-check"
import { createServer } from "node:http"
import * as Channel from "windlass/bus/Channel"
import * as CloudEvents from "windlass/bus/CloudEvents"
import * as Decide from "windlass/Decide"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import { Malformed, read } from "../../src/bus/internal/cloudevent.ts"
import { port, served } from "../http/support.ts"

class OutOfStock extends Schema.TaggedError<OutOfStock>()("OutOfStock", { sku: Schema.String }) {
  override get message() {
    return `no ${this.sku} left`
  }
}
class OrderPlaced extends Channel.make("orders.{region}.{id}", {
  parameters: { id: Schema.FiniteFromString },
  headers: Schema.Struct({ source: Schema.String, tenant: Schema.optionalKey(Schema.String) }).pipe(
    Schema.encodeKeys({ source: "ce-source", tenant: "ce-tenant" })
  ),
  payload: { sku: Schema.String },
  error: OutOfStock
}) {}
class Anything extends Task.make("anything", { payload: Schema.Unknown }) {}
const App = TaskGroup.make(OrderPlaced, Anything)

/** an app that writes down what its handlers got, on a port of its own */
const app = (options?: CloudEvents.Options<ReadonlyArray<Middleware.Inline | Middleware.Observer>>) => {
  const got: Array<unknown> = []
  const live = served(
    CloudEvents.layer("/events", App, { logJobs: false, ...options }).pipe(
      Layer.provide([
        OrderPlaced.toLayer(Effect.fnUntraced(function*({ headers, parameters, payload }) {
          got.push([parameters.region, parameters.id, headers.source, headers.tenant, payload.sku])
          if (payload.sku === "moon") return yield* new OutOfStock({ sku: "moon" })
          if (payload.sku === "late") return yield* Decide.snooze("90 seconds", "not yet")
          if (payload.sku === "gone") return yield* Decide.discard("nobody wants it")
        })),
        Anything.toLayer((payload) => Effect.map(Job.Current, (job) => void got.push([job.id, payload])))
      ])
    )
  )
  return { got, live }
}

const post = (body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string>) =>
  Effect.flatMap(port, (port) =>
    Effect.promise(async () => {
      const response = await fetch(`http://127.0.0.1:${port}/events`, { method: "POST", body, headers })
      return [response.status, await response.text(), response.headers.get("retry-after")] as const
    }))

/** sends as the official client does */
const send = (event: CloudEvent<unknown>, mode: "binary" | "structured" = "binary") => {
  const message = HTTP[mode](event)
  return post(message.body as string, message.headers as Record<string, string>)
}

const order = (sku: unknown, over: Record<string, unknown> = {}) =>
  new CloudEvent({ id: "e1", source: "/shop", type: "orders.eu.12", data: { sku }, ...over })

describe("CloudEvents over HTTP", () => {
  for (const mode of ["binary", "structured"] as const) {
    it.live(`${mode}: succeeded is 204, failed is 500 with the message, unfit is 400 with the message`, () => {
      const { got, live } = app()
      return Effect.gen(function*() {
        assert.deepStrictEqual(yield* send(order("tea", { tenant: "acme ü" }), mode), [204, "", null])
        assert.deepStrictEqual(yield* send(order("gone"), mode), [204, "", null])
        assert.deepStrictEqual(yield* send(order("moon"), mode), [500, "OutOfStock: no moon left", null])
        assert.deepStrictEqual(yield* send(order("late"), mode), [500, "not yet", "90"])
        const [payload, payloadSaid] = yield* send(order(7), mode)
        assert.deepStrictEqual([payload, payloadSaid.includes("sku")], [400, true])
        const [parameter, parameterSaid] = yield* send(order("tea", { type: "orders.eu.twelve" }), mode)
        assert.deepStrictEqual([parameter, parameterSaid.includes("id")], [400, true])
        const [unknown, unknownSaid] = yield* send(order("tea", { type: "bills.eu.1" }), mode)
        assert.deepStrictEqual([unknown, unknownSaid], [500, "no worker knows task bills.eu.1"])
        assert.deepStrictEqual(got, [
          ["eu", 12, "/shop", "acme ü", "tea"],
          ...["gone", "moon", "late"].map((sku) => ["eu", 12, "/shop", undefined, sku])
        ])
      }).pipe(Effect.provide(live))
    })
  }

  it.live("a bad event is 400 and says what is wrong; a format that is not understood is 415; nothing ran", () => {
    const { got, live } = app()
    const binary = { "ce-id": "1", "ce-source": "s", "ce-type": "anything", "ce-specversion": "1.0" }
    const json = { "content-type": "application/json" }
    const whole = { "content-type": "application/cloudevents+json" }
    const batch = { "content-type": "application/cloudevents-batch+json" }
    const { "ce-specversion": _, ...versionless } = binary
    const event = { id: "1", source: "s", type: "anything", specversion: "1.0" }
    return Effect.gen(function*() {
      const cases: ReadonlyArray<readonly [string, Record<string, string>, string]> = [
        ["{}", json, "no specversion"],
        ["{}", { ...json, ...versionless }, "no specversion"],
        ["{}", { ...json, ...binary, "ce-specversion": "0.3" }, "specversion 0.3"],
        ["{}", { ...json, ...binary, "ce-id": "" }, "no id"],
        ["{}", { ...json, ...binary, "ce-source": "" }, "no source"],
        ["{}", { ...json, ...binary, "ce-type": "" }, "no type"],
        ["{}", { ...json, ...binary, "ce-time": "yesterday" }, "time yesterday"],
        ["{}", { ...json, ...binary, "ce-a_b": "x" }, "a_b is no name"],
        ["{}", { ...json, ...binary, "ce-x": "%ff" }, "percent-encoded"],
        ["{", { ...json, ...binary }, "not JSON"],
        ["{", whole, "not JSON"],
        ["[]", whole, "no JSON object"],
        [JSON.stringify({ ...event, id: undefined }), whole, "no id"],
        [JSON.stringify({ ...event, x: {} }), whole, "attribute x"],
        [JSON.stringify({ ...event, data: 1, data_base64: "AA==" }), whole, "both data and data_base64"],
        [JSON.stringify({ ...event, data_base64: "?" }), whole, "not base64"],
        ["{}", batch, "a JSON array"],
        [JSON.stringify([event, {}]), batch, "event 1 of the batch"]
      ]
      for (const [body, headers, words] of cases) {
        const [status, said] = yield* post(body, headers)
        assert.deepStrictEqual([status, said.includes(words)], [400, true], `${words}: ${said}`)
      }
      assert.strictEqual((yield* post("<e/>", { "content-type": "application/cloudevents+xml" }))[0], 415)
      assert.deepStrictEqual(got, [])
    }).pipe(Effect.provide(live))
  })

  it.live("data of every kind arrives as JSON: none, text, bytes, quoted and encoded attributes; the id names its source", () => {
    const { got, live } = app()
    const attributes = { "ce-id": "1", "ce-source": "\"a b\"", "ce-type": "anything", "ce-specversion": "1.0" }
    return Effect.gen(function*() {
      for (
        const [body, type] of [
          ["", undefined],
          ["[1]", "application/vnd.x+json; charset=utf-8"],
          ["hello", "text/plain"],
          [Uint8Array.of(0, 255), "application/octet-stream"]
        ] as const
      ) {
        const headers: Record<string, string> = type === undefined
          ? attributes
          : { ...attributes, "content-type": type }
        assert.strictEqual((yield* post(typeof body === "string" ? Buffer.from(body) : body, headers))[0], 204)
      }
      const event = { id: "2", source: "s", type: "anything", specversion: "1.0" }
      const whole = { "content-type": "application/cloudevents+json; charset=UTF-8" }
      for (
        const more of [
          { data: null },
          { data: "text" },
          { data_base64: Buffer.from("{\"a\":1}").toString("base64") },
          { data_base64: "AP8=", datacontenttype: "application/octet-stream" }
        ]
      ) {
        assert.strictEqual((yield* post(JSON.stringify({ ...event, ...more }), whole))[0], 204)
      }
      assert.deepStrictEqual(got, [
        ...[null, [1], "hello", "AP8="].map((payload) => ["a b/1", payload]),
        ...[null, "text", { a: 1 }, "AP8="].map((payload) => ["s/2", payload])
      ])
    }).pipe(Effect.provide(live))
  })

  it.live("two events of different sources have different ids, wherever the slashes are", () => {
    const { got, live } = app()
    return Effect.gen(function*() {
      for (const [source, id] of [["/a", "b/c"], ["/a/b", "c"], ["/a", "b%2Fc"], ["/a", "b c"]] as const) {
        assert.strictEqual((yield* send(order("", { type: "anything", source, id }), "structured"))[0], 204)
      }
      assert.deepStrictEqual(got.map((one) => (one as Array<unknown>)[0]), [
        "/a/b%2Fc",
        "/a/b/c",
        "/a/b%252Fc",
        "/a/b c"
      ])
    }).pipe(Effect.provide(live))
  })

  it.live("a body that is too large is 413, and nothing ran", () => {
    const { got, live } = app()
    return Effect.gen(function*() {
      assert.strictEqual((yield* send(order("x".repeat(1_048_576))))[0], 413)
      assert.deepStrictEqual(got, [])
      assert.strictEqual((yield* send(order("x".repeat(1_000_000))))[0], 204)
      assert.strictEqual(got.length, 1)
    }).pipe(Effect.provide(live))
  })

  it("whatever is sent is read as events, or refused with what is wrong with it", () => {
    const counts = { read: 0, refused: 0 }
    const attribute = fc.constantFrom(
      "ce-id",
      "ce-source",
      "ce-type",
      "ce-specversion",
      "ce-time",
      "ce-__proto__",
      "ce-x"
    )
    const value = fc.oneof(fc.constantFrom("1.0", "s", "%E2%82%AC", "%", "\"a\\\"b\"", ""), fc.string())
    const type = fc.constantFrom(
      "application/json",
      "text/plain",
      "image/png",
      "application/cloudevents+json",
      "application/cloudevents-batch+json",
      "application/cloudevents+avro"
    )
    const event = fc.record(
      {
        id: fc.constantFrom("1", 1, null),
        source: fc.constant("s"),
        type: fc.constant("t"),
        specversion: fc.constantFrom("1.0", "0.3"),
        time: fc.constantFrom("2026-11-21T05:00:00Z", "noon"),
        data: fc.jsonValue(),
        data_base64: fc.constantFrom("AP8=", "{}", 1),
        extra: fc.jsonValue()
      },
      { requiredKeys: ["source", "type"] }
    )
    const body = fc.oneof(
      fc.uint8Array(),
      fc.oneof(event, fc.array(event, { maxLength: 3 }), fc.jsonValue()).map((json) =>
        new TextEncoder().encode(JSON.stringify(json))
      )
    )
    const complete = { "ce-id": "1", "ce-source": "s", "ce-type": "t", "ce-specversion": "1.0" }
    fc.assert(
      fc.property(fc.dictionary(attribute, value), fc.boolean(), type, body, (some, whole, contentType, bytes) => {
        const headers = { ...(whole ? complete : {}), ...some, "content-type": contentType }
        try {
          for (const { attributes, data, id, source, type } of read(headers, bytes)) {
            JSON.parse(data)
            for (const required of [id, source, type]) assert.isNotEmpty(required)
            assert.strictEqual(attributes["specversion"], "1.0")
            counts.read++
          }
        } catch (error) {
          assert.instanceOf(error, Malformed)
          counts.refused++
        }
      }),
      { numRuns: 3_000 }
    )
    assert.isAbove(counts.read, 100)
    assert.isAbove(counts.refused, 500)
  })

  it.live("a batch runs in order, each to its end; the first that did not end well is the answer", () => {
    const { got, live } = app()
    return Effect.gen(function*() {
      const batch = (...skus: ReadonlyArray<string>) =>
        post(JSON.stringify(skus.map((sku, i) => order(sku, { id: String(i) }).toJSON())), {
          "content-type": "application/cloudevents-batch+json"
        })
      assert.deepStrictEqual(yield* batch("a", "moon", "late", "b"), [500, "OutOfStock: no moon left", null])
      assert.deepStrictEqual(yield* batch("c", "d"), [204, "", null])
      assert.deepStrictEqual(yield* batch(), [204, "", null])
      assert.deepStrictEqual(got.map((one) => (one as Array<unknown>)[4]), ["a", "moon", "late", "b", "c", "d"])
    }).pipe(Effect.provide(live))
  })

  it.live("middleware stands around every event, those that cannot be run included; the address may be chosen", () => {
    const seen: Array<string> = []
    const { live } = app({
      address: ({ subject, type }) => subject ?? type,
      middleware: [
        Middleware.observe({
          name: "look",
          after: (outcome, _, { task }) => void seen.push(`${task} ${outcome._tag}`)
        }),
        Middleware.make("wrap", (next, input, job) => {
          seen.push(`wrap ${job.headers["ce-type"]} ${job.headers["windlass-address"]}`)
          return next(input)
        })
      ]
    })
    return Effect.gen(function*() {
      yield* send(order("tea", { type: "t", subject: "orders.us.1" }))
      yield* send(order(1, { type: "t", subject: "orders.us.1" }))
      yield* send(order("tea", { type: "t", subject: "nowhere" }))
      assert.deepStrictEqual(seen, [
        "wrap t orders.us.1",
        "orders.{region}.{id} Succeeded",
        "orders.{region}.{id} Dead",
        "nowhere Released"
      ])
    }).pipe(Effect.provide(live))
  })

  it.live("a job has the trace context of its event, under the name by which a run finds its producer's span", () => {
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    const seen: Array<string> = []
    const { live } = app({
      middleware: [
        Middleware.make("look", (next, input, job) => {
          seen.push(job.headers["traceparent"]!)
          return next(input)
        })
      ]
    })
    return Effect.gen(function*() {
      yield* send(order("tea", { traceparent }))
      assert.deepStrictEqual(seen, [traceparent])
    }).pipe(Effect.provide(live))
  })

  it.live("a client that goes away interrupts the handler, and its scope is closed (L1, L17)", () =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const closed = yield* Deferred.make<void>()
      const Endless = Anything.toLayer(() =>
        Effect.gen(function*() {
          yield* Effect.addFinalizer(() => Deferred.succeed(closed, undefined))
          yield* Deferred.succeed(begun, undefined)
          return yield* Effect.never
        })
      )
      const live = served(
        CloudEvents.layer("/events", TaskGroup.make(Anything), { logJobs: false }).pipe(Layer.provide(Endless))
      )
      yield* Effect.gen(function*() {
        const at = yield* port
        const abort = new AbortController()
        const { body, headers } = HTTP.binary(new CloudEvent({ source: "s", type: "anything", data: 1 }))
        const request = fetch(`http://127.0.0.1:${at}/events`, {
          method: "POST",
          body: body as string,
          headers: headers as Record<string, string>,
          signal: abort.signal
        }).catch(() => undefined)
        yield* Deferred.await(begun)
        abort.abort()
        yield* Effect.promise(() => request)
        yield* Deferred.await(closed)
      }).pipe(Effect.provide(live))
    }))

  it.live("the end of the server cuts a handler short: 503, when its scope is closed", () =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const ends: Array<string> = []
      const Endless = Anything.toLayer(() =>
        Effect.gen(function*() {
          yield* Effect.addFinalizer(({ _tag }) => Effect.sync(() => void ends.push(_tag)))
          yield* Deferred.succeed(begun, undefined)
          return yield* Effect.never
        })
      )
      const events = CloudEvents.layer("/events", TaskGroup.make(Anything), { logJobs: false }).pipe(
        Layer.provide(Endless)
      )
      const scope = yield* Scope.make()
      const context = yield* HttpRouter.serve(events, { disableListenLog: true, disableLogger: true }).pipe(
        Layer.provideMerge(
          NodeHttpServer.layerServer(createServer, { port: 0, host: "127.0.0.1", gracefulShutdownTimeout: 0 })
        ),
        Layer.buildWithScope(scope)
      )
      const { body, headers } = HTTP.binary(new CloudEvent({ source: "s", type: "anything", data: 1 }))
      const sent = yield* Effect.forkChild(
        Effect.provideContext(post(body as string, headers as Record<string, string>), context)
      )
      yield* Deferred.await(begun)
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(ends, ["Failure"])
      assert.strictEqual((yield* Fiber.join(sent))[0], 503)
    }))

  it.effect("a group that is undecided about an address is refused at the start", () =>
    Effect.gen(function*() {
      const One = Channel.make("a.{x}")
      const Other = Channel.make("{x}.b")
      const failure = yield* Effect.flip(
        Effect.provide(Effect.asVoid(CloudEvents.make(TaskGroup.make(One, Other))), [
          One.toLayer(() => Effect.void),
          Other.toLayer(() => Effect.void)
        ])
      )
      assert.instanceOf(failure, Channel.InvalidAddress)
    }))
})
