/**
 * Layers of the chain are entered directly in the fiber that runs them (`src/internal/worker/layer.ts`): what that must
 * not change. In a fiber that may be interrupted, as under a race of a middleware, an interruption can come out of the very
 * step that enters them.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import type { Outcome } from "windlass/Outcome"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"

class Boom extends Schema.TaggedError<Boom>()("Boom", {}) {}
class Inner extends Context.Service<Inner, string>()("test/Inner") {}
class Provide extends Middleware.Service<Provide, { provides: Inner }>()("test/Provide") {}
class Run extends Task.make("Run", { error: Boom, middleware: [Provide] }) {}

/** what one job came to under these middlewares */
const drained = (
  middleware: ReadonlyArray<Middleware.Inline>,
  handler: Effect.Effect<void, Boom, Job.Current | Inner | Scope.Scope>,
  provide: Provide["Service"] = Middleware.hooks({ provides: Inner, before: () => Effect.succeed("inner") })
) =>
  Effect.gen(function*() {
    const outcomes: Array<Outcome["_tag"]> = []
    const watch = Middleware.observe({ name: "watch", after: (outcome) => void outcomes.push(outcome._tag) })
    yield* Run.enqueue()
    yield* Worker.launch(
      Worker.layer(TaskGroup.make(Run), { mode: "drain", middleware: [watch, ...middleware] }).pipe(
        Layer.provide(Run.toLayer(() => handler as Effect.Effect<void, Boom>)),
        Layer.provide(Layer.succeed(Provide, provide))
      )
    )
    return outcomes
  }).pipe(Effect.provide(MemoryBackend.layer), Effect.provideService(References.MinimumLogLevel, "None"))

describe("layers that are entered where an interruption may come", () => {
  const inside = {
    "hooks, at once": (note: (line: string) => void) =>
      Middleware.hooks({
        before: () => (note("in"), Effect.void),
        after: () => (note("out"), Effect.void)
      }),
    "hooks with an effect": (note: (line: string) => void) =>
      Middleware.hooks({
        before: () => Effect.andThen(Effect.yieldNow, Effect.sync(() => note("in"))),
        after: () => Effect.andThen(Effect.yieldNow, Effect.sync(() => note("out")))
      }),
    "a wrap": (note: (line: string) => void): Middleware.Wrap => (next, input) => {
      note("in")
      return Effect.onExit(next(input), () => Effect.sync(() => note("out")))
    },
    "an acquire": (note: (line: string) => void): Middleware.Wrap => (next, input) =>
      Effect.andThen(
        Effect.acquireRelease(Effect.sync(() => note("in")), () => Effect.sync(() => note("out"))),
        next(input)
      )
  }

  for (const [kind, make] of Object.entries(inside)) {
    it.effect(`L1 L15 ${kind}: a race of an outer middleware that the handler's first step decides`, () =>
      Effect.gen(function*() {
        const lines: Array<string> = []
        const decided = yield* Deferred.make<never>()
        const racing = Middleware.make(
          "racing",
          (next, input) => Effect.raceFirst(Deferred.await(decided), Effect.andThen(Effect.yieldNow, next(input)))
        )
        const outcomes = yield* drained(
          [racing, Middleware.make("inside", make((line) => void lines.push(line)))],
          Effect.gen(function*() {
            yield* Effect.acquireRelease(
              Effect.sync(() => lines.push("acquired")),
              () => Effect.sync(() => lines.push("released"))
            )
            Deferred.doneUnsafe(decided, Effect.die("decided"))
            return yield* Effect.never
          })
        )
        assert.deepStrictEqual(lines, ["in", "acquired", "released", "out"])
        assert.deepStrictEqual(outcomes, ["Dead"])
      }))

    // what a wrap of its own does before it returns an effect is not yet held by that effect
    if (kind === "a wrap") continue
    it.effect(`L1 L13 ${kind}: a race that the layer itself decides as it is entered`, () =>
      Effect.gen(function*() {
        const lines: Array<string> = []
        const decided = yield* Deferred.make<never>()
        const racing = Middleware.make("racing", (next, input) =>
          Effect.raceFirst(Deferred.await(decided), Effect.andThen(Effect.yieldNow, next(input))))
        const outcomes = yield* drained(
          [
            racing,
            Middleware.make(
              "inside",
              make((line) => {
                lines.push(line)
                Deferred.doneUnsafe(decided, Effect.die("decided"))
              })
            )
          ],
          Effect.sync(() =>
            lines.push("handler")
          ) as never as Effect.Effect<void>
        )
        assert.deepStrictEqual(lines.filter((line) => line !== "handler"), ["in", "out"])
        assert.deepStrictEqual(outcomes, ["Dead"])
      }))
  }

  it.effect("L1 L13 L17 a wait marked as interruptible around all of it: a stop out of the handler's first step", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const open = Middleware.make(
        "open",
        (next, input) => Effect.interruptible(Effect.andThen(Effect.yieldNow, next(input)))
      )
      const held = Middleware.make("held", inside["hooks, at once"]((line) => void lines.push(line)))
      const outcomes = yield* drained(
        [open, held],
        Effect.gen(function*() {
          const job = yield* Job.Current
          yield* Effect.addFinalizer(() => Effect.sync(() => lines.push("released")))
          ;(job as unknown as { stop(why: string): void }).stop("aborted")
          return yield* Effect.never
        })
      )
      assert.deepStrictEqual(lines, ["in", "released", "out"])
      assert.deepStrictEqual(outcomes, ["Aborted"])
    }))
})

