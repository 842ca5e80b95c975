/**
 * The frames that go on with an exit (`src/internal/over.ts`, `src/internal/finalize.ts`) are put together of what Effect keeps
 * to itself: they must be what `Effect.matchCauseEffect` and `Effect.onExit` are, however what they wait for ends and wherever
 * an interruption comes.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as fc from "fast-check"
import * as final from "../../src/internal/finalize.ts"
import { framed, isOver, matched, whenOver, works } from "../../src/internal/over.ts"

type Program = Effect.Effect<unknown, unknown>
type Seen = Exit.Exit<unknown, unknown>
interface Words {
  readonly join: (self: Program, go: (exit: Seen) => Program) => Program
  readonly leave: (self: Program, onExit: (exit: Seen) => Effect.Effect<void, unknown> | undefined) => Program
}
const ours: Words = { join: framed, leave: final.framed }
const theirs: Words = { join: matched, leave: final.worded }

/** what a program does, before it is one: so that it can be made with either frame */
type Plan =
  | { readonly _tag: "Value" | "Fail" | "Die" | "Interrupt" | "Throw" | "Yield" | "Late" | "Cut" }
  | { readonly _tag: "Join"; readonly self: Plan; readonly go: "same" | "flip" | "throw" | "wait" | "note" }
  | {
    readonly _tag: "Leave"
    readonly self: Plan
    readonly end: "nothing" | "note" | "wait" | "fail" | "throw" | "cut"
  }
  | { readonly _tag: "Mask" | "Unmask" | "OnExit" | "Catch"; readonly self: Plan }

const { plan } = fc.letrec<Record<"plan" | "leaf" | "node", Plan>>((tie) => ({
  leaf: fc.constantFrom("Value", "Fail", "Die", "Interrupt", "Throw", "Yield", "Late", "Cut")
    .map((_tag): Plan => ({ _tag }) as Plan),
  node: fc.oneof(
    fc.record({
      _tag: fc.constant("Join"),
      self: tie("plan"),
      go: fc.constantFrom("same", "flip", "throw", "wait", "note")
    }),
    fc.record({
      _tag: fc.constant("Leave"),
      self: tie("plan"),
      end: fc.constantFrom("nothing", "note", "wait", "fail", "throw", "cut")
    }),
    fc.record({ _tag: fc.constantFrom("Mask", "Unmask", "OnExit", "Catch"), self: tie("plan") })
  ) as fc.Arbitrary<Plan>,
  plan: fc.oneof({ depthSize: "medium" }, tie("leaf"), tie("node"), tie("node"))
}))

/** `cut` interrupts the whole from within, as somebody else would */
const program = (plan: Plan, words: Words, notes: Array<string>, cut: () => void): Program => {
  const note = (what: string) => Effect.sync(() => void notes.push(what))
  const inner = (self: Plan) => program(self, words, notes, cut)
  switch (plan._tag) {
    case "Value":
      return Effect.sync(() => "value")
    case "Fail":
      return Effect.suspend(() => Effect.fail("failure"))
    case "Die":
      return Effect.suspend(() => Effect.die("defect"))
    case "Interrupt":
      return Effect.suspend(() => Exit.interrupt(7))
    case "Throw":
      return Effect.sync(() => {
        throw "thrown"
      })
    case "Yield":
      return Effect.as(Effect.yieldNow, "yielded")
    case "Late":
      return Effect.callback((resume) => {
        const turn = setImmediate(() => resume(Effect.succeed("late")))
        return Effect.andThen(Effect.sync(() => clearImmediate(turn)), note("cut short"))
      })
    case "Cut":
      return Effect.andThen(Effect.sync(cut), Effect.yieldNow)
    case "Mask":
      return Effect.uninterruptible(inner(plan.self))
    case "Unmask":
      return Effect.interruptible(inner(plan.self))
    case "OnExit":
      return Effect.onExit(inner(plan.self), (exit) => note(`left by ${exit._tag}`))
    case "Catch":
      return Effect.catch(inner(plan.self), (error) => Effect.succeed(`caught ${String(error)}`))
    case "Leave":
      return words.leave(inner(plan.self), (exit) => {
        notes.push(`leaves ${shown(exit)}`)
        switch (plan.end) {
          case "nothing":
            return undefined
          case "note":
            return note("noted")
          case "wait":
            return Effect.andThen(Effect.yieldNow, note("waited"))
          case "fail":
            return Effect.andThen(Effect.yieldNow, Effect.fail("failed to leave"))
          case "throw":
            throw "thrown as it leaves"
          case "cut":
            // an interruption is not heard before what is left to do is done
            return Effect.andThen(Effect.sync(cut), Effect.andThen(Effect.yieldNow, note("after the cut")))
        }
      })
    case "Join":
      return words.join(inner(plan.self), (exit) => {
        notes.push(`joined ${shown(exit)}`)
        switch (plan.go) {
          case "same":
            return exit
          case "flip":
            return exit._tag === "Success" ? Effect.fail("flipped") : Effect.succeed("flipped")
          case "throw":
            throw "thrown by go"
          case "wait":
            return Effect.andThen(Effect.yieldNow, exit)
          case "note":
            return Effect.andThen(note("noted"), exit)
        }
      })
  }
}

