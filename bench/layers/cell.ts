/**
 * One cell in a process of its own: one contender with so many layers. Runs stretches of jobs one after another, of which the
 * first are for the compiler, and prints the median of the others as a line of JSON. Fails when a job or a layer was left out.
 */
import { type Cell, payloads } from "./contender.ts"
import { load } from "./registry.ts"

export interface Order {
  readonly name: string
  readonly layers: number
  readonly concurrency: number
  /** jobs in one stretch */
  readonly stretch: number
}

/** microseconds a job */
export interface Found {
  readonly wall: number
  /** of the whole process: its collector's and its compiler's threads included */
  readonly cpu: number
}

const cold = 3
const stretches = 8

const order = JSON.parse(process.argv[2]!) as Order
const contender = await load(order.name)
const jobs = order.stretch * stretches

const counts = new Uint32Array(payloads.length)
const tally = { in: 0, out: 0 }
const found: Array<Found> = []
let done = 0
let next = order.stretch
let wall = performance.now()
let cpu = process.cpuUsage()

const cell: Cell = {
  jobs,
  layers: order.layers,
  concurrency: order.concurrency,
  tally,
  onJob: ({ i }) => {
    counts[i]!++
    if (++done < next) return
    next += order.stretch
    const [since, spent] = [wall, cpu]
    wall = performance.now()
    cpu = process.cpuUsage()
    found.push({
      wall: (wall - since) * 1_000 / order.stretch,
      cpu: (cpu.user + cpu.system - spent.user - spent.system) / order.stretch
    })
  }
}
await contender.run(cell)

const sum = counts.reduce((a, b) => a + b, 0)
if (sum !== jobs || Math.max(...counts) - Math.min(...counts) > 1) {
  throw new Error(`${sum} of ${jobs} jobs were handled`)
}
const expected = { in: jobs * order.layers * contender.counts.in, out: jobs * order.layers * contender.counts.out }
if (order.layers > 0 && (tally.in !== expected.in || tally.out !== expected.out)) {
  throw new Error(`layers were left out: ${JSON.stringify({ tally, expected })}`)
}
if (order.layers === 0 && tally.in !== tally.out) throw new Error(`not balanced: ${JSON.stringify(tally)}`)

const median = (figures: ReadonlyArray<number>) => figures.toSorted((a, b) => a - b)[figures.length >> 1]!
const warm = found.slice(cold)
const result: Found = { wall: median(warm.map((f) => f.wall)), cpu: median(warm.map((f) => f.cpu)) }
process.stdout.write(`${JSON.stringify(result)}\n`)
process.exit(0)
