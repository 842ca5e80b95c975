/**
 * The frame that goes on with an exit (`src/internal/over.ts`) is put together of what Effect keeps to itself: it must be what
 * `Effect.matchCauseEffect` is, however what it waits for ends and wherever an interruption comes.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as fc from "fast-check"
import { framed, isOver, matched, whenOver, works } from "../../src/internal/over.ts"

type Program = Effect.Effect<unknown, unknown>
type Seen = Exit.Exit<unknown, unknown>
type Join = (self: Program, go: (exit: Seen) => Program) => Program

/** what a program does, before it is one: so that it can be made with either */
type Plan =
  | { readonly _tag: "Value" | "Fail" | "Die" | "Interrupt" | "Throw" | "Yield" | "Late" | "Cut" }
  | { readonly _tag: "Join"; readonly self: Plan; readonly go: "same" | "flip" | "throw" | "wait" | "note" }
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
    fc.record({ _tag: fc.constantFrom("Mask", "Unmask", "OnExit", "Catch"), self: tie("plan") })
  ) as fc.Arbitrary<Plan>,
  plan: fc.oneof({ depthSize: "medium" }, tie("leaf"), tie("node"), tie("node"))
}))

/** `cut` interrupts the whole from within, as somebody else would */
const program = (plan: Plan, join: Join, notes: Array<string>, cut: () => void): Program => {
  const note = (what: string) => Effect.sync(() => void notes.push(what))
  const inner = (self: Plan) => program(self, join, notes, cut)
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
    case "Join":
      return join(inner(plan.self), (exit) => {
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

const ran = (plan: Plan, join: Join) =>
  Effect.gen(function*() {
    const notes: Array<string> = []
    const self: { fiber?: Fiber.Fiber<unknown, unknown> } = {}
    self.fiber = yield* Effect.forkChild(program(plan, join, notes, () => self.fiber?.interruptUnsafe()))
    const exit = yield* Fiber.await(self.fiber)
    return [shown(exit), ...notes]
  })

describe("the frame that goes on with an exit", () => {
  it("is used with this version of Effect", () => assert.isTrue(works))

  it("L3 is what Effect.matchCauseEffect is", () =>
    fc.assert(
      fc.asyncProperty(plan, async (plan) => {
        const [one, other] = await Effect.runPromise(Effect.all([ran(plan, framed), ran(plan, matched)]))
        assert.deepStrictEqual(one, other)
      }),
      { numRuns: 1_000 }
    ))

  it.effect("goes on at once with what is over, and with the rest when it is", () =>
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
