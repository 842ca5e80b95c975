/** What travels together, and that nobody pays for whom it travels with. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as fc from "fast-check"
import { Coalesce } from "../../../src/backends/internal/coalesce.ts"

interface Call {
  readonly key: string
  readonly items: ReadonlyArray<string>
  readonly answer: (error?: string) => void
}

/** calls that are answered by hand: upper case for every item, or an error */
const harness = (
  options: {
    readonly most?: number
    readonly flights?: number
    readonly isOnes?: (e: string) => boolean
    readonly sizeOf?: (item: string) => number
  }
) => {
  const calls: Array<Call> = []
  const waiting: Array<(call: Call) => void> = []
  const coalesce = new Coalesce<string, string, string>({
    run: (key, items) =>
      Effect.callback((resume) => {
        const call: Call = {
          key,
          items,
          answer: (error) =>
            resume(error === undefined ? Effect.succeed(items.map((item) => item.toUpperCase())) : Effect.fail(error))
        }
        const taker = waiting.shift()
        if (taker === undefined) calls.push(call)
        else taker(call)
      }),
    most: 100,
    flights: 1,
    isOnes: () => false,
    ...options
  })
  const next = Effect.callback<Call>((resume) => {
    const call = calls.shift()
    if (call === undefined) waiting.push((call) => resume(Effect.succeed(call)))
    else resume(Effect.succeed(call))
  })
  const submit = (key: string, ...items: ReadonlyArray<string>) =>
    Effect.forkChild(coalesce.submit(key, items), { startImmediately: true })
  return { calls, coalesce, next, submit }
}

