/**
 * A law as a test: a property, how often each kind of case came up, and a floor under which that is too seldom.
 *
 * `LAWS_SEED` is the seed of everything that is drawn (it is printed, and so is the smallest case that fails), `LAWS_RUNS`
 * the number of cases of each kind.
 */
import { assert, it } from "@effect/vitest"
import { type Context, Effect } from "effect"
import * as fc from "fast-check"

export const seed = Number(process.env["LAWS_SEED"] ?? 48_271)
export const runs = Number(process.env["LAWS_RUNS"] ?? 32)

/** how often a kind of case must have come up; fewer only when fewer were asked for */
export const floor = Math.min(30, runs)

export class Tally {
  readonly counts = new Map<string, number>()
  cases = 0

  add(...kinds: ReadonlyArray<string>): void {
    this.cases++
    for (const kind of kinds) this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1)
  }
}

/** a test that ends with the counts of what it tried */
export const law = <R>(
  name: string,
  kinds: ReadonlyArray<string>,
  where: string,
  body: (tally: Tally) => Effect.Effect<void, unknown, R>,
  provide: <A>(effect: Effect.Effect<A, unknown, R>) => Effect.Effect<A, unknown>
): void =>
  it.effect(name, () =>
    provide(Effect.gen(function*() {
      const tally = new Tally()
      yield* body(tally)
      const counts = kinds.map((kind) => `${kind} ${tally.counts.get(kind) ?? 0}`)
      process.stdout.write(`${name} [${where}] seed ${seed}, ${tally.cases} cases: ${counts.join(", ")}\n`)
      const few = kinds.filter((kind) => (tally.counts.get(kind) ?? 0) < floor)
      assert.deepStrictEqual(few, [], `kinds that came up less than ${floor} times`)
    })), 300_000)

/** runs a property on so many random values; the smallest one that fails is in the error's message */
export const forAll = <A, E, R>(
  arbitrary: fc.Arbitrary<A>,
  options: { readonly numRuns?: number; readonly shift?: number },
  property: (value: A) => Effect.Effect<void, E, R>
): Effect.Effect<void, never, R> =>
  Effect.contextWith((context: Context.Context<R>) =>
    Effect.promise(async () => {
      const run = Effect.runPromiseWith(context)
      const details = await fc.check(
        fc.asyncProperty(arbitrary, (value) => run(Effect.asVoid(property(value)))),
        {
          numRuns: options.numRuns ?? runs,
          seed: seed + 7_919 * (options.shift ?? 0),
          interruptAfterTimeLimit: 120_000,
          markInterruptAsFailure: true
        }
      )
      if (details.failed) {
        const cause = details.errorInstance
        const why = cause instanceof Error ? cause.message : String(cause)
        const shown = JSON.stringify(details.counterexample?.[0])
        throw new Error(`seed ${details.seed}, path ${details.counterexamplePath}: ${why}\n${shown}`, { cause })
      }
    })
  )
