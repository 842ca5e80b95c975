/** What a release sees: scopes of the chain are closed under a context of their own (`src/internal/lean.ts`). */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"

class Pool extends Context.Service<Pool, string>()("test/Pool") {}
class Around extends Context.Service<Around, string>()("test/Around") {}
class Opened extends Context.Service<Opened, string>()("test/Opened") {}
class Inner extends Context.Service<Inner, string>()("test/Inner") {}
class Open extends Middleware.Service<Open, { provides: Opened }>()("test/Open") {}

class Run extends Task.make("Run", { middleware: [Open] }) {}

/** everything that a release may ask the runtime for without saying so in its type */
const surroundings = Effect.gen(function*() {
  const job = yield* Effect.serviceOption(Job.Current)
  const annotations = yield* References.CurrentLogAnnotations
  return {
    time: yield* Clock.currentTimeMillis,
    level: yield* References.MinimumLogLevel,
    job: Option.map(job, (job) => job.task),
    annotated: annotations["task"],
    pool: yield* Effect.serviceOption(Pool)
  }
})

const expected = { time: 5_000, level: "None", job: Option.some("Run"), annotated: "Run", pool: Option.some("pool") }

/** the answers of `see`, which a handler or a middleware registers, in the order of the releases */
const drained = (
  open: (see: (name: string, asked: Effect.Effect<unknown>) => Effect.Effect<void>) => {
    readonly before?: Effect.Effect<unknown, never, Scope.Scope>
    readonly handler?: Effect.Effect<unknown, never, Scope.Scope>
  }
) =>
  Effect.gen(function*() {
    const seen: Array<readonly [string, unknown]> = []
    const { before = Effect.void, handler = Effect.void } = open((name, asked) =>
      Effect.map(asked, (answer) => void seen.push([name, answer]))
    )
    yield* TestClock.setTime(5_000)
    yield* Run.enqueue()
    const report = yield* Worker.launch(
      Worker.layer(TaskGroup.make(Run), { mode: "drain" }).pipe(
        Layer.provide(Run.toLayer(() => Effect.asVoid(handler) as Effect.Effect<void>)),
        Layer.provide(
          Layer.succeed(Open, Middleware.hooks({ provides: Opened, before: () => Effect.as(before, "opened") }))
        ),
        Layer.provide(Layer.succeed(Pool, "pool"))
      )
    )
    assert.strictEqual(report.succeeded, 1)
    return seen
  }).pipe(
    Effect.provide(Layer.mergeAll(MemoryBackend.layer, Layer.succeed(Pool, "pool"))),
    Effect.provideService(References.MinimumLogLevel, "None")
  )

const finalizer = (effect: Effect.Effect<void>) =>
  Effect.flatMap(Effect.scope, (scope) => Scope.addFinalizer(scope, effect))