describe("coalesced calls", () => {
  it.effect("the first goes at once, those that come meanwhile go together, in their order", () =>
    Effect.gen(function*() {
      const { calls, next, submit } = harness({})
      const a = yield* submit("q", "a")
      const first = yield* next
      assert.deepStrictEqual(first.items, ["a"])
      const b = yield* submit("q", "b", "c")
      const d = yield* submit("q", "d")
      assert.deepStrictEqual(calls, [])
      first.answer()
      const second = yield* next
      assert.deepStrictEqual(second.items, ["b", "c", "d"])
      second.answer()
      assert.deepStrictEqual(yield* Fiber.join(a), ["A"])
      assert.deepStrictEqual(yield* Fiber.join(b), ["B", "C"])
      assert.deepStrictEqual(yield* Fiber.join(d), ["D"])
    }))

  it.effect("a call has no more items than it may, and one key only", () =>
    Effect.gen(function*() {
      const { next, submit } = harness({ most: 3 })
      yield* submit("q", "a")
      const first = yield* next
      for (const [key, ...items] of [["q", "b", "c"], ["r", "x"], ["q", "d", "e"], ["r", "y"]] as const) {
        yield* submit(key, ...items)
      }
      first.answer()
      const seen: Array<readonly [string, ReadonlyArray<string>]> = []
      for (let i = 0; i < 3; i++) {
        const call = yield* next
        seen.push([call.key, call.items])
        call.answer()
      }
      assert.deepStrictEqual(seen, [["q", ["b", "c"]], ["r", ["x", "y"]], ["q", ["d", "e"]]])
    }))

  it.effect("what is large travels with fewer", () =>
    Effect.gen(function*() {
      const { next, submit } = harness({ most: 10, sizeOf: (item) => item.length })
      yield* submit("q", "a")
      const first = yield* next
      yield* submit("q", "123456")
      yield* submit("q", "1234567")
      yield* submit("q", "123", "45678901")
      first.answer()
      const seen: Array<ReadonlyArray<string>> = []
      for (let i = 0; i < 3; i++) {
        const call = yield* next
        seen.push(call.items)
        call.answer()
      }
      // the last one fills a call alone, and did not wait
      assert.deepStrictEqual(seen, [["123", "45678901"], ["123456"], ["1234567"]])
    }))

  it.effect("what fills a call alone waits for nobody", () =>
    Effect.gen(function*() {
      const { next, submit } = harness({ most: 2 })
      yield* submit("q", "a")
      const first = yield* next
      yield* submit("q", "b", "c")
      const second = yield* next
      assert.deepStrictEqual(second.items, ["b", "c"])
      second.answer()
      first.answer()
    }))

  it.effect("flights share what there is: none is full beside one that is nearly empty", () =>
    Effect.gen(function*() {
      const { next, submit } = harness({ flights: 2 })
      yield* submit("q", "a")
      yield* submit("q", "b")
      const early = yield* next
      const late = yield* next
      const others = Array.from({ length: 40 }, (_, i) => `c${i}`)
      yield* Effect.forEach(others, (item) => submit("q", item))
      // 41 are not answered yet
      early.answer()
      const first = yield* next
      assert.deepStrictEqual(first.items, others.slice(0, 21))
      late.answer()
      const second = yield* next
      assert.deepStrictEqual(second.items, others.slice(21))
      // who comes back goes with as many as are under way
      yield* Effect.forEach(others.slice(0, 21), (item) => submit("q", item))
      first.answer()
      const third = yield* next
      assert.lengthOf(third.items, 20)
      second.answer()
      const fourth = yield* next
      assert.lengthOf(fourth.items, 1)
      third.answer()
      fourth.answer()
    }))

  it.live("flights do not fly in step: one is written before the callers of the other are served", () =>
    Effect.gen(function*() {
      // a client that writes what it gathered in a turn, and a server that answers together what came together
      const turns = (count: number, then: () => void): void =>
        void setImmediate(count === 1 ? then : () => turns(count - 1, then))
      const packets: Array<number> = []
      let gathered: Array<() => void> = []
      const coalesce = new Coalesce<string, string, never>({
        run: (_, items) =>
          Effect.callback((resume) => {
            gathered.push(() => resume(Effect.succeed(items)))
            if (gathered.length > 1) return
            turns(1, () => {
              const packet = gathered
              gathered = []
              packets.push(packet.length)
              turns(5, () => packet.forEach((answer) => answer()))
            })
          }),
        most: 100,
        flights: 2,
        gathers: true,
        isOnes: () => false
      })
      const callers = Array.from({ length: 64 }, (_, n) => `c${n}`)
      yield* Effect.forEach(
        callers,
        (caller) => Effect.repeat(Effect.asVoid(coalesce.submit("q", [caller])), { times: 20 }),
        { concurrency: "unbounded", discard: true }
      )
      // the first two leave at once and carry one each; so do those who waited for them
      assert.deepStrictEqual(packets.slice(0, 2), [2, 2])
      assert.deepStrictEqual(new Set(packets.slice(2)), new Set([1]))
    }))

  it.live("an answer waits for one turn at most, whoever comes and goes meanwhile", () =>
    Effect.gen(function*() {
      let answer: () => void = () => {}
      const coalesce = new Coalesce<string, string, string>({
        run: (key, items) =>
          key === "good"
            ? Effect.callback((resume) => {
              answer = () => resume(Effect.succeed(items))
            })
            : Effect.andThen(Effect.yieldNow, Effect.fail("down")),
        most: 100,
        flights: 2,
        gathers: true,
        isOnes: () => false
      })
      // they fail within a turn and come back at once, more of them than there are flights
      const comes = (item: string): Effect.Effect<never> =>
        Effect.flatMap(Effect.ignore(coalesce.submit("bad", [item])), () => comes(item))
      const busy = yield* Effect.forkChild(Effect.forEach(["a", "b", "c", "d"], comes, { concurrency: "unbounded" }), {
        startImmediately: true
      })
      // one that had to wait for its flight
      const good = yield* Effect.forkChild(coalesce.submit("good", ["x"]), { startImmediately: true })
      let turns = 0
      let answered = 0
      const turn = (): void => {
        turns++
        if (turns === 20) {
          answered = turns
          answer()
        }
        if (turns < 200) setImmediate(turn)
      }
      turn()
      assert.deepStrictEqual(yield* Fiber.join(good), ["x"])
      assert.strictEqual(answered, 20)
      assert.isAtMost(turns - answered, 3)
      yield* Fiber.interrupt(busy)
    }))

  it.effect("what is worth no second call is not divided, and who fills a share alone goes all the same", () =>
    Effect.gen(function*() {
      const { next, submit } = harness({ flights: 4, sizeOf: (item) => item.length })
      for (const item of ["a", "b", "c", "d"]) yield* submit("q", item)
      const early = yield* Effect.all([next, next, next, next])
      yield* Effect.forEach("0123456789abcdef", (item) => submit("q", item))
      early[0]!.answer()
      const small = yield* next
      assert.lengthOf(small.items, 16)
      const large = "x".repeat(30)
      yield* submit("q", large)
      yield* submit("q", "y")
      early[1]!.answer()
      const alone = yield* next
      assert.deepStrictEqual(alone.items, [large])
      early[2]!.answer()
      const rest = yield* next
      assert.deepStrictEqual(rest.items, ["y"])
      for (const call of [early[3]!, small, alone, rest]) call.answer()
    }))

  it.effect("who is interrupted is answered all the same, and the others go on", () =>
    Effect.gen(function*() {
      const { next, submit } = harness({})
      const a = yield* submit("q", "a")
      const first = yield* next
      const b = yield* submit("q", "b")
      const c = yield* submit("q", "c")
      const gone = yield* Deferred.make<void>()
      yield* Effect.forkChild(
        Effect.andThen(
          Effect.all([Fiber.interrupt(a), Fiber.interrupt(b)], { concurrency: 2 }),
          Deferred.succeed(gone, undefined)
        ),
        { startImmediately: true }
      )
      first.answer()
      const second = yield* next
      assert.deepStrictEqual(second.items, ["b", "c"])
      second.answer()
      assert.deepStrictEqual(yield* Fiber.join(c), ["C"])
      yield* Deferred.await(gone)
    }))

  it.effect("one that cannot be stored fails alone; a failure of all is everybody's", () =>
    Effect.gen(function*() {
      const { next, submit } = harness({ isOnes: (error) => error === "refused" })
      yield* submit("q", "a")
      const first = yield* next
      const fibers = yield* Effect.forEach(["b", "c", "d"], (item) => submit("q", item))
      first.answer("down")
      const all = yield* next
      assert.deepStrictEqual(all.items, ["b", "c", "d"])
      all.answer("refused")
      for (const error of [undefined, "refused", undefined]) {
        const one = yield* next
        assert.lengthOf(one.items, 1)
        one.answer(error)
      }
      const exits = yield* Effect.forEach(fibers, Fiber.await)
      assert.deepStrictEqual(exits, [Exit.succeed(["B"]), Exit.fail("refused"), Exit.succeed(["D"])])

      const e = yield* submit("q", "e")
      const again = yield* next
      const f = yield* submit("q", "f")
      const g = yield* submit("q", "g")
      again.answer()
      const both = yield* next
      both.answer("down")
      assert.deepStrictEqual(yield* Effect.forEach([e, f, g], Fiber.await), [
        Exit.succeed(["E"]),
        Exit.fail("down"),
        Exit.fail("down")
      ])
    }))

  it.effect("every item is stored once and every caller gets its own answers, whatever the order of calls", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          fc.array(
            fc.record({
              key: fc.constantFrom("q", "r", "s"),
              size: fc.integer({ min: 1, max: 6 }),
              ticks: fc.integer({ min: 0, max: 3 })
            }),
            { maxLength: 60 }
          ),
          fc.integer({ min: 1, max: 5 }),
          fc.integer({ min: 1, max: 3 }),
          (callers, most, flights) =>
            Effect.runPromise(Effect.gen(function*() {
              const stored: Array<string> = []
              let under = 0
              const coalesce = new Coalesce<string, string, never>({
                run: (key, items) =>
                  Effect.gen(function*() {
                    under++
                    for (let i = 0; i < items.length % 3; i++) yield* Effect.yieldNow
                    for (const item of items) {
                      assert.isTrue(item.startsWith(key))
                      stored.push(item)
                    }
                    under--
                    return items.map((item) => item.toUpperCase())
                  }),
                most,
                flights,
                isOnes: () => false
              })
              yield* Effect.forEach(callers, ({ key, size, ticks }, n) =>
                Effect.gen(function*() {
                  for (let i = 0; i < ticks; i++) yield* Effect.yieldNow
                  const items = Array.from({ length: size }, (_, i) => `${key}${n}.${i}`)
                  assert.deepStrictEqual(yield* coalesce.submit(key, items), items.map((item) => item.toUpperCase()))
                }), { concurrency: "unbounded" })
              assert.strictEqual(under, 0)
              assert.strictEqual(stored.length, callers.reduce((sum, { size }) => sum + size, 0))
              assert.strictEqual(new Set(stored).size, stored.length)
            }))
        ),
        { numRuns: 200 }
      )
    ))
})
