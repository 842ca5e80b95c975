/**
 * The model's time and trace: what is due when, what can be interrupted where, and the one thing that happens from
 * outside.
 */
import * as E from "./exits.ts"
import type { Kind } from "./prediction.ts"
import { type Case, lease } from "./spec.ts"

/** the case cannot be predicted (two things at the same millisecond) or has no end */
export class Unfit extends Error {}

export interface Timer {
  readonly at: number
  readonly fire: () => void
}

/** where an effect stands: what can interrupt it there */
export interface At {
  readonly masked: boolean
  readonly limits: ReadonlyArray<{ fired: boolean }>
  readonly body: { interrupted: boolean } | undefined
}

export const root: At = { masked: true, limits: [], body: undefined }

export const interruptedAt = (at: At): boolean =>
  at.body?.interrupted === true || at.limits.some((limit) => limit.fired)

/** leaving a masked region: what was asked meanwhile happens now, on top of the defects that there are */
export const leave = (at: At, exit: E.Modelled): E.Modelled => !at.masked && interruptedAt(at) ? E.cutShort(exit) : exit

/** passing a handler that an interruption skips: it takes the typed failures along */
export const skip = (at: At, exit: E.Modelled): E.Modelled =>
  !at.masked && interruptedAt(at) ? E.cutShort(E.untyped(exit)) : exit

export abstract class Timeline {
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
}