describe("what a release of a job sees", () => {
  it.effect("what the handler forked, which it may tell to end and wait for, as under Effect.scoped", () =>
    Effect.gen(function*() {
      const seen = yield* drained((see) => ({
        handler: Effect.gen(function*() {
          const quit = yield* Deferred.make<void>()
          const gone = yield* Deferred.make<string>()
          const reader = Effect.andThen(Deferred.await(quit), Deferred.succeed(gone, "answered"))
          yield* Effect.acquireRelease(
            Effect.forkChild(reader, { startImmediately: true }),
            () => Effect.andThen(Deferred.succeed(quit, undefined), see("reader", Deferred.await(gone)))
          )
          yield* Effect.yieldNow
        })
      }))
      assert.deepStrictEqual(seen, [["reader", "answered"]])
    }))

  it.effect("L1 clock, references, the job and the services, however it was registered", () =>
    Effect.gen(function*() {
      const seen = yield* drained((see) => {
        const every = (where: string) =>
          Effect.andThen(
            Effect.acquireRelease(Effect.void, () => see(`${where} acquireRelease`, surroundings)),
            Effect.andThen(
              Effect.addFinalizer(() => see(`${where} addFinalizer`, surroundings)),
              finalizer(see(`${where} raw`, surroundings))
            )
          )
        return { before: every("before"), handler: every("handler") }
      })
      assert.deepStrictEqual(seen, [
        ["handler raw", expected],
        ["handler addFinalizer", expected],
        ["handler acquireRelease", expected],
        ["before raw", expected],
        ["before addFinalizer", expected],
        ["before acquireRelease", expected]
      ])
    }))

  it.effect("L8 the services of its own acquire, also those that nothing outside of it has", () =>
    Effect.gen(function*() {
      const seen = yield* drained((see) => ({
        handler: Effect.acquireRelease(
          Effect.void,
          () => see("release", Effect.all([Effect.serviceOption(Around), Effect.serviceOption(Opened)]))
        ).pipe(Effect.provideService(Around, "around"))
      }))
      assert.deepStrictEqual(seen, [["release", [Option.some("around"), Option.some("opened")]]])
    }))

  it.effect("L8 a scope that is closed by a release: its releases see what their acquires saw", () =>
    Effect.gen(function*() {
      const seen = yield* drained((see) => ({
        handler: Effect.gen(function*() {
          const outer = yield* Effect.scope
          const child = yield* Scope.fork(outer)
          yield* Effect.acquireRelease(
            Effect.void,
            () => see("release", Effect.all([Effect.serviceOption(Inner), surroundings]))
          ).pipe(Effect.provideService(Inner, "inner"), Scope.provide(child))
        })
      }))
      assert.deepStrictEqual(seen, [["release", [Option.some("inner"), expected]]])
    }))

  it.effect("L8 services that a release provides to itself are added to the others", () =>
    Effect.gen(function*() {
      const asked = Effect.all([Effect.serviceOption(Inner), surroundings])
      const seen = yield* drained((see) => ({
        handler: Effect.andThen(
          Effect.addFinalizer(() => see("layer", asked).pipe(Effect.provide(Layer.succeed(Inner, "inner")))),
          finalizer(see("raw", asked).pipe(Effect.provideService(Inner, "inner")))
        )
      }))
      assert.deepStrictEqual(seen, [
        ["raw", [Option.some("inner"), expected]],
        ["layer", [Option.some("inner"), expected]]
      ])
    }))

  it.effect("L8 a finalizer of another kind has the services of the chain for as long as it runs, however it asks", () =>
    Effect.gen(function*() {
      const asked = Effect.all([Effect.serviceOption(Inner), surroundings])
      const inner = Context.make(Inner, "inner")
      const often = Effect.forEach(Array.from({ length: 500 }), () => Clock.currentTimeMillis, { discard: true })
      // more services than a context keeps apart before it is copied
      const deep = (effect: Effect.Effect<void>): Effect.Effect<void> =>
        Array.from({ length: 100 }, (_, i) => Context.Service<never, number>(`test/Deep${i}`))
          .reduce((effect, key) => Effect.provideService(effect, key, 1), effect)
      const seen = yield* drained((see) => ({
        handler: Effect.gen(function*() {
          yield* finalizer(see("a layer", asked).pipe(Effect.provide(Layer.succeed(Inner, "inner"))))
          yield* finalizer(see("a context", asked).pipe(Effect.provideContext(inner)))
          yield* finalizer(Effect.suspend(() => see("a context later", asked).pipe(Effect.provideContext(inner))))
          yield* finalizer(
            Effect.flatMap(
              Effect.context(),
              (context) => see("one that it kept", asked).pipe(Effect.setContext(Context.merge(inner, context)))
            )
          )
          yield* finalizer(deep(see("much on top", asked)).pipe(Effect.provideService(Inner, "inner")))
          yield* finalizer(Effect.andThen(often, see("after many look-ups", asked).pipe(Effect.provideContext(inner))))
          const stream = Stream.ensuring(
            Stream.make(1),
            see("of a stream", asked).pipe(Effect.provide(Layer.succeed(Inner, "inner")))
          )
          yield* Effect.asVoid(Stream.toPull(stream))
        })
      }))
      const all = [Option.some("inner"), expected]
      assert.deepStrictEqual(seen, [
        ["of a stream", all],
        ["after many look-ups", all],
        ["much on top", all],
        ["one that it kept", all],
        ["a context later", all],
        ["a context", all],
        ["a layer", all]
      ])
    }))

  it.effect("a release runs in the very context of its acquire: nothing is copied", () =>
    Effect.gen(function*() {
      const same: Array<boolean> = []
      const acquire = Effect.contextWith((acquired: Context.Context<never>) =>
        Effect.acquireRelease(Effect.void, () =>
          Effect.map(Effect.context(), (released) => void same.push(released === acquired)))
      )
      yield* drained(() => ({ before: acquire, handler: Effect.andThen(acquire, acquire) }))
      assert.deepStrictEqual(same, [true, true, true])
    }))
})
