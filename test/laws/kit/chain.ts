/**
 * The model of the run chain: middleware around middleware around the handler's body, with a scope, a mask and a time for
 * each. Written from the design alone (order of section 4, laws of section 5); it knows nothing of fibers.
 */
import * as E from "./exits.ts"
import type { Kind } from "./prediction.ts"
import type { Case, Fault, Mid, Resource } from "./spec.ts"
import { type At, interruptedAt, leave, root, skip, Timeline } from "./timeline.ts"

const names: Record<Exclude<Fault, "die">, (at: string) => string> = {
  fail: (at) => at,
  discard: () => "Decide.Discard",
  dead: () => "Decide.Dead",
  retry: () => "Decide.Retry",
  retryAfter: () => "Decide.Retry+",
  snooze: () => "Decide.Snooze"
}

const faulty = (fault: Fault, at: string): E.Modelled => fault === "die" ? E.died(at) : E.typed(names[fault](at))

export abstract class Chain extends Timeline {
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
