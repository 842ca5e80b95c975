/**
 * The conformance kit: what a backend promises, as a list of programs that try it. Ours run it, and so can anybody's.
 * The kit looks up which capabilities a layer has, runs the cases that need no others, and says which cases do not
 * apply and why. It knows no test runner.
 *
 * ```ts
 * import { it } from "@effect/vitest"
 * import { Conformance } from "windlass/testing"
 *
 * Conformance.suite({ name: "mine", layer: MyBackend.layer, clock: "live", lacks: ["Groups"] }, it.live)
 * ```
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as TestClock from "effect/testing/TestClock"
import { all } from "./conformance/cases.ts"
import { facts, token } from "./conformance/facts.ts"
import {
  type Case,
  ConformanceFailure,
  Harness,
  type Need,
  type Services,
  type Transaction
} from "./conformance/harness.ts"

export {
  /**
   * @category models
   * @since 0.1.0
   */
  type Case,
  /**
   * @category errors
   * @since 0.1.0
   */
  ConformanceFailure,
  /**
   * @category services
   * @since 0.1.0
   */
  Harness,
  /**
   * @category models
   * @since 0.1.0
   */
  type Need,
  /**
   * @category models
   * @since 0.1.0
   */
  type Transaction
}

/**
 * All cases, in the order in which they run.
 *
 * @category cases
 * @since 0.1.0
 */
export const cases: ReadonlyArray<Case> = all

/**
 * - `name`: of the backend, for the titles.
 * - `layer`: built anew for every case. It must output `Backend` and its capabilities.
 * - `clock`: `test` for an engine that takes its time from `Clock`: the kit runs it under `TestClock`. `live` for one
 *   with a time of its own: the kit waits. Give such an engine a lease of about two seconds.
 * - `lacks`: what the backend does not have, by name. The suite fails when this list is wrong, either way, so that no
 *   case stays out unseen.
 * - `unit`: milliseconds that the cases count in; 1000 on the test clock, 200 on the live one. A timed lease has to be
 *   eight units or longer.
 * - `slack`: milliseconds by which the engine may be late; 0 on the test clock, 300 on the live one.
 * - `scale`: makes the heavy cases smaller by this factor, for a slow engine; 1 when absent.
 * - `seed`: of the random runs; fixed when absent, so that a suite does the same every time.
 * - `transaction`: runs an effect in a transaction that its failure rolls back. Only for `Transactional`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<ROut, E> {
  readonly name: string
  readonly layer: Layer.Layer<ROut, E>
  readonly clock: "test" | "live"
  readonly lacks?: ReadonlyArray<Need> | undefined
  readonly unit?: number | undefined
  readonly slack?: number | undefined
  readonly scale?: number | undefined
  readonly seed?: number | undefined
  readonly transaction?: Transaction | undefined
}

/**
 * What became of one case.
 *
 * @category models
 * @since 0.1.0
 */
export type Verdict =
  | { readonly _tag: "Held"; readonly case: Case }
  | { readonly _tag: "Failed"; readonly case: Case; readonly message: string }
  | { readonly _tag: "NotApplicable"; readonly case: Case; readonly missing: ReadonlyArray<Need> }

/**
 * What became of all cases.
 *
 * @category models
 * @since 0.1.0
 */
export interface Report {
  readonly name: string
  readonly held: ReadonlyArray<Case>
  readonly failed: ReadonlyArray<{ readonly case: Case; readonly message: string }>
  readonly notApplicable: ReadonlyArray<{ readonly case: Case; readonly missing: ReadonlyArray<Need> }>
}

/**
 * Runs one case on a freshly built layer. It never fails: what went wrong, a layer that cannot be built included, is in
 * the verdict.
 *
 * @category running
 * @since 0.1.0
 */
export const runCase = <ROut, E>(options: Options<ROut, E>, tried: Case): Effect.Effect<Verdict> => {
  const onTestClock = options.clock === "test"
  const verdict = Effect.gen(function*() {
    const context = yield* Layer.build(Layer.fresh(options.layer))
    const found = yield* facts(context, options.clock)
    const missing = tried.needs.filter((need) => !found.has(need))
    if (missing.length > 0) return { _tag: "NotApplicable", case: tried, missing } as const
    const harness: Harness["Service"] = {
      advance: onTestClock
        ? (millis) => TestClock.adjust(Duration.millis(millis))
        : (millis) => Effect.sleep(Duration.millis(millis)),
      exact: onTestClock,
      unit: options.unit ?? (onTestClock ? 1000 : 200),
      slack: options.slack ?? (onTestClock ? 0 : 300),
      facts: found,
      fresh: `${tried.id.replaceAll(/[^a-z0-9]+/g, "-")}-${token()}`,
      seed: options.seed ?? 1,
      scale: options.scale ?? 1,
      transaction: options.transaction
    }
    // what is missing is not among the case's needs
    const services = Context.add(context, Harness, harness) as Context.Context<any> as Context.Context<Services>
    yield* Effect.provide(Effect.scoped(tried.run), services)
    return { _tag: "Held", case: tried } as const
  })
  const clocked = onTestClock ? Effect.provide(Effect.scoped(verdict), TestClock.layer()) : Effect.scoped(verdict)
  return Effect.map(Effect.exit(clocked), (exit): Verdict => {
    if (Exit.isSuccess(exit)) return exit.value
    const failure = Cause.findErrorOption(exit.cause)
    const message = Option.isSome(failure) && failure.value instanceof ConformanceFailure
      ? failure.value.message
      : `${tried.id} (${tried.title}): ${Cause.pretty(exit.cause)}`
    return { _tag: "Failed", case: tried, message }
  })
}

