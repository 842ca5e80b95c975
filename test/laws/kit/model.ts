/**
 * The oracle: what a case must come to, found without running it. It is written from the design alone (order of section
 * 4, laws of section 5, table of section 6) and knows nothing of fibers: time is a number, a scope is a list.
 */
import { type Ending, type Outcome, outcomeOf } from "./decide.ts"
import * as E from "./exits.ts"
import { type Case, decidedAfter, type Fault, lease, type Mid, type Resource, retryAfter } from "./spec.ts"

/** what happened at least once: every kind has a floor under which the suite fails */
export const kinds = [
  "success",
  "typed failure",
  "defect",
  "own interruption",
  "acquisition fails at k",
  "release dies",
  "before fails",
  "before dies",
  "after fails",
  "after dies",
  "task timeout",
  "middleware timeout",
  "run again",
  "lost lease",
  "shutdown",
  "abort",
  "discard",
  "decided dead",
  "decided retry",
  "snooze"
] as const
export type Kind = (typeof kinds)[number]

export interface Handed {
  readonly settlement: string
  readonly outcome: string
  /** undefined: not settled, because the worker knew that it had lost the job */
  readonly answer: "Settled" | "Aborted" | "Lost" | undefined
  readonly bodies: number
}

export interface Prediction {
  readonly trace: ReadonlyArray<string>
  readonly handed: ReadonlyArray<Handed>
  /** what `execute` yields */
  readonly result: string
  readonly kinds: ReadonlySet<Kind>
}

/** the case cannot be predicted (two things at the same millisecond) or has no end */
class Unfit extends Error {}

interface Timer {
  readonly at: number
  readonly fire: () => void
}

/** where an effect stands: what can interrupt it there */
interface At {
  readonly masked: boolean
  readonly limits: ReadonlyArray<{ fired: boolean }>
  readonly body: { interrupted: boolean } | undefined
}

const root: At = { masked: true, limits: [], body: undefined }

const interruptedAt = (at: At): boolean => at.body?.interrupted === true || at.limits.some((limit) => limit.fired)

/** leaving a masked region: what was asked meanwhile happens now, on top of the defects that there are */
const leave = (at: At, exit: E.Modelled): E.Modelled => !at.masked && interruptedAt(at) ? E.cutShort(exit) : exit

/** passing a handler that an interruption skips: it takes the typed failures along */
const skip = (at: At, exit: E.Modelled): E.Modelled =>
  !at.masked && interruptedAt(at) ? E.cutShort(E.untyped(exit)) : exit

const names: Record<Exclude<Fault, "die">, (at: string) => string> = {
  fail: (at) => at,
  discard: () => "Decide.Discard",
  dead: () => "Decide.Dead",
  retry: () => "Decide.Retry",
  retryAfter: () => "Decide.Retry+",
  snooze: () => "Decide.Snooze"
}

const faulty = (fault: Fault, at: string): E.Modelled => fault === "die" ? E.died(at) : E.typed(names[fault](at))

export const predict = (spec: Case): Prediction | undefined => {
  try {
    return new Model(spec).run()
  } catch (error) {
    if (error instanceof Unfit) return undefined
    throw error
  }
}

class Model {
  readonly spec: Case
  readonly trace: Array<string> = []
  readonly kinds = new Set<Kind>()
  readonly timers = new Set<Timer>()
  time = 0
  serial = 0
  steps = 0
  delivery = 0
  bodies = 0
  // of one delivery
  stopping: "abort" | "shutdown" | "lost" | undefined
  cut = false
  /** an interruption that nobody asked the attempt for is on its way out */
  interrupted = false
  stolen = false
  abortRequested = false
  recorded: string | undefined
  open: { interrupted: boolean; timedOut: boolean } | undefined

  constructor(spec: Case) {
    this.spec = spec
  }