describe("an interruption that nobody asked the attempt for", () => {
  it.effect("L13 L17 a race is decided while the handler releases: a stop that comes later is too late", () =>
    Effect.gen(function*() {
      const decided = yield* Deferred.make<never>()
      const racing = Middleware.make("racing", (next, input) => Effect.raceFirst(Deferred.await(decided), next(input)))
      const stopping = Middleware.hooks({
        provides: Inner,
        before: () => Effect.succeed("inner"),
        after: (_, __, job) => Effect.sync(() => (job as unknown as { stop(why: string): void }).stop("aborted"))
      })
      const outcomes = yield* drained(
        [racing],
        Effect.addFinalizer(() =>
          Effect.andThen(
            Deferred.succeed(decided, undefined as never),
            Effect.forEach([1, 2, 3, 4, 5], () => Effect.yieldNow, { discard: true })
          )
        ),
        stopping
      )
      assert.deepStrictEqual(outcomes, ["Succeeded"])
    }))
})

describe("layers that are entered at once, within the step of a layer around them", () => {
  const lines: Array<string> = []
  const line = (text: string) => Effect.sync(() => void lines.push(text))
  /** a wrap that was handed `next`, around a layer that holds something */
  const around = [
    Middleware.make("wrap", (next, input) => Effect.onExit(next(input), () => line("out of the wrap"))),
    Middleware.make(
      "held",
      Middleware.hooks({
        before: () => Effect.acquireRelease(line("acquired"), () => line("released")),
        after: () => line("after")
      })
    )
  ]
  const all = ["acquired", "after", "released", "out of the wrap"]

  it.effect("L1 L13 a wrap of untyped code that returns no effect is a defect in its own place", () =>
    Effect.gen(function*() {
      lines.length = 0
      const outcomes = yield* drained(
        [...around, Middleware.make("untyped", (() => undefined) as never)],
        line("handler")
      )
      assert.deepStrictEqual(lines, all)
      assert.deepStrictEqual(outcomes, ["Dead"])
    }))

  it.effect("L1 an after of untyped code that returns nothing changes nothing", () =>
    Effect.gen(function*() {
      lines.length = 0
      const untyped = Middleware.hooks({
        before: () => Effect.acquireRelease(line("acquired by untyped"), () => line("released by untyped")),
        after: (() => void lines.push("untyped after")) as never
      })
      const outcomes = yield* drained([...around, Middleware.make("untyped", untyped)], line("handler"))
      assert.deepStrictEqual(lines, [
        "acquired",
        "acquired by untyped",
        "handler",
        "untyped after",
        "released by untyped",
        ...all.slice(1)
      ])
      assert.deepStrictEqual(outcomes, ["Succeeded"])
    }))

  it.effect("L8 a wrap goes on in its own context after a release inside of it died", () =>
    Effect.gen(function*() {
      const own: Array<boolean> = []
      const trying = Middleware.make("trying", (next, input) =>
        Effect.contextWith((before: Context.Context<never>) =>
          Effect.catchCause(next(input), () =>
            Effect.flatMap(Effect.context<never>(), (after) => {
              own.push(after === before)
              return next(input)
            }))
        ))
      const dying = Middleware.hooks({
        provides: Inner,
        before: () =>
          Effect.as(
            Effect.addFinalizer(() =>
              Effect.die("release")
            ),
            "inner"
          )
      })
      const outcomes = yield* drained([trying], Effect.void, dying)
      assert.deepStrictEqual(own, [true])
      assert.deepStrictEqual(outcomes, ["Dead"])
    }))
})

describe("what a layer is for as long as it lasts", () => {
  it.effect("L8 log annotations of the scope of a before are there in the handler and in after, and gone outside", () =>
    Effect.gen(function*() {
      const seen: Array<readonly [string, unknown]> = []
      const look = (where: string) =>
        Effect.map(References.CurrentLogAnnotations, (annotations) => void seen.push([where, annotations["tenant"]]))
      const outer = Middleware.make("outer", Middleware.hooks({ after: () => look("outer after") }))
      yield* drained(
        [outer],
        look("handler"),
        Middleware.hooks({
          provides: Inner,
          before: () => Effect.as(Effect.annotateLogsScoped({ tenant: 7 }), "inner"),
          after: () => look("after")
        })
      )
      assert.deepStrictEqual(seen, [["handler", 7], ["after", 7], ["outer after", undefined]])
    }))

  it.effect("L2 L15 what a fork acquires in the handler's scope while it is ended is there until it has ended", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const line = (text: string) => Effect.sync(() => void lines.push(text))
      const failing = yield* Deferred.make<void>()
      const outcomes = yield* drained(
        [],
        Effect.gen(function*() {
          yield* Effect.acquireRelease(line("open a"), () => {
            lines.push("release of a is asked for")
            return line("close a")
          })
          const fork = yield* Job.fork(Effect.uninterruptible(Effect.gen(function*() {
            yield* Deferred.await(failing)
            yield* Effect.acquireRelease(line("open b"), () => line("close b"))
            yield* Effect.yieldNow
            yield* line("use a and b")
          })))
          yield* Effect.addFinalizer(() => Effect.andThen(line("last in, first out"), Fiber.await(fork)))
          yield* Effect.forkDetach(Effect.andThen(Effect.yieldNow, Deferred.succeed(failing, undefined)))
          return yield* new Boom()
        })
      )
      assert.deepStrictEqual(lines, [
        "open a",
        "open b",
        "use a and b",
        "close b",
        "last in, first out",
        "release of a is asked for",
        "close a"
      ])
      assert.deepStrictEqual(outcomes, ["Dead"])
    }))
})