/**
 * Runs all cases, or those given, one after another, and reports what became of each. It never fails.
 *
 * @category running
 * @since 0.1.0
 */
export const run = <ROut, E>(
  options: Options<ROut, E>,
  these: ReadonlyArray<Case> = cases
): Effect.Effect<Report> =>
  Effect.map(Effect.forEach(these, (tried) => runCase(options, tried)), (verdicts) => ({
    name: options.name,
    held: verdicts.flatMap((verdict) => verdict._tag === "Held" ? [verdict.case] : []),
    failed: verdicts.flatMap((verdict) =>
      verdict._tag === "Failed" ? [{ case: verdict.case, message: verdict.message }] : []
    ),
    notApplicable: verdicts.flatMap((verdict) =>
      verdict._tag === "NotApplicable" ? [{ case: verdict.case, missing: verdict.missing }] : []
    )
  }))

/**
 * The report as text, one line per failure and per case that does not apply.
 *
 * @category running
 * @since 0.1.0
 */
export const format = (report: Report): string =>
  [
    `${report.name}: ${report.held.length} cases held, ${report.failed.length} failed, ` +
    `${report.notApplicable.length} do not apply`,
    ...report.failed.map(({ message }) => `  failed ${message}`),
    ...report.notApplicable.map(({ case: { id, title }, missing }) =>
      `  does not apply: ${id} (${title}), it needs ${missing.join(", ")}`
    )
  ].join("\n")

/**
 * Registers one test per case with any test runner: `register` is called with a title and with a function that returns
 * an effect that fails when the case does not hold. `it.live` of `@effect/vitest` fits as it is; for another runner,
 * `(title, run) => test(title, () => Effect.runPromise(run()))`.
 *
 * A case that needs what is in `lacks` is registered as well, with a title that says so; its test checks that the
 * backend really lacks it. A case whose need is missing and not in `lacks` fails. What is returned says, before
 * anything ran, which cases apply.
 *
 * @category running
 * @since 0.1.0
 */
export const suite = <ROut, E>(
  options: Options<ROut, E>,
  register: (title: string, run: () => Effect.Effect<void, ConformanceFailure>) => void
): { readonly apply: ReadonlyArray<Case>; readonly doNotApply: ReadonlyArray<Case> } => {
  const lacks = new Set<Need>([...(options.lacks ?? []), ...(options.clock === "live" ? ["ExactTime" as const] : [])])
  const apply: Array<Case> = []
  const doNotApply: Array<Case> = []
  for (const tried of cases) {
    const lacking = tried.needs.filter((need) => lacks.has(need))
    const marks = tried.holds.length === 0 ? "" : ` (${tried.holds.join(", ")})`
    const title = `${options.name} ${tried.id}: ${tried.title}${marks}`
    if (lacking.length === 0) {
      apply.push(tried)
      register(title, () => Effect.flatMap(runCase(options, tried), (verdict) => mustHold(options.name, verdict)))
    } else {
      doNotApply.push(tried)
      register(
        `${title} does not apply: no ${lacking.join(", ")}`,
        () => Effect.flatMap(runCase(options, tried), (verdict) => mustLack(options.name, verdict, lacking))
      )
    }
  }
  return { apply, doNotApply }
}

const mustHold = (name: string, verdict: Verdict): Effect.Effect<void, ConformanceFailure> => {
  switch (verdict._tag) {
    case "Held":
      return Effect.void
    case "Failed":
      return Effect.fail(new ConformanceFailure({ case: verdict.case.id, message: verdict.message }))
    case "NotApplicable":
      return Effect.fail(
        new ConformanceFailure({
          case: verdict.case.id,
          message: `${verdict.case.id} needs ${verdict.missing.join(", ")}, which ${name} has not: ` +
            `if that is meant, say so in \`lacks\``
        })
      )
  }
}

const mustLack = (
  name: string,
  verdict: Verdict,
  lacking: ReadonlyArray<Need>
): Effect.Effect<void, ConformanceFailure> => {
  const wrong = verdict._tag === "NotApplicable" ? lacking.filter((need) => !verdict.missing.includes(need)) : lacking
  return wrong.length === 0 ? Effect.void : Effect.fail(
    new ConformanceFailure({
      case: verdict.case.id,
      message: `${name} is said to lack ${wrong.join(", ")}, and has it: take it out of \`lacks\``
    })
  )
}