  run(): Prediction {
    const handed: Array<Handed> = []
    let attempt = 1
    while (true) {
      if (++this.delivery > 7) throw new Unfit()
      this.time = 0
      this.timers.clear()
      this.stopping = undefined
      this.cut = false
      this.interrupted = false
      this.stolen = false
      this.recorded = undefined
      const before = this.bodies
      this.trace.push(`claim ${attempt}`)
      const outcome = this.deliver(attempt)
      const bodies = this.bodies - before
      if (this.lostAlready()) {
        handed.push({ settlement: "", outcome: outcome.settlement, answer: undefined, bodies })
        this.trace.push("lost")
        continue
      }
      this.trace.push(`settle ${outcome.settlement}`)
      if (this.stolen) {
        handed.push({ settlement: outcome.settlement, outcome: outcome.outcome, answer: "Lost", bodies })
        this.trace.push("lost")
        continue
      }
      const answer = this.abortRequested && outcome.settlement.startsWith("Retry") ? "Aborted" : "Settled"
      handed.push({ settlement: outcome.settlement, outcome: outcome.outcome, answer, bodies })
      if (answer === "Aborted") return this.over(handed, "Aborted")
      if (outcome.result !== undefined) return this.over(handed, outcome.result)
      if (outcome.spent) attempt++
    }
  }

  over(handed: ReadonlyArray<Handed>, result: string): Prediction {
    if (handed.at(-1)!.outcome === "Succeeded") this.kinds.add("success")
    return { trace: this.trace, handed, result, kinds: this.kinds }
  }

  lostAlready(): boolean {
    return this.stopping === "lost"
  }

  // ------------------------------------------------------------------------------------------------------------- time

  /** nothing interrupts: time passes, and what is due meanwhile happens */
  pass(millis: number): void {
    this.wait(millis, () => false)
  }

  /** true when it was cut short */
  sleep(millis: number, at: At): boolean {
    if (!at.masked && interruptedAt(at)) return true
    return this.wait(millis, () => !at.masked && interruptedAt(at))
  }

  /** a wait that may be cut short, by what stops the attempt too: true when it was */
  give(millis: number, at: At): boolean {
    const cut = () => at.limits.length > 0 ? interruptedAt(at) : this.stopping !== undefined
    return cut() || this.wait(millis, cut)
  }

  wait(millis: number, cut: () => boolean): boolean {
    const end = this.time + millis
    while (true) {
      const next = Array.from(this.timers).sort((a, b) => a.at - b.at)[0]
      if (next === undefined || next.at > end) break
      if (millis > 0 && next.at === end) throw new Unfit()
      this.timers.delete(next)
      if (Array.from(this.timers).some((other) => other.at === next.at)) throw new Unfit()
      this.time = next.at
      next.fire()
      if (cut()) return true
    }
    if (end === Infinity) throw new Unfit()
    this.time = end
    return false
  }

  timer(millis: number, fire: () => void): Timer {
    const timer = { at: this.time + millis, fire }
    this.timers.add(timer)
    return timer
  }

  // ------------------------------------------------------------------------------------------------------------ steps

  /** a point of the trace at which something may happen from outside; true when that interrupts what stands there */
  step(event: string, at: At): boolean {
    this.trace.push(event)
    const { stimulus } = this.spec
    if (++this.steps === stimulus.at && this.delivery === 1) this.stimulate(stimulus.what)
    return !at.masked && interruptedAt(at)
  }

  stimulate(what: Case["stimulus"]["what"]): void {
    switch (what) {
      case "none":
        return
      case "abort":
        this.kinds.add("abort")
        this.abortRequested = true
        return this.stop("abort")
      case "shutdown":
        this.kinds.add("shutdown")
        return this.stop("shutdown")
      case "lost": {
        // the next renewal tells it
        this.kinds.add("lost lease")
        this.stolen = true
        const beat = lease / 3
        this.timer(beat - (this.time % beat), () => this.stop("lost"))
      }
    }
  }

  stop(why: "abort" | "shutdown" | "lost"): void {
    if (this.stopping === undefined || why === "lost") this.stopping = why
    if (this.open !== undefined) this.open.interrupted = true
  }

  // ------------------------------------------------------------------------------------------------- the delivery point