const shown = (exit: Exit.Exit<unknown, unknown>): string =>
  exit._tag === "Success"
    ? `value ${String(exit.value)}`
    : exit.cause.reasons.map((reason) =>
      Cause.isFailReason(reason)
        ? `fail ${String(reason.error)}`
        : Cause.isDieReason(reason)
        ? `die ${String(reason.defect)}`
        : "interrupt"
    ).join()

/** without typed failures beside an interruption: ours keep one that Effect throws away, see below */
const ran = (plan: Plan, words: Words) =>
  Effect.gen(function*() {
    const notes: Array<string> = []
    const self: { fiber?: Fiber.Fiber<unknown, unknown> } = {}
    self.fiber = yield* Effect.forkChild(program(plan, words, notes, () => self.fiber?.interruptUnsafe()))
    const exit = yield* Fiber.await(self.fiber)
    return [shown(exit), ...notes].map((line) =>
      line.includes("interrupt") ? line.replaceAll(/fail [^,]*,|,fail [^,]*/g, "") : line
    )
  })

describe("the frames that go on with an exit", () => {
  it("are used with this version of Effect", () => assert.isTrue(works && final.works))

  it("L3 are what Effect.matchCauseEffect and Effect.onExit are", () =>
    fc.assert(
      fc.asyncProperty(plan, async (plan) => {
        const [one, other] = await Effect.runPromise(Effect.all([ran(plan, ours), ran(plan, theirs)]))
        assert.deepStrictEqual(one, other)
      }),
      { numRuns: 1_000 }
    ))

  it.effect("L3 a typed failure stands beside an interruption that comes while it leaves", () =>
    Effect.gen(function*() {
      const leaves = yield* Deferred.make<void>()
      const may = yield* Deferred.make<void>()
      const fiber = yield* Effect.forkChild(
        final.finalize(
          Effect.andThen(Effect.yieldNow, Effect.fail("failure")),
          () => Effect.andThen(Deferred.succeed(leaves, undefined), Deferred.await(may))
        )
      )
      yield* Deferred.await(leaves)
      fiber.interruptUnsafe()
      yield* Deferred.succeed(may, undefined)
      const exit = yield* Fiber.await(fiber)
      assert.strictEqual(shown(exit), "fail failure,interrupt")
    }))

  it.effect("go on at once with what is over, and with the rest when it is", () =>
    Effect.gen(function*() {
      const over = Exit.succeed(1)
      let now: unknown
      const gone = whenOver(over, (exit) => (now = exit, Effect.succeed("on")))
      assert.strictEqual(now, over)
      assert.strictEqual(yield* gone, "on")
      const later = yield* Deferred.make<number, string>()
      assert.isFalse(isOver(Deferred.await(later)))
      const fiber = yield* Effect.forkChild(whenOver(Deferred.await(later), Effect.succeed), { startImmediately: true })
      yield* Deferred.fail(later, "failure")
      assert.deepStrictEqual(yield* Fiber.join(fiber), Exit.fail("failure"))
    }))

  it.effect("may be run again, and nested as deeply as memory allows", () =>
    Effect.gen(function*() {
      let runs = 0
      const one = whenOver(Effect.sync(() => ++runs), (exit) => exit)
      assert.deepStrictEqual([yield* one, yield* one], [1, 2])
      let deep: Effect.Effect<number> = one
      for (let i = 0; i < 100_000; i++) deep = framed(deep, (exit) => exit)
      assert.strictEqual(yield* deep, 3)
    }))
})
