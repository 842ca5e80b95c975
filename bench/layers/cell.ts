/**
 * One cell in a process of its own: one contender with so many layers. Runs stretches of jobs one after another, of which the
 * first are for the compiler, and prints the median of the others as a line of JSON. Fails when a job or a layer was left out.
 */
import { Ledger } from "./ledger.ts"
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

const found: Array<Found> = []
let next = order.stretch
let wall = performance.now()
let cpu = process.cpuUsage()

const ledger = new Ledger(jobs, order.layers, order.concurrency, (done) => {
  if (done < next) return
  next += order.stretch
  const [since, spent] = [wall, cpu]
  wall = performance.now()
  cpu = process.cpuUsage()
  found.push({
    wall: (wall - since) * 1_000 / order.stretch,
    cpu: (cpu.user + cpu.system - spent.user - spent.system) / order.stretch
  })
})
await contender.run(ledger)
ledger.check(contender)

const median = (figures: ReadonlyArray<number>) => figures.toSorted((a, b) => a - b)[figures.length >> 1]!
const warm = found.slice(cold)
const result: Found = { wall: median(warm.map((f) => f.wall)), cpu: median(warm.map((f) => f.cpu)) }
process.stdout.write(`${JSON.stringify(result)}\n`)
process.exit(0)