  deliver(attempt: number): Outcome {
    const { observers } = this.spec
    for (let i = 0; i < observers; i++) this.trace.push(`o>${i}`)
    let dead: string | undefined
    const around = (i: number, payload: string): Ending => {
      const spec = this.spec.arounds[i]
      if (spec === undefined) return { exit: this.layer(0, payload, root), cut: this.cut }
      const faults = this.delivery <= spec.until
      let held: number | undefined
      const close = () => {
        if (held !== undefined) this.trace.push(`d rel ${i} #${held}`)
      }
      this.step(`d>${i}`, root)
      if (spec.resource) {
        held = ++this.serial
        this.trace.push(`d acq ${i} #${held}`)
      }
      if (faults && spec.dies === "before") {
        close()
        dead = `d${i}`
        return { exit: E.died(dead), cut: this.cut }
      }
      const inner = around(i + 1, spec.rewrites ? `${payload}.d${i}` : payload)
      if (dead === undefined) {
        this.trace.push(`d<${i}:${outcomeOf(this.spec, inner, this.facts(attempt)).settlement}`)
        if (faults && spec.dies === "after") dead = `d${i}`
      }
      close()
      return inner
    }
    const ending = around(0, "p")
    const outcome = dead === undefined
      ? outcomeOf(this.spec, ending, this.facts(attempt))
      // a dying delivery middleware is a failed attempt of the job
      : outcomeOf(this.spec, { exit: E.died(dead), cut: false }, { ...this.facts(attempt), stopping: undefined })
    for (let i = observers - 1; i >= 0; i--) this.trace.push(`o<${i}:${outcome.outcome}`)
    return outcome
  }

  facts(attempt: number) {
    return { attempt, stopping: this.stopping, recorded: this.recorded }
  }

  // ------------------------------------------------------------------------------------------------------------ chain

  layer(i: number, payload: string, at: At, services: ReadonlyArray<{ i: number; uses: number }> = []): E.Modelled {
    const mid = this.spec.mids[i]
    if (mid === undefined) return this.body(payload, at, services)
    const faults = this.delivery <= mid.until
    const held: Array<() => ReadonlyArray<E.Reason>> = []
    const provided = mid.provides ? [...services, { i, uses: 0 }] : services
    const inner = (at: At) => this.next(i, mid, faults, payload, at, provided)
    const exit = mid.form === "hooks"
      ? this.hooks(i, mid, faults, at, held, inner)
      : this.raw(i, mid, faults, at, held, inner)
    return this.close(exit, at, held)
  }

  /** the end of a scope: releases in reverse, then the exit that the next outer layer sees */
  close(exit: E.Modelled, at: At, held: ReadonlyArray<(exit: E.Modelled) => ReadonlyArray<E.Reason>>): E.Modelled {
    this.recorded = E.firstTyped(exit) ?? this.recorded
    this.ended(exit)
    const finalizer = held.toReversed().flatMap((release) => release(exit))
    return !at.masked && interruptedAt(at)
      ? skip(at, E.finalizedPlain(exit, finalizer))
      : E.finalized(exit, finalizer)
  }

  /** L13: an interruption that begins after somebody asked for a stop is that stop */
  ended(exit: E.Modelled): void {
    if (this.open !== undefined) return
    if (!E.hasInterrupts(exit)) this.interrupted = false
    else if (this.stopping === undefined) this.interrupted = true
    else if (!this.interrupted) this.cut = true
  }

  hooks(i: number, mid: Mid, faults: boolean, at: At, held: Array<any>, inner: (at: At) => E.Modelled): E.Modelled {
    const masked: At = { ...at, masked: true }
    const before = this.before(i, mid, faults, masked, held)
    if (before !== undefined) return leave(at, before)
    const exit = !at.masked && interruptedAt(at) ? E.interrupted : inner(at)
    return leave(at, E.finalized(exit, this.after(i, mid, faults, exit)))
  }

  raw(i: number, mid: Mid, faults: boolean, at: At, held: Array<any>, inner: (at: At) => E.Modelled): E.Modelled {
    const before = this.before(i, mid, faults, at, held)
    if (before !== undefined) return before
    const exit = inner(at)
    return mid.after === undefined ? exit : leave(at, E.finalizedPlain(exit, this.after(i, mid, faults, exit)))
  }

