/** What was done in a cell, counted: a contender that leaves out a job or a layer is fast and of no use. */
import { type Cell, type Contender, type Payload, payloads } from "./contender.ts"

export class Ledger implements Cell {
  readonly jobs: number
  readonly layers: number
  readonly concurrency: number
  readonly tally = { in: 0, out: 0 }
  readonly onJob: Cell["onJob"]
  /** by payload, which come round again and again */
  private readonly handled = new Uint32Array(payloads.length)

  /** `onDone` hears after every job how many there were */
  constructor(jobs: number, layers: number, concurrency: number, onDone: (done: number) => void = () => {}) {
    this.jobs = jobs
    this.layers = layers
    this.concurrency = concurrency
    let done = 0
    this.onJob = ({ i }: Payload) => {
      this.handled[i]!++
      onDone(++done)
    }
  }

  /** Throws when a job was left out or repeated, or a layer was not entered and left as often as its kind is. */
  check({ counts }: Contender): void {
    const sum = this.handled.reduce((a, b) => a + b, 0)
    if (sum !== this.jobs || Math.max(...this.handled) - Math.min(...this.handled) > 1) {
      throw new Error(`${sum} jobs were handled, of ${this.jobs}`)
    }
    const entries = this.jobs * this.layers
    const isComplete = this.layers === 0
      // the stack of some has layers of its own
      ? this.tally.in === this.tally.out
      : this.tally.in === entries * counts.in && this.tally.out === entries * counts.out
    if (!isComplete) throw new Error(`layers were left out: ${JSON.stringify({ entries, counts, ...this.tally })}`)
  }
}
