/**
 * The runs that a lane has open, or holds. Every job enters both lists and leaves both, so each step is a few writes: a run
 * knows its place, and the last one takes the place of one that leaves. A `Set` looks every run up.
 */
import type { Run } from "./run.ts"

/** @internal */
export class Runs implements Iterable<Run> {
  private readonly runs: Array<Run> = []
  private readonly place: "livePlace" | "heldPlace"

  /** `place`: where a run notes its place in this list, -1 while it is in none */
  constructor(place: "livePlace" | "heldPlace") {
    this.place = place
  }

  get size(): number {
    return this.runs.length
  }

  has(run: Run): boolean {
    return run[this.place] !== -1
  }

  add(run: Run): void {
    run[this.place] = this.runs.length
    this.runs.push(run)
  }

  /** nothing when it is not in the list */
  delete(run: Run): void {
    const place = run[this.place]
    if (place === -1) return
    run[this.place] = -1
    const last = this.runs.pop()!
    if (last === run) return
    this.runs[place] = last
    last[this.place] = place
  }

  /** those of now: a run that is asked to stop may leave at once */
  [Symbol.iterator](): Iterator<Run> {
    return this.runs.slice()[Symbol.iterator]()
  }
}