  /** entering, acquiring, before; undefined when all of it went well */
  before(i: number, mid: Mid, faults: boolean, at: At, held: Array<any>): E.Modelled | undefined {
    if (this.step(`>${i}`, at)) return E.interrupted
    const acquired = this.acquire(`${i}`, mid.resources, faults, at, held)
    if (acquired !== undefined) return acquired
    if (mid.before.gives === true ? this.give(mid.before.slow, at) : this.sleep(mid.before.slow, at)) {
      return E.interrupted
    }
    if (faults && mid.before.fault !== undefined) {
      this.kinds.add(mid.before.fault === "die" ? "before dies" : "before fails")
      return this.fault(mid.before.fault, `b${i}`)
    }
    return this.step(`bef ${i}`, at) ? E.interrupted : undefined
  }

  after(i: number, mid: Mid, faults: boolean, exit: E.Modelled): ReadonlyArray<E.Reason> {
    const { after } = mid
    if (after === undefined) return []
    this.step(`aft ${i}:${E.view(exit)}`, root)
    this.pass(after.slow)
    if (faults && after.fault !== undefined) {
      this.kinds.add(after.fault === "die" ? "after dies" : "after fails")
      const failure = this.fault(after.fault, `a${i}`)
      return E.failed(failure) ? failure.reasons : []
    }
    this.step(`aft. ${i}`, root)
    return []
  }

  fault(fault: Fault, at: string): E.Modelled {
    const kind: Partial<Record<Fault, Kind>> = {
      fail: "typed failure",
      die: "defect",
      discard: "discard",
      dead: "decided dead",
      retry: "decided retry",
      retryAfter: "decided retry",
      snooze: "snooze"
    }
    this.kinds.add(kind[fault]!)
    return faulty(fault, at)
  }

  acquire(
    name: string,
    resources: ReadonlyArray<Resource>,
    faults: boolean,
    at: At,
    held: Array<(exit: E.Modelled) => ReadonlyArray<E.Reason>>
  ): E.Modelled | undefined {
    for (const [k, resource] of resources.entries()) {
      this.pass(resource.slow)
      if (faults && resource.fault !== undefined) {
        this.kinds.add("acquisition fails at k")
        return leave(at, this.fault(resource.fault, `q${name}.${k}`))
      }
      const serial = ++this.serial
      this.step(`acq ${name}.${k} #${serial}`, root)
      held.push((exit) => {
        this.step(`rel ${name}.${k} #${serial}:${E.view(exit)}`, root)
        this.pass(resource.releaseSlow)
        if (!faults || !resource.releaseDies) return []
        this.kinds.add("release dies")
        return [{ tag: "D", at: `r${name}.${k}`, was: false }]
      })
      if (!at.masked && interruptedAt(at)) return E.interrupted
    }
    return undefined
  }

  next(
    i: number,
    mid: Mid,
    faults: boolean,
    payload: string,
    at: At,
    services: ReadonlyArray<{ i: number; uses: number }>
  ): E.Modelled {
    const own = mid.place === "own"
    const run = (at: At): E.Modelled => {
      const exit = this.layer(i + 1, own ? `${payload}.${i}` : payload, at, services.map((s) => s))
      return own && !E.failed(exit) ? E.ok(`${exit.ok}.${i}`) : exit
    }
    switch (mid.mode._tag) {
      case "once":
        return run(at)
      case "again": {
        let exit = skip(at, run(at))
        for (let n = 0; n < mid.mode.times && E.failed(exit) && (at.masked || !interruptedAt(at)); n++) {
          this.kinds.add("run again")
          if (this.step(`again ${i}`, at)) return E.interrupted
          exit = skip(at, run(at))
        }
        return exit
      }
      case "catch": {
        const exit = run(at)
        if (!E.failed(exit)) return exit
        if (!at.masked && interruptedAt(at)) return skip(at, exit)
        if (this.step(`catch ${i}:${E.view(exit)}`, at)) return E.interrupted
        return own ? E.ok(`caught${i}`) : exit
      }
      case "limit": {
        const limit = { fired: false }
        const timer = this.timer(mid.mode.millis, () => {
          limit.fired = true
          this.kinds.add("middleware timeout")
        })
        const exit = run({ masked: false, limits: [...at.limits, limit], body: undefined })
        this.timers.delete(timer)
        if (!at.masked && interruptedAt(at)) return E.interrupted
        if (!limit.fired) return exit
        if (this.step(`limit ${i}`, at)) return E.interrupted
        return faulty(own || (mid.declared && mid.place !== "worker") ? "fail" : "retry", `l${i}`)
      }
      case "short":
        if (!faults) return run(at)
        if (!own) this.kinds.add("discard")
        return own ? E.ok(`short${i}`) : faulty("discard", "")
    }
  }

