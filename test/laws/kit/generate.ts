/** Random cases, and random cases in which a given kind of thing is sure to happen. */
import * as fc from "fast-check"
import { predict } from "./model.ts"
import type { Kind, Prediction } from "./prediction.ts"
import { type Case, decisions, type Fault, type Mid, normal, type Resource, type Section } from "./spec.ts"

// milliseconds: whole seconds for what takes time, odd ones for limits, so that two things seldom meet
const slow = fc.constantFrom(0, 0, 0, 1_000, 3_000)
const limit = fc.constantFrom(1_537, 2_611, 4_723, 7_919)
const rarely = <A>(arbitrary: fc.Arbitrary<A>) => fc.option(arbitrary, { nil: undefined, freq: 4 })

const fault: fc.Arbitrary<Fault> = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Fault>("fail") },
  { weight: 2, arbitrary: fc.constant<Fault>("die") },
  { weight: 2, arbitrary: fc.constantFrom(...decisions) }
)
const resource: fc.Arbitrary<Resource> = fc.record({
  via: fc.constantFrom("acquireRelease", "acquireRelease", "addFinalizer"),
  fault: fc.option(fault, { nil: undefined, freq: 1 }).chain((f) =>
    fc.constantFrom(undefined, undefined, undefined, f)
  ),
  slow,
  releaseSlow: slow,
  releaseDies: fc.constantFrom(false, false, false, true)
})

// most things go well, or nothing would happen behind them
const risky: fc.Arbitrary<Section> = fc.record({
  slow,
  fault: fc.option(fault, { nil: undefined, freq: 1 }),
  gives: fc.constantFrom(false, false, false, true)
}).chain((s) => fc.constantFrom({ ...s, fault: undefined }, { ...s, fault: undefined }, s))

const mid: fc.Arbitrary<Mid> = fc.record({
  place: fc.constantFrom("worker", "group", "task", "own"),
  declared: fc.boolean(),
  form: fc.constantFrom("hooks", "raw"),
  provides: fc.boolean(),
  resources: fc.array(resource, { maxLength: 3 }),
  before: risky,
  after: fc.option(risky, { nil: undefined }),
  mode: fc.oneof(
    { weight: 6, arbitrary: fc.constant({ _tag: "once" as const }) },
    { weight: 1, arbitrary: fc.record({ _tag: fc.constant("again" as const), times: fc.constantFrom(1, 2) }) },
    { weight: 1, arbitrary: fc.record({ _tag: fc.constant("limit" as const), millis: limit }) },
    { weight: 1, arbitrary: fc.constant({ _tag: "catch" as const }) },
    { weight: 1, arbitrary: fc.constant({ _tag: "short" as const }) }
  ),
  until: fc.constantFrom(1, 1, 2, 9)
})

export const cases: fc.Arbitrary<Case> = fc.record({
  observers: fc.constantFrom(0, 1, 2),
  arounds: fc.array(
    fc.record({
      resource: fc.boolean(),
      rewrites: fc.boolean(),
      dies: fc.constantFrom(undefined, undefined, undefined, undefined, undefined, "before" as const, "after" as const),
      until: fc.constantFrom(1, 2)
    }),
    { maxLength: 2 }
  ),
  mids: fc.array(mid, { maxLength: 6 }),
  handler: fc.record({
    resources: fc.array(resource, { maxLength: 3 }),
    forks: fc.constantFrom<Case["handler"]["forks"]>(
      [],
      [],
      [{ _tag: "child" }],
      [{ _tag: "job", millis: 613, fails: false }],
      [{ _tag: "job", millis: 613, fails: true }],
      [{ _tag: "child" }, { _tag: "job", millis: 613, fails: false }]
    ),
    runs: fc.array(
      fc.record({
        slow: fc.oneof(slow, slow, fc.constant<"never">("never")),
        end: fc.oneof(
          { weight: 2, arbitrary: fc.constant("succeed" as const) },
          { weight: 3, arbitrary: fault },
          { weight: 1, arbitrary: fc.constant("interrupt" as const) }
        )
      }),
      { maxLength: 3 }
    )
  }),
  timeout: rarely(fc.constantFrom(1_733, 5_231)),
  retries: fc.option(fc.constantFrom(1, 2), { nil: undefined }),
  onInterrupted: fc.constantFrom("requeue", "requeue", "retry", "fail"),
  stimulus: fc.constant({ what: "none" as const, at: 0 })
})

/** a case with something that happens from outside, at any step of its first delivery */
const struck = (what: "abort" | "shutdown" | "lost"): fc.Arbitrary<Case> =>
  fc.tuple(cases, fc.integer({ min: 1, max: 40 })).map(([spec, at]) => ({ ...spec, stimulus: { what, at } }))

