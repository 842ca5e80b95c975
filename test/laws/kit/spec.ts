/**
 * What a case of the random stacks is, as data: a stack of middleware around a handler, what each of them does, and one
 * thing that happens from outside. `model.ts` says what must come of it, `build.ts` makes real middleware of it.
 */

/** what a decision is called here */
export type Decision = "discard" | "dead" | "retry" | "retryAfter" | "snooze"

/** how a step goes wrong: a typed failure, a defect, or a `Decide` */
export type Fault = "fail" | "die" | Decision

export const decisions: ReadonlyArray<Fault> = ["discard", "dead", "retry", "retryAfter", "snooze"]

/** a resource; with `addFinalizer` there is no acquisition that could fail */
export interface Resource {
  readonly via: "acquireRelease" | "addFinalizer"
  readonly fault: Fault | undefined
  /** milliseconds that the acquisition takes, which nothing may cut short */
  readonly slow: number
  readonly releaseSlow: number
  readonly releaseDies: boolean
}

/** a before or an after */
export interface Section {
  readonly slow: number
  /** its wait is marked as one that may be cut short; of befores only */
  readonly gives?: boolean
  readonly fault: Fault | undefined
}

/**
 * What a middleware does with `next`: runs it, runs it again after a failure, bounds it in time, looks at its cause (a
 * task's own wrap turns it into a success), or ends the job without it.
 */
export type Mode =
  | { readonly _tag: "once" }
  | { readonly _tag: "again"; readonly times: number }
  | { readonly _tag: "limit"; readonly millis: number }
  | { readonly _tag: "catch" }
  | { readonly _tag: "short" }

export const places = ["worker", "group", "task", "own"] as const

export interface Mid {
  readonly place: (typeof places)[number]
  /** declared with `Middleware.Service`, or written in place; a task's own wrap is neither */
  readonly declared: boolean
  /** written with `Middleware.hooks`, or as a function around a function */
  readonly form: "hooks" | "raw"
  /** provides a service of its own to everything inside */
  readonly provides: boolean
  readonly resources: ReadonlyArray<Resource>
  readonly before: Section
  readonly after: Section | undefined
  readonly mode: Mode
  /** its faults happen in so many deliveries, then no more */
  readonly until: number
}

/** middleware of the delivery point */
export interface Around {
  readonly resource: boolean
  readonly rewrites: boolean
  readonly dies: "before" | "after" | undefined
  readonly until: number
}

/** one run of the handler's body */
export interface Run {
  readonly slow: number | "never"
  readonly end: "succeed" | "interrupt" | Fault
}

/** a fiber that the body forks: a plain child that never ends by itself, or a `Job.fork` of so many milliseconds */
export type Fork =
  | { readonly _tag: "child" }
  | { readonly _tag: "job"; readonly millis: number; readonly fails: boolean }

export interface Handler {
  readonly resources: ReadonlyArray<Resource>
  readonly forks: ReadonlyArray<Fork>
  /** the first, second, ... run of the body; after these it succeeds at once */
  readonly runs: ReadonlyArray<Run>
}

/** what happens from outside, at the n-th step of the first delivery */
export interface Stimulus {
  readonly what: "none" | "abort" | "shutdown" | "lost"
  readonly at: number
}

export interface Case {
  /** how many observers watch */
  readonly observers: number
  readonly arounds: ReadonlyArray<Around>
  /** sorted by place: first = outermost */
  readonly mids: ReadonlyArray<Mid>
  readonly handler: Handler
  readonly timeout: number | undefined
  /** retried so often, a minute apart */
  readonly retries: number | undefined
  readonly onInterrupted: "requeue" | "retry" | "fail"
  readonly stimulus: Stimulus
}

/** milliseconds: retries are so far apart */
export const retryAfter = 60_000
/** milliseconds of a `Decide.retry({ after })` and of a `Decide.snooze` */
export const decidedAfter = 20_000
/** milliseconds of the lease that the worker sees; it is renewed at a third */
export const lease = 30_000

/** where a typed failure is not declared a middleware can only ask for a retry */
export const faultOf = (mid: Mid, fault: Fault | undefined): Fault | undefined =>
  fault === "fail" && !(mid.place === "own" || (mid.declared && mid.place !== "worker")) ? "retry" : fault

/** what the types allow at the place where it stands */
export const legal = (mid: Mid): Mid => {
  const own = mid.place === "own"
  const declared = mid.declared && !own
  const form = own || mid.mode._tag !== "once" ? "raw" : mid.form
  const provides = own ? mid.provides : declared && mid.place !== "worker" && mid.provides
  const fixed: Mid = { ...mid, declared, form, provides }
  const section = (section: Section): Section => ({ ...section, fault: faultOf(fixed, section.fault) })
  return {
    ...fixed,
    resources: mid.resources.map((r) => held({ ...r, fault: faultOf(fixed, r.fault) })),
    before: section(mid.before),
    after: mid.after === undefined ? undefined : section(mid.after)
  }
}

/** a finalizer alone acquires nothing: no time passes and nothing fails */
const held = (resource: Resource): Resource =>
  resource.via === "addFinalizer" ? { ...resource, fault: undefined, slow: 0 } : resource

/** a case as it may be built: the stack in its order, every middleware legal */
export const normal = (spec: Case): Case => ({
  ...spec,
  handler: { ...spec.handler, resources: spec.handler.resources.map(held) },
  mids: places.flatMap((place) => spec.mids.filter((mid) => mid.place === place)).map(legal)
})
