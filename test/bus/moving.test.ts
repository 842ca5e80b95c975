/** What AsyncFast and its helpers have a name for, done with what is there: dependencies, batching, caching, several types. */
import { assert, describe, it } from "@effect/vitest"
import * as Cache from "effect/Cache"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Request from "effect/Request"
import * as RequestResolver from "effect/RequestResolver"
import * as Schema from "effect/Schema"
import * as Channel from "windlass/bus/Channel"
import * as Middleware from "windlass/Middleware"
import * as TaskGroup from "windlass/TaskGroup"
import { TestProducer, TestWorker } from "windlass/testing"

class Unknown extends Schema.TaggedError<Unknown>()("Unknown", { id: Schema.String }) {}

class GetUser extends Request.TaggedClass("GetUser")<{ readonly id: string }, string, Unknown> {}

class Greet extends Channel.make("greet.{id}", { success: Schema.String, error: Unknown }) {}
const App = TaskGroup.make(Greet)

const drained = (ids: ReadonlyArray<string>, handler: Parameters<typeof Greet.toLayer<never>>[0]) =>
  Effect.gen(function*() {
    yield* Greet.enqueueMany(ids.map((id) => ({ parameters: { id } })))
    const ran = yield* TestWorker.drain({ outcomes: true })
    return ran.map(({ outcome }) => outcome._tag === "Succeeded" ? Exit.getSuccess(outcome.exit) : outcome._tag)
      .map((one) => typeof one === "string" ? one : one._tag === "Some" ? String(one.value) : "none")
  }).pipe(Effect.provide(TestWorker.layer(App, { concurrency: 5 }).pipe(Layer.provide(Greet.toLayer(handler)))))

describe("helpers", () => {
  it.effect("calls of messages that run at once travel together, each with its own error: RequestResolver", () =>
    Effect.gen(function*() {
      const batches: Array<number> = []
      const resolver = RequestResolver.make<GetUser>((entries) =>
        Effect.sync(() => {
          batches.push(entries.length)
          for (const { completeUnsafe, request } of entries) {
            completeUnsafe(
              request.id === "x" ? Exit.fail(new Unknown({ id: "x" })) : Exit.succeed(`hello ${request.id}`)
            )
          }
        })
      )
      const said = yield* drained(
        ["a", "x", "c"],
        ({ parameters }) => Effect.request(new GetUser(parameters), resolver)
      )
      assert.deepStrictEqual(said.toSorted(), ["Dead", "hello a", "hello c"])
      assert.deepStrictEqual(batches, [3])
    }))

  it.effect("one call for messages that ask the same at once, and a failure is not kept: Cache", () =>
    Effect.gen(function*() {
      let calls = 0
      const cache = yield* Cache.makeWith(
        (id: string) =>
          Effect.suspend(() => {
            calls++
            return id === "x"
              ? Effect.fail(new Unknown({ id }))
              : Effect.as(Effect.yieldNow, `hello ${id}`)
          }),
        { capacity: 10, timeToLive: (exit) => Exit.isSuccess(exit) ? "1 hour" : 0 }
      )
      const get = ({ parameters }: { readonly parameters: { readonly id: string } }) => Cache.get(cache, parameters.id)
      assert.deepStrictEqual(yield* drained(["a", "a", "a"], get), ["hello a", "hello a", "hello a"])
      assert.strictEqual(calls, 1)
      assert.deepStrictEqual(yield* drained(["x"], get), ["Dead"])
      assert.deepStrictEqual(yield* drained(["x"], get), ["Dead"])
      assert.strictEqual(calls, 3)
    }))
})

describe("dependencies", () => {
  class Session extends Context.Service<Session, { readonly number: number }>()("test/Session") {}
  class OpenSession extends Middleware.Service<OpenSession, { provides: Session }>()("test/OpenSession") {}
  class UseSession extends Middleware.Service<UseSession, { requires: Session }>()("test/UseSession") {}

  it.effect("one is opened per message, shared by all that asks for it inside, and closed once with the message", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      let opened = 0
      class Scoped extends Channel.make("scoped.{how}", { middleware: [OpenSession, UseSession] }) {}
      const Live = Layer.mergeAll(
        Layer.succeed(
          OpenSession,
          Middleware.hooks({
            provides: Session,
            before: () =>
              Effect.acquireRelease(
                Effect.sync(() => ({ number: ++opened })),
                ({ number }, exit) => Effect.sync(() => void seen.push(`close ${number} ${exit._tag}`))
              )
          })
        ),
        Layer.succeed(UseSession, (next, input) =>
          Effect.flatMap(Session, ({ number }) => {
            seen.push(`middleware ${number}`)
            return next(input)
          }))
      )
      const Handler = Scoped.toLayer(({ parameters }) =>
        Effect.flatMap(Session, ({ number }) => {
          seen.push(`handler ${number}`)
          return parameters.how === "fails" ? Effect.die(new Error("broken")) : Effect.void
        })
      )
      yield* Effect.gen(function*() {
        yield* TestProducer.acknowledged(yield* TestProducer.send("scoped.well"))
        yield* TestProducer.refused(yield* TestProducer.send("scoped.fails"), "broken")
      }).pipe(Effect.provide(
        TestProducer.layer(TaskGroup.make(Scoped)).pipe(Layer.provide(Handler), Layer.provide(Live))
      ))
      assert.deepStrictEqual(seen, [
        "middleware 1",
        "handler 1",
        "close 1 Success",
        "middleware 2",
        "handler 2",
        "close 2 Failure"
      ])
    }))
})

describe("one channel", () => {
  it.effect("carries several types of message: a union of payloads, told apart by its schema", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      class Changed extends Channel.make("users.{id}", {
        payload: Schema.Union([
          Schema.TaggedStruct("Renamed", { to: Schema.String }),
          Schema.TaggedStruct("Deleted", {})
        ])
      }) {}
      const Handler = Changed.toLayer(({ payload }) =>
        Effect.sync(() => void seen.push(payload._tag === "Renamed" ? `renamed to ${payload.to}` : "deleted"))
      )
      yield* Effect.gen(function*() {
        yield* TestProducer.acknowledged(yield* TestProducer.send("users.1", { _tag: "Renamed", to: "ada" }))
        yield* TestProducer.acknowledged(yield* TestProducer.send("users.1", { _tag: "Deleted" }))
        yield* TestProducer.refused(yield* TestProducer.send("users.1", { _tag: "Painted" }))
      }).pipe(Effect.provide(TestProducer.layer(TaskGroup.make(Changed)).pipe(Layer.provide(Handler))))
      assert.deepStrictEqual(seen, ["renamed to ada", "deleted"])
    }))
})