  // ---------------------------------------------------------------------------------------------------------- handler

  body(payload: string, outer: At, services: ReadonlyArray<{ i: number; uses: number }>): E.Modelled {
    if (this.stopping !== undefined) {
      this.cut = true
      return E.interrupted
    }
    const run = ++this.bodies
    const open = { interrupted: false, timedOut: false }
    this.open = open
    const { timeout } = this.spec
    const timer = timeout === undefined ? undefined : this.timer(timeout, () => {
      // it is being cut short already
      if (open.interrupted || (!outer.masked && interruptedAt(outer))) return
      this.kinds.add("task timeout")
      open.timedOut = true
      open.interrupted = true
    })
    const at: At = { masked: false, limits: outer.masked ? [] : outer.limits, body: open }
    const held: Array<any> = []
    const exit = this.close(this.handler(run, payload, at, held, services), at, held)
    if (this.spec.handler.forks.some((f) => f._tag === "child") && this.childrenOpen) this.trace.push("child I")
    this.childrenOpen = false
    if (timer !== undefined) this.timers.delete(timer)
    this.open = undefined
    this.interrupted = E.hasInterrupts(exit)
    if (!outer.masked && interruptedAt(outer)) {
      if (this.stopping !== undefined && !open.timedOut) this.cut = true
      return E.interrupted
    }
    if (!E.hasInterrupts(exit)) return exit
    if (open.timedOut) return E.typed("timeout")
    if (this.stopping !== undefined) this.cut = true
    return exit
  }

  childrenOpen = false

  handler(
    n: number,
    payload: string,
    at: At,
    held: Array<any>,
    services: ReadonlyArray<{ i: number; uses: number }>
  ): E.Modelled {
    const spec = this.spec.handler
    const run = spec.runs[n - 1] ?? { slow: 0, end: "succeed" }
    if (this.step(`h> ${n}`, at)) return E.interrupted
    for (const service of services) this.trace.push(`svc ${service.i}:${++service.uses}`)
    const acquired = this.acquire("h", spec.resources, n <= spec.runs.length, at, held)
    if (acquired !== undefined) return acquired
    const jobs: Array<Extract<Case["handler"]["forks"][number], { _tag: "job" }>> = []
    for (const fork of spec.forks) {
      if (fork._tag === "job") jobs.push(fork)
      else this.childrenOpen = true
      this.trace.push(`fork ${fork._tag}`)
    }
    const exit = this.main(n, run, at)
    this.step(`h< ${n}:${E.view(exit)}`, root)
    const left = leave(at, exit)
    if (E.failed(left)) {
      for (const _ of jobs) this.trace.push("job I")
      return left
    }
    return this.join(jobs, at) ?? E.ok(`${payload}.h`)
  }

  main(n: number, run: Case["handler"]["runs"][number], at: At): E.Modelled {
    if (this.sleep(run.slow === "never" ? Infinity : run.slow, at)) return E.interrupted
    if (this.step(`h. ${n}`, at)) return E.interrupted
    if (run.end === "succeed") return E.ok("")
    if (run.end === "interrupt") {
      this.kinds.add("own interruption")
      return E.interrupted
    }
    return this.fault(run.end, `h${n}`)
  }

  /** at most one `Job.fork`: it is joined after the handler returned */
  join(jobs: ReadonlyArray<{ readonly millis: number; readonly fails: boolean }>, at: At): E.Modelled | undefined {
    for (const job of jobs) {
      if (this.sleep(job.millis, at)) {
        this.trace.push("job I")
        return E.interrupted
      }
      this.trace.push("job S")
      if (job.fails) {
        this.kinds.add("typed failure")
        return E.typed("fork")
      }
    }
    return undefined
  }
}

export { decidedAfter, retryAfter }