const anywhere: fc.Arbitrary<Case> = fc.oneof(
  { weight: 3, arbitrary: cases },
  { weight: 1, arbitrary: struck("abort") },
  { weight: 1, arbitrary: struck("shutdown") },
  { weight: 1, arbitrary: struck("lost") }
)

/** a change of a case that makes a kind likely, on top of what it is by chance */
const towards: Partial<Record<Kind, (spec: Case, n: number) => Case>> = {
  "acquisition fails at k": (spec, n) =>
    withMid(spec, n, (mid) => ({
      ...mid,
      resources: [...mid.resources.slice(0, n % 3).map(well), { ...fine, fault: n % 2 === 0 ? "fail" : "die" }]
    })),
  "release dies": (spec, n) =>
    withMid(spec, n, (mid) => ({ ...mid, resources: [...mid.resources, { ...fine, releaseDies: true }] })),
  "before fails": (spec, n) => withMid(spec, n, (mid) => ({ ...mid, before: { slow: 0, fault: "fail" } })),
  "before dies": (spec, n) => withMid(spec, n, (mid) => ({ ...mid, before: { slow: 0, fault: "die" } })),
  "after fails": (spec, n) => withMid(spec, n, (mid) => ({ ...mid, after: { slow: 0, fault: "fail" } })),
  "after dies": (spec, n) => withMid(spec, n, (mid) => ({ ...mid, after: { slow: 0, fault: "die" } })),
  "middleware timeout": (spec, n) =>
    withMid({ ...spec, handler: { ...spec.handler, runs: [{ slow: "never", end: "succeed" }] } }, n, (mid) => ({
      ...mid,
      mode: { _tag: "limit", millis: 2_611 }
    })),
  "task timeout": (spec) => ({
    ...spec,
    timeout: 1_733,
    handler: { ...spec.handler, runs: [{ slow: "never", end: "succeed" }] }
  }),
  "run again": (spec, n) =>
    withMid({ ...spec, handler: { ...spec.handler, runs: [{ slow: 0, end: "fail" }] } }, n, (mid) => ({
      ...mid,
      mode: { _tag: "again", times: 2 }
    })),
  "own interruption": (spec) => ({ ...spec, handler: { ...spec.handler, runs: [{ slow: 0, end: "interrupt" }] } }),
  "decided dead": (spec) => ({ ...spec, handler: { ...spec.handler, runs: [{ slow: 0, end: "dead" }] } }),
  "decided retry": (spec) => ({ ...spec, handler: { ...spec.handler, runs: [{ slow: 0, end: "retryAfter" }] } }),
  snooze: (spec) => ({ ...spec, handler: { ...spec.handler, runs: [{ slow: 0, end: "snooze" }] } }),
  discard: (spec) => ({ ...spec, handler: { ...spec.handler, runs: [{ slow: 0, end: "discard" }] } })
}

const fine: Resource = { via: "acquireRelease", fault: undefined, slow: 0, releaseSlow: 0, releaseDies: false }
const well = (resource: Resource): Resource => ({ ...resource, fault: undefined })

const withMid = (spec: Case, n: number, change: (mid: Mid) => Mid): Case => {
  const mids = spec.mids.length === 0 ? [plain] : spec.mids
  const at = n % mids.length
  return {
    ...spec,
    mids: mids.map((mid, i) => i === at ? change({ ...mid, declared: true, place: inner(mid.place) }) : mid)
  }
}

/** a place where a typed failure may be declared */
const inner = (place: Mid["place"]): Mid["place"] => place === "worker" ? "group" : place

const plain: Mid = {
  place: "task",
  declared: true,
  form: "hooks",
  provides: false,
  resources: [],
  before: { slow: 0, fault: undefined },
  after: undefined,
  mode: { _tag: "once" },
  until: 1
}

/** cases with an end that the model can tell */
const fit = (arbitrary: fc.Arbitrary<Case>, holds: (prediction: Prediction) => boolean) =>
  arbitrary.map(normal).filter((spec) => {
    const prediction = predict(spec)
    return prediction !== undefined && holds(prediction)
  })

export const anyCase: fc.Arbitrary<Case> = fit(anywhere, () => true)

export const caseOf = (kind: Kind): fc.Arbitrary<Case> => {
  const change = towards[kind]
  const base = kind === "abort" || kind === "shutdown"
    ? struck(kind)
    : kind === "lost lease"
    ? struck("lost")
    : anywhere
  const changed = change === undefined
    ? base
    : fc.tuple(base, fc.nat({ max: 30 })).map(([spec, n]) => change(spec, n))
  return fit(changed, (prediction) => prediction.kinds.has(kind))
}
