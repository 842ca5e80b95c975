/**
 * One cell of the bench in a process of its own: one contender, one measure. Prints what it measured as a line of JSON.
 * Every job has to be handled once, or the cell fails.
 */
import { type Payload, payloadOf, type Place } from "./contender.ts"
import { load } from "./registry.ts"

export interface Order {
  readonly engine: string
  readonly name: string
  readonly measure: Measure
  readonly jobs: number
  /** of the worker; of the producer for `enqueue` */
  readonly concurrency: number
  readonly place: Place
}

export type Measure = "enqueue" | "bulk" | "process" | "through" | "latency"

export interface Found {
  /** jobs a second; for `latency` milliseconds */
  readonly figure: number
  readonly p95?: number
  readonly p99?: number
  /** of this process, in seconds for 10,000 jobs */
  readonly cpu: number
  /** MiB at the end */
  readonly memory: number
  readonly settings: string
}

const order = JSON.parse(process.argv[2]!) as Order
const { concurrency, jobs, measure, place } = order
const contender = await load(order.engine, order.name)
const queue = await contender.open(place)
const payloads = Array.from({ length: jobs }, (_, i) => payloadOf(i))

const bulk = (some: ReadonlyArray<Payload>) =>
  queue.enqueueMany === undefined ? queue.enqueueEach(some, 100) : queue.enqueueMany(some)

const sleep = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis))
const cpuSeconds = () => {
  const { system, user } = process.cpuUsage()
  return (system + user) / 1e6
}

/** a fifth of the jobs is for warming up: code is compiled, connections are made */
const cold = Math.floor(jobs / 5)

/** counts every job once, and says when all have come; times and CPU are of those that came when it was warm */
const counter = (count: number) => {
  const seen = new Uint8Array(count)
  let left = count
  let first = 0
  let last = 0
  let cpu = 0
  let done: () => void = () => {}
  const all = new Promise<void>((resolve) => done = resolve)
  return {
    all,
    onJob: ({ i }: Payload) => {
      last = performance.now()
      if (left === count - cold) {
        first = last
        cpu = cpuSeconds()
      }
      if (seen[i]!++ > 0) throw new Error(`job ${i} was handled twice`)
      if (--left > 0) return
      cpu = cpuSeconds() - cpu
      done()
    },
    get warm() {
      return { millis: last - first, cpu, jobs: count - cold }
    }
  }
}

interface Run {
  readonly millis: number
  readonly cpu: number
  readonly jobs: number
}

const timed = async (count: number, what: () => Promise<unknown>): Promise<Run> => {
  const cpu = cpuSeconds()
  const start = performance.now()
  await what()
  return { millis: performance.now() - start, cpu: cpuSeconds() - cpu, jobs: count }
}

const measures: Record<Measure, () => Promise<Run | ReadonlyArray<number>>> = {
  enqueue: async () => {
    await queue.enqueueEach(payloads.slice(0, cold), concurrency)
    return timed(jobs - cold, () => queue.enqueueEach(payloads.slice(cold), concurrency))
  },
  bulk: async () => {
    await bulk(payloads.slice(0, cold))
    return timed(jobs - cold, () => bulk(payloads.slice(cold)))
  },
  process: async () => {
    await bulk(payloads)
    const count = counter(jobs)
    const worker = await queue.work(concurrency, count.onJob)
    await count.all
    await worker.stop()
    return count.warm
  },
  through: async () => {
    const count = counter(jobs)
    const worker = await queue.work(concurrency, count.onJob)
    await queue.enqueueEach(payloads, 100)
    await count.all
    await worker.stop()
    return count.warm
  },
  latency: async () => {
    const times: Array<number> = []
    let came: () => void = () => {}
    const worker = await queue.work(concurrency, () => came())
    // until it is idle
    await sleep(500)
    for (const payload of payloads) {
      await sleep(3)
      const arrived = new Promise<void>((resolve) => came = resolve)
      const start = performance.now()
      const enqueued = queue.enqueueEach([payload], 1)
      await arrived
      times.push(performance.now() - start)
      await enqueued
    }
    await worker.stop()
    // the first ones compile code
    return times.slice(Math.min(50, times.length >> 2)).toSorted((a, b) => a - b)
  }
}

const found = await measures[measure]()
const at = (share: number) =>
  (found as ReadonlyArray<number>)[Math.floor((found as ReadonlyArray<number>).length * share)]!
const common = { memory: process.memoryUsage.rss() / 2 ** 20, settings: contender.settings }
const result: Found = "millis" in found
  ? { figure: found.jobs / found.millis * 1_000, cpu: found.cpu / found.jobs * 10_000, ...common }
  : { figure: at(0.5), p95: at(0.95), p99: at(0.99), cpu: 0, ...common }
process.stdout.write(`${JSON.stringify(result)}\n`)
// closing may wait for connections that block: what counts was measured
await Promise.race([queue.close(), sleep(2_000)])
process.exit(0)
